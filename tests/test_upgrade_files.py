"""How `upgrade` changes files: only what it means to, and whatever is in them."""

import os
import re
import subprocess
import textwrap

import pytest

pytest.importorskip("libcst")

from factory_reuse._upgrade.files import upgrade

pytestmark = pytest.mark.single

HEAD = """\
import factory
from factory.alchemy import SQLAlchemyModelFactory

from shop import Category, session


"""

OPTION = """\
class CategoryFactory(SQLAlchemyModelFactory):
    class Meta:
        model = Category
        sqlalchemy_session = session
        sqlalchemy_get_or_create = ("name",)

    name = "Books"
"""

CREATE = """\
    @classmethod
    def _create(cls, model_class, *args, **kwargs):
        obj = session.query(model_class).filter_by(name=kwargs["name"]).first()
        return obj or super()._create(model_class, *args, **kwargs)
"""


@pytest.fixture
def one(tmp_path):
    """Return what becomes of one file."""
    (tmp_path / "pytest.ini").write_text("[pytest]\n")

    def one(source):
        path = tmp_path / "factories.py"
        path.write_bytes(source if isinstance(source, bytes) else source.encode())
        (result,) = upgrade([path])
        return result

    return one


def changed(one, source):
    result = one(textwrap.dedent(source))
    assert result.changed, result.left
    assert not one(result.after).changed
    return result.after.decode()


# What a class looks like


def test_the_decorator_goes_nearest_to_the_class(one):
    """`register` of pytest-factoryboy gets a factory that reuses."""
    after = changed(one, HEAD + "@register\n@other(1)\n# why\n" + OPTION)
    assert "@register\n@other(1)\n" in after
    assert after.index("@other(1)") < after.index("@reuse_existing") < after.index("class Cat")
    assert "# why\n" in after


def test_an_empty_meta_goes(one):
    """With nothing in it and nothing said about it."""
    source = HEAD + OPTION.replace("        model = Category\n", "").replace(
        "        sqlalchemy_session = session\n", ""
    )
    after = changed(one, source)
    assert 'class CategoryFactory(SQLAlchemyModelFactory):\n    name = "Books"\n' in after


def test_an_empty_class_has_a_pass(one):
    """Python wants a statement."""
    source = HEAD + "class AFactory(BFactory):\n    class Meta:\n"
    after = changed(one, source + '        sqlalchemy_get_or_create = ("name",)\n')
    assert "class AFactory(BFactory):\n    pass\n" in after


def test_a_meta_that_is_based_on_another_stays(one):
    """It says something by that."""
    source = HEAD + "class AFactory(BFactory):\n    class Meta(BaseMeta):\n"
    after = changed(one, source + '        sqlalchemy_get_or_create = ("name",)\n')
    assert "    class Meta(BaseMeta):\n        pass\n" in after


def test_a_meta_on_one_line_is_changed_in_place(one):
    """Semicolons are kept where there is more."""
    source = HEAD + "class AFactory(BFactory):\n    class Meta: model = A; "
    source += 'sqlalchemy_get_or_create = ("n",)\n'
    assert "    class Meta: model = A\n" in changed(one, source)


def test_comments_of_what_goes_move_to_the_class(one):
    """They may say why; those for tools do not."""
    source = OPTION.replace('("name",)', '("name",)  # by the name') + "\n    # Reuse it.\n"
    source += CREATE.replace("obj =", "# first ask\n        obj =", 1).replace(
        "**kwargs):", "**kwargs):  # noqa: D102"
    )
    after = changed(one, HEAD + source)
    start = after.index("# by the name\n")
    assert after[start:].startswith(
        '# by the name\n# Reuse it.\n# first ask\n@reuse_existing(on=("name",))\nclass Cat'
    )
    assert "noqa" not in after


@pytest.mark.parametrize(
    ("base", "expected"),
    [
        ("", '    class Meta:\n        sqlalchemy_session_persistence = "commit"\n\n    name ='),
        ("        sqlalchemy_session_persistence = alchemy.SESSION_PERSISTENCE_COMMIT\n", None),
        ("        sqlalchemy_session_persistence = alchemy.SESSION_PERSISTENCE_FLUSH\n", "Meta:"),
        ("        sqlalchemy_session_persistence = CHOICE\n", "is computed"),
    ],
)
def test_a_class_without_meta_gets_one_for_the_persistence(one, base, expected):
    """If its base says another, or none."""
    source = HEAD + "class BaseFactory(SQLAlchemyModelFactory):\n    class Meta:\n"
    source += "        model = Category\n        sqlalchemy_session = session\n" + base
    source += '\n\nclass AFactory(BaseFactory):\n    name = "x"\n\n' + CREATE.replace(
        "        return obj or super()._create(model_class, *args, **kwargs)\n",
        "        if obj is None:\n            obj = model_class(**kwargs)\n"
        "            session.add(obj)\n            session.commit()\n        return obj\n",
    )
    result = one(source)
    written = result.after.decode().partition("class AFactory(BaseFactory):\n")[2]
    if expected == "is computed":
        assert expected in result.left[0].reason
    elif expected is None:
        assert written == '    name = "x"\n'
    else:
        assert expected in written


def test_a_dictionary_of_rows_stays(one):
    """Other code may name it, to clear it say; a caution tells that it is empty."""
    source = HEAD + OPTION.replace('        sqlalchemy_get_or_create = ("name",)\n', "")
    source += (
        "    _cache = {}\n\n"
        + """\
    @classmethod
    def _create(cls, model_class, *args, **kwargs):
        if kwargs["name"] not in cls._cache:
            cls._cache[kwargs["name"]] = super()._create(model_class, *args, **kwargs)
        return cls._cache[kwargs["name"]]
"""
    )
    assert "    _cache = {}\n" in changed(one, source)
    result = one(source)
    assert any("The dictionary stays" in each for each in result.rewritten[0].cautions)


def test_a_factory_in_a_function_is_rewritten_too(one):
    """The import is the module's."""
    source = HEAD + "def make(session):\n" + textwrap.indent(OPTION, "    ")
    after = changed(one, source)
    assert '    @reuse_existing(on=("name",))\n    class CategoryFactory' in after
    assert "from factory_reuse import reuse_existing\n\nfrom shop" in after


# Imports


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (
            "import factory\nimport pytest\nfrom factory.alchemy import A\n"
            "from faker import Faker\n",
            "import factory\nimport pytest\nfrom factory.alchemy import A\n"
            "from factory_reuse import reuse_existing\nfrom faker import Faker\n",
        ),
        (
            "import factory\nimport sqlalchemy\n\nfrom app import B\n",
            "import factory\nimport sqlalchemy\nfrom factory_reuse import reuse_existing\n\n"
            "from app import B\n",
        ),
        (
            '"""Factories."""\n\nfrom __future__ import annotations\n\nfrom . import b\n',
            '"""Factories."""\n\nfrom __future__ import annotations\n\n'
            "from factory_reuse import reuse_existing\n\nfrom . import b\n",
        ),
        (
            '"""Factories."""\nfrom .base import B\n',
            '"""Factories."""\n\nfrom factory_reuse import reuse_existing\n\nfrom .base import B\n',
        ),
        (
            "from factory_reuse import find\n",
            "from factory_reuse import find, reuse_existing\n",
        ),
        (
            "from factory_reuse import ReuseError, use_session  # here\n",
            "from factory_reuse import ReuseError, reuse_existing, use_session  # here\n",
        ),
        (
            "from factory_reuse import (\n    find,\n    use_session,\n)\n",
            "from factory_reuse import (\n    find,\n    reuse_existing,\n    use_session,\n)\n",
        ),
        (
            "from factory_reuse import (\n    find,\n    no_reuse,\n)\n",
            "from factory_reuse import (\n    find,\n    no_reuse,\n    reuse_existing,\n)\n",
        ),
        (
            "from factory_reuse import reuse_existing\n",
            "from factory_reuse import reuse_existing\n",
        ),
        ("# (c)\n", "# (c)\n\n\nfrom factory_reuse import reuse_existing\n\n\n@reuse_existing"),
    ],
)
def test_our_import_goes_where_isort_has_it(one, before, after):
    """Behind factory_boy's, below the docstring and `__future__`; into one that is there."""
    got = changed(one, before + "\n\n" + OPTION)
    assert got.startswith(after), got[:400]


def test_a_name_that_is_imported_otherwise_is_used(one):
    """`reuse_existing as reuse` decorates as `reuse`."""
    after = changed(one, "from factory_reuse import reuse_existing as reuse\n\n\n" + OPTION)
    assert '@reuse(on=("name",))\nclass' in after
    assert after.count("import") == 1


def test_imports_of_the_lookup_stay(one):
    """Other files may import them from here; a linter removes those that none needs."""
    source = "from sqlalchemy import select  # it\n" + HEAD
    source += OPTION.replace('        sqlalchemy_get_or_create = ("name",)\n', "") + "\n" + CREATE
    source = source.replace(
        "session.query(model_class).filter_by", "session.scalars(select(model_class).filter_by"
    ).replace('["name"])', '["name"]))')
    assert changed(one, source).startswith("from sqlalchemy import select  # it\n")


def test_a_file_that_means_something_else_by_our_name_is_left(one):
    """Nothing of it is changed."""
    result = one(HEAD + "def reuse_existing(factory):\n    return factory\n\n\n" + OPTION)
    assert not result.changed
    assert "means something else" in result.left[0].reason


# Files


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize("indent", ["    ", "\t", "  "])
@pytest.mark.parametrize("end", [True, False])
def test_the_layout_of_a_file_is_kept(one, newline, indent, end):
    """Line ends, tabs, a missing line end at the end: all that is not rewritten is as it was."""
    source = (HEAD + OPTION).replace("    ", indent).replace("\n", newline)
    source = source if end else source[: -len(newline)]
    after = changed(one, source)
    lines = after.split(newline)
    assert '@reuse_existing(on=("name",))' in lines
    assert f"{indent}class Meta:" in lines
    before = [each for each in source.split(newline) if "get_or_create" not in each]
    assert [each for each in lines if "reuse" not in each] == before


@pytest.mark.parametrize(
    ("encoding", "start"),
    [
        ("utf-8", b""),
        ("utf-8", b"\xef\xbb\xbf"),
        ("latin-1", b"# -*- coding: latin-1 -*-\n"),
        ("cp1251", b"# vim: set fileencoding=cp1251 :\n"),
        ("cp949", b"#!/usr/bin/python\n# coding=cp949\n"),
    ],
)
def test_the_encoding_of_a_file_is_kept(one, encoding, start):
    """A byte order mark too."""
    word = {"latin-1": "Bücher", "cp1251": "Книги", "cp949": "책"}.get(encoding, "Bücher 책")
    result = one(start + (HEAD + OPTION).replace("Books", word).encode(encoding))
    assert result.after.startswith(start)
    assert word.encode(encoding) in result.after
    assert b"@reuse_existing" in result.after
    assert word.encode(encoding) in result.diff()
    assert not one(result.after).changed


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"class :\n_create", "does not parse"),
        (b"x = '\x00'\n", "does not parse"),
        (b"# coding: nonsense\n", "does not parse"),
        (b"x = '\xff'\n", "does not parse"),
        (b"x = " + b"(" * 3000 + b")" * 3000, "does not parse"),
        (b"x = " + b"-" * 20000 + b"1", "does not parse"),
        (b"\tx = 1\n  y", "does not parse"),
    ],
)
def test_what_is_no_python_is_listed(one, content, reason):
    """With the reason, and nothing else happens."""
    result = one(content)
    assert not result.changed
    assert reason in result.left[0].reason
    assert result.diff() == b""


@pytest.mark.parametrize("content", [b"", b"\n", b"_create = 1", b"class A: _create = 1\n"])
def test_a_file_with_nothing_to_do_is_as_it_was(one, content):
    """It is yielded all the same."""
    result = one(content)
    assert (result.changed, result.rewritten, result.left) == (False, (), ())


def test_a_file_that_cannot_be_written_back_is_left(one):
    """What libcst does not keep as it is, is not changed."""
    result = one((HEAD + OPTION).replace("\n", "\r"))
    assert not result.changed
    assert "would change more of it" in result.left[0].reason


@pytest.mark.parametrize("odd", ["\x0c", "x = '\x0c \u2028'", "x = 1 \\\n  + 2", '"""\n\r\n"""'])
def test_lines_are_counted_as_python_counts_them(one, odd):
    """Or the file is left."""
    result = one(HEAD + odd + "\n\n\n" + OPTION)
    assert (b"@reuse_existing" in result.after) is (result.rewritten != ())
    assert result.rewritten or result.left


def test_a_file_that_is_not_there_is_listed(tmp_path):
    """It is no error."""
    (result,) = upgrade([tmp_path / "nothing.py"])
    assert "cannot be read" in result.left[0].reason


def test_directories_are_searched(tmp_path):
    """Hidden ones, environments and packages of others are not; each file comes once."""
    for name in ("a.py", "b.txt", "p/c.py", ".h/d.py", "node_modules/e.py", "env/f.py"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("")
    (tmp_path / "env" / "pyvenv.cfg").write_text("")
    (tmp_path / "__pycache__").mkdir()
    (tmp_path / "__pycache__" / "g.py").write_text("")
    results = upgrade([tmp_path, tmp_path / "a.py"])
    found = [each.path.relative_to(tmp_path).as_posix() for each in results]
    assert found == ["a.py", "p/c.py"]


def test_writing_changes_the_file_and_keeps_its_mode(one):
    """`upgrade` itself writes nothing."""
    result = one(HEAD + OPTION)
    result.path.chmod(0o755)
    assert result.path.read_bytes() == result.before
    result.write()
    assert result.path.read_bytes() == result.after
    assert os.stat(result.path).st_mode & 0o777 == 0o755


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize("end", [True, False])
def test_git_applies_the_diff(one, monkeypatch, newline, end):
    """To the file as it is."""
    source = (HEAD + OPTION + "\n" + CREATE).replace("\n", newline)
    result = one(source if end else source[: -len(newline)])
    monkeypatch.chdir(result.path.parent)
    (result.path.parent / "it.diff").write_bytes(result.diff())
    subprocess.run(["git", "apply", "-v", "it.diff"], check=True, cwd=result.path.parent)
    assert result.path.read_bytes() == result.after
    assert re.match(rb"--- a/factories.py\n\+\+\+ b/factories.py\n", result.diff())


def test_bases_and_models_are_found_in_other_files(tmp_path):
    """By the imports, in the project of the file."""
    (tmp_path / "setup.cfg").write_text("[metadata]\n")
    for name, text in {
        "src/app/__init__.py": "",
        "src/app/models/__init__.py": "from .users import *\nfrom app.db import db\n",
        "src/app/models/users.py": """\
            from ..db import Base
            from sqlalchemy import Column, UniqueConstraint

            class User(Base):
                __table_args__ = (UniqueConstraint("tenant", "email"),)
                tenant = Column()
                email = Column()
            """,
        "src/app/db.py": "class Base: pass\n\ndb = make()\n",
        "tests/base.py": """\
            import factory
            from app.db import db

            class BaseFactory(factory.alchemy.SQLAlchemyModelFactory):
                class Meta:
                    abstract = True
                    sqlalchemy_session = db
                    sqlalchemy_session_persistence = "flush"

                @factory.post_generation
                def note(self, create, extracted):
                    pass
            """,
        "tests/factories.py": """\
            from app import models
            from app.db import db

            from .base import BaseFactory

            class UserFactory(BaseFactory):
                class Meta:
                    model = models.User
                    sqlalchemy_get_or_create = ("tenant", "email")

            class OtherFactory(BaseFactory):
                class Meta:
                    model = models.User

                @classmethod
                def _create(cls, model_class, *args, **kwargs):
                    obj = db.query(models.User).filter_by(email=kwargs["email"]).first()
                    if obj is None:
                        obj = model_class(**kwargs)
                        db.add(obj)
                        db.flush()
                    return obj
            """,
    }.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text))
    (result,) = upgrade([tmp_path / "tests" / "factories.py"])
    assert [each.what.partition(") ")[0] + ")" for each in result.rewritten] == [
        '@reuse_existing(on=("tenant", "email"), post_generation="always")',
        '@reuse_existing(on=("email",), post_generation="always")',
    ]
    assert b"persistence" not in result.after


def test_a_session_of_a_package_that_is_not_there_is_the_same_by_its_name(tmp_path):
    """Where both files import it by the same absolute name."""
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    (tmp_path / "base.py").write_text(
        "from elsewhere import db\nfrom factory.alchemy import SQLAlchemyModelFactory\n\n\n"
        "class BaseFactory(SQLAlchemyModelFactory):\n    class Meta:\n        abstract = True\n"
        "        sqlalchemy_session = db.session\n"
    )
    for imported, said in (("from elsewhere import db", False), ("from another import db", True)):
        (tmp_path / "factories.py").write_text(
            f"{imported}\nfrom .base import BaseFactory\n\n\nclass AFactory(BaseFactory):\n"
            + CREATE.replace("session.query", "db.session.query")
        )
        (result,) = upgrade([tmp_path / "factories.py"])
        assert (b"session=lambda: db.session" in result.after) is said
