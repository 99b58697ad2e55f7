"""What holds for a block of code: which session, and whether rows are reused at all.

One context variable holds it all, so that a call asks once; threads and tasks do not see each
other's blocks.
"""

from __future__ import annotations

import contextlib
from contextvars import ContextVar
from typing import Any, Final, Iterator, NamedTuple

from sqlalchemy.orm import Session
from typing_extensions import final

from ._session import real_session
from .errors import SessionError
from .report import Outcome


@final
class Scope(NamedTuple):
    """What holds where the code is.

    Attributes:
        session: what :func:`use_session` was given.
        off: whether the code runs inside :func:`no_reuse`.
        pin: a factory's options, and the session that they must use now.
        together: a factory's options whose new objects are going to be flushed together.
        as_declared: whether factories show what they were declared with, whatever else holds.
        finding: whether a reuse-enabled factory that would insert gives up instead.
        outcomes: where the outcome of every reuse-enabled call goes.
    """

    session: Any = None
    off: bool = False
    pin: tuple[object, Session] | None = None
    together: object = None
    as_declared: bool = False
    finding: bool = False
    outcomes: list[Outcome] | None = None

    def session_for(self, owner: object) -> Session | None:
        """Return the session that ``owner`` must use now, or ``None`` if its own is right."""
        if self.pin is not None and self.pin[0] is owner:
            return self.pin[1]
        if self.session is None:
            return None
        return real_session(self.session, factory="use_session()")


_scope: Final[ContextVar[Scope]] = ContextVar("factory_reuse.scope", default=Scope())  # noqa: B039  # immutable

#: Return the scope that the code runs in.
current: Final = _scope.get


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
    with within(session=session, pin=None):
        yield


@contextlib.contextmanager
def no_reuse() -> Iterator[None]:
    """For the block, always insert, as without this package.

    Example::

        with no_reuse(), pytest.raises(IntegrityError):
            CategoryFactory(name="Books")
    """
    with within(off=True):
        yield


@contextlib.contextmanager
def recording() -> Iterator[list[Outcome]]:
    """For the block, collect the outcome of every reuse-enabled call."""
    outcomes: list[Outcome] = []
    with within(outcomes=outcomes):
        yield outcomes


@contextlib.contextmanager
def within(**changes: Any) -> Iterator[None]:
    """For the block, the scope is the present one with these attributes changed."""
    token = _scope.set(_scope.get()._replace(**changes))
    try:
        yield
    finally:
        _scope.reset(token)
