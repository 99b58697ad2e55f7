"""Mapped objects and their values, looked at without asking them; and held to compare later."""

from __future__ import annotations

import datetime
import decimal
import enum
import uuid
import weakref
from typing import Any, Final, NamedTuple

from sqlalchemy import Column
from sqlalchemy.orm import InstanceState, Mapper
from typing_extensions import final

from .._values import described, equal


def state_of(obj: Any) -> InstanceState[Any] | None:
    """Return the state of a mapped object, without asking the object."""
    if "_sa_class_manager" not in vars(type(obj)):
        return None
    try:
        state = vars(obj).get("_sa_instance_state")
    except Exception:  # the project's own
        return None
    return state if isinstance(state, InstanceState) else None


def followed(mapper: Mapper[Any]) -> frozenset[str]:
    """Return the attributes whose values are the project's: not those that change by themselves."""
    known = _FOLLOWED.get(mapper)
    if known is None:
        known = _FOLLOWED[mapper] = frozenset(
            attribute.key
            for attribute in mapper.column_attrs
            if isinstance(attribute.columns[0], Column)
            and attribute.columns[0] is not mapper.version_id_col
            and not any(
                getattr(attribute.columns[0], how) for how in ("onupdate", "server_onupdate")
            )
            and attribute.columns[0].computed is None
        )
    return known


_FOLLOWED: weakref.WeakKeyDictionary[Mapper[Any], frozenset[str]] = weakref.WeakKeyDictionary()


def values_of(state: InstanceState[Any]) -> dict[str, Any]:
    """Return the loaded values of the row's columns, as they are now."""
    loaded = state.dict
    return {name: kept(loaded[name]) for name in followed(state.mapper) if name in loaded}


@final
class Digest(NamedTuple):
    """Stands for a value that is long, or may change, or whose comparison is the project's own."""

    text: str
    hash: int


_PLAIN: Final = (
    *(str, bytes, int, float, bool, type(None), decimal.Decimal, uuid.UUID),
    *(datetime.date, datetime.datetime, datetime.time, datetime.timedelta),
)

#: A text longer than this is kept as its digest.
_LONG: Final = 200


def kept(value: Any) -> Any:
    """Return what stands for a value from now on, whatever becomes of it."""
    kind = type(value)
    if kind in _PLAIN and not (kind in (str, bytes) and len(value) > _LONG):
        return value
    if issubclass(kind, enum.Enum):
        return value
    shows: Any = kind.__repr__
    if shows is object.__repr__:  # which tells where the value is, not what
        return Digest(kind.__name__, 0)
    try:
        text = value if kind in (str, bytes) else repr(value)
    except Exception:  # the project's own
        text = ""
    return Digest(described(value), hash(text))


def told(value: Any) -> str:
    """Return what was kept as text."""
    return value.text if isinstance(value, Digest) else described(value)


def same(old: Any, new: Any) -> bool:
    """Whether two values that were kept are the same."""
    try:
        unequal_to_itself = bool(old != old and new != new)  # NaN
    except Exception:  # a signalling NaN
        unequal_to_itself = type(old) is type(new)
    return old is new or equal(old, new) or unequal_to_itself


#: Stands for a value that was not loaded.
UNKNOWN: Final = object()


def may_be(given: Any, read: Any) -> bool:
    """Whether a value that an attribute was given may be what the database gives back."""
    if same(given, read):
        return True
    known = (given, read)
    return not any(each is None or isinstance(each, Digest) for each in known) and (
        type(given) is not type(read)
    )
