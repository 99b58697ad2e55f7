"""Another session is faster: it inserts the row between our SELECT and our INSERT."""

import threading
import time

import factory
import pytest
from sqlalchemy import (
    Column,
    ForeignKey,
    Index,
    Integer,
    String,
    UniqueConstraint,
    event,
    func,
    inspect,
    select,
    text,
    update,
)
from sqlalchemy.exc import IntegrityError, OperationalError, PendingRollbackError
from sqlalchemy.orm import declarative_base, relationship, validates
from sqlalchemy.orm.exc import FlushError

from factory_reuse import (
    MismatchWarning,
    RaceLostError,
    create_many,
    get_or_create,
    reuse_existing,
    use_session,
    watch,
)
from regions import BaseFactory

Base = declarative_base()
Indexed = declarative_base()  # MariaDB has no indexes over expressions


class Region(Base):
    __tablename__ = "region"

    id = Column(Integer, primary_key=True)
    name = Column(String(50), unique=True)
    code = Column(String(50), unique=True)
    label = Column(String(50))
    size = Column(Integer)


class City(Base):
    __tablename__ = "city"

    id = Column(Integer, primary_key=True)
    name = Column(String(50), unique=True)
    region_id = Column(ForeignKey("region.id"))
    region = relationship(Region, backref="cities")


class Seat(Base):
    __tablename__ = "seat"
    __table_args__ = (UniqueConstraint("row", "seat_no"),)

    id = Column(Integer, primary_key=True)
    row = Column(Integer)
    number = Column("seat_no", Integer)
    label = Column(String(50))


class Account(Indexed):
    __tablename__ = "account"

    id = Column(Integer, primary_key=True)
    email = Column(String(50))
    label = Column(String(50))


Index("account_email", func.lower(Account.email), unique=True)


class Lowered(Base):
    """Its names are lower case in the end, each by another way."""

    __tablename__ = "lowered"

    id = Column(Integer, primary_key=True)
    validated = Column(String(50), unique=True)
    constructed = Column(String(50), unique=True)
    listened = Column(String(50), unique=True)

    def __init__(self, constructed=None, **kwargs):
        super().__init__(constructed=constructed and constructed.lower(), **kwargs)

    @validates("validated")
    def lower(self, key, value):
        return value.lower()


@event.listens_for(Lowered, "before_insert")
def lower(mapper, connection, target):
    target.listened = target.listened and target.listened.lower()


@reuse_existing(on="name")
class RegionFactory(BaseFactory):
    class Meta:
        model = Region

    name = "North"


@reuse_existing
class SeatFactory(BaseFactory):
    class Meta:
        model = Seat

    row = 1
    number = 2


@pytest.fixture
def faster(make_session):
    """Make a declaration on whose evaluation another session inserts and commits the row."""
    # On SQLite that works as long as our own session has written nothing.

    def declaration(obj=None):
        def win():
            other = make_session()
            other.add(obj or Region(name="North", label="winner"))
            other.commit()
            other.close()
            return "loser"

        return factory.LazyFunction(win)

    return declaration


@pytest.fixture(autouse=True)
def in_use(session):
    with use_session(session):
        yield


def isolated(session, level):
    session.connection(execution_options={"isolation_level": level})


@pytest.mark.single
def test_lost(faster, session):
    """The winner's row is the answer; it is there once, and the transaction goes on."""
    with watch() as watched:
        region = RegionFactory(label=faster())
    assert [outcome.source for outcome in watched.outcomes] == ["race"]
    assert (region.name, region.label) == ("North", "winner")
    assert region in session
    assert inspect(region).persistent
    RegionFactory(name="South")
    session.commit()
    assert session.query(Region.name).order_by(Region.name).all() == [("North",), ("South",)]


@pytest.mark.single
def test_lost_statements(faster, statements):
    """A lost race costs the refused INSERT and one locking read; the next call nothing."""
    with statements() as seen:
        region = RegionFactory(size=1, label=faster(Region(name="North", size=1)))
    assert seen[:3] == ["SELECT", "INSERT", "SAVEPOINT"]  # the first INSERT is the winner's
    assert seen[3:5] == ["INSERT", "ROLLBACK"]
    assert [verb for verb in seen[5:] if verb not in ("SAVEPOINT", "RELEASE")] == ["SELECT"]
    with statements() as seen:
        assert RegionFactory() is region
    assert seen == []


def test_lost_is_not_created(faster):
    """`get_or_create` says that the winner's row was not made here."""
    region, created = get_or_create(RegionFactory, label=faster())
    assert region.label == "winner"
    assert not created


@pytest.mark.backends("postgresql", "mariadb")
def test_lost_keeps_earlier_work(faster, session, statements):
    """What the caller had flushed or added before stays, and is not expired."""
    flushed, pending = Region(name="flushed"), Region(name="pending")
    session.add(flushed)
    session.flush()
    session.add(pending)
    assert RegionFactory(label=faster()).label == "winner"
    assert not inspect(flushed).expired
    assert not inspect(pending).expired
    with statements() as seen:
        assert (flushed.name, pending.name) == ("flushed", "pending")
    assert seen == []
    session.commit()
    assert session.query(Region).count() == 3


@pytest.mark.parametrize("level", ["READ COMMITTED", "REPEATABLE READ"])
@pytest.mark.backends("mariadb")
def test_mariadb_snapshot(level, faster, session):
    """MariaDB shows the winner's row at both levels, also to a snapshot taken before."""
    isolated(session, level)
    session.execute(select(Region)).all()
    assert RegionFactory(label=faster()).label == "winner"
    assert RegionFactory().label == "winner"


@pytest.mark.backends("mariadb")
def test_mariadb_snapshot_isolation(faster, session):
    """Where MariaDB refuses to read beyond the snapshot, the error says so."""
    isolated(session, "REPEATABLE READ")
    try:
        session.execute(text("SET SESSION innodb_snapshot_isolation = ON"))
    except OperationalError:
        pytest.skip("this MariaDB has no innodb_snapshot_isolation")
    session.execute(select(Region)).all()
    with pytest.raises(RaceLostError, match="another transaction inserted the Region") as lost:
        RegionFactory(label=faster())
    assert isinstance(lost.value.__cause__, IntegrityError)
    assert (lost.value.factory, lost.value.model) == ("RegionFactory", "Region")
    session.rollback()
    assert RegionFactory().label == "winner"


@pytest.mark.parametrize("level", ["REPEATABLE READ", "SERIALIZABLE"])
@pytest.mark.parametrize("driver_errors", [False, True])
@pytest.mark.backends("postgresql")
def test_postgresql_snapshot(level, driver_errors, faster, engine, session):
    """PostgreSQL hides the winner's row: the error says so, and the next transaction has it."""
    if driver_errors:
        event.listen(engine, "handle_error", reraise_the_drivers_own)
    isolated(session, level)
    own = Region(name="own")
    session.add(own)
    with pytest.raises(RaceLostError) as lost:
        RegionFactory(label=faster())
    assert lost.value.message == (
        "RegionFactory: another transaction inserted the Region, and the snapshot of this one "
        "cannot see it. Roll back and run the transaction again, or use READ COMMITTED."
    )
    assert type(lost.value.__cause__).__name__ == (
        "UniqueViolation" if driver_errors else "IntegrityError"
    )
    assert (lost.value.factory, lost.value.model) == ("RegionFactory", "Region")
    assert not session.in_nested_transaction()
    assert own in session
    session.rollback()
    assert RegionFactory().label == "winner"
    session.commit()
    assert session.query(Region.name).all() == [("North",)]


@pytest.mark.backends("postgresql")
def test_postgresql_snapshot_and_a_composite_key(faster, session):
    """A constraint without a name of its own is told by its columns."""
    isolated(session, "REPEATABLE READ")
    with pytest.raises(RaceLostError, match="SeatFactory: another transaction inserted"):
        SeatFactory(label=faster(Seat(row=1, number=2)))


@pytest.mark.backends("postgresql")
def test_postgresql_snapshot_and_an_index_over_an_expression(faster, engine, session):
    """So too where the error names the index, and no columns that are the key's."""
    Indexed.metadata.create_all(engine)

    @reuse_existing
    class AccountFactory(BaseFactory):
        class Meta:
            model = Account

        email = "ann@x.org"

    isolated(session, "REPEATABLE READ")
    with pytest.raises(RaceLostError, match="AccountFactory: another transaction inserted"):
        AccountFactory(label=faster(Account(email="ANN@x.org")))


@pytest.mark.parametrize("level", ["REPEATABLE READ", "SERIALIZABLE"])
@pytest.mark.backends("postgresql")
def test_postgresql_snapshot_that_sees_the_row(level, session):
    """What another constraint refused is no lost race: the error comes as it is."""
    session.add(Region(name="South", code="taken"))
    session.commit()
    isolated(session, level)
    with pytest.raises(IntegrityError, match="region_code_key"):
        RegionFactory(code="taken")
    RegionFactory()
    session.commit()
    assert session.query(Region).count() == 2


@pytest.mark.backends("postgresql")
def test_postgresql_snapshot_and_where(session):
    """Nor is a row that is in plain sight and that `where` leaves out: a retry would not help."""

    @reuse_existing(on="name", where=Region.size > 0)
    class SizedFactory(RegionFactory):
        size = 1

    session.add(Region(name="North", size=0))
    session.commit()
    isolated(session, "REPEATABLE READ")
    with pytest.raises(IntegrityError, match="region_name_key"):
        SizedFactory()


def test_winner_differs(faster):
    """The winner's row is a reused row: what the caller passed and it contradicts is a warning."""
    with pytest.warns(MismatchWarning, match="size=7"):
        region = RegionFactory(size=7, label=faster(Region(name="North", size=1)))
    assert region.size == 1


def test_lost_child(faster, session):
    """The parent's collection does not hold the child that was refused."""

    @reuse_existing(on="name")
    class CityFactory(BaseFactory):
        class Meta:
            model = City
            exclude = ("trigger",)

        name = "Oslo"
        trigger = "loser"

    region = RegionFactory()
    session.commit()
    assert region.cities == []
    winner = City(name="Oslo", region_id=region.id)
    session.commit()  # or SQLite's lock would keep the winner out
    city = CityFactory(region=region, trigger=faster(winner))
    assert inspect(city).persistent
    assert all(child is city for child in region.cities)  # MariaDB's snapshot lacks the winner


@pytest.mark.single
def test_lost_below(faster):
    """A SubFactory's lost race gives the parent the winner's row."""

    @reuse_existing(on="name")
    class CityFactory(BaseFactory):
        class Meta:
            model = City

        name = "Oslo"
        region = factory.SubFactory(RegionFactory)

    city = CityFactory(region__label=faster())
    assert city.region.label == "winner"
    assert city.region is RegionFactory()


# A refusal in other words


def reraise_the_drivers_own(context):
    raise context.original_exception


def test_drivers_own_error(faster, engine):
    """A listener that raises the driver's own error again does not hide the winner."""
    event.listen(engine, "handle_error", reraise_the_drivers_own)
    assert RegionFactory(label=faster()).label == "winner"


@pytest.mark.parametrize("kind", [FlushError, LookupError])
def test_wrapped_error(kind, faster, session):
    """Nor does a `_create` that raises an error of its own from the database's."""

    @reuse_existing(on="name")
    class WrappingFactory(RegionFactory):
        @classmethod
        def _create(cls, model_class, *args, **kwargs):
            try:
                return super()._create(model_class, *args, **kwargs)
            except IntegrityError as error:
                raise kind("refused") from error

    assert WrappingFactory(label=faster()).label == "winner"


def test_create_that_rolls_back(faster, session):
    """Nor does a `_create` that rolls the session back before it raises."""

    @reuse_existing(on="name")
    class CleaningFactory(RegionFactory):
        @classmethod
        def _create(cls, model_class, *args, **kwargs):
            try:
                return super()._create(model_class, *args, **kwargs)
            except IntegrityError:
                session.rollback()
                raise

    assert CleaningFactory(label=faster()).label == "winner"
    session.commit()
    assert session.query(Region).count() == 1


def test_unrelated_error_after_a_win(faster, session):
    """An error that is no refusal comes as it is, also where the row is there by then."""

    @reuse_existing(on="name")
    class FailingFactory(RegionFactory):
        @classmethod
        def _create(cls, model_class, *args, **kwargs):
            raise LookupError("own")

    with pytest.raises(LookupError, match="own"):
        FailingFactory(label=faster())
    assert RegionFactory().label == "winner"


@pytest.mark.parametrize("field", ["validated", "constructed", "listened"])
def test_value_changed_on_the_way(field, session):
    """A row is found by the value it really has, whoever changed the one that was passed."""

    @reuse_existing(on=field)
    class LoweredFactory(BaseFactory):
        class Meta:
            model = Lowered

    first = LoweredFactory(**{field: "NORTH"})
    assert getattr(first, field) == "north"
    session.commit()
    again, created = get_or_create(LoweredFactory, **{field: "NORTH"})
    assert again is first
    assert not created
    assert session.query(Lowered).count() == 1


def test_winner_of_another_unique_key(faster, session):
    """Inferred keys: the row may be that of any of them; a passed key that differs is an error."""

    @reuse_existing
    class InferredFactory(BaseFactory):
        class Meta:
            model = Region

        name = "North"

    region = InferredFactory(code="N", label=faster(Region(name="North", code="N")))
    assert (region.name, region.code) == ("North", "N")


@pytest.mark.backends("mariadb")
@pytest.mark.parametrize(
    "call",
    [
        lambda: RegionFactory(name="rival 5"),
        lambda: list(create_many(RegionFactory, [{"name": "rival 5"}, {"name": "rival 6"}])),
    ],
    ids=["one", "many"],
)
def test_deadlock(call, session, make_session):
    """A deadlock ends the transaction: its error comes through, and the rest is not committed."""
    session.add_all([Region(name="a", label=""), Region(name="b", label="")])
    session.commit()
    # The victim is the transaction that has changed fewer rows.
    session.add(Region(name="own", label=""))
    session.flush()
    session.execute(update(Region).where(Region.name == "a").values(label="mine"))
    rival = make_session()
    rival.add_all([Region(name=f"rival {number}", label="") for number in range(40)])
    rival.flush()
    waiting = threading.Thread(
        target=rival.execute, args=(update(Region).where(Region.name == "a").values(label=""),)
    )
    waiting.start()
    time.sleep(0.4)  # until it waits for our lock
    with use_session(session), pytest.raises(OperationalError, match="1213"):
        call()
    waiting.join()
    rival.rollback()
    session.add(Region(name="late", label=""))
    with pytest.raises(PendingRollbackError):
        session.commit()
    session.rollback()
    assert sorted(session.execute(select(Region.name)).scalars()) == ["a", "b"]
