"""What a row must satisfy: one of many keys, in as few SELECTs as it takes; and ``where``."""

from __future__ import annotations

from typing import Any, Final, Iterator, Sequence

from sqlalchemy import and_, or_, tuple_
from sqlalchemy.engine import Dialect
from sqlalchemy.sql.elements import ClauseElement, ColumnElement

from ._keys import Key
from ._stored import compared
from .errors import ReuseError

Values = Sequence[Any]


def any_of(key: Key, many: Sequence[Values], dialect: Dialect) -> Iterator[ColumnElement[Any]]:
    """Yield criteria, one a SELECT, that together match the rows that have one of the keys."""
    listed, others = [], []
    as_list = key.plain and (len(key.parts) == 1 or dialect.name in _USES_INDEX_FOR_ROW_VALUES)
    for values in many:
        sent = _sent(key, values, dialect) if as_list else ()
        if not as_list or any(map(_is_special, sent)):
            others.append(values)
        else:
            listed.append(sent)
    columns = [column.column for column in key.columns]
    most = _parameters(dialect) if len(columns) == 1 else _ROW_VALUES
    for some in _portions(listed, most):
        if len(columns) == 1:
            yield columns[0].in_([value for (value,) in some])
        else:
            yield tuple_(*columns).in_(some)
    for some in _portions(others, min(_TERMS, _parameters(dialect) // (2 * len(key.parts)))):
        yield or_(*(_has(key, values) for values in some))


#: SQLite knows row values, but for a list of them it reads the whole table.
_USES_INDEX_FOR_ROW_VALUES: Final = ("postgresql", "mysql", "mariadb")

#: PostgreSQL's parser makes an OR of them, and has a stack of 2 MB by default.
_ROW_VALUES: Final = 1000

#: SQLite takes an expression of depth 1000 at most (sqlite.org, "Implementation Limits").
_TERMS: Final = 500


def _has(key: Key, values: Values) -> ColumnElement[Any]:
    return and_(*(part.criterion(value) for part, value in zip(key.parts, values)))


def _sent(key: Key, values: Values, dialect: Dialect) -> tuple[Any, ...]:
    return tuple(
        compared(column.column.type, dialect.name, value)
        for column, value in zip(key.columns, values)
    )


def _is_special(value: Any) -> bool:
    """Whether the value cannot stand in a list: NULL, or SQL."""
    return value is None or isinstance(value, ClauseElement)


def _parameters(dialect: Dialect) -> int:
    """Return how many parameters a statement may have."""
    known: int = getattr(dialect, "insertmanyvalues_max_parameters", 999)
    return known


def _portions(many: Sequence[Any], size: int) -> Iterator[Sequence[Any]]:
    for start in range(0, len(many), size):
        yield many[start : start + size]


def where_expression(where: Any, model: type, factory: str) -> ColumnElement[Any] | None:
    """Return what ``where=`` demands of a row, as SQL; ``None`` if it demands nothing.

    Args:
        where: an SQL expression, or a callable from the model to one.
        factory: the factory's name, for messages.

    Raises:
        ReuseError: the callable fails, or gives something else.
    """
    if where is None:
        return None
    given: Any = where
    if not hasattr(where, "__clause_element__") and callable(where):
        try:
            given = where(model)
        except Exception as error:
            raise ReuseError(
                f"{factory}: where={where!r} failed for {model.__name__}: {error}. It takes the "
                "model and returns an SQL expression.",
                factory=factory,
                model=model.__name__,
                values={"where": where},
            ) from error
    given = given.__clause_element__() if hasattr(given, "__clause_element__") else given
    if not isinstance(given, ColumnElement):
        raise ReuseError(
            f"{factory}: where= gave {given!r} for {model.__name__}; it must be an SQL expression, "
            "such as Model.deleted_at.is_(None).",
            factory=factory,
            model=model.__name__,
            values={"where": given},
        )
    return given
