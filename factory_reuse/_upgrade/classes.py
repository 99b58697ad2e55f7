"""What the class statement of a factory says: bases, ``class Meta``, declarations."""

from __future__ import annotations

import ast
import builtins
from dataclasses import dataclass
from functools import cached_property
from typing import Final, Iterable, Iterator

from typing_extensions import final

from .project import Project
from .sources import FUNCTIONS, Mention, Source, assignments, dotted, is_value

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
_RANDOM: Final = ("Faker", "Fuzzy")
_DRAWING: Final = ("fake", "random", "uuid")
#: Declarations that do nothing when they are not evaluated, if their arguments do not either.
_CALM: Final = (
    *("Sequence", "sequence", "SelfAttribute", "Maybe", "Trait", "List", "Dict", "SubFactory"),
    *_RANDOM,
)
#: Those that call a function.
_CALLING: Final = ("Lazy", "lazy_", "Transformer")
#: Modules whose classes give constants.
_CONSTANTS: Final = ("datetime.", "decimal.", "builtins.", "pathlib.", "uuid.UUID")


@final
@dataclass(frozen=True, eq=False)
class Option:
    """What ``class Meta`` says, and in which class of which file.

    Attributes:
        value: ``None`` if it is not said by one plain assignment.
        own: whether it is the class's own ``class Meta`` that says it.
    """

    source: Source
    near: ast.ClassDef | None
    value: ast.expr | None
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
        """The ``class Meta`` statement that counts."""
        found = [n for n in self.node.body if isinstance(n, ast.ClassDef) and n.name == "Meta"]
        return found[-1] if found else None

    def bindings(self, name: str) -> list[ast.AST]:
        """Return all that binds a name in the class statement."""
        return self.source.bindings(self.node).get(name, [])

    @cached_property
    def bases(self) -> tuple[Factory | str | None, ...]:
        """The bases; one that is not found as its full name, one that may be several as none."""
        return tuple(self._base(base) for base in self.node.bases)

    def _base(self, node: ast.expr) -> Factory | str | None:
        while isinstance(node, ast.Subscript):  # Base[Model]
            node = node.value
        name = dotted(node) or "?"
        found = self.project.define(self.source, name, self.node)
        if found is not None and isinstance(found[1], ast.ClassDef) and found[1] is not self.node:
            return factory_of(self.project, found[0], found[1])
        head = name.partition(".")[0]
        if self.source.bound(head, self.node) and not self.source.binding(head, self.node):
            return None
        other, said = found or (self.source, None)
        return self.project.full_name(other, dotted(said) or name)

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
    def unknown(self) -> tuple[str, ...]:
        """The bases that are not found, and are not factory_boy's."""
        return tuple(root for root in self.roots if root.rpartition(".")[2] != ROOT)

    @property
    def is_known(self) -> bool:
        """Whether all of its bases are found, down to factory_boy's own."""
        return bool(self.roots) and not self.unknown

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
                bound = source.bindings(meta).get(name)
                if bound:
                    value = dict(assignments(meta.body)).get(name) if len(bound) == 1 else None
                    near = factory.node if source is factory.source else None
                    return Option(source, near, value, own=meta is self.meta)
            factory, seen = _inherited(factory), seen + 1
        return None

    def own_option(self, name: str) -> Option | None:
        """Return what ``class Meta`` says here, or a plain class that it is based on."""
        option = self.option(name) if self.meta is not None else None
        if option is None or option.own:
            return option
        inherited = (base.option(name) for base in self.lineage[1:])
        same = (each is not None and each.value is option.value for each in inherited)
        return None if any(same) else option

    @property
    def own_create(self) -> ast.AST | None:
        """The ``_create`` that counts, of those in this very class."""
        own = self.bindings("_create")
        return own[-1] if own else None

    @property
    def is_abstract(self) -> bool:
        """Whether ``class Meta`` says so; or it has no model."""
        own = dict(assignments(self.meta.body)) if self.meta else {}
        abstract = own.get("abstract")
        if isinstance(abstract, ast.Constant):
            return bool(abstract.value)
        return self.option("model") is None

    def methods(self, *names: str) -> Iterator[tuple[Factory, str, ast.AST]]:
        """Yield what binds the names of methods, with the class of each, nearest first."""
        for factory in self.lineage:
            for name in names:
                for node in factory.bindings(name):
                    yield factory, name, node

    @cached_property
    def descendants(self) -> tuple[Factory, ...]:
        """The factories in the project's files that have it as a base."""
        found = [
            factory_of(self.project, source, node)
            for source in self.project.naming(self.source, self.node.name)
            for node in source.classes
            if node is not self.node and node.bases
        ]
        return tuple(f for f in found if any(a.node is self.node for a in f.lineage[1:]))

    @property
    def family(self) -> tuple[Factory, ...]:
        """The factory and those that have it as a base."""
        return (self, *self.descendants)

    def mentions(self, name: str) -> Iterator[Mention]:
        """Yield what may read or set an attribute of this class, its bases or subclasses."""
        family = (*self.lineage, *self.descendants)
        names = {each.node.name for each in family}
        nodes = {each.node for each in family}
        sources = dict.fromkeys(each.source for each in family)
        naming = self.project.naming(self.source, self.node.name)
        sources.update(dict.fromkeys(each for each in naming if self._is_known_to(each)))
        for source in sources:
            for mention in source.mentions.get(name, ()):
                if isinstance(mention.node, ast.Constant):
                    yield mention
                    continue
                holder = (dotted(mention.node.value) or "").replace("._meta", "")
                last = holder.rpartition(".")[2]
                if last in names or not last[:1].isupper():
                    outside = mention.of is not None and mention.of not in nodes
                    if last in names or not (outside and last in ("cls", "self", "")):
                        yield mention

    def _is_known_to(self, source: Source) -> bool:
        """Whether a file that has this class's name may mean this class by it.

        It may mean one of its own or of a third file, or have the name in prose alone.
        """
        name = self.node.name
        found = self.project.define(source, name)
        if found is not None:
            return found[1] is self.node
        return name in source.imports or name in source.mentions

    def declaration(self, name: str) -> ast.AST | None:
        """Return what a field is declared as, here or in a base."""
        bound = (factory.bindings(name) for factory in self.lineage)
        return next((nodes[-1] for nodes in bound if nodes), None)

    @cached_property
    def _declared(self) -> tuple[tuple[Factory, str, ast.AST], ...]:
        """What the class, its bases and their ``class Params`` assign, and their methods."""
        found: list[tuple[Factory, str, ast.AST]] = []
        for factory in self.lineage:
            bodies = [factory.source.bindings(factory.node)]
            for node in factory.bindings("Params"):
                bodies.append(factory.source.bindings(node))
            for body in bodies:
                for name, nodes in body.items():
                    found += [(factory, name, node) for node in nodes]
        return tuple(found)

    def kinds(self, called: ast.expr) -> set[str]:
        """Return what a function or class is called, and the bases of the latter."""
        name = dotted(called) or "?"
        kinds = {self.project.full_name(self.source, name)}
        found = self.project.define(self.source, name, self.node)
        if found is not None and isinstance(found[1], ast.ClassDef):
            lineage = factory_of(self.project, found[0], found[1])
            kinds |= {each.node.name for each in lineage.lineage} | set(lineage.roots)
        return kinds

    def _is(self, called: ast.expr, kinds: tuple[str, ...]) -> bool:
        return any(each.rpartition(".")[2].startswith(kinds) for each in self.kinds(called))

    def declares(self, *kinds: str) -> bool:
        """Whether it has declarations of a class that is called so, or begins so, anywhere."""
        return any(
            factory._is(called, kinds)
            for factory, _, node in self._declared
            for called in _calls(node)
        )

    @property
    def is_random(self) -> bool:
        """Whether it draws values."""
        return self.declares(*_RANDOM) or any(
            isinstance(node, ast.Name) and node.id.lower().startswith(_DRAWING)
            for _, _, value in self._declared
            if is_value(value)
            for node in ast.walk(value)
        )

    @property
    def post_generates(self) -> bool:
        """Whether it has declarations that run on the object when it is there."""
        return self.declares(*_POST)

    def does_more(self, fields: Iterable[str]) -> bool:
        """Whether declarations of other fields do something that is seen elsewhere."""
        return any(
            not factory._is_calm(node)
            for factory, name, node in self._declared
            if name not in fields
        )

    def _is_calm(self, node: ast.AST) -> bool:
        if isinstance(node, FUNCTIONS):
            return not any(self._is(called, (*_CALLING, "iterator")) for called in _calls(node))
        if not is_value(node) or not isinstance(node, ast.Call):
            return not isinstance(node, ast.Lambda) or _is_pure(node)
        given = [*node.args, *(keyword.value for keyword in node.keywords)]
        if self._is(node.func, _POST):  # which run as before
            return True
        if self._is(node.func, _CALLING):
            return all(_is_builtin(each) or self._is_calm_function(each) for each in given)
        name = self.project.full_name(self.source, dotted(node.func) or "?")
        if name.startswith(_CONSTANTS) or _is_builtin(node.func):
            return True
        return self._is(node.func, _CALM) and all(map(self._is_calm, given))

    def _is_calm_function(self, node: ast.AST) -> bool:
        return isinstance(node, (ast.Lambda, ast.Constant)) and self._is_calm(node)


def factory_of(project: Project, source: Source, node: ast.ClassDef) -> Factory:
    """Return the factory of a class statement, the same one each time."""
    known: Factory = project.memo.setdefault(node, Factory(project, source, node))
    return known


def _called(node: ast.expr) -> ast.expr:
    return node.func if isinstance(node, ast.Call) else node


def _calls(node: ast.AST) -> Iterator[ast.expr]:
    """Yield what is called in a declaration: classes, functions and decorators."""
    if isinstance(node, FUNCTIONS):
        yield from map(_called, node.decorator_list)
    elif is_value(node):
        yield from (each.func for each in ast.walk(node) if isinstance(each, ast.Call))


def _is_builtin(node: ast.AST) -> bool:
    return isinstance(node, ast.Name) and hasattr(builtins, node.id)


def _is_pure(node: ast.Lambda) -> bool:
    """Whether a function calls nothing but methods of its arguments, and builtins."""
    own = {argument.arg for argument in ast.walk(node.args) if isinstance(argument, ast.arg)}
    for call in (each for each in ast.walk(node.body) if isinstance(each, ast.Call)):
        function: ast.AST = call.func
        while isinstance(function, (ast.Attribute, ast.Call, ast.Subscript)):
            function = function.func if isinstance(function, ast.Call) else function.value
        text = isinstance(function, (ast.Constant, ast.JoinedStr))
        if not text and not _is_builtin(function) and getattr(function, "id", None) not in own:
            return False
    return True


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
            near = factory.node if source is factory.source else None
            found = factory.project.define(source, name, near, inside=False)
            if found and isinstance(found[1], ast.ClassDef) and len(waiting) < 8:
                waiting.append((found[0], found[1]))


def _inherited(factory: Factory) -> Factory | None:
    """Return the base whose options factory_boy inherits."""
    for base in factory.bases:
        if base is None or (isinstance(base, str) and base.rpartition(".")[2] not in _NO_FACTORY):
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
        and (
            other is source
            or ((found := factory.project.define(other, name)) is not None and found[1] is node)
        )
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
