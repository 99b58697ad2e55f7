"""The examples in README.md and docs/ are run as they stand."""

import json
import re
import sys
from pathlib import Path
from typing import Any, List

import pytest
from sqlalchemy.engine import Engine
from sqlalchemy.orm import Session, scoped_session
from sybil import Document
from sybil.parsers.markdown import PythonCodeBlockParser, SkipParser

import factory_reuse
from factory_reuse import errors
from factory_reuse._audit.findings import CODES
from factory_reuse._audit.settings import Settings
from factory_reuse._cli.parser import main, make_parser
from factory_reuse._declared import PREFIX
from factory_reuse._policy import DEFAULTS, OPTIONS
from factory_reuse._suite.figures import Figures
from factory_reuse._suite.files import as_json

ROOT = Path(__file__).parent.parent
PAGES = ROOT / "docs"


@pytest.mark.usefixtures("engines_disposed")
@pytest.mark.parametrize(
    "page", [ROOT / "README.md", *sorted(PAGES.rglob("*.md"))], ids=lambda page: page.stem
)
def test_examples(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The Python blocks of a page run one after the other, in one namespace and an empty place."""
    monkeypatch.chdir(tmp_path)
    document = Document.parse(str(page), PythonCodeBlockParser(), SkipParser())
    document.namespace["__name__"] = "docs_example"
    try:
        for example in document.examples():
            example.evaluate()
    finally:
        for value in document.namespace.values():
            if isinstance(value, (Session, scoped_session)):
                value.close() if isinstance(value, Session) else value.remove()
        for value in document.namespace.values():
            if isinstance(value, Engine):
                value.dispose()


@pytest.mark.parametrize("page", ["docs/explanation/guarantees.md"])
def test_linked_tests(page: str) -> None:
    """Each test that a page links to is in the file that it links to."""
    text = (ROOT / page).read_text("utf-8")
    links = re.findall(r"\[`(test_\w+)`\]\(([^)\s]+)\)", text)
    assert len(links) > 40
    for name, target in links:
        linked = (ROOT / page).parent / target
        assert f"def {name}(" in linked.read_text("utf-8"), (name, target)


def headings(page: Path) -> List[str]:
    """Return the headings of the second level."""
    return re.findall(r"^## (.+)$", page.read_text("utf-8"), re.M)


def test_public_names() -> None:
    """Each name that the package shows is on the page of the API, and no other."""
    page = (PAGES / "reference" / "api.md").read_text("utf-8")
    directives = set(re.findall(r"auto(?:function|class):: ([\w.]+)", page))
    modules = set(re.findall(r"automodule:: ([\w.]+)\n   :members:", page))
    assert modules == {f"factory_reuse.{name}" for name in ("aio", "errors", "report")}
    classes = set(factory_reuse.__all__) & set(errors.__all__)
    assert directives == {
        *set(factory_reuse.__all__) - classes,
        "factory_reuse.pytest_plugin.reuse_report",
    }
    assert set(factory_reuse.errors.__all__) == classes


def test_options() -> None:
    """Each option has a section that tells its default and its name in Meta, and no other has."""
    page = PAGES / "reference" / "options.md"
    text = page.read_text("utf-8")
    others = ["Meta.reuse", "Params.unique_fields", "sqlalchemy_get_or_create"]
    assert headings(page) == [*OPTIONS, *others, "Which options are whose"]
    rows = re.findall(r"^\| \[`(\w+)`\]\(#\1\) \| `(\w+)` \| `(.+?)` \|", text, re.M)
    assert rows == [
        (name, PREFIX + name, repr(DEFAULTS[name]).replace("'", '"')) for name in OPTIONS
    ]


def test_errors() -> None:
    """Each error and the warning has a section, at the address that its messages name."""
    page = PAGES / "reference" / "errors.md"
    assert sorted(headings(page)[:-1]) == sorted(errors.__all__)
    assert errors.EXPLAINED.endswith("/reference/errors.html")
    assert str(errors.MismatchError("x")).endswith("/reference/errors.html#mismatcherror)")
    assert str(errors.MismatchWarning("x")).endswith("/reference/errors.html#mismatchwarning)")


@pytest.mark.parametrize(
    "page", [*ROOT.glob("*.md"), *PAGES.rglob("*.md")], ids=lambda page: page.stem
)
def test_links(page: Path) -> None:
    """Each link to a file leads to one that is there, and each to a heading to a heading."""
    text = re.sub(r"^```.*?^```", "", page.read_text("utf-8"), flags=re.M | re.S)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        path, _, anchor = target.partition("#")
        if "://" in target or target.startswith("mailto:"):
            continue
        linked = (page.parent / path).resolve() if path else page
        assert linked.exists(), target
        if anchor and linked.suffix == ".md":
            titles = re.findall(r"^#+ (.+)$", linked.read_text("utf-8"), re.M)
            slugs = {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}
            assert anchor in slugs, target


def test_architecture() -> None:
    """Each module of the package has its place on the page of the architecture, and no other."""
    page, _, _ = (PAGES / "architecture.md").read_text("utf-8").partition("## One call's way")
    table = "".join(re.findall(r"^\| (`\S.*?) \|", page, re.M))
    package = ROOT / "factory_reuse"
    modules = {each.stem for each in package.glob("*.py")} | {
        each.parent.name for each in package.glob("*/__init__.py")
    }
    assert set(re.findall(r"`([\w.]+)`", table)) == modules


def test_pytest_options() -> None:
    """Each option and marker of the plugin is explained, and no other."""
    page = (PAGES / "reference" / "pytest.md").read_text("utf-8")
    plugin = (ROOT / "factory_reuse" / "pytest_plugin.py").read_text("utf-8")
    options = set(re.findall(r'"(--reuse-\w+)"', plugin))
    assert len(options) == 4
    assert set(re.findall(r"--reuse-\w+", page)) == options
    markers = set(re.findall(r'"(\w+)(?:\([\w, ]+\))?: ', plugin))
    assert markers == {"no_reuse", "reuse_budget"}
    assert markers <= set(re.findall(r"pytest\.mark\.(\w+)", page))


def test_audit_codes() -> None:
    """Each code of the audit is explained with its severity, and no other."""
    page = (PAGES / "reference" / "command-line.md").read_text("utf-8")
    explained = dict(re.findall(r"^\| (FR\d{3}) \| (\w+) \|", page, re.M))
    assert explained == {code: each.severity for code, each in CODES.items()}
    assert set(re.findall(r"FR\d{3}", page)) <= set(CODES)


def test_command_line_options() -> None:
    """Each command, option and setting is explained, and no other."""
    page = (PAGES / "reference" / "command-line.md").read_text("utf-8")
    parser: Any = make_parser()
    (commands,) = parser._subparsers._group_actions
    parsers = commands.choices
    options = {
        option
        for parser in parsers.values()
        for action in parser._actions
        for option in action.option_strings
        if option not in ("-h", "--help")
    }
    assert set(re.findall(r"(?<!-)--[a-z][a-z-]+", page)) == options
    assert set(re.findall(r"factory-reuse (\w+)", page)) == {*parsers} - {"demo"}
    settings = set(Settings.__dataclass_fields__)
    assert all(name.replace("_", "-") in page or name in page for name in settings)


def test_audit_on_a_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What a page shows of an audit is what the audit says of its factories, lines folded."""
    page = (PAGES / "how-to" / "legacy-suite.md").read_text("utf-8")
    (source, *_), (shown, *_) = (
        re.findall(rf"^```{kind}\n(.*?)^```", page, re.M | re.S) for kind in ("python", "text")
    )
    name = "factories_on_a_page"  # other tests have factories, too
    (tmp_path / f"{name}.py").write_text(source, "utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    main(["audit", f"{name}.py"])
    sys.modules.pop(name).engine.dispose()
    said = capsys.readouterr().out.replace(name, "factories")
    # How many of Faker's values repeat is another matter in another version of it.
    said, shown = (re.sub(r"\d+ of 1000", "some of 1000", text) for text in (said, shown))
    assert said.split() == shown.split()


def test_report_schema_says_all() -> None:
    """Each field of the report's file has a line in its schema."""
    target = "../../factory_reuse/_suite/report.schema.json"
    assert target in (PAGES / "reference" / "pytest.md").read_text("utf-8")
    schema = json.loads((PAGES / "reference" / target).read_text("utf-8"))
    document = json.loads(as_json(Figures()))
    assert set(schema["properties"]) == set(schema["required"]) == set(document)
    assert set(schema["properties"]["totals"]["properties"]) == set(document["totals"])
