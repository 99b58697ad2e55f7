"""Running a call in an ``AsyncSession``, cancelled only where its work can be undone alone."""

from __future__ import annotations

import asyncio
import contextvars
import sys
import weakref
from typing import TYPE_CHECKING, Any, Callable, Coroutine, Final, TypeVar

from sqlalchemy import event
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.orm import Session
from typing_extensions import final

from . import _scope

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession

T = TypeVar("T")


async def run(
    session: AsyncSession, work: Callable[[], T], caller: _scope.Caller | None = None
) -> T:
    """Do synchronous work in the session.

    Args:
        caller: the line of code that it is done for.

    Raises:
        asyncio.CancelledError: the awaiting task was cancelled; then the work has ended.
    """
    cancellation = Cancellation(session.sync_session)
    _hear(session.sync_session)

    def in_session(sync_session: Session) -> T:
        recorder = _scope.current().recorder
        # Its own, so that the statements of tasks that run by turns are told apart.
        own = None if recorder is None else _scope.Recorder(recorder)
        with _scope.within(
            session=sync_session,
            pin=None,
            recorder=own,
            cancellation=cancellation,
            caller=caller,
        ):
            return work()

    return await cancellation.shield(lambda: session.run_sync(in_session))


@final
class Cancellation:
    """Whether an awaited call is to be cancelled, and may be where it is.

    A driver that is told to stop gives up its statement, and with it what the database undoes for
    that. Inside a SAVEPOINT of the call that is the call's own work. Elsewhere it would be the
    caller's whole transaction. So the call is cancelled at once inside of a statement of its own
    SAVEPOINT, or while the session has no connection, and waits for one. Else what is under way
    ends first: the next statement is not sent.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self._asked: asyncio.CancelledError | None = None
        self._savepoints: list[Connection] = []
        self._can_stop = False
        self._stopped = False

    async def shield(self, start: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Await what ``start`` returns, which is cancelled where it may be.

        It runs in a task of its own: a timeout inside of it cancels that one, and not the caller.
        """
        task = _begin(start)
        try:
            while not task.done():
                try:
                    await asyncio.wait([task])
                except asyncio.CancelledError as cancelled:
                    self._asked = self._asked or cancelled
                    self._deliver(task)
        finally:
            task.cancel()  # whoever awaits was closed; else it is done
        cancelled_in_vain = not task.cancelled() and not self._stopped
        if self._asked is None or (cancelled_in_vain and task.exception() is not None):
            return task.result()()
        # The very one that was caught, by which anyio knows its own.
        raise self._asked from (None if task.cancelled() else task.exception())

    def _deliver(self, task: asyncio.Task[Any]) -> None:
        if self._can_stop:
            self._can_stop = False  # once: what follows undoes the work
            self._stopped = True
            task.cancel()
        elif not self._session._flushing and not _connections(self._session):
            task.cancel()

    # What the call tells

    def check(self) -> None:
        """Raise, if the call is to be cancelled.

        Raises:
            asyncio.CancelledError: it is.
        """
        if self._asked is not None:
            raise asyncio.CancelledError

    def enter(self, connection: Connection) -> None:
        """Note that a SAVEPOINT was set."""
        self._savepoints.append(connection)

    def leave(self) -> None:
        """Note that the SAVEPOINT was released or rolled back."""
        self._savepoints.pop()

    # What the database is doing

    def begins(self, connection: Connection, statement: str) -> None:
        """Note that a statement is about to be sent.

        Raises:
            asyncio.CancelledError: the call is to be cancelled, and here can be.
        """
        if statement.lstrip().upper().startswith(_CONTROL):
            return
        inside = connection in self._savepoints[-1:]
        # A failed flush of the caller's rows would take them along.
        if self._asked is not None and (inside or not self._session._flushing):
            self._stopped = True
            self.check()
        self._can_stop = inside and connection.dialect.driver in _RESUMABLE

    def ended(self, connection: Connection) -> None:
        """Note that it no longer is under way."""
        if connection in self._savepoints[-1:]:
            self._can_stop = False

    def keeps(self, connection: Connection) -> bool:
        """Whether the connection goes on after an interrupt that came of this cancellation."""
        return self._stopped and connection in (*self._savepoints, *_connections(self._session))


#: Statements that decide what becomes of others. They end, whatever happens.
_CONTROL: Final = ("SAVEPOINT", "RELEASE", "ROLLBACK", "COMMIT")

#: Drivers whose connection goes on after a cancelled statement: asyncpg and psycopg ask the server
#: to give it up, and wait; aiosqlite lets it end before the next one.
_RESUMABLE: Final = ("asyncpg", "psycopg", "aiosqlite")


def _connections(session: Session) -> list[Connection]:
    """Return those that the session's transaction has: none, if it waits for its first one."""
    transaction: Any = session.get_transaction()
    held = {} if transaction is None else transaction._connections
    return [key for key in held if isinstance(key, Connection)]


# The task

_Outcome = Callable[[], T]


def _begin(start: Callable[[], Coroutine[Any, Any, T]]) -> asyncio.Task[_Outcome[T]]:
    """Begin the work in a task that is this one's own affair, and has its context."""
    if sys.version_info >= (3, 12):
        current: Any = asyncio.current_task()
        task = asyncio.Task(_caught(start), context=current.get_context())
    else:
        task = asyncio.ensure_future(_adopting(start, contextvars.copy_context()))
    # Who cancels all tasks cancels the one that awaits this.
    asyncio._unregister_task(task)
    return task


async def _caught(start: Callable[[], Coroutine[Any, Any, T]]) -> _Outcome[T]:
    """Return how to give out what the work comes to.

    A task lets these two out of the event loop, past the code that awaits it.
    """
    try:
        value = await start()
    except (KeyboardInterrupt, SystemExit) as interrupt:
        raised = interrupt

        def give() -> T:
            raise raised

        return give
    return lambda: value


async def _adopting(
    start: Callable[[], Coroutine[Any, Any, T]], before: contextvars.Context
) -> _Outcome[T]:
    """Do the same before Python 3.12, where a task cannot have another's context.

    The variables that a declaration has set are set again, for the code that awaits.
    """
    give = await _caught(start)
    after = contextvars.copy_context()

    def give_and_adopt() -> T:
        for variable, value in after.items():
            if variable not in before or before[variable] is not value:
                variable.set(value)
        return give()

    return give_and_adopt


# The listeners

#: Engines and sessions that have them.
_heard: Final[weakref.WeakSet[Any]] = weakref.WeakSet()


def _hear(session: Session) -> None:
    """Hear of the statements of the session's engines."""
    if session not in _heard:
        _heard.add(session)
        event.listen(session, "after_begin", _on_begin)
    for connection in _connections(session):
        _on_begin(session, None, connection)


def _on_begin(session: Any, transaction: Any, connection: Connection) -> None:
    engine: Engine = connection.engine
    if engine not in _heard:
        _heard.add(engine)
        event.listen(engine, "before_cursor_execute", _on_statement)
        event.listen(engine, "after_cursor_execute", _on_end)
        event.listen(engine, "handle_error", _on_error)


def _on_statement(connection: Connection, cursor: Any, statement: str, *args: Any) -> None:
    cancellation = _scope.current().cancellation
    if cancellation is not None:
        cancellation.begins(connection, statement)


def _on_end(connection: Connection, *args: Any) -> None:
    cancellation = _scope.current().cancellation
    if cancellation is not None:
        cancellation.ended(connection)


def _on_error(context: Any) -> None:
    """Keep the connection, which SQLAlchemy would give up after any exception that is no error."""
    cancellation = _scope.current().cancellation
    if cancellation is not None and context.connection is not None:
        cancellation.ended(context.connection)
        cancelled = isinstance(context.original_exception, asyncio.CancelledError)
        if cancelled and cancellation.keeps(context.connection):
            context.is_disconnect = False
