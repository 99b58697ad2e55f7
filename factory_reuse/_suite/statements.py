"""Which rows a statement may be about, by the names of tables that it has."""

from __future__ import annotations

import functools
import re
import weakref
from typing import Any, Callable, Sequence

from sqlalchemy import inspect
from sqlalchemy.orm import Mapper


def names(statement: str, mapper: Mapper[Any]) -> bool:
    """Whether the statement may be about rows of the mapper."""
    pattern = _PATTERNS.get(mapper)
    if pattern is None:
        tables = (re.escape(str(getattr(table, "name", ""))) for table in mapper.tables)
        pattern = _PATTERNS[mapper] = re.compile(rf"\b({'|'.join(tables)})\b")
    return pattern.search(statement) is not None


_PATTERNS: weakref.WeakKeyDictionary[Mapper[Any], re.Pattern[str]] = weakref.WeakKeyDictionary()


def gone_by(statements: Sequence[str]) -> Callable[[Any], bool]:
    """Return whether the statements may have taken the row of an identity away."""
    all_are = any("CASCADE" in each.upper() for each in statements)

    @functools.lru_cache(maxsize=None)
    def of(model: Any) -> bool:
        mapper = inspect(model)
        return all_are or any(names(each, mapper) for each in statements)

    def is_gone(identity: Any) -> bool:
        return of(identity[0])

    return is_gone
