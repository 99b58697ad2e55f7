"""Some calls at a time: each decided as ever, their SELECTs and their INSERTs put together."""

from __future__ import annotations

import contextlib
from typing import Any, Callable, Iterable, Iterator, Mapping, Sequence

from sqlalchemy import Table, event, inspect
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import InstanceState, Mapper, ORMExecuteState, Session
from sqlalchemy.orm.base import instance_state
from sqlalchemy.sql.elements import TextClause
from sqlalchemy.sql.selectable import Select
from sqlalchemy.sql.visitors import iterate
from typing_extensions import final

from . import _scope
from ._arguments import comes_in_as_usual
from ._cache import session_cache
from ._call import is_subfactory
from ._foresee import foresee, foresee_parents
from ._insert import Savepoint, detach
from ._keys import Key
from ._options import ReuseOptions
from ._row import Row
from ._session import awaited, flush_unfinished
from ._values import MISSING, is_safe
from .errors import ReuseError


def chunk_of(meta: ReuseOptions, rows: Sequence[Mapping[str, Any]]) -> Chunk | Singly:
    """Return the calls as a chunk, or each on its own where that is the factory's way."""
    return Chunk.of(meta, rows) or Singly(meta, rows)


@final
class Singly:
    """Calls that go each its own way."""

    def __init__(self, meta: ReuseOptions, rows: Sequence[Mapping[str, Any]]) -> None:
        self._factory = meta.factory
        self._rows = rows
        #: The row whose turn it is.
        self.turn: int | None = None

    def objects(self) -> Iterator[Any]:
        """Yield an object a call, or raise what the call raises."""
        for index, row in enumerate(self._rows):
            self.turn = index
            yield awaited(self._factory.create(**row))


@final
class Chunk:
    """Calls that share their queries and their flush.

    :meth:`_settle` does in advance what can be done together: one SELECT a key warms the session's
    cache, and the rows that are surely missing are inserted. Then each call takes its turn, which
    is the ordinary way where nothing was made for it. What fails in advance fails again there, and
    with it what was inserted together is undone.
    """

    @classmethod
    def of(cls, meta: ReuseOptions, rows: Sequence[Mapping[str, Any]]) -> Chunk | None:
        """Return a chunk, or ``None`` where each call has to go its own way."""
        scope = _scope.current()
        if scope.off or scope.finding or not meta.reuse or not comes_in_as_usual(meta.factory):
            return None
        try:
            place = None if meta.abstract else meta.place()
        except ReuseError:  # as the first call will say
            return None
        return None if place is None else cls(meta, *place, rows)

    def __init__(
        self,
        meta: ReuseOptions,
        mapper: Mapper[Any],
        session: Session,
        rows: Sequence[Mapping[str, Any]],
    ) -> None:
        self._meta = meta
        self._mapper = mapper
        self._session = session
        self._cache = session_cache(session)
        self._ahead = self._cache.ahead
        self._rows = [Row(meta, given, index) for index, given in enumerate(rows)]
        #: The row whose turn it is; ``None`` before that.
        self.turn: int | None = None
        self._current = 0  # the row whose declarations are being evaluated
        self._like: Any = None  # the decision of another call: all look in the same place
        self._asking = self._inserting = False
        self._plan = meta.plan(mapper, session)
        # Without the cache nothing tells what a row before has inserted; under "update" a row that
        # is there may be given what a later one is going to insert.
        policy = self._plan.policy
        alone = not policy.cache or policy.on_mismatch == "update"
        self._defers = meta.goes_together and self._plan.savepoint and not alone
        self._savepoint: Savepoint | None = None
        self._has_inserted = False  # anything, inside of the SAVEPOINT
        self._level = session.get_nested_transaction()

    def objects(self) -> Iterator[Any]:
        """Yield an object a call, or raise what the call raises."""
        recorder = _scope.current().recorder
        if recorder is not None and self._rows:
            self._rows[0].call.mark = recorder.begin()
        with _scope.within(pin=(self._meta, self._session)):
            try:
                with _listening(self._session, self._on_statement):
                    self._settle(self._rows)
                for row in self._rows:
                    self.turn = row.index
                    if row.call.obj is not MISSING and instance_state(row.call.obj).transient:
                        row.call.unmake(forget=True)  # somebody has rolled it back
                        row.ask_again()
                    elif row.call.obj is MISSING and not self._holds(row):
                        row.ask_again()
                    yield row.finish()
                self.turn = None
                if self._savepoint is not None:
                    self._savepoint.release()
            except BaseException as error:
                if self._savepoint is not None:
                    self._savepoint.roll_back(error)
                raise
            finally:
                self._forget()
            if self._savepoint is not None and self._plan.commit:
                self._session.commit()

    def _settle(self, rows: Sequence[Row]) -> None:
        if not self._defers:
            foresee(self._meta, [row.call.given for row in rows])
        else:
            asked = self._ask(rows)
            missing = [row for row in asked if not _passes_transient(row.call.given)]
            self._foresee_parents(missing, self._meta.pre_declarations.declarations)
            if missing and self._inserts_together():
                self._insert(missing)
        for row in rows:
            row.open = False

    def _inserts_together(self) -> bool:
        """Whether rows are inserted together; from then on an error undoes what the chunk did."""
        if self._savepoint is None and self._defers:
            begun = Savepoint(self._session, self._mapper)
            self._savepoint = begun if begun.exists else None
            self._level = self._session.get_nested_transaction()
        return self._savepoint is not None

    def _ask(self, rows: Sequence[Row]) -> list[Row]:
        """Return the rows that no key finds, having asked for all keys of the same kind at once."""
        missing: list[Row] = []
        repeated = self._cache.has_answers
        asking = self._each(rows, Row.recall) if repeated else rows
        if not self._foresee_parents(asking, self._meta.key_names()):
            self._has_inserted = self._inserts_together()  # parents, in a moment
        while asking:
            asking = self._each(asking, self._have_asked)
            missing += [row for row in asking if row.call.question is None]
            # What is inserted without having asked may be what a later row asks for.
            unknown = min((row.index for row in missing if not row.marks), default=len(self._rows))
            for row in asking:
                row.open = row.open and (row.call.question is None or row.index < unknown)
            asking = [row for row in asking if row.open and row.call.question is not None]
            self._foresee(asking)
            asking = self._each(asking, self._answer)
        return sorted((row for row in missing if row.open), key=lambda row: row.index)

    def _have_asked(self, row: Row) -> None:
        row.call.ask(self._like)
        self._like = row.call.decision

    def _each(self, rows: Iterable[Row], do: Callable[[Row], None]) -> list[Row]:
        """Do something for each row, until one fails; return those still open."""
        for row in rows:
            self._current = row.index
            try:
                if row.open:
                    do(row)
            except Exception as error:
                if self._cache.is_cut_off:
                    self.turn = row.index
                    raise
                row.failure = error
                self._close_from(row.index)
        return [row for row in rows if row.open]

    def _close_from(self, index: int) -> None:
        """Leave a row and those after it to their turns."""
        for row in self._rows[index:]:
            row.open = False

    def _foresee(self, asking: Sequence[Row]) -> None:
        """Find out what is known of the rows' questions, with one SELECT a key."""
        by_key: dict[Key, list[Row]] = {}
        for row in asking:
            by_key.setdefault(row.call.question[0], []).append(row)
        self._asking = True
        try:
            for key, rows in by_key.items():
                known = self._like.lookup.foresee(key, [row.call.question[1] for row in rows])
                for row, foreseen in zip(rows, known):
                    row.foreseen = foreseen
        finally:
            self._asking = False

    def _answer(self, row: Row) -> None:
        """Take a question for answered, if nobody has the key; else leave the row to its turn."""
        foreseen, (key, _) = row.foreseen, row.call.question
        if foreseen is not None and foreseen.there:
            row.open = False
            return
        if foreseen is None or foreseen.mark is None or not key.unique:
            self._close_from(row.index)  # nothing tells which of the later rows mean the same
            return
        claimant = self._ahead.claimant(foreseen.mark)
        if self._is_own(claimant):
            later = max(row, claimant, key=lambda each: each.index)
            later.follow()
            if later is row:
                return
        self._ahead.claim(foreseen.mark, row)
        row.marks += (foreseen.mark,)
        row.generation = self._ahead.generation if row.generation is None else row.generation
        row.foreseen = None
        row.call.answer(None)

    def _is_own(self, claimant: Any) -> bool:
        """Whether it is a row of this chunk; a declaration may make another chunk meanwhile."""
        return (
            isinstance(claimant, Row)
            and claimant in self._rows[claimant.index : claimant.index + 1]
        )

    def _holds(self, row: Row) -> bool:
        """Whether still nobody has, or is to insert before, what the row is going to."""
        ahead = self._ahead
        return row.generation in (None, ahead.generation) and all(
            ahead.claimant(mark) is row for mark in row.marks
        )

    def _forget(self) -> None:
        for row in self._rows:
            for mark in row.marks:
                self._ahead.release(mark, row)
        self._ahead.forget_absent()

    def _foresee_parents(self, rows: Sequence[Row], names: Iterable[str]) -> bool:
        """Look the rows' parents up; return whether all of them are there, as far as is known."""
        return foresee_parents(self._meta, [row.call.given for row in rows], names)

    def _insert(self, missing: Sequence[Row]) -> None:
        """Make the rows' parents and then, of those that nobody has or claims, the rows."""
        if any(map(is_subfactory, self._meta.pre_declarations.declarations.values())):
            self._has_inserted = True
            self._each(missing, self._make_parents)
        rows = [row for row in missing if row.open and self._holds(row)]
        for row in rows:
            for mark in row.marks:
                self._ahead.release(mark, row)
        if rows and self._insert_together(rows):
            for row in rows:
                row.call.decision.remember(row.call.obj)

    def _make_parents(self, row: Row) -> None:
        if self._holds(row):
            row.call.make_parents()
        else:  # a parent of another row took its place
            row.open = False

    def _insert_together(self, rows: Sequence[Row]) -> bool:
        written = False

        def make() -> None:
            nonlocal written
            before = self._cache.flushes, self._ahead.generation
            for row in rows:
                self._current = row.index
                try:
                    row.call.make()
                except SQLAlchemyError:  # perhaps another row was refused
                    raise
                except Exception as error:
                    row.failure = error
                    raise
                finally:
                    written = before != (self._cache.flushes, self._ahead.generation)

        outer: Any = self._savepoint
        inner = Savepoint(self._session, self._mapper) if self._has_inserted else outer
        self._inserting = True
        try:
            done = inner.attempt(make)
        finally:
            self._inserting = False
        if done:
            self._has_inserted = True
            if inner is not outer:
                try:
                    inner.release()
                except BaseException as error:  # a cancellation, say: it may come just before
                    inner.roll_back(error)
                    raise
            return True
        detach(row.call.obj for row in rows if row.call.obj is not MISSING)
        for row in rows:
            # What its declarations wrote is undone, too; else each is evaluated but once.
            row.call.unmake(forget=written)
        if inner is outer:
            self._savepoint = Savepoint(self._session, self._mapper)
        return False

    def _on_statement(self, execution: ORMExecuteState) -> None:
        """Let a query of the project's own see the rows before the one that it is for."""
        if self._asking or execution.is_column_load or not self._may_see(execution):
            return
        if self._inserting:
            flush_unfinished(self._session)
        elif self._savepoint or self._session.get_nested_transaction() is self._level:
            current = self._current
            self._settle([row for row in self._rows[:current] if row.open])
            self._current = current

    def _may_see(self, execution: ORMExecuteState) -> bool:
        """Whether a statement may read the rows: all do but ours, and loads of other tables."""
        ours = execution.execution_options.get("factory_reuse")
        if not isinstance(execution.statement, Select) or not (
            ours or execution.is_relationship_load
        ):
            return True
        own = set(self._mapper.tables)
        return any(
            isinstance(element, TextClause) or (isinstance(element, Table) and element in own)
            for element in iterate(execution.statement)
        )


@contextlib.contextmanager
def _listening(session: Session, listener: Any) -> Iterator[None]:
    event.listen(session, "do_orm_execute", listener)
    try:
        yield
    finally:
        event.remove(session, "do_orm_execute", listener)


def _passes_transient(given: Mapping[str, Any]) -> bool:
    """Whether a row is given an object that no rollback makes forget it, should it be refused."""
    states = (inspect(value, raiseerr=False) for value in given.values() if not is_safe(value))
    return any(isinstance(state, InstanceState) and state.transient for state in states)
