"""Values: what a call gives, and when two of them are the same to the database."""

from __future__ import annotations

import datetime
import decimal
import enum
import math
import unicodedata
import uuid
from typing import Any, Callable, Final, Hashable

from sqlalchemy import inspect
from sqlalchemy.engine import Dialect
from sqlalchemy.sql.elements import ClauseElement
from sqlalchemy.types import JSON, Enum, Numeric, TypeDecorator, TypeEngine
from typing_extensions import Protocol, final


@final
class Missing:
    """The type of :data:`MISSING`."""

    def __repr__(self) -> str:
        return "<missing>"


#: No value: not given, not loaded, or known only after the INSERT.
MISSING: Final = Missing()


@final
class Unsaved:
    """The key value that a parent without a row will have: equal to itself alone.

    ``known`` is the value, where the parent has been given it already.
    """

    __slots__ = ("known", "parent")

    def __init__(self, parent: object, known: Any = MISSING) -> None:
        self.parent = parent
        self.known = known

    @property
    def is_saved(self) -> bool:
        """Whether the parent has got its row since."""
        state: Any = inspect(self.parent)
        return state.key is not None

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Unsaved) and other.parent is self.parent

    def __hash__(self) -> int:
        return id(self.parent)

    def __repr__(self) -> str:
        return f"<unsaved {type(self.parent).__name__}>"


class Call(Protocol):
    """What one factory call gives, by the names of the model's attributes."""

    @property
    def factory(self) -> str:
        """The factory's name, for messages."""
        ...

    def has(self, name: str) -> bool:
        """Whether the factory declares the attribute, or the caller passed it."""
        ...

    def explicit(self, name: str) -> bool:
        """Whether the caller passed it."""
        ...

    def makes(self, name: str) -> bool:
        """Whether evaluating it runs a SubFactory."""
        ...

    def value(self, name: str) -> Any:
        """Its value, evaluated at most once; ``MISSING`` when the declaration skips it.

        Raises:
            NoParent: it would be made by a SubFactory, while the call only looks.
        """
        ...


class NoParent(Exception):
    """A key's SubFactory has no row, so no row can have the key."""


def coerce(type_: TypeEngine[Any], value: Any) -> Any:
    """Return ``value`` as a column of ``type_`` would give it back, where that is certain.

    Drivers differ in what they compare without a cast (PostgreSQL has no ``varchar = integer``,
    and to MariaDB ``'1x' = 1``), while all of them take the same values in an INSERT.

    Returns:
        The value converted; unchanged, if nothing is known of it; ``MISSING``, if the column
        cannot hold it, so that no row has it.
    """
    convert = _CONVERSIONS.get(_python_type(type_))
    if convert is None or value is None or isinstance(value, (Unsaved, ClauseElement)):
        return value
    try:
        return convert(value)
    except Exception:  # whatever the conversion, or a value of the project's own, raises
        return MISSING


def exact_type(type_: TypeEngine[Any]) -> type | None:
    """Return the type whose instances every column of the type can hold, if there is one."""
    kind = _python_type(type_)
    return kind if kind in _CONVERSIONS and kind is not decimal.Decimal else None


def fits(type_: TypeEngine[Any], value: Any) -> bool:
    """Whether every database can compare a column of the type with the value.

    A type that converts values by itself is believed to make something of those that the type
    behind it takes.
    """
    if value is None or isinstance(value, ClauseElement):
        return True
    if isinstance(type_, JSON):
        return type(type_).__name__ == "JSONB"  # PostgreSQL has no json = json
    if isinstance(type_, Enum):
        return isinstance(value, type_.enum_class or ()) or (
            type(value) is str and value in type_.enums
        )
    if isinstance(type_, Numeric) and type_.precision is not None and type_.asdecimal:
        most = 10 ** (type_.precision - (type_.scale or 0))
        return isinstance(value, decimal.Decimal) and value.is_finite() and abs(value) < most
    held: Any = type_.impl if isinstance(type_, TypeDecorator) else type_
    expected = _python_type(held)
    return expected is None or isinstance(value, expected)


def is_text(type_: TypeEngine[Any]) -> bool:
    """Whether a column of the type holds plain text."""
    return _python_type(type_) is str


def alike(left: Any, right: Any) -> bool:
    """Whether two values are texts that some collation takes for equal; only a database knows."""
    return isinstance(left, str) and isinstance(right, str) and _folded(left) == _folded(right)


def same(type_: TypeEngine[Any], dialect: Dialect, left: Any, right: Any) -> bool:
    """Whether both values are the same once stored in a column of ``type_``."""
    if left is right:
        return True
    if left is None or right is None:
        return False
    known = coerce(type_, left), coerce(type_, right)
    if not any(value is MISSING for value in known) and equal(*known):
        return True
    return equal(_bound(type_, dialect, left), _bound(type_, dialect, right))


def freeze(value: Any) -> Hashable | None:
    """Return what stands for ``value`` in a cache key, or ``None`` when nothing safely does.

    Only exact built-in types: their equality and hash can neither change nor lie. The type is part
    of it, since ``1 == True == 1.0`` and columns tell them apart.
    """
    kind = type(value)
    if kind in _SAFE:
        return (kind, value)
    if kind is float:
        return (kind, repr(value)) if value == value else None
    if kind is decimal.Decimal:
        # As written, since a column of text tells 1.0 from 1.00.
        return (kind, str(value)) if not value.is_nan() else None
    if kind in (datetime.datetime, datetime.time):
        # Equal instants in two time zones are not the same in a column without a zone.
        return (kind, value) if value.tzinfo is None else None
    if isinstance(value, enum.Enum):
        return (kind, value.name)
    if kind is tuple:
        parts = frozen(value)
        return None if parts is None else (kind, parts)
    return None


def frozen(values: tuple[Any, ...]) -> tuple[Hashable, ...] | None:
    """Return what stands for the values in a cache key; ``None`` when :func:`freeze` has none."""
    kinds = tuple(map(type, values))
    if _SAFE.issuperset(kinds):
        return (*kinds, *values)  # one tuple: the fewer objects, the less garbage collection
    parts = tuple(map(freeze, values))
    return None if None in parts else parts


def is_safe(value: Any) -> bool:
    """Whether :func:`freeze` has something that stands for the value."""
    return type(value) in _SAFE or freeze(value) is not None


#: Types whose values stand for themselves, together with their type.
_SAFE: Final = frozenset((str, int, bool, bytes, uuid.UUID, datetime.date, Unsaved, type(None)))


def folded(value: Any) -> Any:
    """Return what equal values have in common, and texts that some collation takes for equal.

    >>> folded(("Éclair ", 1)) == folded(("eclair", 1))
    True
    """
    if isinstance(value, str):
        return _folded(value)
    return tuple(map(folded, value)) if isinstance(value, tuple) else value


def described(value: Any) -> str:
    """Return a value for messages, cut where it is long."""
    try:
        text = repr(value)
    except Exception:  # a value of the project's own, or an integer with too many digits
        text = f"<{type(value).__name__} that has no repr>"
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."


_LONGEST: Final = 200


def _bound(type_: TypeEngine[Any], dialect: Dialect, value: Any) -> Any:
    """Return the value as the driver would get it."""
    try:
        process = type_.dialect_impl(dialect).bind_processor(dialect)
        return value if process is None else process(value)
    except Exception:  # the type refuses the value: then it is equal to nothing stored
        return object()


def equal(left: Any, right: Any) -> bool:
    """Whether two values are equal to Python; what cannot be compared is not."""
    try:
        return bool(left == right)
    except Exception:  # objects whose == raises, or answers with an array
        return False


def _folded(text: str) -> str:
    if text.isascii():
        return text.casefold().rstrip()
    # Case, accents and trailing spaces are what collations pass over.
    pieces = unicodedata.normalize("NFKD", text.casefold())
    return "".join(piece for piece in pieces if not unicodedata.combining(piece)).rstrip()


def _python_type(type_: TypeEngine[Any]) -> Any:
    if type(type_).__name__ == "Variant":  # SQLAlchemy 1.4's, of types that 2.0 leaves as they are
        type_ = getattr(type_, "impl", type_)
    if isinstance(type_, (TypeDecorator, Enum)):
        return None  # they convert by themselves
    try:
        return type_.python_type
    except NotImplementedError:  # documented: what python_type raises where a type names none
        return None


def _to_int(value: Any) -> int:
    if isinstance(value, str) and ("_" in value or not value.isascii()):
        raise ValueError(value)  # a number to Python alone
    if isinstance(value, float):
        value = float.__pos__(value)  # without what a subclass says of equality
    number = int(value)
    if not isinstance(value, (str, int)) and not equal(number, value):
        raise ValueError(value)
    return number


def _to_bool(value: Any) -> Any:
    number = type(value) in (int, float, decimal.Decimal)
    return bool(value) if number and value in (0, 1) else value  # as SQLAlchemy's Boolean does


def _to_decimal(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return value  # drivers send an infinite Decimal as NaN
    return decimal.Decimal(str(value))


def _to_str(value: Any) -> Any:
    if isinstance(value, enum.Enum) and not isinstance(value, str):
        raise TypeError(value)
    return str(value) if type(value) is int else value


def _to_date(value: Any) -> Any:
    return value.date() if isinstance(value, datetime.datetime) else value


_CONVERSIONS: Final[dict[Any, Callable[[Any], Any]]] = {
    bool: _to_bool,
    int: _to_int,
    str: _to_str,
    datetime.date: _to_date,
    float: float,
    decimal.Decimal: _to_decimal,
    uuid.UUID: lambda value: value if isinstance(value, uuid.UUID) else uuid.UUID(value),
}
