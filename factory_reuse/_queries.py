"""What is asked of the database: which rows have a key, and whether a value is a column's."""

from __future__ import annotations

import contextlib
from functools import cached_property
from typing import Any, ContextManager, Sequence

from sqlalchemy import Column, and_, func, inspect, literal, select
from sqlalchemy.engine import Dialect
from sqlalchemy.orm import Mapper, Session, joinedload, lazyload, with_polymorphic
from sqlalchemy.sql.elements import ClauseElement, ColumnClause, ColumnElement, TextClause
from sqlalchemy.sql.visitors import iterate
from typing_extensions import final

from ._columns import MappedColumn, mapped_column
from ._criteria import any_of
from ._keys import Key
from ._parts import adapted, columns_in, selects_from_tables, substitute, unsaved_in
from ._session import flush_unfinished
from ._stored import compared
from ._values import MISSING

Values = Sequence[Any]


@final
class Queries:
    """Asks for rows of one model through one session.

    Args:
        keys: all keys by which the model's rows are told apart.
        where: what a row must also satisfy.
        lazy: whether pending objects must stay pending, so that no SELECT may flush them.
    """

    def __init__(
        self,
        session: Session,
        mapper: Mapper[Any],
        *,
        keys: Sequence[Key],
        where: ColumnElement[Any] | None,
        lazy: bool,
    ) -> None:
        self.session = session
        self.mapper = mapper
        self.keys = keys
        self.where = where
        self.lazy = lazy

    @cached_property
    def dialect(self) -> Dialect:
        """The dialect of the database that has the model's rows."""
        dialect: Dialect = self.session.get_bind(self.mapper).dialect
        return dialect

    def pending_kept(self) -> ContextManager[Any]:
        """For the block, what is pending stays so; flushed before, unless the factory is lazy."""
        if not self.lazy and self.session.autoflush:
            flush_unfinished(self.session)
        return self.session.no_autoflush

    def rows(
        self, key: Key, values: Values, *, locking: bool = False
    ) -> list[tuple[Any, Sequence[Any]]]:
        """Return the rows that have the key: each an object, and what :meth:`read` really hold."""
        statement, parameters = self._select(key, values, locking)
        with self._guarded(key, values):
            return self._objects(statement, parameters)

    def rows_of_any(self, key: Key, many: Sequence[Values]) -> list[tuple[Any, Sequence[Any]]]:
        """Return the rows that have one of the keys, as :meth:`rows` returns them.

        It is one SELECT, or as many as the backend's limits ask for.
        """
        found: list[tuple[Any, Sequence[Any]]] = []
        for criterion in any_of(key, many, self.dialect):
            if self.where is not None:
                criterion = and_(criterion, self.where)
            found += self._objects(self._built(key, criterion, most=2 * len(many) + 1))
        return found

    def read(self, key: Key) -> tuple[MappedColumn, ...]:
        """Return the columns of which :meth:`rows` tells what they hold: the key's come first.

        Those of the other keys are to be held against what a call passes, and an object that is in
        memory may have outdated values for them.
        """
        if len(self.keys) == 1:
            return key.columns
        others = [column for other in self.keys for column in other.columns]
        return tuple(dict.fromkeys((*key.columns, *others)))

    def count(self, key: Key, values: Values) -> int:
        """Return how many rows have the key."""
        statement = select(func.count()).select_from(self.mapper.class_)
        statement = self._narrowed(statement, self._criterion(key, values))
        in_rows = self.session.execute(statement).scalar()
        return int(in_rows or 0)

    def exists(self, key: Key, values: Values) -> bool:
        """Whether a row has the key, whatever ``where`` says of it."""
        criterion = and_(*(part.criterion(value) for part, value in zip(key.parts, values)))
        statement = select(literal(1)).select_from(self.mapper.class_)
        return self._answers(self._narrowed(statement, criterion))

    def equals(self, obj: Any, column: MappedColumn, value: Any) -> bool:
        """Ask the database whether the row has the value: its collation may say so."""
        state = inspect(obj)
        if not state.persistent or column.changed(obj) or not column.fits(value):
            return False
        own = zip(state.mapper.primary_key, state.identity)
        wanted = compared(column.column.type, self.dialect.name, value)
        criteria = [*(part == identity for part, identity in own), column.column == wanted]
        statement = select(literal(1)).select_from(self.mapper.class_).where(*criteria)
        return self._answers(statement)

    def would_have(self, obj: Any, key: Key, values: Values) -> bool:
        """Ask the database whether the object, once flushed, would have the key."""
        criterion = self._criterion(key, values)
        columns = columns_in(criterion, lambda column: mapped_column(self.mapper, column))
        if columns is None or (self.where is not None and is_opaque(self.where)):
            return False
        row = {column: column.current(obj) for column in columns}
        if any(value is MISSING or unsaved_in(value) for value in row.values()):
            return False
        asked = substitute(criterion, row, self.dialect.name)
        return self._answers(select(literal(1)).where(asked))

    def _select(self, key: Key, values: Values, locking: bool) -> tuple[Any, dict[str, Any]]:
        """Return the SELECT for :meth:`rows` with its parameters.

        To build one, and SQLAlchemy's key to its compiled form, costs about what it takes to run
        it; so it is kept with the key where it serves other values, too.
        """
        parameters = None if locking or self.where is not None else key.parameters(values)
        if parameters is None:
            return self._built(key, self._criterion(key, values), locking=locking), {}
        kept = key.select
        if kept is None or kept[0] is not self.keys:
            kept = key.select = self.keys, self._built(key, key.parametrised())
        return kept[1], parameters

    def _built(
        self, key: Key, criterion: ColumnElement[Any], *, locking: bool = False, most: int = 2
    ) -> Any:
        owner = owner_of(self.mapper, key)
        entity: Any = self.mapper.class_
        if owner is not self.mapper:
            entity = with_polymorphic(owner, [self.mapper.class_])
        read = [adapted(self.mapper, column.column) for column in self.read(key)]
        statement = self._narrowed(select(entity, *read), criterion)
        statement = statement.options(*_load_options(self.mapper, entity, owner, locking))
        statement = statement.execution_options(factory_reuse=True)  # for listeners of our own
        if locking and selects_from_tables(self.mapper):
            statement = statement.with_for_update(read=True, of=owner.local_table)
            statement = statement.execution_options(populate_existing=True)
        elif not key.unique:
            statement = statement.limit(most)
        return statement

    def _objects(
        self, statement: Any, parameters: dict[str, Any] | None = None
    ) -> list[tuple[Any, Sequence[Any]]]:
        result = self.session.execute(statement, parameters or {})
        return [(row[0], row[1:]) for row in result.unique(lambda row: id(row[0]))]

    def _answers(self, statement: Any) -> bool:
        # Nothing in the statement may tell a session with several binds which one it means.
        bind = {"mapper": self.mapper}
        return self.session.execute(statement, bind_arguments=bind).first() is not None

    def _guarded(self, key: Key, values: Values) -> ContextManager[Any]:
        """For the block, a value that is none of the column's costs no more than the block.

        PostgreSQL would end the transaction over it.
        """
        if self.dialect.name != "postgresql" or all(
            part.fits(value) for part, value in zip(key.parts, values)
        ):
            return contextlib.nullcontext()
        return self.session.connection(bind_arguments={"mapper": self.mapper}).begin_nested()

    def _narrowed(self, statement: Any, criterion: ColumnElement[Any]) -> Any:
        """Return the SELECT with a criterion on the model's tables, and for their rows alone."""
        statement = statement.where(adapted(self.mapper, criterion))
        if self.mapper.concrete and not selects_from_tables(self.mapper):
            # A class below has a table of its own, and so a key of its own.
            statement = statement.where(
                self.mapper.polymorphic_on == self.mapper.polymorphic_identity
            )
        return statement

    def _criterion(self, key: Key, values: Values) -> ColumnElement[Any]:
        criteria = [part.criterion(value) for part, value in zip(key.parts, values)]
        if self.where is not None:
            criteria.append(self.where)
        return and_(*criteria)


def owner_of(model: Mapper[Any], key: Key) -> Mapper[Any]:
    """Return the topmost class whose rows share the key's tables: siblings hold it too."""
    if not key.unique:
        return model  # nothing keeps a sibling from having it as well
    tables = {column.column.table for column in key.columns}
    owner = model
    for mapper in model.iterate_to_root():
        if mapper.concrete and mapper is not owner:
            break
        if mapper.polymorphic_on is not None and tables <= set(mapper.tables):
            owner = mapper
        if mapper.concrete:
            break
    return owner


def is_opaque(expression: ClauseElement) -> bool:
    """Whether it has SQL given as text, or bare names: what they read cannot be told."""
    return any(
        isinstance(element, TextClause)
        or (isinstance(element, ColumnClause) and not isinstance(element, Column))
        for element in iterate(expression)
    )


def _load_options(mapper: Mapper[Any], entity: Any, owner: Mapper[Any], locking: bool) -> list[Any]:
    """Return loader options under which the joins of eager relationships lose no row.

    An inner join drops the row when the other side is missing; and PostgreSQL takes no lock on
    "the nullable side of an outer join", so a locking read joins nothing.
    """
    options: list[Any] = []
    for relationship in _joined(mapper):
        holder = entity
        if owner is not mapper and not owner.has_property(relationship.key):
            holder = getattr(entity, mapper.class_.__name__)
        attribute = getattr(holder, relationship.key)
        inner_below = [below for below in _joined(relationship.mapper) if below.innerjoin]
        if locking:
            options.append(lazyload(attribute))
        elif relationship.innerjoin or inner_below:
            option = joinedload(attribute, innerjoin=False)
            options.append(
                option.options(*(lazyload(below.class_attribute) for below in inner_below))
            )
    return options


def _joined(mapper: Mapper[Any]) -> list[Any]:
    return [each for each in mapper.relationships if each.lazy in ("joined", False)]
