"""The demo: a day in the shop, with its factories as they were and decorated."""

from __future__ import annotations

from collections import Counter
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import factory.random
from sqlalchemy import create_engine, event, func, select
from sqlalchemy.exc import IntegrityError

from factory_reuse._shop import decorated, legacy, models, scenario

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from types import ModuleType

    from sqlalchemy.engine import Engine


class Day(NamedTuple):
    """What the shop holds after a day, or just before the error that ended it."""

    rows: Mapping[str, int]
    orphans: Mapping[str, int]
    statements: Mapping[str, int]
    error: str | None


def report() -> str:
    """Play the day before and after, and return both as a table."""
    (before,), (after, again) = play(legacy), play(decorated, days=2)
    days = (before, after, again)
    return "\n".join(
        [
            "A day in a small shop: ten products in three categories, and six orders of",
            "two lines each, the last one by the customer of the first; then once more.",
            "",
            _line("", "legacy", "decorated", "once more"),
            *_section("rows", [day.rows for day in days]),
            *_section("orphans: rows that nobody refers to", [day.orphans for day in days]),
            *_section("SQL statements", [day.statements for day in days]),
            "",
            "Legacy is code as people write it. A new row costs a SELECT and a SAVEPOINT",
            'more, and "once more" is what each later test pays.',
            f"The legacy day ended in {before.error}",
            "The decorated days end in {}".format(after.error or again.error or "no error."),
        ]
    )


def play(shop: ModuleType, days: int = 1) -> list[Day]:
    """Play the same day with the factories of ``shop``, on an in-memory SQLite, empty at first."""
    factory.random.reseed_random("factory_reuse")
    engine = create_engine("sqlite://")
    models.Base.metadata.create_all(engine)
    models.Session.remove()
    models.Session.configure(bind=engine)
    try:
        return [_watch(scenario.day(shop), engine) for _ in range(days)]
    finally:
        models.Session.remove()
        engine.dispose()


def _watch(day: Iterator[object], engine: Engine) -> Day:
    rows: Mapping[str, int] = {}
    orphans: Mapping[str, int] = {}
    error = None
    kept = []  # or the number of statements depends on when Python collects garbage
    with _counted(engine) as statements:
        try:
            for made in day:
                kept.append(made)
                # Taken as we go: a refused insert takes the whole transaction with it.
                rows, orphans = _rows(), _orphans()
            models.Session.commit()
        except IntegrityError as refused:
            error = f"IntegrityError:\n  {refused.orig}"
    models.Session.remove()
    return Day(rows, orphans, statements, error)


@contextmanager
def _counted(engine: Engine) -> Iterator[Mapping[str, int]]:
    counts: dict[str, int] = Counter()

    def count(
        conn: Any, cursor: Any, statement: str, parameters: Any, context: Any, executemany: bool
    ) -> None:
        if not context.execution_options.get("uncounted"):
            counts[statement.split()[0]] += 1

    event.listen(engine, "before_cursor_execute", count)
    try:
        yield counts
    finally:
        event.remove(engine, "before_cursor_execute", count)


def _rows() -> Mapping[str, int]:
    tables = models.Base.metadata.sorted_tables
    return {table.name: _scalar(select(func.count()).select_from(table)) for table in tables}


def _orphans() -> Mapping[str, int]:
    references: Sequence[Any] = (
        models.Product.category_id,
        models.Address.country_id,
        models.User.address_id,
        models.Order.user_id,
    )
    return dict(_unreferred(column) for column in references)


def _unreferred(reference: Any) -> tuple[str, int]:
    (foreign_key,) = reference.foreign_keys
    parent = foreign_key.column
    unused = select(func.count()).select_from(parent.table).where(parent.not_in(select(reference)))
    return parent.table.name, _scalar(unused)


def _scalar(statement: Any) -> int:
    result = models.Session.connection().execute(statement.execution_options(uncounted=True))
    return int(result.scalar_one())


def _section(title: str, days: Sequence[Mapping[str, int]]) -> list[str]:
    names = dict.fromkeys(name for day in days for name in day if day[name])
    counts = [_line("  " + name, *(day.get(name, 0) for day in days)) for name in names]
    totals = [sum(day.values()) for day in days]
    return [_line(title, *totals), *counts]


def _line(label: str, *cells: object) -> str:
    return f"{label:<36}" + "".join(f"{cell!s:>12}" for cell in cells)
