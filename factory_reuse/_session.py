"""From whatever a factory calls its session to a ``Session`` in a real transaction."""

from __future__ import annotations

import contextlib
import inspect
import sys
import warnings
from typing import Any, Iterator

from sqlalchemy.engine import Connection
from sqlalchemy.exc import SAWarning
from sqlalchemy.orm import Session, scoped_session, sessionmaker
from sqlalchemy.util import await_only
from typing_extensions import final

from .errors import SessionError

_REMEDY = (
    "Set Meta.sqlalchemy_session or Meta.sqlalchemy_session_factory, pass "
    "reuse_existing(session=...) a Session, scoped_session or callable, or run the call inside "
    "use_session(session)."
)


def real_session(source: Any, *, factory: str, model: str = "no model") -> Session:
    """Return the ``Session`` behind a session, scoped session, proxy or callable.

    Raises:
        SessionError: there is none; the message says what to write.

    >>> from sqlalchemy.orm import Session
    >>> session = Session()
    >>> real_session(lambda: session, factory="CategoryFactory") is session
    True
    """
    found = _resolved(source)
    if isinstance(found, Session):
        return found
    if is_async(found):
        raise SessionError(
            f"{factory} ({model}) has an {type(found).__name__}, which cannot be queried "
            "without await. Pass it to factory_reuse.aio: await aio.create(session, ...). If the "
            "factory runs as a SubFactory, let the one above it reuse, too.",
            factory=factory,
            model=model,
        )
    if source is None:
        raise SessionError(
            f"{factory} ({model}) has no session to look in. {_REMEDY}",
            factory=factory,
            model=model,
        )
    if is_maker(found):
        raise SessionError(
            f"{factory} ({model}) has a sessionmaker as its session, which makes a new one at each "
            "call. Give it one session, or scoped_session(...) of the sessionmaker.",
            factory=factory,
            model=model,
            values={"session": source},
        )
    given = f"{source!r} as its session" + ("" if found is source else f", which gave {found!r}")
    raise SessionError(
        f"{factory} ({model}) has {given}; that is no SQLAlchemy Session. {_REMEDY}",
        factory=factory,
        model=model,
        values={"session": source},
    )


def real_async_session(source: Any, *, factory: str) -> Any:
    """Return the ``AsyncSession`` behind a session, scope, proxy or callable.

    Raises:
        SessionError: there is none; the message says what to write.
    """
    found = _resolved(source)
    if is_async(found):
        return found() if callable(found) else found  # a scope of them is called
    raise SessionError(
        f"{factory} is awaited, and has {source!r} as its session, which is no AsyncSession. Set "
        "Meta.sqlalchemy_session to one, or call it through factory_reuse.aio.",
        factory=factory,
        values={"session": source},
    )


def _resolved(source: Any) -> Any:
    """Return the session that a scope, a proxy or a callable stands for, if it does."""
    found: Any = source
    for _ in range(4):  # a callable may return a scoped session, a proxy a callable
        if isinstance(found, scoped_session):
            found = found.registry()
        elif hasattr(found, "_get_current_object"):  # werkzeug's LocalProxy
            found = found._get_current_object()
        elif is_async(found) or isinstance(found, Session) or not callable(found):
            break
        elif is_maker(found):
            break  # what it makes is another session each time
        else:
            found = found()
    return found


def is_maker(source: Any) -> bool:
    """Whether it is a ``sessionmaker``, whose every call is another session."""
    extension = sys.modules.get("sqlalchemy.ext.asyncio")
    makers = sessionmaker, getattr(extension, "async_sessionmaker", sessionmaker)
    return isinstance(source, makers)


def is_async(source: Any) -> bool:
    """Whether it is an ``AsyncSession`` or a scope of them.

    If so, the extension has been imported. Here it would cost more than all of this package.
    """
    extension = sys.modules.get("sqlalchemy.ext.asyncio")
    return extension is not None and isinstance(
        source, (extension.AsyncSession, extension.async_scoped_session)
    )


def begin_for_real(connection: Connection) -> None:
    """See to it that SQLite is in a transaction before the SAVEPOINT.

    Python's driver begins one before DML only, and "if the SAVEPOINT command is issued when
    SQLite is not inside a transaction, [...] the RELEASE is a COMMIT" (sqlite.org, "Savepoints"):
    the row would survive the caller's rollback.
    """
    if connection.dialect.name != "sqlite":
        return
    pooled: Any = connection.connection
    driver = getattr(pooled, "driver_connection", None) or pooled.dbapi_connection
    in_autocommit = driver.isolation_level is None or getattr(driver, "autocommit", -1) is True
    if not driver.in_transaction and not in_autocommit:
        cursor = pooled.cursor()
        cursor.execute(f"BEGIN {driver.isolation_level}")  # DEFERRED, IMMEDIATE, EXCLUSIVE or ""
        cursor.close()


def flush_unfinished(session: Session) -> None:
    """Flush what the caller left pending, before an object is there that may be part of it.

    Where a pending object refers to one that only the call will add, SQLAlchemy warns that it is
    not in the session. It will be, at the next flush.
    """
    # The call may come from a listener. `session.new` and the like would make a set each time.
    if session._flushing or session._is_clean():
        return
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Object of type .* not in session", SAWarning)
        session.flush()


def awaited(value: Any) -> Any:
    """Return the value, or what it gives when it is awaited; the call runs in a greenlet then.

    Factories of an asynchronous base make their objects in a coroutine or a task.

    Raises:
        SessionError: the call runs in none, so that nothing can be awaited.
    """
    if not inspect.isawaitable(value):
        return value
    if not in_greenlet():
        if inspect.iscoroutine(value):
            value.close()
        raise SessionError(
            "A factory whose create() is awaited was called where nothing can be. Await it, or "
            "call it through factory_reuse.aio."
        )
    return await_only(value)


def in_greenlet() -> bool:
    """Whether the code runs in what ``AsyncSession.run_sync`` and the like spawn."""
    greenlet = sys.modules.get("greenlet")
    return greenlet is not None and greenlet.getcurrent().parent is not None


def async_session_of(session: Session) -> Any:
    """Return the ``AsyncSession`` in front of a session, or ``None``."""
    extension = sys.modules.get("sqlalchemy.ext.asyncio")
    return None if extension is None else extension.async_session(session)


@contextlib.contextmanager
def unheard(session: Session) -> Iterator[None]:
    """For the block, the RELEASE of a SAVEPOINT is no commit to the session's listeners.

    SQLAlchemy calls ``before_commit`` and ``after_commit`` for it too. A project has them to index
    or to send what is committed; and ours commits nothing.
    """
    heard: Any = session.dispatch
    if not heard.before_commit and not heard.after_commit:
        yield
        return
    session.__dict__["dispatch"] = _Unheard(heard)
    try:
        yield
    finally:
        session.__dict__["dispatch"] = heard


@final
class _Unheard:
    """The listeners of a session but for those that hear of a commit."""

    def __init__(self, heard: Any) -> None:
        self._heard = heard

    def __getattr__(self, name: str) -> Any:
        if name in ("before_commit", "after_commit"):
            return _ignore
        return getattr(self._heard, name)


def _ignore(session: Session) -> None:
    """Take the place of a listener."""
