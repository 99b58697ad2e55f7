"""What goes wrong outside: connections break, sessions are killed, locks held, disks full."""

import warnings

import factory
import pytest
from sqlalchemy import (
    Column,
    ForeignKey,
    Integer,
    String,
    UniqueConstraint,
    create_engine,
    event,
    select,
)
from sqlalchemy.exc import DBAPIError, OperationalError, PendingRollbackError, SAWarning
from sqlalchemy.orm import Session, declarative_base, relationship

from factory_reuse import ReuseError, create_many, find, reuse_existing, use_session
from proxy import SECONDS, Proxy
from regions import BaseFactory

pytestmark = pytest.mark.thorough

Base = declarative_base()


class Region(Base):
    __tablename__ = "region"

    id = Column(Integer, primary_key=True)
    name = Column(String(50), unique=True)
    label = Column(String(50))


class City(Base):
    __tablename__ = "city"

    id = Column(Integer, primary_key=True)
    name = Column(String(50), unique=True)
    region_id = Column(ForeignKey("region.id"))
    region = relationship(Region, backref="cities")


class Strict(Base):
    __tablename__ = "strict"
    __table_args__ = (UniqueConstraint("name", sqlite_on_conflict="ROLLBACK"),)

    id = Column(Integer, primary_key=True)
    name = Column(String(50))


@event.listens_for(Strict, "before_insert")
def capitalise(mapper, connection, target):
    # So that a lookup by another case finds nothing, and the INSERT is refused.
    target.name = target.name.title()


@reuse_existing(on="name")
class RegionFactory(BaseFactory):
    class Meta:
        model = Region

    name = "North"


@reuse_existing(on="name")
class CityFactory(BaseFactory):
    class Meta:
        model = City

    name = "Oslo"
    region = factory.SubFactory(RegionFactory)


@reuse_existing(on="name")
class CommittingFactory(RegionFactory):
    class Meta:
        sqlalchemy_session_persistence = "commit"


@reuse_existing(on="name")
class StrictFactory(BaseFactory):
    class Meta:
        model = Strict


def many(declared, *names):
    return list(create_many(declared, [{"name": name} for name in names]))


# Each gives the region "North".
CALLS = {
    "direct": RegionFactory,
    "nested": lambda: CityFactory().region,
    "many": lambda: many(RegionFactory, "North", "South")[0],
    "many-nested": lambda: many(CityFactory, "Oslo", "Bergen")[0].region,
    "commit": CommittingFactory,
    "many-commit": lambda: many(CommittingFactory, "North", "South")[0],
}

# And what they make beside it.
BESIDE = {
    "nested": ["Oslo"],
    "many": ["South"],
    "many-nested": ["Bergen", "Oslo"],
    "many-commit": ["South"],
}

# What they send, and whether the server still gets it when the connection is cut there.
ONE_LEVEL = {
    "FROM region": False,
    "SAVEPOINT sa_savepoint_1": True,
    "INSERT INTO region": True,
    "RELEASE SAVEPOINT sa_savepoint_1": False,
}
TWO_LEVELS = {
    **ONE_LEVEL,
    "FROM city": False,
    "INSERT INTO city": True,
    "RELEASE SAVEPOINT sa_savepoint_2": False,
}
STATEMENTS = {
    "direct": ONE_LEVEL,
    "nested": TWO_LEVELS,
    "many": ONE_LEVEL,
    "many-nested": TWO_LEVELS,
    "commit": ONE_LEVEL,
}

at_each_statement = pytest.mark.parametrize(
    ("name", "statement"),
    [(name, statement) for name, statements in STATEMENTS.items() for statement in statements],
)
each_call = pytest.mark.parametrize("name", CALLS)


@pytest.fixture
def proxy(engine, backend):
    """Lead all connections to a server through a proxy."""
    ports = {"postgresql": 5432, "mariadb": 3306}
    if backend not in ports:
        yield None
        return
    with engine.connect():
        pass  # else SQLAlchemy asks the server about itself later, among the test's statements
    _, address = engine.dialect.create_connect_args(engine.url)
    port = int(address.get("port", ports[backend]))
    with Proxy(address.get("host", "localhost"), port) as proxy:

        @event.listens_for(engine, "do_connect")
        def lead(dialect, record, args, parameters):
            parameters.update(host="127.0.0.1", port=proxy.port)
            if backend == "postgresql":
                parameters["sslmode"] = "disable"
            else:
                parameters.update(ssl_disabled=True, read_timeout=SECONDS)

        yield proxy


@pytest.fixture(autouse=True)
def in_use(proxy, session):
    with use_session(session):
        yield


@pytest.fixture
def other(make_session):
    return make_session()


@pytest.fixture
def rows(make_session):
    """Give the names of all regions and cities, as another session sees them."""

    def committed():
        other = make_session()
        found = [*other.execute(select(Region.name)), *other.execute(select(City.name))]
        other.close()
        return sorted(name for (name,) in found)

    return committed


@pytest.fixture
def made(session):
    """Collect the objects that are added to the session."""
    seen = []

    @event.listens_for(session, "transient_to_pending")
    def collect(session, obj):
        seen.append(obj)

    return seen


@pytest.fixture
def kill(engine, backend, other):
    """Have the server end the session of a connection that is about to send a statement."""
    commands = {"postgresql": "SELECT pg_terminate_backend({})", "mariadb": "KILL {}"}

    def kill_at(text):
        @event.listens_for(engine, "before_cursor_execute")
        def listen(connection, cursor, statement, *rest):
            driver = cursor.connection
            if text in statement and driver is not other_driver and not killed:
                killed.append(driver)
                number = getattr(driver, "thread_id", None) or driver.get_backend_pid
                other.connection().exec_driver_sql(commands[backend].format(number()))

        killed = []
        other_driver = other.connection().connection.dbapi_connection

    return kill_at


def work(session):
    """Do what the caller has done before in the transaction; the cache knows of it."""
    own = Region(name="own")
    session.add(own)
    session.flush()
    assert RegionFactory(name="own") is own
    return own


def cause_of(error):
    """Return what failed; `create_many` says in which row it did."""
    return error.__cause__ if isinstance(error, ReuseError) else error


def assert_original(error, errors):
    """Nothing that came of the fault later hides it, nor what the driver said of it."""
    assert isinstance(error, DBAPIError)
    assert error is errors[0]
    assert error.orig is error.__cause__
    assert type(error.orig).__module__ != "builtins"


def assert_recovers(name, session, other, rows, made):
    """After a rollback the session works again, and knows of nothing that is not there."""
    session.rollback()
    assert not set(made) & set(session)
    other.rollback()
    assert rows() == []
    assert find(RegionFactory, name="own") is None
    other.add(Region(name="North", label="theirs"))
    other.commit()
    region = CALLS[name]()
    assert (region.name, region.label) == ("North", "theirs")
    assert CALLS[name]() is region
    session.commit()
    assert rows() == sorted(["North", *BESIDE.get(name, [])])


# The connection is lost, and with it the transaction


@pytest.mark.backends("postgresql", "mariadb")
@pytest.mark.parametrize("fault", ["cut", "killed"])
@at_each_statement
def test_lost(name, statement, fault, proxy, kill, session, other, rows, errors, made):
    """The error is the one that came first, and nothing of the transaction can be committed."""
    work(session)
    if fault == "killed":
        kill(statement)
    else:
        proxy.cut(statement, answered=STATEMENTS[name][statement])
    connections = proxy.connections
    with pytest.raises((DBAPIError, ReuseError)) as caught:
        CALLS[name]()
    assert_original(cause_of(caught.value), errors)
    with pytest.raises((PendingRollbackError, ReuseError)) as again:
        CALLS[name]()
    assert isinstance(cause_of(again.value), PendingRollbackError)
    with pytest.raises(PendingRollbackError):
        session.commit()
    assert proxy.connections == connections
    assert_recovers(name, session, other, rows, made)


@pytest.mark.backends("postgresql", "mariadb")
@pytest.mark.parametrize("answered", [False, True])
@pytest.mark.parametrize("name", ["commit", "many-commit"])
def test_lost_in_commit(name, answered, proxy, session, rows, errors):
    """Only the database knows whether a COMMIT that nobody answered was done; it is asked."""
    work(session)
    proxy.cut("COMMIT", answered=answered)
    with pytest.raises((DBAPIError, ReuseError)) as caught:
        CALLS[name]()
    assert_original(cause_of(caught.value), errors)
    session.rollback()
    committed = rows()
    assert ("North" in committed) is ("own" in committed) is answered
    CALLS[name]()
    assert rows() == sorted({*committed, "North", *(["South"] if "many" in name else [])})


@pytest.mark.backends("postgresql", "mariadb")
@each_call
def test_lost_in_a_block(name, proxy, session, other, rows, errors, made):
    """`with session.begin():` gives the same error, and is over; the next block works."""

    def block():
        with session.begin():
            work(session)
            proxy.cut("RELEASE SAVEPOINT sa_savepoint_1")
            CALLS[name]()

    with pytest.raises((DBAPIError, ReuseError)) as caught:
        block()
    assert_original(cause_of(caught.value), errors)
    assert not session.in_transaction()
    assert_recovers(name, session, other, rows, made)


@pytest.mark.backends("postgresql", "mariadb")
def test_lost_below_a_new_parent(proxy, session, rows):
    """A parent that has no row either does not keep the child that was to come with it."""
    region = Region(name="own")
    proxy.cut("INSERT INTO city")
    with pytest.raises(OperationalError):
        CityFactory(region=region)
    session.rollback()
    session.add(region)
    session.commit()
    assert rows() == ["own"]


# Another transaction holds the row for too long


WAITS = {
    ("postgresql", "lock"): "SET LOCAL lock_timeout = 100",
    ("postgresql", "statement"): "SET LOCAL statement_timeout = 300",
    ("mariadb", "lock"): "SET innodb_lock_wait_timeout = 0",
    ("mariadb", "statement"): "SET max_statement_time = 0.3",
}
# A busy machine may need longer for what waits for nobody.
WAIT_AGAIN = {
    "postgresql": "SET LOCAL statement_timeout = 0",
    "mariadb": "SET max_statement_time = 0",
}


@pytest.fixture
def wait_briefly(session, backend):
    """Have the session wait no longer, for a lock or for what a statement takes."""
    return lambda what: session.connection().exec_driver_sql(WAITS[backend, what])


@pytest.mark.backends("postgresql", "mariadb")
@pytest.mark.parametrize("what", ["lock", "statement"])
@pytest.mark.parametrize("commits", [True, False])
@each_call
def test_waited(name, what, commits, backend, wait_briefly, session, other, rows, errors):
    """Only the INSERT is undone: the caller's work stays, and the call can be made again."""
    other.add(Region(name="North", label="theirs"))
    other.flush()
    own = work(session)
    wait_briefly(what)
    for _ in range(2):
        with pytest.raises((DBAPIError, ReuseError)) as caught:
            CALLS[name]()
        assert cause_of(caught.value) in errors
        assert_original(cause_of(caught.value), errors[-1:])
        assert not session.in_nested_transaction()
        assert set(session) == {own}
    other.commit() if commits else other.rollback()
    session.connection().exec_driver_sql(WAIT_AGAIN[backend])
    region = CALLS[name]()
    assert region.label == ("theirs" if commits else None)
    session.commit()
    assert rows() == sorted(["North", "own", *BESIDE.get(name, [])])


@pytest.mark.single
@pytest.mark.backends("postgresql", "mariadb")
def test_waited_for_the_child(wait_briefly, session, other, rows, made):
    """The parent that its SubFactory made is a call that went well, and stays."""
    other.add(City(name="Oslo"))
    other.flush()
    wait_briefly("lock")
    with pytest.raises(OperationalError):
        CityFactory()
    assert [obj for obj in made if obj in session] == [RegionFactory()]
    assert RegionFactory().cities == []
    session.commit()
    other.rollback()
    assert rows() == ["North"]


@pytest.mark.backends("postgresql", "mariadb")
def test_waited_below_a_new_parent(wait_briefly, session, other, rows):
    """A parent that has no row either does not keep the child that was to come with it."""
    other.add(City(name="Oslo"))
    other.flush()
    wait_briefly("lock")
    region = Region(name="own")
    with pytest.raises(OperationalError):
        CityFactory(region=region)
    assert region.cities == []
    other.rollback()
    session.add(region)
    session.commit()
    assert rows() == ["own"]


@pytest.mark.backends("postgresql", "mariadb")
@each_call
def test_waited_in_a_block(name, wait_briefly, session, other, rows, errors):
    """`with session.begin():` rolls all of it back; the next block works."""
    other.add(Region(name="North", label="theirs"))
    other.flush()

    def block():
        with session.begin():
            work(session)
            wait_briefly("lock")
            CALLS[name]()

    with pytest.raises((DBAPIError, ReuseError)) as caught:
        block()
    assert_original(cause_of(caught.value), errors[-1:])
    other.commit()
    assert rows() == ["North"]
    region = CALLS[name]()
    assert region.label == "theirs"


@pytest.mark.backends("sqlite-file")
@each_call
def test_waited_for_the_file(name, session, other, rows, errors):
    """While another writes to the file the error is SQLite's; after that the call goes well."""
    session.connection().exec_driver_sql("PRAGMA busy_timeout = 20")
    other.add(Region(name="South"))
    other.flush()
    with pytest.raises((DBAPIError, ReuseError), match="database is locked") as caught:
        CALLS[name]()
    assert_original(cause_of(caught.value), errors[-1:])
    assert not session.in_nested_transaction()
    assert list(session) == []
    other.rollback()
    assert CALLS[name]().name == "North"
    session.commit()
    assert rows() == sorted(["North", *BESIDE.get(name, [])])


# The database ends the transaction by itself


def assert_over(session, rows):
    """Whatever is left of the transaction cannot be committed."""
    with pytest.raises(PendingRollbackError):
        session.execute(select(Region))
    session.add(Region(name="late"))
    with pytest.raises(PendingRollbackError):
        session.commit()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SAWarning)  # it says that the late one is discarded
        session.rollback()
    assert rows() == []
    assert find(RegionFactory, name="own") is None


@pytest.mark.backends("sqlite", "sqlite-file")
@each_call
def test_disk_full(name, session, rows, errors):
    """SQLite undoes everything when there is no room left: so does the session."""
    connection = session.connection()
    pages = connection.exec_driver_sql("PRAGMA page_count").scalar()
    work(session)
    connection.exec_driver_sql(f"PRAGMA max_page_count = {pages}")

    @event.listens_for(session, "transient_to_pending")
    def enlarge(session, obj):
        if isinstance(obj, Region):
            obj.label = "x" * 20000

    with pytest.raises((DBAPIError, ReuseError), match="database or disk is full") as caught:
        CALLS[name]()
    # Several rows in one INSERT are undone alone, and tried again one by one.
    full = [error for error in errors if "is full" in str(error)]
    assert_original(cause_of(caught.value), full[-1:])
    event.remove(session, "transient_to_pending", enlarge)
    assert_over(session, rows)
    assert CALLS[name]().name == "North"
    session.commit()
    assert rows() == sorted(["North", *BESIDE.get(name, [])])


@pytest.mark.backends("sqlite")
def test_interrupted_by_what_ended_it(engine, session, rows):
    """An interrupt that a `_create` makes of such an error stays one."""

    @reuse_existing(on="name")
    class InterruptedFactory(RegionFactory):
        @classmethod
        def _create(cls, model_class, *args, **kwargs):
            try:
                return super()._create(model_class, *args, **kwargs)
            except DBAPIError as error:
                raise KeyboardInterrupt from error

    def refuse(cursor, statement, parameters, context):
        if statement.startswith("INSERT"):
            cursor.connection.rollback()
            cursor.execute("SELECT nothing")

    work(session)
    event.listen(engine, "do_execute", refuse)
    with pytest.raises(KeyboardInterrupt):
        InterruptedFactory()
    event.remove(engine, "do_execute", refuse)
    assert_over(session, rows)


@each_call
def test_ended_by_the_server(name, engine, session, rows, errors):
    """So too where a server does that, as MariaDB with `innodb_rollback_on_timeout`."""

    def refuse(cursor, statement, parameters, context):
        if statement.startswith("INSERT") and not errors:
            cursor.connection.rollback()
            cursor.execute("SELECT nothing")

    work(session)
    event.listen(engine, "do_execute", refuse)
    event.listen(engine, "do_executemany", refuse)
    with pytest.raises((DBAPIError, ReuseError)) as caught:
        CALLS[name]()
    assert_original(cause_of(caught.value), errors)
    assert_over(session, rows)
    assert CALLS[name]().name == "North"


def test_ended_by_the_server_in_an_update(engine, session, rows, errors):
    """So too when it comes of what `on_mismatch="update"` writes."""
    updating = reuse_existing(
        type("UpdatingFactory", (RegionFactory,), {}), on="name", on_mismatch="update"
    )

    def refuse(cursor, statement, parameters, context):
        if statement.startswith("UPDATE") and not errors:
            cursor.connection.rollback()
            cursor.execute("SELECT nothing")

    work(session)
    event.listen(engine, "do_execute", refuse)
    with pytest.raises(DBAPIError) as caught:
        updating(name="own", label="new")
    assert_original(caught.value, errors)
    assert_over(session, rows)


@pytest.mark.backends("sqlite", "sqlite-file")
@pytest.mark.parametrize("many_calls", [False, True])
def test_on_conflict_rollback(many_calls, session, errors):
    """A row of which the refusal undoes everything is not reused as if nothing were lost."""
    session.add(Strict(name="South"))
    session.commit()
    work(session)
    with pytest.raises((DBAPIError, ReuseError)) as caught:
        many(StrictFactory, "south") if many_calls else StrictFactory(name="south")
    assert_original(cause_of(caught.value), errors)
    with pytest.raises(PendingRollbackError):
        session.commit()
    session.rollback()
    assert StrictFactory(name="South").name == "South"


@pytest.mark.backends("sqlite")
def test_on_conflict_rollback_in_memory():
    """A database that is its connection keeps what was committed."""
    engine = create_engine("sqlite://", future=True)
    Base.metadata.create_all(engine)
    with Session(engine, future=True) as session, use_session(session):
        StrictFactory(name="South")
        session.commit()
        with pytest.raises(DBAPIError):
            StrictFactory(name="south")
        session.rollback()
        assert find(StrictFactory, name="South") is not None
    engine.dispose()


# Interrupted by whoever waits


@at_each_statement
def test_interrupted(name, statement, engine, session, other, rows, made):
    """Ctrl-C while the database works gives up the connection, and the transaction with it."""
    work(session)
    interrupt = KeyboardInterrupt()
    pending = [interrupt]

    @event.listens_for(engine, "do_execute")
    @event.listens_for(engine, "do_executemany")
    def stop(cursor, sent, parameters, context):
        if statement in sent and pending:
            raise pending.pop()

    with pytest.raises(KeyboardInterrupt) as caught:
        CALLS[name]()
    assert caught.value is interrupt
    with pytest.raises(PendingRollbackError):
        session.commit()
    assert_recovers(name, session, other, rows, made)


@pytest.mark.parametrize("moment", ["before_flush", "after_flush", "before_attach"])
@each_call
def test_interrupted_in_a_listener(name, moment, session, rows):
    """Ctrl-C while Python works undoes the call alone: the caller's work can be committed."""
    own = work(session)
    interrupt = KeyboardInterrupt()
    pending = [interrupt]

    @event.listens_for(session, moment)
    def stop(*args):
        if pending:
            raise pending.pop()

    with pytest.raises(KeyboardInterrupt) as caught:
        CALLS[name]()
    assert caught.value is interrupt
    assert not session.in_nested_transaction()
    assert set(session) == {own}
    session.commit()
    assert rows() == ["own"]
    assert CALLS[name]().name == "North"
    session.commit()
    assert rows() == sorted(["North", "own", *BESIDE.get(name, [])])


@pytest.mark.parametrize("persistence", ["flush", "commit"])
@pytest.mark.parametrize("how", ["direct", "nested", "many"])
def test_interrupted_in_create(how, persistence, session, rows):
    """So too in a `_create` that has flushed already."""
    interrupt = KeyboardInterrupt()

    @reuse_existing(on="name")
    class InterruptedFactory(RegionFactory):
        class Meta:
            sqlalchemy_session_persistence = persistence

        @classmethod
        def _create(cls, model_class, *args, **kwargs):
            session.add(model_class(*args, **kwargs))
            session.flush()
            raise interrupt

    class InterruptedCityFactory(CityFactory):
        region = factory.SubFactory(InterruptedFactory)

    calls = {
        "direct": InterruptedFactory,
        "nested": InterruptedCityFactory,
        "many": lambda: many(InterruptedFactory, "North", "South"),
    }
    own = Region(name="own")
    session.add(own)
    with pytest.raises(KeyboardInterrupt) as caught:
        calls[how]()
    assert caught.value is interrupt
    assert not session.in_nested_transaction()
    assert set(session) == {own}
    session.commit()
    assert rows() == ["own"]
