"""Keys of classes that inherit: joined tables, one table, concrete tables."""

import factory
import pytest
from keyed import BaseFactory, assert_reused, current, persisting, rows
from sqlalchemy import Column, ForeignKey, Integer, String, Table, UniqueConstraint, select
from sqlalchemy.ext.declarative import ConcreteBase, DeferredReflection
from sqlalchemy.orm import declarative_base, declared_attr, relationship

from factory_reuse import MismatchError, find, reuse_existing

Base = declarative_base()


@pytest.fixture(autouse=True)
def _current(session):
    with current(session):
        yield


def _factory(of, **declared):
    return reuse_existing(factory.make_factory(of, FACTORY_CLASS=BaseFactory, **declared))


# Joined tables


class Person(Base):
    __tablename__ = "person"
    __mapper_args__ = {"polymorphic_on": "kind", "polymorphic_identity": "person"}

    id = Column(Integer, primary_key=True)
    kind = Column(String(20))
    email = Column(String(20), unique=True)


class Employee(Person):
    __tablename__ = "employee"
    __mapper_args__ = {"polymorphic_identity": "employee"}

    id = Column(Integer, ForeignKey("person.id"), primary_key=True)
    badge = Column("badge_no", Integer, unique=True)


class Manager(Employee):
    __tablename__ = "manager"
    __mapper_args__ = {"polymorphic_identity": "manager"}

    id = Column(Integer, ForeignKey("employee.id"), primary_key=True)
    office = Column(String(20), unique=True)


class Guest(Person):
    __tablename__ = "guest"
    __mapper_args__ = {"polymorphic_identity": "guest"}

    id = Column(Integer, ForeignKey("person.id"), primary_key=True)


PersonFactory = _factory(Person)
EmployeeFactory = _factory(Employee)
ManagerFactory = _factory(Manager)
GuestFactory = _factory(Guest)


@pytest.mark.parametrize("key", [{"email": "a@x"}, {"badge": 1}, {"office": "A"}], ids=str)
@pytest.mark.parametrize("persistence", [None, "flush"])
def test_joined_tables_each_have_keys(session, key, persistence):
    """A unique column of any of the joined tables is a key of the class."""
    managers = persisting(ManagerFactory, persistence)
    made = managers(email="a@x", badge=1, office="A")
    managers(email="b@x", badge=2, office="B")
    assert_reused(made, managers, **key)
    session.expunge_all()
    assert managers(**key).badge == 1
    assert [rows(model) for model in (Person, Employee, Manager)] == [2, 2, 2]


def test_joined_keys_must_agree():
    """Passed keys of different tables must be those of one row."""
    made = EmployeeFactory(email="a@x", badge=1)
    EmployeeFactory(email="b@x", badge=2)
    with pytest.raises(MismatchError):
        EmployeeFactory(email="a@x", badge=2)
    assert_reused(made, EmployeeFactory, email="a@x", badge=1)
    assert rows(Person) == 2


@pytest.mark.parametrize("key", [{"email": "a@x"}, {"id": 1}, {"id": "1"}], ids=str)
def test_joined_parent_finds_a_subclass(key):
    """A row of a subclass is one of the parent class too."""
    made = ManagerFactory(id=1, email="a@x", badge=1)
    assert_reused(made, PersonFactory, **key)
    assert_reused(made, EmployeeFactory, **key)
    assert rows(Person) == 1


@pytest.mark.parametrize(
    "holder", [PersonFactory, GuestFactory, EmployeeFactory], ids=lambda holder: holder.__name__
)
@pytest.mark.parametrize("state", ["pending", "in the database"])
def test_joined_key_held_by_another_class(session, holder, state):
    """A key that a row of another class holds is an error that names the class; nothing is lost."""
    other = ManagerFactory(email="b@x")
    held = holder(email="a@x")
    if state == "in the database":
        session.commit()
    with pytest.raises(MismatchError, match=f"is a {type(held).__name__}, not a Manager") as caught:
        ManagerFactory(email="a@x")
    assert caught.value.instance is held
    assert_reused(other, ManagerFactory, email="b@x")
    assert rows(Person) == 2


def test_joined_key_of_the_subclass_alone():
    """A key of a subclass's own table is no key that other classes could hold."""
    made = EmployeeFactory(badge=1)
    assert find(ManagerFactory, office="A") is None
    assert_reused(made, EmployeeFactory, badge=1)
    assert [rows(model) for model in (Person, Employee)] == [1, 1]


# One table


class Vehicle(Base):
    __tablename__ = "vehicle"
    __table_args__ = (UniqueConstraint("kind", "nickname"),)
    __mapper_args__ = {"polymorphic_on": "kind", "polymorphic_identity": "vehicle"}

    id = Column(Integer, primary_key=True)
    kind = Column(String(20))
    plate = Column(String(20), unique=True)
    nickname = Column(String(20))


class Car(Vehicle):
    __mapper_args__ = {"polymorphic_identity": "car"}

    seats = Column(Integer, unique=True)


class SportsCar(Car):
    __mapper_args__ = {"polymorphic_identity": "sports car"}


class Truck(Vehicle):
    __mapper_args__ = {"polymorphic_identity": "truck"}

    depot_id = Column(ForeignKey("vehicle.id"))
    # Of the subclass, and such that a join of it would lose rows.
    depot = relationship(
        Vehicle, foreign_keys=depot_id, remote_side=Vehicle.id, lazy="joined", innerjoin=True
    )


VehicleFactory = _factory(Vehicle)
CarFactory = _factory(Car)
SportsCarFactory = _factory(SportsCar)
TruckFactory = _factory(Truck)


@pytest.mark.parametrize("persistence", [None, "flush"])
def test_single_table(session, persistence):
    """Inherited and own columns of one table are keys."""
    cars = persisting(CarFactory, persistence)
    made = cars(plate="A", seats=4)
    assert_reused(made, cars, plate="A")
    assert_reused(made, cars, seats=4)
    assert_reused(made, VehicleFactory, plate="A")
    trucks = persisting(TruckFactory, persistence)
    truck = trucks(plate="B")
    assert_reused(truck, trucks, plate="B")
    session.expunge_all()
    assert (trucks(plate="B").depot, cars(seats=4).plate) == (None, "A")
    assert rows(Vehicle) == 2


@pytest.mark.parametrize("persistence", [None, "flush"])
@pytest.mark.parametrize("state", ["pending", "in the database"])
def test_single_table_sibling(session, state, persistence):
    """A sibling that holds the key is an error that names it, and nothing is lost."""
    held = TruckFactory(plate="A")
    car = CarFactory(plate="B")
    if state == "in the database":
        session.commit()
    cars = persisting(CarFactory, persistence)
    with pytest.raises(MismatchError) as caught:
        cars(plate="A")
    assert caught.value.message == (
        "CarFactory: the row with plate='A' is a Truck, not a Car; both share the table 'vehicle' "
        "and its unique key. Use another value, or the factory of the other class."
    )
    assert (caught.value.instance, caught.value.values) == (held, {"plate": "A"})
    assert (caught.value.factory, caught.value.model) == ("CarFactory", "Car")
    assert_reused(car, cars, plate="B")
    assert_reused(held, TruckFactory, plate="A")
    assert rows(Vehicle) == 2


def test_single_table_sibling_that_comes_first(session):
    """So too when the sibling's row is there only at the INSERT."""
    truck = Vehicle.__table__.insert().values(kind="truck", plate="A")
    nickname = factory.LazyFunction(lambda: session.connection().execute(truck) and "Herbie")
    with pytest.raises(MismatchError, match="plate='A' is a Truck, not a Car"):
        persisting(CarFactory, "flush")(plate="A", nickname=nickname)
    assert rows(Vehicle) == 1


def test_single_table_subclass_and_parent(session):
    """A subclass's row is reused for the class; the class's row is not for the subclass."""
    sports, car = SportsCarFactory(plate="A"), CarFactory(plate="B")
    assert_reused(sports, CarFactory, plate="A")
    session.commit()
    with pytest.raises(MismatchError, match="is a Car, not a SportsCar"):
        SportsCarFactory(plate="B")
    assert_reused(car, CarFactory, plate="B")
    assert rows(Vehicle) == 2


@pytest.mark.parametrize("persistence", [None, "flush"])
def test_discriminator_in_the_key(persistence):
    """The class gives the discriminator: siblings may share the rest of such a key."""
    cars, trucks = persisting(CarFactory, persistence), persisting(TruckFactory, persistence)
    car, truck = cars(nickname="Herbie"), trucks(nickname="Herbie")
    assert car is not truck
    assert_reused(car, cars, nickname="Herbie")
    assert_reused(truck, trucks, nickname="Herbie")
    assert rows(Vehicle) == 2


# Concrete tables, abstract classes and mixins


class Named:
    name = Column(String(20), unique=True)


class Coded(Base):
    __abstract__ = True

    code = Column("code_no", Integer)

    @declared_attr
    def __table_args__(cls):
        return (UniqueConstraint("code_no", "area"),)


class Plant(Named, Base):
    __tablename__ = "plant"

    id = Column(Integer, primary_key=True)


class Tree(Plant):
    __tablename__ = "tree"
    __mapper_args__ = {"concrete": True}

    id = Column(Integer, primary_key=True)
    name = Column(String(20), unique=True)
    height = Column(Integer)


class Shrub(Plant):
    """Its table has no unique name, so that none of its parent's keys is one of its own."""

    __tablename__ = "shrub"
    __mapper_args__ = {"concrete": True}

    id = Column(Integer, primary_key=True)
    name = Column(String(20))
    tag = Column(Integer, unique=True)


class Zone(Coded):
    __tablename__ = "zone"

    id = Column(Integer, primary_key=True)
    area = Column(Integer)


PlantFactory = _factory(Plant)
TreeFactory = _factory(Tree)
ShrubFactory = _factory(Shrub, name="oak")
ZoneFactory = _factory(Zone)


@pytest.mark.parametrize("persistence", [None, "flush"])
def test_concrete_tables_are_apart(persistence):
    """Each concrete class has its own table: the same key there is another row."""
    plants, trees = persisting(PlantFactory, persistence), persisting(TreeFactory, persistence)
    plant = plants(name="oak")
    tree = trees(name="oak")
    assert type(tree) is Tree
    assert_reused(tree, trees, name="oak")
    assert_reused(plant, plants, name="oak")
    assert [rows(model) for model in (Plant, Tree)] == [1, 1]


def test_concrete_class_has_its_own_keys():
    """What is unique in the parent's table need not be in that of the class."""
    first, second = ShrubFactory(tag=1), ShrubFactory(tag=2)
    assert first is not second
    assert_reused(first, ShrubFactory, tag=1)
    assert (rows(Plant), rows(Shrub)) == (0, 2)


def test_abstract_class_and_mixin():
    """Columns and constraints of abstract classes and mixins are keys of what inherits them."""
    plant, zone = PlantFactory(name="oak"), ZoneFactory(code=1, area=1)
    assert_reused(plant, PlantFactory, name="oak")
    assert_reused(zone, ZoneFactory, code=1, area=1)
    assert ZoneFactory(code=1, area=2) is not zone
    assert (rows(Plant), rows(Zone)) == (1, 2)


@pytest.mark.backends("sqlite", "postgresql")
@pytest.mark.parametrize("persistence", [None, "flush"])
def test_sibling_with_a_field_that_is_not_unique(persistence):
    """What no constraint keeps apart, siblings may share."""
    named = {"on": "nickname", "on_mismatch": "keep"}
    cars = reuse_existing(persisting(CarFactory, persistence), **named)
    trucks = reuse_existing(persisting(TruckFactory, persistence), **named)
    car, truck = cars(nickname="x"), trucks(nickname="x")
    assert car is not truck
    assert_reused(car, cars, nickname="x")
    assert_reused(truck, trucks, nickname="x")
    assert rows(Vehicle) == 2


# Classes that are not selected from their tables


def _selected(base, table):
    selected = select(table).where(table.c.kind == "a").subquery()
    arguments = {"primary_key": [selected.c.id]}
    return type("Selected", (base,), {"__table__": selected, "__mapper_args__": arguments})


@pytest.mark.backends("sqlite")
def test_class_mapped_to_a_select(engine, session):
    """A model that is a SELECT is looked up in what it selects."""
    base = declarative_base()
    table = Table(
        "stock",
        base.metadata,
        Column("id", Integer, primary_key=True),
        Column("name", String(20), unique=True),
        Column("kind", String(20)),
    )
    base.metadata.create_all(engine)
    session.execute(table.insert(), [{"name": "x", "kind": "b"}, {"name": "y", "kind": "a"}])
    stocks = _factory(_selected(base, table))
    assert find(stocks, name="y").name == "y"
    assert find(stocks, name="x") is None


@pytest.mark.parametrize("persistence", [None, "flush"])
def test_base_of_concrete_classes(engine, session, persistence):
    """A base that is selected together with its concrete subclasses has keys of its own."""

    class Base(declarative_base()):
        __abstract__ = True

    class Worker(ConcreteBase, Base):
        __tablename__ = "worker"
        __mapper_args__ = {"polymorphic_identity": "worker", "concrete": True}
        id = Column(Integer, primary_key=True)
        name = Column(String(20), unique=True)

    class Foreman(Worker):
        __tablename__ = "foreman"
        __mapper_args__ = {"polymorphic_identity": "foreman", "concrete": True}
        id = Column(Integer, primary_key=True)
        name = Column(String(20), unique=True)

    Base.metadata.create_all(engine)
    foremen = persisting(_factory(Foreman, id=7, name="Ann"), persistence)
    workers = persisting(_factory(Worker, name="Ann"), persistence)
    foreman, other = foremen(), workers(name="Bob")
    worker = workers()
    assert (type(foreman), type(worker)) == (Foreman, Worker)
    assert_reused(worker, workers)
    assert_reused(foreman, foremen)
    assert_reused(other, workers, name="Bob")


def test_table_with_another_primary_key(engine, session):
    """Where the mapper was given a primary key of its own, the table's is a key too."""
    base = declarative_base()

    class Parcel(base):
        __tablename__ = "parcel"
        id = Column(Integer, primary_key=True)
        code = Column(String(20), unique=True)
        __mapper_args__ = {"primary_key": [code]}

    base.metadata.create_all(engine)
    parcels = persisting(_factory(Parcel), "flush")
    parcel = parcels(id=9, code="a")
    assert_reused(parcel, parcels, id=9)
    assert_reused(parcel, parcels, code="a")


def test_model_that_is_mapped_later(session):
    """A model without a mapper yet can be decorated; the key is read at the first call."""

    class Later(DeferredReflection, declarative_base()):
        __tablename__ = "person"

    laters = _factory(Later)
    Person.__table__.create(session.connection(), checkfirst=True)
    Later.prepare(session.connection())
    made = persisting(laters, "flush")(email="a@x")
    assert_reused(made, laters, email="a@x")
