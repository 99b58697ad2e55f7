"""Running a call in an ``AsyncSession``, cancelled only where its work can be undone alone."""

from __future__ import annotations

import asyncio
import contextvars
import functools
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
    _listen()
    cancellation = Cancellation()

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

    return await cancellation.shield(session.run_sync(in_session))


@final
class Cancellation:
    """Whether an awaited call is to be cancelled, and may be where it is.

    A driver that is told to stop gives up its statement, and with it what the database undoes for
    that. Inside a SAVEPOINT of the call that is the call's own work. Elsewhere it would be the
    caller's whole transaction, so there the statement ends first, as do COMMIT and the like
    anywhere. What waits for something else, for a connection say, is given up at once.
    """

    def __init__(self) -> None:
        self._asked: asyncio.CancelledError | None = None
        self._statement: str | None = None
        self._delivered: str | None = None
        self._savepoints: list[bool] = []

    async def shield(self, work: Coroutine[Any, Any, T]) -> T:
        """Await the work, which is cancelled when it may be.

        It runs in a task of its own: a timeout inside of it cancels that one, and not the caller.
        """
        context: list[contextvars.Context] = []
        task = asyncio.ensure_future(_noting_context(work, context))
        try:
            while not task.done():
                try:
                    await asyncio.wait([task])
                except asyncio.CancelledError as cancelled:
                    self._asked = self._asked or cancelled
                    self._deliver(task)
        finally:
            task.cancel()  # whoever awaits was closed; else it is done
        _adopt(context)
        if self._asked is None:
            return task.result()
        error = None if task.cancelled() else task.exception()
        if error is not None and self._delivered is None:
            raise error
        # The very one that was caught, by which anyio knows its own.
        raise self._asked from error

    def _deliver(self, task: asyncio.Task[Any]) -> None:
        if self._statement is None:
            task.cancel()
        elif (
            self._delivered is None  # once: what follows undoes the work
            and self._savepoints[-1:] == [True]
            and not self._statement.startswith(_CONTROL)
        ):
            self._delivered = self._statement
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
        self._savepoints.append(connection.dialect.driver in _RESUMABLE)

    def leave(self) -> None:
        """Note that the SAVEPOINT was released or rolled back."""
        self._savepoints.pop()

    # What the database is doing

    def begins(self, statement: str) -> None:
        """Note that the statement is about to be sent.

        Raises:
            asyncio.CancelledError: the call is to be cancelled, and here can be.
        """
        statement = statement.lstrip().upper()
        if self._asked is not None and self._savepoints and not statement.startswith(_CONTROL):
            self._delivered = statement
            self.check()
        self._statement = statement

    def ended(self) -> None:
        """Note that it no longer is."""
        self._statement = None

    @property
    def is_undoing(self) -> bool:
        """Whether a driver was told to give up its statement, which the call now undoes."""
        return self._delivered is not None


#: Statements that decide what becomes of others.
_CONTROL: Final = ("SAVEPOINT", "RELEASE", "ROLLBACK", "COMMIT")

#: Drivers whose connection goes on after a cancelled statement: asyncpg and psycopg ask the server
#: to give it up, and wait; aiosqlite lets it end before the next one.
_RESUMABLE: Final = ("asyncpg", "psycopg", "aiosqlite")


async def _noting_context(work: Coroutine[Any, Any, T], context: list[contextvars.Context]) -> T:
    try:
        return await work
    finally:
        context.append(contextvars.copy_context())


def _adopt(contexts: list[contextvars.Context]) -> None:
    """Take over the variables that a declaration has set, as if it had run here."""
    for context in contexts:
        for variable, value in context.items():
            if variable.get(_adopt) is not value:  # a default that no variable has
                variable.set(value)


@functools.lru_cache(maxsize=None)
def _listen() -> None:
    """Hear of the statements of all engines: which ones a session has is known too late."""
    event.listen(Session, "after_transaction_end", _on_transaction_end)
    event.listen(Engine, "before_cursor_execute", _on_statement)
    event.listen(Engine, "after_cursor_execute", _on_end)
    event.listen(Engine, "commit", _on_commit)
    event.listen(Engine, "rollback", _on_rollback)
    event.listen(Engine, "handle_error", _on_error)


def _on_statement(connection: Connection, cursor: Any, statement: str, *args: Any) -> None:
    cancellation = _scope.current().cancellation
    if cancellation is not None:
        cancellation.begins(statement)


def _on_end(connection: Any, *args: Any) -> None:
    cancellation = _scope.current().cancellation
    if cancellation is not None:
        cancellation.ended()


def _on_transaction_end(session: Session, transaction: Any) -> None:
    _on_end(None)  # of COMMIT and ROLLBACK, which no other event tells


def _on_commit(connection: Connection) -> None:
    _on_statement(connection, None, "COMMIT")


def _on_rollback(connection: Connection) -> None:
    _on_statement(connection, None, "ROLLBACK")


def _on_error(context: Any) -> None:
    """Keep the connection, which SQLAlchemy would give up after any exception that is no error."""
    cancellation = _scope.current().cancellation
    if cancellation is None:
        return
    cancellation.ended()
    cancelled = isinstance(context.original_exception, asyncio.CancelledError)
    if cancelled and cancellation.is_undoing and context.statement is not None:
        context.is_disconnect = False
