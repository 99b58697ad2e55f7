"""FR4xx: what a call does to its session, to the row it reuses and to the database."""

from __future__ import annotations

from typing import Iterator

from sqlalchemy import Column, PrimaryKeyConstraint, UniqueConstraint
from sqlalchemy.sql.visitors import iterate

from factory_reuse._keys import Key

from ..findings import Finding
from ..subjects import Subject
from .legacy import Lookups


def check(subject: Subject, lookups: Lookups) -> Iterator[Finding]:
    """Yield what a call of the factory does that it should not."""
    if subject.mapper is None:
        return
    if subject.reuses and subject.keys and subject.lazy and not _is_private(subject):
        yield _lazy(subject)
    yield from _changed(subject, lookups)
    for key in subject.keys if subject.reuses else ():
        if (subject.policy.where is not None or not key.plain) and not _is_indexed(subject, key):
            yield _scan(subject, key)


def _lazy(subject: Subject) -> Finding:
    return subject.finding(
        "FR401",
        "persistence",
        "New rows stay pending until the session is flushed (sqlalchemy_session_persistence is "
        "None), so where several processes share the database, a lost race is an IntegrityError of "
        "the flush, which nothing here can undo.",
        'Write sqlalchemy_session_persistence = "flush" in Meta, or savepoint=True.',
    )


def _is_private(subject: Subject) -> bool:
    """Whether the database is one that no other process can see."""
    if subject.session is None:
        return False
    try:
        url = subject.session.get_bind(subject.mapper).engine.url
    except Exception:  # bound to nothing yet
        return False
    return url.get_backend_name() == "sqlite" and url.database in (None, "", ":memory:")


def _changed(subject: Subject, lookups: Lookups) -> Iterator[Finding]:
    if not subject.hooks:
        return
    names = ", ".join(subject.hooks)
    if subject.reuses:
        if subject.policy.post_generation == "always":
            way, remedy = 'post_generation="always"', 'Write post_generation="explicit".'
        else:
            return
    elif subject.get_or_create or lookups.of(subject) is not None:
        way = "a lookup in _create" if not subject.get_or_create else "sqlalchemy_get_or_create"
        remedy = "Write @reuse_existing: these run on a reused row only where a call passes them."
    else:
        return
    yield subject.finding(
        "FR402",
        names,
        f"With {way}, what runs after a call ({names}) runs for a row that was there already, too, "
        "and changes it under the tests that have it.",
        remedy,
        at=next(iter(subject.hooks)),
    )


def _scan(subject: Subject, key: Key) -> Finding:
    return subject.finding(
        "FR403",
        key.label,
        f"No index of {subject.model} serves a lookup by ({key.label}), so each reads the whole "
        "table.",
        "Add an index over its columns"
        + ("." if key.plain else ", of the expression that the key compares."),
        at="@reuse" if subject.declared_here else "",
    )


def _is_indexed(subject: Subject, key: Key) -> bool:
    """Whether an index begins with a column that is compared, or is of an expression over one."""
    if key.unique:
        return True
    columns = {column.column for column in key.columns} | subject.where_columns
    for table in key.mapper.tables:
        for index in getattr(table, "indexes", ()):
            first = index.expressions[0]
            if isinstance(first, Column) != key.plain:
                continue
            if columns.intersection(element for element in iterate(first)):
                return True
        for constraint in getattr(table, "constraints", ()):
            is_key = isinstance(constraint, (PrimaryKeyConstraint, UniqueConstraint))
            if is_key and key.plain and columns.intersection(list(constraint.columns)[:1]):
                return True
    return False
