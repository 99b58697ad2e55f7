"""What is called, whoever the competitor is, and how factories and functions come to it."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Callable

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from sqlalchemy.orm import Session

    from .models import Factories

    Rows = Iterable[Mapping[str, Any]]


@dataclass(frozen=True)
class Operations:
    """What a competitor does, called with a name or with many rows.

    Attributes:
        find: the category of that name, which is there.
        make: the category of that name, which is not there.
        collide: the same, when another transaction makes it at that moment.
        nest: a new product of the category of that name, which is there.
        find_city: the city of that name, which is there.
        make_city: the city of that name, with its region and its country, none of them there.
        find_all: the categories of these rows, which are there.
        make_all: the categories of these rows, which are not there.
        whole: whether a batch is more than one call after the other.
        forget: drop what is remembered beside the session's transaction.
        why: why an operation is missing, if one would ask.
    """

    find: Callable[[str], Any] | None = None
    make: Callable[[str], Any] | None = None
    collide: Callable[[str], Any] | None = None
    nest: Callable[[str], Any] | None = None
    find_city: Callable[[str], Any] | None = None
    make_city: Callable[[str], Any] | None = None
    find_all: Callable[[Rows], Any] | None = None
    make_all: Callable[[Rows], Any] | None = None
    whole: bool = False
    forget: Callable[[], Any] = lambda: None
    why: Mapping[str, str] = field(default_factory=dict)


def by_factory(made: Factories, **others: Any) -> Operations:
    """Return the operations of one who calls factories, and nothing else."""
    category, product, city = made.category, made.product, made.city

    def one_by_one(rows: Rows) -> None:
        for row in rows:
            category(**row)

    def find(name: str) -> Any:
        return category(name=name)

    def find_city(name: str) -> Any:
        return city(name=name)

    operations: dict[str, Any] = {
        "find": find,
        "make": find,
        "collide": find,
        "nest": lambda name: product(category__name=name),
        "find_city": find_city,
        "make_city": find_city,
        "find_all": one_by_one,
        "make_all": one_by_one,
    }
    return Operations(**{**operations, **others})


def by_function(
    session: Session, made: Factories, ensure: Callable[..., Any], **others: Any
) -> Operations:
    """Return the operations of one who says ``ensure(factory, name)``, and flushes what is new."""
    parents = itertools.count()

    def find(name: str) -> Any:
        return ensure(made.category, name)

    def make(name: str) -> Any:
        obj = ensure(made.category, name)
        session.flush()
        return obj

    def make_city(name: str) -> Any:
        number = next(parents)
        country = ensure(made.country, f"Country {number}")
        region = ensure(made.region, f"Region {number}", country=country)
        city = ensure(made.city, name, region=region)
        session.flush()
        return city

    def find_all(rows: Rows) -> None:
        for row in rows:
            ensure(made.category, **row)

    def make_all(rows: Rows) -> None:
        kept = [ensure(made.category, **row) for row in rows]
        session.flush()
        kept.clear()

    operations: dict[str, Any] = {
        "find": find,
        "make": make,
        "collide": make,
        "nest": lambda name: made.product(category=find(name)),
        "find_city": lambda name: ensure(made.city, name),
        "make_city": make_city,
        "find_all": find_all,
        "make_all": make_all,
    }
    return Operations(**{**operations, **others})
