"""Parsed files, and where a name is defined: all of it by reading, nothing is imported."""

from __future__ import annotations

import ast
import io
import tokenize
from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final, Iterable, Iterator, NamedTuple, Tuple

from typing_extensions import final

#: What stands at the root of a project.
_MARKS: Final = (".git", "pyproject.toml", "setup.cfg", "setup.py", "tox.ini", "pytest.ini")
#: How far up to look for modules where there is no such mark.
_NEAR: Final = 3
#: Packages that are never a file of the project, whatever is called like them.
_FOREIGN: Final = ("factory", "factory_reuse", "sqlalchemy", "typing")
#: How many imports to follow from one name to its definition.
_DEEP: Final = 8


@final
class Imported(NamedTuple):
    """What an import binds a name to; ``attribute`` is ``None`` for a module."""

    module: str
    attribute: str | None
    level: int


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
            SyntaxError: it is no Python, in its declared encoding or at all.
            ValueError: it has null bytes, or is not in its encoding.
        """
        text = decoded(content)
        return Source(path, text, ast.parse(text))

    @cached_property
    def classes(self) -> tuple[ast.ClassDef, ...]:
        """All classes, nested ones included, in order."""
        found = (node for node in ast.walk(self.tree) if isinstance(node, ast.ClassDef))
        return tuple(sorted(found, key=lambda node: (node.lineno, node.col_offset)))

    @cached_property
    def names(self) -> dict[ast.ClassDef, str]:
        """The classes' names, with what they are nested in."""
        names: dict[ast.ClassDef, str] = {}
        scopes: list[tuple[ast.AST, str]] = [(self.tree, "")]
        for scope, prefix in scopes:
            for child in ast.iter_child_nodes(scope):
                inside = prefix
                if isinstance(child, ast.ClassDef):
                    names[child] = prefix + child.name
                    inside = names[child] + "."
                elif isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef)):
                    inside = prefix + child.name + "()."
                scopes.append((child, inside))
        return names

    def named(self, name: str) -> ast.ClassDef | None:
        """Return the class of this name, unless there are several or another binding."""
        found = [node for node in self.classes if node.name == name]
        return found[0] if len(found) == 1 and name not in self.assigned else None

    @cached_property
    def assigned(self) -> dict[str, list[ast.expr]]:
        """The values that are assigned to module-level names, wherever that is."""
        assigned: dict[str, list[ast.expr]] = {}
        for name, value in assignments(self.tree.body):
            assigned.setdefault(name, []).append(value)
        for function in ast.walk(self.tree):
            if isinstance(function, ast.Global):
                for name in function.names:
                    assigned.setdefault(name, []).extend([ast.Constant(None)] * 2)
        return assigned

    @cached_property
    def imports(self) -> dict[str, Imported]:
        """What the names stand for that are imported somewhere in the file."""
        imports: dict[str, Imported] = {}
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):
                for alias in node.names:
                    whole = alias.name if alias.asname else alias.name.partition(".")[0]
                    imports[alias.asname or whole] = Imported(whole, None, 0)
            elif isinstance(node, ast.ImportFrom):
                for alias in node.names:
                    imported = Imported(node.module or "", alias.name, node.level)
                    imports[alias.asname or alias.name] = imported
        return imports

    def full_name(self, name: str) -> str:
        """Return a dotted name as imported: ``sqlalchemy.exc`` for ``sa.exc``, say."""
        head, dot, rest = name.partition(".")
        imported = self.imports.get(head)
        if imported is None:
            return name
        parts = (imported.module, imported.attribute or "")
        return ".".join(part for part in parts if part) + dot + rest

    def segment(self, node: ast.AST) -> str:
        """Return the source of an expression, on one line."""
        return " ".join((ast.get_source_segment(self.text, node) or "").split())

    @cached_property
    def uses(self) -> Counter[str]:
        """How often each identifier occurs, in strings and comments too."""
        tokens = tokenize.generate_tokens(io.StringIO(self.text).readline)
        try:
            return Counter(word for token in tokens for word in words(token.string))
        except (tokenize.TokenError, SyntaxError):
            return Counter(words(self.text))


def decoded(content: bytes) -> str:
    """Return the text of a file in its own encoding, line ends made one.

    Raises:
        SyntaxError: its encoding is unknown, or contradicts its byte order mark.
        ValueError: it is not in its encoding.
    """
    encoding, _ = tokenize.detect_encoding(io.BytesIO(content).readline)
    return io.TextIOWrapper(io.BytesIO(content), encoding).read()


def words(text: str) -> list[str]:
    """Return the identifiers in a text."""
    return "".join(c if c.isalnum() or c == "_" else " " for c in text).split()


def assignments(body: Iterable[ast.stmt]) -> Iterator[tuple[str, ast.expr]]:
    """Yield the names that statements assign to, those inside an ``if`` or ``try`` too."""
    for node in body:
        if isinstance(node, ast.Assign):
            for target in node.targets:
                if isinstance(target, ast.Name):
                    yield target.id, node.value
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            if node.value is not None:
                yield node.target.id, node.value
        elif isinstance(node, (ast.If, ast.Try, ast.With)):
            for part in ("body", "orelse", "finalbody"):
                yield from assignments(getattr(node, part, ()))


def dotted(node: ast.expr | None) -> str | None:
    """Return ``a.b.c`` for an expression that is just that."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        base = dotted(node.value)
        return None if base is None else f"{base}.{node.attr}"
    return None


Definition = Tuple[Source, ast.AST]


@final
class Project:
    """The files that are upgraded together, and those beside them that they import."""

    def __init__(self, given: Iterable[Path] = ()) -> None:
        self.given = tuple(given)
        self._sources: dict[Path, Source | None] = {}
        #: What others remember, by the class statement.
        self.memo: dict[ast.ClassDef, Any] = {}

    def source(self, path: Path) -> Source | None:
        """Return a file's source, or ``None`` if it is not there or no Python."""
        if path not in self._sources:
            try:
                self._sources[path] = Source.of(path, path.read_bytes())
            except (OSError, SyntaxError, ValueError, RecursionError, MemoryError):
                self._sources[path] = None
        return self._sources[path]

    def sources(self) -> Iterator[Source]:
        """Yield the given files, those that can be read."""
        for path in self.given:
            source = self.source(path)
            if source is not None:
                yield source

    def define(self, source: Source, name: str, depth: int = 0) -> Definition | None:
        """Return where a dotted name is defined: a class, or the value of an assignment."""
        head, _, rest = name.partition(".")
        if not rest:
            own = source.named(head)
            values = source.assigned.get(head, ())
            if own is not None:
                return source, own
            if len(values) == 1:
                return source, values[0]
        if depth > _DEEP:
            return None
        if head in source.imports:
            return self._imported(source, source.imports[head], rest, depth)
        for imported in source.imports.values():
            if imported.attribute == "*":
                module = self._module(source, imported.module, imported.level)
                found = module and self.define(module, name, depth + 1)
                if found:
                    return found
        return None

    def _imported(
        self, source: Source, imported: Imported, rest: str, depth: int
    ) -> Definition | None:
        parts = [*(imported.module.split(".") if imported.module else ())]
        parts += [part for part in (imported.attribute, *rest.split(".")) if part]
        # The longest part that is a module; what follows is defined in it.
        for end in range(len(parts) - 1, -1, -1):
            module = self._module(source, ".".join(parts[:end]), imported.level)
            if module is not None and module is not source:
                return self.define(module, ".".join(parts[end:]), depth + 1)
        return None

    def _module(self, source: Source, name: str, level: int) -> Source | None:
        parts = name.split(".") if name else []
        if not level and (not parts or parts[0] in _FOREIGN):
            return None
        for root in [source.path.parents[level - 1]] if level else self._roots(source.path):
            place = root.joinpath(*parts)
            for path in (place.with_suffix(".py"), place / "__init__.py"):
                if path.is_file() and (parts or path.name == "__init__.py"):
                    return self.source(path)
        return None

    def _roots(self, path: Path) -> Iterator[Path]:
        for distance, parent in enumerate(path.parents):
            yield parent
            yield parent / "src"
            marked = any((parent / mark).exists() for mark in _MARKS)
            if marked or (distance >= _NEAR and not _is_marked(path)):
                return


def _is_marked(path: Path) -> bool:
    return any((parent / mark).exists() for parent in path.parents for mark in _MARKS)
