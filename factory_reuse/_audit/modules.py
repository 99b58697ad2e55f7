"""From the names on the command line to imported modules, and the factories in them."""

from __future__ import annotations

import contextlib
import importlib
import inspect
import os
import pkgutil
import re
import sys
import traceback
from pathlib import Path
from types import ModuleType
from typing import Any, Iterable, Iterator, NamedTuple

from factory.base import BaseFactory
from typing_extensions import final

from factory_reuse.errors import ReuseError


@final
class FailedImport(NamedTuple):
    """A module that could not be imported, with the traceback's last line."""

    module: str
    reason: str


@final
class Imported(NamedTuple):
    """What the names gave."""

    modules: list[ModuleType]
    failed: list[FailedImport]


def import_all(names: Iterable[str]) -> Imported:
    """Import modules, and packages with all that is in them.

    Args:
        names: dotted names, looked for in the working directory first; or paths of files and
            directories.
    """
    imported = Imported([], [])
    _put_first(Path.cwd())
    for name in names:
        for module in _walk(_module_name(name), imported.failed):
            if module not in imported.modules:
                imported.modules.append(module)
    return imported


@final
class Home(NamedTuple):
    """The module that defines a factory, and its name there."""

    module: ModuleType
    name: str

    def __str__(self) -> str:
        return f"{self.module.__name__}.{self.name}"


def factories_in(modules: Iterable[ModuleType]) -> dict[Any, Home]:
    """Return the factories that the modules define, in the order of their definition."""
    by_name = {module.__name__: module for module in modules}
    found = {
        factory: Home(by_name[factory.__module__], factory.__qualname__)
        for factory in _subclasses(BaseFactory)
        if factory.__module__ in by_name
    }
    for module in by_name.values():
        # What make_factory() made has the module of its maker.
        for name, value in vars(module).items():
            if _is_made(value) and (value not in found or _assigns(module, name)):
                found[value] = Home(module, name)
    return found


def import_one(name: str) -> Any:
    """Return the factory that ``module:Name`` or ``module.Name`` stands for.

    Raises:
        ImportError: there is no such module.
        AttributeError: the module has no such factory.
    """
    _put_first(Path.cwd())
    module_name, _, attribute = name.partition(":") if ":" in name else name.rpartition(".")
    if not module_name:
        raise ImportError(f"{name!r} names no module; write module:{name}")
    with contextlib.redirect_stdout(sys.stderr):
        found: Any = importlib.import_module(_module_name(module_name))
    for part in attribute.split("."):
        found = getattr(found, part)
    return found


def _walk(name: str, failed: list[FailedImport]) -> Iterator[ModuleType]:
    module = _import(name, failed)
    if module is None:
        return
    yield module
    for _, inner, _ in pkgutil.iter_modules(getattr(module, "__path__", ())):
        if inner != "__main__":  # which runs a program
            yield from _walk(f"{name}.{inner}", failed)


def _import(name: str, failed: list[FailedImport]) -> ModuleType | None:
    try:
        # What a module prints must not end up in the JSON.
        with contextlib.redirect_stdout(sys.stderr):
            return importlib.import_module(name)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # SystemExit, too: a script's
        if type(error).__name__ != "Skipped":  # pytest's, of a module that skips itself
            last = traceback.format_exception_only(type(error), error)[-1].strip()
            failed.append(FailedImport(name, last))
        return None


def _module_name(name: str) -> str:
    """Return the dotted name of what may be a path, and see to it that it can be imported."""
    path = Path(name)
    if not path.exists() or not (path.suffix == ".py" or path.is_dir()):
        return name
    if path.is_dir() and os.sep not in name and name.isidentifier():
        return name
    path = path.resolve()
    if path.is_dir() and not (path / "__init__.py").exists():
        raise ReuseError(
            f"{name} is no package, so its modules have no names. Name the packages and modules in "
            "it, as your tests import them."
        )
    parts = [] if path.name == "__init__.py" else [path.stem]
    above = path.parent
    while (above / "__init__.py").exists():
        parts.insert(0, above.name)
        above = above.parent
    _put_first(above)
    return ".".join(parts)


def _is_made(value: Any) -> bool:
    if not isinstance(value, type) or not issubclass(value, BaseFactory):
        return False
    maker = sys.modules.get(value.__module__)
    of_its_module = getattr(maker, value.__name__, None) is value
    return value.__module__.partition(".")[0] == "factory" and not of_its_module


def _assigns(module: ModuleType, name: str) -> bool:
    """Whether the module gives a name its value, and does not import it."""
    try:
        source = inspect.getsource(module)
    except (OSError, TypeError):
        return False
    return re.search(rf"^{re.escape(name)}\b[^=\n]*=[^=]", source, re.M) is not None


def _put_first(directory: Path) -> None:
    if str(directory) not in sys.path:
        sys.path.insert(0, str(directory))


def _subclasses(factory: Any) -> Iterator[Any]:
    for subclass in factory.__subclasses__():
        yield subclass
        yield from _subclasses(subclass)
