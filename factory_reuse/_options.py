"""The options object that factory_boy talks to: every call of a factory passes through it."""

from __future__ import annotations

from typing import Any, Final

from factory import enums
from factory.base import FactoryMetaClass, FactoryOptions, OptionDefault
from factory.builder import BuildStep, parse_declarations
from sqlalchemy import inspect
from sqlalchemy.orm import Mapper, Session, scoped_session
from sqlalchemy.orm.exc import UnmappedClassError

from . import _scope
from ._arguments import check_arguments, has_stock
from ._keys import Key, considered, declared_keys, inferred_keys
from ._lookahead import (
    GATE,
    SKIPPED,
    Declarations,
    FindBuilder,
    PostDeclarations,
    Run,
    StepCall,
    depth_of,
)
from ._policy import DEFAULTS, OPTIONS, checked
from ._resolve import Decision, Plan
from ._session import real_session
from .errors import ReuseError, SessionError, UniqueKeyError
from .report import Outcome

PREFIX: Final = "reuse_"


class ReuseOptions(FactoryOptions):
    """Mixed into a factory's own options class; see :func:`reuse_options_class`."""

    reuse: Any
    reuse_on: Any
    factory: Any
    _unique_fields: Any = None

    # What factory_boy reads ------------------------------------------------------------------

    @property
    def pre_declarations(self) -> Any:
        return self.__dict__["pre_declarations"]

    @pre_declarations.setter
    def pre_declarations(self, declarations: Any) -> None:
        self.__dict__["pre_declarations"] = Declarations(declarations.as_dict())

    @property
    def post_declarations(self) -> Any:
        return self.__dict__["post_declarations"]

    @post_declarations.setter
    def post_declarations(self, declarations: Any) -> None:
        self.__dict__["post_declarations"] = PostDeclarations(declarations.as_dict())

    @property
    def sqlalchemy_session(self) -> Any:
        own = self._own("sqlalchemy_session")
        session = self._given_session()
        if session is None or session is own:
            return own
        if isinstance(own, scoped_session):  # which may be called, unlike a Session
            make: Any = lambda: session  # noqa: E731
            return own if own.registry() is session else scoped_session(make)
        return session

    @sqlalchemy_session.setter
    def sqlalchemy_session(self, session: Any) -> None:
        self.__dict__["sqlalchemy_session"] = session

    @sqlalchemy_session.deleter
    def sqlalchemy_session(self) -> None:
        del self.__dict__["sqlalchemy_session"]

    @property
    def sqlalchemy_session_factory(self) -> Any:
        own = self._own("sqlalchemy_session_factory")
        return own if self._given_session() is None else None

    @sqlalchemy_session_factory.setter
    def sqlalchemy_session_factory(self, factory: Any) -> None:
        self.__dict__["sqlalchemy_session_factory"] = factory

    @sqlalchemy_session_factory.deleter
    def sqlalchemy_session_factory(self) -> None:
        del self.__dict__["sqlalchemy_session_factory"]

    @property
    def sqlalchemy_get_or_create(self) -> Any:
        own = self._own("sqlalchemy_get_or_create")
        # Its fields are our key, and factory_boy must not look up a second time.
        return () if self.reuse and not _scope.shows_declaration() else own

    @sqlalchemy_get_or_create.setter
    def sqlalchemy_get_or_create(self, fields: Any) -> None:
        self.__dict__["sqlalchemy_get_or_create"] = fields

    # What factory_boy calls when a factory is declared ---------------------------------------

    def _build_default_options(self) -> list[OptionDefault]:
        ours = [OptionDefault("reuse", True, inherit=True)]
        ours += [OptionDefault(PREFIX + name, DEFAULTS[name], inherit=True) for name in OPTIONS]
        return [*super()._build_default_options(), *ours]

    def contribute_to_class(
        self,
        factory: Any,
        meta: Any = None,
        base_meta: Any = None,
        base_factory: Any = None,
        params: Any = None,
    ) -> None:
        with _scope.as_declared():
            super().contribute_to_class(
                factory, meta=meta, base_meta=base_meta, base_factory=base_factory, params=params
            )
        said = vars(meta) if meta is not None else {}
        own_fields = params is not None and "unique_fields" in vars(params)
        if own_fields and "reuse_on" in said:
            raise ReuseError(
                f"{factory.__name__}: Meta.reuse_on and Params.unique_fields both name the key. "
                "Keep one of them.",
                factory=factory.__name__,
            )
        mixed_in = any(
            getattr(base, "_is_reuse_mixin", False) and not isinstance(base, FactoryMetaClass)
            for base in factory.__bases__
        )
        self._take_unique_fields()
        first = mixed_in and self.reuse_on is None
        if "reuse_on" not in said:
            self._take_key(
                unique_fields=own_fields or first,
                get_or_create=first or "sqlalchemy_get_or_create" in said,
            )
        self.settle_options(
            declared=mixed_in or own_fields or any(name.startswith(PREFIX) for name in said)
        )

    def settle_options(self, *, declared: bool) -> None:
        """Check the ``reuse_*`` attributes and take them as the factory's policy.

        Args:
            declared: whether they were declared on this very factory, not inherited.
        """
        if not isinstance(self.reuse, bool):
            raise ReuseError(
                f"{self._name}: Meta.reuse={self.reuse!r} is not possible; it takes True or False.",
                factory=self._name,
                values={"reuse": self.reuse},
            )
        self.declared = declared
        self._policy = checked(self._name, {n: getattr(self, PREFIX + n) for n in OPTIONS})
        self._plans: dict[Any, Plan] = {}
        try:
            mapper = inspect(self.model, raiseerr=False)
        except UnmappedClassError:  # to be mapped later: DeferredReflection
            mapper = None
        # Backrefs are attributes only once the mappers are configured, so not before.
        if declared and isinstance(mapper, Mapper) and mapper.configured:
            declared_keys(self._name, mapper, self._policy.on or (), dialect="default")

    def replace_options(self, options: dict[str, Any]) -> None:
        """Declare the factory's options anew, as the decorator does."""
        self.reuse = True
        for name in OPTIONS:
            setattr(self, PREFIX + name, options.get(name, DEFAULTS[name]))
        self._take_unique_fields()
        if self.reuse_on is None:
            self._take_key(unique_fields=True, get_or_create=True)
        self.settle_options(declared=True)

    def inherit_options(self, parent: ReuseOptions) -> None:
        """Take over a parent's options, for a class that was there before they were declared."""
        self.reuse = parent.reuse
        for name in OPTIONS:
            setattr(self, PREFIX + name, getattr(parent, PREFIX + name))
        self._take_unique_fields()
        self._take_key(
            unique_fields=self._unique_fields != parent._unique_fields,
            get_or_create=self._legacy_fields() != parent._legacy_fields(),
        )
        self.settle_options(declared=False)

    def _take_unique_fields(self) -> None:
        """Make ``Params.unique_fields`` what it says, and no parameter of the model."""
        if "unique_fields" in self.parameters:
            self._unique_fields = self.parameters.pop("unique_fields").value
            self.pre_declarations, self.post_declarations = parse_declarations(self.declarations)

    def _take_key(self, *, unique_fields: bool, get_or_create: bool) -> None:
        """Let the other ways to name a key be ``reuse_on``, those that the arguments allow."""
        if unique_fields and self._unique_fields is not None:
            self.reuse_on = self._unique_fields
        elif get_or_create and self._legacy_fields():
            self.reuse_on = self._legacy_fields()

    def _legacy_fields(self) -> tuple[str, ...]:
        return tuple(self.__dict__.get("sqlalchemy_get_or_create", ()))

    # What factory_boy calls when a factory is called -----------------------------------------

    def prepare_arguments(self, attributes: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        run = attributes.get(GATE)
        if run is not None and run.found is not None:
            return (), {}
        attributes = {name: value for name, value in attributes.items() if name != GATE}
        prepared: tuple[Any, dict[str, Any]] = super().prepare_arguments(attributes)
        return prepared

    def instantiate(self, step: BuildStep, args: Any, kwargs: Any) -> Any:
        run = Run.of(step)
        if run is None:
            return super().instantiate(step, args, kwargs)
        if run.found is None:
            make = super().instantiate
            with _scope.pinned(self, run.decision.session):
                obj, run.found = run.decision.create(
                    lambda: make(step, args, kwargs), arguments=kwargs
                )
            if run.found is None:
                return obj
        check_arguments(self.factory, run.decision.plan.mapper, run.call.undeclared())
        run.decision.settle(run.found, read_only=isinstance(step.builder, FindBuilder))
        return run.found.obj

    def use_postgeneration_results(self, step: BuildStep, instance: Any, results: Any) -> None:
        run = Run.of(step)
        found = None if run is None else run.found
        if run is not None:
            run.close()
        if isinstance(step.builder, FindBuilder):
            return
        results = {name: value for name, value in results.items() if value is not SKIPPED}
        super().use_postgeneration_results(step=step, instance=instance, results=results)
        _scope.record(
            Outcome(
                factory=self._name,
                key="" if found is None else found.key.label,
                source="created" if found is None else found.source,
                depth=depth_of(step),
            )
        )

    # What the lookahead calls ----------------------------------------------------------------

    def looks_up(self, step: BuildStep) -> bool:
        """Whether the call is one that may reuse a row, or inserts one in our care."""
        return (
            step.builder.strategy == enums.CREATE_STRATEGY
            and self.reuse
            and not _scope.reuse_is_off()
        )

    def look_ahead(self, call: StepCall) -> Run | None:
        """Return the call's run, with the row if it is there; ``None`` if it is not our concern."""
        mapper = self._mapper()
        if mapper is None:
            return None
        try:
            session = self._session(mapper)
        except SessionError:
            if any(key.available(call) for key in self._keys(mapper, "default")):
                raise
            return None  # nothing to look up by, so the factory's own _create may know where
        decision = Decision(self._plan(mapper, session), session, call)
        if not decision.has_key and self.declared and self._policy.on is None:
            raise self._no_key(mapper, session)
        return Run(call, decision, decision.find())

    def runs_after(self, step: BuildStep, name: str) -> bool:
        """Whether a post-generation declaration runs for the step's object."""
        run = Run.of(step)
        if run is None or run.found is None:
            return True
        if isinstance(step.builder, FindBuilder):
            return False
        when = self._policy.post_generation
        return when == "always" or (when == "explicit" and run.call.passes(name))

    def _mapper(self) -> Mapper[Any] | None:
        model = self.get_model_class()
        mapper = inspect(model, raiseerr=False)
        if isinstance(mapper, Mapper):
            return mapper
        if not self.declared:
            return None
        raise UniqueKeyError(
            f"{self._name}: {model!r} is not mapped by SQLAlchemy, so it has no rows to reuse. "
            "Remove reuse_existing, or set Meta.model to a mapped class.",
            factory=self._name,
            model=getattr(model, "__name__", repr(model)),
        )

    def _session(self, mapper: Mapper[Any]) -> Session:
        maker = self.__dict__.get("sqlalchemy_session_factory")
        source = _scope.scoped()
        if source is None:
            source = self._policy.session
        if source is None and maker is not None:
            # factory_boy leaves the session here, where hooks look for it.
            source = self.sqlalchemy_session = maker()
        if source is None:
            source = self.__dict__.get("sqlalchemy_session")
        return real_session(source, factory=self._name, model=mapper.class_.__name__)

    def _given_session(self) -> Session | None:
        """Return the session to show in place of the factory's own, if any."""
        if _scope.shows_declaration():
            return None
        session = _scope.session_for(self)
        declared = self.__dict__.get("reuse_session")
        if session is None and declared is not None:
            session = real_session(declared, factory=self._name)
        return session

    def _plan(self, mapper: Mapper[Any], session: Session) -> Plan:
        persistence = getattr(self, "sqlalchemy_session_persistence", None)
        dialect = session.get_bind(mapper).dialect.name
        known = (mapper, persistence, dialect)
        if known not in self._plans:
            lazy = persistence is None and has_stock(self.factory, "_create", "_save")
            savepoint = self._policy.savepoint
            self._plans[known] = Plan(
                mapper=mapper,
                keys=self._keys(mapper, dialect),
                policy=self._policy,
                lazy=lazy and not savepoint,
                savepoint=not lazy if savepoint is None else savepoint,
                commit=persistence == "commit",
            )
        return self._plans[known]

    def _keys(self, mapper: Mapper[Any], dialect: str) -> tuple[Key, ...]:
        if self._policy.on is None:
            return inferred_keys(mapper, dialect)
        try:
            return declared_keys(self._name, mapper, self._policy.on, dialect)
        except UniqueKeyError:
            if self.declared:
                raise
            return ()  # an abstract base's key that this model does not have

    def _no_key(self, mapper: Mapper[Any], session: Session) -> UniqueKeyError:
        model = mapper.class_.__name__
        dialect = session.get_bind(mapper).dialect.name
        return UniqueKeyError(
            f"{self._name}: {model} has no unique key that a call could give a value for. Looked "
            f"at: {considered(mapper, dialect)}; declared by the factory: "
            f"{', '.join(self.pre_declarations) or 'nothing'}. Write "
            "@reuse_existing(on=(...)) with the fields that identify a row, declare the key's "
            "fields in the factory, or on=() to never look up.",
            factory=self._name,
            model=model,
        )

    @property
    def _name(self) -> str:
        name: str = self.factory.__name__
        return name

    def _own(self, name: str) -> Any:
        try:
            return self.__dict__[name]
        except KeyError:
            raise AttributeError(name) from None  # plain factories have no session options


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
        _classes[options_class] = type(name, (ReuseOptions, options_class), {})
    return _classes[options_class]
