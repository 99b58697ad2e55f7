"""Random models, as plain descriptions: columns, keys, parents, inheritance; and rows for them.

A description is data, so that hypothesis shows it, and shrinks it; `build` makes classes of it.
"""

import datetime
import decimal
import enum
import uuid
from typing import Any, Dict, List, NamedTuple, Optional, Tuple

import sqlalchemy
from hypothesis import strategies as st
from sqlalchemy import (
    CHAR,
    BigInteger,
    Boolean,
    Column,
    Date,
    DateTime,
    Enum,
    Float,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    Numeric,
    String,
    Text,
    UniqueConstraint,
    desc,
    false,
    func,
    text,
)
from sqlalchemy.orm import declarative_base, relationship
from sqlalchemy.types import TypeDecorator

VERSION = tuple(int(part) for part in sqlalchemy.__version__.split(".")[:2])

Values = Dict[str, Any]


# Columns


class Color(enum.Enum):
    RED = 1
    BLUE = 2


class Lowered(TypeDecorator):
    """Holds less than it is given."""

    impl = String(9)
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Any) -> Any:
        return None if value is None else value.lower()


class Reversed(TypeDecorator):
    """Holds something else than it gives back."""

    impl = String(9)
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Any) -> Any:
        return None if value is None else value[::-1]

    def process_result_value(self, value: Any, dialect: Any) -> Any:
        return None if value is None else value[::-1]


class Kind(NamedTuple):
    """A type, values of it that are often equal or nearly so, and what DEFAULT says for the first.

    Attributes:
        literal: whether every SQLAlchemy can write its values into DDL.
    """

    type: Any
    values: Tuple[Any, ...]
    server: Any = None
    literal: bool = False


def _uuid() -> Kind:
    values = uuid.UUID(int=1), uuid.UUID(int=2)
    if VERSION >= (2, 0):
        return Kind(sqlalchemy.Uuid, values)
    return Kind(lambda: CHAR(32), tuple(value.hex for value in values))


_DAY = datetime.date(2024, 2, 29)
_NOON = datetime.datetime(2024, 2, 29, 12)

KINDS: Dict[str, Kind] = {
    "string": Kind(lambda: String(9), ("a", "A", "b"), "a", True),
    "integer": Kind(Integer, (1, 2, "1"), text("1"), True),
    "boolean": Kind(Boolean, (False, True), false(), True),
    "big": Kind(BigInteger, (1, 2**40), "1", True),
    "text": Kind(Text, ("a", "A", ""), text("'a'"), True),
    "date": Kind(Date, (_DAY, _NOON, datetime.date(2024, 3, 1)), "2024-02-29"),
    "datetime": Kind(DateTime, (_NOON, _NOON.replace(microsecond=1))),
    "numeric": Kind(
        lambda: Numeric(10, 2), (decimal.Decimal("1.00"), decimal.Decimal("1.50"), 1), text("1.00")
    ),
    "rounded": Kind(
        lambda: Numeric(10, 2), (decimal.Decimal("1.00"), decimal.Decimal("1.004")), text("1.004")
    ),
    "float": Kind(Float, (0.1, 0.5), text("0.1")),
    "enum": Kind(lambda: Enum(Color, name="color"), (Color.RED, Color.BLUE, "RED"), "RED", True),
    "words": Kind(
        lambda: Enum("red", "blue", name="word", native_enum=False), ("red", "blue"), "red", True
    ),
    "uuid": _uuid(),
    "binary": Kind(LargeBinary, (b"a", b"b")),
    "lowered": Kind(Lowered, ("a", "A", "b"), "a"),
    "reversed": Kind(Reversed, ("ab", "ba"), "ba"),
}


class Field(NamedTuple):
    """A column and the attribute that maps it.

    Attributes:
        default: `"python"`, `"callable"`, `"server"` or none; the first value of the kind.
        of_subclass: whether it belongs to the class below the base, where there is one.
    """

    column: str
    attribute: str
    kind: str
    nullable: bool
    default: str = ""
    unique: bool = False
    of_subclass: bool = False


class Unique(NamedTuple):
    """A unique constraint or index.

    Attributes:
        how: `"constraint"` or `"index"`.
        elements: column names, each with the function that the index is over, if any.
        where: the predicate of a partial index: a column's name, and what is asked of it.
        equal_nulls: whether it says NULLS NOT DISTINCT.
        deferred: whether the database asks for it when the transaction ends.
    """

    how: str
    elements: Tuple[Tuple[str, str], ...]
    where: Optional[Tuple[str, str]] = None
    equal_nulls: bool = False
    deferred: bool = False

    @property
    def columns(self) -> List[str]:
        return [name for name, _ in self.elements]

    @property
    def read(self) -> List[str]:
        """The columns of the predicate, too."""
        return self.columns + ([] if self.where is None else [self.where[0]])

    @property
    def plain_columns(self) -> List[str]:
        return [name for name, how in self.elements if how in ("", "desc")]

    @property
    def plain(self) -> bool:
        return self.plain_columns == self.columns


class Description(NamedTuple):
    """One to three tables.

    Attributes:
        primary: the columns of the primary key; none for an `id` that the server fills.
        parent: how a call gives the foreign key: by its `"column"`, by the `"relationship"`, or
            by a `"subfactory"`; or none, where there is no parent.
        composite: whether the parent's primary key has two columns.
        inheritance: `"joined"`, `"single"` or none.
        of: the class under test.
        declared: what the factory declares.
    """

    fields: Tuple[Field, ...]
    keys: Tuple[Unique, ...]
    primary: Tuple[str, ...]
    parent: str
    composite: bool
    inheritance: str
    of: str
    declared: Values

    def fields_of(self, name: str) -> List[Field]:
        """Return the fields that a class has."""
        return [field for field in self.fields if name == "Sub" or not field.of_subclass]

    def keys_of(self, name: str) -> List[Unique]:
        """Return the keys of a class, the primary one included."""
        own = {field.column for field in self.fields_of(name)} | {"id", "kind"}
        primary = Unique("primary", tuple((column, "") for column in self.primary or ("id",)))
        single = [Unique("column", ((field.column, ""),)) for field in self.fields if field.unique]
        keys = (*self.keys, *single, primary)
        return [key for key in keys if own.issuperset(key.read)]


#: What no server gives by itself.
PARENTS = (101, 102)
IDS = (-50, -90)


@st.composite
def descriptions(draw: Any, backend: str) -> Description:
    # SQLite rounds what it gives back, and not what it compares.
    possible = [kind for kind in KINDS if kind != "rounded" or backend == "postgresql"]
    possible += ["string", "integer"] * 3  # indexes over expressions are over these
    server = backend == "postgresql"
    inheritance = draw(st.sampled_from(["", "", "", "joined", "single"]))
    parent = draw(st.sampled_from(["", "", "column", "relationship", "subfactory"]))
    composite = parent in ("column", "relationship") and draw(st.booleans())
    kinds = draw(st.lists(st.sampled_from(possible), min_size=1, max_size=4))
    below = [bool(inheritance) and draw(st.booleans()) for _ in kinds]
    # A string is an integer key's value, too; but SQLAlchemy's identity of the new row would be it.
    may_be_primary = [
        f"c{number}"
        for number, kind in enumerate(kinds)
        if kind not in ("integer", "enum", "date", "rounded", "lowered") and not below[number]
    ]
    primary: Tuple[str, ...] = ()
    if may_be_primary and draw(st.integers(0, 3)) == 3:
        primary = tuple(sorted(draw(_some(may_be_primary, 2))))
    names = _attributes(draw(st.sampled_from(["same", "same", "other", "swapped"])), len(kinds))
    fields = [
        _field(draw, f"c{number}", names[number], kind, f"c{number}" in primary, under, inheritance)
        for number, (kind, under) in enumerate(zip(kinds, below))
    ]
    if parent:
        under = bool(inheritance) and draw(st.booleans())
        nullable = draw(st.booleans()) or (under and inheritance == "single")
        columns = ["parent_id", "parent_part"] if composite else ["parent_id"]
        fields += [Field(name, name, "parent", nullable, "", False, under) for name in columns]
    of = draw(st.sampled_from(["Thing", "Sub", "Sub"])) if inheritance else "Thing"
    keys = draw(st.lists(_keys(fields, inheritance, server), min_size=1, max_size=3))
    description = Description(
        tuple(fields), tuple(keys), primary, parent, composite, inheritance, of, {}
    )
    declared = draw(values(description, of))
    return description._replace(
        declared={
            name: value
            for name, value in declared.items()
            if name not in ("id", "parent") and draw(st.booleans())
        }
    )


@st.composite
def values(draw: Any, description: Description, of: str, call: bool = False) -> Values:
    """Values for a row of the class, or for a call; what may be left out sometimes is.

    A call may leave out what the factory declares, too, and ask for a parent that is not there.
    """
    drawn: Values = {}
    if not description.primary and draw(st.integers(0, 4)) == 4:
        drawn["id"] = draw(st.sampled_from(IDS))
    for field in description.fields_of(of):
        if field.kind == "parent":
            continue
        optional = (
            field.nullable
            or bool(field.default)
            or (call and field.attribute in description.declared)
        )
        if optional and draw(st.integers(0, 3)) == 3:
            continue
        known = KINDS[field.kind].values
        empty = (None,) if field.nullable or field.default else ()
        drawn[field.attribute] = draw(st.sampled_from((*known, *empty)))
    of_parent = [field for field in description.fields_of(of) if field.kind == "parent"]
    if of_parent:
        nobody = (None,) if of_parent[0].nullable else ()
        drawn["parent"] = draw(st.sampled_from((0, 1, *nobody)))
        makes_parents = description.parent != "column" and not description.composite
        if call and makes_parents and draw(st.integers(0, 2)) == 2:
            drawn["parent"] = "a new one"
    return drawn


def _some(names: Any, most: int) -> Any:
    return st.lists(st.sampled_from(names), min_size=1, max_size=most, unique=True)


def _attributes(how: str, count: int) -> List[str]:
    names = [f"c{number}" for number in range(count)]
    if how == "other":
        return [f"the_{name}" for name in names]
    return names[::-1] if how == "swapped" else names


def _field(
    draw: Any, column: str, name: str, kind: str, primary: bool, below: bool, inheritance: str
) -> Field:
    if primary:
        return Field(column, name, kind, False)
    defaults = [
        "",
        "",
        "python",
        "callable",
        *(["server"] if KINDS[kind].server is not None else []),
    ]
    nullable = draw(st.booleans())
    if below and inheritance == "single":  # a sibling has the column, but nothing to put there
        defaults, nullable = [""], True
    unique = draw(st.integers(0, 3)) == 3
    return Field(column, name, kind, nullable, draw(st.sampled_from(defaults)), unique, below)


@st.composite
def _keys(draw: Any, fields: List[Field], inheritance: str, server: bool) -> Unique:
    among = list(fields)
    if inheritance == "joined":  # a key has columns of one table
        side = draw(st.sampled_from(fields)).of_subclass
        among = [field for field in fields if field.of_subclass == side]
    of_base = inheritance and not (inheritance == "joined" and among[0].of_subclass)
    columns = [field.column for field in among] + (["kind"] if of_base else [])
    chosen = draw(_some(columns, 3))
    kinds = {field.column: field.kind for field in fields}
    how = draw(st.sampled_from(["constraint", "index", "index"]))
    equal_nulls = server and VERSION >= (2, 0) and draw(st.integers(0, 2)) == 2
    if how == "constraint":
        deferred = server and draw(st.integers(0, 2)) == 2
        return Unique(how, tuple((name, "") for name in chosen), None, equal_nulls, deferred)
    elements = tuple((name, draw(st.sampled_from(_functions(kinds.get(name))))) for name in chosen)
    where = None
    if draw(st.booleans()):
        asked = draw(st.sampled_from(columns))
        where = asked, draw(st.sampled_from(_tests(kinds.get(asked))))
    return Unique(how, elements, where, equal_nulls)


def _functions(kind: Optional[str]) -> List[str]:
    if kind in ("string", "text"):
        return ["", "lower", "text", "lower", "text", "desc"]
    if kind == "integer":
        return ["", "coalesce", "coalesce", "desc"]
    return ["", "desc"]


def _tests(kind: Optional[str]) -> List[str]:
    if kind in KINDS and KINDS[kind].literal:
        return ["null", "not null", "equal", "other", "text"]
    return ["null", "not null", "text"]


# Classes


class Models(NamedTuple):
    """Classes by name: `Thing`; `Sub` and `Sibling` where there is inheritance; `Parent`."""

    base: Any
    classes: Dict[str, Any]

    def dispose(self) -> None:
        self.base.registry.dispose()


def build(description: Description) -> Models:
    """Return mapped classes for the description, with their keys in the metadata."""
    base = declarative_base()
    classes: Dict[str, Any] = {}
    if description.parent:
        classes["Parent"] = _parent(base, description)
    classes["Thing"] = type("Thing", (base,), _thing(base, description))
    if description.inheritance:
        classes["Sub"] = type("Sub", (classes["Thing"],), _sub(description))
        sibling = {"__mapper_args__": {"polymorphic_identity": "sibling"}}
        if description.inheritance == "joined":
            sibling.update(_table_below("sibling", description))
        classes["Sibling"] = type("Sibling", (classes["Thing"],), sibling)
    tables = [classes[name].__table__ for name in ("Sub", "Thing") if name in classes]
    if description.parent:
        foreign = [field.column for field in description.fields if field.kind == "parent"]
        above = [column.replace("_", ".") for column in foreign]
        _table_of(tables, foreign).append_constraint(ForeignKeyConstraint(foreign, above))
    for number, key in enumerate(description.keys):
        _add_key(_table_of(tables, key.read), key, f"ux_{number}", description)
    return Models(base, classes)


def _table_of(tables: List[Any], columns: List[str]) -> Any:
    return next(table for table in tables if set(columns) <= set(table.c.keys()))


def _parent(base: Any, description: Description) -> Any:
    body = {"__tablename__": "parent", "id": Column(Integer, primary_key=True)}
    if description.composite:
        body["part"] = Column(Integer, primary_key=True)
    return type("Parent", (base,), {**body, "code": Column(String(9), unique=True)})


def _thing(base: Any, description: Description) -> Values:
    body: Values = {"__tablename__": "thing"}
    if not description.primary:
        body["id"] = Column(Integer, primary_key=True)
    own = [
        field for field in description.fields if not (field.of_subclass and description.inheritance)
    ]
    body.update(_columns(own, description))
    if description.inheritance:
        body["kind"] = Column(String(9), nullable=False)
        body["__mapper_args__"] = {"polymorphic_on": "kind", "polymorphic_identity": "thing"}
    return body


def _sub(description: Description) -> Values:
    body: Values = {"__mapper_args__": {"polymorphic_identity": "sub"}}
    if description.inheritance == "joined":
        body.update(_table_below("sub", description))
    own = [field for field in description.fields if field.of_subclass]
    return {**body, **_columns(own, description)}


def _table_below(name: str, description: Description) -> Values:
    columns = description.primary or ("id",)
    by_column = {field.column: field for field in description.fields}
    body: Values = {}
    for column in columns:
        field = by_column.get(column, Field("id", "id", "integer", False))
        body[field.attribute] = Column(column, KINDS[field.kind].type(), primary_key=True)
    target = ForeignKeyConstraint(columns, [f"thing.{column}" for column in columns])
    return {"__tablename__": name, "__table_args__": (target,), **body}


def _columns(fields: List[Field], description: Description) -> Values:
    body = {field.attribute: _column(field, description) for field in fields}
    foreign = [body[field.attribute] for field in fields if field.kind == "parent"]
    if foreign and description.parent != "column":
        body["parent"] = relationship("Parent")
    return body


def _column(field: Field, description: Description) -> Any:
    if field.kind == "parent":
        return Column(field.column, Integer, nullable=field.nullable)
    kind = KINDS[field.kind]
    options: Values = {"nullable": field.nullable, "unique": field.unique or None}
    if field.column in description.primary:
        options = {"primary_key": True, "autoincrement": False}
    if field.default == "python":
        options["default"] = kind.values[0]
    elif field.default == "callable":
        options["default"] = lambda: kind.values[0]
    elif field.default == "server":
        options["server_default"] = kind.server
    return Column(field.column, kind.type(), **options)


def _add_key(table: Any, key: Unique, name: str, description: Description) -> None:
    options: Values = {"postgresql_nulls_not_distinct": True} if key.equal_nulls else {}
    if key.how == "constraint":
        options["initially"] = "DEFERRED" if key.deferred else None
        constraint = UniqueConstraint(*(table.c[each] for each in key.columns), **options)
        table.append_constraint(constraint)
        return
    if key.where is not None:
        predicate = _predicate(table, *key.where, description)
        options.update(sqlite_where=predicate, postgresql_where=predicate)
    elements = [_element(table, *element) for element in key.elements]
    index = Index(name, *elements, unique=True, **options)
    if index.table is None:  # text alone names no table
        table.append_constraint(index)


def _element(table: Any, name: str, how: str) -> Any:
    column = table.c[name]
    return {
        "": lambda: column,
        "desc": lambda: desc(column),
        "lower": lambda: func.lower(column),
        "text": lambda: text(f"lower({name})"),
        "coalesce": lambda: func.coalesce(column, 1),
    }[how]()


def _predicate(table: Any, name: str, asked: str, description: Description) -> Any:
    column = table.c[name]
    kinds = {field.column: field.kind for field in description.fields}
    value = KINDS[kinds[name]].values[0] if kinds.get(name) in KINDS else None
    return {
        "null": lambda: column.is_(None),
        "not null": lambda: column.isnot(None),
        "equal": lambda: column == value,
        "other": lambda: column != value,
        "text": lambda: text(f"{name} IS NOT NULL"),
    }[asked]()
