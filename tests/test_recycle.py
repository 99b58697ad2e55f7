"""`recycle`: SubFactories take the objects of the block."""

import asyncio
import threading

import factory
import pytest
from sqlalchemy import Column, ForeignKey, Integer, String
from sqlalchemy.orm import backref, declarative_base, relationship

from factory_reuse import (
    ReuseError,
    create_many,
    find,
    get_or_create,
    no_reuse,
    recycle,
    reuse_existing,
    use_session,
)
from regions import BaseFactory

Base = declarative_base()


class Country(Base):
    __tablename__ = "country"
    id = Column(Integer, primary_key=True)
    code = Column(String(50), unique=True)


class User(Base):
    __tablename__ = "user"
    id = Column(Integer, primary_key=True)
    name = Column(String(50), unique=True)
    kind = Column(String(50), nullable=False)
    color = Column(String(50))
    country_id = Column(ForeignKey("country.id"))
    country = relationship(Country)
    __mapper_args__ = {"polymorphic_on": kind, "polymorphic_identity": "user"}


class Admin(User):
    __mapper_args__ = {"polymorphic_identity": "admin"}


class Order(Base):
    __tablename__ = "order"
    id = Column(Integer, primary_key=True)
    number = Column(Integer, unique=True)
    title = Column(String(50))
    user_id = Column(ForeignKey("user.id"))
    seller_id = Column(ForeignKey("user.id"))
    user = relationship(User, foreign_keys=user_id, backref=backref("orders"))
    seller = relationship(User, foreign_keys=seller_id)


@reuse_existing
class CountryFactory(BaseFactory):
    class Meta:
        model = Country

    code = "DE"


@reuse_existing(on=())
class UserFactory(BaseFactory):
    class Meta:
        model = User

    class Params:
        domain = "here"
        red = factory.Trait(color="red")

    name = factory.Sequence("user {}".format)
    color = factory.LazyAttribute(lambda o: f"of {o.domain}")
    country = factory.SubFactory(CountryFactory)


@reuse_existing(on="number")
class OrderFactory(BaseFactory):
    class Meta:
        model = Order

    number = factory.Sequence(int)
    user = factory.SubFactory(UserFactory)


class PlainOrderFactory(BaseFactory):
    """Reuses nothing itself."""

    class Meta:
        model = Order

    user = factory.SubFactory(UserFactory)
    seller = factory.SubFactory(UserFactory)


@pytest.fixture(autouse=True)
def used(session):
    with use_session(session):
        PlainOrderFactory._meta.sqlalchemy_session = session
        yield session
    PlainOrderFactory._meta.sqlalchemy_session = None


# What is taken


@pytest.mark.single
def test_taken(statements):
    """A SubFactory of the model takes the object, and asks nothing for it."""
    user = UserFactory()
    with recycle(user), statements() as seen:
        assert OrderFactory().user is user
    assert [each.split()[0] for each in seen] == ["SELECT", "SAVEPOINT", "INSERT", "RELEASE"]


def test_taken_below_a_factory_that_does_not_reuse(statements):
    """So does each of them, below a factory that reuses nothing itself."""
    user = UserFactory()
    with recycle(user), statements() as seen:
        order = PlainOrderFactory()
    assert order.user is user
    assert order.seller is user
    assert [each.split()[0] for each in seen] == ["INSERT"]


def test_a_direct_call_takes_nothing():
    """Only a SubFactory takes the object: who calls a factory wants what it makes."""
    user = UserFactory()
    with recycle(user):
        assert UserFactory() is not user
        assert OrderFactory(user=UserFactory()).user is not user


def test_in_turn():
    """Of several objects of a model, each gets its turn; of other models, others do."""
    first, second, country = UserFactory(), UserFactory(), CountryFactory(code="FR")
    with recycle(first, country, second):
        users = [order.user for order in OrderFactory.create_batch(5)]
        assert UserFactory().country is country
    assert users == [first, second, first, second, first]


def test_in_turn_in_a_batch():
    """So too where the rows are made together, with `create_many`."""
    first, second = UserFactory(), UserFactory()
    with recycle(first, second):
        made = list(create_many(OrderFactory, [{"number": n} for n in (5, 6, 7)], chunk_size=2))
    assert [order.user for order in made] == [first, second, first]


def test_a_batch_stays_together(statements):
    """The rows of a batch are looked for and inserted together, as ever."""
    user = UserFactory()
    with recycle(user), statements() as seen:
        list(create_many(OrderFactory, [{"number": n} for n in range(100, 150)]))
    assert sum(each.startswith("SELECT") for each in seen) == 1
    assert len(seen) < 8 + 50  # MariaDB and SQLite 2 may insert one row a statement


def test_subclass():
    """An object of a subclass is one of the model; one of the base is none of the subclass."""

    @reuse_existing(on=())
    class AdminFactory(UserFactory):
        class Meta:
            model = Admin

    class Orders(OrderFactory):
        seller = factory.SubFactory(AdminFactory)

    admin, user = AdminFactory(), UserFactory()
    with recycle(admin):
        assert OrderFactory().user is admin
    with recycle(user):
        made = Orders()
    assert made.user is user
    assert isinstance(made.seller, Admin)


def test_nested():
    """An inner block's objects go first; after it, and after an error in it, the outer one's do."""
    outer, other, inner = UserFactory(), UserFactory(), UserFactory()
    with recycle(outer, other):
        assert OrderFactory().user is outer
        with pytest.raises(ZeroDivisionError), recycle(inner):  # noqa: PT012
            assert OrderFactory().user is inner
            assert OrderFactory(user__name=other.name).user is other
            assert 1 / 0
        # The other one has had its turn, inside.
        assert [OrderFactory().user, OrderFactory().user] == [outer, other]
    assert OrderFactory().user not in (outer, other, inner)


def test_deeper():
    """So does the SubFactory of a SubFactory."""
    country = CountryFactory(code="FR")
    with recycle(country):
        assert OrderFactory().user.country is country


def test_a_pending_object(make_session):
    """An object without a row yet is taken, and gets its row with the other."""
    session = make_session()
    user = User(name="new")
    with use_session(session), recycle(user):
        order = OrderFactory()
    session.commit()
    assert order.user is user
    assert user.id


# What the object contradicts


@pytest.mark.parametrize(
    "passed",
    [
        {"user__name": "other"},
        {"user__color": "blue"},
        {"user__red": True},
        {"user__country__code": "FR"},
        {"user__country": None},
        {"user__domain": "there"},
        {"user__color": factory.LazyAttribute(lambda o: "blue")},
    ],
    ids=lambda passed: ",".join(passed),
)
def test_contradicted(passed):
    """An object that a passed value speaks against is passed over, and the call is as ever."""
    user = UserFactory()
    with recycle(user):
        made = OrderFactory(**passed).user
    assert made is not user
    assert made.name != user.name


@pytest.mark.parametrize(
    "passed",
    [
        {"user__name": "Ann"},
        {"user__color": "red"},
        {"user__red": True},
        {"user__country__code": "DE"},
        {"user__country": factory.SubFactory(CountryFactory)},
        {"title": "red", "user__color": factory.SelfAttribute("..title")},
    ],
    ids=lambda passed: ",".join(passed),
)
def test_agreed(passed):
    """What the object has may be passed."""
    user = UserFactory(name="Ann", red=True)
    with recycle(user):
        assert OrderFactory(**passed).user is user


def test_contradicted_by_what_is_declared():
    """What a SubFactory is declared with counts as passed."""

    class Orders(OrderFactory):
        user = factory.SubFactory(UserFactory, color="green")

    plain, green = UserFactory(), UserFactory(color="green")
    with recycle(plain, green):
        assert [Orders().user for _ in range(3)] == [green, green, green]
        assert OrderFactory().user is plain


def test_a_mistyped_name_is_an_error():
    """A name that the model does not have is refused as without the block."""
    user = UserFactory()
    with recycle(user), pytest.raises(TypeError, match="colour"):
        OrderFactory(user__colour="red")


# What takes nothing


def test_related_factories_make_their_own(used):
    """What a RelatedFactory makes belongs to its parent, so it is none of the block's."""

    @reuse_existing(on=())
    class OwnOrderFactory(OrderFactory):
        user = None

    class Users(UserFactory):
        related = factory.RelatedFactoryList(OwnOrderFactory, "seller", size=2)

    class PlainUsers(BaseFactory):
        class Meta:
            model = User
            sqlalchemy_session = used

        name = factory.Sequence("plain {}".format)
        related = factory.RelatedFactory(OwnOrderFactory, "seller")

    order = OrderFactory()
    with recycle(order):
        user = Users()
        assert used.query(Order).filter_by(seller=user).count() == 2
        user = PlainUsers()
        assert used.query(Order).filter_by(seller=user).count() == 1


def test_off():
    """Inside `no_reuse()` nothing is taken, nor where an object is only built."""
    user = UserFactory()
    with recycle(user):
        with no_reuse():
            assert OrderFactory(user__country=None).user is not user
        assert OrderFactory.build().user is not user


def test_find_and_hits():
    """A row that is there is found by its key; what the block has is not asked for."""
    order = OrderFactory(number=70)
    with recycle(UserFactory()):
        assert get_or_create(OrderFactory, number=70) == (order, False)
        assert find(OrderFactory, number=70) is order


def test_parent_in_the_key():
    """A parent in the key is the block's: in a lookup, in `find`, and in a batch."""

    @reuse_existing(on=("user", "title"))
    class Orders(OrderFactory):
        title = "a"

    user = UserFactory()
    mine = Orders(user=user)
    with recycle(user):
        assert find(Orders) is mine
        assert Orders() is mine
        assert Orders.create_batch(2) == [mine, mine]
        other = Orders(title="b")
        assert other.user is user
        assert list(create_many(Orders, [{"title": "b"}, {}])) == [other, mine]
    assert find(Orders) is None


@pytest.mark.parametrize("given", [None, 1, "user", User])
def test_no_object(given):
    """What is no object of a mapped class is refused at once."""
    with pytest.raises(ReuseError, match="no object of a mapped class"), recycle(given):
        pass


def test_post_generation():
    """Post-generation declarations run as on any other hit: those that are passed a value."""
    ran = []

    @reuse_existing(on=())
    class Users(UserFactory):
        @factory.post_generation
        def paint(obj, create, extracted, **kwargs):
            ran.append(extracted)

    class Orders(OrderFactory):
        user = factory.SubFactory(Users)

    user = Users()
    del ran[:]
    with recycle(user):
        assert Orders().user is user
        assert ran == []
        assert Orders(user__paint=7).user is user
    assert ran == [7]


# Threads and tasks


@pytest.mark.backends("sqlite")
def test_threads_do_not_see_each_others_blocks():
    """Another thread has its own blocks."""
    user = UserFactory()
    seen = []
    with recycle(user):
        thread = threading.Thread(target=lambda: seen.append(OrderFactory.build().user is user))
        thread.start()
        thread.join()
    assert seen == [False]


@pytest.mark.backends("sqlite")
def test_tasks_do_not_see_each_others_blocks():
    """Tasks that run by turns each take what their own block has, in its own turn."""
    first, second, third = UserFactory(), UserFactory(), UserFactory()

    async def orders(*users):
        taken = []
        with recycle(*users):
            for _ in range(3):
                taken.append(OrderFactory().user)
                await asyncio.sleep(0)
        return taken

    async def both():
        return await asyncio.gather(orders(first, second), orders(third))

    assert asyncio.run(both()) == [[first, second, first], [third, third, third]]


def test_blocks_that_end_in_another_order(used):
    """A block of a generator may end after one that began later: each ends its own objects."""
    first, second = UserFactory(), UserFactory()
    outer, inner = recycle(first), recycle(second)
    outer.__enter__()
    inner.__enter__()
    outer.__exit__(None, None, None)
    assert OrderFactory().user is second
    inner.__exit__(None, None, None)
    assert OrderFactory().user not in (first, second)


@pytest.mark.parametrize("state", ["deleted", "rolled back", "of another session"])
def test_object_that_cannot_be_used(used, make_session, state):
    """An object that is deleted, or in another session, is passed over."""
    user = UserFactory()
    if state == "deleted":
        used.commit()
        used.delete(user)
        used.flush()
    elif state == "of another session":
        used.commit()
        used.expunge(user)
        make_session().add(user)
    elif state == "rolled back":
        used.rollback()  # so that it is transient again, and is added anew
    with recycle(user):
        order = OrderFactory()
    assert (order.user is user) == (state == "rolled back")
    assert order.user in used


def test_turns_are_shared_with_tasks():
    """Tasks that begin inside of a block take their turns from it."""
    two = [UserFactory(), UserFactory()]

    async def task():
        return OrderFactory().user

    async def main():
        with recycle(*two):
            return [await asyncio.ensure_future(task()) for _ in range(4)]

    assert asyncio.run(main()) == two * 2
