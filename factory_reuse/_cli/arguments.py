"""``key=value`` on the command line as values of the model."""

from __future__ import annotations

import ast
import datetime
import decimal
import enum
import uuid
from typing import Any, Callable, Final, Iterable

from sqlalchemy import inspect
from sqlalchemy.orm import Mapper

from factory_reuse.errors import ReuseError

_TRUTHS: Final = {"true": True, "1": True, "false": False, "0": False}

#: How the text of a value becomes one of the column's Python type.
_READERS: Final[dict[type, Callable[[str], Any]]] = {
    str: str,
    int: int,
    float: float,
    bool: lambda text: _TRUTHS[text.lower()],
    datetime.datetime: datetime.datetime.fromisoformat,
    datetime.date: datetime.date.fromisoformat,
    datetime.time: datetime.time.fromisoformat,
    decimal.Decimal: decimal.Decimal,
    uuid.UUID: uuid.UUID,
}


def values_of(factory: Any, arguments: Iterable[str]) -> dict[str, Any]:
    """Return the keyword arguments of a call.

    The model's column decides what a text means, so ``code=01`` stays a text where the column is
    one; else it is a Python literal where it can be read as one, and a text where it cannot.

    Raises:
        ReuseError: an argument is not ``key=value``, or no value of its column.
    """
    given = {}
    for argument in arguments:
        name, equals, text = argument.partition("=")
        if not equals or not name.isidentifier():
            raise ReuseError(f"{argument!r} is not key=value.")
        if name in given:
            raise ReuseError(f"{name} is given twice.")
        given[name] = _value(factory, name, text)
    return given


def _value(factory: Any, name: str, text: str) -> Any:
    wanted = _python_type(factory, name)
    if text == "None":
        return None
    try:
        if wanted is not None and issubclass(wanted, enum.Enum):
            return wanted[text]
        if wanted in _READERS:
            return _READERS[wanted](text)
    except (ValueError, KeyError, ArithmeticError) as error:
        raise ReuseError(f"{name}={text!r} is no {getattr(wanted, '__name__', wanted)}.") from error
    try:
        return ast.literal_eval(text.title() if text.lower() in ("true", "false") else text)
    except (ValueError, SyntaxError):
        return text


def _python_type(factory: Any, name: str) -> type | None:
    """Return the type of the column that a name, ``category__name`` too, stands for."""
    mapper: Any = inspect(factory._meta.get_model_class(), raiseerr=False)
    *path, last = name.split("__")
    for step in path:
        if not isinstance(mapper, Mapper) or step not in mapper.relationships:
            return None
        mapper = mapper.relationships[step].mapper
    if not isinstance(mapper, Mapper) or last not in mapper.column_attrs:
        return None
    try:
        found: type = mapper.column_attrs[last].columns[0].type.python_type
    except NotImplementedError:  # documented: what python_type raises where a type names none
        return None
    return found
