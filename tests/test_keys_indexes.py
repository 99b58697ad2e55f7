"""Partial unique indexes, deferrable constraints, and NULLS NOT DISTINCT."""

import datetime

import pytest
import sqlalchemy
from keyed import BaseFactory, assert_reused, current, persisting, rows
from sqlalchemy import (
    Boolean,
    Column,
    DateTime,
    Index,
    Integer,
    String,
    Table,
    UniqueConstraint,
    text,
)
from sqlalchemy.orm import declarative_base

from factory_reuse import AmbiguousMatchError, create_many, reuse_existing

PARTIAL = ("sqlite", "sqlite-file", "postgresql")
NOW = datetime.datetime(2024, 2, 29, 12)
VERSION = tuple(int(part) for part in sqlalchemy.__version__.split(".")[:2])

Base = declarative_base()


@pytest.fixture(autouse=True)
def _current(session):
    with current(session):
        yield


@pytest.fixture(params=[None, "flush"])
def persistence(request):
    return request.param


class AbstractFactory(BaseFactory):
    class Meta:
        abstract = True


class Account(Base):
    __tablename__ = "account"

    id = Column(Integer, primary_key=True)
    email = Column(String(20))
    active = Column(Boolean, default=True)
    deleted_at = Column(DateTime)


Index(
    "ux_account_email",
    Account.email,
    unique=True,
    postgresql_where=Account.active & Account.deleted_at.is_(None),
    sqlite_where=Account.active & Account.deleted_at.is_(None),
)


@reuse_existing(on_mismatch="keep")
class AccountFactory(BaseFactory):
    class Meta:
        model = Account

    email = "a@x.org"


@pytest.fixture
def accounts(persistence):
    return persisting(AccountFactory, persistence)


def test_partial_inside(accounts):
    """Rows inside the predicate are unique by the index's columns."""
    made = accounts()
    assert_reused(made, accounts)
    assert_reused(made, accounts, active=True, deleted_at=None)
    assert accounts(email="b@x.org") is not made
    assert rows(Account) == 2


@pytest.mark.backends(*PARTIAL)
@pytest.mark.parametrize("outside", [{"active": False}, {"deleted_at": NOW}], ids=str)
def test_partial_row_outside(accounts, session, outside):
    """A row outside the predicate is not reused for one inside; another one is made, once."""
    old = accounts(**outside)
    made = accounts()
    assert made is not old
    assert_reused(made, accounts)
    assert rows(Account) == 2


@pytest.mark.backends(*PARTIAL)
def test_partial_new_row_outside(accounts, session):
    """A new row outside the predicate has no key: it is made each time, whatever is there."""
    inside = accounts()
    session.commit()
    first, second = accounts(active=False), accounts(active=False)
    assert len({inside, first, second}) == 3
    assert_reused(inside, accounts)
    assert rows(Account) == 3


@pytest.mark.backends(*PARTIAL)
def test_partial_row_that_left(make_session, accounts):
    """A row moved out of the predicate is no longer found, flushed or not; moved in, it is."""
    with current(make_session(autoflush=False)) as session:
        made = accounts()
        session.commit()
        made.active = False
        session.flush()
        other = accounts()
        assert other is not made
        session.flush()
        other.active = False
        session.flush()
        made.active = True
        session.commit()
        assert_reused(made, accounts)
        assert rows(Account) == 2


SPELLINGS = {
    "attribute": lambda model: model.active,
    "column": lambda model: model.__table__.c.active,
    "expression": lambda model: model.active.is_(True),
    "text": lambda model: text("active"),
}


@pytest.fixture(params=[*SPELLINGS, "string"])
def spelled(request, engine, backend, persistence):
    """A factory whose model's one key is a partial index, its predicate in each spelling."""
    if request.param == "string" and backend != "postgresql":
        pytest.skip("SQLAlchemy takes no string as sqlite_where")
    base = declarative_base()

    class Spelled(base):
        __tablename__ = "spelled"

        id = Column(Integer, primary_key=True)
        email = Column(String(20))
        active = Column(Boolean, default=True)

    where = "active" if request.param == "string" else SPELLINGS[request.param](Spelled)
    options = {"postgresql_where": where}
    if request.param != "string":
        options["sqlite_where"] = where
    Index("ux_spelled", Spelled.email, unique=True, **options)
    base.metadata.create_all(engine)

    @reuse_existing(on_mismatch="keep")
    class SpelledFactory(BaseFactory):
        class Meta:
            model = Spelled
            sqlalchemy_session_persistence = persistence

        email = "a@x.org"

    return SpelledFactory


@pytest.mark.backends("sqlite", "postgresql")
def test_partial_in_each_spelling(spelled):
    """However the predicate is spelled, it keeps rows inside and outside apart."""
    inside = spelled(active=True)
    outside = spelled(active=False)
    assert outside is not inside
    assert spelled(active=False) not in (inside, outside)
    assert_reused(inside, spelled, active=True)
    assert_reused(inside, spelled)
    assert rows(spelled._meta.model) == 3


@pytest.mark.backends("sqlite", "postgresql")
def test_partial_in_each_spelling_from_outside(spelled):
    """A row outside the predicate is not taken for the new one, which is inside."""
    outside = spelled(active=False)
    assert spelled(active=True) is not outside
    assert rows(spelled._meta.model) == 2


@pytest.mark.backends("mariadb")
def test_partial_is_full_elsewhere(accounts):
    """MariaDB has no partial indexes: there the index is unique for all rows."""
    made = accounts(active=False)
    assert_reused(made, accounts, active=False)
    assert_reused(made, accounts)
    assert rows(Account) == 1


# PostgreSQL


PostgresqlBase = declarative_base()


class Slot(PostgresqlBase):
    __tablename__ = "slot"
    __table_args__ = (UniqueConstraint("row", "position", deferrable=True, initially="DEFERRED"),)

    id = Column(Integer, primary_key=True)
    row = Column(String(20))
    position = Column(Integer)
    code = Column(String(20), unique=True)


@reuse_existing
class SlotFactory(BaseFactory):
    class Meta:
        model = Slot

    row = "A"


@pytest.fixture
def _postgresql(engine):
    PostgresqlBase.metadata.create_all(engine)


@pytest.mark.backends("postgresql")
@pytest.mark.usefixtures("_postgresql")
def test_deferrable(persistence):
    """A deferrable constraint is a key like any other."""
    slots = persisting(SlotFactory, persistence)
    made = slots(position=1)
    assert_reused(made, slots, position=1)
    assert slots(position=2) is not made
    assert rows(Slot) == 2


@pytest.mark.backends("postgresql")
@pytest.mark.usefixtures("_postgresql")
def test_deferrable_violated_for_now(session, persistence):
    """While a deferred constraint lets two rows have the key, neither is picked."""
    slots = persisting(SlotFactory, persistence)
    first, second = slots(position=1), slots(position=2)
    session.flush()
    second.position = 1
    session.flush()
    with pytest.raises(AmbiguousMatchError, match="2 rows of Slot") as caught:
        slots(position=1)
    assert caught.value.count == 2
    first.position = 2
    assert_reused(second, slots, position=1)
    assert_reused(first, slots, position=2)
    assert rows(Slot) == 2


@pytest.fixture(params=["constraint", "index"])
def options(request, engine, persistence):
    """A factory whose model's one key says NULLS NOT DISTINCT."""
    if VERSION < (2, 0):
        pytest.skip("SQLAlchemy 1.4 has no postgresql_nulls_not_distinct")
    base = declarative_base()
    says = {"postgresql_nulls_not_distinct": True}

    class Option(base):
        __tablename__ = "options"
        __table_args__ = (
            UniqueConstraint("name", "scope", **says)
            if request.param == "constraint"
            else Index("ux_options", "name", "scope", unique=True, **says),
        )

        id = Column(Integer, primary_key=True)
        name = Column(String(20))
        scope = Column(String(20))

    @reuse_existing
    class OptionFactory(BaseFactory):
        class Meta:
            model = Option

        name = "a"

    base.metadata.create_all(engine)
    return persisting(OptionFactory, persistence)


@pytest.mark.backends("postgresql")
@pytest.mark.parametrize("passed", [{"scope": None}, {"scope": None, "name": None}], ids=str)
def test_nulls_not_distinct(options, passed):
    """Where the key says that NULLs are equal, a row is found by NULL."""
    made = options(**passed)
    assert_reused(made, options, **passed)
    assert options(scope="x") is not made
    assert rows(options._meta.model) == 2


@pytest.mark.backends("postgresql")
def test_nulls_not_distinct_and_not_declared(options):
    """A column that nothing fills will be NULL, and so is such a key's part too."""
    made = options()
    assert_reused(made, options, scope=None)
    assert_reused(made, options)
    assert rows(options._meta.model) == 1


def test_nulls_distinct_by_default(persistence):
    """Without that, a NULL in a unique index makes another row each time."""
    accounts = persisting(AccountFactory, persistence)
    assert accounts(email=None) is not accounts(email=None)
    assert rows(Account) == 2


@pytest.mark.skipif(VERSION < (2, 0), reason="SQLAlchemy 1.4 has no ddl_if() of constraints")
@pytest.mark.parametrize("only", ["sqlite", ("postgresql", "mysql")])
def test_ddl_if(only, session):
    """What `ddl_if` keeps from being made on this database is no key here."""
    base = declarative_base()

    class Tag(base):
        __tablename__ = "tag"
        __table_args__ = (
            UniqueConstraint("name").ddl_if(dialect=only),
            Index("ux_label", "label", unique=True).ddl_if(dialect=only),
        )

        id = Column(Integer, primary_key=True)
        name = Column(String(20))
        label = Column(String(20))

    class TagFactory(reuse_existing(AbstractFactory)):
        class Meta:
            model = Tag
            sqlalchemy_session_persistence = "flush"

    base.metadata.create_all(session.connection())
    made = (session.get_bind().dialect.name == "sqlite") == (only == "sqlite")
    first = TagFactory(name="a", label="b")
    assert (TagFactory(name="a") is first) == made
    assert (TagFactory(label="b") is first) == made


@pytest.mark.backends("sqlite", "postgresql")
def test_among_others(session, statements):
    """A key is found among indexes that are none, and rows with it are made together."""
    base = declarative_base()
    names = [f"c{number}" for number in range(6)]
    where = text("hidden = 'x'")
    where = {"sqlite_where": where, "postgresql_where": where}

    class Many(base):
        __table__ = Table(
            "many",
            base.metadata,
            Column("id", Integer, primary_key=True),
            *(Column(name, String(20)) for name in (*names, "hidden")),
            *(Index(f"ix_{name}", name) for name in names),
            *(Index(f"ux_hidden_{name}", "hidden", name, unique=True) for name in names),
            *(Index(f"ux_{name}", name, unique=True) for name in names),
            *(Index(f"again_{name}", name, unique=True) for name in names),
            *(Index(f"part_{name}", name, unique=True, **where) for name in names),
        )
        __mapper_args__ = {"exclude_properties": ["hidden"]}

    @reuse_existing
    class ManyFactory(BaseFactory):
        class Meta:
            model = Many
            sqlalchemy_session_persistence = "flush"

    base.metadata.create_all(session.connection())
    for name in names:
        made = ManyFactory(**{name: "x"})
        assert ManyFactory(**{name: "x"}) is made
        with statements() as seen:
            list(create_many(ManyFactory, [{name: value} for value in "xyz"]))
        assert seen.count("SAVEPOINT") == 1
    assert rows(Many) == 3 * len(names)
