"""Rounds that take turns, and what a call did to the database."""

from __future__ import annotations

import contextlib
import gc
import random
import statistics
from dataclasses import dataclass, field
from time import perf_counter
from typing import TYPE_CHECKING, Any, TypeVar

from sqlalchemy import event, func, select
from sqlalchemy.orm import Session

from .competitors import COMPETITORS
from .models import BRANCHES, REFERENCES, Base

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from sqlalchemy import Engine, Select

    from .operations import Operations

K = TypeVar("K")


@dataclass(frozen=True)
class Scale:
    """How much is measured.

    Attributes:
        rounds: how often each competitor has its turn.
        seconds: how long a turn lasts, about: so short that most pass without a halt.
        batch: the rows of a batch.
        sample: how many of them those do who go row by row.
        batch_rounds: how often a batch is run.
        table: the rows of the large table.
        keys: the keys of the large cache.
    """

    rounds: int = 100
    seconds: float = 0.002
    batch: int = 10_000
    sample: int = 1_000
    batch_rounds: int = 3
    table: int = 1_000_000
    keys: int = 100_000

    @property
    def main_rows(self) -> int:
        """How many rows the table has that all but the growth is measured on."""
        return max(self.batch, BRANCHES)


#: Shows that all runs, and little more.
QUICK = Scale(
    rounds=5, seconds=0.001, batch=300, sample=50, batch_rounds=1, table=10_000, keys=5_000
)


@dataclass(eq=False)
class Player:
    """A competitor with a session of its own, so that nobody's listeners slow down another.

    Attributes:
        kept: what the caller holds on to.
    """

    title: str
    engine: Engine
    session: Session
    operations: Operations
    kept: list[Any] = field(default_factory=list)

    @classmethod
    def of(cls, title: str, engine: Engine, *, label: str = "") -> Player:
        """Return the competitor of that title, playing on the engine's database."""
        return cls.new(label or title, engine, COMPETITORS[title])

    @classmethod
    def new(cls, title: str, engine: Engine, competitor: Callable[[Session], Operations]) -> Player:
        """Return the competitor, playing on the engine's database."""
        session = Session(engine)
        return cls(title, engine, session, competitor(session))

    def rest(self) -> None:
        """End the transaction, and with it all that the player knows."""
        self.kept.clear()
        self.session.close()
        self.operations.forget()


def interleave(rounds: Mapping[K, Callable[[], float]], times: int) -> dict[K, float]:
    """Let each run one round in turn, ``times`` times, and return the median for each.

    What slows the machine down for a while then hits all of them, and the medians of none. The
    order changes, lest a machine that halts us every tenth of a second always halts the same one.
    """
    gc.collect()
    gc.freeze()  # what is there now is out of every later collection, which is quick then
    samples: dict[K, list[float]] = {key: [] for key in rounds}
    for _ in range(times):
        for key in random.sample(list(rounds), len(rounds)):
            samples[key].append(rounds[key]())
    return {key: statistics.median(measured) for key, measured in samples.items()}


def seconds_of(call: Callable[[Any], object], arguments: Iterable[Any]) -> float:
    """Return the seconds that calling with each argument in turn takes."""
    begin = perf_counter()
    for argument in arguments:
        call(argument)
    return perf_counter() - begin


@contextlib.contextmanager
def no_garbage() -> Iterator[None]:
    """For the block, the garbage of one competitor is not collected at another's expense."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def loop_cost() -> float:
    """Return the seconds that :func:`seconds_of` takes per call when the call does nothing."""
    arguments = ["name"] * 10_000
    with no_garbage():
        return min(seconds_of(lambda name: None, arguments) for _ in range(20)) / len(arguments)


@contextlib.contextmanager
def statements(engine: Engine) -> Iterator[list[tuple[str, Any]]]:
    """For the block, record the statements that are sent, with their parameters."""
    seen: list[tuple[str, Any]] = []

    def record(
        connection: Any, cursor: Any, text: str, parameters: Any, context: Any, many: bool
    ) -> None:
        if not connection.get_execution_options().get("uncounted"):
            seen.append((text, parameters))

    event.listen(engine, "before_cursor_execute", record)
    try:
        yield seen
    finally:
        event.remove(engine, "before_cursor_execute", record)


def rows(session: Session) -> int:
    """Return how many rows there are, as the session's transaction sees it."""
    tables = Base.metadata.sorted_tables
    return sum(_scalar(session, select(func.count()).select_from(table)) for table in tables)


def orphans(session: Session) -> int:
    """Return how many rows there are of tables that others refer to, that none refers to."""
    return sum(_scalar(session, _unreferred(column)) for column in REFERENCES)


def _unreferred(reference: Any) -> Select[int]:
    (foreign_key,) = reference.foreign_keys
    parent = foreign_key.column
    used = select(reference).where(reference.is_not(None))
    return select(func.count()).select_from(parent.table).where(parent.not_in(used))


def _scalar(session: Session, statement: Select[int]) -> int:
    return session.connection().execute(statement).scalar_one()
