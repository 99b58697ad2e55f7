"""The figures as files: JSON for programs, one HTML page for people."""

from __future__ import annotations

import json
from importlib import metadata
from pathlib import Path
from typing import Any, Callable, Final

from .calls import Calls
from .figures import Figures

#: The version of the JSON file's form; see report.schema.json.
SCHEMA: Final = 1

_PAGE: Final = Path(__file__).with_name("page")


def write(file: Path, figures: Figures) -> None:
    """Write the figures in the form that the file's name asks for."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(WRITERS[file.suffix](figures), encoding="utf-8")


def as_json(figures: Figures) -> str:
    """Return the figures as report.schema.json says."""
    return json.dumps(_document(figures), indent=1)


def as_page(figures: Figures) -> str:
    """Return one page that needs nothing beside it."""
    document = _document(figures)
    tests = document.pop("tests")
    names = {each["id"]: number for number, each in enumerate(document["factories"])}
    for each, factory in zip(document["factories"], names):
        each["label"] = figures.name(factory)
    document["tests"] = [
        [test["id"], test["seconds"], [_frame(calls, names) for calls in test["calls"]]]
        for test in tests
    ]
    parts = {name: (_PAGE / name).read_text("utf-8") for name in _PARTS}
    page = (_PAGE / "page.html").read_text("utf-8")
    # Inside a script nothing ends it but this, whatever the code under test calls its things.
    parts["data"] = json.dumps(document, separators=(",", ":")).replace("<", "\\u003c")
    for name, content in parts.items():
        before, _, after = page.partition(f"<!--{name}-->")
        page = before + content + after
    return page


#: What is put into the page, where it says so.
_PARTS: Final = ("page.css", "flamegraph.css", "flamegraph.js", "page.js")

#: How a file is written, by how its name ends.
WRITERS: Final[dict[str, Callable[[Figures], str]]] = {".json": as_json, ".html": as_page}


def _document(figures: Figures) -> dict[str, Any]:
    calls = figures.all_calls()
    return {
        "schema": SCHEMA,
        "version": metadata.version("factory_reuse"),
        "totals": figures.totals(calls),
        "factories": figures.factories(calls),
        "cascades": figures.cascades(calls),
        "tests": list(figures.tests.values()),
        "leaks": figures.leaks,
    }


def _frame(calls: Calls, names: dict[str, int]) -> list[Any]:
    """Return a frame of the flame graph: factory, seconds, new rows, statements, calls, inside."""
    inside = [_frame(each, names) for each in calls["inside"]]
    rows = calls["created"] + sum(frame[2] for frame in inside)
    seconds = round(calls["seconds"], 6)
    return [names[calls["factory"]], seconds, rows, calls["statements"], calls["calls"], inside]
