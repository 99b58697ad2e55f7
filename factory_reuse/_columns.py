"""A mapped column, the names by which a factory reaches it, and the value an object has in it."""

from __future__ import annotations

from typing import Any, Iterable, Mapping

from sqlalchemy import Column, inspect, literal
from sqlalchemy.orm import Mapper, base
from sqlalchemy.orm.exc import UnmappedColumnError
from sqlalchemy.orm.interfaces import MANYTOONE
from sqlalchemy.sql.elements import ClauseElement
from typing_extensions import final

from ._blank import Read, assigned
from ._names import direct_names, indirect_names, synonyms
from ._values import MISSING, Call, Unsaved, coerce, described, equal, exact_type, fits
from .errors import MismatchError


@final
class MappedColumn:
    """One column of a model.

    Attributes:
        column: the table's column.
        attribute: the mapped attribute's name (``Column("a_col")`` mapped as ``a`` is ``a``).
        direct: the names under which a factory may give the value itself: the attribute, its
            synonyms and hybrids, and the public name of a private attribute (``_username``).
        indirect: the names of what is set as one with the column: composites, and hybrids with
            SQL of their own.
        related: many-to-one relationships that write the column at the flush, each with the
            parent's column that they copy.
        relatives: the names under which a call may give such a relationship, each with its own.
    """

    __slots__ = (
        "_exact_type",
        "_names",
        "_own",
        "attribute",
        "column",
        "direct",
        "indirect",
        "mapper",
        "primary_key",
        "related",
        "relatives",
    )

    def __init__(self, mapper: Mapper[Any], column: Column[Any]) -> None:
        self.mapper = mapper
        self.column = column
        self.attribute: str = mapper.get_property_by_column(column).key
        self.primary_key = any(column is part for part in mapper.primary_key)
        self.direct = tuple(direct_names(mapper, column, self.attribute))
        self.indirect = tuple(indirect_names(mapper, column, self.attribute))
        self.related: tuple[tuple[str, Any], ...] = tuple(
            (relationship.key, source)
            for relationship in mapper.relationships
            if relationship.direction is MANYTOONE and not relationship.viewonly
            for source, target in relationship.synchronize_pairs
            if target is column
        )
        self.relatives: dict[str, str] = {
            name: key for key, _ in self.related for name in (key, *synonyms(mapper, key))
        }
        self._exact_type = exact_type(column.type)
        self._own = (*self.direct, *self.indirect)
        self._names = (*self._own, *self.relatives)

    def coerce(self, value: Any) -> Any:
        """Return the value as the column would give it back; see :func:`._values.coerce`."""
        return value if type(value) is self._exact_type else coerce(self.column.type, value)

    def fits(self, value: Any) -> bool:
        """Whether every database can compare the column with the value."""
        return type(value) is self._exact_type or fits(self.column.type, value)

    def names(self) -> tuple[str, ...]:
        """All names under which a call may give a value for the column."""
        return self._names

    def available(self, call: Call) -> bool:
        """Whether the value can be known before the INSERT."""
        return any(map(call.has, self._names)) or self._default() is not MISSING

    def explicit(self, call: Call) -> bool:
        """Whether the caller passed a value for the column."""
        return any(map(call.explicit, self._names))

    def given(self, call: Call) -> Any:
        """Return the value the new row would get, evaluated once; ``MISSING`` if unknown.

        A relationship's value goes before that of its foreign-key column, since it is what the
        flush writes; unless the caller passed the column, and not the relationship: that asks for
        the row with this foreign key.

        Raises:
            MismatchError: the caller passed a relationship and another foreign key, or two values
                by two names.
        """
        direct = _preferred(call, self._own)
        related = _preferred(call, self.relatives)
        value: Any = MISSING
        if related is not None and self.overrides(call) is None:
            value = self.parent_value(call.value(related), self.relatives[related])
            self._check_others(call, related, value)
        if direct is not None and (value is MISSING or call.explicit(direct)):
            own = self._own_value(call, direct)
            if len(self._own) > 1:
                self._check_own(call, direct, own)
            if value is MISSING:
                return self._or_default(own)
            known = self.coerce(value.known if isinstance(value, Unsaved) else value)
            if own is not None and own is not MISSING and not equal(own, known):
                raise self._disagreement(call, {direct: own, str(related): value})
        return self._or_default(value)

    def _check_own(self, call: Call, direct: str, own: Any) -> None:
        """Refuse another value that is passed by another name, a synonym's, say."""
        for name in self._own:
            if name != direct and call.explicit(name) and call.explicit(direct):
                other = self._own_value(call, name)
                if other is not MISSING and own is not MISSING and not equal(other, own):
                    raise self._disagreement(call, {direct: own, name: other})

    def _check_others(self, call: Call, related: str, value: Any) -> None:
        """Refuse another passed relationship that writes another value here."""
        for name, key in self.relatives.items():
            if name != related and call.explicit(name):
                other = self.parent_value(call.value(name), key)
                if other is not MISSING and not equal(other, value):
                    raise self._disagreement(call, {related: value, name: other})

    def _disagreement(self, call: Call, values: Mapping[str, Any]) -> MismatchError:
        model = self.mapper.class_.__name__
        shown = " and ".join(f"{name} gives {described(value)}" for name, value in values.items())
        return MismatchError(
            f"{call.factory} ({model}) was called with values that disagree on "
            f"{self.attribute}: {shown}. Pass one of the two.",
            factory=call.factory,
            model=model,
            values=values,
        )

    def made(self, call: Call) -> bool:
        """Whether the value comes from a SubFactory that has to run for it."""
        related = _preferred(call, self.relatives)
        return related is not None and self.overrides(call) is None and call.makes(related)

    def overrides(self, call: Call) -> str | None:
        """Return the name of the relationship that passed foreign keys look up in place of, if any.

        They do when the call gives the whole of the foreign key, and passed some of it. Where no
        row is found, the flush will write what the relationship has.
        """
        related = _preferred(call, self.relatives)
        if related is None or call.explicit(related):
            return None
        passed = False
        for column, _ in self.foreign_key(related):
            direct = _preferred(call, column.direct)
            if direct is None:
                return None
            if call.explicit(direct):
                value = call.value(direct)
                passed = passed or not (value is None or value is MISSING)
        return related if passed else None

    def foreign_key(self, name: str) -> list[tuple[MappedColumn, Any]]:
        """Return the columns of a relationship's foreign key, each with the parent's column."""
        relationship = self.mapper.relationships[self.relatives[name]]
        columns = [
            (mapped_column(self.mapper, target), source)
            for source, target in relationship.synchronize_pairs
        ]
        return [(column, source) for column, source in columns if column is not None]

    def inserted(self, call: Call) -> Any:
        """Return what the row will hold after the INSERT, as far as that can be told before it.

        Beyond :meth:`given`, that is NULL for a column that nothing fills, and the SQL of a
        server default.
        """
        value = self.given(call)
        if value is not MISSING and value is not None:
            return value
        return self._unfilled()

    def foreseeable(self, call: Call) -> bool:
        """Whether :meth:`inserted` will know the value."""
        return self.available(call) or self._unfilled() is not MISSING

    def _unfilled(self) -> Any:
        """Return what the column gets when the INSERT leaves it out."""
        column = self.column
        if column.server_default is not None:
            return _server_default(column)
        filled = column.default is not None or (
            self.primary_key and column.autoincrement in (True, "auto")
        )
        return MISSING if filled else None

    def current(self, obj: Any) -> Any:
        """Return the value that ``obj`` has or will have once flushed; loads nothing."""
        state = base.instance_state(obj)
        loaded = base.instance_dict(obj)
        for name, source in self.related:
            if name in loaded and name in state.committed_state:
                return self._from_parent(loaded[name], source)
        value = loaded.get(self.attribute, MISSING)
        if state.key is not None:
            return self.coerce(self._identity(state) if value is MISSING else value)
        value = self._or_default(value)
        return self._unfilled() if value is MISSING or value is None else self.coerce(value)

    def filled(self, value: Any) -> Any:
        """Return what an INSERT makes of a passed value; ``MISSING``, if only the server knows.

        SQLAlchemy leaves a None out where the column has a default.
        """
        value = self._or_default(value)
        value = self._unfilled() if value is None else value
        return MISSING if isinstance(value, ClauseElement) else value

    def parent_value(self, parent: Any, name: str) -> Any:
        """Return what the flush writes here for a parent given through the relationship."""
        return self._from_parent(parent, dict(self.related)[name])

    def changed(self, obj: Any) -> bool:
        """Whether the object has a value for the column that is not flushed yet."""
        pending = base.instance_state(obj).committed_state
        return bool(pending) and (
            self.attribute in pending or any(name in pending for name, _ in self.related)
        )

    def normalised(self, name: str, value: Any, read: Read) -> Any:
        """Return ``value`` as the model would hold it: validators and setters have the last word.

        Args:
            read: gives the values of the model's other attributes, which they may look at.
        """
        if name == self.attribute and not self.mapper.class_manager[name].dispatch.set:
            return value
        held = assigned(self.mapper, name, value, self.attribute, read)
        return value if held is MISSING and name in self.direct else held

    def as_held(self, name: str, value: Any, obj: Any) -> Any:
        """Return a passed value as the object would hold it; ``MISSING`` if no column can."""
        value = self.normalised(name, value, lambda other: getattr(obj, other))
        return value if value is MISSING else self.coerce(value)

    def _own_value(self, call: Call, name: str) -> Any:
        value = call.value(name)
        if value is MISSING or value is None:
            return value
        if isinstance(value, ClauseElement) or hasattr(value, "__clause_element__"):
            return MISSING  # computed by the server

        def read(other: str) -> Any:
            seen = call.value(other) if call.has(other) and not call.makes(other) else None
            return None if seen is MISSING else seen

        value = self.normalised(name, value, read)
        return value if value is MISSING else self.coerce(value)

    def _or_default(self, value: Any) -> Any:
        # SQLAlchemy leaves a None out of the INSERT where the column has a default.
        default = self._default() if value is MISSING or value is None else MISSING
        return value if default is MISSING else default

    def _default(self) -> Any:
        default: Any = self.column.default
        if self.column is self.mapper.polymorphic_on:
            return self.mapper.polymorphic_identity
        if self.primary_key or not getattr(default, "is_scalar", False):  # a Sequence has none
            return MISSING
        return default.arg

    def _identity(self, state: Any) -> Any:
        for part, value in zip(self.mapper.primary_key, state.identity):
            if part is self.column:
                return value
        return MISSING

    def _from_parent(self, parent: Any, source: Any) -> Any:
        if parent is None or parent is MISSING:
            return parent
        state = inspect(parent, raiseerr=False)
        if state is None or not hasattr(state, "committed_state"):
            return MISSING  # no mapped object: SQLAlchemy will say so
        attribute = state.mapper.get_property_by_column(source).key
        if state.key is None:
            # The parent's own foreign key may be known, where it shares a column with ours.
            own = mapped_column(state.mapper, source)
            above = own.current(parent) if own is not None and own.related else None
            if above is not None and above is not MISSING:
                return above
            return Unsaved(parent, state.dict.get(attribute, MISSING))
        if attribute in state.dict:
            return state.dict[attribute]
        for part, value in zip(state.mapper.primary_key, state.identity):
            if part is source:
                return value
        return getattr(parent, attribute)


def mapped_column(mapper: Mapper[Any], column: Any) -> MappedColumn | None:
    """Return the model's view of a table column, or ``None`` when it is none, or not mapped."""
    if not isinstance(column, Column):
        return None
    # Kept with the class, to go when it goes: a weak dictionary would be kept alive by its values.
    known = mapper.class_manager.info.setdefault("factory_reuse.columns", {})
    if column not in known:
        own = _own_column(mapper, column)
        try:
            known[column] = None if own is None else MappedColumn(mapper, own)
        except UnmappedColumnError:
            known[column] = None
    found: MappedColumn | None = known[column]
    return found


def _own_column(mapper: Mapper[Any], column: Column[Any]) -> Any:
    """Return the table's column itself for one out of an ORM expression, which is a copy."""
    tables = [table for table in mapper.tables if str(table) == str(column.table)]
    return tables[0].c.get(column.key) if tables else None


def _preferred(call: Call, names: Iterable[str]) -> str | None:
    """Return the name the caller passed, else the first that the factory gives."""
    given = None
    for name in names:
        if call.explicit(name):
            return name
        if given is None and call.has(name):
            given = name
    return given


def _server_default(column: Column[Any]) -> Any:
    argument = getattr(column.server_default, "arg", None)
    if argument is None:  # Computed, Identity, FetchedValue: only the server knows
        return MISSING
    return literal(argument) if isinstance(argument, str) else argument
