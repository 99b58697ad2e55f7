"""The same calls for an ``AsyncSession``: each returns what is to be awaited.

The factories are the same, unchanged: a call runs inside of ``AsyncSession.run_sync``. What
``use_session``, ``recycle``, ``no_reuse`` and ``watch`` say holds here, too.

A call that is cancelled leaves the session as a refused INSERT does: what the call itself was
inserting is undone, what came before stays, and the session can be used on. Inside its own
SAVEPOINT a call is cancelled at once, with asyncpg, psycopg and aiosqlite; elsewhere a statement
under way ends first. A call that was complete when the cancellation came has made its row.

>>> from factory_reuse import aio
"""

from __future__ import annotations

import itertools
import sys
from typing import (
    TYPE_CHECKING,
    Any,
    AsyncIterator,
    Callable,
    Coroutine,
    Iterable,
    Mapping,
    Protocol,
    TypeVar,
    Union,
)

from factory.base import BaseFactory
from sqlalchemy.ext.asyncio import AsyncSession, async_scoped_session

from . import _batch, _scope, _use
from ._cancel import run
from ._options import options_of
from ._session import awaited
from .errors import SessionError

if TYPE_CHECKING:
    AnyAsyncSession = Union[AsyncSession, async_scoped_session[Any]]

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

__all__ = ["create", "create_batch", "create_many", "find", "get_or_create"]


def create(
    session: AnyAsyncSession, factory: type[BaseFactory[T]], /, **kwargs: Any
) -> Coroutine[Any, Any, T]:
    """Call ``factory.create(**kwargs)`` in the session.

    Args:
        session: an ``AsyncSession``, or an ``async_scoped_session``.
        factory: a reuse-enabled factory.

    Returns:
        What to await for the object.

    Raises:
        SessionError: ``session`` is none.
        ReuseError: the factory does not reuse; or, when awaited, what ``create`` raises.

    Example::

        category = await aio.create(session, CategoryFactory, name="Books")
    """
    options_of(factory)
    return _call(session, lambda: awaited(factory.create(**kwargs)))


def create_batch(
    session: AnyAsyncSession, factory: type[BaseFactory[T]], size: int, /, **kwargs: Any
) -> Coroutine[Any, Any, list[T]]:
    """Call ``factory.create_batch(size, **kwargs)`` in the session; see :func:`create`.

    Returns:
        What to await for the list of objects.

    Example::

        products = await aio.create_batch(session, ProductFactory, 3)
    """
    options_of(factory)
    return _call(session, lambda: awaited(factory.create_batch(size, **kwargs)))


def create_many(
    session: AnyAsyncSession,
    factory: type[BaseFactory[T]],
    rows: Iterable[Mapping[str, Any]],
    *,
    chunk_size: int = 1000,
) -> AsyncIterator[T]:
    """Yield one object a row in the session; see :func:`factory_reuse.create_many`.

    Returns:
        An asynchronous iterator. A chunk is made when its first object is asked for.

    Example::

        async for category in aio.create_many(session, CategoryFactory, rows):
            print(category.name)
    """
    objects = _batch.create_many(factory, rows, chunk_size=chunk_size)
    _check(session)
    return _chunks(session, lambda: list(itertools.islice(objects, chunk_size)), _caller(1))


def get_or_create(
    session: AnyAsyncSession, factory: type[BaseFactory[T]], /, **kwargs: Any
) -> Coroutine[Any, Any, tuple[T, bool]]:
    """Call :func:`factory_reuse.get_or_create` in the session; see :func:`create`.

    Returns:
        What to await for the object, and whether it is new.

    Example::

        category, created = await aio.get_or_create(session, CategoryFactory, name="Books")
    """
    options_of(factory)
    return _call(session, lambda: _use.get_or_create(factory, **kwargs))


class _FactoryOf(Protocol[T_co]):
    """A factory, as ``find`` takes it.

    It is covariant, unlike ``BaseFactory``. Else mypy would look for a factory of ``T | None`` in
    ``asyncio.gather(find(...))``.
    """

    def build(self, **kwargs: Any) -> T_co: ...


def find(
    session: AnyAsyncSession, factory: _FactoryOf[T], /, **kwargs: Any
) -> Coroutine[Any, Any, T | None]:
    """Call :func:`factory_reuse.find` in the session; see :func:`create`.

    Returns:
        What to await for the row that ``create`` would reuse, or ``None``.

    Example::

        assert await aio.find(session, CategoryFactory, name="Books") is None
    """
    declared: Any = factory
    options_of(declared)
    return _call(session, lambda: _use.find(declared, **kwargs))


def _call(session: Any, work: Callable[[], T]) -> Coroutine[Any, Any, T]:
    _check(session)
    return _run(session, work, _caller(2))


async def _run(session: AnyAsyncSession, work: Callable[[], T], caller: _scope.Caller) -> T:
    # A scope is asked in the task that awaits, which may not be the one that made the call.
    own = session() if isinstance(session, async_scoped_session) else session
    return await run(own, work, caller)


async def _chunks(
    session: AnyAsyncSession, chunk: Callable[[], list[T]], caller: _scope.Caller
) -> AsyncIterator[T]:
    while True:
        objects = await _run(session, chunk, caller)
        for obj in objects:
            yield obj
        if not objects:
            return


def _check(session: Any) -> None:
    if not isinstance(session, (AsyncSession, async_scoped_session)):
        raise SessionError(
            f"factory_reuse.aio was given {session!r} as its session, which is no AsyncSession. "
            "Pass it one, or call the factory itself with a Session.",
            values={"session": session},
        )


def _caller(level: int) -> _scope.Caller:
    """Return the line of code that called the function which is ``level`` levels up."""
    return _scope.Caller.of(sys._getframe(level + 1))
