"""Say in words what one call of a factory would do; nothing is inserted.

Only the fields of the key are evaluated, as a call would.
"""

from __future__ import annotations

import argparse
import contextlib
from typing import Final

from .database import database
from .paper import paper

NAME: Final = "explain"
HELP: Final = "say what one call would do, without doing it"
EPILOG: Final = """\
  factory-reuse explain tests.factories:ProductFactory sku=SKU-1 category__name=Books
  factory-reuse explain tests.factories:UserFactory email=ann@example.org --db sqlite:///test.db"""

_STYLES: Final = {
    "heading": "heading",
    "sql": "sql",
    "hit": "remedy",
    "miss": "warning",
    "problem": "error",
    "text": "",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    add = parser.add_argument
    add("factory", metavar="FACTORY", help="module:Name")
    add("values", nargs="*", metavar="key=value", help="what the call passes")
    add("--db", metavar="URL", help="look in this database, not in the factory's session")


def run(arguments: argparse.Namespace) -> int:
    """Explain the call."""
    from sqlalchemy.orm import Session

    from factory_reuse._audit.modules import import_one
    from factory_reuse._explain import explain
    from factory_reuse._scope import use_session
    from factory_reuse.errors import ReuseError

    from .arguments import values_of

    try:
        factory = import_one(arguments.factory)
    except Exception as error:  # whatever the module does
        reason = f"{type(error).__name__}: {error}".partition("\n")[0]
        raise ReuseError(f"{arguments.factory} cannot be imported: {reason}") from error
    if not hasattr(factory, "_meta"):
        raise ReuseError(f"{arguments.factory} is no factory.")
    given = values_of(factory, arguments.values)
    on = paper()
    with database(arguments.db) as engine, contextlib.ExitStack() as scope:
        if engine is not None:
            session = scope.enter_context(contextlib.closing(Session(engine, future=True)))
            scope.enter_context(use_session(session))
        for line in explain(factory, given):
            on.write(line.text, _STYLES[line.kind], indent=2 * line.depth)
    return 0
