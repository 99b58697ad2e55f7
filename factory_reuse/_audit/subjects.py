"""One factory as the rules see it."""

from __future__ import annotations

from functools import cached_property
from typing import Any, Iterable, Mapping, NamedTuple

from factory.alchemy import SQLAlchemyModelFactory
from factory.declarations import Maybe, RelatedFactory, SelfAttribute, Trait
from sqlalchemy import inspect
from sqlalchemy.orm import Mapper, Session, scoped_session
from sqlalchemy.sql.elements import TextClause
from sqlalchemy.sql.visitors import iterate
from typing_extensions import final

from factory_reuse._arguments import has_stock
from factory_reuse._call import is_subfactory
from factory_reuse._columns import mapped_column
from factory_reuse._criteria import where_expression
from factory_reuse._keys import Key, declared_keys, inferred_keys
from factory_reuse._options import ReuseOptions
from factory_reuse._parts import Part, PredicatePart, columns_in
from factory_reuse._policy import Policy
from factory_reuse.errors import UniqueKeyError

from . import variety
from .findings import CODES, Finding
from .modules import Home
from .places import Places
from .variety import Variety, drawn_together, variety_of


@final
class Link(NamedTuple):
    """A declaration that runs another factory.

    Attributes:
        related: whether it does so after its own object is made.
    """

    parent: Subject
    name: str
    declaration: Any
    related: bool

    @property
    def passes(self) -> frozenset[str]:
        """The names that the declaration itself gives a value for."""
        names = {name.partition("__")[0] for name in self.defaults}
        if self.related and self.declaration.name:
            names.add(self.declaration.name)
        return frozenset(names)

    @property
    def defaults(self) -> Mapping[str, Any]:
        """What the declaration passes on, and what the factory does beside it."""
        meta = self.parent.meta
        declared = meta.post_declarations if self.related else meta.pre_declarations
        own = self.declaration.defaults if self.related else self.declaration._defaults
        return {**own, **declared.contexts.get(self.name, {})}


@final
class Subject:
    """One concrete factory.

    Attributes:
        factory: the class.
        name: its module and name.
        model: its model's name; empty, if it has none.
        mapper: of its model; ``None`` if that is not mapped.
        dialect: of the database by which partial indexes are judged.
        reuses: whether reuse is on.
        policy: its options; the default ones, where it does not reuse.
    """

    def __init__(self, factory: Any, home: Home, places: Places, dialect: str | None) -> None:
        self.factory = factory
        self.name = str(home)
        self._places = places
        self.meta: Any = factory._meta
        self.short = home.name.rpartition(".")[2]
        model = self.meta.get_model_class()
        self.model: str = getattr(model, "__name__", "") or ""
        self.mapper = _mapper(model)
        self.session = _session_of(self.meta)
        self.dialect = dialect or _dialect(self.session, self.mapper)
        self.reuses = isinstance(self.meta, ReuseOptions) and self.meta.reuse
        #: Whether it is said that the factory does not reuse.
        self.turned_off = isinstance(self.meta, ReuseOptions) and not self.meta.reuse
        self.policy: Policy = self.meta.policy if self.reuses else Policy()
        self.declared_here: bool = self.reuses and self.meta.declared

    # Keys ------------------------------------------------------------------------------------

    @cached_property
    def unique(self) -> tuple[Key, ...]:
        """The keys that the tables have, without a primary key that the factory leaves alone."""
        keys = inferred_keys(self.mapper, self.dialect) if self.mapper is not None else ()
        return tuple(
            key for key in keys if not key.primary or self.variety(key).kind != variety.ABSENT
        )

    @cached_property
    def keys(self) -> tuple[Key, ...]:
        """The keys by which the factory looks rows up, or would if it were bare decorated.

        Raises:
            UniqueKeyError: ``on`` names what the model does not have.
        """
        if self.mapper is None or self.on is None:
            return self.unique
        return self.keys_of(self.on)

    @cached_property
    def on(self) -> tuple[tuple[str, ...], ...] | None:
        """The declared key: that of the decorator, or of ``sqlalchemy_get_or_create``."""
        if self.reuses:
            return self.policy.on
        return (self.get_or_create,) if self.get_or_create else None

    @property
    def get_or_create(self) -> tuple[str, ...]:
        """The fields of ``sqlalchemy_get_or_create``."""
        return tuple(vars(self.meta).get("sqlalchemy_get_or_create") or ())

    def keys_of(self, on: tuple[tuple[str, ...], ...]) -> tuple[Key, ...]:
        """Return the keys that ``on`` names.

        Raises:
            UniqueKeyError: the model does not have them.
        """
        assert self.mapper is not None
        try:
            return declared_keys(self.short, self.mapper, on, self.dialect)
        except UniqueKeyError:
            if self.reuses and not self.declared_here:
                return ()  # an abstract base's key that this model does not have
            raise

    @cached_property
    def where_columns(self) -> frozenset[Any]:
        """The table columns that ``where`` compares."""
        mapper = self.mapper
        if self.policy.where is None or mapper is None:
            return frozenset()
        expression = where_expression(self.policy.where, mapper.class_, self.short)
        assert expression is not None
        found = columns_in(expression, lambda column: mapped_column(mapper, column))
        if found is None or any(isinstance(each, TextClause) for each in iterate(expression)):
            return frozenset(mapper.columns)  # it may compare any of them
        return frozenset(column.column for column in found)

    # Declarations ----------------------------------------------------------------------------

    @cached_property
    def declarations(self) -> dict[str, Any]:
        """What each attribute of the model is declared with, Traits being off."""
        excluded = {*self.meta.parameters, *self.meta.exclude}
        return {
            self.meta.rename.get(name, name): self._without_trait(declaration)
            for name, declaration in self.meta.pre_declarations.declarations.items()
            if name not in excluded
        }

    @cached_property
    def hooks(self) -> dict[str, Any]:
        """The post-generation declarations, Traits being off."""
        declared = self.meta.post_declarations.declarations.items()
        return {name: self._without_trait(declaration) for name, declaration in declared}

    @cached_property
    def links(self) -> tuple[Link, ...]:
        """The declarations that run other factories."""
        before = [
            Link(self, name, declaration, related=False)
            for name, declaration in self.declarations.items()
            if is_subfactory(declaration) and not isinstance(declaration, Maybe)
        ]
        after = [
            Link(self, name, declaration, related=True)
            for name, declaration in self.hooks.items()
            if isinstance(declaration, RelatedFactory)
        ]
        return (*before, *after)

    @property
    def lazy(self) -> bool:
        """Whether new objects stay pending."""
        persistence = vars(self.meta).get("sqlalchemy_session_persistence")
        return (
            issubclass(self.factory, SQLAlchemyModelFactory)
            and persistence is None
            and not self.policy.savepoint
            and has_stock(self.factory, "_create", "_save")
        )

    def source(self, names: Iterable[str]) -> str | None:
        """Return the first of these attributes that the factory declares."""
        return next((name for name in names if name in self.declarations), None)

    def gives(self, key: Key) -> bool:
        """Whether the factory declares a value for each part of a key."""
        return all(
            self.source(part.names()) is not None
            for part in key.parts
            if not isinstance(part, PredicatePart)
        )

    def fields(self, key: Key) -> str:
        """Return the names by which a call passes a key."""
        parts = [part for part in key.parts if not isinstance(part, PredicatePart)]
        return ", ".join(map(self._field, parts))

    def _field(self, part: Any) -> str:
        """Return the name by which a part is passed: the relationship's, where it is declared."""
        relatives = [name for column in part.columns for name in column.relatives]
        names = tuple(part.names())
        return self.source(relatives) or self.source(names) or next(iter(names), part.label)

    def counting(self, key: Key) -> str:
        """Return the fields of a key that are another in each call."""
        parts = [part for part in key.parts if not isinstance(part, PredicatePart)]
        return ", ".join(
            self._field(part) for part in parts if self.variety_of(part).kind == variety.COUNTS
        )

    def variety(self, key: Key) -> Variety:
        """Return how a key's values vary: that of the part of which it depends."""
        parts = [part for part in key.parts if not isinstance(part, PredicatePart)]
        varieties = [self.variety_of(part) for part in parts]
        found = min(varieties, key=lambda each: _STRONGEST.index(each.kind))
        drawn = [self.source(part.names()) for part in parts]
        if found.kind == variety.CHANCE and len(drawn) > 1:
            found = drawn_together([self.declarations[name] for name in drawn if name is not None])
        repeats = _STRONGEST.index(found.kind) > _STRONGEST.index(variety.UNKNOWN)
        if repeats and len(parts) < len(key.parts):
            return found._replace(kind=variety.UNKNOWN)  # it may be outside the predicate
        return found

    def variety_of(self, part: Part) -> Variety:
        """Return how the values of one part of a key vary."""
        name, columns = self.source(part.names()), part.columns
        if name is None:
            filled = all(column.column.default is not None for column in columns)
            scalar = all(
                getattr(column.column.default, "is_scalar", False) and not column.primary_key
                for column in columns
            )
            return Variety(
                variety.SAME if scalar else variety.UNKNOWN if filled else variety.ABSENT, ""
            )
        found = variety_of(self.declarations[name])
        return _variety_of_parent(self.declarations[name]) if found.kind == "parent" else found

    def _without_trait(self, declaration: Any) -> Any:
        while isinstance(declaration, Maybe) and self._is_trait(declaration.decider):
            declaration = declaration.no
        return declaration

    def _is_trait(self, decider: Any) -> bool:
        return isinstance(decider, SelfAttribute) and isinstance(
            self.meta.parameters.get(decider.attribute_name), Trait
        )

    # Findings --------------------------------------------------------------------------------

    def finding(
        self,
        code: str,
        subject: str,
        reason: str,
        remedy: str,
        *,
        at: str = "",
        severity: str | None = None,
        weight: int = 0,
    ) -> Finding:
        """Return a finding about the factory.

        Args:
            at: of what it declares; see :meth:`Places.of`.
        """
        place = self._places.of(self.factory, at)
        return Finding(
            code=code,
            severity=severity or CODES[code].severity,
            factory=self.name,
            model=self.model,
            path=place.path,
            line=place.line,
            subject=subject,
            reason=reason,
            remedy=remedy,
            weight=weight,
        )


#: Which part decides for a whole key: if one is unknown, so is the key; if one counts, no key comes
#: twice, whatever the others.
_STRONGEST = (
    variety.ABSENT,
    variety.COUNTS,
    variety.WIDE,
    variety.UNKNOWN,
    variety.CHANCE,
    variety.CYCLES,
    variety.SAME,
)


def _variety_of_parent(declaration: Any) -> Variety:
    """Return how a SubFactory's parents vary: without reuse, each call makes another."""
    words = variety.in_words(declaration)
    try:
        meta = declaration.get_factory()._meta
    except Exception:  # a finding of its own
        return Variety(variety.UNKNOWN, words)
    reuses = isinstance(meta, ReuseOptions) and meta.reuse
    return Variety(variety.UNKNOWN if reuses else variety.COUNTS, words)


def _mapper(model: Any) -> Mapper[Any] | None:
    mapper = inspect(model, raiseerr=False)
    if not isinstance(mapper, Mapper):
        return None
    mapper.attrs  # noqa: B018 -- configures the mappers, which may fail
    return mapper


def _session_of(meta: Any) -> Session | None:
    """Return the factory's session, if it is there without running any of the project's code."""
    own = vars(meta)
    policy = own.get("policy")
    source = (
        own.get("sqlalchemy_session") if policy is None or not policy.session else policy.session
    )
    try:
        if isinstance(source, scoped_session) and source.registry.has():
            source = source.registry()
    except Exception:  # its scope is what is not there yet: an application's context, a request
        return None
    return source if isinstance(source, Session) else None


def _dialect(session: Session | None, mapper: Mapper[Any] | None) -> str:
    """Return the name of the database's dialect, or that for which the indexes were made."""
    try:
        if session is not None:
            return session.get_bind(mapper).dialect.name
    except Exception:  # it is bound to nothing yet
        pass
    options = {
        name
        for table in (mapper.tables if mapper is not None else ())
        for index in getattr(table, "indexes", ())
        for name in ("postgresql", "sqlite")
        if index.dialect_options[name].get("where") is not None
    }
    return "sqlite" if options == {"sqlite"} else "postgresql"
