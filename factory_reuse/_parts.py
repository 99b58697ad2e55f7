"""The parts a key is made of: a column, an SQL expression over columns, a hybrid, a predicate.

Each part knows where its value comes from in a call, how the database compares it, and what an
object in memory has for it.
"""

from __future__ import annotations

from typing import Any, Callable, Iterable, Mapping

from sqlalchemy import Column, cast, literal, null
from sqlalchemy.engine import Dialect
from sqlalchemy.sql.elements import ClauseElement, ColumnElement
from sqlalchemy.sql.visitors import iterate, replacement_traverse
from typing_extensions import Protocol

from ._columns import MappedColumn
from ._values import MISSING, Call, Unsaved, needs_cast, same


class Part(Protocol):
    """What every part of a key can do."""

    columns: tuple[MappedColumn, ...]

    @property
    def label(self) -> str:
        """The part's name, for messages."""
        ...

    @property
    def nullable(self) -> bool:
        """Whether a row may be found by NULL here."""
        ...

    def names(self) -> Iterable[str]:
        """The attribute names under which a call may give it."""
        ...

    def available(self, call: Call) -> bool:
        """Whether the call can give a value."""
        ...

    def explicit(self, call: Call) -> bool:
        """Whether the caller passed it."""
        ...

    def given(self, call: Call) -> Any:
        """The call's value, or ``MISSING``."""
        ...

    def current(self, obj: Any) -> Any:
        """The object's value, in the form :meth:`given` has; loads nothing."""
        ...

    def criterion(self, value: Any) -> ColumnElement[Any]:
        """What a row must satisfy to have the value."""
        ...

    def matches(self, obj: Any, value: Any, dialect: Dialect) -> bool | None:
        """Whether the object has the value; ``None`` when only the database can tell."""
        ...


class ColumnPart:
    """A column that holds the value itself."""

    def __init__(self, column: MappedColumn, *, nullable: bool = False) -> None:
        self.columns: tuple[MappedColumn, ...] = (column,)
        self.nullable = nullable
        self._column = column

    @property
    def label(self) -> str:
        return self._column.attribute

    def names(self) -> Iterable[str]:
        return self._column.names()

    def available(self, call: Call) -> bool:
        return self._column.foreseeable(call) if self.nullable else self._column.available(call)

    def explicit(self, call: Call) -> bool:
        return self._column.explicit(call)

    def given(self, call: Call) -> Any:
        value = self._column.inserted(call) if self.nullable else self._column.given(call)
        return MISSING if isinstance(value, ClauseElement) else value

    def current(self, obj: Any) -> Any:
        return self._column.current(obj)

    def criterion(self, value: Any) -> ColumnElement[Any]:
        column: ColumnElement[Any] = self._column.column
        if value is None:
            return column.is_(None)
        if needs_cast(column.type, value):
            value = cast(literal(value), column.type)
        result: ColumnElement[Any] = column == value
        return result

    def matches(self, obj: Any, value: Any, dialect: Dialect) -> bool | None:
        current = self.current(obj)
        if current is MISSING or isinstance(current, ClauseElement):
            return None
        if current is None or value is None:
            return current is value
        return same(self._column.column.type, dialect, current, value)


class ExpressionPart:
    """An SQL expression over columns, as in ``Index("ix", func.lower(email), unique=True)``."""

    nullable = True  # coalesce(parent_id, 0) has a value where its column has none

    def __init__(self, expression: ColumnElement[Any], columns: tuple[MappedColumn, ...]) -> None:
        self.columns = columns
        self._expression = expression

    @property
    def label(self) -> str:
        return str(self._expression)

    def names(self) -> Iterable[str]:
        return tuple(name for column in self.columns for name in column.names())

    def available(self, call: Call) -> bool:
        return all(column.foreseeable(call) for column in self.columns)

    def explicit(self, call: Call) -> bool:
        return any(column.explicit(call) for column in self.columns)

    def given(self, call: Call) -> Any:
        values = tuple(column.inserted(call) for column in self.columns)
        return MISSING if MISSING in values else values

    def current(self, obj: Any) -> Any:
        values = tuple(column.current(obj) for column in self.columns)
        return MISSING if MISSING in values else values

    def criterion(self, value: Any) -> ColumnElement[Any]:
        result: ColumnElement[Any] = self._expression == self._with(value)
        return result

    def matches(self, obj: Any, value: Any, dialect: Dialect) -> bool | None:
        current = self.current(obj)
        if current is MISSING:
            return None
        if None in current or None in value:
            return None
        equal = all(
            same(column.column.type, dialect, left, right)
            for column, left, right in zip(self.columns, current, value)
        )
        return True if equal else None

    def _with(self, values: tuple[Any, ...]) -> ColumnElement[Any]:
        return substitute(self._expression, dict(zip(self.columns, values)))


class PredicatePart(ExpressionPart):
    """The predicate of a partial index: the row found and the new row must both satisfy it."""

    def available(self, call: Call) -> bool:
        return True

    def explicit(self, call: Call) -> bool:
        return False

    def criterion(self, value: Any) -> ColumnElement[Any]:
        both: ColumnElement[Any] = self._expression & self._with(value)
        return both

    def matches(self, obj: Any, value: Any, dialect: Dialect) -> bool | None:
        return None


class HybridPart:
    """A hybrid that is more than a column in SQL; the factory gives it by its own name."""

    nullable = False

    def __init__(
        self, name: str, expression: ColumnElement[Any], columns: tuple[MappedColumn, ...]
    ) -> None:
        self.columns = columns
        self._name = name
        self._expression = expression

    @property
    def label(self) -> str:
        return self._name

    def names(self) -> Iterable[str]:
        return (self._name,)

    def available(self, call: Call) -> bool:
        return call.has(self._name)

    def explicit(self, call: Call) -> bool:
        return call.explicit(self._name)

    def given(self, call: Call) -> Any:
        return call.value(self._name) if call.has(self._name) else MISSING

    def current(self, obj: Any) -> Any:
        if any(column.current(obj) is MISSING for column in self.columns):
            return MISSING
        return getattr(obj, self._name)

    def criterion(self, value: Any) -> ColumnElement[Any]:
        result: ColumnElement[Any] = self._expression == value
        return result

    def matches(self, obj: Any, value: Any, dialect: Dialect) -> bool | None:
        current = self.current(obj)
        if current is MISSING:
            return None
        return same(self._expression.type, dialect, current, value)


def columns_in(
    expression: ClauseElement, view: Callable[[Column[Any]], MappedColumn | None]
) -> tuple[MappedColumn, ...] | None:
    """Return the mapped columns that an SQL expression reads, or ``None`` if it reads others."""
    found = []
    for element in iterate(expression):
        if isinstance(element, Column):
            column = view(element)
            if column is None:
                return None
            if column not in found:
                found.append(column)
    return tuple(found)


def substitute(
    expression: ColumnElement[Any], values: Mapping[MappedColumn, Any]
) -> ColumnElement[Any]:
    """Return the expression with values (or SQL) in place of its columns."""
    by_name = {_name(column.column): (column.column, value) for column, value in values.items()}

    def replace(element: Any, **_: Any) -> Any:
        if not isinstance(element, Column) or _name(element) not in by_name:
            return None
        column, value = by_name[_name(element)]
        if isinstance(value, ClauseElement):
            return value
        return null() if value is None else literal(value, type_=column.type)

    result: ColumnElement[Any] = replacement_traverse(expression, {}, replace)
    return result


def unsaved_in(value: Any) -> bool:
    """Whether a part's value stands for a parent that has no row yet."""
    return isinstance(value, Unsaved) or (
        isinstance(value, tuple) and any(isinstance(part, Unsaved) for part in value)
    )


def _name(column: Any) -> tuple[Any, str]:
    return getattr(column.table, "fullname", None), column.name
