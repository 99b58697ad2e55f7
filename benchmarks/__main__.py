"""The command line: ``python -m benchmarks``."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import factory.random

from .backends import BACKENDS, Unavailable
from .goals import Ground, reached
from .growth import FEW_ROWS
from .measure import QUICK, Scale
from .show import Screen, versions
from .tables import SLUGS, tables

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .backends import Backend
    from .goals import Goal


def main(argv: Sequence[str] | None = None) -> int:
    """Measure what ``argv`` asks for, print it, and return the exit status."""
    options = _parser().parse_args(argv)
    factory.random.reseed_random("benchmarks")
    screen = Screen(markdown=options.markdown)
    backends, about = _there(options.backend or list(BACKENDS))
    screen.header(about, quick=options.quick)
    show = _show_goals if options.what == "goals" else _show_tables
    measured = show(screen, backends, options)
    if options.json:
        scale = dataclasses.asdict(_scale(options))
        record = {"about": about, "scale": scale, options.what: measured}
        options.json.write_text(json.dumps(record, indent=2) + "\n")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Measure what a reused row costs, beside the other ways to get it.",
    )
    add = parser.add_argument
    add(
        "what",
        nargs="?",
        choices=("tables", "goals"),
        default="tables",
        help="tables of all cases and competitors (default), or the goals and what is reached",
    )
    several: Any = {"action": "append", "metavar": "NAME"}
    add(
        "--backend",
        choices=BACKENDS,
        help=f"one of {', '.join(BACKENDS)}; again for more",
        **several,
    )
    add("--case", choices=SLUGS, help=f"one of {', '.join(SLUGS)}; again for more", **several)
    add("--rounds", type=int, help="how often each competitor has its turn")
    add("--quick", action="store_true", help="see that all runs: figures of little worth, soon")
    add("--json", type=Path, metavar="FILE", help="write what was measured there, too")
    add("--markdown", action="store_true", help="print tables as docs/ shows them")
    return parser


def _scale(options: argparse.Namespace) -> Scale:
    scale = QUICK if options.quick else Scale()
    return dataclasses.replace(scale, rounds=options.rounds) if options.rounds else scale


def _there(names: Sequence[str]) -> tuple[list[Backend], dict[str, str]]:
    """Return the backends that answer, and what this runs on, those that do not included."""
    backends, about = [], versions()
    for backend in map(BACKENDS.__getitem__, names):
        try:
            about[backend.title] = backend.version()
            backends.append(backend)
        except Unavailable as error:
            about[backend.title] = f"skipped: {error}"
    return backends, about


def _show_tables(screen: Screen, backends: list[Backend], options: argparse.Namespace) -> Any:
    measured: dict[str, list[Any]] = {}
    for backend in backends:
        screen.title(backend.title)
        measured[backend.name] = []
        for table in tables(backend, options.case or SLUGS, _scale(options)):
            screen.table(table)
            measured[backend.name].append(dataclasses.asdict(table))
    return measured


def _show_goals(screen: Screen, backends: list[Backend], options: argparse.Namespace) -> Any:
    goals: dict[str, list[Goal]] = {}
    scale = _scale(options)
    for backend in backends:
        with contextlib.ExitStack() as stack:
            sizes = (scale.main_rows, FEW_ROWS, scale.table)
            engine, small, large = [stack.enter_context(backend.database(rows)) for rows in sizes]
            goals[backend.title] = reached(Ground(backend, engine, small, large, scale))
    screen.goals(goals)
    return {name: [dataclasses.asdict(goal) for goal in reached] for name, reached in goals.items()}


if __name__ == "__main__":
    sys.exit(main())
