"""The commands, and what they have in common."""

# PYTHON_ARGCOMPLETE_OK

from __future__ import annotations

import argparse
import io
import os
import pkgutil
import sys
from importlib import metadata
from typing import Any, Iterator, Sequence

from factory_reuse.errors import ReuseError

from . import audit, demo, explain, upgrade

#: The exit status when the command itself could not do its work, as that of argparse.
FAILED = 2


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command that ``argv`` names and return the exit status."""
    parser = make_parser()
    _offer_completion(parser)
    arguments = parser.parse_args(argv)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a pipe may know fewer characters
    try:
        status: int = arguments.run(arguments)
        sys.stdout.flush()
    except ReuseError as error:
        print(f"factory-reuse: {error.message}", file=sys.stderr)
        return FAILED
    except BrokenPipeError:  # `| head`: what is left to write, nobody reads
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    return status


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of all commands."""
    parser = argparse.ArgumentParser(
        prog="factory-reuse",
        description="Make factory_boy factories for SQLAlchemy reuse the rows that are there.",
    )
    parser.add_argument("--version", action="version", version=_version())
    commands = parser.add_subparsers(metavar="command", required=True)
    for command in (audit, upgrade, explain, demo):
        below: Any = commands.add_parser(
            command.NAME,
            help=command.HELP,
            description=command.__doc__,
            epilog=command.EPILOG,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        command.add_arguments(below)
        actions: Any = below._actions
        for action in actions:
            if action.dest in ("modules", "factory"):
                action.completer = complete_module
        below.set_defaults(run=command.run)
    return parser


def complete_module(prefix: str, **context: Any) -> Iterator[str]:
    """Yield the names of modules below the working directory that begin so; nothing is imported."""
    package, _, _ = prefix.rpartition(".")
    directory = os.path.join(os.getcwd(), *package.split(".")) if package else os.getcwd()
    for found in pkgutil.iter_modules([directory]):
        name = f"{package}.{found.name}" if package else found.name
        if name.startswith(prefix):
            yield name


def _offer_completion(parser: argparse.ArgumentParser) -> None:
    """Let the shell complete, where the extra ``cli`` and the shell's own set-up are there."""
    if "_ARGCOMPLETE" not in os.environ:
        return
    try:
        import argcomplete
    except ImportError:
        return
    argcomplete.autocomplete(parser)


def _version() -> str:
    try:
        return "factory_reuse " + metadata.version("factory_reuse")
    except metadata.PackageNotFoundError:
        return "factory_reuse (not installed)"
