"""The rows that a suite's tests receive: who made them, and who changed them on the way.

Watching changes nothing: no statement is sent, no attribute loaded, no session asked for a
connection. What is known comes from SQLAlchemy's events.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import weakref
from typing import Any, Callable, Final, Iterator, NamedTuple, TypedDict

from sqlalchemy import event
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.orm import InstanceState, Mapper, Session
from typing_extensions import final

from .._cache import observing
from .._values import described
from .ledger import Ledger, root_of
from .values import followed, kept, same, state_of, told, values_of


class Received(TypedDict):
    """A row that a test was given, in place of a new one.

    Attributes:
        row: the model and the values that it was found by.
        sources: how often it came from where.
        made_by: the test that made it; none, if none is known.
    """

    factory: str
    row: str
    sources: dict[str, int]
    made_by: str | None


class Leak(TypedDict):
    """A change of a row that another test was given afterwards.

    Attributes:
        changed_by: the test; none, where it is not known which.
        since: the test that had the row with the old value.
    """

    factory: str
    row: str
    attribute: str
    old: str
    new: str
    changed_by: str | None
    since: str | None
    received_by: str


@final
class Seen(NamedTuple):
    """What a row held when a test was first given it, at the time of a number.

    Attributes:
        read: whether the values are the database's, not those that the row was made of.
    """

    test: str
    number: int
    values: dict[str, Any]
    read: bool


@final
class Change(NamedTuple):
    """What a test has made of an attribute."""

    test: str
    old: Any
    new: Any


@final
class Rows:
    """Follows rows from test to test.

    Args:
        leaks: whether their values are followed, too.

    Attributes:
        test: the test that runs now, or the fixture that is set up for several.
        leaks: what was changed for another test, since they were last taken.
    """

    def __init__(self, *, leaks: bool) -> None:
        self.test = ""
        self.leaks: list[Leak] = []
        self._follows_values = leaks
        self._numbers = itertools.count()
        #: Each with the key that it was found by, its values, and how often it came from where.
        self._received: dict[tuple[str, InstanceState[Any]], tuple[str, dict[str, int]]] = {}
        #: The connections that a session has begun a transaction on.
        self._begun: weakref.WeakKeyDictionary[Session, weakref.WeakSet[Connection]]
        self._begun = weakref.WeakKeyDictionary()
        self._made_here: weakref.WeakKeyDictionary[InstanceState[Any], str]
        self._made_here = weakref.WeakKeyDictionary()
        #: Rows whose identity is not known before their flush ends.
        self._inserted: list[tuple[Connection, InstanceState[Any], str]] = []
        self._deletes: list[tuple[Connection, str]] = []
        #: The rows that the test has, and over which connection.
        self._held: weakref.WeakKeyDictionary[InstanceState[Any], weakref.ref[Connection]]
        self._held = weakref.WeakKeyDictionary()
        self._told: set[Any] = set()
        self._made: Ledger[str] = Ledger()
        self._seen: Ledger[Seen] = Ledger()
        self._changed: Ledger[Change] = Ledger()
        #: Statements that may have changed rows, the test, and when.
        self._written: Ledger[tuple[str, int]] = Ledger(limit=1_000)
        self._ledgers: tuple[Ledger[Any], ...]
        self._ledgers = self._made, self._seen, self._changed, self._written

    def begin_test(self, test: str) -> None:
        """Forget what the test before was given."""
        self.test = test
        self._received = {}

    def end_test(self) -> None:
        """Note what the test leaves changed in rows whose session outlives it."""
        for state, reference in list(self._held.items()):
            connection = reference()
            if connection is not None and state.persistent:
                self._note_changes(connection, state)
        self._held.clear()

    def witness(self, obj: Any, factory: str, key: str, source: str) -> None:
        """Take down that a call gave an object."""
        state = state_of(obj)
        if state is None:
            return
        if source == "created":
            self._made_here[state] = self.test
            return
        key, sources = self._received.setdefault((factory, state), (key, {}))
        sources[source] = sources.get(source, 0) + 1
        if self._follows_values and source not in ("pending", "recycled"):
            self._follow(state, factory, key, source)

    def received(self) -> list[Received]:
        """Return the rows that the test was given, in place of new ones."""
        return [
            {
                "factory": factory,
                "row": shown(state, key),
                "sources": sources,
                "made_by": self._maker(state),
            }
            for (factory, state), (key, sources) in self._received.items()
        ]

    @contextlib.contextmanager
    def listening(self) -> Iterator[None]:
        """For the block, hear of every row that is written."""
        heard: list[tuple[Any, str, Callable[..., None]]] = [
            (Session, "after_begin", self._on_begin),
            (Mapper, "after_insert", self._on_insert),
            (Mapper, "after_delete", self._on_delete),
            (Engine, "savepoint", self._on_savepoint),
            (Engine, "release_savepoint", self._on_release),
            (Engine, "rollback_savepoint", self._on_rollback_to),
            (Engine, "commit", self._on_commit),
            (Engine, "commit_twophase", self._on_commit),
            (Engine, "rollback", self._on_rollback),
            (Engine, "rollback_twophase", self._on_rollback),
        ]
        if self._follows_values:
            heard.append((Mapper, "after_update", self._on_update))
        for target, name, listener in heard:
            event.listen(target, name, listener)
        try:
            with observing(self._on_statement):
                yield
        finally:
            for target, name, listener in heard:
                event.remove(target, name, listener)

    # Who made a row --------------------------------------------------------------------------

    def _maker(self, state: InstanceState[Any]) -> str | None:
        maker = self._made_here.get(state)
        if maker is None and state.key is not None:
            self._catch_up()
            for connection in self._connections(state):
                maker = maker or self._made.get(connection, state.key)
        return maker

    def _connections(self, state: InstanceState[Any]) -> list[Connection]:
        """Return the connections that the row's session has a transaction on."""
        session = state.session
        begun = () if session is None else self._begun.get(session, ())
        return [each for each in begun if not each.closed and each.in_transaction()]

    def _catch_up(self) -> None:
        """Take down what was inserted and deleted."""
        inserted, self._inserted = self._inserted, []
        for connection, state, test in inserted:
            if state.key is not None:
                self._made.put(connection, state.key, test)
                if self._follows_values:
                    seen = Seen(test, next(self._numbers), values_of(state), read=False)
                    self._seen.put(connection, state.key, seen)
        deletes, self._deletes = self._deletes, []
        for connection, statement in deletes:
            gone = functools.partial(_is_of, statement)
            for ledger in (self._made, self._seen, self._changed):
                ledger.forget(connection, gone)

    def _on_begin(self, session: Session, transaction: Any, connection: Connection) -> None:
        self._begun.setdefault(session, weakref.WeakSet()).add(root_of(connection))

    def _on_insert(self, mapper: Mapper[Any], connection: Connection, obj: Any) -> None:
        state = state_of(obj)
        if state is not None:
            self._inserted.append((connection, state, self.test))

    def _on_delete(self, mapper: Mapper[Any], connection: Connection, obj: Any) -> None:
        # Of this row alone, not of all in its table.
        self._deletes = [each for each in self._deletes if not _names(each[1], mapper)]
        self._catch_up()
        state = state_of(obj)
        if state is not None and state.key is not None:
            for ledger in (self._made, self._seen):
                ledger.discard(connection, state.key)

    # Who changed it --------------------------------------------------------------------------

    def _follow(self, state: InstanceState[Any], factory: str, key: str, source: str) -> None:
        connections = self._connections(state)
        if state.key is None or len(connections) != 1:
            return
        self._catch_up()
        (connection,) = connections
        self._held[state] = weakref.ref(connection)
        before = self._seen.get(connection, state.key)
        if before is not None and before.test == self.test:
            return
        number, read = next(self._numbers), source in ("database", "race")
        now = Seen(self.test, number, values_of(state), read)
        for leak in self._compared(connection, state, before, now):
            change = state.key, leak["attribute"], leak["changed_by"], leak["new"]
            if change not in self._told:
                self._told.add(change)
                self.leaks.append({**leak, "factory": factory, "row": shown(state, key)})
        # Unless the transaction has changed it, it is so for all.
        written = any(_names(each, state.mapper) for each, _ in self._written_in(connection))
        self._seen.put(connection, state.key, now, settled=not written)

    def _compared(
        self, connection: Connection, state: InstanceState[Any], before: Seen | None, now: Seen
    ) -> Iterator[Leak]:
        for name, new in now.values.items():
            if before is not None and same(before.values.get(name, new), new):
                continue
            change = self._changed.get(connection, (state.key, name))
            # What is of another type may be the same value, as the database gives it back.
            if change is not None and (same(change.new, new) or type(change.new) is not type(new)):
                old: Any = change.old
                changed_by: set[str | None] = {change.test}
            elif before is not None and name in before.values:
                old = before.values[name]
                changed_by = self._writers(connection, state, name, before)
                # A database rounds and converts what a row was made of.
                if not changed_by and not (before.read and now.read):
                    continue
            else:
                continue
            # Who made the row is free to go on with it.
            if not changed_by & {self.test, self._maker(state)} and not same(old, new):
                yield {
                    "factory": "",
                    "row": "",
                    "attribute": name,
                    "old": told(old),
                    "new": told(new),
                    "changed_by": changed_by.pop() if len(changed_by) == 1 else None,
                    "since": None if before is None else before.test,
                    "received_by": self.test,
                }

    def _writers(
        self, connection: Connection, state: InstanceState[Any], name: str, since: Seen
    ) -> set[str | None]:
        """Return the tests whose statements may have changed the attribute since then."""
        column = state.mapper.column_attrs[name].columns[0].name
        return {
            test
            for statement, (test, number) in self._written.items(connection)
            if number > since.number
            and column in str(statement)
            and _names(str(statement), state.mapper)
        }

    def _written_in(self, connection: Connection) -> Iterator[tuple[str, Any]]:
        for statement, value in self._written.open_items(connection):
            yield str(statement), value

    def _note_changes(self, connection: Connection, state: InstanceState[Any]) -> None:
        for name in state.committed_state:
            if name not in followed(state.mapper):
                continue
            key = state.key, name
            before = self._changed.get(connection, key)
            old = kept(state.committed_state[name])
            if before is not None and before.test == self.test:
                old = before.old
            self._changed.put(connection, key, Change(self.test, old, kept(state.dict.get(name))))

    def _on_update(self, mapper: Mapper[Any], connection: Connection, obj: Any) -> None:
        state = state_of(obj)
        if state is not None:
            self._note_changes(connection, state)

    def _on_statement(self, context: Any, statement: str) -> None:
        verb = statement.lstrip()[:9].upper()
        if verb.startswith(_HARMLESS):
            return
        connection = context.root_connection
        if verb.startswith(("DELETE", "TRUNCATE", "DROP")):
            self._deletes.append((connection, statement))
        elif self._follows_values:
            self._written.put(connection, statement, (self.test, next(self._numbers)))

    # How long that is known ------------------------------------------------------------------

    def _on_savepoint(self, connection: Connection, name: str) -> None:
        self._catch_up()
        for ledger in self._ledgers:
            ledger.on_savepoint(connection, name)

    def _on_release(self, connection: Connection, name: str, context: Any) -> None:
        self._catch_up()
        for ledger in self._ledgers:
            ledger.on_release(connection, name)

    def _on_rollback_to(self, connection: Connection, name: str, context: Any) -> None:
        self._catch_up()
        for ledger in self._ledgers:
            ledger.on_rollback_to(connection, name)

    def _on_commit(self, connection: Connection, *args: Any) -> None:
        self._catch_up()
        for ledger in self._ledgers:
            ledger.on_commit(connection)

    def _on_rollback(self, connection: Connection, *args: Any) -> None:
        self._catch_up()
        for ledger in self._ledgers:
            ledger.on_rollback(connection)


#: What changes no row that was there.
_HARMLESS: Final = ("SELECT", "INSERT", "SAVEPOINT", "RELEASE", "ROLLBACK")


def shown(state: InstanceState[Any], key: str) -> str:
    """Return the row as text: its model, and the values of the key, or else its identity."""
    values = {name: state.dict[name] for name in key.split(", ") if name in state.dict}
    if not values and state.identity is not None:
        columns = state.mapper.primary_key
        names = [state.mapper.get_property_by_column(column).key for column in columns]
        values = dict(zip(names, state.identity))
    given = ", ".join(f"{name}={described(value)}" for name, value in values.items())
    return f"{state.class_.__name__}({given})"


def _names(statement: str, mapper: Mapper[Any]) -> bool:
    """Whether the statement may be about rows of the mapper."""
    return any(getattr(table, "name", "") in statement for table in mapper.tables)


def _is_of(statement: str, key: Any) -> bool:
    """Whether what a ledger knows under the key is of a table that the statement names."""
    identity = key[0] if isinstance(key[0], tuple) else key
    return _names(statement, identity[0].__mapper__)
