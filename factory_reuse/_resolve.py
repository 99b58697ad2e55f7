"""One call, decided: which key, which row, or a new one."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from functools import cached_property
from typing import (
    Any,
    Callable,
    Container,
    Final,
    Generator,
    Hashable,
    Iterable,
    Mapping,
    Optional,
    Sequence,
    Tuple,
)

from sqlalchemy import inspect
from sqlalchemy.orm import Mapper, Session
from typing_extensions import Protocol, final

from . import _scope
from ._columns import MappedColumn
from ._criteria import where_expression
from ._insert import insert, savepoint
from ._keys import Key, declared_keys
from ._lookup import Found, Lookup
from ._mismatch import Difference, Passed, column_behind, differences, settle
from ._policy import Policy
from ._values import MISSING, Call, NoParent, frozen

#: What a call asks for, one key after the other; it is sent what was found, and returns its row.
Questions = Generator[Tuple[Key, Tuple[Any, ...]], Optional[Found], Optional[Found]]


class FactoryCall(Call, Protocol):
    """A call as the decision sees it: values by name, and the list of those the caller passed.

    Attributes:
        only_look: whether a value that a SubFactory makes is to be looked up, not made.
    """

    only_look: bool

    @property
    def shape(self) -> Hashable:
        """What stands for the names that the caller passed."""
        ...

    def passed(self, evaluate: Container[str], settled: Container[str]) -> Iterable[Passed]:
        """The values the caller passed, but for those to ``settled`` names.

        Args:
            evaluate: the names for which declarations are among them, too.
        """
        ...

    def passes(self, name: str) -> bool:
        """Whether the caller passed a value to a declaration of this name, of any kind."""
        ...

    def plain(self) -> Mapping[str, Any] | None:
        """What was passed, if that and constants of the factory are all that counted."""
        ...

    @property
    def paths(self) -> Iterable[str]:
        """The names the caller passed that go on to a SubFactory."""
        ...

    def undeclared(self) -> Iterable[str]:
        """The names the caller passed that the factory does not know, as the model gets them."""
        ...


@final
@dataclass(frozen=True)
class Plan:
    """What is decided once per factory and backend.

    Attributes:
        lazy: whether new objects stay pending; if so nothing here flushes.
        savepoint: whether the INSERT runs inside a SAVEPOINT.
        commit: whether the factory commits what it writes.
        upgraded: the fields of ``sqlalchemy_get_or_create``, if the key is those.
    """

    mapper: Mapper[Any]
    keys: tuple[Key, ...]
    policy: Policy
    lazy: bool
    savepoint: bool
    commit: bool
    upgraded: tuple[str, ...] = ()
    _ordered: dict[Hashable, tuple[bool, tuple[Key, ...]]] = field(default_factory=dict)

    def ordered(self, call: FactoryCall) -> tuple[bool, tuple[Key, ...]]:
        """Return the keys that count for a call, the one with the most passed fields first.

        Returns:
            Before them, whether the call gives the fields of any key at all.
        """
        shape = call.shape
        if shape not in self._ordered:
            available = [key for key in self.keys if key.available(call)]
            counting = [key for key in available if self.counts(key, call)]
            counting.sort(key=lambda key: -key.explicit(call))
            self._ordered[shape] = bool(available), tuple(counting)
        return self._ordered[shape]

    def counts(self, key: Key, call: FactoryCall) -> bool:
        """Whether ``match`` lets the key count."""
        return self.policy.match == "any" or key.explicit(call) > 0

    def names_beside(self, found: Key) -> set[str]:
        """Return the names that may give something of another key that this one has not compared.

        A relationship over a composite foreign key gives more than one of its columns.
        """
        beside = {
            name
            for key in self.keys
            for column in key.compared
            if column not in found.compared
            for name in column.names()
        }
        return beside | (self.names - found.names)

    @cached_property
    def names(self) -> frozenset[str]:
        """The names under which a call may give a part of any key."""
        return frozenset().union(*(key.names for key in self.keys))


_NONE: Final[Mapping[str, Any]] = {}


@final
class Decision:
    """The decision for one call.

    First :meth:`find`; if it finds nothing, :meth:`create`; and for a row that was there,
    :meth:`settle`.
    """

    def __init__(
        self, plan: Plan, session: Session, call: FactoryCall, lookup: Lookup | None = None
    ) -> None:
        self.plan = plan
        self.session = session
        self.call = call
        #: Whether the call gives the fields of any key at all.
        self.has_key, self._keys = plan.ordered(call)
        self._tried: tuple[tuple[Key, tuple[Any, ...]], ...] = ()
        self._arguments = _NONE
        self.lookup = lookup or Lookup(
            session,
            plan.mapper,
            keys=plan.keys,
            where=where_expression(plan.policy.where, plan.mapper.class_, call.factory),
            lazy=plan.lazy,
            cache=plan.policy.cache,
            factory=call.factory,
        )

    def find(self) -> Found | None:
        """Return the row that the call means, trying one key after the other.

        The key with the most explicitly passed fields goes first, but one that needs a SubFactory
        to run waits for those that need none: where they find a row, no parent is made in vain.
        Only the fields of the keys tried are evaluated.
        """
        questions = self.questions()
        found: Found | None = None
        try:
            question = next(questions)
            while True:
                question = questions.send(self.lookup.find(*question))
        except StopIteration as decided:
            found = decided.value
        return found

    def questions(self) -> Questions:
        """Yield the keys and values that :meth:`find` asks for, take the answers, return its own.

        So that many calls can be decided together, their questions asked in one SELECT.
        """
        self._tried = ()
        several = len(self._keys) > 1
        waiting = [key for key in self._keys if key.made(self.call)] if several else ()
        passed_over = None
        for key in sorted(self._keys, key=waiting.__contains__) if waiting else self._keys:
            values = self._given(key, only_look=passed_over is not None)
            if values is None:
                continue
            question = key, values
            self._tried += (question,)
            found = yield question
            if found is None:
                continue
            before = self._keys[: self._keys.index(key)]
            if not any(map(waiting.__contains__, before)) or not self.differences_of(found)[0]:
                return found
            passed_over = passed_over or found
        return passed_over

    def _given(self, key: Key, *, only_look: bool) -> tuple[Any, ...] | None:
        self.call.only_look = only_look
        try:
            return key.given(self.call)
        except NoParent:
            return None
        finally:
            self.call.only_look = False

    def create(
        self, make: Callable[[], Any], arguments: Mapping[str, Any]
    ) -> tuple[Any, Found | None]:
        """Return a new object; or the row that refused it, with how it was found.

        Args:
            arguments: the keyword arguments that ``make`` passes to the model.
        """
        self._arguments = arguments
        if not self.plan.savepoint:
            _scope.check_cancelled()  # nothing could undo it later
            obj, found = make(), None
        else:
            obj, found = insert(
                self.session,
                self.plan.mapper,
                lambda: (make(), None),
                self._reread,
                self._is_visible,
                keys=self.plan.keys,
                factory=self.call.factory,
            )
        if found is None:
            self.remember(obj)
        return obj, found

    def remember(self, obj: Any) -> None:
        """Let an object that was just created answer its keys."""
        if self.lookup.where is not None:
            return  # which a new row need not satisfy
        if isinstance(obj, self.plan.mapper.class_) and obj in self.session:
            for key in self._keys:
                values = key.current(obj) if key.plain else None
                if values is not None:
                    self.lookup.remember(key, values, obj)

    def settle(self, found: Found, *, read_only: bool) -> bool:
        """Hold the passed values against the row, and do what ``on_mismatch`` says.

        Returns:
            Whether they agreed.

        Raises:
            MismatchError: a value of another key contradicts the row; or any value, under
                ``on_mismatch="raise"``.
        """
        policy = self.plan.policy
        if read_only and policy.on_mismatch == "update":
            return False
        if policy.refresh and not inspect(found.obj).pending:
            self._refresh(found.obj)
        contradictions, others = self.differences_of(found)
        if not contradictions and not others:
            return True
        settle(
            found.obj,
            contradictions,
            others,
            policy="keep" if read_only and policy.on_mismatch == "warn" else policy.on_mismatch,
            factory=self.call.factory,
            key=found.key.described(found.obj),
            update=lambda differing: self._update(found.obj, differing),
        )
        return False

    def depends_on(self, found: Found, passed: Iterable[str]) -> list[MappedColumn] | None:
        """Return the columns of the row on which the same call's answer depends.

        Args:
            passed: the names of the attributes that the call gives plain values for.

        Returns:
            ``None`` if it depends on more than that row.
        """
        policy, key = self.plan.policy, found.key
        asks_again = policy.refresh or not policy.cache or policy.where is not None
        if asks_again or not key.unique or len(self._tried) != 1:
            return None
        others = [name for name in passed if name not in key.settled]
        columns = [column_behind(self.plan.mapper, name) for name in others]
        known = [column for column in columns if column is not None]
        return [*key.columns, *known] if len(known) == len(columns) else None

    def _refresh(self, obj: Any) -> None:
        unflushed = inspect(obj).committed_state
        kept = [each.key for each in self.plan.mapper.column_attrs if each.key not in unflushed]
        with self.lookup.queries.pending_kept():
            self.session.refresh(obj, kept if unflushed else None)

    def _update(self, obj: Any, differing: Sequence[Difference]) -> None:
        # A passed category__name="ZZ" means the category of that name, so it is its SubFactory's.
        values = {
            difference.passed.path[0]: difference.passed.value
            if len(difference.passed.path) == 1 and difference.passed.evaluated
            else self.call.value(difference.passed.path[0])
            for difference in differing
        }
        scope = savepoint(self.session, self.plan.mapper)
        with scope if self.plan.savepoint else contextlib.nullcontext():
            for name, value in values.items():
                setattr(obj, name, value)
        if self.plan.commit:
            self.session.commit()

    def differences_of(self, found: Found) -> tuple[list[Difference], list[Difference]]:
        """Return the passed values that the row contradicts: those of other keys, and the rest."""
        names = self.plan.names
        # What the lookup has compared already is left out. Of a row that refused the INSERT, it was
        # the instance's value, and a SubFactory may have outdone a passed foreign key.
        outdone = found.key.foreign if found.source == "race" else frozenset()
        settled = found.key.settled - outdone
        passed = list(self.call.passed(names, settled))
        if not passed:
            return [], []
        dialect = self.session.get_bind(self.plan.mapper).dialect
        with self.lookup.queries.pending_kept():  # a relationship loaded for comparison would flush
            differing = differences(found.obj, passed, dialect)
        of_other_keys = self.plan.names_beside(found.key) | outdone
        contradictions, others = [], []
        for each in differing:
            if each.passed.path[0] not in of_other_keys:
                others.append(each)
            elif not self._is_equal_there(found.obj, each.passed):
                contradictions.append(each)
        return contradictions, others

    def _is_equal_there(self, obj: Any, passed: Passed) -> bool:
        """Whether the database takes a passed key value for the row's, though Python does not."""
        columns = [column for key in self.plan.keys for column in key.columns]
        column = next((column for column in columns if passed.name in column.direct), None)
        if column is None:
            return False
        value = column.as_held(passed.name, passed.value, obj)
        return value is not MISSING and self.lookup.queries.equals(obj, column, value)

    def _reread(self, failed: list[Any]) -> tuple[Any, Found] | None:
        """Return the row by the keys of the call, or of the instance that failed to become one."""
        for key, values in self._candidates(failed):
            found = self.lookup.find_locked(key, values)
            if found is not None:
                return found.obj, found
        return None

    def _is_visible(self, failed: list[Any]) -> bool:
        """Whether ``where`` alone keeps the row from being found."""
        return self.lookup.where is not None and any(
            self.lookup.queries.exists(key, values) for key, values in self._candidates(failed)
        )

    def _candidates(self, failed: list[Any]) -> list[tuple[Key, tuple[Any, ...]]]:
        """Return the keys and values to look the row up by that refused the INSERT.

        The instance may have other values than the call gave. Of several of its class in the
        flush, it is the one that has most of the arguments; or the first, since what it refers to
        was added after it.
        """
        candidates = list(self._tried)
        tried = {(key, frozen(values)) for key, values in self._tried}
        of_class = [obj for obj in failed if isinstance(obj, self.plan.mapper.class_)]
        ours = max(of_class, key=self._arguments_held, default=None)
        for key in self.plan.keys if ours is not None else ():
            if not self.plan.counts(key, self.call):
                continue
            values = key.current(ours)
            if values is not None and (key, frozen(values)) not in tried:
                candidates.append((key, values))
        return candidates + self._passed_of_upgraded()

    def _passed_of_upgraded(self) -> list[tuple[Key, tuple[Any, ...]]]:
        """Return the key of those ``sqlalchemy_get_or_create`` fields that the caller passed.

        By these factory_boy looks again when its INSERT was refused: each may be unique alone.
        """
        names = tuple(name for name in self.plan.upgraded if self.call.explicit(name))
        if not names:
            return []
        dialect = self.lookup.queries.dialect.name
        (key,) = declared_keys(self.call.factory, self.plan.mapper, (names,), dialect)
        values = key.given(self.call)
        return [] if values is None else [(key, values)]

    def _arguments_held(self, obj: Any) -> int:
        held = inspect(obj).dict
        return sum(held.get(name, MISSING) is value for name, value in self._arguments.items())
