"""Files and directories in, what becomes of each file out."""

from __future__ import annotations

import ast
import difflib
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Iterable, Iterator, Sequence

from typing_extensions import final

from .edit import Unchangeable, edited
from .project import Project, files_in
from .recognise import Lookup, NotUnderstood, recognise
from .sources import UNREADABLE, Source

#: What a file has that is read further.
_RELEVANT: Final = re.compile(r"_create|def (create|_save)\b")


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

    def diff(self) -> bytes:
        """Return the change as ``git apply`` takes it, relative to the current directory."""
        if not self.changed:
            return b""
        name = _relative(Path(os.path.realpath(self.path)))
        before, after = _lines(self.before), _lines(self.after)
        ends = os.fsencode(f"a/{name}"), os.fsencode(f"b/{name}")
        lines = difflib.diff_bytes(difflib.unified_diff, before, after, *ends)
        return b"".join(
            line if line.endswith(b"\n") else line + b"\n\\ No newline at end of file\n"
            for line in lines
        )

    def refused(self, reason: str) -> FileUpgrade:
        """Return what becomes of the file if it cannot be changed."""
        left = (Left(each.line, each.factory, reason) for each in self.rewritten)
        return FileUpgrade(self.path, self.before, self.before, left=(*self.left, *left))

    def write(self) -> None:
        """Write what changes."""
        if self.changed:
            self.path.write_bytes(self.after)


def upgrade(paths: Iterable[Path], *, writing: bool = False) -> Iterator[FileUpgrade]:
    """Yield what becomes of each file, directories searched; nothing is written.

    Those with nothing to rewrite and nothing to say are yielded, too.

    Args:
        paths: files and directories.
        writing: whether the results are to be written, so that files that cannot be are left.
    """
    files: dict[str, Path] = {}  # each once, whatever links lead there
    for path in paths:
        for file in files_in(path) if os.path.isdir(path) else [path]:
            files.setdefault(os.path.realpath(file), file)
    project = Project(Path(os.path.abspath(file)) for file in files.values())
    done = {file: _upgrade(project, file, writing=writing) for file in files.values()}
    refused = -1
    while refused < len(project.refused):  # what is left may keep others from being rewritten
        refused = len(project.refused)
        for file, before in done.items() if refused else ():
            if before.changed:
                done[file] = _upgrade(project, file, writing=writing)
    yield from done.values()


def _upgrade(project: Project, file: Path, *, writing: bool) -> FileUpgrade:
    if os.path.exists(file) and not os.path.isfile(file):
        return _left(file, b"", 0, "It is no regular file.")
    try:
        content = file.read_bytes()
    except OSError as error:
        return _left(file, b"", 0, f"It cannot be read: {error.strerror or error}.")
    try:
        source = project.source(Path(os.path.abspath(file)))
        if source is None:
            return _unparsed(file, content)
        relevant = source.classes if _RELEVANT.search(source.text) else ()
        found = [(node, recognise(project, source, node)) for node in relevant]
        return _upgraded(project, file, content, found, writing=writing)
    except RecursionError:
        return _left(file, content, 0, "It is nested too deeply to be read.")
    except Exception as error:  # one file is not to keep the others from being upgraded
        return _left(file, content, 0, f"It is not understood, by a mistake of ours: {error!r}.")


def _unparsed(file: Path, content: bytes) -> FileUpgrade:
    try:
        Source.of(file, content)
    except SyntaxError as error:
        return _left(file, content, error.lineno or 0, f"It does not parse: {error.msg}.")
    except UNREADABLE as error:
        return _left(file, content, 0, f"It does not parse: {error or 'it is nested too deeply'}.")
    return _left(file, content, 0, "It changed while it was read.")


def _upgraded(
    project: Project,
    file: Path,
    content: bytes,
    found: Sequence[tuple[ast.ClassDef, Lookup | NotUnderstood | None]],
    *,
    writing: bool,
) -> FileUpgrade:
    lookups = {each.line: each for _, each in found if isinstance(each, Lookup)}
    left = [
        Left(each.line, each.factory, each.reason)
        for _, each in found
        if isinstance(each, NotUnderstood)
    ]
    try:
        if lookups and writing and not os.access(file, os.W_OK):
            raise Unchangeable("The file cannot be written.")
        after = edited(content, lookups) if lookups else content
    except (Unchangeable, *UNREADABLE) as error:
        left += [Left(each.line, each.factory, str(error)) for each in lookups.values()]
        project.refused.update((node, str(error)) for node, e in found if isinstance(e, Lookup))
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
    """Return a path relative to the current directory, or to the repository or root it is in."""
    repositories = (parent for parent in path.parents if (parent / ".git").exists())
    for start in (Path(os.path.realpath(Path.cwd())), next(repositories, Path(path.anchor))):
        if start in path.parents:
            return path.relative_to(start).as_posix()
    return path.name


def _lines(content: bytes) -> list[bytes]:
    lines = [line + b"\n" for line in content.split(b"\n")]
    lines[-1] = lines[-1][:-1]
    return lines if lines[-1] else lines[:-1]
