"""Show a small shop before and after, on an in-memory SQLite."""

from __future__ import annotations

import argparse
from typing import Final

NAME: Final = "demo"
HELP: Final = "show a small shop before and after"
EPILOG: Final = ""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Take none."""


def run(arguments: argparse.Namespace) -> int:
    """Print the demo."""
    # Imported here: the shop declares its tables and factories on import.
    from factory_reuse import _demo

    print(_demo.report())
    return 0
