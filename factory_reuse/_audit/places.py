"""The file and line of a factory and of what it declares, and what a comment there says."""

from __future__ import annotations

import ast
import inspect
import os
import re
from pathlib import Path
from typing import Any, Final, Iterator, Mapping, NamedTuple

from typing_extensions import final

from .modules import Home

_COMMENT: Final = re.compile(r"#\s*factory-reuse:\s*ignore(?:\[([^\]]*)\])?")


@final
class Place(NamedTuple):
    """Where something is declared; the line is counted from 1."""

    path: str
    line: int


@final
class Places:
    """The places of factories. Files are read once.

    Args:
        homes: the module of each factory, and its name there.
    """

    def __init__(self, homes: Mapping[Any, Home]) -> None:
        self._homes = homes
        self._files: dict[str, _File] = {}

    def of(self, factory: Any, name: str = "") -> Place:
        """Return the place of a factory, or of what it declares.

        Args:
            name: of a declaration, ``Meta.option``, ``@decorator``; where the factory has it from
                elsewhere, the place is the factory's own.
        """
        file = self._file(factory)
        home = self._homes[factory]
        nodes = file.classes.get(home.name)
        if not nodes:
            return Place(file.shown, file.assigned.get(home.name, 1))
        # A file may define a class anew; the factory of the first statement is another one.
        same = [each for each, other in self._homes.items() if other == home]
        line = _line_in(nodes[same.index(factory)] if len(same) == len(nodes) else nodes[-1], name)
        return Place(file.shown, line)

    def ignored(self, factory: Any, place: Place) -> frozenset[str] | None:
        """Return the codes that a comment on the line, or on that of the class, has ignored.

        Returns:
            ``None``: all of them.
        """
        file = self._file(factory)
        codes: set[str] = set()
        for line in {place.line, self.of(factory).line}:
            said = _COMMENT.search(file.line(line))
            if said is not None and not (said.group(1) or "").strip():
                return None
            codes.update(re.findall(r"\w+", said.group(1)) if said is not None else ())
        return frozenset(codes)

    def _file(self, factory: Any) -> _File:
        try:
            path = inspect.getsourcefile(self._homes[factory].module) or ""
        except TypeError:  # a module that is no file
            path = ""
        if path not in self._files:
            self._files[path] = _File(path)
        return self._files[path]


@final
class _File:
    """One source file; empty, where there is none to read."""

    def __init__(self, path: str) -> None:
        self.shown = _below_cwd(path) if path else "<unknown>"
        source = b""
        if path:
            try:
                source = Path(path).read_bytes()
            except OSError:
                source = b""
        self._lines = source.splitlines()
        self.tree = _parsed(source)
        self.classes: dict[str, list[ast.ClassDef]] = {}
        self.assigned: dict[str, int] = {}
        for name, found in _classes(self.tree, "") if self.tree is not None else ():
            self.classes.setdefault(name, []).append(found)
        for statement in self.tree.body if self.tree is not None else ():
            self.assigned.update(dict.fromkeys(_names(statement), statement.lineno))

    def line(self, number: int) -> str:
        inside = 0 < number <= len(self._lines)
        return self._lines[number - 1].decode("utf-8", "replace") if inside else ""


def _parsed(source: bytes) -> ast.Module | None:
    try:
        return ast.parse(source)
    except (SyntaxError, ValueError):
        return None


def _classes(node: ast.AST, prefix: str) -> Iterator[tuple[str, ast.ClassDef]]:
    """Yield the class statements below a node by the ``__qualname__`` of their classes."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.ClassDef):
            yield prefix + child.name, child
            yield from _classes(child, f"{prefix}{child.name}.")
        elif isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield from _classes(child, f"{prefix}{child.name}.<locals>.")
        else:
            yield from _classes(child, prefix)


def _line_in(node: ast.ClassDef, name: str) -> int:
    if name.startswith("@"):
        for decorator in node.decorator_list:
            if name[1:] in ast.dump(decorator):
                return decorator.lineno
        return _line_in(node, "Meta.reuse_on")  # a mixin's
    outer, _, inner = name.rpartition(".")
    for statement in node.body:
        if outer:
            if isinstance(statement, ast.ClassDef) and statement.name == outer:
                line = _line_in(statement, inner)
                return node.lineno if line == statement.lineno else line
        elif name and name in _names(statement):
            return statement.lineno
    return node.lineno


def _names(statement: ast.stmt) -> Iterator[str]:
    if isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        yield statement.name
    elif isinstance(statement, ast.Assign):
        for target in statement.targets:
            yield from (each.id for each in ast.walk(target) if isinstance(each, ast.Name))
    elif isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
        yield statement.target.id


def _below_cwd(path: str) -> str:
    try:
        relative = os.path.relpath(path)
    except ValueError:  # on another drive
        return path
    return path if relative.startswith("..") else relative
