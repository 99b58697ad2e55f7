"""Rewrite factory_boy's and hand-written lookups into @reuse_existing.

What is rewritten: sqlalchemy_get_or_create, and the common get-or-create in a _create. What is not
understood stays as it is, and is listed with the reason.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final, Sequence

from .paper import Paper, paper

if TYPE_CHECKING:
    from factory_reuse._upgrade.files import FileUpgrade

NAME: Final = "upgrade"
HELP: Final = "rewrite get-or-create code into @reuse_existing"
EPILOG: Final = """\
The files are rewritten in place. --diff prints what would change and writes nothing; --check
writes nothing either, and the exit status is 1 if there is something to rewrite. It needs libcst:
pip install 'factory_reuse[upgrade]'.

  factory-reuse upgrade --diff tests/factories.py
  factory-reuse upgrade tests"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    add = parser.add_argument
    add("paths", nargs="+", metavar="PATH", type=Path, help="a Python file, or a directory of them")
    add("--diff", action="store_true", help="print a diff and write nothing")
    add("--check", action="store_true", help="write nothing; status 1 if something is to rewrite")


def run(arguments: argparse.Namespace) -> int:
    """Rewrite, print and return the exit status."""
    from factory_reuse.errors import ReuseError

    missing = [str(path) for path in arguments.paths if not path.exists()]
    if missing:
        raise ReuseError(f"There is no {', '.join(missing)}.")
    try:
        from factory_reuse._upgrade.files import upgrade
    except ImportError as error:
        raise ReuseError(
            "The upgrade needs libcst. Install it: pip install 'factory_reuse[upgrade]'."
        ) from error
    dry = arguments.diff or arguments.check
    upgraded = []
    for each in upgrade(arguments.paths, writing=not dry):
        if each.changed and not dry:
            try:
                each.write()
            except OSError as error:
                each = each.refused(f"The file cannot be written: {error.strerror or error}.")
        elif each.changed and arguments.diff:
            write_diff(each.diff())
        upgraded.append(each)
    # A diff can be piped into `git apply`, so what is said of it goes elsewhere.
    write_summary(upgraded, paper(sys.stderr if arguments.diff else sys.stdout), dry=dry)
    return int(arguments.check and any(each.changed for each in upgraded))


def write_diff(diff: bytes) -> None:
    """Write a diff to standard output as it is, in the encoding of its file."""
    sys.stdout.flush()
    if hasattr(sys.stdout, "buffer"):
        sys.stdout.buffer.write(diff)
        sys.stdout.buffer.flush()
    else:  # redirected to text
        sys.stdout.write(diff.decode("utf-8", "replace"))


def write_summary(upgraded: Sequence[FileUpgrade], on: Paper, *, dry: bool) -> None:
    """Write what was rewritten, what tests may see of it, and what was left with the reason."""
    rewritten = [(each.path, rewrite) for each in upgraded for rewrite in each.rewritten]
    left = [(each.path, left) for each in upgraded for left in each.left]
    cautions: dict[str, list[str]] = {}
    for path, rewrite in rewritten:
        on.write(f"{path}:{rewrite.line}: {rewrite.factory}: {rewrite.what}", "remedy")
        for caution in rewrite.cautions:
            cautions.setdefault(caution, []).append(rewrite.factory)
    if cautions:
        on.write("What a test may see of it:", "heading")
    for caution, factories in cautions.items():
        of_all = len(factories) == len(rewritten)
        on.write(caution + ("" if of_all else f" ({', '.join(factories)})"), "warning", indent=2)
    for path, each in left:
        on.write(f"{path}:{each.line}: {each.factory or 'the file'} stays as it is", "warning")
        on.write(each.reason, indent=2)
    done = "to rewrite" if dry else "rewritten"
    on.write(f"{len(rewritten)} {done}, {len(left)} left", "heading")
