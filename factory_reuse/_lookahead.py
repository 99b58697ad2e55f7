"""Keys first, the rest only on a miss: the one module that knows ``factory.builder``.

factory_boy evaluates a factory's declarations in one loop over its declaration set. A
reuse-enabled factory gives it a set whose first element is a gate. Evaluating the gate evaluates
the key's fields and looks the row up; if it is there, the loop finds nothing more to evaluate.
SubFactories go through the same loop, under any parent.
"""

from __future__ import annotations

import copy
from typing import Any, Container, Final, Iterator

from factory import enums
from factory.builder import (
    BuildStep,
    DeclarationSet,
    DeclarationWithContext,
    Resolver,
    StepBuilder,
)
from factory.declarations import SKIP, Maybe, SubFactory, Trait
from factory.declarations import Dict as DictDeclaration
from factory.declarations import List as ListDeclaration
from sqlalchemy import inspect
from sqlalchemy.orm import Mapper
from typing_extensions import final

from . import _scope
from ._lookup import Found
from ._mismatch import Passed
from ._resolve import Decision
from ._values import MISSING, NoParent

#: The gate's name among the declarations: no identifier, so that no declaration can have it.
GATE: Final = "<reuse>"

#: What a post-generation declaration that did not run leaves in the results.
SKIPPED: Final = object()


@final
class Run:
    """One call of a reuse-enabled factory: its decision, and what it led to."""

    __slots__ = ("call", "decision", "found")

    def __init__(self, call: StepCall, decision: Decision, found: Found | None) -> None:
        self.call = call
        self.decision = decision
        self.found = found

    def close(self) -> None:
        """Let go of the row. A build step is a reference cycle, and would keep it until a gc."""
        del self.call, self.decision, self.found


@final
class Recalled:
    """One call that an earlier, equal one has decided."""

    __slots__ = ("found",)

    def __init__(self, found: Found) -> None:
        self.found = found

    def close(self) -> None:
        """As of a :class:`Run`."""
        del self.found


def run_of(step: BuildStep) -> Run | Recalled | None:
    """Return what became of the step's lookahead; ``None`` when it does not reuse."""
    run: Run | Recalled | None = step.attributes.get(GATE)
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
        super().__init__(self._own.as_dict())
        super().update(self._passed)
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
            yield from super().__iter__()

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

    def _look_ahead(self, stub: Resolver, step: BuildStep) -> Run | Recalled | None:
        meta = step.builder.factory_meta
        run: Run | None = None
        if meta.looks_up(step):
            found = meta.recall(step.builder.extras)
            if found is not None:
                return Recalled(found)
            run = meta.look_ahead(StepCall(step, stub, self))
        missing = run is None or run.found is None
        creates = step.builder.strategy == enums.CREATE_STRATEGY
        if (
            missing
            and creates
            and (isinstance(step.builder, FindBuilder) or _scope.current().finding)
        ):
            raise NoParent
        return run


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


@final
class StepCall:
    """What a build step gives, by the names of the model's attributes.

    Explicit is what was passed for this call: keyword arguments, what a parent's SubFactory
    passes, and what an explicitly enabled Trait sets.
    """

    def __init__(self, step: BuildStep, stub: Resolver, declarations: GatedDeclarations) -> None:
        self._meta = step.builder.factory_meta
        self._step = step
        self._stub = stub
        self._declarations = declarations
        self._declared: dict[str, Any] = declarations.declarations
        self._given = self._explicit(step.builder.extras)
        self._roots = {DeclarationSet.split(name)[0] for name in self._given}
        #: Whether a SubFactory may only find its row now, not make one.
        self.only_look = False
        self._read: set[str] = set()
        self._old_names: dict[str, str] = {new: old for old, new in self._meta.rename.items()}

    @property
    def factory(self) -> str:
        name: str = self._meta.factory.__name__
        return name

    def has(self, name: str) -> bool:
        source = self._source(name)
        return (
            source in self._declared
            and source not in self._meta.parameters
            and source not in self._meta.exclude
            and self._meta.rename.get(source, name) == name
        )

    def explicit(self, name: str) -> bool:
        return self._source(name) in self._roots and self.has(name)

    def value(self, name: str) -> Any:
        self._read.add(name)
        if self.only_look and self.makes(name):
            return self._parent(name)
        value: Any = getattr(self._stub, self._source(name))
        return MISSING if value is SKIP else value

    def makes(self, name: str) -> bool:
        return _is_subfactory(self._declared[self._source(name)])

    def passes(self, name: str) -> bool:
        """Whether the caller passed a value to a declaration of this name, of any kind."""
        return name in self._roots

    def plain(self) -> dict[str, Any] | None:
        """Return what was passed, if that and constants of the factory are all that counted."""
        given = self._step.builder.extras
        plain = not any(
            enums.SPLITTER in name or _is_declaration(value) or not self.has(self._new_name(name))
            for name, value in given.items()
        ) and not any(
            _is_declaration(self._declared.get(self._source(name))) for name in self._read
        )
        return given if plain else None

    def undeclared(self) -> Iterator[str]:
        """The names the caller passed that the factory does not know, as the model gets them."""
        known = {*self._meta.pre_declarations, *self._meta.post_declarations}
        for name in self._roots.difference(known, self._meta.parameters, self._meta.exclude):
            yield self._new_name(name)

    def passed(self, evaluate: Container[str]) -> Iterator[Passed]:
        looked_up = set()
        for given, value in self._given.items():
            root, rest = DeclarationSet.split(given)
            name = self._new_name(root)
            if not self.has(name) or value is SKIP:
                continue
            declared = self._declared[root]
            if getattr(declared, "CAPTURE_OVERRIDES", False) and not rest:
                yield Passed((name,), self.value(name))  # a Transformer: what it makes of it
            elif not rest and not _is_declaration(value):
                yield Passed((name,), value)
            elif rest and not _is_declaration(value) and not _is_renamed(declared, rest):
                if _is_subfactory(declared):
                    yield Passed((name, *rest.split(enums.SPLITTER)), value)
            elif name in evaluate and _is_subfactory(declared):
                if name not in looked_up:
                    looked_up.add(name)
                    yield from self._looked_up(name)
            elif name in evaluate and not rest:
                yield Passed((name,), self.value(name))

    def _looked_up(self, name: str) -> Iterator[Passed]:
        """Yield the parent that a SubFactory would reuse; its declaration, if it would make one.

        A parent that is yet to be made can be no row's, and making it in order to compare would
        leave an orphan. Nothing can be said of one that a factory without reuse makes.
        """
        try:
            yield Passed((name,), self._parent(name))
        except NoReuse:
            return
        except NoParent:
            yield Passed((name,), self._declared[self._source(name)], evaluated=False)

    def _parent(self, name: str) -> Any:
        """Evaluate a SubFactory in a step that only looks."""
        source = self._source(name)
        step = copy.copy(self._step)
        step.builder = FindBuilder(self._meta, {}, self._step.builder.strategy)
        return self._declared[source].evaluate_pre(
            self._stub, step, self._declarations.contexts[source]
        )

    def _new_name(self, name: str) -> str:
        renamed: str = self._meta.rename.get(name, name)
        return renamed

    def _source(self, name: str) -> str:
        return self._old_names.get(name, name)

    def _explicit(self, extras: dict[str, Any]) -> dict[str, Any]:
        """Return the passed values, with those that explicitly enabled Traits set."""
        given = dict(extras)
        waiting = list(extras)
        while waiting:
            name = waiting.pop()
            trait = self._meta.parameters.get(name)
            if isinstance(trait, Trait) and getattr(self._stub, name):
                for field, value in trait.overrides.items():
                    if field not in given:
                        given[field] = value
                        waiting.append(field)
        return given


class NoReuse(NoParent):
    """A SubFactory's factory does not reuse, so it would make a row in any case."""


@final
class PlainBuilder(StepBuilder):
    """Builds or stubs as if there were no reuse, at the price of that, SubFactories included."""

    def __init__(self, factory_meta: Any, extras: dict[str, Any], strategy: str) -> None:
        super().__init__(getattr(factory_meta, "without_reuse", factory_meta), extras, strategy)


@final
class FindBuilder(StepBuilder):
    """Looks a row up as a create would, SubFactories included, and makes nothing.

    Raises:
        NoParent: a create would insert here.
    """

    def build(self, parent_step: Any = None, force_sequence: Any = None) -> Any:
        meta = self.factory_meta
        if not hasattr(meta, "look_ahead") and isinstance(
            inspect(meta.get_model_class(), raiseerr=False), Mapper
        ):
            raise NoReuse
        if force_sequence is None and self.force_init_sequence is None:
            meta._initialize_counter()
            force_sequence = meta._counter.seq  # the next create's number, not used up
        with _scope.within(finding=True):
            return super().build(parent_step=parent_step, force_sequence=force_sequence)


def _is_renamed(declared: Any, path: str) -> bool:
    """Whether what is passed on to a SubFactory is no attribute of what it makes."""
    name, _ = DeclarationSet.split(path)
    return isinstance(declared, SubFactory) and (
        name in declared.get_factory()._meta.parameters
        or name in declared.get_factory()._meta.rename
    )


def depth_of(step: BuildStep) -> int:
    """Return how many factories up the call came from: 0 for a direct one."""
    depth = 0
    while step.parent_step is not None:
        step = step.parent_step
        depth += 1
    return depth


def _is_declaration(value: Any) -> bool:
    return enums.get_builder_phase(value) is not None


def _is_subfactory(declaration: Any) -> bool:
    if isinstance(declaration, Maybe):  # what a Trait makes of a declaration that it overrides
        return _is_subfactory(declaration.yes) or _is_subfactory(declaration.no)
    return isinstance(declaration, SubFactory) and not isinstance(
        declaration, (DictDeclaration, ListDeclaration)
    )
