"""What holds for a block of code: which session, whether rows are reused, and who is told.

One context variable holds it all, so that a call asks once; threads and tasks do not see each
other's blocks. Objects to be recycled have one of their own: whose turn it is outlasts a block.
"""

from __future__ import annotations

import contextlib
import itertools
import time
from contextvars import ContextVar
from types import FrameType
from typing import Any, Callable, Final, Iterator, NamedTuple

from sqlalchemy import inspect
from sqlalchemy.orm import InstanceState, Session
from typing_extensions import final

from ._session import real_session
from ._values import described
from .errors import ReuseError, SessionError
from .report import Outcome, Report, Source


class Recorder:
    """Takes down what becomes of calls, for its own report and those of the blocks around it."""

    __slots__ = ("_outer", "report", "statements")

    def __init__(self, outer: Recorder | None) -> None:
        self._outer = outer
        self.report = Report()
        self.statements = 0

    @property
    def outer(self) -> Recorder | None:
        """Who is told, too: the recorder around this one, or the process's."""
        return _everyones if self._outer is None else self._outer

    def count_statement(self) -> None:
        """Count a statement that is sent to the database now."""
        self.statements += 1
        outer = self.outer
        if outer is not None:
            outer.count_statement()

    def sent(self) -> int:
        """Return how many statements were sent so far."""
        return self.statements

    def begin(self) -> Mark:
        """Return the mark of a call that begins now."""
        return Mark(self, self.sent(), _CLOCK[0](), next(_NUMBERS))

    def add(self, ended: Ended) -> None:
        """Take down what became of a call."""
        self.report.outcomes.append(ended.outcome)
        outer = self.outer
        if outer is not None:
            outer.add(ended)


class Everyones(Recorder):
    """Takes down what becomes of calls in the whole process; see :func:`everywhere`."""

    __slots__ = ()

    @property
    def outer(self) -> Recorder | None:
        return self._outer


#: Not an attribute of the module: libraries that freeze the time look for those.
_CLOCK: Final = [time.perf_counter]

_NUMBERS: Final = itertools.count()


@final
class Mark(NamedTuple):
    """Where a call began.

    Attributes:
        number: calls that begin later have higher ones.
    """

    recorder: Recorder
    statements: int
    started: float
    number: int

    def end(self, meta: Any, key: str, source: Source, depth: int, obj: Any) -> None:
        """Take down what became of the call, which ends now."""
        seconds, statements = self.spent()
        outcome = Outcome(meta.name, key, source, depth, statements, seconds)
        self.recorder.add(Ended(outcome, meta, obj, self.number))

    def spent(self) -> tuple[float, int]:
        """Return how many seconds and statements it is since."""
        return _CLOCK[0]() - self.started, self.recorder.sent() - self.statements


@final
class Ended(NamedTuple):
    """A call that has ended.

    Attributes:
        meta: the options of its factory.
        obj: what it gave.
        number: that of its mark.
    """

    outcome: Outcome
    meta: Any
    obj: Any
    number: int


@final
class Caller(NamedTuple):
    """A line of code, as ``warnings.warn_explicit`` takes it."""

    filename: str
    lineno: int
    module: str
    registry: dict[Any, Any]

    @classmethod
    def of(cls, frame: FrameType) -> Caller:
        """Return the line that the frame is at."""
        module, code = frame.f_globals, frame.f_code
        registry = module.setdefault("__warningregistry__", {})
        return cls(code.co_filename, frame.f_lineno, module.get("__name__", ""), registry)


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
        recorder: where the outcome of every reuse-enabled call goes.
        cancellation: that of the call that is awaited.
        caller: the line that the awaited call was made in, which no frame leads back to.
    """

    session: Any = None
    off: bool = False
    pin: tuple[object, Session] | None = None
    together: object = None
    as_declared: bool = False
    finding: bool = False
    recorder: Recorder | None = None
    cancellation: Any = None
    caller: Caller | None = None

    def session_for(self, owner: object) -> Session | None:
        """Return the session that ``owner`` must use now, or ``None`` if its own is right."""
        if self.pin is not None and self.pin[0] is owner:
            return self.pin[1]
        if self.session is None:
            return None
        return real_session(self.session, factory="use_session()")


_scope: Final[ContextVar[Scope]] = ContextVar("factory_reuse.scope", default=Scope())  # noqa: B039  # immutable

#: Return the scope that the code runs in. Call it by the module: :func:`everywhere` sets it anew.
current: Callable[[], Scope] = _scope.get


@contextlib.contextmanager
def everywhere(*, recorder: Everyones | None = None, off: bool = False) -> Iterator[None]:
    """For the block, in all threads and tasks: what holds where no block of theirs says more.

    Args:
        recorder: who is told of every call, too.
        off: whether no row is reused.
    """
    global current, _everyones
    before, before_everyones = current, _everyones
    if recorder is not None:
        recorder._outer, _everyones = _everyones, recorder

    def here() -> Scope:
        scope = _scope.get()
        inherited = before().off if before is not _scope.get else False
        return scope._replace(
            recorder=scope.recorder or _everyones, off=scope.off or off or inherited
        )

    current = here
    try:
        yield
    finally:
        current, _everyones = before, before_everyones


#: Who is told of every call in the process.
_everyones: Everyones | None = None


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
def watch() -> Iterator[Report]:
    """For the block, collect what becomes of every call of a reuse-enabled factory.

    Blocks may be nested: each gets all that happens inside it.

    Returns:
        A :class:`~factory_reuse.report.Report`, which fills as the calls are made.

    Example::

        with watch() as report:
            ProductFactory(category__name="Books")
        assert report.by_factory["CategoryFactory"].reused == 1
    """
    recorder = Recorder(_scope.get().recorder)
    with within(recorder=recorder):
        yield recorder.report


@contextlib.contextmanager
def recycle(*objects: Any) -> Iterator[None]:
    """For the block, SubFactories take these objects in place of looking up or making one.

    A reuse-enabled factory that runs as a SubFactory takes the given object of its model, with no
    query; of several, the one whose turn it is. An object that contradicts what is passed to the
    SubFactory is passed over, and so are all where a parameter of the factory is passed, of which
    an object cannot tell; and an object that is deleted, or in another session. In an inner block
    its objects go first.

    Args:
        objects: objects of mapped classes.

    Raises:
        ReuseError: one of them is none.

    Example::

        with recycle(user):
            orders = OrderFactory.create_batch(3)  # all of this user
    """
    for obj in objects:
        if not isinstance(inspect(obj, raiseerr=False), InstanceState):
            raise ReuseError(
                f"recycle() was given {described(obj)}, which is no object of a mapped class. "
                "Pass it the objects themselves: recycle(user, country).",
                values={"objects": objects},
            )
    block = list(objects)
    _recycled.set((block, *_recycled.get()))
    try:
        yield
    finally:
        # Not the first, perhaps: blocks of generators may end in another order.
        _recycled.set(tuple(each for each in _recycled.get() if each is not block))


#: The objects of the blocks that the code runs in, the innermost block's first; in each, the one
#: taken last comes last. A task that begins in a block shares its turns.
_recycled: Final[ContextVar[tuple[list[Any], ...]]] = ContextVar(
    "factory_reuse.recycled", default=()
)

#: Whether there is anything to recycle: return the blocks' objects.
recyclable: Final = _recycled.get


def take_recycled(fits: Callable[[Any], bool]) -> Any | None:
    """Return the recycled object that fits, if there is one, and end its turn."""
    for block in _recycled.get():
        for index, obj in enumerate(block):
            if fits(obj):
                block.append(block.pop(index))
                return obj
    return None


def check_cancelled() -> None:
    """Heed a cancellation that had to wait.

    Raises:
        asyncio.CancelledError: the awaited call is to be cancelled.
    """
    cancellation = _scope.get().cancellation
    if cancellation is not None:
        cancellation.check()


@contextlib.contextmanager
def within(**changes: Any) -> Iterator[None]:
    """For the block, the scope is the present one with these attributes changed."""
    token = _scope.set(_scope.get()._replace(**changes))
    try:
        yield
    finally:
        _scope.reset(token)
