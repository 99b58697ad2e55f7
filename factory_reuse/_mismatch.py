"""A reused row and the values that the caller passed: what differs, and what is done about it."""

from __future__ import annotations

import sys
import warnings
from types import FrameType
from typing import Any, Callable, Final, Iterable, NamedTuple, Sequence

from sqlalchemy import inspect, select
from sqlalchemy.engine import Dialect
from sqlalchemy.exc import InvalidRequestError
from sqlalchemy.orm import InstanceState, Mapper, object_session, with_parent
from sqlalchemy.orm.interfaces import MANYTOONE
from typing_extensions import final

from . import _scope
from ._columns import MappedColumn, mapped_column
from ._values import MISSING, Unsaved, described, same
from .errors import MismatchError, MismatchWarning


@final
class Passed(NamedTuple):
    """A value the caller passed: ``category__name="ZZ"`` has the path ``("category", "name")``.

    Where it is not ``evaluated``, the value is a declaration that would make something new.
    """

    path: tuple[str, ...]
    value: Any
    evaluated: bool = True

    @property
    def name(self) -> str:
        """The name as the caller writes it."""
        return "__".join(self.path)

    @property
    def shown(self) -> str:
        """The value, for messages."""
        return shown(self.value) if self.evaluated else "<a new one>"


@final
class Difference(NamedTuple):
    """A passed value, and the other one that the row has."""

    passed: Passed
    found: Any


def column_behind(mapper: Mapper[Any], name: str) -> MappedColumn | None:
    """Return the column whose value alone the name gives, if it is such a name."""
    for attribute in mapper.column_attrs:
        column = mapped_column(mapper, attribute.columns[0])
        if column is not None and name in column.direct:
            return column
    return None


def differences(obj: Any, passed: Iterable[Passed], dialect: Dialect) -> list[Difference]:
    """Return the passed values that the row contradicts.

    What is no attribute of the model (a constructor's own argument) is not compared.
    """
    found = []
    for item in passed:
        value = _contradiction(obj, item.path, item.value, dialect)
        if value is not MISSING:
            found.append(Difference(item, value))
    return found


def settle(
    obj: Any,
    contradictions: Sequence[Difference],
    others: Sequence[Difference],
    *,
    policy: str,
    factory: str,
    key: str,
    update: Callable[[Sequence[Difference]], None],
) -> None:
    """Apply ``on_mismatch`` to a reused row.

    Args:
        contradictions: differing values of other keys: an error unless they may be assigned.
        others: all other differing values. What is not known to differ says nothing.
        update: assigns the passed values to the row.

    Raises:
        MismatchError: see :class:`~factory_reuse.MismatchError`.
    """
    if policy == "update":
        if contradictions or others:
            update([*contradictions, *others])
        return
    if contradictions:
        raise _error(obj, contradictions, factory, key, _KEY_REMEDY)
    told = [difference for difference in others if difference.found is not _UNKNOWN]
    if told and policy == "raise":
        raise _error(obj, told, factory, key, _REMEDY.format("'keep' or 'update'"))
    if told and policy == "warn":
        remedy = _REMEDY.format("'keep', 'update' or 'raise'")
        _warn(f"{_describe(obj, told, factory, key)} {remedy}")


_REMEDY: Final = (
    "Pass the row's value or none, or choose on_mismatch={}, or call it inside no_reuse()."
)
_KEY_REMEDY: Final = (
    "A unique key was passed that the row does not have. Pass the key of one row, "
    "or choose on_mismatch='update' to change the row."
)


def _contradiction(obj: Any, path: tuple[str, ...], value: Any, dialect: Dialect) -> Any:
    """Return what the object has instead of the value, or ``MISSING`` if nothing speaks for it."""
    mapper = inspect(obj).mapper
    name, rest = path[0], path[1:]
    if rest:
        if name not in mapper.relationships or mapper.relationships[name].uselist:
            return MISSING
        parent = _relative(obj, name)
        return None if parent is None else _contradiction(parent, rest, value, dialect)
    if name in mapper.relationships:
        return _other_relative(obj, mapper.relationships[name], value)
    column = column_behind(mapper, name)
    if column is not None:
        try:
            current = _after_insert(obj, column, getattr(obj, name))
        except Exception:  # a write-only property: nothing can be said
            return MISSING
        type_ = column.column.type
        if same(type_, dialect, current, value):
            return MISSING
        value = column.filled(value) if value is None else value
        if value is MISSING or same(type_, dialect, current, value):
            return MISSING
        wanted, again = (
            column.normalised(name, value, lambda other: getattr(obj, other)) for _ in range(2)
        )
        held = _after_insert(obj, column, getattr(obj, column.attribute))
        if same(type_, dialect, wanted, again) and not same(type_, dialect, held, wanted):
            return current
        return MISSING  # equal as the model holds it; or salted, so that nothing can be said
    if name in mapper.all_orm_descriptors:
        return _other_value(obj, name, value)
    return MISSING


def _after_insert(obj: Any, column: MappedColumn, value: Any) -> Any:
    """Return what a pending object's INSERT will make of its None."""
    if value is not None or inspect(obj).key is not None:
        return value
    filled = column.filled(None)
    return _UNKNOWN if filled is MISSING else filled


class _Unknown:
    def __repr__(self) -> str:
        return "<unknown before it is flushed>"


#: What a pending object's column has that the server, or a function, is going to fill.
_UNKNOWN: Final = _Unknown()


def _other_relative(obj: Any, relationship: Any, value: Any) -> Any:
    if relationship.direction is not MANYTOONE or relationship.viewonly:
        return _other_value(obj, relationship.key, value)
    state = inspect(obj)
    if relationship.key in state.dict:
        current = state.dict[relationship.key]
        return MISSING if current is value else current
    # The foreign key tells without loading the parent.
    columns = [mapped_column(state.mapper, local) for _, local in relationship.synchronize_pairs]
    known = [column for column in columns if column is not None]
    wanted = [
        None if value is None else column.parent_value(value, relationship.key) for column in known
    ]
    agree = [getattr(obj, column.attribute) == want for column, want in zip(known, wanted)]
    if known and all(agree) and not any(isinstance(want, Unsaved) for want in wanted):
        return MISSING
    return _relative(obj, relationship.key)


def _relative(obj: Any, name: str) -> Any:
    """Return the object on the other side, also where the model says ``lazy="raise"``."""
    try:
        return getattr(obj, name)
    except InvalidRequestError:
        session = object_session(obj)
        if session is None:
            raise
        attribute = getattr(type(obj), name)
        statement = select(attribute.property.mapper.class_).where(with_parent(obj, attribute))
        return session.execute(statement).scalars().unique().first()


def _other_value(obj: Any, name: str, value: Any) -> Any:
    try:
        current = getattr(obj, name)
        if isinstance(value, (list, set, tuple)):  # of a collection, an association proxy
            items = list(current)
            equal = len(items) == len(value) and all(item in items for item in value)
        else:
            equal = bool(current == value)
    except Exception:  # a write-only property, or an == that raises: nothing can be said
        return MISSING
    return MISSING if equal else current


def _error(
    obj: Any, found: Sequence[Difference], factory: str, key: str, remedy: str
) -> MismatchError:
    return MismatchError(
        f"{_describe(obj, found, factory, key)} {remedy}",
        factory=factory,
        model=type(obj).__name__,
        values={difference.passed.name: difference.passed.value for difference in found},
        found={difference.passed.name: difference.found for difference in found},
        instance=obj,
    )


def _describe(obj: Any, found: Sequence[Difference], factory: str, key: str) -> str:
    passed = ", ".join(f"{item.passed.name}={item.passed.shown}" for item in found)
    has = ", ".join(f"{item.passed.name}={shown(item.found)}" for item in found)
    return (
        f"{factory} was called with {passed}, but the {type(obj).__name__} that has the key "
        f"({key}) has {has}."
    )


def shown(value: Any) -> str:
    """Return a value for messages: a row by its primary key, which tells two of them apart."""
    state = inspect(value, raiseerr=False)
    if not isinstance(state, InstanceState) or state.identity is None:
        return described(value)
    names = [state.mapper.get_property_by_column(part).key for part in state.mapper.primary_key]
    identity = ", ".join(f"{name}={described(part)}" for name, part in zip(names, state.identity))
    return f"<{type(value).__name__} {identity}>"


_LIBRARIES: Final = ("factory", "factory_reuse", "sqlalchemy", "async_factory_boy")


def _warn(message: str) -> None:
    """Warn at the line of the user's code that made the call."""
    level, caller = _callers_level(), _scope.current().caller
    if level is None and caller is not None:
        warnings.warn_explicit(message, MismatchWarning, *caller)
    else:
        warnings.warn(message, MismatchWarning, stacklevel=level or 1)


def _callers_level() -> int | None:
    """Return the stack level, as seen from the caller of this function, of the user's code."""
    level = 1
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        if is_users(frame):
            return level
        frame = frame.f_back
        level += 1
    return None


def is_users(frame: FrameType) -> bool:
    """Whether a frame is of the user's code."""
    module: str = frame.f_globals.get("__name__", "")
    return module.partition(".")[0] not in _LIBRARIES
