"""FR6xx: whether the database has the keys that the models have, and no others."""

from __future__ import annotations

import warnings
from typing import Any, FrozenSet, Iterator

from sqlalchemy import Column, PrimaryKeyConstraint, UniqueConstraint, inspect
from sqlalchemy.engine import Engine
from sqlalchemy.exc import SAWarning
from typing_extensions import final

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
        there, opaque = self._keys(table)
        declared = dict(_declared(table))
        for columns, name in there.items():
            if columns not in declared:
                yield self._lacking_in_models(subject, table, columns, name)
        for columns, name in declared.items():
            if columns not in there and name not in opaque:
                yield self._lacking_in_database(subject, table, columns)

    def _keys(self, table: Any) -> tuple[dict[Columns, str], set[str]]:
        """Return the keys over plain columns, and the names of the other unique indexes."""
        plain: dict[Columns, str] = {}
        opaque: set[str] = set()
        where = {"schema": table.schema}
        with warnings.catch_warnings():
            # Of indexes over expressions, which SQLAlchemy 1.4 does not read.
            warnings.simplefilter("ignore", SAWarning)
            primary = self._inspector.get_pk_constraint(table.name, **where)
            unique = self._inspector.get_unique_constraints(table.name, **where)
            indexes = self._inspector.get_indexes(table.name, **where)
        plain[frozenset(primary.get("constrained_columns") or ())] = "the primary key"
        for constraint in unique:
            plain[frozenset(constraint["column_names"])] = constraint["name"] or ""
        for index in indexes:
            if not index.get("unique"):
                continue
            names = index["column_names"]
            if None in names or _is_partial(index):
                opaque.add(index["name"])
            else:
                plain.setdefault(frozenset(names), index["name"] or "")
        plain.pop(frozenset(), None)
        return plain, opaque

    def _lacking_in_models(
        self, subject: Subject, table: Any, columns: Columns, name: str
    ) -> Finding:
        names = ", ".join(sorted(columns))
        return subject.finding(
            "FR601",
            f"{table.fullname}({names})",
            f"In the database, {table.fullname} is unique by ({names}) ({name}), which no model "
            "says: an INSERT is refused by a key that is not looked up.",
            f"Add UniqueConstraint({', '.join(map(repr, sorted(columns)))}) to the table of "
            f"{subject.model}, or a migration that drops {name}.",
        )

    def _lacking_in_database(self, subject: Subject, table: Any, columns: Columns) -> Finding:
        names = ", ".join(sorted(columns))
        return subject.finding(
            "FR602",
            f"{table.fullname}({names})",
            f"{subject.model} says that {table.fullname} is unique by ({names}), and the database "
            "does not: two processes can insert the same row, and a call that then finds both "
            "raises AmbiguousMatchError.",
            "Add the constraint in a migration.",
        )


def _declared(table: Any) -> Iterator[tuple[Columns, str]]:
    """Yield the unique keys over plain columns that the metadata has, with their names."""
    for constraint in table.constraints:
        if isinstance(constraint, (UniqueConstraint, PrimaryKeyConstraint)):
            columns = frozenset(column.name for column in constraint.columns)
            if columns:
                yield columns, str(constraint.name or "")
    for index in table.indexes:
        partial = any(
            index.dialect_options[name].get("where") is not None
            for name in ("postgresql", "sqlite")
        )
        plain = all(isinstance(element, Column) for element in index.expressions)
        if index.unique and plain and not partial:
            yield frozenset(column.name for column in index.columns), str(index.name or "")


def _is_partial(index: Any) -> bool:
    options = index.get("dialect_options", {})
    return any(name.endswith("_where") and value is not None for name, value in options.items())
