"""What a call costs, what is held between two calls, and when it is let go."""

import gc
import weakref

import factory
import pytest
from sqlalchemy import Column, ForeignKey, Integer, String, event, insert, text
from sqlalchemy.orm import Session, declarative_base, relationship

from factory_reuse import AmbiguousMatchError, _cache, find, reuse_existing, use_session
from regions import BaseFactory, keep_foreign_keys

Base = declarative_base()


class Region(Base):
    __tablename__ = "region"

    id = Column(Integer, primary_key=True)
    name = Column(String(50), unique=True)


class Country(Base):
    __tablename__ = "country"

    id = Column(Integer, primary_key=True)
    code = Column(String(2), unique=True)
    region_id = Column(ForeignKey("region.id"))
    region = relationship(Region)


class City(Base):
    __tablename__ = "city"

    id = Column(Integer, primary_key=True)
    name = Column(String(50), unique=True)
    country_id = Column(ForeignKey("country.id"))
    country = relationship(Country)


class Note(Base):
    __tablename__ = "note"

    id = Column(Integer, primary_key=True)
    title = Column(String(50))


@reuse_existing
class RegionFactory(BaseFactory):
    class Meta:
        model = Region

    name = "North"


@reuse_existing
class CountryFactory(BaseFactory):
    class Meta:
        model = Country

    code = "NO"
    region = factory.SubFactory(RegionFactory)


@reuse_existing
class CityFactory(BaseFactory):
    class Meta:
        model = City

    name = "Oslo"
    country = factory.SubFactory(CountryFactory)


@reuse_existing(on="title")
class NoteFactory(BaseFactory):
    class Meta:
        model = Note

    title = "Hello"


@pytest.fixture(autouse=True)
def in_use(session):
    with use_session(session):
        yield


@pytest.fixture
def committed(make_session):
    """Commit rows for all factories through another session."""
    other = make_session()
    with use_session(other):
        CityFactory()
        NoteFactory()
    other.commit()


# Statements


def test_miss(statements):
    """A new row costs one SELECT, and the INSERT in its SAVEPOINT."""
    with statements() as seen:
        RegionFactory()
    assert seen == ["SELECT", "SAVEPOINT", "INSERT", "RELEASE"]


@pytest.mark.parametrize("call", [RegionFactory, CityFactory, NoteFactory])
def test_first_hit(call, committed, statements):
    """A row that is there costs one SELECT, whatever its factory has below it."""
    with statements() as seen:
        call()
    assert seen == ["SELECT"]


def test_repeated_hit(committed, statements):
    """The same key again costs nothing, and gives the same object."""
    calls = [RegionFactory, CountryFactory, CityFactory, NoteFactory]
    first = [call() for call in calls]
    with statements() as seen:
        second = [call() for call in calls]
        third = [call() for call in calls]
    assert seen == []
    assert all(one is two is three for one, two, three in zip(first, second, third))


def test_repeated_hit_of_an_object_nobody_kept(committed, statements):
    """The same key again costs nothing when the caller dropped the first object."""
    calls = [RegionFactory, CountryFactory, CityFactory, NoteFactory]
    for call in calls:
        call()
    gc.collect()
    with statements() as seen:
        for call in calls:
            call()
    assert seen == []


def test_repeat_after_a_miss(statements):
    """A row just made is found without a query, and so are those made below it."""
    CityFactory()
    gc.collect()
    with statements() as seen:
        city = CityFactory()
        assert city.country is CountryFactory()
        assert city.country.region is RegionFactory()
    assert seen == []


@pytest.mark.single
def test_nested_miss(statements):
    """Three new rows cost three times one."""
    with statements() as seen:
        CityFactory()
    assert sorted(seen) == sorted(["SELECT", "SAVEPOINT", "INSERT", "RELEASE"] * 3)


@pytest.mark.single
def test_nested_miss_below_a_present_row(committed, statements):
    """A new root over a present child costs the child's SELECT more."""
    with statements() as seen:
        CityFactory(name="Bergen")
    assert seen == ["SELECT", "SELECT", "SAVEPOINT", "INSERT", "RELEASE"]


def test_batch_of_one_key(committed, statements):
    """`create_batch` of one key costs one SELECT, however long it is."""
    with statements() as seen:
        cities = CityFactory.create_batch(5)
    assert seen == ["SELECT"]
    assert set(cities) == {CityFactory()}


def test_other_inserts_keep_the_cache(committed, statements, session):
    """Rows that a flush inserts elsewhere do not cost a query."""
    RegionFactory()
    session.add(Region(name="South"))
    session.flush()
    CountryFactory(code="SE")
    with statements() as seen:
        RegionFactory()
    assert seen == []


def test_released_savepoint_keeps_the_cache(session, statements):
    """What was made inside a SAVEPOINT is known after its RELEASE."""
    with session.begin_nested():
        region = RegionFactory()
    with statements() as seen:
        assert RegionFactory() is region
    assert seen == []


def test_cache_off(committed, session, statements):
    """`cache=False` asks the database each time, and holds nothing."""

    @reuse_existing(cache=False)
    class Uncached(RegionFactory):
        pass

    held = weakref.ref(Uncached())
    gc.collect()
    assert held() is None
    with statements() as seen:
        assert Uncached() is Uncached()
    assert seen == ["SELECT", "SELECT"]


def test_engine_with_options(engine, statements):
    """A session on a copy of the engine with other options is no exception."""
    with Session(engine.execution_options(logging_token="copy"), future=True) as copied:
        with use_session(copied):
            region = RegionFactory()
            with statements() as seen:
                assert RegionFactory() is region
        assert seen == []


# How much is held: Python's memory, the same on every server


@pytest.mark.backends("sqlite", "postgresql")
def test_bounded(monkeypatch, committed, statements):
    """Beyond the limit the oldest go: they cost a query again, the others do not."""
    monkeypatch.setattr(_cache, "LIMIT", 3)
    names = ["a", "b", "c", "d", "e"]
    held = {name: weakref.ref(RegionFactory(name=name)) for name in names}
    gc.collect()
    assert [name for name in names if held[name]() is not None] == ["c", "d", "e"]
    with statements() as seen:
        for name in "c", "d", "e":
            RegionFactory(name=name)
    assert seen == []
    with statements() as seen:
        RegionFactory(name="a")
    assert seen == ["SELECT"]


def test_repeat_after_a_reload(session, statements):
    """A row that was read again, and is as it was, costs no query."""
    region = RegionFactory()
    session.refresh(region)
    with statements() as seen:
        assert RegionFactory() is region
    assert seen == []


@pytest.mark.backends("sqlite", "postgresql")
def test_limit_counts_keys_not_calls(monkeypatch, committed, statements):
    """One key asked for again and again pushes no other out."""
    monkeypatch.setattr(_cache, "LIMIT", 2)
    RegionFactory()
    for _ in range(5):
        RegionFactory(name="South")
    with statements() as seen:
        RegionFactory()
    assert seen == []


# How long it is held


@pytest.mark.backends("sqlite", "postgresql")
@pytest.mark.parametrize("end", ["commit", "rollback", "close"])
@pytest.mark.parametrize("how", ["found", "made"])
def test_let_go(end, how, committed, session):
    """A row is held while the transaction lasts, and not after its end."""
    held = weakref.ref(RegionFactory(name="North" if how == "found" else "South"))
    gc.collect()
    assert held() is not None
    getattr(session, end)()
    gc.collect()
    assert held() is None


@pytest.mark.backends("sqlite", "postgresql")
@pytest.mark.parametrize("how", ["expunge", "expunge_all", "delete"])
def test_let_go_on_the_next_call(how, committed, session):
    """A row that has left the session is not held beyond the next call for it."""
    held = weakref.ref(NoteFactory())
    if how == "expunge_all":
        session.expunge_all()
    else:
        getattr(session, how)(held())
        session.flush()
    NoteFactory()
    gc.collect()
    assert held() is None


@pytest.mark.backends("sqlite", "postgresql")
def test_refused_instance_is_not_held(session):
    """The instance of a refused INSERT is let go at once."""
    made = []

    @reuse_existing(on="name")
    class Refused(RegionFactory):
        @classmethod
        def _create(cls, model_class, *args, **kwargs):
            made.append(weakref.ref(super()._create(model_class, *args, **kwargs)))
            raise LookupError

    with pytest.raises(LookupError):
        Refused()
    gc.collect()
    assert made[0]() is None


@pytest.mark.backends("sqlite", "postgresql")
@pytest.mark.parametrize("end", ["commit", "rollback", "close"])
def test_listeners_do_not_pile_up(end, committed, engine):
    """Sessions that share a connection leave no listener on it."""

    def listeners():
        return [
            len(connection.dispatch.before_cursor_execute),
            len(engine.dialect.dispatch.do_execute),
        ]

    with engine.connect() as connection:
        before = listeners()
        for _ in range(3):
            other = Session(connection, future=True)
            with use_session(other):
                RegionFactory()
                RegionFactory()
            getattr(other, end)()
            assert listeners() == before
            other.close()


@pytest.mark.backends("sqlite", "postgresql")
@pytest.mark.parametrize("end", ["commit", "rollback"])
def test_listeners_do_not_pile_up_on_a_session(end, committed, session):
    """A session that lives for many transactions gets its listeners once."""
    counts = []
    for _ in range(3):
        RegionFactory()
        counts.append(
            (
                len(session.dispatch.before_flush),
                len(session.dispatch.after_flush),
                len(session.dispatch.after_transaction_end),
                len(session.connection().dispatch.before_cursor_execute),
                len(session.connection().dialect.dispatch.do_execute),
            )
        )
        getattr(session, end)()
    assert counts[1:] == counts[:1] * 2


@pytest.mark.backends("sqlite", "postgresql")
def test_dropped_session_is_not_held(engine, committed):
    """A session that nobody closed goes when nobody refers to it."""
    with engine.connect() as connection:
        other = Session(connection, future=True)
        with use_session(other):
            held = weakref.ref(RegionFactory())
        gone = weakref.ref(other)
        del other
        gc.collect()
        assert gone() is None
        assert held() is None


@pytest.mark.backends("sqlite")  # psycopg2's dialect is held by SQLAlchemy itself
def test_dropped_engine_is_not_held(new_database):
    """An engine goes with its last session, listeners included."""
    with new_database() as engine:
        Base.metadata.create_all(engine)
        with Session(engine, future=True) as session, use_session(session):
            assert find(RegionFactory) is None
        dropped = weakref.ref(engine), weakref.ref(engine.dialect)
    del engine, session
    for _ in range(2):
        gc.collect()
    assert [reference() for reference in dropped] == [None, None]


def test_two_sessions_share_nothing(make_session, committed, statements):
    """What one session holds does not answer another."""
    one, other = make_session(), make_session()
    with use_session(one):
        first = RegionFactory()
    with use_session(other), statements() as seen:
        second = RegionFactory()
    assert seen == ["SELECT"]
    assert second is not first
    assert second in other


@pytest.mark.backends("sqlite", "postgresql")
def test_own_listener_may_query(session, committed):
    """A listener of the caller's that calls a factory during a flush disturbs nothing."""
    calls = []

    @event.listens_for(session, "after_flush")
    def ask(session, context):
        calls.append(RegionFactory())

    south = RegionFactory(name="South")
    assert [region.name for region in calls] == ["North"]
    assert RegionFactory(name="South") is south


@pytest.mark.backends("sqlite")
@pytest.mark.parametrize("call", [RegionFactory, lambda: find(RegionFactory)], ids=["call", "find"])
def test_released_without_a_collection(call, session, committed):
    """After the transaction a row goes with its last reference, not at the next collection."""
    gc.collect()
    gc.disable()
    try:
        held = weakref.ref(call())
        session.rollback()
        assert held() is None
    finally:
        gc.enable()


# What a query would do first


# SQLite gives the new row the id of the one that a cascade deleted behind the session's back.
@pytest.mark.filterwarnings("ignore:Identity map already had:sqlalchemy.exc.SAWarning")
@pytest.mark.backends("sqlite", "postgresql")
@pytest.mark.parametrize("end", ["orphan", "delete"])
def test_unflushed_change_that_takes_the_row_away(end, engine, session):
    """The cache answers after the flush that a query would make: a cascade may delete the row."""
    keep_foreign_keys(engine)
    parent = Parent(name="p")
    session.add(parent)
    child = ChildFactory(parent=parent)
    session.commit()
    assert ChildFactory() is child
    if end == "orphan":
        parent.children.remove(child)
    else:
        session.delete(parent)
    made = ChildFactory()
    assert made is not child
    session.commit()
    assert session.query(Child).all() == [made]


@pytest.mark.backends("sqlite")
def test_unflushed_change_and_no_autoflush(make_session):
    """Where a query would not flush, the cache does not either."""
    session = make_session(autoflush=False)
    with use_session(session):
        child = ChildFactory()
        child.label = "new"
        assert ChildFactory() is child
    assert child in session.dirty


@pytest.mark.backends("sqlite")
def test_unflushed_delete_and_no_autoflush(make_session, statements):
    """A row that is still to be deleted costs the others no query."""
    session = make_session(autoflush=False)
    with use_session(session):
        going, staying = RegionFactory(name="going"), RegionFactory(name="staying")
        session.delete(going)
        with statements() as seen:
            assert RegionFactory(name="staying") is staying
        assert seen == []
        assert find(RegionFactory, name="going") is None


class Parent(Base):
    __tablename__ = "parent"

    id = Column(Integer, primary_key=True)
    name = Column(String(50))
    children = relationship("Child", cascade="all, delete-orphan", passive_deletes=True)


class Child(Base):
    __tablename__ = "child"

    id = Column(Integer, primary_key=True)
    code = Column(String(50), unique=True)
    label = Column(String(50))
    parent_id = Column(ForeignKey("parent.id", ondelete="CASCADE"))
    parent = relationship(Parent, overlaps="children")


@reuse_existing
class ChildFactory(BaseFactory):
    class Meta:
        model = Child

    code = "c"


# Ends that no event of the session tells


def test_rollback_by_the_owner_of_the_connection(engine):
    """A transaction that the caller rolls back past the session empties the cache."""
    with engine.connect() as connection:
        outer = connection.begin()
        session = Session(connection)
        with use_session(session):
            region = RegionFactory()
            outer.rollback()
            assert find(RegionFactory) is not region
        session.close()


@pytest.mark.parametrize("end", ["rollback", "commit"])
def test_transaction_after_the_one_that_the_owner_ended(end, engine, statements):
    """What the owner's next transaction sees is held again, as long as that lasts."""
    with engine.connect() as connection:
        outer = connection.begin()
        session = Session(connection, future=True)
        with use_session(session):
            RegionFactory()
            getattr(outer, end)()
            connection.begin()
            region = RegionFactory()
            with statements() as seen:
                assert [RegionFactory(), RegionFactory()] == [region, region]
            assert seen == []
            connection.get_transaction().rollback()
            assert find(RegionFactory) is (region if end == "commit" else None)
        session.close()


@pytest.mark.parametrize("first", ["ours", "theirs"])
def test_statements_that_another_listener_executes(first, engine):
    """A listener that executes statements in the driver's place hides none of them."""

    def execute(cursor, statement, parameters, context):
        cursor.execute(statement, parameters)
        return True

    if first == "theirs":
        event.listen(engine, "do_execute", execute)
    with Session(engine, future=True) as session, use_session(session):
        region = RegionFactory()
        if first == "ours":
            event.listen(engine, "do_execute", execute)
        assert RegionFactory() is region
        session.connection().execute(Region.__table__.delete())
        assert find(RegionFactory) is None


def test_connection_that_was_there_before(engine):
    """Statements on a connection from before the engine's first factory call count."""
    with engine.connect() as connection:
        connection.begin()
        with Session(connection, future=True) as session, use_session(session):
            session.execute(text("SELECT 1"))
            region = RegionFactory()
            assert RegionFactory() is region
            connection.execute(Region.__table__.delete())
            assert find(RegionFactory) is None


def test_statement_without_parameters(session):
    """A statement that the driver is to execute without parameters counts as any other."""
    RegionFactory()
    without = session.connection().execution_options(no_parameters=True)
    without.exec_driver_sql("DELETE FROM region")
    assert find(RegionFactory) is None


@pytest.mark.backends("postgresql")
def test_several_statements_in_one(session):
    """A SELECT that is followed by another statement is no mere SELECT."""
    with use_session(session):
        region = RegionFactory()
        session.execute(text("SELECT 1; DELETE FROM region"))
        assert find(RegionFactory) is None
        assert RegionFactory() is not region


def test_a_flush_that_was_refused_by_a_listener(session):
    """After a flush that never came to its end, an INSERT of the caller's counts again."""

    class AnyFactory(BaseFactory):
        class Meta:
            model = Note

        title = "same"

    notes = reuse_existing(AnyFactory, on="title")

    def veto(*args):
        raise ValueError("no")

    with use_session(session):
        note = notes()
        event.listen(session, "before_flush", veto)
        other = Note(title="other")
        session.add(other)
        with pytest.raises(ValueError, match="no"):
            session.flush()
        event.remove(session, "before_flush", veto)
        session.expunge(other)
        assert notes() is note
        session.execute(insert(Note.__table__).values(title="same"))
        with pytest.raises(AmbiguousMatchError):
            notes()


def test_info_copied_from_another_session(engine, session):
    """Sessions that share their `info` share no cache."""
    with use_session(session):
        region = RegionFactory()
        session.commit()
        assert RegionFactory() is region
        with Session(engine, info=session.info) as other, use_session(other):
            assert RegionFactory() is not region
            assert RegionFactory() in other
        assert RegionFactory() is region
