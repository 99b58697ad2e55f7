"""Values in SQL, as a column would hold them: its type and its collation decide what they equal."""

from __future__ import annotations

from typing import Any

from sqlalchemy import cast, literal
from sqlalchemy.sql.elements import BindParameter, ClauseElement
from sqlalchemy.types import (
    JSON,
    TIMESTAMP,
    Boolean,
    DateTime,
    Enum,
    Float,
    Integer,
    NullType,
    Numeric,
    String,
    Time,
    TypeDecorator,
    TypeEngine,
)

from ._values import is_text


def compared(type_: TypeEngine[Any], dialect: str, value: Any) -> Any:
    """Return what a column of ``type_`` is to be compared with in order to find ``value``.

    A column rounds what it stores, to its scale or to whole seconds, so the value is cast where
    both the column and CAST do so. Drivers differ in what they compare without a cast, so a column
    of text is compared with text.
    """
    type_ = _on(dialect, type_)
    if is_text(type_) and not isinstance(value, str):
        if dialect == "sqlite" and isinstance(value, (bytes, bytearray, memoryview)):
            return literal(value)  # it keeps them as they are, in any column
        # CAST cuts a text to the column's length, where an INSERT refuses it.
        return cast(literal(value), String() if getattr(type_, "length", None) else type_)
    if isinstance(type_, JSON):
        return literal(value, type_)  # else a text would be read as JSON
    rounding = _rounding_type(type_, dialect)
    return value if rounding is None else cast(literal(value, type_), rounding)


def plain_type(type_: TypeEngine[Any]) -> type | None:
    """Return the exact type whose values a column compares with as they are, whatever they are.

    A type of the project's own may look at the value, or be another for each; and ``True`` is no
    parameter.
    """
    own = not type(type_).__module__.startswith("sqlalchemy.")
    if own or isinstance(type_, (TypeDecorator, Enum)):
        return None
    return str if isinstance(type_, String) else int if isinstance(type_, Integer) else None


def stored(type_: TypeEngine[Any], dialect: str, value: Any) -> ClauseElement:
    """Return the SQL of ``value`` with the type and the collation that a column gives it.

    It takes the column's place in an expression, where nothing else tells ``'10'`` from ``10``, or
    how an enumeration is ordered.

    Args:
        value: a Python value, a bound string (a server default), or SQL, which is left as it is.
    """
    if isinstance(value, ClauseElement) and not isinstance(value, BindParameter):
        return value
    element: Any = value if isinstance(value, BindParameter) else literal(value, type_)
    as_type = _cast_type(type_, dialect)
    if as_type is not None:
        element = cast(element, as_type)
    collation = getattr(type_, "collation", None)
    if collation is not None and dialect in ("sqlite", "postgresql"):
        element = element.collate(collation)
    result: ClauseElement = element
    return result


def _on(dialect: str, type_: TypeEngine[Any]) -> TypeEngine[Any]:
    """Return what a type is on the backend: a variant is a type of its own in SQLAlchemy 1.4."""
    if type(type_).__name__ != "Variant":
        return type_
    variant: Any = type_
    result: TypeEngine[Any] = variant.mapping.get(dialect, variant.impl)
    return result


def _rounding_type(type_: TypeEngine[Any], dialect: str) -> TypeEngine[Any] | None:
    if not isinstance(type_, (Numeric, Float, DateTime, Time)):
        return None
    if dialect == "postgresql":
        return type_
    if dialect not in ("mysql", "mariadb"):
        return None
    if isinstance(type_, Float) and type_.__visit_name__ in ("float", "FLOAT"):
        # CAST takes no precision; up to 24 it is single, and a double needs no rounding.
        return Float() if (type_.precision or 0) <= 24 else None
    # CAST knows no REAL or TIMESTAMP, and DATETIME without its precision is another value.
    return None if isinstance(type_, (Float, TIMESTAMP)) else type_


def _cast_type(type_: TypeEngine[Any], dialect: str) -> TypeEngine[Any] | None:
    held: Any = type_.impl if isinstance(type_, TypeDecorator) else type_
    native = isinstance(held, Enum) and held.native_enum
    if dialect == "postgresql":
        # CAST cuts a text to the column's length, where an INSERT refuses it.
        sized = isinstance(held, String) and held.length is not None and not native
        return None if isinstance(held, NullType) else String() if sized else type_
    if dialect == "sqlite":
        # It would make a number of a date, which it keeps as text.
        number = isinstance(held, (Integer, Numeric, Float, Boolean))
        return String() if isinstance(held, String) else type_ if number else None
    return None
