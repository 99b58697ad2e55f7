"""The rows that a suite's tests receive: who made them, and who changed them on the way.

Watching changes nothing: no statement is sent, no attribute loaded, no session asked for a
connection. What is known comes from SQLAlchemy's events.
"""

from __future__ import annotations

import contextlib
import itertools
import re
import threading
import weakref
from typing import Any, Callable, Iterator, NamedTuple, TypedDict

from sqlalchemy import event
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.orm import InstanceState, Mapper, Session
from sqlalchemy.orm.base import NEVER_SET, NO_VALUE
from typing_extensions import final

from .._cache import observing
from .._values import described
from .ledger import Ledger, root_of
from .statements import gone_by, names
from .values import UNKNOWN, followed, kept, may_be, same, state_of, told, values_of


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
    """What a test has made of an attribute; ``UNKNOWN`` is an old value that was not loaded."""

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
        self._lock = threading.RLock()
        self._received: dict[tuple[str, InstanceState[Any]], Received] = {}
        #: The connections that a session has begun a transaction on.
        self._begun: weakref.WeakKeyDictionary[Session, weakref.WeakSet[Connection]]
        self._begun = weakref.WeakKeyDictionary()
        self._made_here: weakref.WeakKeyDictionary[InstanceState[Any], str]
        self._made_here = weakref.WeakKeyDictionary()
        #: Rows whose identity is not known before their flush ends.
        self._inserted: list[tuple[Connection, InstanceState[Any], str]] = []
        #: Statements that took rows away, and where those of the present flush begin.
        self._deletes: list[tuple[Connection, str]] = []
        self._of_flush = 0
        #: The rows that the test has, and over which connection.
        self._held: weakref.WeakKeyDictionary[InstanceState[Any], weakref.ref[Connection]]
        self._held = weakref.WeakKeyDictionary()
        self._told: set[Any] = set()
        self._made: Ledger[str] = Ledger()
        self._seen: Ledger[Seen] = Ledger()
        self._changed: Ledger[dict[str, Change]] = Ledger()
        #: When a statement was sent, by the statement and the test.
        self._written: Ledger[int] = Ledger(limit=1_000)
        self._ledgers: tuple[Ledger[Any], ...]
        self._ledgers = self._made, self._seen, self._changed, self._written

    def begin_test(self, test: str) -> None:
        """Forget what the test before was given."""
        with self._lock:
            self.test = test
            self._received = {}

    def end_test(self) -> None:
        """Note what the test leaves changed in rows whose session outlives it."""
        with self._lock:
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
        with self._lock:
            if source == "created":
                self._made_here[state] = self.test
                return
            known = self._received.get((factory, state))
            if known is None:
                # Now: the transaction and the object may be gone when the test fails.
                known = self._received[factory, state] = {
                    "factory": factory,
                    "row": shown(state, key),
                    "sources": {},
                    "made_by": self._maker(state),
                }
            known["sources"][source] = known["sources"].get(source, 0) + 1
            if self._follows_values and source not in ("pending", "recycled"):
                self._follow(state, known, source)

    def received(self) -> list[Received]:
        """Return the rows that the test was given, in place of new ones."""
        with self._lock:
            return list(self._received.values())

    @contextlib.contextmanager
    def listening(self) -> Iterator[None]:
        """For the block, hear of every row that is written."""
        heard: list[tuple[Any, str, Callable[..., None]]] = [
            (Session, "after_begin", self._on_begin),
            (Session, "before_flush", self._on_flush),
            (Mapper, "after_insert", self._on_insert),
            (Mapper, "after_delete", self._on_delete),
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
        """Return the connections that the row's session has a transaction on.

        None where it may be any schema's that the row is in.
        """
        session = state.session
        begun = () if session is None else tuple(self._begun.get(session, ()))
        return [
            each
            for each in begun
            if not each.closed
            and each.in_transaction()
            and not each.get_execution_options().get("schema_translate_map")
        ]

    def _catch_up(self) -> None:
        """Take down what was inserted and deleted."""
        inserted, self._inserted = self._inserted, []
        for connection, state, test in inserted:
            if state.key is None:  # its flush goes on
                self._inserted.append((connection, state, test))
                continue
            self._made.put(connection, state.key, test)
            self._changed.discard(connection, state.key)
            if self._follows_values:
                seen = Seen(test, next(self._numbers), values_of(state), read=False)
                self._seen.put(connection, state.key, seen)
        deletes, self._deletes, self._of_flush = self._deletes, [], 0
        for connection in {connection for connection, _ in deletes}:
            statements = [each for other, each in deletes if other is connection]
            gone = gone_by(statements)
            for ledger in (self._made, self._seen, self._changed):
                ledger.forget(connection, gone)

    def _on_begin(self, session: Session, transaction: Any, connection: Connection) -> None:
        with self._lock:
            self._begun.setdefault(session, weakref.WeakSet()).add(root_of(connection))

    def _on_flush(self, session: Session, context: Any, instances: Any) -> None:
        self._of_flush = len(self._deletes)

    def _on_insert(self, mapper: Mapper[Any], connection: Connection, obj: Any) -> None:
        state = state_of(obj)
        if state is not None:
            with self._lock:
                self._inserted.append((connection, state, self.test))

    def _on_delete(self, mapper: Mapper[Any], connection: Connection, obj: Any) -> None:
        state = state_of(obj)
        with self._lock:
            # Of this row alone, not of all in its table.
            ours = self._deletes[self._of_flush :]
            self._deletes[self._of_flush :] = [each for each in ours if not names(each[1], mapper)]
            if state is not None and state.key is not None:
                for ledger in (self._made, self._seen, self._changed):
                    ledger.discard(connection, state.key)

    # Who changed it --------------------------------------------------------------------------

    def _follow(self, state: InstanceState[Any], received: Received, source: str) -> None:
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
                leak["factory"], leak["row"] = received["factory"], received["row"]
                self.leaks.append(leak)
        # Unless the transaction may have written it, it is so for all.
        written = any(
            names(statement, state.mapper)
            for (statement, _), _ in self._written.open_items(connection)
        )
        self._seen.put(connection, state.key, now, settled=not written)

    def _compared(
        self, connection: Connection, state: InstanceState[Any], before: Seen | None, now: Seen
    ) -> Iterator[Leak]:
        changes = self._changed.get(connection, state.key) or {}
        for name, new in now.values.items():
            known = UNKNOWN if before is None else before.values.get(name, UNKNOWN)
            if same(known, new):
                continue
            change = changes.get(name)
            if change is not None and may_be(change.new, new):
                old = known if change.old is UNKNOWN else change.old
                changed_by: set[str | None] = {change.test}
            elif before is not None and before.read and now.read:
                old = known
                changed_by = self._writers(connection, state, name, before)
            else:
                continue  # a database rounds and converts what a row was made of
            # Who made the row is free to go on with it.
            free = changed_by & {self.test, self._maker(state)}
            if not free and old is not UNKNOWN and not same(old, new):
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
        """Return the tests whose statements may have changed the attribute since then.

        The present one is among them, if it has written to the table at all.
        """
        column = re.compile(rf"\b{re.escape(state.mapper.column_attrs[name].columns[0].name)}\b")
        return {
            test
            for (statement, test), number in self._written.items(connection)
            if number > since.number
            and names(statement, state.mapper)
            and (test == self.test or column.search(statement))
        }

    def _note_changes(self, connection: Connection, state: InstanceState[Any]) -> None:
        changes = dict(self._changed.get(connection, state.key) or {})
        for name in followed(state.mapper).intersection(state.committed_state):
            old, new = state.committed_state[name], kept(state.dict.get(name))
            old = UNKNOWN if old in (NO_VALUE, NEVER_SET) else kept(old)
            before = changes.get(name)
            if before is not None and before.test == self.test:
                old = before.old
            if not same(old, new):
                changes[name] = Change(self.test, old, new)
        self._changed.put(connection, state.key, changes)

    def _on_update(self, mapper: Mapper[Any], connection: Connection, obj: Any) -> None:
        state = state_of(obj)
        if state is not None:
            with self._lock:
                self._note_changes(connection, state)

    # How long that is known ------------------------------------------------------------------

    def _on_statement(self, context: Any, statement: str) -> None:
        statement = statement.lstrip()
        verb = statement[:9].upper()
        if verb.startswith("SELECT"):
            return
        connection = context.root_connection
        with self._lock:
            # SQLAlchemy's event for a SAVEPOINT does not tell its name.
            name = statement.rpartition(" ")[2]
            if verb.startswith("SAVEPOINT"):
                self._each(Ledger.on_savepoint, connection, name)
            elif verb.startswith("RELEASE"):
                self._each(Ledger.on_release, connection, name)
            elif verb.startswith("ROLLBACK "):
                self._each(Ledger.on_rollback_to, connection, name)
            elif verb.startswith(("DELETE", "TRUNCATE", "DROP")):
                self._deletes.append((connection, statement))
                self._written.put(connection, (statement, self.test), next(self._numbers))
            elif self._follows_values:
                self._written.put(connection, (statement, self.test), next(self._numbers))

    def _on_commit(self, connection: Connection, *args: Any) -> None:
        with self._lock:
            self._each(Ledger.on_commit, connection)

    def _on_rollback(self, connection: Connection, *args: Any) -> None:
        with self._lock:
            self._each(Ledger.on_rollback, connection)
            self._inserted = [each for each in self._inserted if each[0] is not connection]

    def _each(self, end: Callable[..., None], connection: Connection, *name: str) -> None:
        self._catch_up()
        for ledger in self._ledgers:
            end(ledger, connection, *name)


def shown(state: InstanceState[Any], key: str) -> str:
    """Return the row as text: its model, and the values of the key, or else its identity."""
    values = {name: state.dict[name] for name in key.split(", ") if name in state.dict}
    if not values and state.identity is not None:
        columns = state.mapper.primary_key
        names = [state.mapper.get_property_by_column(column).key for column in columns]
        values = dict(zip(names, state.identity))
    given = ", ".join(f"{name}={described(value)}" for name, value in values.items())
    return f"{state.class_.__name__}({given})"
