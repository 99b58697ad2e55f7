"""Keys: read from a model's metadata, or from the names a factory declares."""

from __future__ import annotations

from typing import Any, Iterator, Sequence, Tuple

from sqlalchemy import and_, bindparam
from sqlalchemy.orm import Mapper
from sqlalchemy.orm.interfaces import MANYTOONE
from sqlalchemy.sql.elements import ColumnElement
from sqlalchemy.types import TypeDecorator
from typing_extensions import final

from ._columns import MappedColumn, mapped_column
from ._names import hybrid_column
from ._parts import ColumnPart, HybridPart, Part, PredicatePart, columns_in
from ._unique import unique_parts
from ._values import MISSING, Call, Unsaved, described
from .errors import UniqueKeyError

Names = Tuple[str, ...]


@final
class Key:
    """What makes a row the same row: parts that are equal together.

    Attributes:
        parts: the parts, in the order of the constraint or of ``on``.
        columns: all columns the parts read.
        names: the attribute names under which a call may give a part, predicates aside.
        unique: whether the database itself keeps a second row out.
        constraint: the constraint's or index's name, where it has one.
    """

    def __init__(
        self,
        mapper: Mapper[Any],
        parts: Sequence[Part],
        *,
        unique: bool,
        primary: bool = False,
        constraint: str | None = None,
    ) -> None:
        self.mapper = mapper
        self.parts = tuple(parts)
        self.columns = tuple(dict.fromkeys(column for part in parts for column in part.columns))
        fields = [part for part in parts if not isinstance(part, PredicatePart)]
        self.names = frozenset(name for part in fields for name in part.names())
        #: The columns whose values a row that has the key agrees with.
        self.compared = tuple(column for part in fields for column in part.columns)
        #: The names whose passed values a row that has the key agrees with.
        self.settled = self.names - _wider_names(mapper, self.compared)
        #: The names of foreign-key columns that a relationship may write, too.
        self.foreign = frozenset(
            name for column in self.columns if column.related for name in column.direct
        )
        self.unique = unique
        self.primary = primary
        self.constraint = constraint
        #: Whether equal values are equal to the database, and others not, collations aside.
        self.foreseeable = not any(
            isinstance(column.column.type, TypeDecorator) for column in self.columns
        )
        self._plain_types = tuple(part.plain_type for part in self.parts)
        # No names that a listener's additions to the statement would have.
        self._parameters = [f"factory_reuse_{number}" for number in range(len(self.parts))]
        #: The SELECT for the rows that have the key, once there is one with parameters, and which
        #: other keys it reads.
        self.select: tuple[Sequence[Key], Any] | None = None

    @property
    def plain(self) -> bool:
        """Whether it is columns alone, so that Python can tell which object has the key."""
        return all(isinstance(part, ColumnPart) for part in self.parts)

    @property
    def label(self) -> str:
        """The key's fields, for messages."""
        return ", ".join(part.label for part in self.parts if not isinstance(part, PredicatePart))

    def available(self, call: Call) -> bool:
        """Whether the call gives some of the key, and what it will be can be told."""
        return all(part.available(call) for part in self.parts) and (
            any(map(call.has, self.names)) or any(column.available(call) for column in self.columns)
        )

    def made(self, call: Call) -> bool:
        """Whether a SubFactory has to run for the key's values to be known."""
        return any(column.made(call) for column in self.columns)

    def explicit(self, call: Call) -> int:
        """How many parts the caller passed."""
        return sum(part.explicit(call) for part in self.parts)

    def given(self, call: Call) -> tuple[Any, ...] | None:
        """Return the call's values, one a part; ``None`` when they can identify no row.

        NULLs are distinct (SQL:2023, 4.19.3, "unique null treatment"), so a NULL part matches
        nothing, unless the constraint says NULLS NOT DISTINCT.
        """
        values = []
        for part in self.parts:
            value = part.given(call)
            if value is MISSING or (value is None and not part.nullable):
                return None
            values.append(value)
        for position, value in enumerate(values):
            # What was evaluated after a parent may have flushed it.
            if isinstance(value, Unsaved) and value.is_saved:
                values[position] = self.parts[position].given(call)
        return tuple(values)

    def current(self, obj: Any) -> tuple[Any, ...] | None:
        """Return the object's values, one a part; ``None`` when they can identify no row."""
        values = []
        for part in self.parts:
            value = part.current(obj)
            if value is MISSING or (value is None and not part.nullable):
                return None
            values.append(value)
        return tuple(values)

    def held(self, row: Sequence[Any]) -> tuple[Any, ...] | None:
        """Return the values of a row, given those of its :attr:`columns`; ``None`` if unknown."""
        by_column = dict(zip(self.columns, row))
        values = tuple([part.held(by_column) for part in self.parts])
        return None if any(value is MISSING for value in values) else values

    def fits(self, values: Sequence[Any]) -> bool:
        """Whether the database can surely compare the values."""
        return all(part.fits(value) for part, value in zip(self.parts, values))

    def parameters(self, values: Sequence[Any]) -> dict[str, Any] | None:
        """Return the values by the names :meth:`parametrised` has for them.

        Returns:
            ``None`` if one of them is to be compared in another way.
        """
        if tuple(map(type, values)) != self._plain_types:
            return None
        return dict(zip(self._parameters, values))

    def parametrised(self) -> ColumnElement[Any]:
        """Return what a row must satisfy to have the key of the statement's parameters."""
        types = [part.columns[0].column.type for part in self.parts]
        named = [bindparam(name, type_=type_) for name, type_ in zip(self._parameters, types)]
        return and_(*(part.criterion(value) for part, value in zip(self.parts, named)))

    def described(self, obj: Any) -> str:
        """The key's fields with the object's values, for messages."""
        values = self.current(obj)
        if values is None:
            return self.label
        return ", ".join(f"{name}={described(value)}" for name, value in self.shown(values).items())

    def shown(self, values: Sequence[Any]) -> dict[str, Any]:
        """Return the values by field, for messages and for an error's ``values``."""
        return {
            part.label: value[0] if isinstance(value, tuple) and len(value) == 1 else value
            for part, value in zip(self.parts, values)
            if not isinstance(part, PredicatePart)
        }


def inferred_keys(mapper: Mapper[Any], dialect: str) -> tuple[Key, ...]:
    """Return the keys that the metadata of the model's tables gives, narrowest first.

    Partial indexes depend on the backend, hence ``dialect`` (a name such as ``"sqlite"``).
    """
    known = mapper.class_manager.info.setdefault("factory_reuse.keys", {})
    if dialect not in known:
        keys = [
            Key(mapper, parts, unique=True, constraint=name)
            for table in mapper.tables
            for parts, name in unique_parts(mapper, table, dialect)
        ]
        keys += _primary_keys(mapper, dialect)
        known[dialect] = tuple(
            sorted(keys, key=lambda key: (len(key.parts), key.primary, _position(key)))
        )
    inferred: tuple[Key, ...] = known[dialect]
    return inferred


def declared_keys(
    factory: str, mapper: Mapper[Any], on: tuple[Names, ...], dialect: str
) -> tuple[Key, ...]:
    """Return the keys that ``on`` names.

    Raises:
        UniqueKeyError: a name is not an attribute of the model that a row could be found by.
    """
    known = mapper.class_manager.info.setdefault("factory_reuse.declared", {})
    if (on, dialect) not in known:
        known[on, dialect] = tuple(_declared(factory, mapper, names, dialect) for names in on)
    declared: tuple[Key, ...] = known[on, dialect]
    return declared


def considered(mapper: Mapper[Any], dialect: str) -> str:
    """Say in words which keys the model has, for an error message."""
    return "; ".join(
        f"{'primary key' if key.primary else 'unique'} ({key.label})"
        for key in inferred_keys(mapper, dialect)
    )


def _primary_keys(mapper: Mapper[Any], dialect: str) -> Iterator[Key]:
    """Yield the mapper's primary key, and the table's where the mapper was given another."""
    found = []
    for columns in (mapper.primary_key, mapper.base_mapper.local_table.primary_key):
        mapped = [mapped_column(mapper, column) for column in columns]
        parts: list[Part] = [ColumnPart(column, dialect) for column in mapped if column is not None]
        if parts and len(parts) == len(mapped) and mapped not in found:
            found.append(mapped)
            yield Key(mapper, parts, unique=True, primary=True)


def _declared(factory: str, mapper: Mapper[Any], names: Names, dialect: str) -> Key:
    parts = [part for name in names for part in _declared_parts(factory, mapper, name, dialect)]
    columns = {column for part in parts for column in part.columns}
    unique = any(columns >= set(key.columns) for key in inferred_keys(mapper, dialect) if key.plain)
    return Key(mapper, parts, unique=unique)


def _declared_parts(factory: str, mapper: Mapper[Any], name: str, dialect: str) -> Iterator[Part]:
    descriptor = mapper.all_orm_descriptors.get(name)
    if name in mapper.synonyms:
        yield from _declared_parts(factory, mapper, mapper.synonyms[name].name, dialect)
    elif name in mapper.column_attrs:
        yield _column_attribute(mapper, name, dialect)
    elif name in mapper.relationships:
        relationship = mapper.relationships[name]
        if relationship.direction is not MANYTOONE or relationship.viewonly:
            raise _unusable(factory, mapper, name, "is not a many-to-one relationship")
        for _, column in relationship.synchronize_pairs:
            mapped = mapped_column(mapper, column)
            if mapped is None:
                raise _unusable(factory, mapper, name, "has a foreign key that is not mapped")
            yield ColumnPart(mapped, dialect)
    elif descriptor is not None:
        plain = mapped_column(mapper, hybrid_column(mapper, name))
        if plain is None:
            yield HybridPart(name, *_hybrid(factory, mapper, name), dialect)
        else:
            yield ColumnPart(plain, dialect)
    elif f"_{name}" in mapper.column_attrs:
        yield _column_attribute(mapper, f"_{name}", dialect)
    else:
        raise _unusable(factory, mapper, name, "is not an attribute of the model")


def _column_attribute(mapper: Mapper[Any], name: str, dialect: str) -> Part:
    element = mapper.column_attrs[name].columns[0]
    column = mapped_column(mapper, element)
    if column is not None:
        return ColumnPart(column, dialect)
    return HybridPart(name, element, _columns_of(mapper, element), dialect)


def _hybrid(factory: str, mapper: Mapper[Any], name: str) -> tuple[Any, tuple[MappedColumn, ...]]:
    try:
        expression = getattr(mapper.class_, name).__clause_element__()
    except Exception as error:
        raise _unusable(factory, mapper, name, "has no SQL expression") from error
    if not isinstance(expression, ColumnElement):
        raise _unusable(factory, mapper, name, "is not a single SQL expression")
    return expression, _columns_of(mapper, expression)


def _columns_of(mapper: Mapper[Any], expression: Any) -> tuple[MappedColumn, ...]:
    return columns_in(expression, lambda column: mapped_column(mapper, column)) or ()


def _unusable(factory: str, mapper: Mapper[Any], name: str, reason: str) -> UniqueKeyError:
    import difflib  # only a mistake pays for it

    model = mapper.class_.__name__
    known = [
        attribute.key
        for attribute in mapper.attrs
        if attribute.key != name and getattr(attribute, "direction", MANYTOONE) is MANYTOONE
    ]
    close = difflib.get_close_matches(name, known, n=1)
    hint = f"Did you mean {close[0]!r}?" if close else f"Its attributes: {', '.join(known)}."
    return UniqueKeyError(
        f"{factory}: on={name!r} cannot be looked up, since {model}.{name} {reason}. {hint}",
        factory=factory,
        model=model,
        values={"on": name},
    )


def _wider_names(mapper: Mapper[Any], columns: Sequence[MappedColumn]) -> frozenset[str]:
    """Return the names that may give more than the key's columns.

    These are composites, and relationships with a foreign key of which the key has a part.
    """
    inside = {column.column for column in columns}
    wider = {name for column in columns for name in column.indirect}
    for column in columns:
        for name in column.relatives:
            if any(target.column not in inside for target, _ in column.foreign_key(name)):
                wider.add(name)
    return frozenset(wider)


def _position(key: Key) -> list[str]:
    """Order keys of equal width as the table does; constraints come as a set."""
    order = {
        column: f"{position:04}" for position, column in enumerate(key.mapper.persist_selectable.c)
    }
    return [order.get(column.column, "9999") for column in key.columns]
