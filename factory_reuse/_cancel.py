"""Running a call in an ``AsyncSession``, cancelled only where its work can be undone alone."""

from __future__ import annotations

import asyncio
import weakref
from typing import TYPE_CHECKING, Any, Callable, Coroutine, Final, Generator, Generic, TypeVar

from sqlalchemy import event
from sqlalchemy.engine import Connection, Engine
from typing_extensions import final

from . import _scope

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession
    from sqlalchemy.orm import Session

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

    return await Cancellable(session.run_sync(in_session), cancellation)


@final
class Cancellation:
    """Whether a call is to be cancelled, and where it is.

    A driver that is told to stop gives up its statement, and with it what the database undoes for
    that. Inside a SAVEPOINT that is the call's own work. Elsewhere it would be the caller's whole
    transaction, so there the statement ends first.

    Attributes:
        asked: whether the call is to be cancelled.
        delivered: whether the driver was told.
    """

    def __init__(self) -> None:
        self.asked = False
        self._savepoints: list[bool] = []
        self.delivered = False

    def enter(self, connection: Connection) -> None:
        """Note that a SAVEPOINT was set."""
        self._savepoints.append(connection.dialect.driver in _RESUMABLE)
        if self._savepoints[-1]:
            _listen(connection.engine)

    def check(self) -> None:
        """Raise, if the call is to be cancelled.

        Raises:
            asyncio.CancelledError: it is.
        """
        if self.asked:
            raise asyncio.CancelledError

    def leave(self) -> None:
        """Note that the SAVEPOINT is about to be released or rolled back."""
        self._savepoints.pop()

    def deliver(self, waiting: asyncio.Future[Any]) -> None:
        """Take a request to cancel the call, which waits for the future."""
        self.asked = True
        if self._savepoints and self._savepoints[-1] and not self.delivered:
            self.delivered = True  # once: what follows undoes the work
            waiting.cancel()


@final
class Cancellable(Generic[T]):
    """Awaits a coroutine in the same task, and passes a cancellation on as it may be.

    Raises:
        asyncio.CancelledError: the awaiting task was cancelled; then the coroutine has ended.
    """

    def __init__(self, coroutine: Coroutine[Any, Any, T], cancellation: Cancellation) -> None:
        self._coroutine = coroutine
        self._cancellation = cancellation

    def __await__(self) -> Generator[Any, Any, T]:
        error: BaseException | None = None
        while True:
            try:
                send, throw = self._coroutine.send, self._coroutine.throw
                waiting = send(None) if error is None else throw(error)
            except StopIteration as end:
                self._cancellation.check()
                result: T = end.value
                return result
            error = None
            try:
                yield from self._wait(waiting)
            except BaseException as raised:  # whoever awaits is closed
                error = raised

    def _wait(self, waiting: asyncio.Future[Any] | None) -> Generator[Any, Any, None]:
        """Wait until the future is done, whose result its own coroutine is going to ask for."""
        if waiting is None:  # asyncio.sleep(0)
            try:
                yield None
            except asyncio.CancelledError:
                self._cancellation.asked = True
            return
        # What awaits a future yields it so marked, for a task to wait for. Here an event does,
        # and hears of it after the driver, which may have to tell the server.
        waiting._asyncio_future_blocking = False
        ended = asyncio.Event()
        waiting.add_done_callback(lambda _: ended.set())
        while not ended.is_set():
            try:
                yield from ended.wait().__await__()
            except asyncio.CancelledError:
                self._cancellation.deliver(waiting)


#: Drivers whose connection goes on after a cancelled statement: asyncpg and psycopg ask the server
#: to give it up, and wait; aiosqlite lets it end before the next one.
_RESUMABLE: Final = ("asyncpg", "psycopg", "aiosqlite")


#: Engines that have our listener.
_heard: Final[weakref.WeakSet[Engine]] = weakref.WeakSet()


def _listen(engine: Engine) -> None:
    if engine not in _heard:
        _heard.add(engine)
        event.listen(engine, "handle_error", _on_error)


def _on_error(context: Any) -> None:
    """Keep the connection, which SQLAlchemy would give up after any exception that is no error.

    Not that of a COMMIT, of which nobody knows whether it was done.
    """
    cancellation = _scope.current().cancellation
    if (
        cancellation is not None
        and cancellation.delivered
        and isinstance(context.original_exception, asyncio.CancelledError)
        and context.statement is not None
    ):
        context.is_disconnect = False
