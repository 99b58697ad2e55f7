"""What is known of the rows of a database, as long as the transaction stands that it is from."""

from __future__ import annotations

import weakref
from typing import Any, Callable, Final, Generic, Hashable, Iterator, Tuple, TypeVar

from sqlalchemy.engine import Connection, Dialect
from typing_extensions import final

V = TypeVar("V")

#: What a SAVEPOINT has added to what was known before it; the transaction's own has no name.
_Layer = Tuple[str, "dict[Hashable, V]"]


@final
class Ledger(Generic[V]):
    """Values by keys: rows, for the most part. What is rolled back is forgotten.

    Databases are told apart, since the tests of a suite may have one each.

    Args:
        limit: how many values are kept of each database; the oldest go first.
    """

    def __init__(self, limit: int = 100_000) -> None:
        self._limit = limit
        self._settled: weakref.WeakKeyDictionary[Dialect, dict[Hashable, V]]
        self._settled = weakref.WeakKeyDictionary()
        self._open: weakref.WeakKeyDictionary[Connection, list[_Layer[V]]]
        self._open = weakref.WeakKeyDictionary()

    def put(
        self, connection: Connection, key: Hashable, value: V, *, settled: bool = False
    ) -> None:
        """Keep a value.

        Args:
            settled: whether it holds even if the connection's transaction is not committed.
        """
        layers = self._layers(connection)
        if _commits_each(connection) or (
            settled and not any(key in values for _, values in layers)
        ):
            self._keep(self._settled.setdefault(connection.dialect, {}), key, value)
        else:
            self._keep(layers[-1][1], key, value)

    def get(self, connection: Connection, key: Hashable) -> V | None:
        """Return what the transaction knows, itself or from those before it."""
        for _, values in reversed(self._open.get(root_of(connection), ())):
            if key in values:
                return values[key]
        return self._settled.get(connection.dialect, _NOTHING).get(key)

    def items(self, connection: Connection) -> Iterator[tuple[Any, V]]:
        """Yield all that the transaction knows."""
        yield from list(self._settled.get(connection.dialect, _NOTHING).items())
        yield from self.open_items(connection)

    def open_items(self, connection: Connection) -> Iterator[tuple[Any, V]]:
        """Yield what the transaction itself has added."""
        for _, values in list(self._open.get(root_of(connection), ())):
            yield from list(values.items())

    def discard(self, connection: Connection, key: Hashable) -> None:
        """Forget what is known under the key."""
        for values in self._all(connection):
            values.pop(key, None)

    def forget(self, connection: Connection, gone: Callable[[Any], bool]) -> None:
        """Forget the keys that are gone."""
        for values in self._all(connection):
            for key in [key for key in values if gone(key)]:
                del values[key]

    def _all(self, connection: Connection) -> list[dict[Hashable, V]]:
        layers = [values for _, values in self._open.get(root_of(connection), ())]
        return [self._settled.get(connection.dialect, _NOTHING), *layers]

    # What becomes of a transaction -----------------------------------------------------------

    def on_savepoint(self, connection: Connection, name: str) -> None:
        """Keep apart what comes after it."""
        self._layers(connection).append((name, {}))

    def on_release(self, connection: Connection, name: str) -> None:
        """Keep what the SAVEPOINT added with what was known before it."""
        layers = self._layers(connection)
        for _, values in self._above(layers, name):
            for key, value in values.items():
                self._keep(layers[-1][1], key, value)

    def on_rollback_to(self, connection: Connection, name: str) -> None:
        """Forget what came after the SAVEPOINT, which stays."""
        layers = self._layers(connection)
        if self._above(layers, name):
            layers.append((name, {}))

    def on_commit(self, connection: Connection) -> None:
        """Keep what the transaction added for those after it."""
        settled = self._settled.setdefault(connection.dialect, {})
        for _, values in self._open.pop(root_of(connection), ()):
            for key, value in values.items():
                self._keep(settled, key, value)

    def on_rollback(self, connection: Connection) -> None:
        """Forget what the transaction added."""
        self._open.pop(root_of(connection), None)

    def _layers(self, connection: Connection) -> list[_Layer[V]]:
        return self._open.setdefault(root_of(connection), [("", {})])

    @staticmethod
    def _above(layers: list[_Layer[V]], name: str) -> list[_Layer[V]]:
        """Take the SAVEPOINT's layer, the innermost of its name, and those in it off the layers."""
        named = [number for number, layer in enumerate(layers) if number and layer[0] == name]
        first = named[-1] if named else len(layers)
        taken = layers[first:]
        del layers[first:]
        return taken

    def _keep(self, values: dict[Hashable, V], key: Hashable, value: V) -> None:
        values.pop(key, None)  # so that it comes last
        values[key] = value
        if len(values) > self._limit:
            del values[next(iter(values))]


_NOTHING: Final[dict[Any, Any]] = {}


def root_of(connection: Connection) -> Connection:
    """Return the connection itself: SQLAlchemy 1.4 has branches of one."""
    root: Connection = getattr(connection, "root_connection", connection)
    return root


def _commits_each(connection: Connection) -> bool:
    """Whether each statement is committed by itself."""
    level = connection.get_execution_options().get("isolation_level")
    if level is None:
        level = getattr(connection.dialect, "_on_connect_isolation_level", None)
    return level == "AUTOCOMMIT"
