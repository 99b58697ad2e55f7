"""What one call gives, by the names of the model's attributes."""

from __future__ import annotations

import copy
from typing import Any, Callable, Collection, Container, Final, Hashable, Iterator, Mapping

from factory import enums
from factory.builder import BuildStep, DeclarationSet, Resolver
from factory.declarations import SKIP, Maybe, SubFactory, Trait
from factory.declarations import Dict as DictDeclaration
from factory.declarations import List as ListDeclaration
from typing_extensions import final

from ._builders import FindBuilder, NoReuse
from ._mismatch import Passed
from ._values import MISSING, NoParent


@final
class _Everything:
    def __contains__(self, name: object) -> bool:
        return True


#: All names there are.
EVERYTHING: Final = _Everything()


class _NamedCall:
    """What a factory and its caller give names to."""

    #: Whether a SubFactory may only find its row now, not make one.
    only_look = False
    #: The names passed that go on to a SubFactory, ``category__name``.
    paths: Collection[str] = ()

    def __init__(self, meta: Any, declared: Mapping[str, Any], roots: Collection[str]) -> None:
        self._meta = meta
        self._declared = declared
        self._roots = roots

    @property
    def factory(self) -> str:
        name: str = self._meta.name
        return name

    def has(self, name: str) -> bool:
        meta, source = self._meta, self._source(name)
        return (
            self._declaration(source) is not MISSING
            # What the model is not given may still tell the row, where on= asks for it.
            and (
                (source not in meta.parameters and source not in meta.exclude)
                or name in meta.policy.on_names
            )
            and meta.rename.get(source, name) == name
        )

    def explicit(self, name: str) -> bool:
        return self._source(name) in self._roots and self.has(name)

    def makes(self, name: str) -> bool:
        return is_subfactory(self._declaration(self._source(name)))

    def passes(self, name: str) -> bool:
        return name in self._roots

    def passes_parameter(self) -> bool:
        """Whether the caller passed what no attribute of the model shows; a Trait shows in them."""
        parameters = self._meta.parameters
        return any(
            name in self._meta.exclude
            or (name in parameters and not isinstance(parameters[name], Trait))
            for name in self._roots
        )

    def undeclared(self) -> Iterator[str]:
        meta = self._meta
        known = meta.pre_declarations, meta.post_declarations, meta.parameters, meta.exclude
        for name in self._roots:
            if not any(name in names for names in known):
                yield self._new_name(name)

    def _declaration(self, source: str) -> Any:
        """Return the declaration or value of this name; ``MISSING`` if there is none."""
        return self._declared.get(source, MISSING)

    def _new_name(self, name: str) -> str:
        renamed: str = self._meta.rename.get(name, name)
        return renamed

    def _source(self, name: str) -> str:
        renamed: Mapping[str, str] = self._meta.rename
        for old, new in renamed.items():
            if new == name:
                return old
        return name


@final
class StepCall(_NamedCall):
    """What a build step gives, by the names of the model's attributes.

    Explicit is what was passed for this call: keyword arguments, what a parent's SubFactory
    passes, and what an explicitly enabled Trait sets.
    """

    def __init__(self, step: BuildStep, stub: Resolver, declarations: Any) -> None:
        self._step = step
        self._stub = stub
        self._contexts = declarations.contexts
        self._given = _explicit(step, stub)
        self._read: set[str] = set()
        roots = {DeclarationSet.split(name)[0] for name in self._given}
        self.paths = [name for name in self._given if enums.SPLITTER in name]
        super().__init__(step.builder.factory_meta, declarations.declarations, roots)

    @property
    def shape(self) -> Hashable:
        return frozenset(self._roots)

    def value(self, name: str) -> Any:
        self._read.add(name)
        if self.only_look and self.makes(name):
            return self._parent(name)
        value: Any = getattr(self._stub, self._source(name))
        return MISSING if value is SKIP else value

    def plain(self) -> dict[str, Any] | None:
        given = self._step.builder.extras
        plain = not any(
            enums.SPLITTER in name or is_declaration(value) or not self.has(self._new_name(name))
            for name, value in given.items()
        ) and not any(is_declaration(self._declared.get(self._source(name))) for name in self._read)
        return given if plain else None

    def passed(self, evaluate: Container[str], settled: Container[str]) -> Iterator[Passed]:
        looked_up = set()
        for given, value in self._given.items():
            root, rest = DeclarationSet.split(given)
            name = self._new_name(root)
            if name in settled or not self.has(name) or value is SKIP:
                continue
            declared = self._declared[root]
            if getattr(declared, "CAPTURE_OVERRIDES", False) and not rest:
                yield Passed((name,), self.value(name))  # a Transformer: what it makes of it
            elif not rest and not is_declaration(value):
                yield Passed((name,), value)
            elif rest and not is_declaration(value) and not _is_renamed(declared, rest):
                if is_subfactory(declared):
                    yield Passed((name, *rest.split(enums.SPLITTER)), value)
            elif name in evaluate and is_subfactory(declared):
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
        return self._declared[source].evaluate_pre(self._stub, step, self._contexts[source])


class Unknown(Exception):
    """The call cannot tell without an evaluation, which it must not make."""


@final
class PlainCall(_NamedCall):
    """What a call gives that passes plain values; its build step begins when one is needed.

    It gives the same as the :class:`StepCall` of that step.

    Args:
        begin: begins the step, and returns its call.

    Raises:
        Unknown: the call passes other values than plain ones.
    """

    def __init__(self, meta: Any, given: Mapping[str, Any], begin: Callable[[], StepCall]) -> None:
        self._given = given
        self._begin = begin
        self._begun: StepCall | None = None
        super().__init__(meta, meta.pre_declarations.declarations, given)
        if not meta.takes_plainly(tuple(given)) or any(map(_is_evaluated, given.values())):
            raise Unknown

    @property
    def shape(self) -> Hashable:
        return tuple(self._given)

    def value(self, name: str) -> Any:
        value = self._declaration(self._source(name))
        if is_declaration(value):
            return self._step().value(name)
        return value

    def _declaration(self, source: str) -> Any:
        given = self._given.get(source, MISSING)
        return super()._declaration(source) if given is MISSING else given

    def plain(self) -> Mapping[str, Any] | None:
        if self._begun is not None:
            return self._begun.plain()
        return self._given if all(self.has(self._new_name(name)) for name in self._given) else None

    def passed(self, evaluate: Container[str], settled: Container[str]) -> Iterator[Passed]:
        for given, value in self._given.items():
            name = self._new_name(given)
            if name not in settled and self.has(name):
                yield Passed((name,), value)

    def _step(self) -> StepCall:
        if self._begun is None:
            self._begun = self._begin()
        self._begun.only_look = self.only_look
        return self._begun


def _explicit(step: BuildStep, stub: Resolver) -> dict[str, Any]:
    """Return the passed values, with those that explicitly enabled Traits set."""
    given = dict(step.builder.extras)
    waiting = list(given)
    while waiting:
        name = waiting.pop()
        trait = step.builder.factory_meta.parameters.get(name)
        if isinstance(trait, Trait) and getattr(stub, name):
            for field, value in trait.overrides.items():
                if field not in given:
                    given[field] = value
                    waiting.append(field)
    return given


def _is_renamed(declared: Any, path: str) -> bool:
    """Whether what is passed on to a SubFactory is no attribute of what it makes."""
    name, _ = DeclarationSet.split(path)
    return isinstance(declared, SubFactory) and (
        name in declared.get_factory()._meta.parameters
        or name in declared.get_factory()._meta.rename
    )


def is_declaration(value: Any) -> bool:
    """Whether factory_boy evaluates the value."""
    return enums.get_builder_phase(value) is not None


def _is_evaluated(value: Any) -> bool:
    return is_declaration(value) or value is SKIP


def is_subfactory(declaration: Any) -> bool:
    """Whether the declaration makes a row by another factory, if it is evaluated."""
    if isinstance(declaration, Maybe):  # what a Trait makes of a declaration that it overrides
        return is_subfactory(declaration.yes) or is_subfactory(declaration.no)
    return isinstance(declaration, SubFactory) and not isinstance(
        declaration, (DictDeclaration, ListDeclaration)
    )
