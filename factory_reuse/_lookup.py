"""Where a row may already be: in the cache, among pending objects, in the database."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import Any, Hashable, Iterator, Mapping, Sequence

from sqlalchemy import Column, and_, func, inspect, literal, select
from sqlalchemy.orm import Mapper, Session, joinedload, lazyload, with_polymorphic
from sqlalchemy.sql.elements import (
    BindParameter,
    ClauseElement,
    ColumnClause,
    ColumnElement,
    TextClause,
)
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.sql.selectable import SelectBase
from sqlalchemy.sql.visitors import iterate
from typing_extensions import final

from ._cache import session_cache
from ._columns import MappedColumn, mapped_column
from ._keys import Key
from ._parts import adapted, columns_in, selects_from_tables, substitute, unsaved_in
from ._stored import compared
from ._values import MISSING, fits, freeze, same
from .errors import AmbiguousMatchError, MismatchError
from .report import Source


@final
@dataclass(frozen=True)
class Found:
    """A row that is there, where it was found, and by which key."""

    obj: Any
    source: Source
    key: Key


@final
class Lookup:
    """Looks rows of one model up through one session, for one call.

    Args:
        where: what a row must also satisfy to be found.
        lazy: whether pending objects must stay pending, so that no SELECT may flush them.
        cache: whether the transaction's cache may answer.
        factory: the factory's name, for messages.
    """

    def __init__(
        self,
        session: Session,
        mapper: Mapper[Any],
        *,
        where: ColumnElement[Any] | None,
        lazy: bool,
        cache: bool,
        factory: str,
    ) -> None:
        self.session = session
        self.mapper = mapper
        self.where = where
        self.factory = factory
        self._lazy = lazy
        self._cache = session_cache(session)
        self._watched = self._where_columns() if cache else None

    def find(self, key: Key, values: tuple[Any, ...]) -> Found | None:
        """Return the row that has the key: cache, then pending objects, then one SELECT.

        Raises:
            AmbiguousMatchError: several rows have it.
            MismatchError: the row is of a sibling class.
        """
        token = self._token(key, values)
        # Nothing keeps an unflushed second row out of a key that the database does not enforce.
        if token is not None and (key.unique or not any(self._unflushed(key))):
            self._flush_changes()
            obj = self._cache.get(self.session, token)
            if obj is not None:
                return Found(obj, "cache", key)
        with self.pending_kept():
            found = self._in_memory(key, values)
            source: Source = "pending" if found else "database"
            if not (found and key.unique) and not any(unsaved_in(value) for value in values):
                stored = self._in_database(key, values)
                found += [obj for obj in stored if not any(obj is other for other in found)]
            if not found:
                return None
            obj = self._only(found, key, values)
        self._remember(token, key, obj)
        return Found(obj, source, key)

    def find_locked(self, key: Key, values: tuple[Any, ...]) -> Found | None:
        """Return the row that refused our INSERT, read with a lock.

        On MariaDB at REPEATABLE READ a plain SELECT reads the snapshot, which lacks the row; "a
        locking read reads the newest version" (MySQL manual, "Consistent Nonlocking Reads").
        """
        if any(unsaved_in(value) for value in values):
            return None
        found = self._in_database(key, values, locking=True)
        if not found:
            return None
        obj = self._only(found, key, values)
        self._remember(self._token(key, values), key, obj)
        return Found(obj, "race", key)

    def exists(self, key: Key, values: tuple[Any, ...]) -> bool:
        """Whether a row has the key, whatever ``where`` says of it."""
        criterion = and_(*(part.criterion(value) for part, value in zip(key.parts, values)))
        statement = select(literal(1)).select_from(self.mapper.class_)
        return self._answers(self._narrowed(statement, criterion))

    def parent(self, mapper: Mapper[Any], values: Mapping[Any, Any]) -> Any | None:
        """Return the row that the values of a foreign key refer to."""
        if None in values.values():
            return None
        criteria = [column == value for column, value in values.items()]
        with self.pending_kept():
            statement = select(mapper.class_).where(*criteria).limit(1)
            return self.session.execute(statement).scalars().unique().first()

    def equals(self, obj: Any, column: MappedColumn, value: Any) -> bool:
        """Ask the database whether the row has the value: its collation may say so."""
        state = inspect(obj)
        if not state.persistent or column.changed(obj) or not fits(column.column.type, value):
            return False
        own = zip(state.mapper.primary_key, state.identity)
        dialect = self.session.get_bind(self.mapper).dialect.name
        wanted = compared(column.column.type, dialect, value)
        criteria = [*(part == identity for part, identity in own), column.column == wanted]
        statement = select(literal(1)).select_from(self.mapper.class_).where(*criteria)
        return self._answers(statement)

    def _flush_changes(self) -> None:
        """Flush what a query would flush, if it may take the answer away: a cascade, a hook."""
        if self._lazy or not self.session.autoflush:
            return
        if self.session.identity_map.check_modified() or self.session.deleted:
            self.session.flush()

    @contextlib.contextmanager
    def pending_kept(self) -> Iterator[None]:
        """For the block, what is pending stays so, if the factory is lazy."""
        if self._lazy:
            with self.session.no_autoflush:
                yield
        else:
            yield

    def remember(self, key: Key, values: tuple[Any, ...], obj: Any) -> None:
        """Let the cache answer the key with an object that was just created."""
        self._remember(self._token(key, values), key, obj)

    def _in_memory(self, key: Key, values: tuple[Any, ...]) -> list[Any]:
        """Return the unflushed objects that have the key: a SELECT need not see them."""
        return [obj for obj in self._unflushed(key) if self._has(obj, key, values)]

    def _unflushed(self, key: Key) -> Iterator[Any]:
        holder = self._owner(key).class_
        for obj in self.session.new:
            if isinstance(obj, holder):
                yield obj
        for obj in self.session.dirty:
            if isinstance(obj, holder) and _changed(obj, key.columns):
                yield obj

    def _has(self, obj: Any, key: Key, values: tuple[Any, ...]) -> bool:
        if not isinstance(obj, self.mapper.class_) and any(
            not inspect(obj).mapper.has_property(column.attribute) for column in key.columns
        ):
            return False  # a sibling without the attribute
        verdicts = self._verdicts(obj, key, values)
        if None in verdicts and False not in verdicts and inspect(obj).persistent:
            for column in key.columns:
                getattr(obj, column.attribute)  # expired: to be loaded before it can be compared
            verdicts = self._verdicts(obj, key, values)
        if False in verdicts:
            return False
        if None not in verdicts and self.where is None:
            return True
        if any(unsaved_in(value) for value in values):
            return False
        return self._satisfies(obj, self._criterion(key, values))

    def _verdicts(self, obj: Any, key: Key, values: tuple[Any, ...]) -> list[bool | None]:
        dialect = self.session.get_bind(self.mapper).dialect
        return [part.matches(obj, value, dialect) for part, value in zip(key.parts, values)]

    def _satisfies(self, obj: Any, criterion: ColumnElement[Any]) -> bool:
        """Ask the database whether the object, once flushed, would satisfy the criterion."""
        columns = columns_in(criterion, lambda column: mapped_column(self.mapper, column))
        if columns is None or (self.where is not None and _is_opaque(self.where)):
            return False
        row = {column: column.current(obj) for column in columns}
        if any(value is MISSING or unsaved_in(value) for value in row.values()):
            return False
        dialect = self.session.get_bind(self.mapper).dialect.name
        return self._answers(select(literal(1)).where(substitute(criterion, row, dialect)))

    def _answers(self, statement: Any) -> bool:
        # Nothing in the statement may tell a session with several binds which one it means.
        bind = {"mapper": self.mapper}
        return self.session.execute(statement, bind_arguments=bind).first() is not None

    def _in_database(
        self, key: Key, values: tuple[Any, ...], *, locking: bool = False
    ) -> list[Any]:
        owner = self._owner(key)
        entity: Any = self.mapper.class_
        if owner is not self.mapper:
            entity = with_polymorphic(owner, [self.mapper.class_])
        read = [adapted(self.mapper, column.column) for column in key.columns]
        statement = self._narrowed(select(entity, *read), self._criterion(key, values))
        statement = statement.options(*_load_options(self.mapper, entity, owner, locking))
        if locking and selects_from_tables(self.mapper):
            statement = statement.with_for_update(read=True, of=owner.local_table)
            statement = statement.execution_options(populate_existing=True)
        elif not key.unique:
            statement = statement.limit(2)
        found = []
        with self._guarded(key, values):
            rows = self.session.execute(statement).unique(lambda row: id(row[0])).all()
        for obj, *row in rows:
            if not self._superseded(obj, key, values):
                self._freshen(obj, key.columns, row)
                found.append(obj)
        return found

    @contextlib.contextmanager
    def _guarded(self, key: Key, values: tuple[Any, ...]) -> Iterator[None]:
        """For the block, a value that is none of the column's costs no more than the block.

        PostgreSQL would end the transaction over it.
        """
        bind = {"mapper": self.mapper}
        doubtful = any(not part.fits(value) for part, value in zip(key.parts, values))
        if not doubtful or self.session.get_bind(**bind).dialect.name != "postgresql":
            yield
            return
        if self.session.autoflush:
            self.session.flush()
        with self.session.no_autoflush, self.session.connection(bind_arguments=bind).begin_nested():
            yield

    def _superseded(self, obj: Any, key: Key, values: tuple[Any, ...]) -> bool:
        """Whether what the row holds is no longer so in memory: deleted, or given another key."""
        if obj in self.session.deleted:
            return True
        return _changed(obj, key.columns) and not self._has(obj, key, values)

    def _freshen(self, obj: Any, columns: Sequence[MappedColumn], row: Sequence[Any]) -> None:
        """Reload key attributes that the session has outdated values for."""
        if not isinstance(obj, self.mapper.class_):
            return
        loaded = inspect(obj).dict
        dialect = self.session.get_bind(self.mapper).dialect
        outdated = [
            column.attribute
            for column, value in zip(columns, row)
            if not column.changed(obj)
            and not same(column.column.type, dialect, loaded.get(column.attribute), value)
        ]
        if outdated:
            self.session.refresh(obj, outdated)

    def _owner(self, key: Key) -> Mapper[Any]:
        """Return the topmost class whose rows share the key's tables: siblings hold it too."""
        if not key.unique:
            return self.mapper  # nothing keeps a sibling from having it as well
        tables = {column.column.table for column in key.columns}
        owner = self.mapper
        for mapper in self.mapper.iterate_to_root():
            if mapper.concrete and mapper is not owner:
                break
            if mapper.polymorphic_on is not None and tables <= set(mapper.tables):
                owner = mapper
            if mapper.concrete:
                break
        return owner

    def _only(self, found: list[Any], key: Key, values: tuple[Any, ...]) -> Any:
        shown = key.shown(values)
        if len(found) > 1:
            count = self._count(key, values) + sum(inspect(obj).pending for obj in found)
            raise AmbiguousMatchError(
                f"{self.factory}: {count} rows of {self._model} have {_show(shown)}. "
                "Name fields in on= that identify one row, or narrow it with where=.",
                factory=self.factory,
                model=self._model,
                values=shown,
                count=count,
            )
        obj = found[0]
        if not isinstance(obj, self.mapper.class_):
            sibling = type(obj).__name__
            raise MismatchError(
                f"{self.factory}: the row with {_show(shown)} is a {sibling}, not a "
                f"{self._model}; both share the table {str(self.mapper.base_mapper.local_table)!r} "
                "and its unique key. Use another value, or the factory of the other class.",
                factory=self.factory,
                model=self._model,
                values=shown,
                instance=obj,
            )
        return obj

    def _count(self, key: Key, values: tuple[Any, ...]) -> int:
        statement = select(func.count()).select_from(self.mapper.class_)
        statement = self._narrowed(statement, self._criterion(key, values))
        in_rows = self.session.execute(statement).scalar()
        return int(in_rows or 0)

    def _narrowed(self, statement: Any, criterion: ColumnElement[Any]) -> Any:
        """Return the SELECT with a criterion on the model's tables, and for their rows alone."""
        statement = statement.where(adapted(self.mapper, criterion))
        if self.mapper.concrete and not selects_from_tables(self.mapper):
            # A class below has a table of its own, and so a key of its own.
            statement = statement.where(
                self.mapper.polymorphic_on == self.mapper.polymorphic_identity
            )
        return statement

    def _criterion(self, key: Key, values: tuple[Any, ...]) -> ColumnElement[Any]:
        criteria = [part.criterion(value) for part, value in zip(key.parts, values)]
        if self.where is not None:
            criteria.append(self.where)
        return and_(*criteria)

    def _where_columns(self) -> tuple[MappedColumn, ...] | None:
        """Return the columns that ``where`` reads, or ``None`` when its truth may change without.

        Functions (``now()``), subqueries and binds computed at execution are such cases.
        """
        if self.where is None:
            return ()
        if _is_opaque(self.where):
            return None
        for element in iterate(self.where):
            if isinstance(element, (FunctionElement, SelectBase)):
                return None
            if isinstance(element, BindParameter) and element.callable is not None:
                return None
        return columns_in(self.where, lambda column: mapped_column(self.mapper, column))

    def _token(self, key: Key, values: tuple[Any, ...]) -> Hashable | None:
        """Return what the cache knows the question by, or ``None`` when it must not answer it."""
        frozen = freeze(values)
        if self._watched is None or frozen is None:
            return None
        if self.where is None:
            return (key, frozen)
        binds = tuple(
            freeze(element.effective_value)
            for element in iterate(self.where)
            if isinstance(element, BindParameter)
        )
        return None if None in binds else (key, frozen, str(self.where), binds)

    def _remember(self, token: Hashable | None, key: Key, obj: Any) -> None:
        if token is None or self._watched is None:
            return
        self._cache.put(self.session, token, obj, key.columns + self._watched, enforced=key.unique)

    @property
    def _model(self) -> str:
        return self.mapper.class_.__name__


def _is_opaque(expression: ClauseElement) -> bool:
    """Whether it has SQL given as text, or bare names: what they read cannot be told."""
    return any(
        isinstance(element, TextClause)
        or (isinstance(element, ColumnClause) and not isinstance(element, Column))
        for element in iterate(expression)
    )


def _changed(obj: Any, columns: Sequence[MappedColumn]) -> bool:
    return any(column.changed(obj) for column in columns)


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


def _show(values: Any) -> str:
    return ", ".join(f"{name}={value!r}" for name, value in values.items())
