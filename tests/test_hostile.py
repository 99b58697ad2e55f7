"""Values that nobody should pass: the right row, a new one, or the error that the INSERT gives.

The judge is an undecorated factory. It makes the same calls, each in a SAVEPOINT of its own, on the
same database: where its INSERT is taken, reuse makes a row, too; where it is refused for a row that
is there, reuse returns that row; where it fails, reuse fails in the same way.
"""

import contextlib
import datetime
import enum
import fractions
import ipaddress
import itertools
import math
import operator
import pathlib
import re
import uuid
from decimal import Decimal
from typing import Any, NamedTuple

import factory
import pytest
import sqlalchemy
from keyed import BaseFactory, current
from sqlalchemy import (
    DDL,
    JSON,
    Boolean,
    Column,
    Date,
    DateTime,
    Enum,
    Float,
    ForeignKey,
    Integer,
    LargeBinary,
    Numeric,
    String,
    Time,
    event,
    func,
    literal,
    literal_column,
    null,
    select,
    text,
)
from sqlalchemy.dialects import mysql, postgresql
from sqlalchemy.exc import IntegrityError, SQLAlchemyError
from sqlalchemy.orm import declarative_base, relationship
from sqlalchemy.types import TypeDecorator

from factory_reuse import (
    MismatchError,
    ReuseError,
    create_many,
    find,
    get_or_create,
    reuse_existing,
)

pytestmark = [
    pytest.mark.thorough,
    pytest.mark.backends("sqlite", "postgresql", "mariadb"),  # a file's columns are as in memory
    pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SAWarning"),
    pytest.mark.filterwarnings("ignore:The default date:DeprecationWarning"),
]


# Values


class Anything:
    """No database takes one."""


class Raising(Anything):
    """Cannot be compared, hashed, shown or converted."""

    def _refuse(self, *args):
        raise RuntimeError("the value's own")

    __eq__ = __ne__ = __lt__ = __hash__ = __repr__ = __str__ = __bool__ = __len__ = _refuse
    __int__ = __float__ = __index__ = __iter__ = _refuse


class Agreeing:
    """Equal to everything."""

    def __eq__(self, other):
        return True

    def __ne__(self, other):
        return False

    def __hash__(self):
        return 1


class Undecided:
    """Leaves the comparison to the other side, which leaves it to this one."""

    def __eq__(self, other):
        return NotImplemented

    __hash__ = None


class Arraylike:
    """Compares element by element, and has no truth value."""

    def __eq__(self, other):
        return Arraylike()

    __ne__ = __eq__

    def __bool__(self):
        raise RuntimeError("the truth value of an array is ambiguous")

    __hash__ = None


class Restless:
    """Has another hash each time."""

    hashes = itertools.count()

    def __hash__(self):
        return next(self.hashes)


def hostile(base, *traits):
    """Return a subclass of a type that databases know, which behaves as the traits do."""
    body = {}
    for trait in reversed(traits):
        body.update(vars(trait))
    kept = ("__eq__", "__ne__", "__hash__", "_refuse", "hashes")
    return type("Hostile", (base,), {name: body[name] for name in kept if name in body})


class Loud(str):
    """Is shown as another text than it is."""

    def __str__(self):
        return "loud"

    __repr__ = __str__


class Level(enum.Enum):
    LOW = "low"
    HIGH = "high"


class Color(str, enum.Enum):
    RED = "red"
    low = "LOW"


class Rank(enum.IntEnum):
    FIRST = 1
    SECOND = 2


UTC = datetime.timezone.utc
EAST = datetime.timezone(datetime.timedelta(hours=2))
NOON = datetime.datetime(2020, 1, 1, 12)
ID = uuid.UUID("12345678-1234-5678-1234-56781234abcd")


def of_subclasses(base, *values):
    """Yield values of types that are equal to nothing, or to everything, among plain ones."""
    for trait in (Raising, Agreeing, Undecided, Arraylike, Restless):
        kind = hostile(base, trait)
        yield from (kind(values[0]), kind(values[1]))
    yield from values


class Group(NamedTuple):
    """Values that may be taken for one another, and the kinds of columns to try them in."""

    kinds: str
    values: Any


# What stands together in a line is passed one after the other, since one may be taken for another.
VALUES = {
    "injection": Group(
        "text enumeration lowercased",
        lambda thing: [
            "x'; DROP TABLE thing; --",
            "' OR ''='",
            '" OR ""="',
            "\\' OR 1=1 -- ",
            "%s",
            "%(value_1)s",
            ":value_1",
            "?",
            "%",
            "_",
        ],
    ),
    "NUL": Group("text integer binary", lambda thing: ["a\0b", "a", "a\0", "\0", b"a\0b", b"a"]),
    "surrogates": Group(
        "text binary", lambda thing: ["\ud800", "a\udfff", "\ud83d\ude00", "\U0001f600"]
    ),
    "blank": Group(
        "text collated integer",
        lambda thing: ["", " ", "a", "a ", " a", "\t", "a\t", "\u00a0", "\u200b", "a\n"],
    ),
    "normal forms": Group(
        "text collated folded",
        lambda thing: ["\u00e9", "e\u0301", "e", "\u00c9", "ss", "\u00df", "\ufb01"],
    ),
    "turkish": Group(
        "text lowercased", lambda thing: ["\u0130", "i\u0307", "i", "I", "\u0131", "\u212a", "k"]
    ),
    "case": Group("text collated folded lowercased enumeration", lambda thing: ["Ab", "ab", "AB"]),
    "huge text": Group("text binary", lambda thing: ["x" * 2**20, "x" * 255]),
    "huge numbers": Group(
        "integer numeric text moment",
        lambda thing: [2**31, 2**63, 2**64, -(2**63), -(2**63) - 1, 10**400],
    ),
    "endless number": Group("integer float text", lambda thing: [10**5000, "9" * 5000]),
    "floats": Group(
        "float double text",
        lambda thing: [math.nan, math.inf, -math.inf, -0.0, 0.0, 0, 5e-324, 1e308, 0.1],
    ),
    "decimals": Group(
        "numeric float text",
        lambda thing: [
            Decimal("NaN"),
            Decimal("sNaN"),
            Decimal("Infinity"),
            Decimal("-0"),
            Decimal("0.0"),
            Decimal("1.0"),
            Decimal("1.00"),
            Decimal(1),
            Decimal("1E+400"),
        ],
    ),
    "decimal texts": Group(
        "integer numeric double text",
        lambda thing: ["1.0", "1.00", "1", "NaN", "1e0", "0x1", "1_0", "\u0661", " 1"],
    ),
    "bool or int": Group(
        "boolean integer text", lambda thing: [True, 1, "1", False, 0, "0", "", "true", "t"]
    ),
    "int or bool": Group(
        "boolean integer", lambda thing: [1, True, 1.0, Decimal(1), 0, False, 0.0, 2]
    ),
    "unhashable": Group(
        "text json array encrypted", lambda thing: [[1], {"a": 1}, {1}, [[]], (1,), (), [], {}]
    ),
    "objects": Group(
        "text integer refusing json",
        lambda thing: [object(), Agreeing(), Undecided(), Arraylike(), Restless(), Raising()],
    ),
    "text subclasses": Group(
        "text lowercased integer refusing",
        lambda thing: [*of_subclasses(str, "x", "y"), Loud("z"), "z", "loud"],
    ),
    "int subclasses": Group("integer numeric", lambda thing: [*of_subclasses(int, 7, 8)]),
    "float subclasses": Group("double integer", lambda thing: [*of_subclasses(float, 1.5, 2.5)]),
    "enumeration": Group(
        "enumeration text integer",
        lambda thing: [Level.LOW, "LOW", "low", Color.low, Color.RED, "red", "RED"],
    ),
    "int enumeration": Group(
        "integer enumeration text", lambda thing: [Rank.FIRST, 1, "FIRST", Rank.SECOND, 2]
    ),
    "moments": Group(
        "moment instant day time text",
        lambda thing: [
            NOON,
            NOON.replace(tzinfo=UTC),
            NOON.replace(tzinfo=EAST),
            (NOON + datetime.timedelta(hours=2)).replace(tzinfo=EAST),
            NOON.replace(fold=1),
            NOON.date(),
            datetime.datetime(2020, 1, 1),
            "2020-01-01",
            "2020-01-01 12:00:00",
            NOON.time(),
            NOON.time().replace(tzinfo=EAST),
            datetime.timedelta(hours=12),
            datetime.datetime.max,
            datetime.datetime.min,
        ],
    ),
    "UUIDs": Group(
        "UUID text binary",
        lambda thing: [ID, str(ID), ID.hex, str(ID).upper(), ID.urn, ID.bytes, ID.int],
    ),
    "bytes": Group(
        "binary text",
        lambda thing: [b"ab", bytearray(b"ab"), memoryview(b"ab"), "ab", b"", b"AB"],
    ),
    "JSON": Group(
        "json text",
        lambda thing: [
            {"a": 1, "b": 2},
            {"b": 2, "a": 1},
            {"a": True, "b": 2},
            {"a": 1.0, "b": 2},
            {1: 2},
            {"a": math.nan},
            {"a": "\0"},
            JSON.NULL,
            "null",
            "1",
            {"a": {1}},
        ],
    ),
    "arrays": Group(
        "array text",
        lambda thing: [[1], [1, 2], (1, 2), [[1], [2]], [None], [], "{1}", ["1"], [True]],
    ),
    "expressions": Group(
        "text integer encrypted",
        lambda thing: [
            func.current_date(),
            literal("x"),
            literal(7),
            select(literal("y")).scalar_subquery(),
            select(literal("y")),
            func.lower("X"),
            literal_column("'x'"),
            text("'x'"),
            null(),
            thing.id + 1,
        ],
    ),
    "columns": Group(
        "text integer",
        lambda thing: [
            thing.label,
            thing.__table__.c.label,
            thing.__table__,
        ],
    ),
    # PyMySQL would write their repr into a text.
    "mapped objects": Group("integer", lambda thing: [thing(), thing(label=None)]),
    "declarations": Group(
        "text integer refusing",
        lambda thing: [
            factory.LazyFunction(lambda: "x"),
            factory.LazyAttribute(lambda o: "x"),
            factory.Sequence(lambda n: "x"),
            factory.Sequence(lambda n: 7),
            factory.Iterator(["x", "x"]),
            factory.LazyFunction(lambda: [1]),
            factory.LazyFunction(object),
            factory.Faker("pystr_format", string_format="x"),
            factory.LazyFunction(operator.itemgetter(0)),
            factory.SelfAttribute("id"),
            factory.SelfAttribute("nothing"),
            factory.Maybe("nothing", "x", "x"),
            factory.List(["x"]),
            factory.Dict({"a": 1}),
        ],
    ),
    "callables": Group(
        "text json", lambda thing: [len, lambda: "x", str, Anything, operator.itemgetter(0)]
    ),
    "odd objects": Group(
        "text double",
        lambda thing: [
            (n for n in range(3)),
            range(3),
            ...,
            NotImplemented,
            ValueError("x"),
            1j,
            fractions.Fraction(1, 2),
            pathlib.PurePosixPath("x"),
            ipaddress.ip_address("127.0.0.1"),
            re.compile("x"),
            factory,
        ],
    ),
    "nothing": Group("text integer", lambda thing: [None, "None", "NULL", "null"]),
}

# Columns


class Lowercased(TypeDecorator):
    impl = String(255)
    cache_ok = True

    def process_bind_param(self, value, dialect):
        return value if value is None else value.lower()


class Encrypted(TypeDecorator):
    """With a nonce, so that no two are the same."""

    impl = String(255)
    cache_ok = True

    def process_bind_param(self, value, dialect):
        return value if value is None else f"{uuid.uuid4()}{value}"

    def process_result_value(self, value, dialect):
        return value if value is None else value[36:]


class Refusing(TypeDecorator):
    impl = String(255)
    cache_ok = True

    def process_bind_param(self, value, dialect):
        if value not in (None, "good", "better"):
            raise LookupError(f"{type(value)} is not allowed")
        return value


class Kind(NamedTuple):
    """A column's type, and two values that it takes."""

    type: Any
    good: Any
    better: Any


KINDS = {
    "text": Kind(String(255), "good", "better"),
    "integer": Kind(Integer(), 1001, 1002),
    "float": Kind(Float(), 1001.5, 1002.5),
    "double": Kind(Float(53), 1001.5, 1002.5),
    "numeric": Kind(Numeric(12, 2), Decimal("1001.5"), Decimal("1002.5")),
    "boolean": Kind(Boolean(), True, False),
    "moment": Kind(DateTime(), datetime.datetime(2001, 1, 1), datetime.datetime(2002, 1, 1)),
    "instant": Kind(
        DateTime(timezone=True),
        datetime.datetime(2001, 1, 1, tzinfo=UTC),
        datetime.datetime(2002, 1, 1, tzinfo=UTC),
    ),
    "day": Kind(Date(), datetime.date(2001, 1, 1), datetime.date(2002, 1, 1)),
    "time": Kind(Time(), datetime.time(1), datetime.time(2)),
    "enumeration": Kind(Enum(Level, name="level"), Level.LOW, Level.HIGH),
    "binary": Kind(
        LargeBinary(255).with_variant(mysql.VARBINARY(255), "mysql"), b"good", b"better"
    ),
    "json": Kind(
        JSON(none_as_null=True).with_variant(postgresql.JSONB(none_as_null=True), "postgresql"),
        {"good": 1},
        {"better": 1},
    ),
    "lowercased": Kind(Lowercased(), "good", "better"),
    "encrypted": Kind(Encrypted(), "good", "better"),
    "refusing": Kind(Refusing(), "good", "better"),
}
if hasattr(sqlalchemy, "Uuid"):  # since SQLAlchemy 2.0
    KINDS["UUID"] = Kind(sqlalchemy.Uuid(), uuid.UUID(int=1), uuid.UUID(int=2))

#: Kinds that a database has of its own.
OWN_KINDS = {
    ("sqlite", "collated"): Kind(String(255, collation="NOCASE"), "good", "better"),
    ("mysql", "collated"): Kind(String(255, collation="utf8mb4_bin"), "good", "better"),
    ("postgresql", "collated"): Kind(String(255, collation="C"), "good", "better"),
    # Equal texts that are not the same bytes: a "nondeterministic" collation.
    ("postgresql", "folded"): Kind(String(255, collation="folded"), "good", "better"),
    ("postgresql", "array"): Kind(postgresql.ARRAY(Integer), [1001], [1002]),
    ("postgresql", "UUID"): Kind(postgresql.UUID(as_uuid=True), uuid.UUID(int=1), uuid.UUID(int=2)),
}


FOLDED = (
    "CREATE COLLATION folded (provider = icu, locale = 'und-u-ks-level2', deterministic = false)"
)


def has_icu(engine):
    """Whether PostgreSQL was built with ICU; the embedded one is not."""
    with engine.connect() as connection:
        found = text("SELECT count(*) FROM pg_collation WHERE collname = 'und-x-icu'")
        return connection.execute(found).scalar() > 0


class Shop:
    """A model with a column of each kind that the database has, and factories of it."""

    def __init__(self, engine, session, names=()):
        base = declarative_base()
        dialect = engine.dialect.name
        known = {name: KINDS.get(name) or OWN_KINDS.get((dialect, name)) for name in names}
        if known.get("folded") is not None and not has_icu(engine):
            del known["folded"]
        self.kinds = {name: kind for name, kind in known.items() if kind is not None}
        columns = {name: Column(kind.type, unique=True) for name, kind in self.kinds.items()}

        class Thing(base):
            __tablename__ = "thing"
            id = Column(Integer, primary_key=True)
            label = Column(String(20), unique=True)
            vars().update(columns)

        class Holder(base):
            __tablename__ = "holder"
            id = Column(Integer, primary_key=True)
            thing_id = Column(ForeignKey("thing.id"), unique=True)
            thing = relationship(Thing)

        if "folded" in self.kinds:
            event.listen(base.metadata, "before_create", DDL(FOLDED))
        base.metadata.create_all(engine)
        self.thing, self.holder, self.session = Thing, Holder, session

    def things(self, **options):
        """Return a factory, which reuses if there are options."""

        class ThingFactory(BaseFactory):
            class Meta:
                model = self.thing
                sqlalchemy_session_persistence = "flush"

        return reuse_existing(ThingFactory, **options) if options else ThingFactory

    def holders(self, things, **options):
        class HolderFactory(BaseFactory):
            class Meta:
                model = self.holder
                sqlalchemy_session_persistence = "flush"

            thing = factory.SubFactory(things)

        return reuse_existing(HolderFactory, **options) if options else HolderFactory

    @contextlib.contextmanager
    def transaction(self):
        """A transaction with a row of the caller's own, which must be there at its end."""
        with current(self.session):
            self.session.add(self.thing(label="the caller's"))
            self.session.flush()
            yield
            self.session.flush()
            of_caller = select(self.thing.id).where(self.thing.label == "the caller's")
            assert self.session.execute(of_caller).all()
            self.session.rollback()

    def rows(self):
        """Return how many rows there are."""
        return self.session.execute(select(func.count()).select_from(self.thing)).scalar()


# Verdicts: what a call comes to


NEW = "a new row"


class Row(NamedTuple):
    """The row of an earlier call."""

    index: int


class Failure(NamedTuple):
    """An error, as far as it tells nothing of the statement."""

    type: Any
    original: Any = type(None)

    @classmethod
    def of(cls, error):
        return cls(type(error), type(getattr(error, "orig", None)))


def without_reuse(session, call, values):
    """Make a row of each value in a SAVEPOINT; return what came of it."""
    made, verdicts = {}, []
    for index, value in enumerate(values):
        try:
            with session.begin_nested():
                made[index] = call(value)
            verdicts.append(NEW)
        except Exception as error:
            row = holder(session, call, value, made) if type(error) is IntegrityError else None
            verdicts.append(row or Failure.of(error))
    return verdicts


def holder(session, call, value, made):
    """Return the row without which the INSERT would have been taken."""
    for index, obj in made.items():
        attempt = session.begin_nested()
        try:
            session.delete(obj)
            session.flush()
            call(value)
            return Row(index)
        except IntegrityError:
            continue
        finally:
            attempt.rollback()
    return None


def with_reuse(call, values):
    """Return what comes of a call for each value."""
    made, verdicts = {}, []
    for index, value in enumerate(values):
        try:
            obj = call(value)
        except Exception as error:
            verdicts.append(Failure.of(error))
            continue
        verdicts.append(next((Row(i) for i, other in made.items() if other is obj), NEW))
        made[index] = obj
    return verdicts


#: What SQLAlchemy and the drivers raise for a value that they do not take.
REFUSALS = (SQLAlchemyError, OverflowError, UnicodeError, ReuseError)


#: Where a value may also be given in other words, which find the row but make none.
OTHER_WORDS = ("UUIDs", "arrays", "bool or int", "int or bool", "decimal texts", "moments")


def agrees(want, have, *, suits=True, other_words=False):
    """Whether what came of a call with reuse is right, as it came to `want` without.

    Args:
        suits: whether the value has the column's type; if not, it may be of no use for a lookup.
    """
    if want == have:
        return True
    if isinstance(have, Row):
        return isinstance(want, Failure) and other_words
    if not isinstance(have, Failure):
        return False
    if isinstance(want, Failure):  # in the words of the SELECT
        return issubclass(have.type, REFUSALS)
    # LookupError: SQLite keeps what is no member of an enumeration, but SQLAlchemy loads it not.
    return isinstance(want, Row) and not suits and have.type in (IntegrityError, LookupError)


def shown(value):
    return repr(value)[:40] if can_be_shown(value) else type(value).__name__


def can_be_shown(value):
    try:
        repr(value)
    except Exception:
        return False
    return True


# The ways to pass a value


def direct(shop, kind, values, expected):
    things = shop.things(on=kind)
    return with_reuse(lambda value: things(**{kind: value}), values)


def nested(shop, kind, values, expected):
    """Nor does the cache answer."""
    holders = shop.holders(shop.things(on=kind, cache=False), on="thing", cache=False)
    return with_reuse(lambda value: holders(**{f"thing__{kind}": value}), values)


def told(shop, kind, values, expected):
    """By `get_or_create`, which does what `find` has said before."""
    things = shop.things(on=kind)

    def call(value):
        found = find(things, **{kind: value})
        obj, created = get_or_create(things, **{kind: value})
        assert created == (found is None)
        assert created or obj is found
        return obj

    return with_reuse(call, values)


def together(shop, kind, values, expected):
    """By `create_many`: those that the database takes, and then some that it does not."""
    things, good = shop.things(on=kind), shop.kinds[kind].good
    taken = [
        index
        for index, want in enumerate(expected)
        if want == NEW or (isinstance(want, Row) and type(values[index]) is type(good))
    ]
    objects = create_many(things, [{kind: values[index]} for index in taken])
    of_taken = with_reuse(lambda _: next(objects), taken)
    things(**{kind: good})
    rows = shop.rows()
    refused = [(bad, want) for bad, want in zip(values, expected) if isinstance(want, Failure)]
    for bad, want in refused[:2]:
        error = None
        try:
            list(create_many(things, [{kind: value} for value in (good, bad, good)]))
        except Exception as caught:
            error = caught
        if error is not None:
            cause = error.__cause__ if isinstance(error, ReuseError) else None
            assert agrees(want, Failure.of(cause or error))
            assert getattr(error, "index", 1) == 1  # the chunk's SELECT is about no one row
        assert shop.rows() == rows
    verdicts = list(expected)
    for index, verdict in zip(taken, of_taken):
        verdicts[index] = Row(taken[verdict.index]) if isinstance(verdict, Row) else verdict
    return verdicts


# Tests


@pytest.mark.parametrize("name", VALUES)
def test_hostile_key(name, engine, session):
    """Whatever is passed for a key comes to what its INSERT comes to, in each way to pass it."""
    group = VALUES[name]
    shop = Shop(engine, session, group.kinds.split())
    plain = shop.things()
    wrong = []
    for kind, (_, good, _) in shop.kinds.items():
        values = group.values(shop.thing)
        values += [*values, good]
        with shop.transaction():
            expected = without_reuse(session, lambda value, k=kind: plain(**{k: value}), values)
            rows = shop.rows()
        # The cache knows a secret by what was given.
        for way in (nested,) if kind == "encrypted" else (direct, nested, told, together):
            with shop.transaction():
                verdicts = way(shop, kind, values, expected)
                if shop.rows() != rows:
                    wrong.append((kind, way.__name__, shop.rows(), "rows, not", rows))
            wrong += [
                (kind, way.__name__, shown(value), want, have)
                for value, want, have in zip(values, expected, verdicts)
                if not agrees(
                    want, have, suits=type(value) is type(good), other_words=name in OTHER_WORDS
                )
            ]
    assert not wrong


@pytest.mark.filterwarnings("ignore::factory_reuse.MismatchWarning")
@pytest.mark.backends("sqlite")
@pytest.mark.parametrize("policy", ["raise", "update"])
@pytest.mark.parametrize("name", VALUES)
def test_hostile_value_beside_the_key(name, policy, engine, session):
    """Whatever is passed beside a key is compared, and assigned as without reuse."""
    group = VALUES[name]
    shop = Shop(engine, session, group.kinds.split())
    plain, things = shop.things(), shop.things(on="label", on_mismatch=policy)
    wrong = []
    for kind in shop.kinds:
        for value in group.values(shop.thing):
            if (policy, kind) == ("update", "enumeration") and not isinstance(value, Level):
                continue  # SQLite keeps what is no member, but SQLAlchemy loads it not
            with shop.transaction():
                row = plain(label="a")
                failure = assigned(session, row, kind, value)
                try:
                    good = things(label="a", **{kind: value}) is row
                except MismatchError:
                    good = policy == "raise"
                except Exception as error:
                    good = policy == "update" and agrees(failure, Failure.of(error))
                if not good or things(label="a") is not row:
                    wrong.append((kind, shown(value)))
    assert not wrong


def assigned(session, row, name, value):
    """Return what comes of assigning the value, which is undone."""
    attempt = session.begin_nested()
    try:
        setattr(row, name, value)
        session.flush()
    except Exception as error:
        return Failure.of(error)
    finally:
        attempt.rollback()
    return None


def _saved(shop, session):
    thing = shop.thing(label="saved")
    session.add(thing)
    session.flush()
    return thing


def _detached(shop, session):
    thing = _saved(shop, session)
    session.expunge(thing)
    return thing


def _deleted(shop, session):
    thing = _saved(shop, session)
    session.delete(thing)
    return thing


def _gone(shop, session):
    thing = _deleted(shop, session)
    session.flush()
    return thing


PARENTS = {
    "of another class": lambda shop, session: shop.holder(),
    "text": lambda shop, session: "saved",
    "number": lambda shop, session: 7,
    "class": lambda shop, session: shop.thing,
    "column": lambda shop, session: shop.thing.id,
    "transient": lambda shop, session: shop.thing(label="saved"),
    "saved": _saved,
    "detached": _detached,
    "deleted": _deleted,
    "deleted and flushed": _gone,
    "raising": lambda shop, session: Raising(),
    "agreeing": lambda shop, session: Agreeing(),
    "list": lambda shop, session: [],
    "generator": lambda shop, session: (n for n in range(3)),
}


@pytest.mark.parametrize("name", PARENTS)
def test_hostile_parent(name, engine, session):
    """A parent that is none is refused as without reuse, and the session goes on."""
    shop = Shop(engine, session)
    plain = shop.holders(shop.things())
    reusing = shop.holders(shop.things(on="label"), on="thing")
    with shop.transaction():
        parents = [PARENTS[name](shop, session)] * 2
        expected = without_reuse(session, lambda parent: plain(thing=parent), parents)
    with shop.transaction():
        parents = [PARENTS[name](shop, session)] * 2
        verdicts = with_reuse(lambda parent: reusing(thing=parent), parents)
        good = reusing(thing__label="good")
        assert reusing(thing__label="good") is good
    assert all(map(agrees, expected, verdicts))


NAMES = [
    "x" * 100_000,
    "",
    " ",
    "label ",
    "LABEL",
    "label; DROP TABLE thing",
    "label__text",
    "__",
    "__label",
    "label__",
    "__class__",
    "__dict__",
    "_sa_instance_state",
    "metadata",
    "registry",
    "self",
    "cls",
    "\ud800",
]


@pytest.mark.backends("sqlite")
@pytest.mark.parametrize("name", NAMES, ids=lambda name: ascii(name[:20]))
def test_hostile_name(name, engine, session):
    """A name that is none of the model's is refused as without reuse, and the session goes on."""
    shop = Shop(engine, session)
    plain, reusing = shop.things(), shop.things(on="label")
    with shop.transaction():
        expected = without_reuse(session, lambda n: plain(label=f"{n}", **{name: "x"}), [0, 1])
    with shop.transaction():
        verdicts = with_reuse(lambda n: reusing(label=f"{n}", **{name: "x"}), [0, 1])
        good = reusing(label="good")
        assert reusing(label="good") is good
    assert all(map(agrees, expected, verdicts))
