"""Keys first, the rest only on a miss: the one module that knows ``factory.builder``.

factory_boy evaluates a factory's declarations in one loop over its declaration set. A
reuse-enabled factory gives it a set whose first element is a gate. Evaluating the gate evaluates
the key's fields and looks the row up; if it is there, the loop finds nothing more to evaluate.
SubFactories go through the same loop, under any parent.
"""

from __future__ import annotations

import collections
from typing import Any, Final, Iterator, NamedTuple

from factory import enums
from factory.builder import (
    BuildStep,
    DeclarationSet,
    DeclarationWithContext,
    Resolver,
)
from typing_extensions import final

from . import _scope
from ._builders import FindBuilder
from ._call import StepCall
from ._lookup import Found
from ._resolve import Decision
from ._values import NoParent
from .report import Source

#: The gate's name among the declarations: no identifier, so that no declaration can have it.
GATE: Final = "<reuse>"

#: The attribute of a build step that says where its call began, if that is to be taken down.
MARK: Final = "factory_reuse.mark"

#: What a post-generation declaration that did not run leaves in the results.
SKIPPED: Final = object()


@final
class Run:
    """One call of a reuse-enabled factory: its decision, and what it led to."""

    __slots__ = ("decision", "found")

    def __init__(self, decision: Decision, found: Found | None) -> None:
        self.decision = decision
        self.found = found

    def passes(self, name: str) -> bool:
        """Whether the caller passed a value to a declaration of this name."""
        return self.decision.call.passes(name)

    def close(self) -> None:
        """Let go of the row. A build step is a reference cycle, and would keep it until a gc."""
        del self.decision, self.found


@final
class Recalled:
    """One call that an earlier, equal one has decided."""

    __slots__ = ("found",)

    def __init__(self, found: Found) -> None:
        self.found = found

    def passes(self, name: str) -> bool:
        """What is kept passes no value to a post-generation declaration."""
        return False

    def close(self) -> None:
        """As of a :class:`Run`."""
        del self.found


@final
class Taken(NamedTuple):
    """An object that was recycled."""

    obj: Any
    source: Source = "recycled"
    label: str = ""


@final
class Recycled:
    """One call that takes an object which the block recycles."""

    __slots__ = ("_call", "found")

    def __init__(self, obj: Any, call: StepCall) -> None:
        self.found = Taken(obj)
        self._call = call

    def passes(self, name: str) -> bool:
        """As of a :class:`Run`."""
        return self._call.passes(name)

    def close(self) -> None:
        """As of a :class:`Run`."""
        del self.found, self._call


def run_of(step: BuildStep) -> Run | Recalled | Recycled | None:
    """Return what became of the step's lookahead; ``None`` when it does not reuse."""
    run: Run | Recalled | Recycled | None = step.attributes.get(GATE)
    return run


@final
class Declarations(DeclarationSet):
    """A factory's own declarations; a build step gets a gated copy."""

    def copy(self) -> GatedDeclarations:
        return GatedDeclarations(self)


@final
class GatedDeclarations(DeclarationSet):
    """The declarations of one call, behind the gate, which it is itself.

    A copy of the factory's own, made when it is looked into: a recalled answer needs none of it.
    """

    FACTORY_BUILDER_PHASE = enums.BuilderPhase.ATTRIBUTE_RESOLUTION

    def __init__(self, own: Declarations) -> None:
        self._own = own
        self._passed: dict[str, Any] = {}
        self._asked: list[tuple[Resolver, BuildStep]] = []

    def __getattr__(self, name: str) -> Any:
        if name not in ("declarations", "contexts"):
            raise AttributeError(name)
        # Not by `as_dict()` and `update()`, which join and split each name.
        own = self._own
        self.declarations = {**own.declarations, **self._passed}
        contexts = {root: dict(context) for root, context in list(own.contexts.items())}
        self.contexts = collections.defaultdict(dict, contexts)
        return self.__dict__[name]

    def update(self, values: Any) -> None:
        if "declarations" in self.__dict__ or any(enums.SPLITTER in name for name in values):
            super().update(values)
        else:
            self._passed.update(values)

    def __iter__(self) -> Iterator[str]:
        # Decided after the gate is evaluated, not while: factory_boy's messages list what is being
        # evaluated, and what was.
        yield GATE
        stub, step = self._asked.pop()
        vars(stub)["_Resolver__values"].pop(GATE)
        run = self._look_ahead(stub, step)
        step.attributes[GATE] = run
        if run is None or run.found is None:
            yield from self.own_names()

    def own_names(self) -> Iterator[str]:
        """Return the names without the gate's."""
        names: Iterator[str] = super().__iter__()
        return names

    def __contains__(self, name: object) -> bool:
        if "declarations" in self.__dict__:
            return name == GATE or super().__contains__(name)
        return name == GATE or name in self._own or name in self._passed

    def __getitem__(self, name: str) -> Any:
        if name == GATE:
            return DeclarationWithContext(GATE, self, {})
        # factory_boy asks what the factory declares before it adds what was passed.
        if not self._passed and "declarations" not in self.__dict__:
            return self._own[name]
        return super().__getitem__(name)

    def evaluate_pre(self, instance: Resolver, step: BuildStep, overrides: Any) -> None:
        self._asked.append((instance, step))

    def _look_ahead(self, stub: Resolver, step: BuildStep) -> Run | Recalled | Recycled | None:
        meta = step.builder.factory_meta
        scope = _scope.current()
        creates = step.builder.strategy == enums.CREATE_STRATEGY
        if scope.recorder is not None and creates:
            vars(step)[MARK] = scope.recorder.begin()
        run: Run | None = None
        if creates and meta.reuse and not scope.off:
            if _scope.recyclable() and _is_parent(step):
                call = StepCall(step, stub, self)
                taken = meta.recycled(call)
                if taken is not None:
                    return Recycled(taken, call)
            found = meta.recall(step.builder.extras, scope)
            if found is not None:
                return Recalled(found)
            run = meta.look_ahead(StepCall(step, stub, self))
        missing = run is None or run.found is None
        if missing and creates and (isinstance(step.builder, FindBuilder) or scope.finding):
            raise NoParent
        return run


def _is_parent(step: BuildStep) -> bool:
    """Whether the step is a SubFactory's, whose object comes before that of the step above.

    A RelatedFactory's comes after it: when all of that step's own declarations are evaluated.
    """
    above = step.parent_step
    if above is None:
        return False
    run = run_of(above)
    if run is not None and run.found is not None:
        return False
    names = vars(above.stub)["_Resolver__declarations"].declarations
    return not all(name in above.attributes for name in names)


@final
class PostDeclarations(DeclarationSet):
    """A factory's own post-generation declarations; a build step gets a guarded copy."""

    def copy(self) -> DeclarationSet:
        return GuardedPostDeclarations(self.as_dict()) if self.declarations else DeclarationSet()


@final
class GuardedPostDeclarations(DeclarationSet):
    """The post-generation declarations of one call."""

    def __getitem__(self, name: str) -> Any:
        declared = super().__getitem__(name)
        return declared._replace(declaration=PostGuard(name, declared.declaration))


@final
class PostGuard:
    """Runs a post-generation declaration unless the row was reused and the policy says no."""

    __slots__ = ("_declaration", "_name")

    def __init__(self, name: str, declaration: Any) -> None:
        self._name = name
        self._declaration = declaration

    def evaluate_post(self, instance: Any, step: BuildStep, overrides: dict[str, Any]) -> Any:
        if not step.builder.factory_meta.runs_after(step, self._name):
            return SKIPPED
        return self._declaration.evaluate_post(instance=instance, step=step, overrides=overrides)


def depth_of(step: BuildStep) -> int:
    """Return how many reuse-enabled factories up the call came from: 0 for a direct one."""
    depth = 0
    while step.parent_step is not None:
        step = step.parent_step
        depth += isinstance(step.builder.factory_meta.pre_declarations, Declarations)
    return depth
