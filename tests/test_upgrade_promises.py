"""What `upgrade` promises: the same rows, or a caution that says so; else not a byte changes."""

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

pytest.importorskip("libcst")

import factory_reuse
from factory_reuse._upgrade import cautions
from factory_reuse._upgrade.files import upgrade

pytestmark = [pytest.mark.single, pytest.mark.usefixtures("engines_disposed")]

HEAD = """\
import factory
from factory.alchemy import SQLAlchemyModelFactory
from sqlalchemy import Column, ForeignKey, Integer, String, create_engine, inspect, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import declarative_base, relationship, scoped_session, sessionmaker

Base = declarative_base()


class Category(Base):
    __tablename__ = "categories"
    id = Column(Integer, primary_key=True)
    name = Column(String(50), unique=True)
    slug = Column(String(50), unique=True)
    label = Column(String(50))


class Tag(Base):
    __tablename__ = "tags"
    id = Column(Integer, primary_key=True)
    name = Column(String(50))
    slug = Column(String(50))
    category_id = Column(ForeignKey("categories.id"))
    category = relationship(Category)


engine = create_engine("sqlite://", future=True)
Base.metadata.create_all(engine)
session = scoped_session(sessionmaker(engine, future=True))


class BaseFactory(SQLAlchemyModelFactory):
    class Meta:
        abstract = True
        sqlalchemy_session = session
        sqlalchemy_session_persistence = "flush"


"""

TAG = """\
class TagFactory(BaseFactory):
    class Meta:
        model = Tag
        sqlalchemy_get_or_create = ("name",)
    name = "A"
"""
PLAIN = TAG.replace('        sqlalchemy_get_or_create = ("name",)\n', "")
LOOKUP = """\
    @classmethod
    def _create(cls, model_class, *args, **kwargs):
        obj = session.query(model_class).filter_by(name=kwargs["name"]).first()
        return obj or super()._create(model_class, *args, **kwargs)
"""
BY_FIELDS = """\
    slug = "s"
    @classmethod
    def _create(cls, model_class, *args, **kwargs):
        obj = session.query(model_class).filter_by(**{f: kwargs[f] for f in FIELDS}).first()
        return obj or super()._create(model_class, *args, **kwargs)
"""
OWN_SESSION = """\
class TagFactory(SQLAlchemyModelFactory):
    class Meta:
        model = Tag
        sqlalchemy_session = META
    name = "A"
    @classmethod
    def _create(cls, model_class, *args, **kwargs):
        obj = USED.query(model_class).filter_by(name=kwargs["name"]).one_or_none()
        if obj is None:
            obj = model_class(*args, **kwargs)
            USED.add(obj)
            USED.flush()
        return obj
"""
TWICE = "TagFactory(); TagFactory(); seen.append(session.query(Tag).count())"


@pytest.fixture
def project(tmp_path, monkeypatch):
    """Write files into a project; return a function that upgrades some, and one that runs."""
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    monkeypatch.syspath_prepend(str(tmp_path))

    class Project:
        path = tmp_path

        def write(self, factories, **others):
            for name, text in {"factories": factories, **others}.items():
                (tmp_path / f"{name}.py").write_text(text)

        def upgrade(self, *names, **how):
            paths = [tmp_path / f"{name}.py" for name in names or ("factories",)]
            return list(upgrade(paths, **how))

        def run(self, script):
            names = [path.stem for path in tmp_path.glob("*.py")]
            seen = {"seen": []}
            monkeypatch.setattr(sys, "dont_write_bytecode", True)
            try:
                exec("import factories\nfrom factories import *\n" + textwrap.dedent(script), seen)
            finally:
                for name in names:
                    sys.modules.pop(name, None)
            return seen["seen"]

    return Project()


@pytest.fixture
def same(project):
    """Upgrade, see that a script sees the same before and after; return the new source."""

    def same(factories, script, *given, **others):
        project.write(factories, **others)
        before = project.run(script)
        results = project.upgrade(*given)
        for result in results:
            result.write()
        assert any(result.changed for result in results), [each.left for each in results]
        assert project.run(script) == before
        assert not any(result.changed for result in project.upgrade(*given))
        return (project.path / "factories.py").read_text()

    return same


# What is written can be imported


def test_our_import_stands_above_a_class_in_a_block(same):
    """Above the statement that the class is in, whatever is imported below."""
    source = HEAD + "if True:\n" + textwrap.indent(TAG, "    ") + "\nfrom factory import Faker\n"
    after = same(source, TWICE)
    assert after.index("import reuse_existing") < after.index("if True")


def test_our_import_below_the_class_does_not_count(same):
    """It is imported above once more."""
    below = "from factory_reuse import reuse_existing\n"
    assert same(HEAD + TAG + "\n\n" + below, TWICE).count(below) == 2


def test_our_import_stands_below_an_import_from_the_future(same):
    """On whatever line that is."""
    first = "from __future__ import annotations; from models import *\n"
    after = same(first + TAG, TWICE, models=HEAD)
    assert after.startswith(first)


def test_a_subclass_is_not_turned_off_if_its_base_cannot_be_changed(project):
    """Nor the other way round: a base stays if its subclass cannot be turned off."""
    heir = "from base import *\nclass NewFactory(TagFactory):\n    class Meta:\n"
    heir += "        sqlalchemy_get_or_create = ()\n"
    taken = "def reuse_existing(): pass\n"
    for base, factories in ((HEAD + taken + TAG, heir), (HEAD + TAG, heir + "\r")):
        project.write(factories, base=base)
        results = project.upgrade("factories", "base")
        assert not any(result.changed for result in results)
        results = project.upgrade("base", "factories")
        assert not any(result.changed for result in results)
        assert sum(len(result.left) for result in results) in (1, 2)


@pytest.mark.parametrize(
    "taken",
    [
        "def make(reuse_existing):\n    pass\n",
        "import reuse_existing\n",
        "async def reuse_existing(): pass\n",
        "try:\n    pass\nexcept Exception as reuse_existing:\n    pass\n",
        "x = [1 for _ in () if (reuse_existing := 1)]\n",
        "call = lambda reuse_existing: 1\n",
    ],
)
def test_our_name_is_not_to_be_bound_by_anything_else(project, taken):
    """In no scope, by no kind of statement, whether it is imported or not."""
    for source in (taken + TAG, "from factory_reuse import reuse_existing\n" + taken + TAG):
        project.write(HEAD + source)
        (result,) = project.upgrade()
        assert not result.changed
        assert "means something else" in result.left[0].reason


@pytest.mark.parametrize("coding", ["rot13", "hex", "idna", "undefined", "unicode_escape"])
def test_an_odd_encoding_does_not_keep_other_files(project, coding):
    """The file is listed, and the others are rewritten."""
    project.write(HEAD + TAG, a=f"# coding: {coding}\n" + HEAD + TAG)
    left, done = project.upgrade("a", "factories")
    assert (left.changed, done.changed) == (False, True)
    assert left.left


def test_a_file_that_cannot_be_written_is_left(project, monkeypatch):
    """If it is to be written; with it what depends on it."""
    heir = "class NewFactory(TagFactory):\n    class Meta:\n        sqlalchemy_get_or_create = ()\n"
    project.write("from base import *\n" + heir, base=HEAD + TAG)
    monkeypatch.setattr(os, "access", lambda path, mode: path.stem != "base")
    results = project.upgrade("factories", "base", writing=True)
    assert not any(result.changed for result in results)
    assert results[1].left[0].reason == "The file cannot be written."
    assert all(result.changed for result in project.upgrade("factories", "base"))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_only_regular_files_are_read(project):
    """A pipe would never end."""
    os.mkfifo(project.path / "pipe.py")
    project.write(HEAD + TAG)
    (result,) = project.upgrade("pipe")
    assert result.left[0].reason == "It is no regular file."
    assert len(list(upgrade([project.path]))) == 1


# Sessions


@pytest.mark.parametrize(
    ("before", "meta", "used", "script", "option"),
    [
        ("class state: session = None", "session", "state.session", "factories.state.session = x",
         "lambda: state.session"),
        ("import db", "session", "db.session", "import db; db.use(x)", "lambda: db.session"),
        ("import db", "db.session", "db.session", "import db; db.use(x)", "lambda: db.session"),
        ("current = session\ndef use(new):\n    global current\n    current = new", "current",
         "current", "factories.use(x)", "lambda: current"),
        ("x = sessionmaker(engine)()", "session", "x", "x = factories.x", "x"),
    ],
)  # fmt: skip
def test_a_session_that_may_be_bound_anew_is_read_in_each_call(
    same, before, meta, used, script, option
):
    """Only a name that is bound once means at the decorator what it means in a call."""
    db = "session = None\n\n\ndef use(new):\n    global session\n    session = new\n"
    source = f"{HEAD}{before}\n" + OWN_SESSION.replace("META", meta).replace("USED", used)
    script = (
        f"x = sessionmaker(engine)()\n{script}\nobj = TagFactory()\n"
        "seen += [inspect(obj).session is x, TagFactory() is obj]"
    )
    assert f"session={option})" in same(source, script, db=db)


def test_a_session_of_the_function_around_is_not_the_modules(same):
    """It has the same name only."""
    made = OWN_SESSION.replace("META", "session").replace("USED", "session")
    source = HEAD + "def make(session):\n" + textwrap.indent(made, "    ")
    source = source.replace("sqlalchemy_session = session\n    name", "model = Tag\n    name")
    script = "x = sessionmaker(engine)()\nobj = make(x)()\nseen.append(inspect(obj).session is x)"
    same(source + "    return TagFactory\n", script)


def test_a_session_that_a_fixture_replaces_in_meta_is_not_the_lookups(same):
    """Rows go where `_create` put them."""
    source = HEAD + OWN_SESSION.replace("META", "session").replace("USED", "session")
    source += "\n\ndef use(new):\n    TagFactory._meta.sqlalchemy_session = new\n"
    script = "use(sessionmaker(engine)())\nobj = TagFactory()\n"
    script += "seen.append(inspect(obj).session is session())"
    assert "session=session)" in same(source, script)


# What is half understood is left


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        (TAG.replace("    name", '        sqlalchemy_get_or_create += ("slug",)\n    name'),
         "said more than once"),
        (TAG.replace("    name", '        sqlalchemy_get_or_create = ("slug",)\n    name'),
         "said more than once"),
        (TAG.replace('        sqlalchemy_get_or_create = ("name",)',
                     '        if engine:\n            sqlalchemy_get_or_create = ("name",)'),
         "computed, or said more than once"),
        (TAG.replace('("name",)', "tuple(['name'])"), "is computed"),
        (TAG.replace("    name", "    class Meta:\n        model = Tag\n    name") + LOOKUP,
         "`class Meta` of `TagFactory` is not a plain one"),
        ("FIELDS = ('name',)\nFIELDS += ('slug',)\n" + PLAIN + BY_FIELDS, "fields that vary"),
        ("FIELDS = ['name']\nFIELDS.append('slug')\n" + PLAIN + BY_FIELDS, "fields that vary"),
        ("try:\n    FIELDS = ('name',)\nexcept ImportError:\n    FIELDS = ('slug',)\n"
         + PLAIN + BY_FIELDS, "fields that vary"),
        (PLAIN + "    _key = ('name',)\n" + BY_FIELDS.replace("FIELDS", "cls._key")
         + "\nTagFactory._key = ('slug',)\n", "which is set elsewhere"),
        (PLAIN + "    _key = ('name',)\n" + BY_FIELDS.replace("FIELDS", "cls._key")
         + "\nsetattr(TagFactory, '_key', ('slug',))\n", "which is set elsewhere"),
        (TAG + "\nTagFactory._meta.sqlalchemy_get_or_create = ()\n", "is set elsewhere"),
        (TAG + "    @classmethod\n    def by(cls):\n"
         "        return cls._meta.sqlalchemy_get_or_create\n", "is used elsewhere"),
        (PLAIN + LOOKUP + "    @classmethod\n    def default(cls):\n"
         "        return cls._create(Tag, name='x')\n", "`_create` is used elsewhere"),
        (PLAIN + LOOKUP + "\nmock.patch.object(TagFactory, '_create')\n", "is used elsewhere"),
        (TAG + "    if True:\n" + textwrap.indent(LOOKUP, "    "), "not a plain method"),
        ("def _do(cls, model_class, **kwargs): pass\n" + TAG + "    _create = classmethod(_do)\n",
         "Its `_create` is its own"),
        (TAG + "class Mixin:\n    @classmethod\n    def _save(cls, *args): return 1\n"
         "class HeirFactory(Mixin, TagFactory): pass\n",
         "`HeirFactory` overrides `_save`, by `Mixin`, and would"),
        ("try:\n    from nowhere import Own\nexcept ImportError:\n    class Own(BaseFactory):\n"
         "        pass\n" + TAG.replace("(BaseFactory)", "(Own)"),
         "A base of `TagFactory` is bound more than once"),
        (PLAIN.replace('"A"', "None") + LOOKUP.replace("obj =", 'if "name" in kwargs:\n            '
         "obj =").replace("return obj or", "    if obj: return obj\n        return"),
         "is None in `TagFactory`"),
        (PLAIN.replace("    name", "        exclude = ('name',)\n    name")
         + LOOKUP.replace('["name"]', '.get("name")'), "is excluded"),
        (PLAIN + LOOKUP.replace("return obj or super()._create(model_class, *args, **kwargs)",
         "if obj: return obj\n        try:\n            return super()._create(model_class, *args, "
         "**kwargs)\n        except IntegrityError:\n            return None"),
         "returns something else"),
        (PLAIN + LOOKUP.replace("_create(cls", "create(cls"), "Its `create` looks up"),
        (PLAIN + LOOKUP.replace("_create(cls", "_save(cls"), "Its `_save` looks up"),
        (PLAIN + LOOKUP.replace("_create(cls", "_get_or_create(cls"),
         "Its `_get_or_create` looks up"),
        (PLAIN + LOOKUP.replace("obj =", "session = session or 1\n        obj ="), "_create"),
    ],
)  # fmt: skip
def test_what_is_said_more_than_once_or_elsewhere_is_left(project, source, reason):
    """A name is relied on if it is bound once, plainly; a method if nothing else uses it."""
    project.write(HEAD + source)
    (result,) = project.upgrade()
    assert not result.changed
    assert reason in result.left[0].reason, result.left


def test_an_option_that_is_none_or_names_nothing_is_no_lookup(project):
    """There is nothing to rewrite, and nothing to say."""
    for value in ("None", "()", "KEYS"):
        project.write(HEAD + "KEYS = ()\n" + TAG.replace('("name",)', value))
        (result,) = project.upgrade()
        assert (result.changed, result.left) == (False, ())


def test_a_base_is_that_of_its_scope(project):
    """Not another of the same name in another function."""
    hooked = "    class Hooked(BaseFactory):\n        class Meta:\n            abstract = True\n"
    own = textwrap.indent(LOOKUP.replace("filter_by", "filter"), "    ")
    tag = textwrap.indent(TAG.replace("(BaseFactory)", "(Hooked)"), "    ")
    project.write(f"{HEAD}def a():\n{hooked}{own}{tag}\ndef b():\n{hooked}{tag}")
    (result,) = project.upgrade()
    assert [each.factory for each in result.rewritten] == ["b().TagFactory"]
    assert "a().Hooked" in result.left[-1].reason


@pytest.mark.parametrize(
    ("heir", "reason"),
    [
        ("    class Meta:\n        sqlalchemy_get_or_create = ()\n", "looks up by nothing"),
        ("    class Meta:\n        sqlalchemy_get_or_create = KEYS\n", "cannot be read"),
        (LOOKUP, "overrides `_create`"),
    ],
)
def test_subclasses_in_files_that_are_not_given_count(project, heir, reason):
    """The files of the project that name the class are read."""
    project.write(
        HEAD + TAG, test_x="from factories import *\nclass HeirFactory(TagFactory):\n" + heir
    )
    (result,) = project.upgrade()
    assert not result.changed
    assert reason in result.left[0].reason


# Post-generation declarations, as before


RELATED = 'factory.RelatedFactory(TagFactory, factory_related_name="category")'


@pytest.mark.parametrize(
    "declared",
    [
        f"    class Params:\n        on = True\n    tag = factory.Maybe('on', {RELATED})\n",
        f"    class Params:\n        on = factory.Trait(tag={RELATED})\n",
        "    tag = Tagged(TagFactory, factory_related_name='category')\n",
        "    @after\n    def tag(self, create, extracted, **kw):\n        TagFactory()\n",
    ],
)
@pytest.mark.parametrize("elsewhere", [False, True])
def test_post_generation_declarations_are_found_wherever_they_are(same, declared, elsewhere):
    """In a Maybe or a Trait, as a subclass, under another name, in a subclass elsewhere."""
    source = HEAD + "from factory import post_generation as after\n\n\n"
    source += PLAIN.replace('"A"', 'factory.Sequence("t{}".format)')
    source += "class Tagged(factory.RelatedFactory): pass\n"
    source += TAG.replace("Tag", "Category")
    heir = "class OneFactory(CategoryFactory):\n    label = 'x'\n" + declared * elsewhere
    if "Trait" in declared:
        heir += "    on = True\n"
    after = same(
        source + declared * (not elsewhere),
        "from heirs import *\nOneFactory(); OneFactory(); seen.append(session.query(Tag).count())",
        heirs="from factories import *\n" + heir,
    )
    assert 'post_generation="always"' in after


# Cautions


NOTHING = ""


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        (TAG + "    slug = factory.Iterator('ab')\n", cautions.DECLARATIONS),
        (TAG + "    category = factory.LazyFunction(make)\n", cautions.DECLARATIONS),
        (TAG + "    slug = factory.LazyAttribute(lambda o: make(o))\n", cautions.DECLARATIONS),
        (TAG + "    @factory.lazy_attribute\n    def slug(self): return make()\n",
         cautions.DECLARATIONS),
        (TAG + "    category = factory.SubFactory(X, name=factory.Iterator('ab'))\n",
         cautions.DECLARATIONS),
        (TAG + "    slug = 'a'\n    category = factory.SelfAttribute('x')\n"
         "    n = factory.Sequence('{}'.format)\n"
         "    l = factory.LazyAttribute(lambda o: f'{o.name.lower()}')\n"
         "    f = factory.LazyFunction(dict)\n    d = datetime.date(2020, 1, 1)\n", NOTHING),
        (TAG.replace('"A"', "factory.Iterator('ab')"), NOTHING),
        (TAG + "    class Params:\n        a = factory.Trait(c=factory.SubFactory(X))\n",
         cautions.SUBFACTORY),
        (TAG + "    c = factory.Maybe('on', factory.SubFactory(X))\n", cautions.SUBFACTORY),
        ("from nowhere import LibFactory\n" + TAG.replace("(Base", "(Lib"), cautions.UNKNOWN),
        ("from nowhere import LibFactory\n" + PLAIN.replace("(Base", "(Lib") + LOOKUP,
         cautions.UNKNOWN),
        (TAG, cautions.PENDING),
        (TAG.replace('    name = "A"', "    slug = 's'"), cautions.MISSING),
        (PLAIN + LOOKUP, cautions.SEVERAL_ROWS),
        (PLAIN + LOOKUP.replace(".first", ".limit(1).one_or_none"), cautions.SEVERAL_ROWS),
        (PLAIN + LOOKUP.replace(".first", ".one_or_none"), NOTHING),
        (PLAIN + "    @classmethod\n    def _create(cls, model_class, *args, **kwargs):\n"
         "        try:\n"
         "            return session.query(model_class).filter_by(name=kwargs['name']).one()\n"
         "        except Exception:\n"
         "            return super()._create(model_class, *args, **kwargs)\n",
         cautions.SEVERAL_ROWS),
        (PLAIN + LOOKUP.replace("return obj or super()._create(model_class, *args, **kwargs)",
         "if obj is None:\n            obj = model_class(**kwargs)\n            session.add(obj)\n"
         "            session.flush()\n            session.refresh(obj)\n        return obj"),
         cautions.RELOADED),
        (PLAIN + LOOKUP.replace("obj =", "with session.no_autoflush:\n            obj ="),
         cautions.NO_AUTOFLUSH),
        (PLAIN + LOOKUP.replace("return obj or super()._create(model_class, *args, **kwargs)",
         "if obj: return obj\n        try:\n            return super()._create(model_class, *args, "
         "**kwargs)\n        except IntegrityError:\n            return "
         'session.query(model_class).filter_by(name=kwargs["name"]).first()'),
         cautions.RETURNS_NONE),
        (PLAIN + LOOKUP.replace("name=kwargs", "category_id=kwargs").replace('"name"',
         '"category_id"') + "    category_id = 1\n", cautions.FOREIGN),
        (PLAIN + "    slug = 's'\n" + LOOKUP.replace("return obj", "obj = obj or "
         'session.query(model_class).filter_by(slug=kwargs["slug"]).first()\n        return obj'),
         cautions.KEY_ORDER),
    ],
)  # fmt: skip
def test_a_difference_that_a_test_may_see_has_a_caution(project, source, expected):
    """One for each, and none where there is nothing to see."""
    project.write(HEAD + source)
    (result,) = project.upgrade()
    assert result.left == ()
    given = result.rewritten[-1].cautions
    if expected:
        assert expected in given
    else:
        assert cautions.DECLARATIONS not in given
        assert cautions.SEVERAL_ROWS not in given


def test_outside_of_a_project_other_files_may_have_subclasses(tmp_path):
    """A caution says so where there is nothing that marks a project to search."""
    path = tmp_path / "factories.py"
    path.write_text(HEAD + TAG)
    (result,) = upgrade([path])
    assert cautions.ELSEWHERE in result.rewritten[0].cautions


# Diffs and comments


@pytest.mark.parametrize(
    "content",
    [
        b"\xef\xbb\xbf# \xc3\xa9\n",
        b"# coding: latin-1\n# \xe9\n",
        b"# -*- coding: cp1252 -*-\n# \x80\n",
        b"x = '\x0b\x1c\xe2\x80\xa8'\n",
    ],
)
def test_git_applies_the_diff_of_any_encoding(project, monkeypatch, content):
    """Through a link to the real file; its bytes are those of the file."""
    real = project.path / "real.txt"
    real.write_bytes(content + (HEAD + TAG).encode())
    os.symlink("real.txt", project.path / "factories.py")
    monkeypatch.chdir(project.path)
    (result,) = project.upgrade()
    (project.path / "it.diff").write_bytes(result.diff())
    subprocess.run(["git", "apply", "it.diff"], check=True, cwd=project.path)
    assert real.read_bytes() == result.after


def test_the_diff_of_a_file_elsewhere_has_no_dots(project, monkeypatch):
    """It is relative to the repository there, or to the root."""
    project.write(HEAD + TAG)
    (project.path / "sub").mkdir()
    (project.path / ".git").mkdir()
    monkeypatch.chdir(project.path / "sub")
    (result,) = upgrade([project.path / "sub" / ".." / "factories.py"])
    assert result.diff().startswith(b"--- a/factories.py\n")


def test_every_comment_is_kept_once(project):
    """That of a removed line above the class, in order; prose about types too."""
    project.write(
        HEAD
        + """\
from factory_reuse import (
    watch,  # one
)
class TagFactory(BaseFactory):  # two
    class Meta:
        model = Tag; sqlalchemy_get_or_create = (  # three
            "name",  # type: the name's
        )  # type: ignore
    name = "A"  # five
_rows = {}  # six
class OtherFactory(BaseFactory):
    class Meta:
        model = Tag  # seven
        # eight
        sqlalchemy_get_or_create = ("name",)  # nine
    name = "A"
"""
    )
    (result,) = project.upgrade()
    after = result.after.decode()
    for comment in ("one", "two", "three", "type: the", "five", "six", "seven", "eight", "nine"):
        assert after.count(f"# {comment}") == 1, comment
    assert after.index("# three") < after.index("# type: the") < after.index("# two")
    assert "from factory_reuse import (\n    watch,  # one\n)\n" in after


def test_names_on_lines_of_their_own_stay_there(project):
    """Ours gets one too."""
    project.write(HEAD + "from factory_reuse import (\n    find\n)\n" + TAG)
    after = project.upgrade()[0].after.decode()
    assert "from factory_reuse import (\n    find,\n    reuse_existing\n)\n" in after


# Forms


@pytest.mark.parametrize(
    ("head", "lookup"),
    [
        ("from typing_extensions import override\n", LOOKUP.replace("    def", "    @override\n"
         "    def")),
        ("", LOOKUP.replace('session.query(model_class).filter_by(name=kwargs["name"])',
         'session.exec(select(model_class).where(model_class.name == kwargs["name"]))')),
    ],
)  # fmt: skip
def test_more_forms_are_understood(project, head, lookup):
    """`@override`, and SQLModel's `exec`."""
    project.write(HEAD + head + PLAIN + lookup)
    (result,) = project.upgrade()
    assert b'@reuse_existing(on=("name",))' in result.after


def test_other_classes_of_the_same_name_are_other_classes(project):
    """A file that has the class's name for its own, or in prose, has no say in what it names."""
    project.write(
        TAG,
        other='"""TagFactory."""\n\nclass TagFactory:\n    pass\n\nTagFactory._create()\n',
        prose='"""TagFactory."""\n\ndef show(it):\n    return it._meta.sqlalchemy_get_or_create\n',
        third="from other import TagFactory\n\nTagFactory._meta.sqlalchemy_get_or_create = ()\n",
    )
    (result,) = project.upgrade()
    assert [each.factory for each in result.rewritten] == ["TagFactory"]
    project.write(TAG, user="import factories\n\nfactories.TagFactory._create(1)\n")
    (result,) = project.upgrade()
    assert result.left


def test_the_shop(tmp_path):
    """The shop's legacy factories are rewritten where they stand."""
    shop = Path(factory_reuse.__file__).parent / "_shop" / "legacy.py"
    (result,) = upgrade([shop])
    assert [each.factory for each in result.rewritten] == ["CategoryFactory", "ProductFactory"]
    assert not result.left
