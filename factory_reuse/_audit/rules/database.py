"""FR6xx: whether the database has the keys that the models have, and no others."""

from __future__ import annotations

import warnings
from typing import Any, FrozenSet, Iterator

from sqlalchemy import Column, PrimaryKeyConstraint, UniqueConstraint, inspect
from sqlalchemy.engine import Engine
from sqlalchemy.exc import SAWarning
from typing_extensions import final

from factory_reuse._unique import PARTIAL, is_made

from ..findings import Finding
from ..subjects import Subject

#: The names of the columns that are unique together.
Columns = FrozenSet[str]


@final
class Database:
    """The keys of a database, read as they are asked for. Nothing is written."""

    def __init__(self, engine: Engine) -> None:
        self._inspector: Any = inspect(engine)
        self._dialect = engine.dialect.name
        self._told: set[Any] = set()

    def check(self, subject: Subject) -> Iterator[Finding]:
        """Yield how the tables of a factory's model differ from the database's, each table once."""
        for table in subject.mapper.tables if subject.mapper is not None else ():
            if table in self._told or not hasattr(table, "indexes"):
                continue
            self._told.add(table)
            yield from self._check_table(subject, table)

    def _check_table(self, subject: Subject, table: Any) -> Iterator[Finding]:
        # SQLAlchemy 1.4 says of a table that is missing on SQLite that it has no keys.
        if not self._inspector.has_table(table.name, schema=table.schema):
            yield subject.finding(
                "FR603",
                table.fullname,
                f"The database has no table {table.fullname}.",
                "Run the migrations, or give --db the database that the tests use.",
            )
            return
        if table.name in self._inspector.get_view_names(schema=table.schema):
            return  # its keys are those of its tables
        there, names = self._keys(table)
        known = {each.name for each in (*table.constraints, *table.indexes)}
        declared = dict(_declared(table, self._dialect))
        for columns, name in there.items():
            if columns not in declared and name not in known:
                yield self._lacking_in_models(subject, table, columns, name)
        for columns, name in declared.items():
            if columns not in there and name not in names:
                yield self._lacking_in_database(subject, table, ", ".join(sorted(columns)))
        for index in table.indexes:
            # SQLAlchemy does not read each index over expressions, so only a predicate counts.
            plain = all(isinstance(element, Column) for element in index.expressions)
            if plain and _is_opaque(index, self._dialect) and index.name not in names:
                yield self._lacking_in_database(subject, table, f"index {index.name}")

    def _keys(self, table: Any) -> tuple[dict[Columns, str], set[str]]:
        """Return the keys over plain columns, and the names of all unique indexes."""
        plain: dict[Columns, str] = {}
        named: set[str] = set()
        where: dict[str, Any] = {"schema": table.schema}
        # SQLAlchemy finds not each UNIQUE in SQLite's CREATE TABLE; there is an index for it.
        also = {"include_auto_indexes": True} if self._dialect == "sqlite" else {}
        with warnings.catch_warnings():
            # Of indexes over expressions, which SQLAlchemy 1.4 does not read.
            warnings.simplefilter("ignore", SAWarning)
            primary = self._inspector.get_pk_constraint(table.name, **where)
            unique = self._inspector.get_unique_constraints(table.name, **where)
            indexes = self._inspector.get_indexes(table.name, **where, **also)
        plain[frozenset(primary.get("constrained_columns") or ())] = "the primary key"
        for constraint in unique:
            plain[frozenset(constraint["column_names"])] = constraint["name"] or ""
        for index in indexes:
            if not index.get("unique"):
                continue
            named.add(index["name"])
            names = index["column_names"]
            if None not in names and not _is_partial(index):
                plain.setdefault(frozenset(names), index["name"] or "")
        plain.pop(frozenset(), None)
        return plain, named

    def _lacking_in_models(
        self, subject: Subject, table: Any, columns: Columns, name: str
    ) -> Finding:
        names, named = ", ".join(sorted(columns)), f" ({name})" if name else ""
        return subject.finding(
            "FR601",
            f"{table.fullname}({names})",
            f"In the database, {table.fullname} is unique by ({names}){named}, which no model "
            "says: an INSERT is refused by a key that is not looked up.",
            f"Add UniqueConstraint({', '.join(map(repr, sorted(columns)))}) to the table of "
            f"{subject.model}, or a migration that drops it.",
        )

    def _lacking_in_database(self, subject: Subject, table: Any, names: str) -> Finding:
        return subject.finding(
            "FR602",
            f"{table.fullname}({names})",
            f"{subject.model} says that {table.fullname} is unique by ({names}), and the database "
            "does not: two processes can insert the same row, and a call that then finds both "
            "raises AmbiguousMatchError.",
            "Add the constraint in a migration.",
        )


def _declared(table: Any, dialect: str) -> Iterator[tuple[Columns, str]]:
    """Yield the unique keys over plain columns that are made here, with their names."""
    for constraint in table.constraints:
        key = isinstance(constraint, (UniqueConstraint, PrimaryKeyConstraint))
        columns = frozenset(column.name for column in constraint.columns) if key else frozenset()
        if columns and is_made(constraint, dialect):
            yield columns, str(constraint.name or "")
    for index in table.indexes:
        if index.unique and is_made(index, dialect) and not _is_opaque(index, dialect):
            yield frozenset(column.name for column in index.columns), str(index.name or "")


def _is_opaque(index: Any, dialect: str) -> bool:
    """Whether a unique index is over less than all rows, or more than columns."""
    if not index.unique or not is_made(index, dialect):
        return False
    partial = dialect in PARTIAL and index.dialect_options[dialect].get("where") is not None
    return partial or not all(isinstance(element, Column) for element in index.expressions)


def _is_partial(index: Any) -> bool:
    options = index.get("dialect_options", {})
    return any(name.endswith("_where") and value is not None for name, value in options.items())
