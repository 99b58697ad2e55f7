"""How the cost of a hit grows: with the rows of the table, and with the keys in the cache."""

from __future__ import annotations

import random
from functools import partial
from typing import TYPE_CHECKING, Any

from .cases import opened
from .competitors import OURS
from .measure import Player, interleave, loop_cost, no_garbage, seconds_of
from .models import old_name
from .play import Case, Result, Table, calls

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from .measure import Scale

#: How many rows the small table has.
FEW_ROWS = 1_000

_FEW_KEYS = 10
_HITS = 500


def by_rows(small: Engine, large: Engine, scale: Scale) -> Table:
    """Return what a first hit costs in a small and in a large table."""
    plays = {
        Player.of(title, engine, label=f"{title}, {rows:,} rows"): Case(
            "growth-rows", "", "find", opened, partial(_spread, rows)
        )
        for title in (OURS, "sqlalchemy_get_or_create", "select")
        for engine, rows in ((small, FEW_ROWS), (large, scale.table))
    }
    title = "First hits, by the number of rows in the table"
    return Table("growth-rows", title, calls(plays, scale))


def _spread(rows: int, count: int) -> list[Any]:
    return [old_name(number) for number in random.sample(range(rows), min(count, FEW_ROWS))]


def by_keys(_: Engine, large: Engine, scale: Scale) -> Table:
    """Return what a repeated hit costs after few keys in the transaction, and after many."""
    turns = {}
    for keys in (_FEW_KEYS, scale.keys):
        player, last = Player.of(OURS, large), old_name(keys - 1)
        opened(player)
        ours: Any = player.operations
        ours.find_all({"name": old_name(number)} for number in range(keys))
        ours.find(last)
        turns[f"{OURS}, {keys:,} keys seen"] = partial(_hits, ours.find, last)
    empty = loop_cost()
    results = [
        Result(title, (seconds - empty) * 1e6, statements=0)
        for title, seconds in interleave(turns, scale.rounds).items()
    ]
    title = "Repeated hit, by the number of keys that the transaction has seen"
    return Table("growth-keys", title, results)


def _hits(find: Any, name: str) -> float:
    with no_garbage():
        return seconds_of(find, [name] * _HITS) / _HITS
