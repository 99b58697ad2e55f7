"""What a repeated call gives is what a query would have given, whatever happened in between."""

import factory
import pytest
from sqlalchemy import (
    Column,
    ForeignKey,
    Integer,
    String,
    UniqueConstraint,
    delete,
    inspect,
    select,
    text,
    update,
)
from sqlalchemy.orm import Session, backref, declarative_base, relationship

from factory_reuse import find, get_or_create, reuse_existing, use_session
from regions import BaseFactory, keep_foreign_keys

Base = declarative_base()


# SQLite gives the id of a deleted row to the next one, and their objects collide, with or without
# reuse; AUTOINCREMENT takes a new id.
ANEW = {"sqlite_autoincrement": True}


class Region(Base):
    __tablename__ = "region"
    __table_args__ = ANEW

    id = Column(Integer, primary_key=True)
    name = Column(String(50), unique=True)
    label = Column(String(50))


class City(Base):
    __tablename__ = "city"
    __table_args__ = (UniqueConstraint("region_id", "name"), ANEW)

    id = Column(Integer, primary_key=True)
    name = Column(String(50))
    region_id = Column(ForeignKey("region.id", ondelete="CASCADE"))
    region = relationship(
        Region, backref=backref("cities", cascade="all, delete-orphan", passive_deletes=True)
    )


@reuse_existing
class RegionFactory(BaseFactory):
    class Meta:
        model = Region

    name = "North"


@reuse_existing
class CityFactory(BaseFactory):
    class Meta:
        model = City

    name = "Oslo"
    region = factory.SubFactory(RegionFactory)


MISS = ["SELECT", "SAVEPOINT", "INSERT", "RELEASE"]
REGION = Region.__table__


@pytest.fixture(autouse=True)
def in_use(session):
    with use_session(session):
        yield


@pytest.fixture
def names(make_session):
    """Give the names of all regions, as another session sees them."""
    return lambda: sorted(make_session().execute(select(Region.name)).scalars())


# The end of a transaction, and what leaves the session


@pytest.mark.parametrize(
    ("happening", "same"),
    [
        (lambda session, region: session.commit(), True),
        (lambda session, region: session.expire(region), True),
        (lambda session, region: session.expire(region, ["name"]), True),
        (lambda session, region: session.expire_all(), True),
        (lambda session, region: session.expunge(region), False),
        (lambda session, region: session.expunge_all(), False),
        (lambda session, region: session.close(), False),
    ],
    ids=["commit", "expire", "expire-name", "expire_all", "expunge", "expunge_all", "close"],
)
def test_asks_again(happening, same, session, statements):
    """After the event the row is asked for again; it is an object of this session."""
    RegionFactory()
    session.commit()
    region = RegionFactory()
    happening(session, region)
    with statements() as seen:
        again = RegionFactory()
    assert seen == ["SELECT"]
    assert (again is region) is same
    assert again in session


def test_rollback(session, statements, names):
    """A row made and rolled back is made again."""
    RegionFactory()
    session.rollback()
    with statements() as seen:
        RegionFactory()
    assert seen == MISS
    session.commit()
    assert names() == ["North"]


@pytest.mark.parametrize("known", [False, True], ids=["first-call", "repeated-call"])
def test_savepoint_rollback(known, session, statements, names):
    """A row made inside a SAVEPOINT and rolled back with it is made again."""
    nested = session.begin_nested()
    for _ in range(1 + known):
        RegionFactory()
    nested.rollback()
    with statements() as seen:
        RegionFactory()
    assert seen == MISS
    session.commit()
    assert names() == ["North"]


def test_savepoint_rollback_keeps_earlier_rows(session, names):
    """A row made before the SAVEPOINT is still that row after its rollback."""
    region = RegionFactory()
    nested = session.begin_nested()
    assert RegionFactory() is region
    region.name = "South"
    assert RegionFactory(name="South") is region
    nested.rollback()
    assert RegionFactory() is region
    session.commit()
    assert names() == ["North"]


def test_savepoint_rollback_on_the_connection(session, names):
    """So too when the SAVEPOINT was the connection's, which the session knows nothing of."""
    session.flush()
    nested = session.connection().begin_nested()
    RegionFactory()
    nested.rollback()
    session.expunge_all()
    RegionFactory()
    session.commit()
    assert names() == ["North"]


# Changes through the session's objects


@pytest.mark.parametrize("flush", [False, True], ids=["unflushed", "flushed"])
def test_deleted(flush, session, names):
    """A deleted row is made anew, before the DELETE is flushed and after."""
    region = RegionFactory()
    session.delete(region)
    if flush:
        session.flush()
    again, created = get_or_create(RegionFactory)
    assert created
    assert again is not region
    session.commit()
    assert names() == ["North"]


@pytest.mark.parametrize("flush", [False, True], ids=["unflushed", "flushed"])
def test_renamed(flush, session, names):
    """A row is found by its new name, and not by the old."""
    region = RegionFactory()
    region.name = "South"
    if flush:
        session.flush()
    assert RegionFactory(name="South") is region
    assert RegionFactory(name="North") is not region
    session.commit()
    assert names() == ["North", "South"]


@pytest.mark.parametrize("flush", [False, True], ids=["unflushed", "flushed"])
def test_moved_to_another_parent(flush, session):
    """A row whose key holds its parent is found below the new one, and not below the old."""
    city = CityFactory()
    old, new = city.region, RegionFactory(name="South")
    city.region = new
    if flush:
        session.flush()
    assert CityFactory(region=new) is city
    assert CityFactory(region=old) is not city


def test_name_given_back(session, names):
    """A row that was renamed there and back is itself again."""
    region = RegionFactory()
    region.name = "South"
    session.flush()
    region.name = "North"
    assert RegionFactory() is region
    session.commit()
    assert names() == ["North"]


# Changes past the session's objects


CHANGES = {
    "orm-update": lambda session, **to: session.execute(
        update(Region).where(Region.name == "North").values(**to)
    ),
    "orm-update-unsynchronized": lambda session, **to: session.execute(
        update(Region).where(Region.name == "North").values(**to),
        execution_options={"synchronize_session": False},
    ),
    "core-update": lambda session, **to: session.execute(
        REGION.update().where(REGION.c.name == "North").values(**to)
    ),
    "text-update": lambda session, name: session.execute(
        text("UPDATE region SET name = :name WHERE name = 'North'"), {"name": name}
    ),
    "commented-update": lambda session, name: session.execute(
        text("/* SELECT */ UPDATE region SET name = :name WHERE name = 'North'"), {"name": name}
    ),
    "connection-update": lambda session, **to: session.connection().execute(
        REGION.update().where(REGION.c.name == "North").values(**to)
    ),
    "driver-update": lambda session, name: session.connection().exec_driver_sql(
        f"UPDATE region SET name = '{name}' WHERE name = 'North'"
    ),
    "query-update": lambda session, **to: (
        session.query(Region).filter_by(name="North").update(to, synchronize_session=False)
    ),
    "bulk_update_mappings": lambda session, **to: session.bulk_update_mappings(
        Region, [dict(to, id=session.query(Region.id).filter_by(name="North").scalar())]
    ),
}

DELETIONS = {
    "orm-delete": lambda session: session.execute(delete(Region).where(Region.name == "North")),
    "orm-delete-unsynchronized": lambda session: session.execute(
        delete(Region).where(Region.name == "North"),
        execution_options={"synchronize_session": False},
    ),
    "text-delete": lambda session: session.execute(text("DELETE FROM region WHERE name = 'North'")),
    "connection-delete": lambda session: session.connection().execute(
        REGION.delete().where(REGION.c.name == "North")
    ),
    "query-delete": lambda session: (
        session.query(Region).filter_by(name="North").delete(synchronize_session=False)
    ),
}


@pytest.mark.backends("sqlite", "postgresql")
@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_renamed_by_statement(change, session, names):
    """A row renamed past the ORM is found by its new name, which its object then has."""
    region = RegionFactory()
    change(session, name="South")
    assert RegionFactory() is not region
    assert RegionFactory(name="South") is region
    assert region.name == "South"
    session.commit()
    assert names() == ["North", "South"]


@pytest.mark.backends("sqlite", "postgresql")
@pytest.mark.parametrize("deletion", DELETIONS.values(), ids=DELETIONS)
def test_deleted_by_statement(deletion, session, names):
    """A row deleted past the ORM is made anew."""
    region = RegionFactory()
    deletion(session)
    again, created = get_or_create(RegionFactory)
    assert created
    assert again is not region
    session.commit()
    assert names() == ["North"]


def test_deleted_by_the_owner_of_the_connection(engine, make_session):
    """A row deleted on the connection that the session was given is made anew."""
    with engine.connect() as connection, connection.begin() as transaction:
        other = Session(connection, future=True)
        with use_session(other):
            region = RegionFactory()
            connection.execute(REGION.delete().where(REGION.c.id == region.id))
            again, created = get_or_create(RegionFactory)
            assert created
            assert again is not region
        other.close()
        transaction.rollback()


@pytest.fixture
def foreign_keys(engine, session):
    keep_foreign_keys(engine)


@pytest.mark.parametrize("flush", [False, True], ids=["unflushed", "flushed"])
def test_deleted_by_cascade(flush, foreign_keys, session):
    """A row that the database deletes along with its parent is made anew."""
    CityFactory()
    session.commit()
    city = CityFactory()
    session.delete(RegionFactory())
    if flush:
        session.flush()
    again, created = get_or_create(CityFactory)
    assert created
    assert again is not city
    session.commit()
    assert session.query(City).filter_by(name="Oslo").one() is again


# Autoflush off, expiry off


@pytest.fixture
def unflushed(make_session, in_use):
    """Use a session that flushes nothing by itself."""
    session = make_session(autoflush=False)
    with use_session(session):
        yield session


def test_renamed_without_autoflush(unflushed, names):
    """A renamed row is found by its new name and not by the old, though nothing is flushed."""
    region = RegionFactory()
    region.name = "South"
    assert find(RegionFactory, name="South") is region
    assert find(RegionFactory, name="North") is None
    assert RegionFactory(name="South") is region
    assert RegionFactory(name="North") is not region
    unflushed.commit()
    assert names() == ["North", "South"]


def test_renamed_row_of_another_model_without_autoflush(unflushed, names):
    """An unflushed change to a row of another table has nothing to do with it."""
    city = CityFactory(region=None)
    city.name = "North"
    RegionFactory()
    unflushed.commit()
    assert names() == ["North"]


def test_renamed_by_statement_without_autoflush(unflushed, names):
    """A row is found by the name it has, though its object has an old one and is changed."""
    region = RegionFactory()
    unflushed.connection().execute(update(REGION).values(name="South"))
    region.label = "new"
    assert find(RegionFactory, name="South") is region
    unflushed.commit()
    assert names() == ["South"]


def test_pending_without_autoflush(unflushed, statements, names):
    """A pending object is taken, with no query, and stays pending."""
    region = Region(name="North")
    unflushed.add(region)
    with statements() as seen:
        assert RegionFactory() is region
        assert RegionFactory() is region
    assert seen == []
    assert inspect(region).pending
    unflushed.commit()
    assert names() == ["North"]


def test_deleted_without_autoflush(unflushed, names):
    """A deleted row is not taken, though it is still in the table."""
    RegionFactory()
    unflushed.commit()
    region = RegionFactory()
    unflushed.delete(region)
    assert RegionFactory() is not region
    unflushed.commit()
    assert names() == ["North"]


def test_pending_let_go_without_autoflush(unflushed):
    """A pending object that was expunged is not taken."""
    region = Region(name="North")
    unflushed.add(region)
    assert RegionFactory() is region
    unflushed.expunge(region)
    assert RegionFactory() is not region


@pytest.fixture
def unexpired(make_session, in_use):
    """Use a session whose objects keep their values over a commit."""
    session = make_session(expire_on_commit=False)
    with use_session(session):
        yield session


def test_asks_again_without_expiry(unexpired, statements):
    """A commit ends what the cache answers, though the objects are not expired."""
    region = RegionFactory()
    unexpired.commit()
    with statements() as seen:
        assert RegionFactory() is region
    assert seen == ["SELECT"]


def test_renamed_elsewhere_without_expiry(unexpired, session, names):
    """A row that another session renamed has its new name here too."""
    region = RegionFactory()
    unexpired.commit()
    session.query(Region).filter_by(name="North").one().name = "South"
    session.commit()
    assert RegionFactory(name="South") is region
    assert region.name == "South"
    assert RegionFactory() is not region
    unexpired.commit()
    assert names() == ["North", "South"]


def test_deleted_elsewhere_without_expiry(unexpired, session, names):
    """A row that another session deleted is made anew."""
    region = RegionFactory()
    unexpired.commit()
    session.delete(session.query(Region).filter_by(name="North").one())
    session.commit()
    assert RegionFactory() is not region
    unexpired.commit()
    assert names() == ["North"]
