"""The examples in README.md and docs/ are run as they stand."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.engine import Engine
from sqlalchemy.orm import Session, scoped_session
from sybil import Document
from sybil.parsers.markdown import PythonCodeBlockParser, SkipParser

from factory_reuse._audit.findings import CODES
from factory_reuse._audit.settings import Settings
from factory_reuse._cli.parser import make_parser
from factory_reuse._suite.figures import Figures
from factory_reuse._suite.files import as_json

ROOT = Path(__file__).parent.parent
PAGES = ROOT / "docs"


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
    (commands,) = make_parser()._subparsers._group_actions  # type: ignore[union-attr]
    parsers: Any = commands.choices
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


def test_report_schema_says_all() -> None:
    """Each field of the report's file has a line in its schema."""
    target = "../../factory_reuse/_suite/report.schema.json"
    assert target in (PAGES / "reference" / "pytest.md").read_text("utf-8")
    schema = json.loads((PAGES / "reference" / target).read_text("utf-8"))
    document = json.loads(as_json(Figures()))
    assert set(schema["properties"]) == set(schema["required"]) == set(document)
    assert set(schema["properties"]["totals"]["properties"]) == set(document["totals"])
