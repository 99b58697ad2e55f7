"""What a factory was declared with, as factory_boy's own options and as ours."""

from __future__ import annotations

from typing import Any, Final

from factory.base import FactoryMetaClass, FactoryOptions, OptionDefault
from factory.builder import parse_declarations
from sqlalchemy import inspect
from sqlalchemy.orm import Mapper, Session, scoped_session
from sqlalchemy.orm.exc import UnmappedClassError

from . import _scope
from ._arguments import has_stock
from ._keys import declared_keys
from ._lookahead import Declarations, PostDeclarations
from ._policy import DEFAULTS, OPTIONS, Policy, checked
from ._resolve import Plan
from ._session import async_session_of, is_async, real_async_session, real_session
from .errors import ReuseError

PREFIX: Final = "reuse_"


class DeclaredOptions(FactoryOptions):
    """The declared half of a reuse-enabled factory's options.

    Attributes:
        reuse: ``Meta.reuse``.
        declared: whether reuse was declared on this very factory, not inherited.
        policy: the ``reuse_*`` options, checked.
        plans: what follows from them, by model, persistence and backend.
        upgraded: the fields of ``sqlalchemy_get_or_create``, where they are the key.
        identity: stands for the factory with these options; another object once they change.
    """

    reuse: Any
    reuse_on: Any
    factory: Any
    rename: dict[str, str]
    exclude: Any
    declared: bool
    policy: Policy
    plans: dict[Any, Plan]
    identity: object
    upgraded: tuple[str, ...] = ()
    _unique_fields: Any = None

    # What factory_boy reads ------------------------------------------------------------------

    @property
    def pre_declarations(self) -> Any:
        return self.__dict__["_pre_declarations"]

    @pre_declarations.setter
    def pre_declarations(self, declarations: Any) -> None:
        self.__dict__["pre_declarations"] = declarations
        self.__dict__["_pre_declarations"] = Declarations(declarations.as_dict())

    @property
    def post_declarations(self) -> Any:
        return self.__dict__["_post_declarations"]

    @post_declarations.setter
    def post_declarations(self, declarations: Any) -> None:
        self.__dict__["post_declarations"] = declarations
        self.__dict__["_post_declarations"] = PostDeclarations(declarations.as_dict())

    @property
    def sqlalchemy_session(self) -> Any:
        own = self._own("sqlalchemy_session")
        session = self._given_session()
        if session is None or session is own:
            return own
        if is_async(own) and not has_stock(self.factory, "_create", "_save"):
            return async_session_of(session) or session
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
    def sqlalchemy_session_persistence(self) -> Any:
        own = self._own("sqlalchemy_session_persistence")
        return None if _scope.current().together is self else own

    @sqlalchemy_session_persistence.setter
    def sqlalchemy_session_persistence(self, persistence: Any) -> None:
        self.__dict__["sqlalchemy_session_persistence"] = persistence

    @sqlalchemy_session_persistence.deleter
    def sqlalchemy_session_persistence(self) -> None:
        del self.__dict__["sqlalchemy_session_persistence"]

    @property
    def sqlalchemy_get_or_create(self) -> Any:
        own = self._own("sqlalchemy_get_or_create")
        # Its fields are our key, and factory_boy must not look up a second time.
        return () if self.reuse and not _scope.current().as_declared else own

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
        with _scope.within(as_declared=True):
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
                f"{self.name}: Meta.reuse={self.reuse!r} is not possible; it takes True or False.",
                factory=self.name,
                values={"reuse": self.reuse},
            )
        self.declared = declared
        self.policy = checked(self.name, {n: getattr(self, PREFIX + n) for n in OPTIONS})
        self.upgraded = self._legacy_fields() if self.reuse_on == self._legacy_fields() else ()
        self.plans = {}
        self.identity = object()
        try:
            mapper = inspect(self.model, raiseerr=False)
        except UnmappedClassError:  # to be mapped later: DeferredReflection
            mapper = None
        # Backrefs are attributes only once the mappers are configured, so not before.
        if declared and isinstance(mapper, Mapper) and mapper.configured:
            declared_keys(self.name, mapper, self.policy.on or (), dialect="default")

    def replace_options(self, options: dict[str, Any]) -> None:
        """Declare the factory's options anew, as the decorator does."""
        self.reuse = True
        for name in OPTIONS:
            setattr(self, PREFIX + name, options.get(name, DEFAULTS[name]))
        self._take_unique_fields()
        if self.reuse_on is None:
            self._take_key(unique_fields=True, get_or_create=True)
        self.settle_options(declared=True)

    def inherit_options(self, parent: DeclaredOptions) -> None:
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

    def _given_session(self) -> Session | None:
        """Return the session to show in place of the factory's own, if any."""
        scope = _scope.current()
        if scope.as_declared:
            return None
        session = scope.session_for(self)
        declared = self.__dict__.get("reuse_session")
        if session is None and declared is not None:
            session = real_session(declared, factory=self.name)
        return session

    # Where rows are looked up and written ----------------------------------------------------

    def _session(self, mapper: Mapper[Any]) -> Session:
        scope = _scope.current()
        if scope.pin is not None and scope.pin[0] is self:
            return scope.pin[1]
        maker = self.__dict__.get("sqlalchemy_session_factory")
        source = scope.session
        if source is None:
            source = self.policy.session
        if source is None and maker is not None:
            # factory_boy leaves the session here, where hooks look for it.
            source = self.sqlalchemy_session = maker()
        if source is None:
            source = self.__dict__.get("sqlalchemy_session")
        return real_session(source, factory=self.name, model=mapper.class_.__name__)

    def async_session(self) -> Any:
        """Return the ``AsyncSession`` that an awaited call of the factory itself uses.

        Raises:
            SessionError: it has none.
        """
        scope = _scope.current()
        if scope.session is not None:
            return async_session_of(real_session(scope.session, factory=self.name))
        source = self.policy.session or self.__dict__.get("sqlalchemy_session")
        return real_async_session(source, factory=self.name)

    @property
    def name(self) -> str:
        """The factory's name, for messages: the one that its author gave it."""
        name: str = authored(self.factory).__name__
        return name

    def _own(self, name: str) -> Any:
        try:
            return self.__dict__[name]
        except KeyError:
            raise AttributeError(name) from None  # plain factories have no session options


def authored(factory: Any) -> Any:
    """Return the class that the factory's author wrote.

    The fixtures of pytest-factoryboy call a subclass of it that they name ``Factory``, and whose
    metaclass gives it factory_boy's own module.
    """
    if (factory.__module__, factory.__name__) == ("factory.base", "Factory"):
        return factory.__base__
    return factory
