"""The parts a key is made of: a column, an SQL expression over columns, a hybrid, a predicate.

Each part knows where its value comes from in a call, how the database compares it, and what an
object in memory has for it.
"""

from __future__ import annotations

from typing import Any, Callable, Iterable, Mapping, Tuple

from sqlalchemy import Column, Table, and_, null, or_
from sqlalchemy.engine import Dialect
from sqlalchemy.orm import Mapper
from sqlalchemy.sql.elements import BindParameter, ClauseElement, ColumnElement
from sqlalchemy.sql.selectable import Join
from sqlalchemy.sql.visitors import iterate, replacement_traverse
from typing_extensions import Protocol

from ._columns import MappedColumn, mapped_column
from ._stored import compared, plain_type, stored
from ._values import MISSING, Call, Unsaved, alike, fits, same


class Part(Protocol):
    """What every part of a key can do."""

    columns: tuple[MappedColumn, ...]

    @property
    def plain_type(self) -> type | None:
        """The exact type whose values all compare as one bound parameter does, if there is one."""
        ...

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

    def held(self, row: Mapping[MappedColumn, Any]) -> Any:
        """A row's value, in the form :meth:`given` has, or ``MISSING``."""
        ...

    def criterion(self, value: Any) -> ColumnElement[Any]:
        """What a row must satisfy to have the value, or that of a bound parameter."""
        ...

    def fits(self, value: Any) -> bool:
        """Whether the database can surely compare the value."""
        ...

    def matches(self, obj: Any, value: Any, dialect: Dialect) -> bool | None:
        """Whether the object has the value; ``None`` when only the database can tell."""
        ...


class ColumnPart:
    """A column that holds the value itself."""

    def __init__(self, column: MappedColumn, dialect: str, *, nullable: bool = False) -> None:
        self.columns: tuple[MappedColumn, ...] = (column,)
        self.nullable = nullable
        self.plain_type = plain_type(column.column.type)
        self._column = column
        self._dialect = dialect

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
        value = self._column.current(obj)
        return MISSING if isinstance(value, ClauseElement) else value

    def held(self, row: Mapping[MappedColumn, Any]) -> Any:
        return self._column.coerce(row[self._column])

    def criterion(self, value: Any) -> ColumnElement[Any]:
        column: ColumnElement[Any] = self._column.column
        if value is None:
            return column.is_(None)
        if not isinstance(value, BindParameter):
            value = compared(column.type, self._dialect, value)
        result: ColumnElement[Any] = column == value
        return result

    def fits(self, value: Any) -> bool:
        return self._column.fits(value)

    def matches(self, obj: Any, value: Any, dialect: Dialect) -> bool | None:
        current = self.current(obj)
        if current is MISSING:
            return None
        if current is None or value is None:
            return current is value
        if same(self._column.column.type, dialect, current, value):
            return True
        return None if alike(current, value) else False


class ExpressionPart:
    """An SQL expression over columns, as in ``Index("ix", func.lower(email), unique=True)``."""

    plain_type: type | None = None
    nullable = True  # coalesce(parent_id, 0) has a value where its column has none

    def __init__(
        self,
        expression: ColumnElement[Any],
        columns: tuple[MappedColumn, ...],
        dialect: str,
        *,
        equal_nulls: bool = False,
    ) -> None:
        self.columns = columns
        self._expression = expression
        self._dialect = dialect
        self._equal_nulls = equal_nulls

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
        return MISSING if _holds(values, MISSING) else values

    def current(self, obj: Any) -> Any:
        values = tuple(column.current(obj) for column in self.columns)
        return MISSING if _holds(values, MISSING) else values

    def held(self, row: Mapping[MappedColumn, Any]) -> Any:
        values = tuple(column.coerce(row[column]) for column in self.columns)
        return MISSING if _holds(values, MISSING) else values

    def criterion(self, value: Any) -> ColumnElement[Any]:
        wanted = self._with(value)
        result: ColumnElement[Any] = self._expression == wanted
        if self._equal_nulls:
            result = or_(result, and_(self._expression.is_(None), wanted.is_(None)))
        return result

    def fits(self, value: Any) -> bool:
        return all(column.fits(part) for column, part in zip(self.columns, value))

    def matches(self, obj: Any, value: Any, dialect: Dialect) -> bool | None:
        current = self.current(obj)
        if current is MISSING:
            return None
        if _holds(current, None) or _holds(value, None):
            return None
        equal = all(
            same(column.column.type, dialect, left, right)
            for column, left, right in zip(self.columns, current, value)
        )
        return True if equal else None

    def _with(self, values: tuple[Any, ...]) -> ColumnElement[Any]:
        return substitute(self._expression, dict(zip(self.columns, values)), self._dialect)


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


class HybridPart(ExpressionPart):
    """A hybrid that is more than a column in SQL, given by its own name or through its columns."""

    nullable = False

    def __init__(
        self,
        name: str,
        expression: ColumnElement[Any],
        columns: tuple[MappedColumn, ...],
        dialect: str,
    ) -> None:
        super().__init__(expression, columns, dialect)
        self._name = name

    @property
    def label(self) -> str:
        return self._name

    def names(self) -> Iterable[str]:
        return (self._name, *super().names())

    def available(self, call: Call) -> bool:
        return call.has(self._name) or (bool(self.columns) and super().available(call))

    def explicit(self, call: Call) -> bool:
        return call.explicit(self._name) or super().explicit(call)

    def given(self, call: Call) -> Any:
        if call.has(self._name):
            return call.value(self._name)
        values = super().given(call)
        return values if values is MISSING else _OfColumns(values)

    def current(self, obj: Any) -> Any:
        if super().current(obj) is MISSING:
            return MISSING
        try:
            return getattr(obj, self._name)
        except Exception:  # the project's code may not be made for what is not complete yet
            return MISSING

    def held(self, row: Mapping[MappedColumn, Any]) -> Any:
        return MISSING  # what the hybrid has for a row, only its object can tell

    def criterion(self, value: Any) -> ColumnElement[Any]:
        if isinstance(value, _OfColumns):
            return super().criterion(value)
        result: ColumnElement[Any] = self._expression == value
        return result

    def fits(self, value: Any) -> bool:
        if isinstance(value, _OfColumns):
            return super().fits(value)
        return fits(self._expression.type, value)

    def matches(self, obj: Any, value: Any, dialect: Dialect) -> bool | None:
        if isinstance(value, _OfColumns):
            return super().matches(obj, value, dialect)
        current = self.current(obj)
        if current is MISSING:
            return None
        return same(self._expression.type, dialect, current, value)


class _OfColumns(Tuple[Any, ...]):
    """The values of a hybrid's columns, in place of its own."""

    __slots__ = ()


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
    expression: ColumnElement[Any], values: Mapping[MappedColumn, Any], dialect: str
) -> ColumnElement[Any]:
    """Return the expression with values (or SQL) in place of its columns."""
    by_name = {_name(column.column): (column.column, value) for column, value in values.items()}

    def replace(element: Any, **_: Any) -> Any:
        if not isinstance(element, Column) or _name(element) not in by_name:
            return None
        column, value = by_name[_name(element)]
        return null() if value is None else stored(column.type, dialect, value)

    result: ColumnElement[Any] = replacement_traverse(expression, {}, replace)
    return result


def _holds(values: Iterable[Any], item: object) -> bool:
    """Whether the item is among the values; `in` would compare SQL, which makes SQL."""
    return any(value is item for value in values)


def adapted(mapper: Mapper[Any], expression: ColumnElement[Any]) -> ColumnElement[Any]:
    """Return the expression over what a query for the model selects from.

    That is the table itself, unless the model is mapped to a SELECT, or with the classes below it
    that have tables of their own to a UNION of them all.
    """
    if selects_from_tables(mapper):
        return expression

    def replace(element: Any, **_: Any) -> Any:
        column = mapped_column(mapper, element)
        return None if column is None else getattr(mapper.class_, column.attribute).expression

    result: ColumnElement[Any] = replacement_traverse(expression, {}, replace)
    return result


def selects_from_tables(mapper: Mapper[Any]) -> bool:
    """Whether a query for the model selects from its tables, and nothing made of them."""
    return isinstance(mapper.selectable, (Table, Join))


def unsaved_in(value: Any) -> bool:
    """Whether a part's value stands for a parent that has no row yet."""
    return isinstance(value, Unsaved) or (
        isinstance(value, tuple) and any(isinstance(part, Unsaved) for part in value)
    )


def _name(column: Any) -> tuple[Any, str]:
    return getattr(column.table, "fullname", None), column.name
