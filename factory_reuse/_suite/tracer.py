"""Who is told of each call of a factory in the process, decorated or not, while a suite runs."""

from __future__ import annotations

import contextlib
import sys
import threading
import weakref
from typing import Any, Callable, Hashable, Iterator, TypedDict

from factory import enums
from factory.builder import StepBuilder
from sqlalchemy import event, inspect
from sqlalchemy.orm import InstanceState, Mapper
from sqlalchemy.orm.exc import UnmappedClassError
from typing_extensions import final

from .. import _scope
from .._cache import hears, observing
from .._declared import DeclaredOptions, authored
from .._recall import token_of
from ..report import Report
from .calls import Call, Calls, summed
from .values import state_of


class FactoryInfo(TypedDict):
    """What a report says of a factory itself.

    Attributes:
        name: the class's name.
        module: where it is defined.
        decorated: whether it reuses.
    """

    name: str
    module: str
    decorated: bool


#: Who else wants to know: of an object that a call gave, the call's factory, key and source.
Witness = Callable[[Any, str, str, str], None]


@final
class Tracer(_scope.Everyones):
    """Takes down all calls, and what they were made inside of.

    A call is taken down when it ends: those that have ended since it began, and are in no other,
    were made inside it. One that raises leaves nothing but those.

    Args:
        witness: is told of each object, if there is one.

    Attributes:
        factories: what there is to say of the factories that were called, by their ids.
        report: what became of the test's calls of decorated factories.
    """

    __slots__ = (
        "_again",
        "_ended",
        "_ids",
        "_inserted",
        "_inserts",
        "_seen",
        "_sent",
        "_witness",
        "factories",
    )

    def __init__(self, witness: Witness | None) -> None:
        super().__init__(None)
        self._witness = witness
        self.factories: dict[str, FactoryInfo] = {}
        self._ids: weakref.WeakKeyDictionary[Any, str] = weakref.WeakKeyDictionary()
        self._sent: dict[Hashable, int] = {}
        self._ended: dict[Hashable, list[Call]] = {}
        self._inserted: weakref.WeakKeyDictionary[InstanceState[Any], int]
        self._inserted = weakref.WeakKeyDictionary()
        self._inserts = 0
        self.begin_test()

    def begin_test(self) -> None:
        """Compare what follows with no call before it."""
        self.report = Report()
        #: What was passed to factories that are not decorated.
        self._again: set[Hashable] = set()
        #: What they gave.
        self._seen: weakref.WeakSet[InstanceState[Any]] = weakref.WeakSet()

    def take(self) -> list[Calls]:
        """Return the sums of the calls since the last time."""
        ended, self._ended = self._ended, {}
        self._sent = {_strand(): self.sent()}
        return summed(call for calls in ended.values() for call in calls)

    def since(self, mark: _scope.Mark) -> list[Calls]:
        """Return the sums of the calls that began since then, and leave them there."""
        ended = [call for calls in self._ended.values() for call in calls]
        return summed(call for call in ended if call.number > mark.number)

    def count_statement(self) -> None:
        super().count_statement()
        strand = _strand()
        self._sent[strand] = self._sent.get(strand, 0) + 1

    def sent(self) -> int:
        return self._sent.get(_strand(), 0)

    def add(self, ended: _scope.Ended) -> None:
        super().add(ended)
        outcome = ended.outcome
        factory = self._id(ended.meta)
        self._end(factory, outcome.source, ended.number, outcome.seconds, outcome.statements)
        if self._witness is not None:
            self._witness(ended.obj, factory, outcome.key, outcome.source)

    @contextlib.contextmanager
    def listening(self) -> Iterator[None]:
        """For the block, hear of every call and statement in the process."""
        builders: Any = StepBuilder
        build = builders.build

        # `self` is the tracer.
        def traced(builder: Any, parent_step: Any = None, force_sequence: Any = None) -> Any:
            meta = builder.factory_meta
            if builder.strategy != enums.CREATE_STRATEGY or isinstance(meta, DeclaredOptions):
                return build(builder, parent_step, force_sequence)
            if not self._id(meta):
                return build(builder, parent_step, force_sequence)
            given = dict(builder.extras)
            mark = (_scope.current().recorder or self).begin()
            inserts = self._inserts
            obj = build(builder, parent_step, force_sequence)
            self._add_plain(meta, obj, given, mark, inserts, pulled=parent_step is not None)
            return obj

        builders.build = traced
        event.listen(Mapper, "after_insert", self._on_insert)
        try:
            with observing(self._on_statement), _scope.everywhere(recorder=self):
                yield
        finally:
            event.remove(Mapper, "after_insert", self._on_insert)
            builders.build = build

    def _on_statement(self, context: Any, statement: str) -> None:
        if not hears(context.engine):
            (_scope.current().recorder or self).count_statement()

    def _on_insert(self, mapper: Mapper[Any], connection: Any, obj: Any) -> None:
        self._inserts += 1
        state = state_of(obj)
        if state is not None:
            self._inserted[state] = self._inserts

    def _add_plain(
        self,
        meta: Any,
        obj: Any,
        given: dict[str, Any],
        mark: _scope.Mark,
        inserts: int,
        *,
        pulled: bool,
    ) -> None:
        """Take down a call of a factory that is not decorated."""
        seconds, statements = mark.spent()
        state = state_of(obj)
        if state is None:
            return  # no row; or one to be awaited, which is made later
        # A lookup of its own may have given a row that was there.
        new = state.key is None or self._inserted.get(state, 0) > inserts
        source = "created" if new and state not in self._seen else "lookup"
        self._seen.add(state)
        factory = self._id(meta)
        again = self._is_again(meta, given) if source == "created" else ""
        self._end(factory, source, mark.number, seconds, statements, again=again, pulled=pulled)
        if self._witness is not None:
            self._witness(obj, factory, "", source)

    def _is_again(self, meta: Any, given: dict[str, Any]) -> str:
        rows = {name: state_of(value) for name, value in given.items()}
        rows = {name: row for name, row in rows.items() if row is not None}
        plain = {name: value for name, value in given.items() if name not in rows}
        token = token_of(meta, plain)
        if token is None:
            return ""
        token = token, frozenset(rows.items())
        if token in self._again:
            return "repeated" if given else "defaults"
        self._again.add(token)
        return ""

    def _end(
        self,
        factory: str,
        source: str,
        number: int,
        seconds: float,
        statements: int,
        *,
        again: str = "",
        pulled: bool = False,
    ) -> None:
        ended = self._ended.setdefault(_strand(), [])
        first = len(ended)
        while first and ended[first - 1].number > number:
            first -= 1
        call = Call(
            factory,
            source,
            number,
            seconds,
            statements,
            ended[first:],
            again=again,
            pulled=pulled,
        )
        ended[first:] = [call]

    def _id(self, meta: Any) -> str:
        """Return the factory's id, by which it is in the report; none if it makes no rows."""
        known = self._ids.get(meta)
        if known is None:
            known = self._ids[meta] = _id_of(meta)
            if known:
                factory = authored(meta.factory)
                self.factories[known] = {
                    "name": factory.__name__,
                    "module": _module_of(meta, factory),
                    "decorated": isinstance(meta, DeclaredOptions),
                }
        return known


def _id_of(meta: Any) -> str:
    factory = authored(meta.factory)
    if not isinstance(meta, DeclaredOptions):
        try:
            mapper = inspect(meta.get_model_class(), raiseerr=False)
        except UnmappedClassError:
            mapper = None
        if not isinstance(mapper, Mapper):
            return ""
    return f"{_module_of(meta, factory)}.{factory.__qualname__}"


def _module_of(meta: Any, factory: Any) -> str:
    """Return where the factory is defined; its model's module for one of ``make_factory``."""
    module: str = factory.__module__
    if module.partition(".")[0] == "factory":
        module = getattr(meta.model, "__module__", module)
    return module


def _strand() -> Hashable:
    """Return what tells calls apart that run by turns: threads, and tasks in them."""
    asyncio = sys.modules.get("asyncio")
    task = None
    if asyncio is not None:
        try:
            task = asyncio.current_task()
        except RuntimeError:  # no loop is running
            task = None
    return threading.get_ident(), task
