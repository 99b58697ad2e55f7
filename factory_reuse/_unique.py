"""The unique constraints and indexes of a table, as the parts of keys."""

from __future__ import annotations

from typing import Any, Final, Iterable, Iterator

from sqlalchemy import Column, UniqueConstraint, text
from sqlalchemy.orm import Mapper
from sqlalchemy.sql.elements import (
    BindParameter,
    ColumnClause,
    ColumnElement,
    TextClause,
    UnaryExpression,
)
from sqlalchemy.sql.visitors import replacement_traverse

from ._columns import mapped_column
from ._parts import ColumnPart, ExpressionPart, Part, PredicatePart, columns_in
from ._text import TextExpression


def unique_parts(
    mapper: Mapper[Any], table: Any, dialect: str
) -> Iterator[tuple[list[Part], str | None]]:
    """Yield the parts of each unique constraint or index, and its name.

    What SQLAlchemy does not make on the backend, what has a column that is not mapped, and an
    index over the columns of another key are left out.
    """
    seen = set()
    for constraint in table.constraints:
        if isinstance(constraint, UniqueConstraint) and is_made(constraint, dialect):
            equal_nulls = _nulls_not_distinct(constraint, dialect)
            parts = _parts(mapper, table, constraint.columns, dialect, equal_nulls=equal_nulls)
            if parts is not None and (frozenset(constraint.columns), equal_nulls) not in seen:
                seen.add((frozenset(constraint.columns), equal_nulls))
                yield parts, _text(constraint.name)
    for index in table.indexes:
        if not index.unique or not is_made(index, dialect):
            continue
        equal_nulls = _nulls_not_distinct(index, dialect)
        parts = _parts(mapper, table, index.expressions, dialect, equal_nulls=equal_nulls)
        predicate = _predicate(index, table, dialect)
        plain = (frozenset(index.columns), equal_nulls) if predicate is None else None
        if parts is None or (_all_plain(parts) and plain in seen):
            continue
        if predicate is not None:
            columns = columns_in(predicate, lambda column: mapped_column(mapper, column))
            if columns is None:
                continue
            parts.append(PredicatePart(predicate, columns, dialect))
        elif _all_plain(parts):
            seen.add((frozenset(index.columns), equal_nulls))
        yield parts, _text(index.name)


def _parts(
    mapper: Mapper[Any], table: Any, expressions: Iterable[Any], dialect: str, *, equal_nulls: bool
) -> list[Part] | None:
    """Return a part for each element of a constraint, or ``None`` where one is out of reach."""
    parts: list[Part] = []
    for expression in expressions:
        while isinstance(expression, UnaryExpression) and expression.modifier is not None:
            expression = expression.element  # DESC and NULLS LAST order the index, no more
        if isinstance(expression, Column):
            column = mapped_column(mapper, expression)
            if column is None:
                return None
            parts.append(ColumnPart(column, dialect, nullable=equal_nulls))
            continue
        written = _text_of(expression)
        if written is not None:
            expression = TextExpression.of_value(written, table)
        if isinstance(expression, ColumnElement):
            expression = _as_in_ddl(expression, table)
            columns = columns_in(expression, lambda column: mapped_column(mapper, column))
            if not columns:
                return None
            parts.append(ExpressionPart(expression, columns, dialect, equal_nulls=equal_nulls))
        else:
            return None
    return parts


def _as_in_ddl(expression: ColumnElement[Any], table: Any) -> ColumnElement[Any]:
    """Return an index's expression as CREATE INDEX has it: its values, and the table's columns.

    A bound value has the type that its column had when the index was declared, and that may not
    have been its own yet: PostgreSQL knows no ``enum = varchar``. A name alone, ``column("name")``,
    is the table's column to the database.
    """

    def write_out(element: Any, **_: Any) -> Any:
        if isinstance(element, BindParameter):
            return element.render_literal_execute()
        written = _text_of(element)
        if written is not None:
            return TextExpression(written, table)
        if isinstance(element, ColumnClause) and element.table is None:
            return table.columns.get(element.name)
        return None

    result: ColumnElement[Any] = replacement_traverse(expression, {}, write_out)
    return result


def _text_of(element: Any) -> str | None:
    """Return the SQL that ``text()`` or ``literal_column()`` was given; of others, ``None``."""
    if isinstance(element, ColumnClause):
        return str(element.name) if element.is_literal else None
    return str(element.text) if isinstance(element, TextClause) else None


def _predicate(index: Any, table: Any, dialect: str) -> ColumnElement[Any] | None:
    options = index.dialect_options[dialect] if dialect in PARTIAL else {}
    where: Any = options.get("where")
    if hasattr(where, "__clause_element__"):
        where = where.__clause_element__()
    if isinstance(where, str):
        where = text(where)
    return None if where is None else _as_in_ddl(where, table)


#: Backends with partial indexes; elsewhere SQLAlchemy makes the same index without the predicate.
PARTIAL: Final = ("postgresql", "sqlite")


def is_made(constraint: Any, dialect: str) -> bool:
    """Whether this database has it, by ``ddl_if(dialect=...)``; SQLAlchemy 1.4 knows no such."""
    condition = getattr(constraint, "_ddl_if", None)
    only: Any = None if condition is None else condition.dialect
    return only is None or dialect in ((only,) if isinstance(only, str) else only)


def _nulls_not_distinct(constraint: Any, dialect: str) -> bool:
    """Whether NULLs are equal here: ``postgresql_nulls_not_distinct`` (PostgreSQL 15)."""
    return dialect == "postgresql" and bool(
        constraint.dialect_kwargs.get("postgresql_nulls_not_distinct")
    )


def _all_plain(parts: Iterable[Part]) -> bool:
    return all(isinstance(part, ColumnPart) for part in parts)


def _text(name: Any) -> str | None:
    return str(name) if isinstance(name, str) else None
