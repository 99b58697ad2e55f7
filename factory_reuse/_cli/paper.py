"""What text is written on: a terminal with colours and tables, a plain one, or a pipe."""

from __future__ import annotations

import shutil
import sys
import textwrap
from typing import Any, Final, Iterable, Sequence, TextIO

from typing_extensions import Protocol, final

#: The styles that text may have, as rich names them.
STYLES: Final[dict[str, str]] = {
    "": "",
    "heading": "bold",
    "error": "bold red",
    "warning": "yellow",
    "info": "cyan",
    "remedy": "green",
    "faint": "dim",
    "sql": "magenta",
}

_NARROWEST: Final = 20


class Paper(Protocol):
    """What a command writes on."""

    def write(self, text: str, style: str = "", *, indent: int = 0) -> None:
        """Write a paragraph in one of :data:`STYLES`, folded to the width there is."""
        ...

    def table(self, headers: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
        """Write a table; what is too wide is folded."""
        ...


def paper(given: TextIO | None = None) -> Paper:
    """Return what standard output is.

    Colours and ruled tables need rich (the extra ``cli``) and a terminal; on a pipe a paragraph is
    one line, for grep.
    """
    stream: TextIO = given or sys.stdout
    if not stream.isatty():
        return PlainPaper(stream, None)
    try:
        from rich.console import Console
    except ImportError:
        return PlainPaper(stream, max(shutil.get_terminal_size().columns, _NARROWEST))
    return RichPaper(Console(file=stream, highlight=False))


@final
class PlainPaper:
    """Text without decoration.

    Args:
        width: in characters; ``None`` folds nothing.
    """

    def __init__(self, stream: TextIO, width: int | None) -> None:
        self._stream = stream
        self._width = width

    def write(self, text: str, style: str = "", *, indent: int = 0) -> None:
        margin = " " * indent
        print(self._folded(text, margin) if text else "", file=self._stream)

    def table(self, headers: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
        lines = [tuple(header.upper() for header in headers), *map(tuple, rows)]
        widths = [max(map(len, column)) for column in zip(*lines)]
        if self._width is not None and sum(widths) + 2 * len(widths) > self._width:
            self._records(headers, lines[1:])
            return
        for line in lines:
            cells = [cell.ljust(width) for cell, width in zip(line, widths)]
            print("  ".join(cells).rstrip(), file=self._stream)

    def _records(self, headers: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
        """Write each row below the other: the terminal is too narrow for columns."""
        for row in rows:
            self.write(row[0])
            for header, cell in zip(headers[1:], row[1:]):
                self.write(f"{header}: {cell}", indent=2)

    def _folded(self, text: str, margin: str) -> str:
        if self._width is None:
            return margin + text
        return textwrap.fill(
            text,
            max(self._width, len(margin) + _NARROWEST),
            initial_indent=margin,
            subsequent_indent=margin,
            break_on_hyphens=False,
        )


@final
class RichPaper:
    """A terminal with colours.

    Args:
        console: rich's.
    """

    def __init__(self, console: Any) -> None:
        self._console = console

    def write(self, text: str, style: str = "", *, indent: int = 0) -> None:
        from rich.padding import Padding
        from rich.text import Text

        self._console.print(Padding(Text(text, style=STYLES[style]), (0, 0, 0, indent)))

    def table(self, headers: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
        from rich import box
        from rich.table import Table
        from rich.text import Text

        ruled = Table(box=box.SIMPLE_HEAD, pad_edge=False)
        for header in headers:
            ruled.add_column(header, overflow="fold")
        for row in rows:
            ruled.add_row(*map(Text, row))
        self._console.print(ruled)
