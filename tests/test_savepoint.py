"""`savepoint`: with one, without one, and the factories that insert nothing by themselves."""

import pytest
from factory.alchemy import SQLAlchemyModelFactory
from sqlalchemy import inspect, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

import regions
from factory_reuse import reuse_existing, use_session
from regions import Region, RegionFactory

Base = regions.Base  # whose tables `engine` makes


@reuse_existing(on="name")
class LazyFactory(SQLAlchemyModelFactory):
    class Meta:
        model = Region
        sqlalchemy_session_persistence = None

    name = "North"
    label = "region"


@pytest.fixture(autouse=True)
def in_use(session):
    with use_session(session):
        yield


@pytest.fixture
def rows(make_session):
    """Give the names of all regions, as another session sees them."""
    return lambda: sorted(make_session().execute(select(Region.name)).scalars())


@pytest.mark.parametrize(
    ("base", "savepoint", "expected"),
    [
        (RegionFactory, None, ["SELECT", "SAVEPOINT", "INSERT", "RELEASE"]),
        (RegionFactory, True, ["SELECT", "SAVEPOINT", "INSERT", "RELEASE"]),
        (RegionFactory, False, ["SELECT", "INSERT"]),
        (LazyFactory, None, ["SELECT"]),
        (LazyFactory, True, ["SELECT", "SAVEPOINT", "INSERT", "RELEASE"]),
        (LazyFactory, False, ["SELECT"]),
    ],
)
def test_savepoint(base, savepoint, expected, statements, rows, session):
    """`savepoint` says how a row is inserted; by default a lazy factory stays lazy."""

    @reuse_existing(on="name", savepoint=savepoint)
    class Factory(base):
        pass

    with statements() as seen:
        region = Factory()
    assert seen == expected
    assert inspect(region).pending is ("INSERT" not in expected)
    with statements() as seen:
        assert Factory() is region
    assert seen == []
    session.commit()
    assert rows() == ["North"]


def test_lazy_hit(session, statements):
    """A lazy factory's lookup flushes nothing, neither what it made nor what the caller added."""
    session.add(Region(name="South", label=""))
    session.commit()
    own = Region(name="own", label="")
    session.add(own)
    north = LazyFactory()
    with statements() as seen:
        assert LazyFactory() is north
        assert LazyFactory(name="South").name == "South"
        assert LazyFactory(name="own") is own
    assert seen == ["SELECT"]
    assert set(session.new) == {own, north}


def test_lazy_with_own_create(statements):
    """A factory that saves in its own `_create` is not lazy, whatever its options say."""

    class SavingFactory(SQLAlchemyModelFactory):
        class Meta:
            model = Region
            abstract = False

        name = "North"
        label = "region"

        @classmethod
        def _create(cls, model_class, *args, **kwargs):
            obj = model_class(*args, **kwargs)
            cls._meta.sqlalchemy_session.add(obj)
            cls._meta.sqlalchemy_session.flush()
            return obj

    reuse_existing(SavingFactory, on="name")
    with statements() as seen:
        region = SavingFactory()
        assert SavingFactory() is region
    assert seen == ["SELECT", "SAVEPOINT", "INSERT", "RELEASE"]


def test_refused_without_savepoint(session, rows):
    """`savepoint=False` gives up the protection: the whole transaction is to be rolled back."""

    @reuse_existing(on="name", savepoint=False)
    class UnprotectedFactory(RegionFactory):
        pass

    session.add(Region(name="own", label=""))
    with pytest.raises(IntegrityError):
        UnprotectedFactory(label=None)
    session.rollback()
    UnprotectedFactory()
    session.commit()
    assert rows() == ["North"]


def test_autocommit(engine):
    """Where the connection commits each statement, rows are made and reused all the same."""
    autocommit = engine.execution_options(isolation_level="AUTOCOMMIT")
    with Session(autocommit, future=True) as session, use_session(session):
        region = RegionFactory()
        assert RegionFactory() is region


def test_refused_in_autocommit(engine, rows):
    """A refused row leaves nothing there either, and the session goes on."""
    autocommit = engine.execution_options(isolation_level="AUTOCOMMIT")
    with Session(autocommit, future=True) as session, use_session(session):
        RegionFactory()
        with pytest.raises(IntegrityError):
            RegionFactory(name="South", label=None)
        assert RegionFactory(name="South").name == "South"
    assert rows() == ["North", "South"]
