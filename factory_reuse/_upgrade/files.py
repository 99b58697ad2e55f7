"""Files and directories in, what becomes of each file out."""

from __future__ import annotations

import difflib
import os
import tokenize
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Final, Iterable, Iterator, Sequence

from typing_extensions import final

from .edit import Unchangeable, edited
from .recognise import Lookup, NotUnderstood, recognise
from .sources import Project, Source

_SKIPPED: Final = ("__pycache__", "node_modules", "site-packages")


@final
@dataclass(frozen=True)
class Rewrite:
    """A factory that is rewritten: what is done, and what a test may see of it."""

    line: int
    factory: str
    what: str
    cautions: tuple[str, ...]


@final
@dataclass(frozen=True)
class Left:
    """A factory that stays as it is, or with no name a whole file, and why."""

    line: int
    factory: str
    reason: str


@final
@dataclass(frozen=True)
class FileUpgrade:
    """What becomes of one file.

    Attributes:
        before: its content.
        after: its content to be.
        rewritten: its factories that are rewritten.
        left: those that look up by themselves, and stay.
    """

    path: Path
    before: bytes
    after: bytes
    rewritten: tuple[Rewrite, ...] = ()
    left: tuple[Left, ...] = ()

    @property
    def changed(self) -> bool:
        """Whether there is anything to write."""
        return self.before != self.after

    def diff(self) -> str:
        """Return the change as ``git apply`` takes it, relative to the current directory."""
        if not self.changed:
            return ""
        name = _relative(self.path)
        before, after = (_lines(content) for content in (self.before, self.after))
        lines = difflib.unified_diff(before, after, f"a/{name}", f"b/{name}")
        return "".join(
            line if line.endswith("\n") else line + "\n\\ No newline at end of file\n"
            for line in lines
        )

    def write(self) -> None:
        """Write what changes."""
        if self.changed:
            self.path.write_bytes(self.after)


def upgrade(paths: Iterable[Path]) -> Iterator[FileUpgrade]:
    """Yield what becomes of each file, directories searched; nothing is written.

    Those with nothing to rewrite and nothing to say are yielded, too.
    """
    files: dict[str, Path] = {}  # each once, whatever links lead there
    for path in paths:
        for file in _files(Path(path)):
            files.setdefault(os.path.realpath(file), file)
    project = Project(Path(os.path.abspath(file)) for file in files.values())
    for file in files.values():
        yield _upgrade(project, file)


def _files(path: Path) -> Iterator[Path]:
    if not path.is_dir():
        yield path
        return
    for directory, inside, names in os.walk(path):
        inside[:] = sorted(name for name in inside if not _is_skipped(Path(directory, name)))
        yield from (Path(directory, name) for name in sorted(names) if name.endswith(".py"))


def _is_skipped(directory: Path) -> bool:
    name = directory.name
    return name.startswith(".") or name in _SKIPPED or (directory / "pyvenv.cfg").exists()


def _upgrade(project: Project, file: Path) -> FileUpgrade:
    try:
        content = file.read_bytes()
    except OSError as error:
        return _left(file, b"", 0, f"It cannot be read: {error.strerror or error}.")
    source = project.source(Path(os.path.abspath(file)))
    if source is None:
        return _unparsed(file, content)
    try:
        relevant = source.classes if "_create" in source.text else ()
        found = [recognise(project, source, node) for node in relevant]
    except RecursionError:
        return _left(file, content, 0, "It is nested too deeply to be read.")
    except Exception as error:  # one file is not to keep the others from being upgraded
        return _left(file, content, 0, f"It is not understood, by a mistake of ours: {error!r}.")
    return _upgraded(file, content, found)


def _unparsed(file: Path, content: bytes) -> FileUpgrade:
    try:
        Source.of(file, content)
    except SyntaxError as error:
        return _left(file, content, error.lineno or 0, f"It does not parse: {error.msg}.")
    except (ValueError, RecursionError, MemoryError) as error:
        return _left(file, content, 0, f"It does not parse: {error or 'it is nested too deeply'}.")
    return _left(file, content, 0, "It changed while it was read.")


def _upgraded(
    file: Path, content: bytes, found: Sequence[Lookup | NotUnderstood | None]
) -> FileUpgrade:
    lookups = {each.line: each for each in found if isinstance(each, Lookup)}
    left = [
        Left(each.line, each.factory, each.reason)
        for each in found
        if isinstance(each, NotUnderstood)
    ]
    try:
        after = edited(content, lookups) if lookups else content
    except (Unchangeable, RecursionError, SyntaxError) as error:
        left += [Left(each.line, each.factory, str(error)) for each in lookups.values()]
        return FileUpgrade(file, content, content, left=tuple(left))
    rewritten = (
        Rewrite(
            each.line, each.factory, f"@reuse_existing{each.arguments} {each.what}", each.cautions
        )
        if not each.turned_off
        else Rewrite(each.line, each.factory, each.what, each.cautions)
        for each in lookups.values()
    )
    return FileUpgrade(file, content, after, tuple(rewritten), tuple(left))


def _left(file: Path, content: bytes, line: int, reason: str) -> FileUpgrade:
    return FileUpgrade(file, content, content, left=(Left(line, "", reason),))


def _relative(path: Path) -> str:
    try:
        return Path(os.path.abspath(path)).relative_to(Path.cwd()).as_posix()
    except ValueError:
        return path.as_posix().lstrip("/")


def _lines(content: bytes) -> list[str]:
    encoding, _ = tokenize.detect_encoding(BytesIO(content).readline)
    text = content.decode(encoding)
    lines = [line + "\n" for line in text.split("\n")]
    lines[-1] = lines[-1][:-1]
    return lines if lines[-1] else lines[:-1]
