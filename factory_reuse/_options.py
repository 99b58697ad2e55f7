"""The options object that factory_boy talks to: every call of a factory passes through it."""

from __future__ import annotations

import functools
from typing import Any, Mapping

from factory import enums
from factory.base import BaseFactory, FactoryOptions
from factory.builder import BuildStep
from sqlalchemy import inspect
from sqlalchemy.orm import Mapper, Session, object_session

from . import _scope
from ._arguments import check_arguments, check_path, has_stock
from ._builders import FindBuilder
from ._cache import Entry
from ._call import EVERYTHING, PlainCall, StepCall
from ._declared import DeclaredOptions
from ._keys import Key, considered, declared_keys, inferred_keys
from ._lookahead import GATE, MARK, SKIPPED, Run, depth_of, run_of
from ._lookup import Found
from ._mismatch import differences
from ._recall import keep, recall, token_of
from ._resolve import Decision, Plan
from ._scope import Mark, Scope
from ._session import awaited, real_session
from .errors import ReuseError, SessionError, UniqueKeyError
from .report import Source


class ReuseOptions(DeclaredOptions):
    """Mixed into a factory's own options class; see :func:`reuse_options_class`."""

    #: The options class that the factory was declared with.
    declared_class: type[FactoryOptions]

    # What factory_boy calls when a factory is called -----------------------------------------

    def prepare_arguments(self, attributes: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        run = attributes.get(GATE)
        if run is not None and run.found is not None:
            return (), {}
        attributes = {name: value for name, value in attributes.items() if name != GATE}
        prepared: tuple[Any, dict[str, Any]] = super().prepare_arguments(attributes)
        return prepared

    def instantiate(self, step: BuildStep, args: Any, kwargs: Any) -> Any:
        run = run_of(step)
        if run is None:
            return super().instantiate(step, args, kwargs)
        if not isinstance(run, Run):
            return run.found.obj
        if run.found is None:
            make = super().instantiate
            if _scope.current().cancellation is not None:
                # Where a SubFactory makes its object in a task, that is to end before ours begins.
                kwargs = {name: awaited(value) for name, value in kwargs.items()}
            with _scope.within(pin=(self, run.decision.session), together=None):
                obj, run.found = run.decision.create(
                    lambda: awaited(make(step, args, kwargs)), arguments=kwargs
                )
            if run.found is None:
                return obj
        self._settle(run.decision, run.found, read_only=isinstance(step.builder, FindBuilder))
        return run.found.obj

    def make(self, step: BuildStep, args: Any, kwargs: Any) -> Any:
        """Make the object of a call that found none, without a SAVEPOINT and a flush of its own."""
        return super().instantiate(step, args, kwargs)

    def use_postgeneration_results(self, step: BuildStep, instance: Any, results: Any) -> None:
        run = run_of(step)
        found = None if run is None else run.found
        if run is not None:
            run.close()
        if isinstance(step.builder, FindBuilder):
            return
        results = {name: value for name, value in results.items() if value is not SKIPPED}
        super().use_postgeneration_results(step=step, instance=instance, results=results)
        mark: Mark | None = vars(step).get(MARK)
        if mark is not None:
            source: Source = "created" if found is None else found.source
            label = "" if found is None else found.label
            mark.end(self, label, source, depth_of(step), instance)

    # What a declaration changes --------------------------------------------------------------

    def settle_options(self, *, declared: bool) -> None:
        for name in ("reuses_unheard", "goes_together", "_taken_plainly"):
            self.__dict__.pop(name, None)
        super().settle_options(declared=declared)

    # What the lookahead calls ----------------------------------------------------------------

    def recall(self, given: dict[str, Any], scope: Scope) -> Found | None:
        """Return what the same call was answered with, if that is the answer still."""
        entry = self._recalled(given, scope)
        return None if entry is None else Found(entry.obj, "cache", entry.key)

    def recycled(self, call: StepCall) -> Any | None:
        """Return the object that the call takes, of those that the block recycles."""
        mapper = self._mapper()
        if mapper is None or call.passes_parameter():
            return None
        taken = _scope.take_recycled(lambda obj: self._agrees(obj, mapper, call))
        if taken is not None:
            check_arguments(self.factory, mapper, call.undeclared())
        return taken

    def look_ahead(self, call: StepCall) -> Run | None:
        """Return the call's run, with the row if it is there; ``None`` if it is not our concern."""
        decision = self.decision(call)
        return None if decision is None else Run(decision, decision.find())

    def decision(self, call: StepCall | PlainCall, like: Decision | None = None) -> Decision | None:
        """Return the decision for a call, nothing of it made yet; ``None`` as above.

        Args:
            like: the decision of another call that looks in the same place.
        """
        if like is not None:
            decision = Decision(like.plan, like.session, call, like.lookup)
        else:
            mapper = self._mapper()
            if mapper is None:
                return None
            try:
                session = self._session(mapper)
            except SessionError:
                if any(key.available(call) for key in self._keys(mapper, "default")):
                    raise
                return None  # nothing to look up by, so the factory's own _create may know where
            decision = Decision(self.plan(mapper, session), session, call)
        if not decision.has_key and self.declared and (self.policy.on is None or self.upgraded):
            raise self._no_key(decision.plan.mapper, decision.session)
        return decision

    def key_names(self) -> frozenset[str]:
        """Return the names that may give a part of a key; none, where nothing is looked up."""
        try:
            place = None if self.abstract or not self.reuse else self.place()
        except ReuseError:  # which a call will raise
            place = None
        keys = () if place is None else self.plan(*place).keys
        return frozenset().union(*(key.names for key in keys))

    def place(self) -> tuple[Mapper[Any], Session] | None:
        """Return where rows are looked up; ``None`` if the model has no table.

        Raises:
            ReuseError: there must be a session, or a table, and there is none.
        """
        mapper = self._mapper()
        return None if mapper is None else (mapper, self._session(mapper))

    def runs_after(self, step: BuildStep, name: str) -> bool:
        """Whether a post-generation declaration runs for the step's object."""
        run = run_of(step)
        if run is None or run.found is None:
            return True
        if isinstance(step.builder, FindBuilder):
            return False
        when = self.policy.post_generation
        return when == "always" or (when == "explicit" and run.passes(name))

    # What the factory itself calls -----------------------------------------------------------

    def answer(self, given: Mapping[str, Any], mark: Mark | None = None) -> Any | None:
        """Return the object of a repeated call to create, without a decision.

        Whoever calls sees to the sequence, which each call takes a number of.

        Args:
            mark: where the call began, if not here.
        """
        scope = _scope.current()
        if scope.recorder is not None and mark is None:
            mark = scope.recorder.begin()
        entry = self._recalled(given, scope)
        if entry is None or not self.reuses_unheard:
            return None
        if mark is not None:
            mark.end(self, entry.key.label, "cache", 0, entry.obj)
        return entry.obj

    def reused(self, decision: Decision, found: Found, mark: Mark | None) -> Any:
        """Return the object of a direct call that found one, without a build step.

        The answer is kept from the second time on: many a call is made but once.
        """
        self._settle(decision, found, keeps=found.source != "database")
        if mark is not None:
            mark.end(self, found.label, found.source, 0, found.obj)
        return found.obj

    def recalls(self, given: Mapping[str, Any]) -> bool:
        """Whether the call is one that was answered before, and would be so again."""
        return self._recalled(given, _scope.current()) is not None

    @functools.cached_property
    def goes_together(self) -> bool:
        """Whether the objects of many calls may be made one after the other, and then flushed."""
        return has_stock(self.factory, "_create", "_save") and self._has_stock("instantiate")

    def takes_plainly(self, names: tuple[str, ...]) -> bool:
        """Whether plain values that are passed under these names reach the model as they are."""
        known = self._taken_plainly
        if names not in known:
            own = self.pre_declarations.declarations
            known[names] = not any(
                enums.SPLITTER in name
                or name in self.parameters
                or name in self.post_declarations
                or getattr(own.get(name), "CAPTURE_OVERRIDES", False)  # a Transformer
                for name in names
            )
        return known[names]

    @functools.cached_property
    def _taken_plainly(self) -> dict[tuple[str, ...], bool]:
        return {}

    @property
    def without_reuse(self) -> FactoryOptions:
        """The same options object as it was: it shares all that this one has, and adds nothing."""
        options: FactoryOptions = self.declared_class.__new__(self.declared_class)
        options.__dict__ = self.__dict__
        return options

    def _recalled(self, given: Mapping[str, Any], scope: Scope) -> Entry | None:
        own = self.__dict__
        if own.get("sqlalchemy_session_factory") is not None:
            return None  # which opens another session at each call, and may be asked but once
        token = token_of(self.identity, given)
        if token is None:
            return None
        source = scope.session
        if source is None:
            source = self.policy.session
        if source is None:
            source = own.get("sqlalchemy_session")
        if type(source) is not Session:
            try:
                source = real_session(source, factory=self.name)
            except SessionError:
                return None
        return recall(source, token)

    def _settle(
        self, decision: Decision, found: Found, *, read_only: bool = False, keeps: bool = True
    ) -> None:
        """Do what is to be done for a row that was there.

        Args:
            keeps: whether the answer is kept for a repeated call.
        """
        check_arguments(self.factory, decision.plan.mapper, decision.call.undeclared())
        for path in decision.call.paths:
            check_path(self.factory, path)
        if decision.settle(found, read_only=read_only) and keeps:
            self._keep(decision, found)

    def _agrees(self, obj: Any, mapper: Mapper[Any], call: StepCall) -> bool:
        """Whether an object is of the model, and contradicts nothing that is passed."""
        if not isinstance(obj, mapper.class_):
            return False
        session, state = self._session(mapper), inspect(obj)
        if object_session(obj) not in (None, session) or state.deleted or state.was_deleted:
            return False
        passed = list(call.passed(evaluate=EVERYTHING, settled=()))
        if not passed:
            return True
        dialect = session.get_bind(mapper).dialect
        with session.no_autoflush:
            return not differences(obj, passed, dialect)

    def _keep(self, decision: Decision, found: Found) -> None:
        given = decision.call.plain()
        token = None if given is None else token_of(self.identity, given)
        if given is None or token is None or not self.reuses_unheard:
            return
        columns = decision.depends_on(found, [self.rename.get(name, name) for name in given])
        if columns is not None:
            keep(decision.session, token, given, found.obj, found.key, columns)

    @functools.cached_property
    def reuses_unheard(self) -> bool:
        """Whether nothing is to be run for a row that is reused and was given plain values."""
        stock: Any = BaseFactory._after_postgeneration
        own = self.factory._after_postgeneration  # a plain function, where a plugin sets it aside
        return (
            getattr(own, "__func__", None) is stock.__func__
            and self._has_stock("prepare_arguments", "instantiate", "use_postgeneration_results")
            and not (self.policy.post_generation == "always" and self._has_hooks)
        )

    @property
    def _has_hooks(self) -> bool:
        return bool(self.post_declarations.declarations)

    def _has_stock(self, *hooks: str) -> bool:
        return all(
            getattr(super(ReuseOptions, self), name).__func__ is getattr(FactoryOptions, name)
            for name in hooks
        )

    def _mapper(self) -> Mapper[Any] | None:
        model = self.get_model_class()
        mapper = inspect(model, raiseerr=False)
        if isinstance(mapper, Mapper):
            return mapper
        if not self.declared:
            return None
        raise UniqueKeyError(
            f"{self.name}: {model!r} is not mapped by SQLAlchemy, so it has no rows to reuse. "
            "Remove reuse_existing, or set Meta.model to a mapped class.",
            factory=self.name,
            model=getattr(model, "__name__", repr(model)),
        )

    def plan(self, mapper: Mapper[Any], session: Session) -> Plan:
        """Return what is decided once for the factory and the backend."""
        persistence = self.__dict__.get("sqlalchemy_session_persistence")
        dialect = session.get_bind(mapper).dialect.name
        known = (mapper, persistence, dialect)
        if known not in self.plans:
            savepoint = self.policy.savepoint
            # A `_create` of the project's own may flush, whatever the persistence says.
            lazy = persistence is None and (
                has_stock(self.factory, "_create", "_save") if savepoint is None else not savepoint
            )
            self.plans[known] = Plan(
                mapper=mapper,
                keys=self._keys(mapper, dialect),
                policy=self.policy,
                lazy=lazy,
                savepoint=not lazy if savepoint is None else savepoint,
                commit=persistence == "commit",
                upgraded=self.upgraded,
            )
        return self.plans[known]

    def _keys(self, mapper: Mapper[Any], dialect: str) -> tuple[Key, ...]:
        if self.policy.on is None:
            return inferred_keys(mapper, dialect)
        try:
            return declared_keys(self.name, mapper, self.policy.on, dialect)
        except UniqueKeyError:
            if self.declared:
                raise
            return ()  # an abstract base's key that this model does not have

    def _no_key(self, mapper: Mapper[Any], session: Session) -> UniqueKeyError:
        model = mapper.class_.__name__
        dialect = session.get_bind(mapper).dialect.name
        given = [name for name in self.pre_declarations if name not in self.exclude]
        return UniqueKeyError(
            f"{self.name}: {model} has no unique key that a call could give a value for. Looked "
            f"at: {considered(mapper, dialect)}; declared by the factory: "
            f"{', '.join(given) or 'nothing'}. Write "
            "@reuse_existing(on=(...)) with the fields that identify a row, declare the key's "
            "fields in the factory, or on=() to never look up.",
            factory=self.name,
            model=model,
        )


def options_of(factory: Any) -> ReuseOptions:
    """Return a reuse-enabled factory's options.

    Raises:
        ReuseError: the factory does not reuse, or is none.
    """
    meta = getattr(factory, "_meta", None)
    if not isinstance(meta, ReuseOptions):
        name = getattr(factory, "__name__", repr(factory))
        raise ReuseError(
            f"{name} is no factory that reuses rows. Decorate the factory with @reuse_existing.",
            factory=name,
        )
    return meta


_classes: dict[type, type[ReuseOptions]] = {}


def reuse_options_class(options_class: type) -> type[ReuseOptions]:
    """Return the subclass of a factory's own options class that reuses; one for each."""
    if issubclass(options_class, ReuseOptions):
        return options_class
    if options_class not in _classes:
        name = f"Reuse{options_class.__name__}"
        _classes[options_class] = type(
            name, (ReuseOptions, options_class), {"declared_class": options_class}
        )
    return _classes[options_class]
