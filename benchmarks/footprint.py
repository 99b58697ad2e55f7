"""What is no matter of time: memory, imports, and the index that a lookup uses."""

from __future__ import annotations

import gc
import os
import statistics
import subprocess
import sys
import tempfile
import tracemalloc
from typing import TYPE_CHECKING, Any

from factory_reuse._cache import LIMIT

from .cases import opened
from .competitors import CHUNK, OURS
from .measure import Player, statements
from .models import old_name

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from .backends import Backend


def memory(engine: Engine, keys: int) -> tuple[int, int, float]:
    """Return how many rows the cache keeps after so many, its limit, and the MB left at the end.

    Nobody else holds the rows, so those that the session still knows are those in the cache.
    """
    player = Player.of(OURS, engine)
    _see(player, CHUNK)  # what is made once stays
    player.rest()
    tracemalloc.start()
    try:
        before = _traced()
        _see(player, keys)
        kept = len(player.session.identity_map)
        player.session.commit()
        return kept, LIMIT, (_traced() - before) / 1e6
    finally:
        tracemalloc.stop()
        player.rest()


def _see(player: Player, keys: int) -> None:
    opened(player)
    find_all: Any = player.operations.find_all
    find_all({"name": old_name(number)} for number in range(keys))


def _traced() -> int:
    gc.collect()
    return tracemalloc.get_traced_memory()[0]


_IMPORT = """
import time, factory, factory.alchemy, sqlalchemy, sqlalchemy.orm
begin = time.process_time()
import factory_reuse
print(time.process_time() - begin)
"""


def import_milliseconds(times: int = 7) -> float:
    """Return what importing the package adds to importing what it needs, in time of the CPU."""
    command = [sys.executable, "-c", _IMPORT]
    with tempfile.TemporaryDirectory() as compiled:
        environment = {**os.environ, "PYTHONPYCACHEPREFIX": compiled}
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        # The first run compiles, which an installation does but once.
        _, *runs = (
            float(subprocess.check_output(command, env=environment)) for _ in range(1 + times)
        )
    return statistics.median(runs) * 1e3


def index_used(backend: Backend, engine: Engine, rows: int) -> dict[str, bool]:
    """Return whether the unique index finds a row, and a chunk, in a table of so many rows."""
    player = Player.of(OURS, engine)
    calls: Any = player.operations
    # For a chunk that is a good part of the table, to read all of it is faster.
    chunk = [{"name": old_name(number)} for number in range(min(CHUNK, rows // CHUNK))]
    return {
        "one row": _plans(backend, player, calls.find, old_name(7)),
        "a chunk": _plans(backend, player, calls.find_all, chunk),
    }


def _plans(backend: Backend, player: Player, call: Any, argument: Any) -> bool:
    opened(player)
    with statements(player.engine) as sent:
        call(argument)
    player.rest()
    lookups = [(text, given) for text, given in sent if text.startswith("SELECT")]
    return bool(lookups) and all(
        backend.uses_index(player.engine, text, given) for text, given in lookups
    )
