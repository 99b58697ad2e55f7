"""The command line: ``python -m factory_reuse``."""

from __future__ import annotations

import argparse
import sys
from importlib import metadata
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command that ``argv`` names and return the exit status."""
    _parser().parse_args(argv).run()
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m factory_reuse",
        description="Make factory_boy factories for SQLAlchemy reuse the rows that are there.",
    )
    parser.add_argument("--version", action="version", version=_version())
    commands = parser.add_subparsers(metavar="command", required=True)
    demo = commands.add_parser("demo", help="show a small shop before and after")
    demo.set_defaults(run=_show_demo)
    return parser


def _version() -> str:
    try:
        return "factory_reuse " + metadata.version("factory_reuse")
    except metadata.PackageNotFoundError:
        return "factory_reuse (not installed)"


def _show_demo() -> None:
    # Imported here: the shop declares its tables and factories on import.
    from factory_reuse import _demo

    print(_demo.report())


if __name__ == "__main__":
    sys.exit(main())
