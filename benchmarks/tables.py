"""All tables of a backend: every case, with every competitor."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .cases import CASES
from .competitors import COMPETITORS
from .growth import FEW_ROWS, by_keys, by_rows
from .measure import Player
from .play import run

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from .backends import Backend
    from .measure import Scale
    from .play import Table

_GROWTH = {"growth-rows": by_rows, "growth-keys": by_keys}

#: What the tables are called on the command line.
SLUGS = [*(case.slug for case in CASES), *_GROWTH]


def tables(backend: Backend, slugs: Collection[str], scale: Scale) -> Iterator[Table]:
    """Measure and return the tables of these names, in a fixed order."""
    cases = [case for case in CASES if case.slug in slugs]
    if cases:
        with backend.database(scale.main_rows) as engine:
            players = [Player.of(title, engine) for title in COMPETITORS]
            for case in cases:
                yield run(case, players, scale)
    growth = [measure for slug, measure in _GROWTH.items() if slug in slugs]
    if growth:
        with backend.database(FEW_ROWS) as small, backend.database(scale.table) as large:
            for measure in growth:
                yield measure(small, large, scale)
