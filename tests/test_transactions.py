"""Who ends the transaction: factories that commit, blocks and SAVEPOINTs of the caller's."""

import pytest
import sqlalchemy
from sqlalchemy import event, inspect, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

import regions
from factory_reuse import get_or_create, reuse_existing, use_session
from regions import Region
from regions import RegionFactory as FlushingFactory

Base = regions.Base  # whose tables `engine` makes

OLD = sqlalchemy.__version__.startswith("1.4.")


@reuse_existing(on="name")
class CommittingFactory(FlushingFactory):
    class Meta:
        sqlalchemy_session_persistence = "commit"


@reuse_existing(on="name")
class OwnCommitFactory(FlushingFactory):
    """Commits in its own `_create`, which no option tells."""

    @classmethod
    def _create(cls, model_class, *args, **kwargs):
        session = cls._meta.sqlalchemy_session
        obj = model_class(*args, **kwargs)
        session.add(obj)
        session.commit()
        return obj


@reuse_existing(on="name")
class OwnCleanCommitFactory(FlushingFactory):
    """Commits in its own `_create`, and rolls back where that fails."""

    @classmethod
    def _create(cls, model_class, *args, **kwargs):
        session = cls._meta.sqlalchemy_session
        try:
            session.add(model_class(*args, **kwargs))
            session.commit()
        except IntegrityError:
            session.rollback()
            raise
        return session.query(model_class).filter_by(**kwargs).one()


committing = pytest.mark.parametrize(
    "call", [CommittingFactory, OwnCommitFactory, OwnCleanCommitFactory]
)


@pytest.fixture(params=["future", "legacy"] if OLD else ["future"])
def future(request):
    return request.param == "future"


@pytest.fixture
def session(engine, future):
    """Use a session of the future, or on SQLAlchemy 1.4 also one of the past."""
    with Session(engine, future=future) as session, use_session(session):
        yield session


@pytest.fixture
def names(engine):
    """Give the names of all regions, as another session sees them."""

    def committed():
        with Session(engine, future=True) as other:
            return sorted(other.execute(select(Region.name)).scalars())

    return committed


def region(name):
    return Region(name=name, label="own")


# Factories that commit


@committing
def test_committed(call, session, names):
    """The row is committed, with the caller's earlier work, and no rollback takes it back."""
    session.add(region("flushed"))
    session.flush()
    session.add(region("pending"))
    north, created = get_or_create(call)
    assert created
    assert names() == ["North", "flushed", "pending"]
    assert not session.in_nested_transaction()
    session.rollback()
    assert names() == ["North", "flushed", "pending"]
    assert call() is north


@committing
def test_committed_first(call, session, names):
    """So too as a transaction's first statement, and again and again."""
    assert call().name == "North"
    assert names() == ["North"]
    assert call(name="South").name == "South"
    assert names() == ["North", "South"]
    session.add(region("own"))
    session.commit()
    assert names() == ["North", "South", "own"]


@committing
def test_reuse_commits_nothing(call, session, names):
    """A row that is there is given without ending the caller's transaction."""
    call()
    session.add(region("own"))
    session.flush()
    call()
    session.rollback()
    assert names() == ["North"]


@pytest.mark.parametrize("end", ["commit", "rollback"])
@pytest.mark.parametrize("call", [CommittingFactory, OwnCommitFactory])
def test_refused_commit(call, end, session, names):
    """A refused INSERT is undone alone: the caller's earlier work is there, not yet committed."""
    flushed, pending = region("flushed"), region("pending")
    session.add(flushed)
    session.flush()
    session.add(pending)
    with pytest.raises(IntegrityError):
        call(label=None)
    assert flushed in session
    assert pending in session
    assert not inspect(flushed).expired
    assert not session.in_nested_transaction()
    getattr(session, end)()
    assert names() == (["flushed", "pending"] if end == "commit" else [])


def test_refused_commit_of_its_own(session, names):
    """A `_create` that rolls back by itself leaves a session that goes on."""
    with pytest.raises(IntegrityError):
        OwnCleanCommitFactory(label=None)
    session.rollback()
    assert OwnCleanCommitFactory().name == "North"
    assert names() == ["North"]


def test_updated_commit(session, names, engine):
    """A factory that commits what it makes also commits what `on_mismatch="update"` changes."""

    @reuse_existing(on="name", on_mismatch="update")
    class UpdatingFactory(CommittingFactory):
        pass

    UpdatingFactory()
    UpdatingFactory(label="new")
    session.rollback()
    with Session(engine, future=True) as other:
        assert other.execute(select(Region.label)).scalars().all() == ["new"]


# The caller's own blocks


def test_own_savepoint(session, names):
    """Inside the caller's SAVEPOINT a refusal undoes the INSERT alone; the rest is the caller's."""
    session.add(region("before"))
    session.flush()
    with session.begin_nested() as nested:
        inner = region("inner")
        session.add(inner)
        FlushingFactory()
        with pytest.raises(IntegrityError):
            FlushingFactory(name="South", label=None)
        assert nested.is_active
        assert inner in session
        assert FlushingFactory(name="West").name == "West"
    assert not session.in_nested_transaction()
    session.commit()
    assert names() == ["North", "West", "before", "inner"]


def test_own_savepoint_rolled_back(session, names):
    """With the caller's SAVEPOINT go the rows made inside of it, and they alone."""
    session.add(region("before"))
    FlushingFactory(name="South")
    nested = session.begin_nested()
    FlushingFactory()
    with pytest.raises(IntegrityError):
        FlushingFactory(name="West", label=None)
    nested.rollback()
    session.commit()
    assert names() == ["South", "before"]


def test_own_block(make_session, names):
    """Inside `with session.begin():` rows are made, refused and committed with the block."""
    session = make_session()
    with use_session(session), session.begin():
        session.add(region("own"))
        FlushingFactory()
        with pytest.raises(IntegrityError):
            FlushingFactory(name="South", label=None)
        assert FlushingFactory().name == "North"
    assert names() == ["North", "own"]


def test_own_block_left_by_an_error(make_session, names):
    """A block that an error leaves takes all rows with it."""
    session = make_session()

    def block():
        with use_session(session), session.begin():
            session.add(region("own"))
            FlushingFactory()
            FlushingFactory(name="South", label=None)

    with pytest.raises(IntegrityError):
        block()
    assert names() == []


# A connection of the caller's, rolled back at the end of each test, as suites do


@pytest.fixture
def connection(engine):
    """Open a connection with a transaction that is rolled back; nothing may be left."""
    if engine.dialect.name == "sqlite":
        # SQLAlchemy's recipe, without which no SAVEPOINT of the caller's own is undone.
        event.listen(engine, "connect", lambda raw, record: setattr(raw, "isolation_level", None))
        event.listen(engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN"))
    with engine.connect() as connection:
        transaction = connection.begin()
        yield connection
        transaction.rollback()
    with engine.connect() as after:
        assert after.execute(select(Region.name)).all() == []


def scenario(session):
    """Make, refuse, commit and roll back as a test would."""
    with use_session(session):
        FlushingFactory(name="South")
        session.commit()
        with pytest.raises(IntegrityError):
            FlushingFactory(name="West", label=None)
        FlushingFactory(name="East")
        session.rollback()
        CommittingFactory()
        session.rollback()
        assert not get_or_create(FlushingFactory)[1]
        assert not get_or_create(FlushingFactory, name="South")[1]
        assert get_or_create(FlushingFactory, name="East")[1]
        with pytest.raises(IntegrityError):
            CommittingFactory(name="West", label=None)
        found = session.query(Region.name).order_by(Region.name).all()
    assert [name for (name,) in found] == ["East", "North", "South"]


def test_connection(engine, future):
    """A connection's rollback undoes what its session committed, on SQLite without any recipe."""
    with engine.connect() as connection:
        transaction = connection.begin()
        with Session(connection, future=future) as session, use_session(session):
            FlushingFactory()
            session.commit()
            CommittingFactory(name="South")
        transaction.rollback()
    with engine.connect() as after:
        assert after.execute(select(Region.name)).all() == []


@pytest.mark.skipif(OLD, reason="SQLAlchemy 1.4 has no join_transaction_mode")
@pytest.mark.parametrize("mode", ["create_savepoint", "conditional_savepoint"])
def test_joined_session(mode, connection):
    """A session in SAVEPOINTs of a connection's transaction: its commits go with that."""
    if mode == "conditional_savepoint":
        connection.begin_nested()
    with Session(connection, join_transaction_mode=mode) as session:
        scenario(session)


def test_restarted_savepoint(connection, future):
    """The recipe of SQLAlchemy 1.4: a SAVEPOINT of the connection, begun anew by a listener."""
    savepoint = [connection.begin_nested()]
    with Session(connection, future=future) as session:

        @event.listens_for(session, "after_transaction_end")
        def begin_anew(session, transaction):
            if not savepoint[0].is_active:
                savepoint[0] = connection.begin_nested()

        scenario(session)
        session.close()
        event.remove(session, "after_transaction_end", begin_anew)


@pytest.mark.skipif(
    not OLD, reason="SQLAlchemy 2.0 dropped the legacy mode (future=False) that this is about"
)
def test_restarted_session_savepoint(connection):
    """The recipe before that: a SAVEPOINT of the session, begun anew by a listener."""
    with Session(connection, future=False) as session:
        session.begin_nested()

        @event.listens_for(session, "after_transaction_end")
        def begin_anew(session, transaction):
            if transaction.nested and not transaction._parent.nested:
                session.expire_all()
                session.begin_nested()

        scenario(session)
        event.remove(session, "after_transaction_end", begin_anew)


# What an application's listeners hear


def _heard(session):
    heard = []
    for name in ("before_commit", "after_commit"):
        event.listen(session, name, lambda *args, name=name: heard.append(name))
    return heard


def test_our_savepoint_is_no_commit(session):
    """A hook that runs when something is committed does not run for a row that is not."""
    heard = _heard(session)
    with use_session(session):
        FlushingFactory()
        FlushingFactory(name="South")
    assert heard == []
    session.commit()
    assert heard == ["before_commit", "after_commit"]


def test_a_savepoint_of_the_callers_is_heard(session):
    """What the caller commits or rolls back is heard as ever, after a call of ours too."""
    with use_session(session):
        FlushingFactory()
        heard = _heard(session)
        with session.begin_nested():
            FlushingFactory(name="South")
    assert heard == ["before_commit", "after_commit"]
