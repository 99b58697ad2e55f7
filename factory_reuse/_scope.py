"""What holds for a block of code: which session, and whether rows are reused at all.

Context variables: threads and tasks do not see each other's blocks.
"""

from __future__ import annotations

import contextlib
from contextvars import ContextVar, Token
from typing import Any, Iterator

from sqlalchemy.orm import Session

from ._session import real_session
from .errors import SessionError
from .report import Outcome

_session: ContextVar[Any] = ContextVar("factory_reuse.session", default=None)
_pinned: ContextVar[tuple[object, Session] | None] = ContextVar("factory_reuse.pin", default=None)
_off: ContextVar[bool] = ContextVar("factory_reuse.off", default=False)
_declaring: ContextVar[bool] = ContextVar("factory_reuse.declaring", default=False)
_finding: ContextVar[bool] = ContextVar("factory_reuse.finding", default=False)
_outcomes: ContextVar[list[Outcome] | None] = ContextVar("factory_reuse.log", default=None)


@contextlib.contextmanager
def use_session(session: Any) -> Iterator[None]:
    """For the block, every reuse-enabled factory reads and writes through ``session``.

    Args:
        session: a ``Session``, a ``scoped_session``, or a callable that returns one.

    Raises:
        SessionError: it is none of these.

    Example::

        with use_session(session):
            CategoryFactory(name="Books")
    """
    if session is None:
        raise SessionError(
            "use_session() was given None. Pass it a Session, a scoped_session or a callable."
        )
    real_session(session, factory="use_session()")
    with _set(_session, session):
        yield


@contextlib.contextmanager
def no_reuse() -> Iterator[None]:
    """For the block, always insert, as without this package.

    Example::

        with no_reuse(), pytest.raises(IntegrityError):
            CategoryFactory(name="Books")
    """
    with _set(_off, True):
        yield


def reuse_is_off() -> bool:
    """Whether the code runs inside :func:`no_reuse`."""
    return _off.get()


def scoped() -> Any:
    """Return what :func:`use_session` was given, or ``None`` outside of it."""
    return _session.get()


def session_for(owner: object) -> Session | None:
    """Return the session that ``owner`` must use now, or ``None`` if its own is right."""
    pin = _pinned.get()
    if pin is not None and pin[0] is owner:
        return pin[1]
    session = _session.get()
    return None if session is None else real_session(session, factory="use_session()")


@contextlib.contextmanager
def pinned(owner: object, session: Session) -> Iterator[None]:
    """For the block, ``owner`` writes through the session that its lookup read from."""
    with _set(_pinned, (owner, session)):
        yield


@contextlib.contextmanager
def as_declared() -> Iterator[None]:
    """For the block, factories show what they were declared with, whatever holds elsewhere."""
    with _set(_declaring, True):
        yield


def shows_declaration() -> bool:
    """Whether the code runs inside :func:`as_declared`."""
    return _declaring.get()


@contextlib.contextmanager
def finding() -> Iterator[None]:
    """For the block, a reuse-enabled factory that would insert gives up instead."""
    with _set(_finding, True):
        yield


def is_finding() -> bool:
    """Whether the code runs inside :func:`finding`."""
    return _finding.get()


@contextlib.contextmanager
def recording() -> Iterator[list[Outcome]]:
    """For the block, collect the outcome of every reuse-enabled call."""
    outcomes: list[Outcome] = []
    with _set(_outcomes, outcomes):
        yield outcomes


def record(outcome: Outcome) -> None:
    """Add an outcome to the innermost :func:`recording`."""
    outcomes = _outcomes.get()
    if outcomes is not None:
        outcomes.append(outcome)


@contextlib.contextmanager
def _set(variable: ContextVar[Any], value: Any) -> Iterator[None]:
    token: Token[Any] = variable.set(value)
    try:
        yield
    finally:
        variable.reset(token)
