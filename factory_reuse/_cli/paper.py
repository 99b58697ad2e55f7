"""What text is written on: a terminal with colours, a plain one, or a pipe."""

from __future__ import annotations

import os
import shutil
import sys
import textwrap
from typing import Any, Final, Iterable, Sequence, TextIO

from typing_extensions import final

#: The styles that text may have, as rich names them.
STYLES: Final = {
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


def paper(given: TextIO | None = None) -> Paper:
    """Return what a stream is, standard output if none is given.

    Colours and ruled tables need rich (the extra ``cli``) and a terminal, or ``FORCE_COLOR``; on a
    pipe a paragraph is one line, for grep.
    """
    stream: TextIO = given or sys.stdout
    on_terminal = stream.isatty()
    width = max(shutil.get_terminal_size().columns, _NARROWEST) if on_terminal else None
    if not on_terminal and not os.environ.get("FORCE_COLOR"):
        return Paper(stream, width)
    try:
        from rich.console import Console
    except ImportError:
        return Paper(stream, width)
    return Paper(stream, width, Console(file=stream, highlight=False))


@final
class Paper:
    """What a command writes on.

    Args:
        width: in characters; ``None`` folds nothing.
        console: rich's, for colours.
    """

    def __init__(self, stream: TextIO, width: int | None, console: Any = None) -> None:
        self._stream = stream
        self._width = width
        self._console = console

    def write(self, text: str, style: str = "", *, indent: int = 0) -> None:
        """Write a paragraph in one of :data:`STYLES`, folded to the width there is."""
        folded = self._folded(text, " " * indent) if text else ""
        if self._console is None:
            print(folded, file=self._stream)
            return
        from rich.text import Text

        self._console.print(Text(folded, style=STYLES[style]), soft_wrap=True)

    def table(self, headers: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
        """Write a table; where it is too wide, each row below the other."""
        rows = list(rows)
        widths = [max(map(len, column)) for column in zip(headers, *rows)]
        if self._width is not None and sum(widths) + 2 * len(widths) > self._width:
            self._records(headers, rows)
        elif self._console is None:
            for line in ([header.upper() for header in headers], *rows):
                cells = [cell.ljust(width) for cell, width in zip(line, widths)]
                print("  ".join(cells).rstrip(), file=self._stream)
        else:
            self._ruled(headers, rows)

    def _ruled(self, headers: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
        from rich import box
        from rich.table import Table
        from rich.text import Text

        ruled = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
        for header in headers:
            ruled.add_column(header, no_wrap=True)
        for row in rows:
            ruled.add_row(*map(Text, row))
        self._console.print(ruled, soft_wrap=True)

    def _records(self, headers: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
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
