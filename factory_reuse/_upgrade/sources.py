"""Parsed files, and what their names are bound to: all of it by reading, nothing is imported."""

from __future__ import annotations

import ast
import io
import tokenize
import warnings
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Dict, Final, Iterable, Iterator, List, NamedTuple

from typing_extensions import final

FUNCTIONS: Final = (ast.FunctionDef, ast.AsyncFunctionDef)
SCOPES: Final = (ast.Module, ast.ClassDef, ast.Lambda, *FUNCTIONS)
#: What reading and parsing a file may end in.
UNREADABLE: Final = (SyntaxError, ValueError, LookupError, RecursionError, MemoryError)

#: What binds the names of a scope: the value of a plain assignment, or the node that binds.
Bindings = Dict[str, List[ast.AST]]


@final
class Imported(NamedTuple):
    """What an import binds a name to; ``attribute`` is ``None`` for a module."""

    module: str
    attribute: str | None
    level: int


@final
class Mention(NamedTuple):
    """An attribute, or an argument that may name one, with the class and function around it."""

    node: ast.Attribute | ast.Constant
    of: ast.ClassDef | None
    function: str


@final
@dataclass(frozen=True, eq=False)
class Source:
    """A file that could be parsed."""

    path: Path
    text: str
    tree: ast.Module

    @staticmethod
    def of(path: Path, content: bytes) -> Source:
        """Parse a file.

        Raises:
            UNREADABLE: it is no Python, in its declared encoding or at all.
        """
        text = decoded(content)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return Source(path, text, ast.parse(text))

    @cached_property
    def classes(self) -> tuple[ast.ClassDef, ...]:
        """All classes, nested ones included, in order."""
        return tuple(sorted(self.scopes, key=lambda node: (node.lineno, node.col_offset)))

    @cached_property
    def scopes(self) -> dict[ast.ClassDef, tuple[ast.AST, ...]]:
        """The scopes around each class: classes, functions and the module, innermost first."""
        scopes: dict[ast.ClassDef, tuple[ast.AST, ...]] = {}
        waiting: list[tuple[ast.AST, tuple[ast.AST, ...]]] = [(self.tree, (self.tree,))]
        for node, around in waiting:
            for child in ast.iter_child_nodes(node):
                inside = around
                if isinstance(child, ast.ClassDef):
                    scopes[child] = around
                if isinstance(child, (ast.ClassDef, *FUNCTIONS)):
                    inside = (child, *around)
                waiting.append((child, inside))
        return scopes

    @cached_property
    def names(self) -> dict[ast.ClassDef, str]:
        """The classes' names, with what they are nested in."""
        names: dict[ast.ClassDef, str] = {}
        for node, around in self.scopes.items():
            outer = (
                getattr(scope, "name", "") + ("." if isinstance(scope, ast.ClassDef) else "().")
                for scope in reversed(around[:-1])
            )
            names[node] = "".join(outer) + node.name
        return names

    @cached_property
    def _bindings(self) -> dict[ast.AST, Bindings]:
        return {}

    def bindings(self, scope: ast.AST) -> Bindings:
        """Return all that binds names in one scope, whatever the kind of statement."""
        if scope not in self._bindings:
            self._bindings[scope] = _bindings(scope)
        return self._bindings[scope]

    @cached_property
    def _rebound(self) -> Bindings:
        """The names that functions bind in a scope around them."""
        rebound: Bindings = {}
        for node in ast.walk(self.tree):
            if isinstance(node, (ast.Global, ast.Nonlocal)):
                for name in node.names:
                    rebound.setdefault(name, []).append(node)
        return rebound

    def bound(self, name: str, near: ast.ClassDef | None = None, *, inside: bool = False) -> Any:
        """Return all that binds a name, in the scope where it is looked up.

        Args:
            name: without a dot.
            near: a class statement; else the scope is the module's.
            inside: as the methods of that class see it, not the statement itself.
        """
        around = (self.tree,) if near is None else self.scopes.get(near, (self.tree,))
        for number, scope in enumerate(around):
            if isinstance(scope, ast.ClassDef) and (inside or number):
                continue
            found = self.bindings(scope).get(name, [])
            if found:
                first = min(getattr(node, "lineno", 0) for node in found)
                stars = self.bindings(scope).get("*", []) if name != "*" else []
                later = [star for star in stars if getattr(star, "lineno", 0) > first]
                return [*found, *later, *self._rebound.get(name, [])]
        return self._rebound.get(name, [])

    def binding(
        self, name: str, near: ast.ClassDef | None = None, *, inside: bool = False
    ) -> ast.AST | None:
        """Return what binds a name if that is one thing: only then it can be relied on."""
        found = self.bound(name, near, inside=inside)
        if found and all(isinstance(node, (ast.Import, ast.ImportFrom)) for node in found):
            same = len({imported_by(node, name) for node in found}) == 1
            return found[0] if same else None
        return found[0] if len(found) == 1 else None

    @cached_property
    def imports(self) -> dict[str, Imported]:
        """What the names stand for that are imported somewhere in the file, and not bound else."""
        imports: dict[str, Imported] = {}
        for node in ast.walk(self.tree):
            if isinstance(node, (ast.Import, ast.ImportFrom)):
                for name in _names_of(node):
                    imports[name] = imported_by(node, name)
        for name, nodes in self.bindings(self.tree).items():
            if not all(isinstance(node, (ast.Import, ast.ImportFrom)) for node in nodes):
                imports.pop(name, None)
        return imports

    def full_name(self, name: str) -> str:
        """Return a dotted name as imported: ``sqlalchemy.exc`` for ``sa.exc``, say."""
        head, dot, rest = name.partition(".")
        imported = self.imports.get(head)
        if imported is None:
            return name
        parts = (imported.module, imported.attribute or "")
        return ".".join(part for part in parts if part) + dot + rest

    @cached_property
    def mentions(self) -> dict[str, list[Mention]]:
        """All attributes, and arguments that may be the names of some, by that name."""
        found: dict[str, list[Mention]] = {}
        waiting: list[tuple[ast.AST, ast.ClassDef | None, str]] = [(self.tree, None, "")]
        for node, of, function in waiting:
            if isinstance(node, ast.Attribute):
                found.setdefault(node.attr, []).append(Mention(node, of, function))
            elif isinstance(node, ast.Call):  # setattr(…, "name"), patch("module.Class.name")
                for text in node.args:
                    if isinstance(text, ast.Constant) and isinstance(text.value, str):
                        name = text.value[-60:].rpartition(".")[2]
                        found.setdefault(name, []).append(Mention(text, of, function))
            elif isinstance(node, ast.ClassDef):
                of, function = node, ""
            elif isinstance(node, FUNCTIONS):
                function = node.name
            waiting += [(child, of, function) for child in ast.iter_child_nodes(node)]
        return found

    def segment(self, node: ast.AST) -> str:
        """Return the source of an expression, on one line."""
        return " ".join((ast.get_source_segment(self.text, node) or "").split())


def decoded(content: bytes) -> str:
    """Return the text of a file in its own encoding, line ends made one.

    Raises:
        SyntaxError: its encoding is unknown, or contradicts its byte order mark.
        ValueError: it is not in its encoding.
        LookupError: its encoding is none of text.
    """
    encoding, _ = tokenize.detect_encoding(io.BytesIO(content).readline)
    return io.TextIOWrapper(io.BytesIO(content), encoding).read()


# Names -------------------------------------------------------------------------------------------


def _bindings(scope: ast.AST) -> Bindings:
    bound: Bindings = {}

    def add(name: str | None, node: ast.AST) -> None:
        if name:
            bound.setdefault(name, []).append(node)

    body: Any = getattr(scope, "body", ())
    waiting: list[ast.AST] = list(body if isinstance(body, list) else [body])
    if isinstance(scope, (ast.Lambda, *FUNCTIONS)):
        waiting += [node for node in ast.walk(scope.args) if isinstance(node, ast.arg)]
    elsewhere: set[str] = set()
    for node in waiting:
        if isinstance(node, (ast.ClassDef, *FUNCTIONS)):
            add(node.name, node)
            waiting += node.decorator_list  # the rest is a scope of its own
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            for name in _names_of(node):
                add(name, node)
        elif isinstance(node, (ast.Global, ast.Nonlocal)):
            elsewhere.update(node.names)
        elif isinstance(node, ast.comprehension):  # whose target is its own
            waiting += [node.iter, *node.ifs]
        elif isinstance(node, (ast.Assign, ast.AnnAssign)) and node.value is not None:
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            for target in targets:
                if isinstance(target, ast.Name):
                    add(target.id, node.value)
                else:
                    waiting.append(target)
            waiting.append(node.value)
        elif not isinstance(node, (ast.AnnAssign, ast.Lambda)):
            if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
                add(node.id, node)
            elif isinstance(node, ast.arg):
                add(node.arg, node)
            elif isinstance(node, ast.ExceptHandler) or type(node).__name__.startswith("Match"):
                add(getattr(node, "name", None) or getattr(node, "rest", None), node)
            waiting += ast.iter_child_nodes(node)
    return {name: nodes for name, nodes in bound.items() if name not in elsewhere}


def _names_of(node: ast.Import | ast.ImportFrom) -> list[str]:
    whole = isinstance(node, ast.ImportFrom)
    return [a.asname or (a.name if whole else a.name.partition(".")[0]) for a in node.names]


def imported_by(node: ast.Import | ast.ImportFrom, name: str) -> Imported:
    for alias, own in zip(node.names, _names_of(node)):
        if own == name and isinstance(node, ast.ImportFrom):
            return Imported(node.module or "", alias.name, node.level)
        if own == name:
            return Imported(alias.name if alias.asname else own, None, 0)
    return Imported("", None, 0)  # a star


def is_value(node: ast.AST | None) -> bool:
    """Whether a binding is a plain assignment, of which it is the value."""
    stored = isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load)
    return isinstance(node, ast.expr) and not stored


def assignments(body: Iterable[ast.stmt]) -> Iterator[tuple[str, ast.expr]]:
    """Yield the names that statements assign to, each alone and unconditionally."""
    for node in body:
        if isinstance(node, ast.Assign) and len(node.targets) == 1:
            target: ast.expr = node.targets[0]
        elif isinstance(node, ast.AnnAssign):
            target = node.target
        else:
            continue
        if isinstance(target, ast.Name) and node.value is not None:
            yield target.id, node.value


def dotted(node: ast.AST | None) -> str | None:
    """Return ``a.b.c`` for an expression that is just that."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        base = dotted(node.value)
        return None if base is None else f"{base}.{node.attr}"
    return None
