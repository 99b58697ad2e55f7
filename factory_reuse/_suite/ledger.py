"""What is known of the rows of a database, as long as the transaction stands that it is from."""

from __future__ import annotations

import weakref
from typing import Any, Generic, Hashable, TypeVar

from sqlalchemy.engine import Connection, Dialect
from typing_extensions import final

V = TypeVar("V")


@final
class Ledger(Generic[V]):
    """Values by rows. What a transaction adds is forgotten with its ``rollback()``.

    Rows are told apart by database, since the tests of a suite may have one each.

    Args:
        limit: how many values are kept of each database; the oldest go first.
    """

    def __init__(self, limit: int = 100_000) -> None:
        self._limit = limit
        self._settled: weakref.WeakKeyDictionary[Dialect, dict[Hashable, V]]
        self._settled = weakref.WeakKeyDictionary()
        self._open: weakref.WeakKeyDictionary[Connection, dict[Hashable, V]]
        self._open = weakref.WeakKeyDictionary()

    def put(
        self, connection: Connection, row: Hashable, value: V, *, settled: bool = False
    ) -> None:
        """Keep a value.

        Args:
            settled: whether it holds even if the connection's transaction is not committed.
        """
        own = self._open.setdefault(root_of(connection), {})
        if settled and row not in own:
            own = self._settled.setdefault(connection.dialect, {})
        self._kept(own, row, value)

    def get(self, connection: Connection, row: Hashable) -> V | None:
        """Return what the transaction knows of a row, itself or from those before it."""
        own = self._open.get(root_of(connection))
        if own is not None and row in own:
            return own[row]
        return self._settled.get(connection.dialect, _NOTHING).get(row)

    def on_commit(self, connection: Connection) -> None:
        """Keep what the transaction added for those after it."""
        settled = self._settled.setdefault(connection.dialect, {})
        for row, value in self._open.pop(root_of(connection), {}).items():
            self._kept(settled, row, value)

    def on_rollback(self, connection: Connection) -> None:
        """Forget what the transaction added."""
        self._open.pop(root_of(connection), None)

    def clear(self, connection: Connection) -> None:
        """Forget all of a database: its rows are other ones now."""
        self._open.pop(root_of(connection), None)
        self._settled.pop(connection.dialect, None)

    def _kept(self, values: dict[Hashable, V], row: Hashable, value: V) -> None:
        values.pop(row, None)  # so that it comes last
        values[row] = value
        if len(values) > self._limit:
            del values[next(iter(values))]


_NOTHING: dict[Any, Any] = {}


def root_of(connection: Connection) -> Connection:
    """Return the connection itself: SQLAlchemy 1.4 has branches of one."""
    root: Connection = getattr(connection, "root_connection", connection)
    return root
