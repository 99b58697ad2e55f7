"""An INSERT that may be refused: one SAVEPOINT around it, and what follows when it is."""

from __future__ import annotations

import contextlib
import re
import sys
from typing import Any, Callable, Final, Iterable, Iterator, NoReturn, Sequence, TypeVar

from sqlalchemy import inspect
from sqlalchemy.exc import DBAPIError, IntegrityError, PendingRollbackError
from sqlalchemy.orm import Mapper, Session
from sqlalchemy.orm.exc import FlushError
from sqlalchemy.orm.interfaces import MANYTOONE
from sqlalchemy.orm.session import DEACTIVE
from typing_extensions import final

from . import _scope
from ._cache import session_cache
from ._keys import Key
from ._session import begin_for_real, flush_unfinished, unheard
from .errors import RaceLostError

T = TypeVar("T")


def insert(
    session: Session,
    mapper: Mapper[Any],
    make: Callable[[], T],
    reread: Callable[[list[Any]], T | None],
    is_visible: Callable[[list[Any]], bool],
    *,
    keys: Sequence[Key],
    factory: str,
) -> T:
    """Return what ``make`` returns, or the row because of which its INSERT was refused.

    Args:
        make: builds and adds the instance; it may flush, and may commit.
        reread: looks the row up again, given the instances that the failed flush was to insert.
        is_visible: whether there is a row with the key that is just not to be reused.

    Raises:
        RaceLostError: the row is there, but this transaction's snapshot cannot show it.
        Exception: what ``make`` raised, untouched, when no row explains it. In each case the
            failed INSERT alone is undone.
    """
    cache = session_cache(session)  # it notes what a flush is about to insert
    scope = Savepoint(session, mapper)
    cache.inserting = []
    try:
        made = make()
        scope.release()
    except BaseException as error:
        failed, cache.inserting = cache.inserting, []
        causes = scope.causes(error)
        goes_on = scope.roll_back(error)
        if not goes_on or not isinstance(error, Exception) or not _is_refused(causes):
            detach(failed)
            if not goes_on:
                scope.raise_first(error)
            raise
        winner, may_read = None, True
        try:
            with savepoint(session, mapper):
                try:
                    winner = reread(failed)
                finally:
                    detach(failed)
        except (DBAPIError, PendingRollbackError) as unread:
            if any(code in _NEWER_THAN_SNAPSHOT for code in _codes(unread)):
                raise _lost(factory, mapper) from error
            may_read = False  # no right to lock, or no transaction left: the refusal says it all
        if winner is not None:
            return winner
        if may_read and _is_unseen(session, mapper, keys, causes) and not is_visible(failed):
            raise _lost(factory, mapper) from error
        raise
    return made


def detach(failed: Iterable[Any]) -> None:
    """Take objects that were not inserted out of the collections of parents that are not either.

    A rollback makes parents forget them that have a row; of the others it knows nothing.
    """
    for obj in failed:
        state = inspect(obj)
        for relationship in state.mapper.relationships if state.transient else ():
            parent = state.dict.get(relationship.key)
            above = inspect(parent, raiseerr=False) if parent is not None else None
            if relationship.direction is MANYTOONE and above is not None and above.transient:
                setattr(obj, relationship.key, None)


@contextlib.contextmanager
def savepoint(session: Session, mapper: Mapper[Any]) -> Iterator[None]:
    """Flush the block's changes inside a SAVEPOINT; if it fails, undo them alone."""
    scope = Savepoint(session, mapper)
    try:
        yield
        scope.release()
    except BaseException as error:
        if not scope.roll_back(error):
            scope.raise_first(error)
        raise


@final
class Savepoint:
    """A SAVEPOINT of the session; in driver autocommit, where there can be none, a plain flush."""

    def __init__(self, session: Session, mapper: Mapper[Any]) -> None:
        self._session = session
        self._handled = sys.exc_info()[1]  # the error that the caller is handling is not ours
        self._cancellation = _scope.current().cancellation
        _scope.check_cancelled()
        # Here, not in begin_nested(): if the caller's own pending rows are refused, it is theirs.
        flush_unfinished(session)
        self._nested: Any = None
        self._connection: Any = None
        self._outer = session.get_transaction()
        if self._outer is None and getattr(session, "autocommit", False):
            return  # SQLAlchemy 1.4's legacy mode: each flush is a transaction of its own
        self._connection = session.connection(bind_arguments={"mapper": mapper})
        self._outer = session.get_transaction()
        if not self._connection._is_autocommit_isolation():
            begin_for_real(self._connection)
            _scope.check_cancelled()
            self._nested = session.begin_nested()
            if self._cancellation is not None:
                self._cancellation.enter(self._connection)

    @property
    def exists(self) -> bool:
        """Whether there is one."""
        return self._nested is not None

    def attempt(self, make: Callable[[], None]) -> bool:
        """Flush what ``make`` adds; if that fails, undo all that was done since it began.

        Returns:
            Whether it went well. If not, it is over, and nothing of it is left.

        Raises:
            BaseException: what ended more than the SAVEPOINT, such as a lost connection, or is no
                mere error.
        """
        try:
            make()
            self._session.flush()
        except BaseException as error:
            if not self.roll_back(error):
                self.raise_first(error)
            if not isinstance(error, Exception):
                raise
            return False
        return True

    def release(self) -> None:
        """Flush, and keep what was done since."""
        if self._nested is None:
            self._session.flush()
        elif self._is_open():
            self._session.flush()
            _scope.check_cancelled()
            with unheard(self._session):
                self._nested.commit()
        elif self._session.get_transaction() is self._outer:
            # SQLAlchemy 1.4: a commit() inside of the savepoint ended that alone.
            self._session.commit()
        self._leave()

    def causes(self, error: BaseException) -> list[BaseException]:
        """Return an error that came up since, and all those behind it."""
        return list(_causes(error, self._handled))

    def roll_back(self, error: BaseException) -> bool:
        """Undo what was done since, and no more, because of an error.

        Returns:
            Whether the transaction goes on. If not, the connection is gone, or the server has
            ended the transaction: then the session, which must not commit what is left of its
            work, does nothing more until it is rolled back.
        """
        lost = any(map(_ends_transaction, self.causes(error)))
        try:
            if self._nested is None:
                self._session.rollback()
            elif self._is_open():
                self._nested.rollback()
        except DBAPIError:
            lost = True
        finally:
            self._leave()
        if self._nested is not None and self._connection.invalidated:
            return False
        if lost and self._connection is not None and not self._connection.closed:
            self._end(error)
        return not lost

    def _leave(self) -> None:
        cancellation, self._cancellation = self._cancellation, None
        if cancellation is not None and self._nested is not None:
            cancellation.leave()

    def _end(self, error: BaseException) -> None:
        """Let the session do nothing more before it is rolled back."""
        if self._connection.dialect.name != "sqlite":
            self._connection.invalidate(error)
            return
        # A database in memory would go with its connection. So it is as after a failed flush.
        transaction = self._session.get_nested_transaction() or self._session.get_transaction()
        while transaction is not None:
            transaction._state, transaction._rollback_exception = DEACTIVE, error
            transaction = transaction.parent

    def raise_first(self, error: BaseException) -> NoReturn:
        """Raise what ended the transaction, not that there was no SAVEPOINT left to go back to."""
        for cause in self.causes(error):
            of_database = isinstance(cause, DBAPIError) and not _is_failed_rollback(cause)
            if of_database or not isinstance(cause, Exception):  # an interrupt goes first
                raise cause  # not `from error`: that one came of it
        raise error

    def _is_open(self) -> bool:
        current = self._session.get_nested_transaction()
        while current is not None and current is not self._nested:
            current = current.parent
        return current is not None


def _ends_transaction(cause: BaseException) -> bool:
    """Whether the error says that the server has ended the transaction."""
    return isinstance(cause, DBAPIError) and (
        _is_failed_rollback(cause) or _DEADLOCK in _codes(cause)
    )


def _is_failed_rollback(error: DBAPIError) -> bool:
    """Whether there was no SAVEPOINT left to go back to: SQLite ends what it cannot write."""
    return (error.statement or "").startswith("ROLLBACK TO")


def _is_refused(causes: Iterable[BaseException]) -> bool:
    """Whether the database refused the row: also in the driver's own words, or SQLAlchemy's."""
    return any(
        isinstance(cause, (IntegrityError, FlushError))
        or any(kind.__name__ == "IntegrityError" for kind in type(cause).__mro__)
        for cause in causes
    )


#: MariaDB and MySQL: the server "rolls back the entire transaction" (InnoDB error handling).
_DEADLOCK: Final = 1213
_SNAPSHOTS: Final = ("REPEATABLE READ", "SERIALIZABLE", "SNAPSHOT")
_UNIQUE_VIOLATION: Final = "23505"  # PostgreSQL manual, appendix A, "PostgreSQL Error Codes"


#: A locking read met a row that the transaction's snapshot does not have: PostgreSQL's
#: serialization failure, and ER_CHECKREAD of MariaDB with innodb_snapshot_isolation.
_NEWER_THAN_SNAPSHOT: Final = ("40001", 1020)


def _codes(error: Exception) -> list[Any]:
    """Return the codes by which the driver names the error: SQL's, and the server's own."""
    original = getattr(error, "orig", None)
    number = next(iter(getattr(original, "args", ())), None)
    return [getattr(original, "sqlstate", None), getattr(original, "pgcode", None), number]


def _is_unseen(
    session: Session, mapper: Mapper[Any], keys: Sequence[Key], causes: Iterable[BaseException]
) -> bool:
    """Whether the refusal names one of the keys, in a transaction that reads a snapshot.

    PostgreSQL checks unique indexes against rows that the snapshot hides, and says so only in the
    error's fields. What another constraint refused is no race of ours.
    """
    # Before SQLAlchemy 2.1 that in front of asyncpg's own has the code, and no other field of it.
    refused = [cause for cause in causes if _sqlstate(cause) == _UNIQUE_VIOLATION]
    if not refused:
        return False
    connection = session.connection(bind_arguments={"mapper": mapper})
    return connection.get_isolation_level() in _SNAPSHOTS and any(
        _names_key(cause, key) for cause in refused for key in keys
    )


def _sqlstate(cause: BaseException) -> Any:
    return getattr(cause, "sqlstate", None) or getattr(cause, "pgcode", None)


def _names_key(cause: Any, key: Key) -> bool:
    details = getattr(cause, "diag", cause)
    constraint = getattr(details, "constraint_name", None)
    if constraint is not None and constraint == key.constraint:
        return True
    detail = getattr(details, "message_detail", None) or getattr(details, "detail", None) or ""
    listed = re.search(r"\(([^()]*)\)=\(", detail)
    columns = {name.strip(' "') for name in listed.group(1).split(",")} if listed else set()
    return columns == {column.column.name for column in key.columns}


def _lost(factory: str, mapper: Mapper[Any]) -> RaceLostError:
    model = mapper.class_.__name__
    return RaceLostError(
        f"{factory}: another transaction inserted the {model}, and the snapshot of this one cannot "
        "see it. Roll back and run the transaction again, or use READ COMMITTED.",
        factory=factory,
        model=model,
    )


def _causes(error: BaseException, handled: BaseException | None) -> Iterator[BaseException]:
    """Yield an exception and all those behind it, each once.

    Python links an exception to the one in whose handling it was raised; ``handled`` is the one
    that the caller was handling before.
    """
    seen: list[BaseException] = [] if handled is None else [handled]
    waiting: list[tuple[BaseException | None, ...]] = [(error,)]
    while waiting:
        for cause in waiting.pop():
            if cause is None or any(cause is other for other in seen):
                continue
            seen.append(cause)
            yield cause
            original = getattr(cause, "orig", None)
            waiting.append((cause.__cause__, cause.__context__, original))
