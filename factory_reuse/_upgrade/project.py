"""The files of a project, and where a name is defined in them."""

from __future__ import annotations

import ast
import os
import re
from pathlib import Path
from typing import Any, Final, Iterable, Iterator, Tuple

from typing_extensions import final

from .sources import FUNCTIONS, UNREADABLE, Imported, Source, dotted, imported_by, is_value

#: What stands at the root of a project.
_MARKS: Final = (".git", "pyproject.toml", "setup.cfg", "setup.py", "tox.ini", "pytest.ini")
#: How far up to look for modules where there is no such mark.
_NEAR: Final = 3
#: Packages that are never a file of the project, whatever is called like them.
_FOREIGN: Final = ("factory", "factory_reuse", "sqlalchemy", "typing")
#: How many imports to follow from one name to its definition.
_DEEP: Final = 8
#: How many files of a project are searched for what they name.
_MANY: Final = 5000
#: Directories whose code is not the project's.
_SKIPPED: Final = ("__pycache__", "node_modules", "site-packages")


def is_skipped(directory: Path) -> bool:
    """Whether a directory is hidden, an environment, or full of the code of others."""
    name = directory.name
    return name.startswith(".") or name in _SKIPPED or (directory / "pyvenv.cfg").exists()


def files_in(directory: Path) -> Iterator[Path]:
    """Yield the Python files in a directory, in order; regular files only."""
    for place, inside, names in os.walk(directory):
        inside[:] = sorted(name for name in inside if not is_skipped(Path(place, name)))
        paths = (Path(place, name) for name in sorted(names) if name.endswith(".py"))
        yield from (p for p in paths if os.path.isfile(p) or not os.path.exists(p))


Definition = Tuple[Source, ast.AST]


@final
class Project:
    """The files that are upgraded together, and those beside them that they import."""

    def __init__(self, given: Iterable[Path] = ()) -> None:
        self.given = tuple(given)
        self._sources: dict[Path, Source | None] = {}
        self._around: dict[Path, dict[Path, bytes]] = {}
        self._marked: dict[Path, Path | None] = {}
        #: What others remember, by the class statement.
        self.memo: dict[ast.ClassDef, Any] = {}
        #: The classes that cannot be rewritten where they are, and why.
        self.refused: dict[ast.ClassDef, str] = {}

    def source(self, path: Path) -> Source | None:
        """Return a file's source, or ``None`` if it is not there or no Python."""
        if path not in self._sources:
            try:
                self._sources[path] = Source.of(path, path.read_bytes()) if path.is_file() else None
            except (OSError, *UNREADABLE):
                self._sources[path] = None
        return self._sources[path]

    def sources(self) -> Iterator[Source]:
        """Yield the given files, those that can be read."""
        for path in self.given:
            source = self.source(path)
            if source is not None:
                yield source

    def naming(self, source: Source, word: str) -> Iterator[Source]:
        """Yield a file, and the others of its project that have a word somewhere."""
        yield source
        given = dict.fromkeys(self.given)
        found = re.compile(rb"\b%s\b" % re.escape(word).encode()).search if word.isascii() else bool
        for path in {**given, **self._contents(source.path)}:
            content = self._contents(source.path).get(path)
            if path == source.path or (content is not None and not found(content)):
                continue
            other = self.source(path)
            if other is not None and word in other.text:
                yield other

    def is_searched(self, source: Source) -> bool:
        """Whether all of a file's project is searched for what it names."""
        return self._root(source.path) is not None and len(self._contents(source.path)) < _MANY

    def _contents(self, path: Path) -> dict[Path, bytes]:
        root = self._root(path) or path.parent
        if root not in self._around:
            found: dict[Path, bytes] = {}
            self._around[root] = found
            marked = self._root(path) is not None
            for file in files_in(root) if marked else sorted(root.glob("*.py")):
                if len(found) >= _MANY:
                    break
                try:
                    found[file] = file.read_bytes() if file.is_file() else b""
                except OSError:
                    continue
        return self._around[root]

    def define(
        self,
        source: Source,
        name: str,
        near: ast.ClassDef | None = None,
        *,
        inside: bool = False,
        depth: int = 0,
    ) -> Definition | None:
        """Return where a dotted name is defined: a class, a function, or an assigned value.

        A name that is bound more than once is defined nowhere. The arguments are those of
        `Source.bound`.
        """
        head, _, rest = name.partition(".")
        found = source.binding(head, near, inside=inside)
        if depth > _DEEP:
            return None
        if isinstance(found, (ast.Import, ast.ImportFrom)):
            return self._imported(source, imported_by(found, head), rest, depth)
        if found is not None:
            if rest or not (is_value(found) or isinstance(found, (ast.ClassDef, *FUNCTIONS))):
                return None
            other = dotted(found)
            alias = other and self.define(source, other, near, inside=inside, depth=depth + 1)
            return alias or (source, found)
        if not source.bound(head, near, inside=inside):
            for star in reversed(source.bindings(source.tree).get("*", [])):
                if isinstance(star, ast.ImportFrom):
                    module = self._module(source, star.module or "", star.level)
                    found_there = module and self.define(module, name, depth=depth + 1)
                    if found_there:
                        return found_there
        return None

    def full_name(self, source: Source, name: str, depth: int = 0) -> str:
        """Return a dotted name as imported, also by way of the project's own files."""
        head, _, rest = name.partition(".")
        imported = source.imports.get(head)
        ways = [] if imported is None else [(imported.module, imported.level, imported.attribute)]
        if imported is None and not source.bound(head):
            stars = source.bindings(source.tree).get("*", [])
            ways = [(s.module or "", s.level, head) for s in stars if isinstance(s, ast.ImportFrom)]
        for module_name, level, attribute in ways if depth < _DEEP else ():
            module = self._module(source, module_name, level)
            inner = f"{attribute}.{rest}" if rest else f"{attribute}"
            full = self.full_name(module, inner, depth + 1) if module and attribute else inner
            if full != inner:
                return full
        return source.full_name(name)

    def is_foreign(self, source: Source, name: str, near: ast.ClassDef | None) -> bool:
        """Whether a name is imported from a module that is not among the project's files."""
        head, _, rest = name.partition(".")
        found = source.binding(head, near, inside=True)
        if not isinstance(found, (ast.Import, ast.ImportFrom)):
            return False
        imported = imported_by(found, head)
        parts = _parts(imported, rest)
        modules = (".".join(parts[:end]) for end in range(1, len(parts) + 1))
        return all(self._module(source, each, imported.level) is None for each in modules)

    def _imported(
        self, source: Source, imported: Imported, rest: str, depth: int
    ) -> Definition | None:
        parts = _parts(imported, rest)
        # The longest part that is a module; what follows is defined in it.
        for end in range(len(parts) - 1, -1, -1):
            module = self._module(source, ".".join(parts[:end]), imported.level)
            if module is not None and module is not source:
                return self.define(module, ".".join(parts[end:]), depth=depth + 1)
        return None

    def _module(self, source: Source, name: str, level: int) -> Source | None:
        parts = name.split(".") if name else []
        if not level and (not parts or parts[0] in _FOREIGN):
            return None
        if level > len(source.path.parents):
            return None
        for root in [source.path.parents[level - 1]] if level else self._roots(source.path):
            place = root.joinpath(*parts)
            for path in (place.parent / (place.name + ".py"), place / "__init__.py"):
                if path.is_file() and (parts or path.name == "__init__.py"):
                    return self.source(path)
        return None

    def _roots(self, path: Path) -> Iterator[Path]:
        for distance, parent in enumerate(path.parents):
            yield parent
            yield parent / "src"
            if parent == self._root(path) or (distance >= _NEAR and self._root(path) is None):
                return

    def _root(self, path: Path) -> Path | None:
        """Return the project's directory, if it has a mark of one."""
        if path.parent not in self._marked:
            marked = (p for p in path.parents if any((p / mark).exists() for mark in _MARKS))
            self._marked[path.parent] = next(marked, None)
        return self._marked[path.parent]


def _parts(imported: Imported, rest: str) -> list[str]:
    parts = imported.module.split(".") if imported.module else []
    return [*parts, *(part for part in (imported.attribute, *rest.split(".")) if part)]
