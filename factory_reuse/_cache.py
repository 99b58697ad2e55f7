"""The rows a transaction has seen: held, checked on every answer, let go at its end."""

from __future__ import annotations

import contextlib
import weakref
from typing import Any, Callable, Final, Hashable, Iterator

from sqlalchemy import event
from sqlalchemy.engine import Connection, Dialect, Engine, ExecutionContext
from sqlalchemy.orm import Session, base
from typing_extensions import final

from . import _scope
from ._ahead import Ahead
from ._columns import MappedColumn
from ._session import begin_for_real
from ._values import MISSING, freeze, is_safe
from .report import Source

#: Entries per session. The oldest goes first; losing one costs a query, never a wrong answer.
LIMIT: Final = 10_000

_INFO_KEY: Final = "factory_reuse"

#: Statements that change no row that a query could find.
_HARMLESS: Final = ("SELECT", "SAVEPOINT", "RELEASE")


def session_cache(session: Session) -> SessionCache:
    """Return the session's cache, made and wired to its events at the first call."""
    cache: SessionCache | None = session.info.get(_INFO_KEY)
    if cache is None or cache.owner() is not session:  # `info` may be another session's, copied
        cache = session.info[_INFO_KEY] = SessionCache(session)
        cache.listen(session)
    return cache


def would_flush(session: Session) -> bool:
    """Whether a query would flush changes first: cascades and hooks may take an answer away."""
    # `session.deleted` would make a set of them each time.
    return session.autoflush and (session.identity_map.check_modified() or bool(session._deleted))


@final
class SessionCache:
    """Token to object, for one transaction of one session.

    The strong references matter: the session's identity map is weak, so an object that the caller
    dropped would be collected between two calls, and the second would pay a query.
    """

    def __init__(self, session: Session) -> None:
        self.owner = weakref.ref(session)
        self._entries: dict[Hashable, Entry] = {}
        self._answers: dict[Hashable, Entry] = {}
        self._unenforced: dict[Hashable, set[Hashable]] = {}
        #: Those of the present transaction, each with its own transaction.
        self._connections: dict[Connection, Any] = {}
        self._flushing = False
        #: What the flush under way, or the one that just failed, was to insert.
        self.inserting: list[Any] = []
        self._changing: list[Any] = []
        self._held: list[Any] = []
        self.ahead = Ahead()
        #: How many flushes there were.
        self.flushes = 0

    def get(self, session: Session, token: Hashable) -> Entry | None:
        """Return the entry for the token, if a query would find its object now."""
        return self._checked(self._entries, session, token)

    def put(self, session: Session, token: Hashable, entry: Entry, *, enforced: bool) -> None:
        """Remember that the entry's object answers the token.

        Args:
            enforced: whether the database keeps a second row with this key out. If not, an INSERT
                may make the key ambiguous, and the answer is dropped.
        """
        oldest = self._put(self._entries, session, token, entry)
        for tokens in self._unenforced.values() if oldest is not None else ():
            tokens.discard(oldest)
        if not enforced:
            self._unenforced.setdefault(entry.state.mapper.base_mapper, set()).add(token)

    def hold(self, obj: Any) -> None:
        """Keep an object for the transaction's time, whatever is forgotten.

        A snapshot may lack its row, so that who refers to it could not load it again.
        """
        self._held.append(obj)

    @property
    def has_answers(self) -> bool:
        """Whether there is an answer to any whole call."""
        return bool(self._answers)

    def get_answer(self, session: Session, token: Hashable) -> Entry | None:
        """Return the entry for a call's token, if it would be answered by its object now."""
        return self._checked(self._answers, session, token)

    def put_answer(self, session: Session, token: Hashable, entry: Entry) -> None:
        """Remember that the entry's object answers a whole call."""
        self._put(self._answers, session, token, entry)

    def clear(self) -> None:
        """Forget everything."""
        self._entries.clear()
        self._answers.clear()
        self._unenforced.clear()
        self.ahead.clear()

    def _checked(
        self, entries: dict[Hashable, Entry], session: Session, token: Hashable
    ) -> Entry | None:
        self._forget_ended()
        entry = entries.get(token)
        if entry is None:
            return None
        held = session.identity_map.contains_state(entry.state) or entry.obj in session
        if held and entry.unchanged() and not (session._deleted and entry.obj in session.deleted):
            return entry
        del entries[token]
        return None

    def _put(
        self, entries: dict[Hashable, Entry], session: Session, token: Hashable, entry: Entry
    ) -> Hashable | None:
        """Add an entry, and return the token of the one that had to go for it."""
        if not session.in_transaction() or not entry.checkable():
            return None
        self._forget_ended()
        oldest = next(iter(entries)) if len(entries) >= LIMIT else None
        if oldest is not None:
            del entries[oldest]
        entries[token] = entry
        return oldest

    def listen(self, session: Session) -> None:
        """Follow the session's transactions and flushes."""
        begun = session.get_transaction()
        for connection, *_ in () if begun is None else begun._connections.values():
            self._watch(connection)
        event.listen(session, "after_begin", self._on_begin)
        event.listen(session, "after_transaction_end", self._on_transaction_end)
        event.listen(session, "after_soft_rollback", self._on_rollback)
        event.listen(session, "before_flush", self._on_flush)
        event.listen(session, "after_flush", self._on_flushed)

    def _watch(self, connection: Connection) -> None:
        # The connection sees every statement, those that go past the ORM's events too: Core,
        # bulk methods, session.connection().execute(). It may outlive a session that nobody
        # closed, so it must not hold what the session held.
        if connection not in self._connections:
            self._connections[connection] = connection.get_transaction()
            _watching.setdefault(connection, weakref.WeakSet()).add(self)
            _listen(connection.engine)

    @property
    def is_cut_off(self) -> bool:
        """Whether the transaction has ended, and the session waits for its rollback."""
        session = self.owner()
        begun = None if session is None else session.get_transaction()
        return begun is not None and (
            not begun.is_active or any(each.invalidated for each in self._connections)
        )

    def _forget_ended(self) -> None:
        """Forget everything if the owner of a connection has ended its transaction unheard."""
        for connection, transaction in self._connections.items():
            if transaction is None or not transaction.is_active:
                self.clear()
                self._connections[connection] = connection.get_transaction()

    def on_change(self, verb: str) -> None:
        """Forget what a statement that begins so may have changed."""
        # A flush inserts objects of its own, which change nothing for those already here. One that
        # a listener vetoed ends without an event.
        self._flushing = self._flushing and getattr(self.owner(), "_flushing", True)
        if not (self._flushing and verb.startswith("INSERT")):
            self.clear()

    def _on_begin(self, session: Session, transaction: Any, connection: Connection) -> None:
        self._watch(connection)
        # The caller's own SAVEPOINT comes next, as the first statement of the transaction.
        if transaction.parent is None and session.in_nested_transaction():
            begin_for_real(connection)

    def _on_transaction_end(self, session: Session, transaction: Any) -> None:
        if transaction.parent is not None:
            return
        self.clear()
        self._held.clear()
        self.inserting, self._changing = [], []
        for connection in self._connections:
            _watching[connection].discard(self)
        self._connections.clear()

    def _on_rollback(self, session: Session, previous: Any) -> None:
        self._flushing = False
        self.clear()

    def _on_flush(self, session: Session, context: Any, instances: Any) -> None:
        self._flushing = True
        self.flushes += 1
        self.inserting = sorted(session.new, key=_insert_order)
        self._changing = list(session.dirty)

    def _on_flushed(self, session: Session, context: Any) -> None:
        self._flushing = False
        for obj in self.inserting:
            for token in self._unenforced.pop(base.instance_state(obj).mapper.base_mapper, ()):
                self._entries.pop(token, None)
        self.ahead.take_out([*self.inserting, *self._changing])
        self.inserting, self._changing = [], []


def _insert_order(obj: Any) -> int:
    return base.instance_state(obj).insert_order or 0


#: The caches that are to hear of what a connection does.
_watching: Final[weakref.WeakKeyDictionary[Connection, weakref.WeakSet[SessionCache]]] = (
    weakref.WeakKeyDictionary()
)

#: Where our listeners are.
_heard: Final[weakref.WeakSet[Engine | Dialect]] = weakref.WeakSet()

_EXECUTIONS: Final = ("do_execute", "do_executemany", "do_execute_no_params")


def _listen(engine: Engine) -> None:
    """Follow all connections of an engine, also those that are open already.

    Listeners on a connection, or on the engine, make SQLAlchemy set up all its other events for
    each connection, too, which costs a fifth of a query. Those on the engine's dialect do not; but
    one of the project's own there may keep a statement from those that come after it.
    """
    if hears(engine):
        return
    dispatch = engine.dialect.dispatch
    if any(listener is not _on_any for name in _EXECUTIONS for listener in getattr(dispatch, name)):
        engine = getattr(engine, "_proxied", engine)
        _heard.add(engine)
        event.listen(engine, "before_cursor_execute", _on_cursor)
    else:
        _heard.add(engine.dialect)
        for name in _EXECUTIONS:
            event.listen(engine, name, _on_statement)


def hears(engine: Engine) -> bool:
    """Whether every statement of the engine is told to the scope's recorder."""
    # An engine with options of its own has the listeners of the one that it was made of.
    return engine.dialect in _heard or getattr(engine, "_proxied", engine) in _heard


def _on_cursor(connection: Connection, *executed: Any) -> None:
    _on_statement(*executed[:-1])  # without `executemany`


def _on_statement(cursor: Any, statement: str, *parameters_and_context: Any) -> None:
    recorder = _scope.current().recorder
    if recorder is not None:
        recorder.count_statement()
    verb = statement.lstrip()[:9].upper()
    if not verb.startswith(_HARMLESS) or ";" in statement:
        for cache in _watching.get(parameters_and_context[-1].root_connection, ()):
            cache.on_change(verb)


@contextlib.contextmanager
def observing(observer: Callable[[ExecutionContext, str], None]) -> Iterator[None]:
    """For the block, tell the observer of every statement in the process, of any engine."""
    if not _observers:
        for name in _EXECUTIONS:
            event.listen(Engine, name, _on_any)
    _observers.append(observer)
    try:
        yield
    finally:
        _observers.remove(observer)
        if not _observers:
            for name in _EXECUTIONS:
                event.remove(Engine, name, _on_any)


_observers: Final[list[Callable[[ExecutionContext, str], None]]] = []


def _on_any(*executed: Any) -> None:
    for observer in tuple(_observers):
        observer(executed[-1], executed[1])


@final
class Entry:
    """An object, by what it was found, and the attribute values that it was found with."""

    __slots__ = ("_columns", "_related", "_values", "key", "obj", "source", "state")

    def __init__(self, obj: Any, columns: tuple[MappedColumn, ...], key: Any) -> None:
        self.obj = obj
        self.key = key
        #: Where its next answer comes from: a row looked up in advance counts as asked for then.
        self.source: Source = "cache"
        self.state = base.instance_state(obj)
        loaded = base.instance_dict(obj)  # `state.dict` asks a weak reference first
        self._columns = columns
        self._values = tuple(
            [(column.attribute, loaded.get(column.attribute, MISSING)) for column in columns]
        )
        self._related = tuple(
            [(name, loaded.get(name, MISSING)) for column in columns for name, _ in column.related]
        )

    def checkable(self) -> bool:
        """Whether a later change would be noticed."""
        for column, (_, value) in zip(self._columns, self._values):
            if value is MISSING:
                pending = self.state.committed_state
                if not any(name in pending for name, _ in column.related):
                    return False
            elif not is_safe(value):
                return False
        return True

    def unchanged(self) -> bool:
        """Whether the object still has the values: not expired, not set anew."""
        loaded = base.instance_dict(self.obj)
        for attribute, known in self._values:
            value = loaded.get(attribute, MISSING)
            if value is not known and (value is MISSING or freeze(value) != freeze(known)):
                return False
        if self._related:
            pending = self.state.committed_state
            for name, parent in self._related:
                # Loading a parent changes nothing; setting another one does.
                if name in pending and loaded.get(name, MISSING) is not parent:
                    return False
        return True
