"""What the expressions of a ``_create`` stand for while it is followed."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from enum import Enum
from typing import Tuple

from typing_extensions import final

#: The fields that are compared, in alternatives: ``(("a",), ("b", "c"))`` is a, or b and c.
Fields = Tuple[Tuple[str, ...], ...]


class Stop(Exception):
    """Here understanding ends; the reason is a sentence for the user."""

    def __init__(self, node: ast.AST, reason: str) -> None:
        super().__init__(reason)
        self.line: int = getattr(node, "lineno", 0)
        self.reason = reason


class Value:
    """Anything that an expression can stand for."""


@final
class Given(Value, Enum):
    """What there is before the first statement."""

    CLS = "the factory"
    META = "its options"
    MODEL = "its model"
    ARGS = "the positional arguments"
    KWARGS = "the keyword arguments"
    SUPER = "super()"


@final
@dataclass(frozen=True)
class Constant(Value):
    """A literal."""

    value: object


NOTHING = Constant(None)


@final
@dataclass(frozen=True)
class Items(Value):
    """A tuple or list, item by item."""

    values: tuple[Value, ...]


@final
@dataclass(frozen=True)
class Named(Value):
    """A dictionary with constant keys, or keyword arguments."""

    values: tuple[tuple[str, Value], ...]


@final
@dataclass(frozen=True)
class Passed(Value):
    """The value that the model gets for a field: ``kwargs["name"]``."""

    field: str


@final
@dataclass(frozen=True)
class Outside(Value):
    """What comes from outside of the method: most likely a session, or a function.

    Attributes:
        source: the expression, a dotted name with or without an empty call. For the factory's own
            session ``None``.
        local: whether it is imported inside the method.
    """

    source: str | None
    local: bool = False


OWN = Outside(None)


@final
@dataclass(frozen=True)
class Column(Value):
    """An attribute of the model."""

    field: str


@final
@dataclass(frozen=True)
class Criterion(Value):
    """An SQL expression that compares fields with what is passed for them."""

    fields: Fields

    def both(self, other: Criterion) -> Criterion:
        """Return this and the other, as alternatives again."""
        return Criterion(
            tuple(tuple(dict.fromkeys(a + b)) for a in self.fields for b in other.fields)
        )

    def either(self, other: Criterion) -> Criterion:
        """Return this or the other."""
        return Criterion(tuple(dict.fromkeys(self.fields + other.fields)))


EVERY_ROW = Criterion(((),))


@final
@dataclass(frozen=True)
class Query(Value):
    """A query for the model's rows.

    Attributes:
        session: what will run it, if that is known already.
        ran: whether it was run; then this is its result.
        scalars: whether the result gives the model's objects, not rows of one.
        primary: whether it goes by the primary key, whatever that is.
    """

    criterion: Criterion
    session: Outside | None = None
    ran: bool = False
    scalars: bool = True
    primary: bool = False


@final
@dataclass(frozen=True)
class Cache(Value):
    """A dictionary that begins empty and outlives the call."""

    name: str
    of_class: bool


@final
@dataclass(frozen=True)
class Found(Value):
    """A row that was found, by a query or in a cache."""

    fields: Fields


@final
@dataclass(frozen=True)
class Made(Value):
    """The new object; the model's own, or that of ``super()._create``."""

    by_super: bool


@final
@dataclass(frozen=True)
class Block(Value):
    """A context manager that changes little: ``no_autoflush``, or ``begin_nested()``.

    Attributes:
        flushes: whether its end flushes, as that of the latter does.
    """

    flushes: bool = False
