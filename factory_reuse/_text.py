"""SQL given as text, as in ``postgresql_where=text("deleted_at IS NULL")``: finds its columns."""

from __future__ import annotations

import re
from typing import Any, Callable, Final, Iterable

from sqlalchemy import Table
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.elements import ClauseElement, ColumnElement
from typing_extensions import final

# The patterns are compiled when there is a text: few projects have one.
_COMMENT: Final = r"""(?sx) ('(?:[^']|'')*') | --[^\n]* | /\*.*?\*/"""

#: A quoted string, the type of a cast, a quoted name, a plain name, or any other character.
_PIECES: Final = r"""(?six)
    '(?:[^']|'')*' | ::\s*\w+ | \bAS\s+\w+
    | "(?:[^"]|"")*" | `[^`]*` | \[[^]\s]*\] | [A-Za-z_]\w* | ."""

#: What can be compared as it stands: a name, or one function of something.
_VALUE: Final = r'\s*[\w."`\[\]]+\s*'


@final
class TextExpression(ColumnElement):  # type: ignore[type-arg]  # in SQLAlchemy 1.4 ColumnElement has no [Any]: a TypeError
    """Text in which a table's columns are columns, so that they can be qualified and replaced."""

    inherit_cache = False

    def __init__(self, text: str, table: Table) -> None:
        self.pieces: list[str | ClauseElement] = []
        columns = {column.name.lower(): column for column in table.columns}
        # A backslash keeps SQLAlchemy from taking what follows a colon for a parameter.
        text = re.sub(_COMMENT, lambda match: match.group(1) or " ", text.replace(r"\:", ":"))
        found = [piece.group() for piece in re.finditer(_PIECES, text)]
        for position, piece in enumerate(found):
            column = columns.get(piece.strip('"`[]').lower())
            calls = "".join(found[position + 1 :]).lstrip().startswith("(")
            if column is None or calls:
                self.pieces.append(piece)
                continue
            if self.pieces[-1:] == ["."]:
                del self.pieces[-2:]  # the table's name, which the column brings itself
            self.pieces.append(column)

    @classmethod
    def of_value(cls, text: str, table: Table) -> TextExpression | None:
        """Return the expression of an index; ``None`` where it is more than a value (an order)."""
        called = text.strip()
        if called.endswith(")"):
            called = called[: _opening(called)]
        return cls(text, table) if re.fullmatch(_VALUE, called) else None

    def get_children(self, **options: Any) -> Iterable[Any]:
        return [piece for piece in self.pieces if isinstance(piece, ClauseElement)]

    def _copy_internals(self, **options: Any) -> None:
        clone: Callable[..., Any] = options.pop("clone")
        self.pieces = [
            clone(piece, **options) if isinstance(piece, ClauseElement) else piece
            for piece in self.pieces
        ]


def _opening(text: str) -> int:
    """Return where the parenthesis opens that the text's last character closes."""
    depth = 0
    for position in range(len(text) - 1, -1, -1):
        depth += {")": 1, "(": -1}.get(text[position], 0)
        if depth == 0:
            return position
    return 0


@compiles(TextExpression)
def _compile(element: TextExpression, compiler: Any, **options: Any) -> str:
    pieces = [
        # A percent sign is doubled for drivers that format the statement.
        compiler.post_process_text(piece)
        if isinstance(piece, str)
        else compiler.process(piece, **options)
        for piece in element.pieces
    ]
    return f"({''.join(pieces)})"
