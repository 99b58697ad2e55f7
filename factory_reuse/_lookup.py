"""Where a row may already be: in the cache, among pending objects, in the database."""

from __future__ import annotations

from typing import Any, Hashable, Iterable, Iterator, NamedTuple, Sequence

from sqlalchemy import inspect
from sqlalchemy.exc import DBAPIError, PendingRollbackError
from sqlalchemy.orm import Mapper, Session, base
from sqlalchemy.sql.elements import BindParameter, ColumnElement
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.sql.selectable import SelectBase
from sqlalchemy.sql.visitors import iterate
from typing_extensions import final

from ._ahead import Mark, mark_of, marks_of
from ._cache import Entry, session_cache, would_flush
from ._columns import MappedColumn, mapped_column
from ._keys import Key
from ._parts import columns_in, unsaved_in
from ._queries import Queries, is_opaque, owner_of
from ._session import flush_unfinished
from ._values import MISSING, Missing, described, freeze, frozen, same
from .errors import AmbiguousMatchError, MismatchError
from .report import Source


@final
class Found(NamedTuple):
    """A row that is there, where it was found, and by which key."""

    obj: Any
    source: Source
    key: Key

    @property
    def label(self) -> str:
        """The key's fields, for reports."""
        return self.key.label


@final
class Foreseen(NamedTuple):
    """What is known of a key in advance.

    Attributes:
        token: what the cache knows it by, if it may.
        mark: that of a key that no row has.
        there: whether a row has it; ``None``, if :meth:`Lookup.find` has to tell.
    """

    token: Hashable | None
    mark: Mark | None
    there: bool | None


@final
class Lookup:
    """Looks rows of one model up through one session, for one call.

    Args:
        keys: all keys by which the model's rows are told apart.
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
        keys: Sequence[Key],
        where: ColumnElement[Any] | None,
        lazy: bool,
        cache: bool,
        factory: str,
    ) -> None:
        self.session = session
        self.mapper = mapper
        self.where = where
        self.factory = factory
        self.queries = Queries(session, mapper, keys=keys, where=where, lazy=lazy)
        self._cache = session_cache(session)
        self._watched = self._where_columns() if cache else None

    def find(self, key: Key, values: tuple[Any, ...]) -> Found | None:
        """Return the row that has the key: cache, then pending objects, then one SELECT.

        Raises:
            AmbiguousMatchError: several rows have it.
            MismatchError: the row is of a sibling class.
        """
        known = self.known(key, values)
        if not isinstance(known, Missing):
            return known
        with self.queries.pending_kept():
            found = self._in_memory(key, values)
            source: Source = "pending" if found else "database"
            if not (found and key.unique) and not any(unsaved_in(value) for value in values):
                stored = self._in_database(key, values)
                found += [obj for obj in stored if not any(obj is other for other in found)]
            if not found:
                return None
            obj = self._only(found, key, values)
        self._remember(self._token(key, values), key, obj)
        return Found(obj, source, key)

    def known(self, key: Key, values: tuple[Any, ...]) -> Found | Missing | None:
        """Return what :meth:`find` would, if no query is needed; ``MISSING`` if one is."""
        return self.answered(key, self._token(key, values))

    def answered(self, key: Key, token: Hashable | None) -> Found | Missing | None:
        """The same, where the token is known."""
        # Nothing keeps an unflushed second row out of a key that the database does not enforce.
        if token is None or not (key.unique or not any(self._unflushed(key))):
            return MISSING
        self._flush_changes()
        entry = self._cache.get(self.session, token)
        if entry is not None:
            source, entry.source = entry.source, "cache"
            return Found(entry.obj, source, key)
        return MISSING if self._cache.ahead.mark_of_absent(token) is None else None

    def peek(self, key: Key, values: tuple[Any, ...]) -> Any | None:
        """Return the object that the cache has for the key, without its counting as an answer."""
        token = self._token(key, values)
        entry = None if token is None else self._cache.get(self.session, token)
        return None if entry is None else entry.obj

    def foresee(self, key: Key, asked: Sequence[tuple[Any, ...]]) -> list[Foreseen | None]:
        """Look many keys up with one SELECT, so that :meth:`find` needs none for each of them.

        What is there goes into the cache; what is surely not there is noted as absent. All else is
        left to :meth:`find`: unflushed objects, a key that two rows have, texts that only the
        database can tell equal, and values that have no token, or cannot be sent.
        """
        self._flush_changes()
        try:
            return self._foreseen(key, asked)
        except (DBAPIError, PendingRollbackError):
            raise
        except Exception:  # a value without a hash, or of another type: which one, find() tells
            return [None for _ in asked]

    def _foreseen(self, key: Key, asked: Sequence[tuple[Any, ...]]) -> list[Foreseen | None]:
        absent = self._cache.ahead.mark_of_absent
        tokens = [
            self._token(key, values) if key.foreseeable and key.fits(values) else None
            for values in asked
        ]
        there: set[Hashable] = set()
        wanted: dict[Hashable, tuple[Any, ...]] = {}
        for token, values in zip(tokens, asked):
            if token is None or token in there or token in wanted:
                continue
            if self._cache.get(self.session, token) is not None:
                there.add(token)
            elif absent(token) is None:
                wanted[token] = values
        if wanted:
            there.update(self._asked(key, wanted))
        return [
            Foreseen(token, None, True)
            if token in there
            else Foreseen(token, absent(token), None if absent(token) is None else False)
            for token in tokens
        ]

    def _asked(self, key: Key, wanted: dict[Hashable, tuple[Any, ...]]) -> Iterable[Hashable]:
        """Return those of the wanted that a row has; those that none has are noted as absent."""
        with self.queries.pending_kept():
            unflushed = marks_of(key, self._unflushed(key))
            if unflushed is None:
                return ()
            if unflushed:
                wanted = {
                    token: values
                    for token, values in wanted.items()
                    if mark_of(key, values) not in unflushed
                }
            saved = [values for values in wanted.values() if not any(map(unsaved_in, values))]
            rows = self.queries.rows_of_any(key, saved)
            if not key.unique and len(rows) > 2 * len(saved):
                return ()  # nothing keeps them few, so that was not all of them
            seen = [key.held(held) for _, held in rows]
            found: dict[Hashable, Any] = {}
            twice: set[Hashable] = set()
            for (obj, held), values in zip(rows, seen):
                token = None if values is None else self._token(key, values)
                if (
                    values is not None
                    and token in wanted
                    and isinstance(obj, self.mapper.class_)
                    and not self._superseded(obj, key, values)
                ):
                    self._freshen(obj, self.queries.read(key), held)
                    if found.setdefault(token, obj) is not obj:
                        twice.add(token)
        for token in twice:
            del found[token]
        for token, obj in found.items():
            self._remember(token, key, obj, source="database")
        if len(found) < len(wanted):
            self._note_absent(key, wanted, seen)
        return found

    def _note_absent(
        self,
        key: Key,
        wanted: dict[Hashable, tuple[Any, ...]],
        seen: Sequence[tuple[Any, ...] | None],
    ) -> None:
        """Note which of the wanted are surely absent, if those seen are all rows that there are."""
        marks = {token: mark_of(key, values) for token, values in wanted.items()}
        doubtful = {None if values is None else mark_of(key, values) for values in seen}
        if not doubtful.issubset(marks.values()):
            return  # one is equal to something asked for, but to what?
        for token, mark in marks.items():
            if mark not in doubtful:
                self._cache.ahead.note_absent(token, mark)

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
        self._cache.hold(obj)
        self._remember(self._token(key, values), key, obj)
        return Found(obj, "race", key)

    def _flush_changes(self) -> None:
        """Flush what a query would flush, if it may take the answer away: a cascade, a hook."""
        if not self.queries.lazy and would_flush(self.session):
            flush_unfinished(self.session)

    def remember(self, key: Key, values: tuple[Any, ...], obj: Any) -> None:
        """Let the cache answer the key with an object that was just created."""
        if base.instance_state(obj).pending:
            self._cache.ahead.take_out([obj])  # as its flush would have done
        self._remember(self._token(key, values), key, obj)

    def _in_memory(self, key: Key, values: tuple[Any, ...]) -> list[Any]:
        """Return the unflushed objects that have the key: a SELECT need not see them."""
        return [obj for obj in self._unflushed(key) if self._has(obj, key, values)]

    def _unflushed(self, key: Key) -> Iterator[Any]:
        if self.session._is_clean():
            return
        holder = owner_of(self.mapper, key).class_
        tables = {column.column.table for column in key.columns}

        def may_hold(obj: Any) -> bool:
            # A concrete class below the model has a table of its own.
            return isinstance(obj, holder) and tables <= set(inspect(obj).mapper.tables)

        yield from filter(may_hold, self.session.new)
        for obj in filter(may_hold, self.session.dirty):
            if _changed(obj, key.columns):
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
        return self.queries.would_have(obj, key, values)

    def _verdicts(self, obj: Any, key: Key, values: tuple[Any, ...]) -> list[bool | None]:
        dialect = self.queries.dialect
        return [part.matches(obj, value, dialect) for part, value in zip(key.parts, values)]

    def _in_database(
        self, key: Key, values: tuple[Any, ...], *, locking: bool = False
    ) -> list[Any]:
        """Return the objects whose rows have the key, and which have it still."""
        found = []
        for obj, held in self.queries.rows(key, values, locking=locking):
            if not self._superseded(obj, key, values):
                self._freshen(obj, self.queries.read(key), held)
                found.append(obj)
        return found

    def _superseded(self, obj: Any, key: Key, values: tuple[Any, ...]) -> bool:
        """Whether what the row holds is no longer so in memory: deleted, or given another key."""
        if self.session._deleted and obj in self.session.deleted:
            return True
        return _changed(obj, key.columns) and not self._has(obj, key, values)

    def _freshen(self, obj: Any, columns: Sequence[MappedColumn], row: Sequence[Any]) -> None:
        """Reload key attributes that the session has outdated values for."""
        if not isinstance(obj, self.mapper.class_):
            return
        loaded = base.instance_dict(obj)
        outdated = [
            column.attribute
            for column, value in zip(columns, row)
            if loaded.get(column.attribute) is not value
            and not column.changed(obj)
            and not same(
                column.column.type, self.queries.dialect, loaded.get(column.attribute), value
            )
        ]
        if outdated:
            self.session.refresh(obj, outdated)

    def _only(self, found: list[Any], key: Key, values: tuple[Any, ...]) -> Any:
        if len(found) == 1 and isinstance(found[0], self.mapper.class_):
            return found[0]
        shown = key.shown(values)
        if len(found) > 1:
            count = self.queries.count(key, values) + sum(inspect(obj).pending for obj in found)
            raise AmbiguousMatchError(
                f"{self.factory}: {count} rows of {self._model} have {_show(shown)}. "
                "Name fields in on= that identify one row, or narrow it with where=.",
                factory=self.factory,
                model=self._model,
                values=shown,
                count=count,
            )
        sibling = type(found[0]).__name__
        raise MismatchError(
            f"{self.factory}: the row with {_show(shown)} is a {sibling}, not a "
            f"{self._model}; both share the table {str(self.mapper.base_mapper.local_table)!r} "
            "and its unique key. Use another value, or the factory of the other class.",
            factory=self.factory,
            model=self._model,
            values=shown,
            instance=found[0],
        )

    def _where_columns(self) -> tuple[MappedColumn, ...] | None:
        """Return the columns that ``where`` reads, or ``None`` when its truth may change without.

        Functions (``now()``), subqueries and binds computed at execution are such cases.
        """
        if self.where is None:
            return ()
        if is_opaque(self.where):
            return None
        for element in iterate(self.where):
            if isinstance(element, (FunctionElement, SelectBase)):
                return None
            if isinstance(element, BindParameter) and element.callable is not None:
                return None
        return columns_in(self.where, lambda column: mapped_column(self.mapper, column))

    def _token(self, key: Key, values: tuple[Any, ...]) -> Hashable | None:
        """Return what the cache knows the question by, or ``None`` when it must not answer it."""
        fixed = None if self._watched is None else frozen(values)
        if fixed is None:
            return None
        if self.where is None:
            return (key, *fixed)
        binds = tuple(
            freeze(element.effective_value)
            for element in iterate(self.where)
            if isinstance(element, BindParameter)
        )
        return None if None in binds else (key, *fixed, str(self.where), binds)

    def _remember(
        self, token: Hashable | None, key: Key, obj: Any, *, source: Source = "cache"
    ) -> None:
        if token is None or self._watched is None:
            return
        entry = Entry(obj, key.columns + self._watched, key)
        entry.source = source
        self._cache.put(self.session, token, entry, enforced=key.unique)

    @property
    def _model(self) -> str:
        return self.mapper.class_.__name__


def _changed(obj: Any, columns: Sequence[MappedColumn]) -> bool:
    return bool(base.instance_state(obj).committed_state) and any(
        column.changed(obj) for column in columns
    )


def _show(values: Any) -> str:
    return ", ".join(f"{name}={described(value)}" for name, value in values.items())
