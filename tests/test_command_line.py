"""The commands `factory-reuse audit` and `explain`: what they take, print and return."""

import io
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import factory
import pytest
from factory import SelfAttribute, SubFactory
from sqlalchemy import create_engine
from sqlalchemy.orm import Session

from factory_reuse import MismatchWarning, no_reuse, reuse_existing, use_session
from factory_reuse._audit.findings import CODES
from factory_reuse._cli import paper
from factory_reuse._cli.parser import complete_module, main, make_parser
from factory_reuse._explain import explain

CATEGORY = """
class CategoryFactory(Of):
    class Meta:
        model = Category
    name = factory.Faker("word")
"""
DRAWN = (
    CATEGORY
    + """
class OtherFactory(Of):
    class Meta:
        model = Category
    color = factory.SubFactory(CategoryFactory)
"""
)
# What the audit says of it.
FOUND = ["FR201", "FR301"]
COUNTED = CATEGORY.replace('factory.Faker("word")', "factory.Sequence(str)").replace(
    "class CategoryFactory", "@reuse_existing\nclass CategoryFactory"
)
BY_HAND = CATEGORY.replace('factory.Faker("word")', "factory.LazyFunction(str)")


def read(capsys, *arguments):
    """Run a command, and return its status and what it printed."""
    status = main(list(arguments))
    printed = capsys.readouterr()
    return status, printed.out, printed.err


def codes(out):
    return [finding["code"] for finding in json.loads(out)["findings"]]


# What is audited


def test_a_package_is_walked(project, capsys):
    """A package is audited with all modules in it, but for its `__main__`."""
    package = project.directory / "shop_of_tests"
    (package / "inner").mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "__main__.py").write_text("raise SystemExit('a program')")
    (package / "inner" / "__init__.py").write_text("")
    project.write(DRAWN, "shop_of_tests/inner/factories")
    status, out, err = read(capsys, "audit", "shop_of_tests", "--format", "json")
    assert (status, err) == (1, "")
    found, _ = json.loads(out)["factories"]
    assert found["factory"] == "shop_of_tests.inner.factories.CategoryFactory"


@pytest.mark.parametrize("name", ["{name}.py", "./{name}.py", "{name}"])
def test_a_file_is_a_module(project, capsys, name):
    """A file may be named by its path, as well as by its module."""
    module = project.write(DRAWN)
    status, out, _ = read(capsys, "audit", name.format(name=module), "--format", "json")
    assert (status, codes(out)) == (1, FOUND)


def test_failed_imports(project, capsys):
    """A module that cannot be imported is named with the error, and the others are audited."""
    (project.directory / "broken_by_error.py").write_text("1 / 0")
    (project.directory / "broken_by_exit.py").write_text("raise SystemExit(3)")
    module = project.write(DRAWN)
    names = ["broken_by_error", "broken_by_exit", module, "no_such_module"]
    status, out, err = read(capsys, "audit", *names, "--format", "json", "--fail-on", "never")
    assert status == 2
    assert codes(out) == FOUND
    assert "broken_by_error cannot be imported: ZeroDivisionError: division by zero" in err
    assert "broken_by_exit cannot be imported: SystemExit: 3" in err
    assert "no_such_module cannot be imported: ModuleNotFoundError" in err
    assert [each["module"] for each in json.loads(out)["failed_imports"]] == [
        *names[:2],
        "no_such_module",
    ]


def test_test_modules_that_skip_themselves(project, capsys):
    """A test module that is skipped as a whole is no failed import."""
    (project.directory / "skipping.py").write_text(
        "import pytest\npytest.importorskip('no_such_package')"
    )
    assert read(capsys, "audit", "skipping", project.write(BY_HAND))[0] == 0


def test_directory_that_is_no_package(project, capsys):
    """A directory whose modules have no names is refused: its scripts would run."""
    (project.directory / "setup.py").write_text("raise RuntimeError")
    status, _, err = read(capsys, "audit", ".")
    assert status == 2
    assert err.startswith("factory-reuse: . is no package, so its modules have no names.")


def test_what_a_module_prints(project, capsys):
    """What a module prints on import does not get into the JSON."""
    module = project.write("print('hello')\n" + DRAWN)
    _, out, err = read(capsys, "audit", module, "--format", "json")
    assert codes(out) == FOUND
    assert err == "hello\n"


# Formats and the exit status


@pytest.mark.parametrize(
    ("source", "threshold", "status"),
    [
        (DRAWN, None, 1),
        (DRAWN, "warning", 1),
        (DRAWN, "error", 0),
        (DRAWN, "never", 0),
        (COUNTED, None, 0),
        (COUNTED, "info", 1),
        (BY_HAND, "info", 0),
    ],
)
def test_exit_status(project, capsys, source, threshold, status):
    """The status is 1 from the chosen severity on, a warning unless another is chosen."""
    options = [] if threshold is None else ["--fail-on", threshold]
    assert read(capsys, "audit", project.write(source), *options)[0] == status


def test_json(project, capsys):
    """The JSON has each factory with its key, and each finding with its place and remedy."""
    module = project.write(DRAWN)
    _, out, _ = read(capsys, "audit", module, "--format", "json")
    document = json.loads(out)
    factory, _ = document["factories"]
    assert factory["key"] == ["name"]
    assert (factory["inferred"], factory["reuse"], factory["model"]) == (True, "no", "Category")
    finding = document["findings"][0]
    assert finding["code"] == "FR201"
    assert finding["title"] == CODES["FR201"].title
    assert finding["path"] == f"{module}.py"
    line = (project.directory / finding["path"]).read_text().splitlines()[finding["line"] - 1]
    assert line == '    name = factory.Faker("word")'
    assert document["counts"] == {"error": 0, "warning": 1, "info": 1}
    assert (document["ignored"], document["accepted"], document["outdated"]) == (0, 0, [])


def test_github(project, capsys):
    """Each finding is one annotation, its special characters escaped, and that is all."""
    (project.directory / "broken_with_lines.py").write_text("raise ValueError('100%\\n2')")
    status, out, _ = read(
        capsys, "audit", project.write(DRAWN), "broken_with_lines", "--format", "github"
    )
    first, second, third = out.splitlines()
    assert status == 2
    assert first.startswith("::error::broken_with_lines cannot be imported: ")
    assert re.match(r"::warning file=audited_\d+\.py,line=\d+,title=FR201 A unique value ", second)
    assert "%" not in re.sub(r"%(25|0A|0D|3A|2C)", "", out)
    assert third.startswith("::notice ")


def test_table_on_a_pipe(project, capsys):
    """On a pipe each finding has its place first, and no line is folded or coloured."""
    module = project.write(DRAWN)
    _, out, _ = read(capsys, "audit", module)
    assert "\x1b" not in out
    assert re.search(rf"^{module}\.py:\d+: warning FR201 CategoryFactory$", out, re.M)
    assert re.search(rf"^{module}\.CategoryFactory +Category +no +name \(inferred\)$", out, re.M)
    assert out.splitlines()[-1] == "2 factories; 0 error, 1 warning, 1 info"


def test_forced_colours(project, monkeypatch, capsys):
    """FORCE_COLOR gives a pipe colours, and folds nothing there."""
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.delenv("NO_COLOR", raising=False)
    _, out, _ = read(capsys, "audit", project.write(DRAWN))
    assert "\x1b[" in out
    assert [line for line in out.splitlines() if len(line) > 120]


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize("columns", [40, 80, 200])
@pytest.mark.parametrize("with_rich", [True, False])
def test_terminals(project, monkeypatch, columns, with_rich):
    """On a terminal all fits the width; there are colours with rich, and none without."""
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    if not with_rich:
        monkeypatch.setitem(sys.modules, "rich.console", None)
    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    main(["audit", project.write(DRAWN)])
    out = terminal.getvalue()
    assert ("\x1b[" in out) == with_rich
    lines = re.sub(r"\x1b\[[\d;]*m", "", out).splitlines()
    assert max(map(len, lines)) <= columns
    assert "FR201" in out


def test_no_color(project, monkeypatch):
    """NO_COLOR turns the colours off."""
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm-256color")
    terminal = Terminal()
    paper.paper(terminal).write("a warning", "warning")
    assert "\x1b[3" not in terminal.getvalue()


# What is not reported


@pytest.mark.parametrize(
    ("comment", "left"),
    [
        ("# factory-reuse: ignore", ["FR301"]),
        ("# factory-reuse: ignore[FR201]", ["FR301"]),
        ("# noqa  # factory-reuse: ignore[FR999, FR2]", ["FR301"]),
        ("# factory-reuse: ignore[FR301]", FOUND),
    ],
)
def test_comments(project, capsys, comment, left):
    """A comment on the line of a finding ignores it, or only the codes that it names."""
    module = project.write(DRAWN.replace('("word")', f'("word")  {comment}'))
    _, out, _ = read(capsys, "audit", module, "--format", "json")
    assert codes(out) == left
    assert json.loads(out)["ignored"] == len(FOUND) - len(left)


def test_comment_on_the_class(project, capsys):
    """A comment on the line of the class is for all findings in it."""
    module = project.write(DRAWN.replace("(Of):", "(Of):  # factory-reuse: ignore", 1))
    status, out, _ = read(capsys, "audit", module, "--format", "json")
    assert (status, codes(out)) == (0, [])


@pytest.mark.parametrize(
    ("file", "text"),
    [
        (
            "setup.cfg",
            "[factory_reuse]\nignore = FR3\n    FR9\nfail_on = error\nmodules = {module}\n",
        ),
        (
            "pyproject.toml",
            '[tool.factory_reuse]\nignore = ["FR3"]\nfail-on = "error"\nmodules = ["{module}"]\n',
        ),
    ],
)
def test_configuration(project, capsys, file, text):
    """setup.cfg and pyproject.toml say what is audited, ignored and a failure."""
    module = project.write(DRAWN)
    text = text.replace("\n    FR9", "").format(module=module)
    (project.directory / file).write_text(text)
    status, out, _ = read(capsys, "audit", "--format", "json")
    assert (status, codes(out)) == (0, ["FR201"])
    status, out, _ = read(capsys, "audit", "--format", "json", "--fail-on", "warning")
    assert status == 1
    status, out, _ = read(capsys, "audit", "--format", "json", "--ignore", "FR201")
    assert codes(out) == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("ignored = FR1", "unknown option 'ignored'; known: baseline, fail_on, ignore, max_rows"),
        ("ignore = FR9", "ignore='FR9' is neither a code"),
        ("fail_on = fatal", "fail_on='fatal' is not possible; it takes one of info, warning"),
        ("max_rows = many", "max_rows='many' is not possible"),
        ("max_rows = ²", "max_rows='²' is not possible"),
        ("", "Nothing to audit"),
        ("ignore = FR1\nignore = FR2", "setup.cfg cannot be read"),
    ],
)
def test_bad_configuration(project, capsys, text, message):
    """What the configuration cannot mean is refused, with what it can."""
    (project.directory / "setup.cfg").write_text(f"[factory_reuse]\n{text}\n")
    status, _, err = read(capsys, "audit")
    assert status == 2
    assert message in err


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[tool.factory_reuse\n", "pyproject.toml cannot be read"),
        ("[tool.factory_reuse]\nmodules = [1]", "modules=[1] is not possible"),
        ("[tool.factory_reuse]\nignore = 5", "ignore=5 is not possible"),
        ("[tool.factory_reuse]\nbaseline = 5", "baseline=5 is not possible"),
        ('[tool."factory_reuse"]\nfail_on = "all"', "fail_on='all' is not possible"),
        ('x = """\n[tool.factory_reuse]\n"""', "Nothing to audit"),
    ],
)
def test_bad_toml(project, capsys, text, message):
    """What pyproject.toml cannot mean is refused, too."""
    (project.directory / "pyproject.toml").write_text(text)
    status, _, err = read(capsys, "audit")
    assert status == 2
    assert message in err


def test_text_in_another_encoding(project, capsys):
    """A file that is not UTF-8 is an error of one line."""
    (project.directory / "setup.cfg").write_bytes(b"[factory_reuse]\n# \xe9\n")
    assert "setup.cfg cannot be read" in read(capsys, "audit")[2]


def test_pipe_with_few_characters(project):
    """What a pipe cannot show is replaced."""
    module = project.write(CATEGORY)
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    finished = subprocess.run(
        [sys.executable, "-m", "factory_reuse", "explain", f"{module}:CategoryFactory", "name=é"],
        cwd=project.directory,
        env=environment,
        capture_output=True,
    )
    assert (finished.returncode, finished.stderr) == (0, b"")
    assert b"CategoryFactory(name='?')" in finished.stdout


def test_no_factory(project, capsys):
    """Modules without a factory are as good as a mistyped name: the command has failed."""
    (project.directory / "without_factories.py").write_text("")
    status, _, err = read(capsys, "audit", "without_factories")
    assert (status, err) == (2, "factory-reuse: no factory was found in these modules\n")


def test_baseline_that_cannot_be_written(project, capsys):
    """A baseline in a directory that is not there is an error of one line."""
    arguments = [
        "audit",
        project.write(CATEGORY),
        "--update-baseline",
        "--baseline",
        "no/such/file",
    ]
    status, _, err = read(capsys, *arguments)
    assert status == 2
    assert err.startswith("factory-reuse: The baseline cannot be written: ")


def test_toml_that_cannot_be_read(project, capsys, monkeypatch):
    """Where no TOML can be read, the remedy is said."""
    monkeypatch.setitem(sys.modules, "tomllib", None)
    monkeypatch.setitem(sys.modules, "tomli", None)
    (project.directory / "pyproject.toml").write_text("[tool.factory_reuse]\nfail_on = 'info'\n")
    status, _, err = read(capsys, "audit", "x")
    assert status == 2
    assert "factory_reuse[cli]" in err


def test_baseline(project, capsys):
    """Accepted findings are not reported, wherever they move; gone ones are named."""
    module = project.write(DRAWN)
    options = ["audit", module, "--baseline", "accepted.json"]
    status, out, err = read(capsys, *options, "--update-baseline")
    assert (status, out, err) == (0, "", "accepted.json: 2 accepted findings\n")

    text = (project.directory / f"{module}.py").read_text()
    (project.directory / f"{module}.py").write_text("# a line more\n" + text)
    finished = _fresh(project, *options, "--format", "json")
    document = json.loads(finished.stdout)
    assert (finished.returncode, document["findings"], document["accepted"]) == (0, [], 2)

    worse = text.replace("CategoryFactory", "AnotherFactory")
    (project.directory / f"{module}.py").write_text(worse)
    finished = _fresh(project, *options, "--format", "json")
    document = json.loads(finished.stdout)
    assert finished.returncode == 1
    assert [each["code"] for each in document["findings"]] == FOUND
    assert document["outdated"] == [
        f"FR201 {module}.CategoryFactory name",
        f"FR301 {module}.CategoryFactory name",
    ]


def test_baseline_of_more_than_is_looked_at(project, capsys):
    """What is not audited or ignored is not said to be gone from the baseline."""
    one, other = project.write(DRAWN), project.write(DRAWN)
    read(capsys, "audit", one, other, "--baseline", "all.json", "--update-baseline")
    options = ["--baseline", "all.json", "--format", "json"]
    assert json.loads(read(capsys, "audit", one, *options)[1])["outdated"] == []
    ignoring = read(capsys, "audit", one, other, *options, "--ignore", "FR3")
    assert json.loads(ignoring[1])["outdated"] == []


def _fresh(project, *arguments):
    """Run the command in a new process, as a user does."""
    return subprocess.run(
        [sys.executable, "-m", "factory_reuse", *arguments],
        cwd=project.directory,
        capture_output=True,
        text=True,
    )


@pytest.mark.parametrize(
    "content", [None, "{}", "no json", '{"accepted": 3}', '{"accepted": [1]}', '["x"]']
)
def test_bad_baseline(project, capsys, content):
    """A file that is no baseline is refused with the remedy."""
    if content is not None:
        (project.directory / "accepted.json").write_text(content)
    status, _, err = read(capsys, "audit", "x", "--baseline", "accepted.json")
    assert status == 2
    assert "Write one with --update-baseline" in err


@pytest.mark.parametrize(
    "url", ["nonsense", "nosuch://x", "sqlite:////no/such/file", "sqlite+aiosqlite://"]
)
def test_database_that_cannot_be_opened(project, capsys, url):
    """A database URL that leads nowhere is an error of one line."""
    status, _, err = read(capsys, "audit", "x", "--db", url)
    assert status == 2
    assert err.startswith("factory-reuse: --db: ")
    assert len(err.splitlines()) == 1
    assert list(project.directory.iterdir()) == []


# What all commands have in common


def test_every_command_explains_itself(capsys):
    """Each command has a help text with an example, and no line of it is wider than 100 columns."""
    for command in ("audit", "upgrade", "explain", "demo"):
        with pytest.raises(SystemExit) as ended:
            main([command, "--help"])
        out = capsys.readouterr().out
        assert ended.value.code == 0
        assert command == "demo" or f"\n  factory-reuse {command} " in out
        assert max(map(len, out.splitlines())) <= 100


def test_completion_of_modules(project):
    """Modules below the working directory are completed, and none is imported for that."""
    package = project.directory / "shop_to_complete"
    package.mkdir()
    (package / "__init__.py").write_text("raise RuntimeError")
    (package / "factories.py").write_text("raise RuntimeError")
    assert list(complete_module("shop_to_c")) == ["shop_to_complete"]
    assert list(complete_module("shop_to_complete.")) == ["shop_to_complete.factories"]
    assert list(complete_module("shop_to_complete.x")) == []
    completers = [
        action.dest
        for command in make_parser()._subparsers._group_actions[0].choices.values()
        for action in command._actions
        if hasattr(action, "completer")
    ]
    assert completers == ["modules", "factory"]


def test_completion_in_a_shell(project):
    """The command answers the shell's question for words that may follow."""
    pytest.importorskip("argcomplete")
    (project.directory / "factories_of_shell.py").write_text("")
    answers = project.directory / "answers"
    environment = {
        **os.environ,
        "_ARGCOMPLETE": "1",
        "_ARGCOMPLETE_STDOUT_FILENAME": str(answers),
        "_ARGCOMPLETE_IFS": "\n",
        "COMP_LINE": "factory-reuse audit factories_of",
        "COMP_POINT": "32",
    }
    finished = subprocess.run(
        [sys.executable, "-m", "factory_reuse"],
        cwd=project.directory,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert finished.returncode == 0, finished.stderr
    assert answers.read_text().split() == ["factories_of_shell"]


def test_closed_pipe(project):
    """A reader that goes away early is no traceback."""
    module = project.write(DRAWN)
    command = f"{sys.executable} -m factory_reuse audit {module} | true"
    finished = subprocess.run(
        command, shell=True, cwd=project.directory, capture_output=True, text=True
    )
    assert "Traceback" not in finished.stderr


# Rewriting

OLDER = CATEGORY.replace(
    "model = Category", 'model = Category\n        sqlalchemy_get_or_create = ("name",)'
)


@pytest.fixture
def older(project):
    """A file with something to rewrite, and one that is not understood."""
    pytest.importorskip("libcst")
    (project.directory / "factories").mkdir()
    name = project.write(OLDER, "factories/older")
    by_hand = (
        CATEGORY
        + """
    @classmethod
    def _create(cls, model_class, *args, **kwargs):
        for obj in cls._meta.sqlalchemy_session.query(model_class):
            return obj
        return super()._create(model_class, *args, **kwargs)
"""
    )
    project.write(by_hand, "factories/unclear")
    return project.directory / f"{name}.py"


def test_upgrade(older, capsys):
    """Files are rewritten in place; what tests may see of it, and what stays, is said."""
    status, out, _ = read(capsys, "upgrade", "factories")
    assert status == 0
    assert '@reuse_existing(on=("name",))\nclass CategoryFactory(Of):' in older.read_text()
    assert "sqlalchemy_get_or_create" not in older.read_text()
    assert "What a test may see of it:" in out
    assert out.count("A passed value that differs") == 1
    assert "factories/unclear.py:" in out.replace(os.sep, "/")
    assert out.splitlines()[-1] == "1 rewritten, 1 left"
    assert read(capsys, "upgrade", "factories")[1].splitlines()[-1] == "0 rewritten, 1 left"


def test_upgrade_diff(older, capsys):
    """A diff is all there is on standard output, and it can be applied; nothing is written."""
    before = older.read_text()
    status, out, err = read(capsys, "upgrade", "--diff", "factories")
    assert status == 0
    assert older.read_text() == before
    assert err.splitlines()[-1] == "1 to rewrite, 1 left"
    subprocess.run(["git", "apply"], input=out, text=True, check=True, cwd=older.parent.parent)
    assert '@reuse_existing(on=("name",))' in older.read_text()


def test_upgrade_diff_of_another_encoding(older, capsysbinary):
    """A diff has the bytes of the file."""
    older.write_bytes(b"# coding: latin-1\n# \xe9\n" + older.read_bytes())
    assert main(["upgrade", "--diff", "factories"]) == 0
    diff = capsysbinary.readouterr().out
    subprocess.run(["git", "apply"], input=diff, check=True, cwd=older.parent.parent)
    assert b"# \xe9\n" in older.read_bytes()
    assert b"@reuse_existing" in older.read_bytes()


def test_upgrade_of_a_file_that_cannot_be_written(older, capsys, monkeypatch):
    """It is listed, and those after it are written."""
    after = older.with_name("zoo.py")
    after.write_text(older.read_text())
    write_bytes = Path.write_bytes

    def refuse(path, content):
        if path.name == older.name:
            raise PermissionError(13, "Permission denied")
        return write_bytes(path, content)

    monkeypatch.setattr(Path, "write_bytes", refuse)
    status, out, _ = read(capsys, "upgrade", "factories")
    assert status == 0
    assert "The file cannot be written: Permission denied." in out
    assert out.splitlines()[-1] == "1 rewritten, 2 left"
    assert "@reuse_existing" in after.read_text()
    assert "@reuse_existing" not in older.read_text()


def test_upgrade_check(older, capsys):
    """A check writes nothing, and its status tells whether there is something to rewrite."""
    before = older.read_text()
    assert read(capsys, "upgrade", "--check", "factories")[0] == 1
    assert older.read_text() == before
    read(capsys, "upgrade", "factories")
    assert read(capsys, "upgrade", "--check", "factories")[0] == 0


def test_upgrade_without_libcst(older, capsys, monkeypatch):
    """Without libcst the remedy is said; so it is for a path that is not there."""
    assert "There is no nowhere." in read(capsys, "upgrade", "nowhere")[2]
    for name in [name for name in sys.modules if name.startswith("factory_reuse._upgrade")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "libcst", None)
    status, _, err = read(capsys, "upgrade", "factories")
    assert status == 2
    assert "pip install 'factory_reuse[upgrade]'" in err


def test_audit_and_upgrade_agree(older, capsys):
    """What the audit says can be replaced is rewritten, and then it no longer says so."""
    replaceable = ["audit", "factories/older.py", "--format", "json", "--ignore", "FR2,FR3"]
    assert json.loads(_fresh_in(older, *replaceable))["findings"][0]["code"] == "FR501"
    read(capsys, "upgrade", "factories")
    assert json.loads(_fresh_in(older, *replaceable))["findings"] == []


def _fresh_in(file, *arguments):
    command = [sys.executable, "-m", "factory_reuse", *arguments]
    return subprocess.run(command, cwd=file.parent.parent, capture_output=True, text=True).stdout


# One call in words

SHELF = """
from sqlalchemy import Date

class Product(Base):
    __tablename__ = "product"
    id = Column(Integer, primary_key=True)
    sku = Column(String(50), unique=True)
    title = Column(String(50))
    since = Column(Date)
    category_id = Column(ForeignKey("category.id"))
    category = relationship(Category)

@reuse_existing
class CategoryFactory(Of):
    class Meta:
        model = Category
    name = "Books"

@reuse_existing(on="sku")
class ProductFactory(Of):
    class Meta:
        model = Product
    sku = factory.Sequence("SKU-{}".format)
    title = factory.Faker("word")
    category = factory.SubFactory(CategoryFactory)

    @factory.post_generation
    def label(self, create, extracted, **kwargs):
        pass

class PlainFactory(Of):
    class Meta:
        model = Product
    sku = "x"
    category = factory.SubFactory(CategoryFactory, color="red")
"""


@pytest.fixture
def shop(project):
    """A module with a database file of one product, and its URL."""
    name = project.write(SHELF)
    module = __import__(name)
    url = f"sqlite:///{project.directory / 'shop.sqlite'}"
    engine = create_engine(url, future=True)
    module.Base.metadata.create_all(engine)
    with Session(engine, future=True) as session, use_session(session):
        module.ProductFactory(sku="01", title="Dune", category__name="Books")
        session.commit()
    engine.dispose()
    return name, url


def test_explain_a_hit(shop, capsys):
    """For a row that is there: the key, the SQL, the row, what differs, and what would not run."""
    name, url = shop
    arguments = ["sku=01", "title=Emma", "label=x", "since=2020-01-31"]
    status, out, _ = read(capsys, "explain", f"{name}:ProductFactory", *arguments, "--db", url)
    assert status == 0
    lines = [line.strip() for line in out.splitlines()]
    assert lines[0].startswith("ProductFactory(sku='01', title='Emma', label='x', since=datetime.")
    assert "Keys, declared: (sku)." in lines
    assert "By (sku): sku='01'" in lines
    assert [line for line in lines if line.startswith("SELECT") and "WHERE product.sku = ?" in line]
    assert "It would reuse Product 1." in lines
    assert (
        "title is 'Dune' there, and 'Emma' was passed: it keeps the row and warns "
        "(MismatchWarning)." in lines
    )
    assert "Would run: label." in lines
    assert "Would not run: category." in lines


def test_explain_a_miss(shop, capsys):
    """For a row that is not there: what would be inserted, and what its parents would come to."""
    name, url = shop
    status, out, _ = read(
        capsys, "explain", f"{name}.ProductFactory", "sku=02", "category__name=Books", "--db", url
    )
    lines = [line.strip() for line in out.splitlines()]
    assert status == 0
    assert "No row was found, so it would insert." in lines
    assert "title from Faker('word')" in lines
    assert "category = SubFactory(CategoryFactory), that is:" in lines
    assert "It would reuse Category 1." in lines
    assert "Then run after it: label." in lines


def test_explain_inserts_nothing(shop, capsys):
    """Nothing is inserted, and no number of a sequence is used up."""
    name, url = shop
    read(capsys, "explain", f"{name}:ProductFactory", "--db", url)
    module = sys.modules[name]
    engine = create_engine(url, future=True)
    with Session(engine, future=True) as session:
        assert session.query(module.Product).count() == 1
        assert session.query(module.Category).count() == 1
        with use_session(session):
            first = module.ProductFactory._meta.next_sequence()
            list(explain(module.ProductFactory, {}))
            assert module.ProductFactory._meta.next_sequence() == first + 1
    engine.dispose()


def test_explain_tells_what_create_does(shop):
    """What is said of a hit, a mismatch and a miss is what a call then does."""
    name, url = shop
    module = sys.modules[name]
    engine = create_engine(url, future=True)
    with Session(engine, future=True) as session, use_session(session):
        assert "It would reuse Product 1." in _words(module.ProductFactory, sku="01")
        assert module.ProductFactory(sku="01").id == 1
        assert "warns (MismatchWarning)" in _words(module.ProductFactory, sku="01", title="Emma")
        with pytest.warns(MismatchWarning):
            module.ProductFactory(sku="01", title="Emma")
        assert "it would insert" in _words(module.ProductFactory, sku="02")
        assert module.ProductFactory(sku="02").id == 2
        wrong = _words(module.ProductFactory, skuu="02")
        assert "It would raise TypeError: 'skuu' is an invalid keyword argument" in wrong
    engine.dispose()


def _words(factory, **given):
    return "\n".join(line.text for line in explain(factory, given))


@pytest.fixture
def calls(shop):
    """The module of the shop, in a session on its database."""
    name, url = shop
    engine = create_engine(url, future=True)
    with Session(engine, future=True) as session, use_session(session):
        yield sys.modules[name]
    engine.dispose()


def test_explain_passes_declarations_on(calls):
    """A SubFactory's arguments are evaluated as a call does, from the factory above it."""

    @reuse_existing(on="sku")
    class NamedFactory(calls.Of):
        class Meta:
            model = calls.Product

        sku = "Books"
        category = SubFactory(calls.CategoryFactory, name=SelfAttribute("..sku"))

    assert "By (name): name='Books'" in _words(NamedFactory)
    assert "It would reuse Category 1." in _words(NamedFactory)


def test_explain_an_update(calls):
    """Under `on_mismatch="update"` a row is said to be updated, whatever differs."""
    reuse_existing(calls.ProductFactory, on=[("sku",), ("id",)], on_mismatch="update")
    words = _words(calls.ProductFactory, id=1, sku="new")
    assert "sku is '01' there, and 'new' was passed: it would update the row." in words


def test_explain_a_hidden_row(calls):
    """A row that `where` hides is named, since it refuses the INSERT."""
    reuse_existing(calls.ProductFactory, on="sku", where=lambda model: model.title == "Emma")
    assert "does not satisfy where, so an INSERT is refused" in _words(
        calls.ProductFactory, sku="01"
    )


def test_explain_an_ambiguous_key(calls):
    """Where two rows have the key, the question is shown before the error."""
    reuse_existing(calls.ProductFactory, on="title")
    calls.ProductFactory(sku="02", title="Emma")
    with no_reuse():
        calls.ProductFactory(sku="03", title="Emma", category=None)
    words = _words(calls.ProductFactory, title="Emma")
    assert "By (title): title='Emma'\nSELECT " in words
    assert "It would raise AmbiguousMatchError: ProductFactory" in words


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"sku": factory.LazyFunction(lambda: 1 / 0)}, "It would raise ZeroDivisionError"),
        ({"category": factory.SubFactory("no.such.Factory")}, "It would raise ModuleNotFoundError"),
        ({"category__x__y": 1}, "It would raise "),
    ],
)
def test_explain_a_call_that_fails(calls, change, words):
    """What a declaration raises is said, with what came before."""
    made = type("ChangedFactory", (calls.ProductFactory,), {"sku": "new", **change})
    assert words in _words(made)


def test_explain_an_abstract_factory(calls):
    """An abstract factory is told from others."""
    assert "It is abstract: a call raises FactoryError." in _words(calls.Of)


def test_explain_older_lookups(calls):
    """What a factory without reuse looks up by itself is said, too."""

    class OlderFactory(calls.Of):
        class Meta:
            model = calls.Category
            sqlalchemy_get_or_create = ("name",)

        name = "Books"

    class OwnFactory(OlderFactory):
        class Meta:
            sqlalchemy_get_or_create = ()

        @classmethod
        def _create(cls, model_class, *args, **kwargs):
            return super()._create(model_class, *args, **kwargs)

    assert "sqlalchemy_get_or_create would look up by (name)" in _words(OlderFactory)
    assert "its own _create decides" in _words(OwnFactory)
    assert "It would raise TypeError: 'nmae' is an invalid" in _words(OlderFactory, nmae="x")


def test_explain_a_key_that_is_not_looked_up_by(calls):
    """A row that has another unique key is named, since it refuses the INSERT."""
    reuse_existing(calls.ProductFactory, on="title")
    words = _words(calls.ProductFactory, title="Emma", sku="01")
    assert "A row has sku='01', by which the factory does not look up: the INSERT is" in words
    assert "refused" not in _words(calls.ProductFactory, title="Emma", sku="02")


def test_explain_a_contradiction(calls):
    """A row that contradicts a passed key is not said to be reused."""
    reuse_existing(calls.ProductFactory, on=[("sku",), ("id",)])
    words = _words(calls.ProductFactory, id=1, sku="new")
    assert "Product 1 has the key." in words
    assert "It would reuse Product" not in words


def test_explain_without_a_database(shop, capsys):
    """A session that is bound to nothing is told, with the remedy; so is a missing table."""
    module = sys.modules[shop[0]]
    with Session(future=True) as session, use_session(session):
        assert "Name a database: --db URL." in _words(module.ProductFactory, sku="1")
    empty = create_engine("sqlite://", future=True)
    with Session(empty, future=True) as session, use_session(session):
        words = _words(module.ProductFactory, sku="1")
    empty.dispose()
    assert "It would raise OperationalError: (sqlite3.OperationalError) no such table" in words


def test_explain_takes_the_sequence(calls):
    """A forced number of the sequence is taken."""
    assert "sku='SKU-77'" in _words(calls.ProductFactory, __sequence=77)


def test_explain_a_factory_without_reuse(shop):
    """A factory that does not reuse is said to insert, its SubFactories explained all the same."""
    name, url = shop
    module = sys.modules[name]
    engine = create_engine(url, future=True)
    with Session(engine, future=True) as session, use_session(session):
        words = _words(module.PlainFactory)
    engine.dispose()
    assert "It does not reuse, so it would insert in any case." in words
    assert "CategoryFactory(color='red')" in words
    assert "color is None there, and 'red' was passed" in words


def test_explain_without_a_session(shop):
    """A factory without a session is told so, with the remedy."""
    module = sys.modules[shop[0]]
    assert "It would raise SessionError: ProductFactory (Product) has no" in _words(
        module.ProductFactory, sku="1"
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["no_such:Factory"], "no_such:Factory cannot be imported"),
        (["Factory"], "names no module"),
        (["{name}:Nothing"], "has no attribute 'Nothing'"),
        (["{name}:Product"], "is no factory"),
        (["{name}:ProductFactory", "sku"], "'sku' is not key=value."),
        (["{name}:ProductFactory", "since=soon"], "since='soon' is no date."),
        (["{name}:ProductFactory", "id=one"], "id='one' is no int."),
        (["{name}:ProductFactory", "sku=1", "sku=2"], "sku is given twice."),
    ],
)
def test_explain_refuses(shop, capsys, arguments, message):
    """What cannot be explained is an error of one line that names it."""
    status, _, err = read(capsys, "explain", *[each.format(name=shop[0]) for each in arguments])
    assert status == 2
    assert message in err
    assert len(err.splitlines()) == 1
