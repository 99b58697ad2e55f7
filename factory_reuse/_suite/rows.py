"""The rows that a suite's tests receive: who made them, and who changed them on the way."""

from __future__ import annotations

import contextlib
import copy
import datetime
import decimal
import enum
import uuid
import weakref
from typing import Any, Iterator, NamedTuple, TypedDict

from sqlalchemy import event, inspect
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.orm import InstanceState, Mapper, Session
from typing_extensions import final

from .._cache import observing
from .._values import described
from .ledger import Ledger, root_of


class Received(TypedDict):
    """A row that a test was given, in place of a new one.

    Attributes:
        row: the model and the values that it was found by.
        sources: how often it came from where.
        made_by: the test that made it; none, if it was there before.
    """

    factory: str
    row: str
    sources: dict[str, int]
    made_by: str | None


class Leak(TypedDict):
    """A change of a row that another test was given afterwards.

    Attributes:
        changed_by: the test; none, where a statement without objects changed it.
        since: the test that had the row with the old value.
    """

    factory: str
    row: str
    attribute: str
    old: str
    new: str
    changed_by: str | None
    since: str
    received_by: str


@final
class Seen(NamedTuple):
    """What a row held when a test first had it.

    Attributes:
        read: whether the values are the database's, not those that the row was made of.
    """

    test: str
    values: dict[str, Any]
    read: bool


@final
class Rows:
    """Follows rows from test to test.

    Args:
        leaks: whether their values are followed, too.

    Attributes:
        test: the test that runs now.
        received: what the test was given, by factory and row.
        leaks: what was changed for another test, since they were last taken.
    """

    def __init__(self, *, leaks: bool) -> None:
        self.test = ""
        self.received: dict[Any, Received] = {}
        self.leaks: list[Leak] = []
        self._follows_values = leaks
        self._made: Ledger[str] = Ledger()
        self._made_here: weakref.WeakKeyDictionary[InstanceState[Any], str]
        self._made_here = weakref.WeakKeyDictionary()
        self._seen: Ledger[Seen] = Ledger()
        #: The test, and the value; of a row's attribute, or of those of all rows.
        self._changed: Ledger[tuple[str, Any]] = Ledger()
        #: The statements that may have changed rows: of the test, and of a transaction.
        self._wrote: set[str] = set()
        self._writing: weakref.WeakKeyDictionary[Connection, set[str]]
        self._writing = weakref.WeakKeyDictionary()
        #: The rows that the test has, and over which connection.
        self._held: weakref.WeakKeyDictionary[InstanceState[Any], weakref.ref[Connection]]
        self._held = weakref.WeakKeyDictionary()
        self._told: set[Any] = set()

    def begin_test(self, test: str) -> None:
        """Forget what the test before was given."""
        self.test = test
        self.received = {}
        self._wrote = set()

    def end_test(self) -> None:
        """Note what the test leaves changed in rows whose session outlives it."""
        for state, reference in list(self._held.items()):
            connection = reference()
            if connection is not None and state.persistent:
                self._note_changes(connection, state)
        self._held.clear()

    def witness(self, obj: Any, factory: str, key: str, source: str) -> None:
        """Take down that a call gave an object."""
        state = inspect(obj, raiseerr=False)
        if not isinstance(state, InstanceState):
            return
        if source == "created":
            self._made_here[state] = self.test
        else:
            self._receive(state, factory, key, source)
        if self._follows_values and source not in ("pending", "recycled"):
            self._follow(state, factory, key, source)

    @contextlib.contextmanager
    def listening(self) -> Iterator[None]:
        """For the block, hear of every row that is written."""
        heard: list[tuple[Any, str, Any]] = [
            (Mapper, "after_insert", self._on_insert),
            (Engine, "commit", self._on_commit),
            (Engine, "commit_twophase", self._on_commit),
            (Engine, "rollback", self._on_rollback),
            (Engine, "rollback_twophase", self._on_rollback),
        ]
        if self._follows_values:
            heard += [
                (Mapper, "after_update", self._on_update),
                (Session, "after_bulk_update", self._on_bulk_update),
            ]
        for target, name, listener in heard:
            event.listen(target, name, listener)
        try:
            with observing(self._on_statement):
                yield
        finally:
            for target, name, listener in heard:
                event.remove(target, name, listener)

    # Who made a row --------------------------------------------------------------------------

    def _receive(self, state: InstanceState[Any], factory: str, key: str, source: str) -> None:
        entry = factory, state.key or id(state)
        known = self.received.get(entry)
        if known is None:
            known = self.received[entry] = {
                "factory": factory,
                "row": shown(state, key),
                "sources": {},
                "made_by": self._maker(state),
            }
        known["sources"][source] = known["sources"].get(source, 0) + 1

    def _maker(self, state: InstanceState[Any]) -> str | None:
        session = state.session
        maker = self._made_here.get(state)
        if maker is None and state.key is not None and session and session.in_transaction():
            maker = self._made.get(_connection(session, state), state.key)
        return maker

    def _on_insert(self, mapper: Mapper[Any], connection: Connection, obj: Any) -> None:
        identity = mapper.identity_key_from_instance(obj)
        self._made.put(connection, identity, self.test)
        if self._follows_values:
            self._seen.put(connection, identity, Seen(self.test, _values(inspect(obj)), read=False))

    # Who changed it --------------------------------------------------------------------------

    def _follow(self, state: InstanceState[Any], factory: str, key: str, source: str) -> None:
        session = state.session
        if session is None or state.key is None or not session.in_transaction():
            return
        connection = _connection(session, state)
        self._held[state] = weakref.ref(connection)
        before = self._seen.get(connection, state.key)
        if before is not None and before.test == self.test:
            return
        now = Seen(self.test, _values(state), read=source in ("database", "race"))
        if before is not None:
            self._compare(state, factory, key, before, now, connection)
        self._seen.put(connection, state.key, now, settled=self._is_settled(connection, state))

    def _is_settled(self, connection: Connection, state: InstanceState[Any]) -> bool:
        """Whether the row is as it was before the transaction began."""
        return not _write(self._writing.get(root_of(connection), set()), state)

    def _compare(
        self,
        state: InstanceState[Any],
        factory: str,
        key: str,
        before: Seen,
        now: Seen,
        connection: Connection,
    ) -> None:
        for name, old in before.values.items():
            new = now.values.get(name, old)
            if _same(old, new):
                continue
            changed_by = self._changer(state, name, new, connection)
            if changed_by == self.test:
                continue
            # A database rounds and converts what a row was made of: that is no change. And the
            # test may have sent the statement itself.
            by_statement = before.read and now.read and not _write(self._wrote, state)
            if changed_by is None and not by_statement:
                continue
            change = state.key, name, changed_by, described(new)
            if change in self._told:
                continue
            self._told.add(change)
            self.leaks.append(
                {
                    "factory": factory,
                    "row": shown(state, key),
                    "attribute": name,
                    "old": described(old),
                    "new": described(new),
                    "changed_by": changed_by,
                    "since": before.test,
                    "received_by": self.test,
                }
            )

    def _changer(
        self, state: InstanceState[Any], name: str, new: Any, connection: Connection
    ) -> str | None:
        """Return the test that gave the attribute the value, if that is known."""
        for place in (state.key, state.mapper.base_mapper):
            test, value = self._changed.get(connection, (place, name)) or (None, None)
            # What is of another type may be this value, as the database gives it back.
            if test is not None and (_same(value, new) or type(value) is not type(new)):
                return test
        return None

    def _note_changes(self, connection: Connection, state: InstanceState[Any]) -> None:
        for name in state.committed_state:
            change = self.test, state.dict.get(name)
            self._changed.put(connection, (state.key, name), change)

    def _on_update(self, mapper: Mapper[Any], connection: Connection, obj: Any) -> None:
        self._note_changes(connection, inspect(obj))

    def _on_bulk_update(self, update: Any) -> None:
        mapper, session = update.mapper, update.session
        connection = session.connection(bind_arguments={"mapper": mapper})
        for target, value in update.values.items():
            name = getattr(target, "key", target)
            self._changed.put(connection, (mapper.base_mapper, name), (self.test, value))

    # How long that is known ------------------------------------------------------------------

    @property
    def _ledgers(self) -> tuple[Ledger[Any], ...]:
        return self._made, self._seen, self._changed

    def _on_commit(self, connection: Connection, *args: Any) -> None:
        self._writing.pop(root_of(connection), None)
        for ledger in self._ledgers:
            ledger.on_commit(connection)

    def _on_rollback(self, connection: Connection, *args: Any) -> None:
        self._writing.pop(root_of(connection), None)
        for ledger in self._ledgers:
            ledger.on_rollback(connection)

    def _on_statement(self, context: Any, statement: str) -> None:
        verb = statement.lstrip()[:9].upper()
        if verb.startswith(_HARMLESS):
            return
        if self._follows_values:
            self._wrote.add(statement)
            self._writing.setdefault(context.root_connection, set()).add(statement)
        # What a table's next rows hold, and which ids they get, has nothing to do with these.
        if verb.startswith(("TRUNCATE", "DROP")):
            for ledger in self._ledgers:
                ledger.clear(context.root_connection)


#: What changes no row that was there.
_HARMLESS = ("SELECT", "INSERT", "SAVEPOINT", "RELEASE")


def shown(state: InstanceState[Any], key: str) -> str:
    """Return the row as text: its model, and the values of the key, or else its identity.

    Nothing is loaded for it.
    """
    values = {name: state.dict[name] for name in key.split(", ") if name in state.dict}
    if not values and state.identity is not None:
        columns = state.mapper.primary_key
        names = [state.mapper.get_property_by_column(column).key for column in columns]
        values = dict(zip(names, state.identity))
    given = ", ".join(f"{name}={described(value)}" for name, value in values.items())
    return f"{state.class_.__name__}({given})"


def _write(statements: set[str], state: InstanceState[Any]) -> bool:
    """Whether one of the statements may have changed the row."""
    tables = [table.name for table in state.mapper.tables]
    return any(table in statement for table in tables for statement in statements)


def _connection(session: Session, state: InstanceState[Any]) -> Connection:
    return session.connection(bind_arguments={"mapper": state.mapper})


_FIXED = (
    *(str, bytes, int, float, bool, type(None), decimal.Decimal, uuid.UUID, enum.Enum),
    *(datetime.date, datetime.time, datetime.timedelta),
)


def _values(state: InstanceState[Any]) -> dict[str, Any]:
    """Return the loaded values of the row's columns, as they are now."""
    values: dict[str, Any] = {}
    for attribute in state.mapper.column_attrs:
        value = state.dict.get(attribute.key, _values)
        if isinstance(value, _FIXED):
            values[attribute.key] = value
        elif isinstance(value, (dict, list)):
            values[attribute.key] = copy.deepcopy(value)
    return values


def _same(old: Any, new: Any) -> bool:
    try:
        return old is new or bool(old == new) or (old != old and new != new)
    except TypeError:  # a naive and an aware time
        return False
