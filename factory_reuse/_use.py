"""Calls that say more than ``create`` does: whether the row was there, and what would be reused."""

from __future__ import annotations

from typing import Any, TypeVar

from factory import enums
from factory.base import BaseFactory

from . import _scope
from ._builders import FindBuilder
from ._options import options_of
from ._session import awaited
from ._values import NoParent

T = TypeVar("T")


def get_or_create(factory: type[BaseFactory[T]], **kwargs: Any) -> tuple[T, bool]:
    """Call ``factory.create(**kwargs)`` and tell whether the object is new.

    Args:
        factory: a reuse-enabled factory.

    Returns:
        The object, and ``True`` if it was created, ``False`` if it was reused.

    Raises:
        ReuseError: the factory does not reuse; or what ``create`` raises.

    Example::

        category, created = get_or_create(CategoryFactory, name="Books")
    """
    meta = options_of(factory)
    with _scope.watch() as report:
        obj = awaited(factory.create(**kwargs))
    # A call's outcome comes after those of the calls inside it.
    last = report.outcomes[-1] if report.outcomes else None
    reused = last is not None and last.depth == 0 and last.factory == meta.name and not last.created
    return obj, not reused


def find(factory: type[BaseFactory[T]], **kwargs: Any) -> T | None:
    """Return the row that ``factory.create(**kwargs)`` would reuse, or ``None``.

    Nothing is inserted, no post-generation declaration runs, no sequence number is used up. A
    SubFactory in the key is looked up in the same way: where there is no parent, there is no child.

    Args:
        factory: a reuse-enabled factory.

    Raises:
        MismatchError: a value of another key contradicts the row, unless ``on_mismatch="update"``;
            or any passed value, under ``on_mismatch="raise"``.
        ReuseError: the factory does not reuse, or cannot look up.

    Example::

        assert find(CategoryFactory, name="Books") is None
    """
    meta = options_of(factory)
    if meta.abstract:
        factory.create()  # factory_boy's own error
    try:
        found: T | None = FindBuilder(meta, kwargs, enums.CREATE_STRATEGY).build()
    except NoParent:
        return None
    return found
