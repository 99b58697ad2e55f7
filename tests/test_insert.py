"""The INSERT of a new row: what a rollback leaves, and what is left when it is refused."""

import contextlib

import factory
import pytest
from sqlalchemy import CheckConstraint, Column, ForeignKey, Integer, String, event, inspect, select
from sqlalchemy.exc import DBAPIError, IntegrityError, OperationalError
from sqlalchemy.orm import declarative_base, relationship

from factory_reuse import RaceLostError, get_or_create, reuse_existing, use_session
from regions import BaseFactory, keep_foreign_keys

Base = declarative_base()


class Region(Base):
    __tablename__ = "region"
    __table_args__ = (CheckConstraint("size >= 0"),)

    id = Column(Integer, primary_key=True)
    name = Column(String(50), unique=True)
    code = Column(String(50), unique=True)
    label = Column(String(50), nullable=False)
    size = Column(Integer)


class CodedRegion(Region):
    def __init__(self, **values):
        super().__init__(code=values["name"][:1], **values)


class City(Base):
    __tablename__ = "city"

    id = Column(Integer, primary_key=True)
    name = Column(String(50), unique=True)
    label = Column(String(50), nullable=False)
    region_id = Column(ForeignKey("region.id"))
    region = relationship(Region, backref="cities")


class Visit(Base):
    __tablename__ = "visit"

    id = Column(Integer, primary_key=True)
    region_id = Column(ForeignKey("region.id"))
    region = relationship(Region, backref="visits")
    city_id = Column(ForeignKey("city.id"))
    city = relationship(City, backref="visits")


@reuse_existing(on="name")
class RegionFactory(BaseFactory):
    class Meta:
        model = Region

    name = "North"
    label = "region"


@reuse_existing(on="name")
class CityFactory(BaseFactory):
    class Meta:
        model = City

    name = "Oslo"
    label = "city"
    region = factory.SubFactory(RegionFactory)


@reuse_existing(on="name")
class LonelyFactory(BaseFactory):
    class Meta:
        model = City

    name = "Oslo"
    label = "city"


@pytest.fixture(autouse=True)
def in_use(session):
    with use_session(session):
        yield


@pytest.fixture
def rows(make_session):
    """Give the names of all regions and cities, as another session sees them."""

    def committed():
        other = make_session()
        found = [*other.execute(select(Region.name)), *other.execute(select(City.name))]
        other.close()
        return sorted(name for (name,) in found)

    return committed


# Rolled back


BEFORE = {
    "first": lambda session: None,
    "after-select": lambda session: session.execute(select(Region)).all(),
    "after-insert": lambda session: (session.add(Region(name="own", label="")), session.flush()),
    "after-pending": lambda session: session.add(Region(name="own", label="")),
    "after-commit": lambda session: (session.execute(select(Region)), session.commit()),
    "after-rollback": lambda session: (session.execute(select(Region)), session.rollback()),
    "in-savepoint": lambda session: session.begin_nested(),
    "after-savepoint": lambda session: session.begin_nested().commit(),
}


@pytest.mark.parametrize("before", BEFORE.values(), ids=BEFORE)
def test_rolled_back(before, session, rows):
    """After the caller's rollback no row is left, of the factory or of those below it."""
    before(session)
    CityFactory()
    CityFactory(name="Bergen")
    session.rollback()
    if session.in_transaction():  # SQLAlchemy 1.4 ends one level at a time
        session.rollback()
    assert rows() == []


def test_first_statement_is_the_savepoint(session, statements, rows):
    """So too when no lookup came first, since the key is NULL."""
    with statements() as seen:
        RegionFactory(name=None)
    assert seen == ["SAVEPOINT", "INSERT", "RELEASE"]
    session.rollback()
    assert rows() == []


@pytest.mark.parametrize("end", ["close", "rollback"])
def test_made_below_a_savepoint(end, session, rows):
    """A SAVEPOINT of the caller's that was released is undone by the rollback too."""
    # On SQLite a SAVEPOINT of the caller's that comes first is committed by its RELEASE.
    session.add(Region(name="own", label=""))
    session.flush()
    with session.begin_nested():
        RegionFactory()
    getattr(session, end)()
    assert rows() == []


def test_committed(session, rows):
    """After the caller's commit all rows are there."""
    CityFactory()
    session.commit()
    assert rows() == ["North", "Oslo"]


@pytest.mark.backends("sqlite", "sqlite-file")
def test_sqlite_that_begins_by_itself(engine, make_session, rows):
    """Where SQLAlchemy's recipe makes each transaction real, that is left as it is."""

    @event.listens_for(engine, "connect")
    def leave_transactions_alone(connection, record):
        connection.isolation_level = None

    @event.listens_for(engine, "begin")
    def begin(connection):
        connection.exec_driver_sql("BEGIN")

    session = make_session()
    with use_session(session):
        CityFactory()
        session.rollback()
        assert rows() == []
        CityFactory()
        session.commit()
        assert rows() == ["North", "Oslo"]


@pytest.mark.backends("sqlite", "sqlite-file")
@pytest.mark.parametrize("kind", ["IMMEDIATE", "EXCLUSIVE"])
def test_sqlite_begins_as_it_was_told(kind, engine, make_session):
    """A transaction is begun in the driver's own way: its `isolation_level` is a kind of BEGIN."""
    seen = []

    @event.listens_for(engine, "connect")
    def watch(connection, record):
        connection.isolation_level = kind
        connection.set_trace_callback(seen.append)

    session = make_session()
    with use_session(session):
        RegionFactory()
    begun = [statement.strip() for statement in seen if statement.startswith("BEGIN")]
    assert begun == [f"BEGIN {kind}"]


def test_update_rolled_back(session, rows):
    """After the caller's rollback no change of `on_mismatch="update"` is left either."""

    @reuse_existing(on="name", on_mismatch="update")
    class UpdatingFactory(RegionFactory):
        pass

    region = RegionFactory()
    session.commit()
    assert UpdatingFactory(label="new") is region
    assert region.label == "new"
    session.rollback()
    assert region.label == "region"
    assert rows() == ["North"]


# Refused


@pytest.fixture
def foreign_keys(engine, session):
    keep_foreign_keys(engine)


REFUSED = {
    "not-null": lambda: RegionFactory(label=None),
    "check": lambda: RegionFactory(size=-1),
    "foreign-key": lambda: LonelyFactory(region_id=12345),
    "another-unique": lambda: RegionFactory(code="taken"),
    "primary-key": lambda: RegionFactory(id=1000),
}


@pytest.mark.single
@pytest.mark.parametrize("call", REFUSED.values(), ids=REFUSED)
@pytest.mark.filterwarnings("ignore:New instance:sqlalchemy.exc.SAWarning")
def test_refused(call, foreign_keys, errors, session, statements, rows):
    """The database's error comes as it is, and the caller's work stays as it was."""
    flushed = Region(id=1000, name="flushed", code="taken", label="")
    changed = Region(name="changed", label="old")
    session.add_all([flushed, changed])
    session.flush()
    changed.label = "new"
    pending = Region(name="pending", label="")
    session.add(pending)

    with pytest.raises(DBAPIError) as caught:
        call()

    assert caught.value is errors[0]
    assert not isinstance(caught.value, RaceLostError)
    with statements() as seen:
        assert {flushed, changed, pending} <= set(session)
        assert [flushed.name, changed.label, pending.name] == ["flushed", "new", "pending"]
        assert not any(inspect(obj).expired for obj in (flushed, changed, pending))
    assert seen == []
    assert session.query(Region).filter_by(label="new").one() is changed
    session.commit()
    assert rows() == ["changed", "flushed", "pending"]


def test_refused_beside_a_row_without_a_value(session):
    """A row that has NULL in another key, as the refused one would, is not taken for it."""
    by_any = reuse_existing(type("AnyFactory", (RegionFactory,), {}), on=[("name",), ("code",)])
    session.add(Region(name="South", label=""))
    session.commit()
    with pytest.raises(IntegrityError):
        by_any(code=None, label=None)
    assert session.query(Region.name).all() == [("South",)]


def _without_lookup():
    return reuse_existing(type("NeverFactory", (RegionFactory,), {}), on=())


def _without_a_value_of_the_key():
    return reuse_existing(type("SizeFactory", (RegionFactory,), {}), on="size")


def _without_a_key_by_inheritance():
    base = reuse_existing(type("BaseOfAll", (BaseFactory,), {"Meta": _Abstract}), on="absent")
    body = {"Meta": type("Meta", (), {"model": Region}), "name": "North", "label": "region"}
    return type("PlainFactory", (base,), body)


class _Abstract:
    abstract = True


@pytest.mark.parametrize(
    "declare", [_without_lookup, _without_a_value_of_the_key, _without_a_key_by_inheritance]
)
def test_refused_without_a_lookup(declare, session, rows):
    """A call that looks nothing up loses nothing of the caller's either."""
    declared = declare()
    session.add(Region(name="mine", code="taken", label=""))
    with pytest.raises(IntegrityError):
        declared(code="taken")
    declared()
    session.commit()
    assert rows() == ["North", "mine"]


def test_key_that_only_the_instance_has(session, rows):
    """A key that the constructor fills finds the row, though the call could not give it."""

    class CodedFactory(RegionFactory):
        class Meta:
            model = CodedRegion

    declared = reuse_existing(CodedFactory, on="code")
    north = declared()
    assert declared() is north
    session.commit()
    assert rows() == ["North"]


# What is there before the object is


@pytest.mark.parametrize("known", [False, True])
def test_what_is_passed_may_refer_to_what_is_pending(known, session, rows):
    """Objects that only the new row will bring along are no cause for a warning before it is."""
    city = City(name="Rome", label="")
    session.add(city)
    if known:
        session.flush()

    class VisitedFactory(RegionFactory):
        visits = factory.LazyFunction(lambda: [Visit(city=city)])

    declared = reuse_existing(VisitedFactory, on="name")
    region = declared()
    assert [visit.city for visit in region.visits] == [city]
    assert declared() is region
    session.commit()
    assert session.query(Visit).count() == 1


def test_what_is_unfinished_stays_pending(make_session):
    """With `savepoint=False`, an own `_create` that only adds leaves all that is pending so."""

    class AddingFactory(RegionFactory):
        class Meta:
            sqlalchemy_session_persistence = None

        @classmethod
        def _create(cls, model_class, *args, **kwargs):
            obj = model_class(*args, **kwargs)
            cls._meta.sqlalchemy_session.add(obj)
            return obj

    declared = reuse_existing(AddingFactory, on="name", savepoint=False)
    session = make_session()
    unfinished = Region(name="unfinished")
    session.add(unfinished)
    with use_session(session):
        region = declared()
        assert declared() is region
    assert {region, unfinished} == set(session.new)


# What stands in the way of a second look


def test_another_instance_of_the_flush_is_refused(session, rows):
    """The row that refused a side effect of `_create` is not taken for the factory's own."""

    class RootedFactory(RegionFactory):
        @classmethod
        def _create(cls, model_class, *args, **kwargs):
            session.add(model_class(name="root", label=""))
            return super()._create(model_class, *args, **kwargs)

    declared = reuse_existing(RootedFactory, on="name")
    session.add(Region(name="root", label=""))
    session.commit()
    with pytest.raises(IntegrityError):
        declared(name="child")
    assert session.query(Region.name).all() == [("root",)]


def test_refused_while_another_error_is_handled(session, rows):
    """An error that the caller is handling has nothing to do with what follows."""
    deadlock = OperationalError("x", {}, Exception(1213, "Deadlock found"))
    session.add(Region(name="mine", code="taken", label=""))
    try:
        raise deadlock
    except OperationalError:
        with pytest.raises(IntegrityError):
            RegionFactory(code="taken")
        RegionFactory()
    session.commit()
    assert rows() == ["North", "mine"]


def test_own_error_while_a_refusal_is_handled(session):
    """An error of `_create` is no refusal because the caller is handling one."""

    class BrokenFactory(RegionFactory):
        @classmethod
        def _create(cls, model_class, *args, **kwargs):
            session.add(model_class(*args, **kwargs))
            session.flush()
            raise ValueError("a mistake")

    declared = reuse_existing(BrokenFactory, on="name")
    try:
        raise IntegrityError("x", {}, Exception())
    except IntegrityError:
        with pytest.raises(ValueError, match="a mistake"):
            declared()
    assert session.query(Region).all() == []


@pytest.mark.single
def test_a_row_that_may_not_be_locked(engine, session, errors):
    """Where the second look fails, for want of a privilege, say, the refusal is what comes."""
    session.add(Region(name="mine", code="taken", label=""))
    session.flush()

    @event.listens_for(engine, "before_cursor_execute")
    def deny(connection, cursor, statement, parameters, context, executemany):
        if errors and statement.startswith("SELECT"):
            raise OperationalError(statement, {}, Exception("permission denied"))

    with pytest.raises(IntegrityError) as caught:
        RegionFactory(code="taken")
    assert caught.value is errors[0]
    event.remove(engine, "before_cursor_execute", deny)
    assert session.query(Region.name).all() == [("mine",)]


def test_refused_after_a_commit_inside(session, rows):
    """A `_create` that commits and is refused then gives the refusal, not what came of it."""

    class CommittingFactory(RegionFactory):
        @classmethod
        def _create(cls, model_class, *args, **kwargs):
            session.commit()
            session.add(model_class(*args, **kwargs))
            session.flush()

    declared = reuse_existing(CommittingFactory, on="name")
    session.add(Region(name="mine", code="taken", label=""))
    with pytest.raises(IntegrityError):
        declared(code="taken")
    session.rollback()
    assert rows() == ["mine"]


@pytest.mark.parametrize("label", ["region", None], ids=["made", "refused"])
def test_savepoint_left_open_inside(label, session, rows):
    """A SAVEPOINT that a `_create` leaves open ends with ours; nothing is committed."""

    class OpeningFactory(RegionFactory):
        @classmethod
        def _create(cls, model_class, *args, **kwargs):
            session.begin_nested()
            return super()._create(model_class, *args, **kwargs)

    declared = reuse_existing(OpeningFactory, on="name")
    with contextlib.nullcontext() if label else pytest.raises(IntegrityError):
        declared(label=label)
    assert not session.in_nested_transaction()
    assert RegionFactory().label == "region"
    session.rollback()
    assert rows() == []


def test_refused_then_made(session, rows):
    """After a refusal the same key can be made, with other values."""
    with pytest.raises(IntegrityError):
        RegionFactory(label=None)
    region, created = get_or_create(RegionFactory)
    assert created
    assert RegionFactory() is region
    session.commit()
    assert rows() == ["North"]


def test_refused_as_the_first_statement(session, rows):
    """A refusal leaves a transaction that goes on, and that a rollback undoes."""
    with pytest.raises(IntegrityError):
        RegionFactory(label=None)
    RegionFactory()
    session.rollback()
    assert rows() == []


@pytest.mark.single
def test_refused_below_a_parent(session, rows):
    """The rows below the refused one were inserts of their own, and stay."""
    with pytest.raises(IntegrityError):
        CityFactory(label=None)
    session.commit()
    assert rows() == ["North"]


@pytest.mark.parametrize("loaded", [False, True])
@pytest.mark.parametrize("flushed", [False, True], ids=["pending", "flushed"])
def test_refused_child(loaded, flushed, session, rows):
    """The parent's collection does not hold the child that was refused."""
    region = Region(name="North", label="", cities=[City(name="Bergen", label="")])
    session.add(region)
    if flushed:
        session.flush()
        if not loaded:
            session.expire(region, ["cities"])
    with pytest.raises(IntegrityError):
        CityFactory(region=region, label=None)
    assert [city.name for city in region.cities] == ["Bergen"]
    session.commit()
    assert rows() == ["Bergen", "North"]


def test_refused_child_of_a_new_parent(session, rows):
    """Nor does the collection of a parent that the call was to bring along."""
    region = Region(name="North", label="")
    with pytest.raises(IntegrityError):
        CityFactory(region=region, label=None)
    assert region.cities == []
    session.add(region)
    session.commit()
    assert rows() == ["North"]


@pytest.mark.parametrize("autoflush", [True, False])
def test_own_broken_row(autoflush, make_session, rows):
    """The error of the caller's own pending row comes to the caller, and no row is made."""
    session = make_session(autoflush=autoflush)
    session.add(Region(name="North", label=""))
    session.commit()
    session.add(Region(name="North", label="again"))
    with use_session(session), pytest.raises(IntegrityError, match="again"):
        RegionFactory(name="South", label="mine")
    session.rollback()
    assert rows() == ["North"]


def test_own_broken_row_of_another_model(make_session, rows):
    """So too when the factory's row itself would be a duplicate."""
    session = make_session(autoflush=False)
    session.add(Region(name="North", label=""))
    session.commit()
    session.add(City(name="Oslo", label=None))
    with use_session(session):
        assert RegionFactory().name == "North"
        with pytest.raises(IntegrityError, match="city"):
            RegionFactory(name="South")
    session.rollback()
    assert rows() == ["North"]


def test_refused_update(session, rows):
    """A refused `on_mismatch="update"` is undone alone; the object has its old value."""

    @reuse_existing(on="name", on_mismatch="update")
    class UpdatingFactory(RegionFactory):
        pass

    session.add(Region(name="South", code="taken", label=""))
    north = UpdatingFactory(code="N")
    with pytest.raises(IntegrityError):
        UpdatingFactory(code="taken")
    assert north.code == "N"
    assert UpdatingFactory(code="NN") is north
    session.commit()
    assert north.code == "NN"
    assert rows() == ["North", "South"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, LookupError])
def test_interrupted(error, session, rows):
    """An error or an interrupt in `_create` leaves no SAVEPOINT open, and no row."""

    @reuse_existing(on="name")
    class InterruptedFactory(RegionFactory):
        @classmethod
        def _create(cls, model_class, *args, **kwargs):
            super()._create(model_class, *args, **kwargs)
            raise error("stop")

    session.add(Region(name="own", label=""))
    with pytest.raises(error, match="stop"):
        InterruptedFactory()
    assert session.in_transaction()
    assert not session.in_nested_transaction()
    session.commit()
    assert rows() == ["own"]


def test_error_in_a_declaration(session, rows):
    """An error before the INSERT leaves the session as it was."""

    def fail():
        raise LookupError("no label")

    with pytest.raises(LookupError, match="no label"):
        RegionFactory(label=factory.LazyFunction(fail))
    assert not session.in_nested_transaction()
    RegionFactory()
    session.commit()
    assert rows() == ["North"]
