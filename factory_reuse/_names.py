"""The names by which a factory may give a column its value, beside the attribute's own."""

from __future__ import annotations

from typing import Any, Iterator

from sqlalchemy import Column
from sqlalchemy.orm import Mapper
from sqlalchemy.sql.elements import ClauseElement
from sqlalchemy.sql.visitors import iterate

from ._blank import is_hybrid


def direct_names(mapper: Mapper[Any], column: Column[Any], attribute: str) -> Iterator[str]:
    yield attribute
    yield from synonyms(mapper, attribute)
    for name in _settable_hybrids(mapper):
        if hybrid_column(mapper, name) is column:
            yield name
    public = attribute.lstrip("_")
    if public != attribute and public not in mapper.all_orm_descriptors:
        yield public


def indirect_names(mapper: Mapper[Any], column: Column[Any], attribute: str) -> Iterator[str]:
    for composite in mapper.composites:
        if any(held.key == attribute for held in composite.props):
            yield composite.key
    for name in _settable_hybrids(mapper):
        element = _hybrid_element(mapper, name)
        if element is None or hybrid_column(mapper, name) is not None:
            continue
        if any(
            isinstance(read, Column) and column.shares_lineage(read) for read in iterate(element)
        ):
            yield name


def synonyms(mapper: Mapper[Any], attribute: str) -> Iterator[str]:
    """Yield the names of an attribute's synonyms, and of theirs."""
    for name, synonym in mapper.synonyms.items():
        if synonym.name == attribute:
            yield name
            yield from synonyms(mapper, name)


def _settable_hybrids(mapper: Mapper[Any]) -> Iterator[str]:
    # One without a setter cannot be given; and reading it on the class runs the project's code,
    # which may do anything there, loop forever included.
    for name, descriptor in mapper.all_orm_descriptors.items():
        if is_hybrid(descriptor) and getattr(descriptor, "fset", None) is not None:
            yield name


def hybrid_column(mapper: Mapper[Any], name: str) -> Column[Any] | None:
    """Return the table column that a hybrid stands for in SQL, or ``None``."""
    element = _hybrid_element(mapper, name)
    if not isinstance(element, Column):
        return None
    return next((column for column in mapper.columns if column.shares_lineage(element)), None)


def _hybrid_element(mapper: Mapper[Any], name: str) -> ClauseElement | None:
    try:
        element = getattr(mapper.class_, name).__clause_element__()
    except Exception:  # a hybrid without an SQL side may raise anything on the class
        return None
    return element if isinstance(element, ClauseElement) else None
