"""What the class statement of a factory says: bases, ``class Meta``, declarations."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from functools import cached_property
from typing import Final, Iterator

from typing_extensions import final

from .sources import Project, Source, assignments, dotted

#: factory_boy's base class that saves what it makes.
ROOT: Final = "SQLAlchemyModelFactory"
#: Methods through which that class looks up and saves.
SAVING: Final = ("_create", "_save", "_get_or_create")
#: A method that changes the arguments on their way to these.
ADJUSTING: Final = ("_adjust_kwargs",)

_PLAIN: Final = ("factory.Factory", "factory.base.Factory", "factory.base.BaseFactory")
_OTHER_ORMS: Final = ("factory.django.", "factory.mongoengine.", "factory.mogo.")
_NO_FACTORY: Final = ("object", "Generic", "ABC", "Protocol", "ReuseMixin")
_POST: Final = ("PostGeneration", "RelatedFactory", "post_generation")
_POST_DECORATOR: Final = "post_generation"
_RANDOM: Final = ("Faker", "Fuzzy")
_DRAWING: Final = ("fake", "random", "uuid")


@final
@dataclass(frozen=True, eq=False)
class Option:
    """What ``class Meta`` says, and in which file."""

    source: Source
    value: ast.expr
    own: bool


@final
@dataclass(frozen=True, eq=False)
class Factory:
    """A class statement, read together with those of its bases."""

    project: Project
    source: Source
    node: ast.ClassDef

    @property
    def name(self) -> str:
        """The class's name, with what it is nested in."""
        return self.source.names[self.node]

    @property
    def meta(self) -> ast.ClassDef | None:
        """The ``class Meta`` statement."""
        return next(
            (n for n in self.node.body if isinstance(n, ast.ClassDef) and n.name == "Meta"), None
        )

    @cached_property
    def bases(self) -> tuple[Factory | str, ...]:
        """The bases; one whose definition is not found as its full name."""
        return tuple(self._base(base) for base in self.node.bases)

    def _base(self, node: ast.expr) -> Factory | str:
        while isinstance(node, ast.Subscript):  # Base[Model]
            node = node.value
        name = dotted(node) or "?"
        found = self.project.define(self.source, name)
        if found is not None and isinstance(found[1], ast.ClassDef) and found[1] is not self.node:
            return factory_of(self.project, found[0], found[1])
        return self.source.full_name(name)

    @cached_property
    def lineage(self) -> tuple[Factory, ...]:
        """This class and the bases whose definitions are found, nearest first."""
        line: list[Factory] = [self]
        for factory in line:
            for base in factory.bases:
                if isinstance(base, Factory) and all(base.node is not f.node for f in line):
                    line.append(base)
        return tuple(line)

    @cached_property
    def roots(self) -> tuple[str, ...]:
        """The full names of the bases whose definitions are not found."""
        names = (base for factory in self.lineage for base in factory.bases)
        return tuple(
            name
            for name in names
            if isinstance(name, str) and name.rpartition(".")[2] not in _NO_FACTORY
        )

    @property
    def is_plain(self) -> bool:
        """Whether nothing but its own ``_create`` saves what it makes."""
        return bool(self.roots) and all(root in _PLAIN for root in self.roots)

    @property
    def is_known(self) -> bool:
        """Whether all of its bases are found, down to factory_boy's own."""
        return bool(self.roots) and all(root.rpartition(".")[2] == ROOT for root in self.roots)

    @property
    def is_of_another_orm(self) -> bool:
        """Whether it is a factory for Django, say."""
        return any(root.startswith(_OTHER_ORMS) for root in self.roots)

    @property
    def is_mixin(self) -> bool:
        """Whether it has no factory among its bases."""
        return not self.roots

    @property
    def reuses(self) -> bool:
        """Whether reuse was declared for it before."""
        return any(map(_is_declared, self.lineage))

    def option(self, name: str) -> Option | None:
        """Return what ``class Meta`` says, here or where factory_boy inherits it from."""
        factory: Factory | None = self
        seen = 0
        while factory is not None and seen < len(self.lineage):
            for source, meta in _metas(factory):
                for option, value in assignments(meta.body):
                    if option == name:
                        own = meta is self.meta
                        return Option(source, value, own)
            factory, seen = _inherited(factory), seen + 1
        return None

    def own_option(self, name: str) -> Option | None:
        """Return what ``class Meta`` says here, or a plain class that it is based on."""
        option = self.option(name) if self.meta is not None else None
        if option is None or option.own:
            return option
        inherited = (base.option(name) for base in self.lineage[1:])
        return None if any(o and o.value is option.value for o in inherited) else option

    @property
    def own_create(self) -> ast.stmt | None:
        """The ``_create`` that counts, of those in this very class."""
        own = [node for of, node in self.methods("_create") if of.node is self.node]
        return own[-1] if own else None

    @property
    def is_abstract(self) -> bool:
        """Whether ``class Meta`` says so; or it has no model."""
        own = dict(assignments(self.meta.body)) if self.meta else {}
        abstract = own.get("abstract")
        if isinstance(abstract, ast.Constant):
            return bool(abstract.value)
        return self.option("model") is None

    def methods(self, *names: str) -> Iterator[tuple[Factory, ast.stmt]]:
        """Yield the definitions of methods, with the class of each, nearest first."""
        for factory in self.lineage:
            for node in factory.node.body:
                if isinstance(node, FUNCTIONS) and node.name in names:
                    yield factory, node

    @cached_property
    def descendants(self) -> tuple[Factory, ...]:
        """The factories in the given files, and in this one, that have it as a base."""
        sources = [self.source, *(s for s in self.project.sources() if s is not self.source)]
        found = [
            factory_of(self.project, source, node)
            for source in sources
            if source is self.source or self.node.name in source.text
            for node in source.classes
            if node is not self.node and node.bases
        ]
        return tuple(f for f in found if any(a.node is self.node for a in f.lineage[1:]))

    def declaration(self, name: str) -> ast.expr | None:
        """Return what a field is declared as, here or in a base."""
        bodies = (dict(assignments(factory.node.body)) for factory in self.lineage)
        return next((body[name] for body in bodies if name in body), None)

    def declares(self, *kinds: str) -> bool:
        """Whether it has declarations whose class is called so, or begins so."""
        return any(
            kind.startswith(kinds) for factory in self.lineage for kind in _declared(factory)
        )

    @property
    def is_random(self) -> bool:
        """Whether it draws values."""
        return self.declares(*_RANDOM) or any(
            isinstance(node, ast.Name) and node.id.lower().startswith(_DRAWING)
            for factory in self.lineage
            for _, value in assignments(factory.node.body)
            for node in ast.walk(value)
        )

    @property
    def post_generates(self) -> bool:
        """Whether it has declarations that run on the object when it is there."""
        return self.declares(*_POST) or any(
            (dotted(_called(decorator)) or "").rpartition(".")[2] == _POST_DECORATOR
            for factory in self.lineage
            for node in factory.node.body
            if isinstance(node, FUNCTIONS)
            for decorator in node.decorator_list
        )


def factory_of(project: Project, source: Source, node: ast.ClassDef) -> Factory:
    """Return the factory of a class statement, the same one each time."""
    known: Factory = project.memo.setdefault(node, Factory(project, source, node))
    return known


FUNCTIONS: Final = (ast.FunctionDef, ast.AsyncFunctionDef)


def _called(node: ast.expr) -> ast.expr:
    return node.func if isinstance(node, ast.Call) else node


def _declared(factory: Factory) -> Iterator[str]:
    for _, value in assignments(factory.node.body):
        if isinstance(value, ast.Call):
            yield (dotted(value.func) or "").rpartition(".")[2]


def _metas(factory: Factory) -> Iterator[tuple[Source, ast.ClassDef]]:
    """Yield ``class Meta`` and the plain classes that it is based on."""
    meta, source = factory.meta, factory.source
    if meta is None:
        return
    waiting = [(source, meta)]
    for source, node in waiting:
        yield source, node
        for base in node.bases:
            name = dotted(base)
            if name is None or name.endswith(".Meta"):
                continue
            found = factory.project.define(source, name)
            if found and isinstance(found[1], ast.ClassDef) and len(waiting) < 8:
                waiting.append((found[0], found[1]))


def _inherited(factory: Factory) -> Factory | None:
    """Return the base whose options factory_boy inherits."""
    for base in factory.bases:
        if isinstance(base, str) and base.rpartition(".")[2] not in _NO_FACTORY:
            return None
        if isinstance(base, Factory) and (base.roots or base.meta is not None):
            return base
    return None


def _is_declared(factory: Factory) -> bool:
    source, node = factory.source, factory.node
    names = [dotted(_called(each)) for each in node.decorator_list]
    names += [dotted(base) for base in node.bases]
    declared = ("factory_reuse.reuse_existing", "factory_reuse.ReuseMixin")
    if any(name and source.full_name(name) in declared for name in names):
        return True
    return any(
        name.rpartition(".")[2] == node.name
        and (found := factory.project.define(other, name)) is not None
        and found[1] is node
        for other in {source, *factory.project.sources()}
        for name in _reuse_calls(other)
    )


def _reuse_calls(source: Source) -> list[str]:
    """Return the names that a module gives to ``reuse_existing(...)``."""
    if "reuse_existing" not in source.text:
        return []
    calls = [n.value for n in source.tree.body if isinstance(n, (ast.Expr, ast.Assign))]
    return [
        dotted(argument) or "?"
        for call in calls
        if isinstance(call, ast.Call)
        and source.full_name(dotted(call.func) or "") == "factory_reuse.reuse_existing"
        for argument in call.args
    ]
