"""FR1xx: whether a declared key is what the tables make unique."""

from __future__ import annotations

from typing import Any, FrozenSet, Iterator

from sqlalchemy import Column

from factory_reuse._columns import mapped_column
from factory_reuse._keys import Key, inferred_keys
from factory_reuse.errors import UniqueKeyError

from ..findings import Finding
from ..subjects import Subject

Columns = FrozenSet[Any]


def check(subject: Subject) -> Iterator[Finding]:
    """Yield what is wrong with the key of ``on``, or of ``sqlalchemy_get_or_create``."""
    if subject.mapper is None:
        if subject.declared_here:
            yield _no_key(subject, f"{subject.model or 'its model'} is not mapped by SQLAlchemy")
        return
    try:
        keys = subject.keys
    except UniqueKeyError as error:
        reason, _, remedy = error.message.partition(". ")
        yield subject.finding("FR106", _shown(subject), f"{reason}.", remedy, at=_line(subject))
        return
    settled = subject.where_columns  # which fails where each call would
    if subject.on is None:
        if subject.declared_here and not subject.unique and not _all_unique(subject):
            yield _no_key(subject, f"{subject.model} has no unique constraint or index")
        return
    for names, key in zip(subject.on, keys):
        yield from _check_key(subject, names, key, settled)


def _check_key(
    subject: Subject, names: tuple[str, ...], key: Key, settled: Columns
) -> Iterator[Finding]:
    columns = _columns(key)
    unique = {_columns(each): each for each in _all_unique(subject, primary=True)}
    if not columns or columns in _primary_keys(subject):
        return
    exact = unique.get(columns)
    if exact is not None and exact.plain and not key.plain:
        yield _unconstrained(subject, names)  # an expression over what is unique as it is
        return
    if exact is not None:
        if not exact.plain and key.plain and subject.policy.where is None:
            yield _inexact(subject, names, exact)
        return
    inside = [each for each in unique if each < columns]
    around = [each for each in unique if each > columns]
    if _apart(inside, columns):
        yield _separate(subject, names, [unique[each] for each in inside])
    elif inside:
        yield _too_wide(subject, names, columns, inside[0], unique[inside[0]])
    elif around and not around[0] - columns <= settled:
        yield _too_narrow(subject, names, columns, around[0], unique[around[0]])
    elif not around and not _has_opaque_index(subject):
        yield _unconstrained(subject, names)


def _too_narrow(
    subject: Subject, names: tuple[str, ...], columns: Columns, wider: Columns, key: Key
) -> Finding:
    missing = _attributes(subject, wider - columns)
    return subject.finding(
        "FR101",
        ", ".join(names),
        f"{_way(subject)} names {_list(names)}, but rows are unique by ({key.label}): rows that "
        f"differ in {missing} alone are taken for one, and a call gets any of them.",
        f"Write on=({_quoted(*names, *missing.split(', '))}){_place(subject)}.",
        at=_line(subject),
    )


def _too_wide(
    subject: Subject, names: tuple[str, ...], columns: Columns, narrower: Columns, key: Key
) -> Finding:
    superfluous = _attributes(subject, columns - narrower)
    return subject.finding(
        "FR102",
        ", ".join(names),
        f"{_way(subject)} names {_list(names)}, but ({key.label}) alone is unique: a row that has "
        f"it and another {superfluous} is not found, and the INSERT is refused.",
        f"Write on=({_quoted(*(_by_name(names, key)))}){_place(subject)}.",
        at=_line(subject),
    )


def _separate(subject: Subject, names: tuple[str, ...], keys: list[Key]) -> Finding:
    alternatives = ", ".join(f"({_quoted(*_by_name(names, key))})" for key in keys)
    each = " and ".join(f"({key.label})" for key in keys)
    return subject.finding(
        "FR104",
        ", ".join(names),
        f"{_way(subject)} names {_list(names)} as one key, but {each} are unique each for itself: "
        "a row that has one of the values and not the other is not found, and the INSERT is "
        "refused.",
        f"Write on=[{alternatives}]{_place(subject)}.",
        at=_line(subject),
    )


def _unconstrained(subject: Subject, names: tuple[str, ...]) -> Finding:
    error = "AmbiguousMatchError" if subject.reuses else "MultipleResultsFound"
    known = "; ".join(f"({key.label})" for key in _all_unique(subject)) or "none"
    return subject.finding(
        "FR103",
        ", ".join(names),
        f"No unique constraint or index of {subject.model} covers {_list(names)} (it has: "
        f"{known}), so a second row may come in beside the first, and a call that then finds two "
        f"raises {error}.",
        f"Add UniqueConstraint({', '.join(map(repr, names))}) to the table, or name a key that is "
        "unique.",
        at=_line(subject),
    )


def _inexact(subject: Subject, names: tuple[str, ...], key: Key) -> Finding:
    return subject.finding(
        "FR105",
        ", ".join(names),
        f"{_way(subject)} compares {_list(names)} as it is, but the unique index "
        f"{key.constraint or ''} has an expression or a predicate, so other rows than the ones "
        "that refuse an INSERT are found.",
        "Leave out on=: the key that is inferred has the index's expression and predicate.",
        at=_line(subject),
    )


def _no_key(subject: Subject, why: str) -> Finding:
    return subject.finding(
        "FR106",
        "",
        f"{why}, so there is nothing to find a row by.",
        "Write on=(...) with the fields that identify a row, add the constraint to the model, or "
        "remove reuse_existing.",
        at="@reuse",
    )


def _all_unique(subject: Subject, *, primary: bool = False) -> list[Key]:
    assert subject.mapper is not None
    keys = inferred_keys(subject.mapper, subject.dialect)
    return [key for key in keys if primary or not key.primary]


def _primary_keys(subject: Subject) -> set[Columns]:
    """Return those of the model's own table and of the tables that it is joined to."""
    assert subject.mapper is not None
    tables = [each.local_table for each in subject.mapper.iterate_to_root()]
    return {frozenset(table.primary_key) for table in tables}


def _columns(key: Key) -> Columns:
    return frozenset(column.column for column in key.compared)


def _has_opaque_index(subject: Subject) -> bool:
    """Whether a unique index is written so that nobody can tell its columns."""
    assert subject.mapper is not None
    return any(
        index.unique and not all(isinstance(each, Column) for each in index.expressions)
        for table in subject.mapper.tables
        for index in getattr(table, "indexes", ())
        if index.name not in {key.constraint for key in _all_unique(subject)}
    )


def _apart(inside: list[Columns], columns: Columns) -> bool:
    """Whether these keys have no column in common, and are all of the columns together."""
    return (
        len(inside) > 1
        and sum(map(len, inside)) == len(columns)
        and frozenset().union(*inside) == columns
    )


def _attributes(subject: Subject, columns: Columns) -> str:
    assert subject.mapper is not None
    mapped = [mapped_column(subject.mapper, column) for column in columns]
    names = [
        subject.source(column.names()) or column.attribute
        for column in mapped
        if column is not None
    ]
    return ", ".join(sorted(names))


def _by_name(names: tuple[str, ...], key: Key) -> list[str]:
    """Return those of the declared names that give a part of a key."""
    return [name for name in names if name in key.names]


def _way(subject: Subject) -> str:
    by_option = not subject.reuses or subject.meta.upgraded
    return "sqlalchemy_get_or_create" if by_option else "on="


def _place(subject: Subject) -> str:
    """Return where the right key is to be written."""
    return "" if _way(subject) == "on=" else " in @reuse_existing, in place of that"


def _line(subject: Subject) -> str:
    if not subject.reuses or subject.meta.upgraded:
        return "Meta.sqlalchemy_get_or_create"
    return "@reuse" if subject.declared_here else ""


def _shown(subject: Subject) -> str:
    return "; ".join(", ".join(names) for names in subject.on or ())


def _list(names: tuple[str, ...]) -> str:
    return f"({', '.join(names)})"


def _quoted(*names: str) -> str:
    return ", ".join(map(repr, names)) + ("," if len(names) == 1 else "")
