"""Tables for people, in a terminal or in Markdown, and JSON for programs."""

from __future__ import annotations

import datetime
import platform
import sys
from importlib import metadata
from typing import TYPE_CHECKING, Any

import rich.table
from rich import box
from rich.console import Console

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .goals import Goal
    from .play import Result, Table

_DISTRIBUTIONS = ("factory_reuse", "SQLAlchemy", "factory_boy", "advanced-alchemy")


def versions() -> dict[str, str]:
    """Return when this runs, and on what."""
    today = datetime.datetime.now(datetime.timezone.utc).date().isoformat()
    libraries = {name: metadata.version(name) for name in _DISTRIBUTIONS}
    return {"date": today, "Python": platform.python_version(), **libraries}


class Screen:
    """Where all is printed."""

    def __init__(self, *, markdown: bool) -> None:
        self._markdown = markdown
        wide = markdown or not sys.stdout.isatty()
        self._console = Console(width=250 if wide else None, markup=False, highlight=False)

    def say(self, text: str) -> None:
        """Print a paragraph."""
        self._console.print(text + "\n", soft_wrap=True)

    def title(self, text: str, *, level: int = 2) -> None:
        """Print a heading."""
        if self._markdown:
            self.say("#" * level + " " + text)
        else:
            self._console.print(text, style="bold")

    def header(self, about: dict[str, str], *, quick: bool) -> None:
        """Print when this ran, and on what."""
        self.say(", ".join(f"{name} {value}" for name, value in about.items()) + ".")
        if quick:
            self.say("A quick run: the figures are of little worth.")

    def table(self, table: Table) -> None:
        """Print the results of a case."""
        self.title(table.title, level=3)
        ours = table.results[0].microseconds
        columns = [("", [result.title for result in table.results])]
        for heading, cell in _COLUMNS.items():
            cells = [cell(result, ours) for result in table.results]
            if any(cells):
                columns.append((heading, cells))
        self._print(columns)
        if table.left_out:
            reasons = (f"{title} ({why})" for title, why in table.left_out.items())
            self.say(f"Not here: {', '.join(reasons)}.")
        if table.note:
            self.say(table.note)

    def goals(self, goals: dict[str, list[Goal]]) -> None:
        """Print the goals, with what each backend reaches."""
        titles = dict.fromkeys(goal.title for reached in goals.values() for goal in reached)
        columns = [("", list(titles))]
        for backend, reached in goals.items():
            by_title = {goal.title: goal for goal in reached}
            cells = [str(by_title[title]) if title in by_title else "" for title in titles]
            columns.append((backend, cells))
        self._print(columns)

    def _print(self, columns: Iterable[tuple[str, list[str]]]) -> None:
        look = box.MARKDOWN if self._markdown else box.SIMPLE
        grid = rich.table.Table(box=look)
        for heading, _ in columns:
            grid.add_column(heading, justify="right" if grid.columns else "left", no_wrap=True)
        for row in zip(*(cells for _, cells in columns)):
            grid.add_row(*row)
        with self._console.capture() as printed:
            self._console.print(grid)
        # A frame of spaces is drawn around a table that has none.
        lines = (line.rstrip() for line in printed.get().splitlines())
        self.say("\n".join(filter(None, lines)))


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:,.0f}" if value == round(value) else f"{value:,.1f}"


def _ratio(result: Result, ours: float) -> str:
    return f"{result.microseconds / ours:,.2f}"


_COLUMNS: dict[str, Any] = {
    "µs": lambda result, ours: f"{result.microseconds:,.1f}",
    "ratio to ours": _ratio,
    "statements": lambda result, ours: _number(result.statements),
    "rows created": lambda result, ours: _number(result.rows),
    "orphan rows": lambda result, ours: _number(result.orphans),
    "caller's rows left": lambda result, ours: _number(result.survivors),
    "ends in": lambda result, ours: result.error,
}
