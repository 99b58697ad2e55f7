"""The cases: states that a caller may be in, and what is called there."""

from __future__ import annotations

import itertools
import random
from functools import partial
from typing import TYPE_CHECKING, Any

from .conflict import Conflict
from .models import BRANCHES, Country, old_city, old_name
from .play import Case

if TYPE_CHECKING:
    from .measure import Player


def opened(player: Player) -> None:
    """Bring the player into a transaction that has seen nothing."""
    player.rest()
    player.session.connection()


def seen(player: Player, *, calls: int = 2) -> None:
    """Bring the player into a transaction that has seen the row, which the caller holds.

    After two calls, so that what is kept for the next from the second call on is there.
    """
    opened(player)
    for _ in range(calls):
        if player.operations.find is not None:
            player.kept.append(player.operations.find(SEEN))


def nested(player: Player) -> None:
    """Bring the player into such a transaction, in which products refer to the row already."""
    seen(player)
    for _ in range(2):
        assert player.operations.nest is not None
        player.operations.nest(SEEN)


def written(player: Player, *, count: int = 1) -> None:
    """Bring the player into a transaction in which the caller has written rows.

    On SQLite it has then begun for all: a SAVEPOINT that comes first there is a transaction by
    itself, and its RELEASE commits.
    """
    opened(player)
    player.session.add_all(Country(name=new_name("Own"), currency="EUR") for _ in range(count))
    player.session.flush()


SEEN = old_name(7)

_fresh = itertools.count()


def new_name(word: str = "New") -> str:
    """Return a name that nothing has."""
    return f"{word} {next(_fresh)}"


def the_same(count: int) -> list[Any]:
    """Return one name, again and again."""
    return [SEEN] * count


def new(count: int) -> list[Any]:
    """Return names that nothing has."""
    return [new_name() for _ in range(count)]


def old_cities(count: int) -> list[Any]:
    """Return cities that are there, each once."""
    return [old_city(number) for number in random.sample(range(BRANCHES), min(count, BRANCHES))]


def old_rows(count: int) -> list[Any]:
    """Return one batch of categories that are there."""
    return [[{"name": old_name(number)} for number in range(count)]]


def new_rows(count: int) -> list[Any]:
    """Return one batch of categories that are not there."""
    return [[{"name": name} for name in new(count)]]


REPEATED = Case("repeated", "Repeated hit", "find", seen, the_same)
NESTED = Case("nested", "Nested hit", "nest", nested, the_same, parents=True)
SECOND = Case(
    "second", "Second hit in a transaction", "find", partial(seen, calls=1), the_same, each=True
)
FIRST = Case("first", "First hit in a transaction", "find", opened, the_same, each=True)
MISS = Case("miss", "Miss, flush mode", "make", written, new)
OLD_BATCH = Case(
    "batch-old", "Batch of {:,} existing rows", "find_all", opened, old_rows, batch=True
)
NEW_BATCH = Case("batch-new", "Batch of {:,} new rows", "make_all", written, new_rows, batch=True)

CASES = (
    REPEATED,
    NESTED,
    FIRST,
    SECOND,
    MISS,
    Conflict(
        "conflict",
        "Conflict, with 3 rows of the caller's in the transaction",
        "collide",
        partial(written, count=3),
        new,
        each=True,
    ),
    Case("tree-hit", "Three levels, hit", "find_city", written, old_cities, parents=True),
    Case("tree-miss", "Three levels, miss", "make_city", written, new, parents=True),
    OLD_BATCH,
    NEW_BATCH,
)
