"""What a model's own validators and setters make of a value, found out without an instance.

An instance would do harm: where a validator assigns a relationship, the backref unlinks the row
that the other side has now. So they run on a stand-in that looks like one.
"""

from __future__ import annotations

import dataclasses
import inspect as python_inspect
from typing import Any, Callable

from sqlalchemy.orm import Mapper
from sqlalchemy.orm.base import NO_VALUE

from ._values import MISSING

Read = Callable[[str], Any]


def assigned(mapper: Mapper[Any], name: str, value: Any, attribute: str, read: Read) -> Any:
    """Return what an instance would have in ``attribute`` after ``instance.name = value``.

    Args:
        read: gives what the instance has in its other attributes.

    Returns:
        The value; ``MISSING`` if the assignment does not reach the attribute, or raises: then the
        INSERT will tell.
    """
    if name in mapper.composites:
        return _part_of_composite(mapper.composites[name], value, attribute)
    blank = _Blank(mapper, read)
    try:
        setattr(blank, name, value)
    except Exception:  # whatever user code raises, the INSERT will raise it too
        return MISSING
    values: dict[str, Any] = object.__getattribute__(blank, "_values")
    return values.get(attribute, MISSING)


def is_hybrid(descriptor: Any) -> bool:
    """Whether it is a hybrid property; SQLAlchemy's extension for them need not be imported."""
    kind = getattr(descriptor, "extension_type", None)
    return getattr(kind, "name", None) == "HYBRID_PROPERTY"


class _Blank:
    """Stands for an instance of a model: it has the model's methods, and only plain values."""

    def __init__(self, mapper: Mapper[Any], read: Read) -> None:
        set_plainly = object.__setattr__
        set_plainly(self, "_mapper", mapper)
        set_plainly(self, "_read", read)
        set_plainly(self, "_values", {})

    def __getattribute__(self, name: str) -> Any:
        get = object.__getattribute__
        mapper, values = get(self, "_mapper"), get(self, "_values")
        if name == "__class__":  # isinstance() and super() ask for it
            return mapper.class_
        if name in values:
            return values[name]
        if name in mapper.attrs:
            return get(self, "_read")(name)
        declared = _declared(mapper, name)
        if (isinstance(declared, property) or is_hybrid(declared)) and declared.fget is not None:
            return declared.fget(self)
        if python_inspect.isfunction(declared):
            return declared.__get__(self, mapper.class_)
        return getattr(mapper.class_, name)

    def __setattr__(self, name: str, value: Any) -> None:
        get = object.__getattribute__
        mapper = get(self, "_mapper")
        declared = _declared(mapper, name)
        if name in mapper.synonyms:
            setattr(self, mapper.synonyms[name].name, value)
        elif name in mapper.column_attrs:
            # Validators are such listeners too. Those of a relationship include the backref's.
            for listener in mapper.class_manager[name].dispatch.set:
                value = listener(_State(self), value, NO_VALUE, None)
            get(self, "_values")[name] = value
        elif (isinstance(declared, property) or is_hybrid(declared)) and declared.fset is not None:
            declared.fset(self, value)
        else:
            get(self, "_values")[name] = value


class _State:
    """What an attribute's listeners get in place of the instance's state."""

    def __init__(self, blank: _Blank) -> None:
        self._blank = blank

    def obj(self) -> Any:
        return self._blank


def _declared(mapper: Mapper[Any], name: str) -> Any:
    found = python_inspect.getattr_static(mapper.class_, name, None)
    hybrid = mapper.all_orm_descriptors.get(name)
    return hybrid if is_hybrid(hybrid) else found


def _part_of_composite(composite: Any, value: Any, attribute: str) -> Any:
    if hasattr(value, "__composite_values__"):
        parts = tuple(value.__composite_values__())
    elif dataclasses.is_dataclass(value):
        parts = tuple(getattr(value, field.name) for field in dataclasses.fields(value))
    else:
        return MISSING
    names = [held.key for held in composite.props]
    return parts[names.index(attribute)] if len(parts) == len(names) else MISSING
