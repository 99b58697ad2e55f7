"""Key values as the column holds them: rounded, collated, of its type also inside an expression."""

import datetime
import enum
from decimal import Decimal

import pytest
from keyed import BaseFactory, current, persisting
from sqlalchemy import (
    JSON,
    REAL,
    Boolean,
    Column,
    DateTime,
    Enum,
    Float,
    Index,
    Integer,
    Numeric,
    String,
    Time,
    TypeDecorator,
    UniqueConstraint,
    func,
    literal,
    text,
    true,
)
from sqlalchemy.exc import ArgumentError, DataError, IntegrityError
from sqlalchemy.ext.hybrid import hybrid_property
from sqlalchemy.orm import column_property, declarative_base

from factory_reuse import MismatchError, create_many, find, reuse_existing

PARTIAL = pytest.mark.backends("sqlite", "postgresql")

VALUES = {
    "moment": (DateTime(), datetime.datetime(2020, 1, 1, 1, 1, 1, 5)),
    "time": (Time(), datetime.time(1, 1, 1, 5)),
    "amount": (Numeric(10, 2), Decimal("1.004")),
    "ratio": (Float(), 0.1),
    "real": (REAL(), 0.1),
    "double": (Float(53), 0.1),
}


@pytest.fixture(autouse=True)
def session(session):
    with current(session):
        yield session


def declare(engine, *columns, constraints=(), **declared):
    """Make a model with an id and the given columns, its table, and a factory that reuses."""
    base = declarative_base()
    body = {column.name: column for column in columns}
    body["id"] = Column(Integer, primary_key=True)
    model = type(
        "Thing", (base,), {"__tablename__": "thing", "__table_args__": constraints, **body}
    )
    base.metadata.create_all(engine)
    meta = type("Meta", (), {"model": model, "sqlalchemy_session_persistence": "flush"})
    return reuse_existing(type("ThingFactory", (BaseFactory,), {"Meta": meta, **declared}))


def partial(predicate):
    return Index("ux", "name", unique=True, sqlite_where=predicate, postgresql_where=predicate)


@pytest.mark.filterwarnings("ignore:Dialect sqlite.pysqlite does:sqlalchemy.exc.SAWarning")
@pytest.mark.parametrize("kind", VALUES)
def test_value_that_the_column_rounds(kind, engine, session):
    """A value finds the row that it made, though the column rounded it."""
    type_, value = VALUES[kind]
    things = declare(engine, Column("value", type_, unique=True))
    made = things(value=value)
    session.commit()
    assert find(things, value=value) is made
    assert things(value=value) is made


@pytest.mark.backends("postgresql", "mariadb")
def test_rounded_value_of_a_hybrid(engine, session):
    """So too where a hybrid that is the column stands for it in `on`."""
    base = declarative_base()

    class Ware(base):
        __tablename__ = "ware"
        id = Column(Integer, primary_key=True)
        cents = Column(Numeric(10, 2), unique=True)

        @hybrid_property
        def price(self):
            return self.cents

        @price.setter
        def price(self, value):
            self.cents = value

    class WareFactory(BaseFactory):
        class Meta:
            model = Ware

    base.metadata.create_all(engine)
    wares = reuse_existing(WareFactory, on="price")
    made = wares(price=Decimal("1.004"))
    session.commit()
    assert find(wares, price=Decimal("1.004")) is made


@pytest.mark.backends("postgresql")
def test_rounded_value_in_an_expression(engine, session):
    """And where a unique index looks at it through a function."""
    amount = Column("amount", Numeric(10, 2))
    things = declare(engine, amount, constraints=(Index("ux", func.abs(amount), unique=True),))
    made = things(amount=Decimal("-1.004"))
    session.commit()
    assert find(things, amount=Decimal("1.004")) is made


@pytest.mark.backends("postgresql")
def test_rounded_value_in_a_column_property(engine, session):
    """And where `on` names a property that is SQL over the column."""
    base = declarative_base()

    class Ware(base):
        __tablename__ = "ware"
        id = Column(Integer, primary_key=True)
        cents = Column(Numeric(10, 2))
        size = column_property(func.abs(cents))

    class WareFactory(BaseFactory):
        class Meta:
            model = Ware

    base.metadata.create_all(engine)
    wares = reuse_existing(WareFactory, on="size")
    made = wares(cents=Decimal("-1.004"))
    session.commit()
    assert find(wares, cents=Decimal("1.004")) is made


@pytest.mark.backends("sqlite")
def test_text_beside_nothing_in_json(engine, session):
    """The text "null" is no null, in a type with variants either."""
    type_ = JSON().with_variant(String(50), "mysql")
    things = declare(engine, Column("value", type_, unique=True))
    nothing = things(value=JSON.NULL)
    word = things(value="null")
    session.commit()
    assert word is not nothing
    assert find(things, value="null") is word
    assert find(things, value=JSON.NULL) is nothing


def test_collation_of_another_key(engine, session):
    """Whether a row has another key's value is for the database to say."""
    things = declare(
        engine, Column("name", String(9), unique=True), Column("code", String(9), unique=True)
    )
    made = things(name="a", code="b")
    session.commit()
    if session.get_bind().dialect.name == "mysql":  # its default collation knows no case
        assert things(name="A", code="B") is made
    else:
        with pytest.raises(MismatchError, match="code='B'"):
            things(name="a", code="B")


@pytest.mark.backends("sqlite")
@pytest.mark.parametrize("persistence", [None, "flush"])
def test_collation_among_pending_objects(persistence, engine, session):
    """A pending object has the key that its column's collation takes for equal."""
    column = Column("name", String(9, collation="NOCASE"), unique=True)
    things = persisting(declare(engine, column), persistence)
    made = things(name="x")
    assert things(name="X") is made
    session.flush()
    assert things(name="X") is made


class Absolute(TypeDecorator):
    """Stores a number without its sign."""

    impl = Integer
    cache_ok = True

    def process_bind_param(self, value, dialect):
        return abs(value)


@pytest.mark.parametrize("persistence", [None, "flush"])
def test_converted_among_pending_objects(persistence, engine, session):
    """A pending object has the key that its column's type makes of another value."""
    things = persisting(declare(engine, Column("number", Absolute, unique=True)), persistence)
    made = things(number=-1)
    assert things(number=1) is made
    session.commit()
    assert things(number=-1) is made


@pytest.mark.parametrize("persistence", [None, "flush"])
def test_converted_in_a_batch(persistence, engine, session):
    """Nor does a batch take two values for two rows that the type makes one of."""
    things = persisting(declare(engine, Column("number", Absolute, unique=True)), persistence)
    made = things(number=1)
    session.commit()
    many = list(create_many(things, [{"number": number} for number in (1, -1, 2, -2)]))
    assert many[:2] == [made, made]
    assert many[2] is many[3]
    session.commit()


@PARTIAL
@pytest.mark.parametrize(("predicate", "inside"), [("state = 0", True), ("state <> 0", False)])
def test_server_default_in_a_predicate(predicate, inside, engine, session):
    """A server default has the column's type where a partial index looks at it."""
    things = declare(
        engine,
        Column("name", String(9)),
        Column("state", Integer, server_default="0"),
        constraints=(partial(text(predicate)),),
        name="a",
    )
    other = things(state=1)
    made = things()
    assert made is not other
    assert (things() is made) == inside


@PARTIAL
def test_boolean_server_default_in_a_predicate(engine, session):
    """So too when it is a truth value."""
    active = Column("active", Boolean, server_default=true())
    things = declare(
        engine, Column("name", String(9)), active, constraints=(partial(active),), name="a"
    )
    made = things()
    session.commit()
    assert things() is made
    assert things(active=False) is not made


@pytest.mark.backends("postgresql")
def test_enumeration_in_a_predicate(engine, session):
    """PostgreSQL orders an enumeration as declared, not by its letters."""

    class Level(enum.Enum):
        LOW = 1
        MID = 2
        HIGH = 3

    level = Column("level", Enum(Level, name="level"))
    things = declare(
        engine, Column("name", String(9)), level, constraints=(partial(text("level < 'MID'")),)
    )
    low = things(name="a", level=Level.LOW)
    assert things(name="a", level=Level.HIGH) is not low
    assert things(name="a", level=Level.LOW) is low
    session.rollback()
    level.table.drop(session.connection())
    session.commit()


@pytest.mark.backends("sqlite")
def test_collation_in_a_predicate(engine, session):
    """A value has the column's collation where a partial index looks at it."""
    things = declare(
        engine,
        Column("name", String(9)),
        Column("role", String(9, collation="NOCASE")),
        constraints=(partial(text("role <> 'guest'")),),
        name="a",
    )
    made = things(role="x")
    assert things(role="GUEST") is not made
    assert things(role="x") is made


@PARTIAL
def test_a_long_text_in_an_expression(engine, session):
    """A text that is too long for the column is refused, and not cut to one that is there."""
    name = Column("name", String(3))
    things = declare(engine, name, constraints=(Index("ux", func.lower(name), unique=True),))
    made = things(name="abc")
    if session.get_bind().dialect.name == "postgresql":
        with pytest.raises(DataError):
            things(name="abcdef")
    else:
        assert things(name="abcdef") is not made
    assert things(name="ABC") is made


@PARTIAL
def test_refused_where_a_key_has_sql(engine, session):
    """The original error comes, though a key reads a column that the server fills."""
    predicate = text("made_at IS NOT NULL")
    things = declare(
        engine,
        Column("name", String(9)),
        Column("note", String(9), nullable=False),
        Column("made_at", DateTime, server_default=func.now()),
        constraints=(partial(predicate),),
        name="a",
    )
    with pytest.raises(IntegrityError):
        things()
    made = things(note="x")
    assert things() is made


@pytest.mark.backends("postgresql")
@pytest.mark.parametrize("value", ["garbage", "2020-99-99"])
def test_a_value_that_no_column_of_the_type_has(value, engine, session):
    """A key value that PostgreSQL cannot read is its error, and costs nothing of the caller's."""
    things = declare(engine, Column("at", DateTime, unique=True))
    mine = things(at=datetime.datetime(2020, 1, 1))
    with pytest.raises(DataError):
        things(at=value)
    assert things(at=datetime.datetime(2020, 1, 1)) is mine
    session.commit()
    assert find(things, at="2020-01-01 00:00") is mine


@pytest.mark.backends("sqlite")
@pytest.mark.parametrize("number", ["1_0", "٣", "x"])
def test_what_is_a_number_to_python_alone(number, engine, session):
    """Text is a number where it is one to the database, too."""
    things = declare(engine, Column("number", Integer, unique=True))
    things(number=10)
    made = things(number=3)
    assert find(things, number=number) is None
    assert find(things, number=" 3") is made


@pytest.mark.backends("sqlite")
def test_nulls_not_distinct_is_postgresqls(engine, session):
    """On another backend `postgresql_nulls_not_distinct` says nothing."""
    try:
        constraint = UniqueConstraint("name", postgresql_nulls_not_distinct=True)
    except ArgumentError:
        pytest.skip("SQLAlchemy 1.4 has no postgresql_nulls_not_distinct")
    things = declare(engine, Column("name", String(9)), constraints=(constraint,))
    assert things(name=None) is not things(name=None)


TEXTS = [
    "name = 'a' -- a comment",
    "length(name) = 1 /* a = b */",
    "\"name\" = 'a'",
    "`name` = 'a'",
    "[name] = 'a'",
    "CAST(name AS text) = 'a'",
    r"name <> 'x \:y'",
]


@pytest.mark.backends("sqlite")
@pytest.mark.parametrize("predicate", TEXTS)
def test_predicate_given_as_text(predicate, engine, session):
    """However a predicate is written, its columns are found in it."""
    names = Column("name", String(9)), Column("text", String(9))
    things = declare(engine, *names, constraints=(partial(text(predicate)),))
    made = things(name="a")
    assert things(name="a") is made


@pytest.mark.backends("postgresql")
def test_predicate_with_a_value_of_another_type(engine, session, statements):
    """A predicate's values are written out, as CREATE INDEX has them, and so are of any type."""

    class Kind(enum.Enum):
        ZIP = 1
        TAR = 2

    kind = Column("kind", Enum(Kind, name="kind"))
    predicate = kind == literal("ZIP", String())
    things = declare(engine, Column("name", String(9)), kind, constraints=(partial(predicate),))
    made = things(name="a", kind=Kind.ZIP)
    session.commit()
    with statements() as seen:
        assert things(name="a", kind=Kind.ZIP) is made
    assert "= 'ZIP'" in seen.sql[0]
    session.rollback()
    kind.table.drop(session.connection())
    session.commit()
