"""`on_mismatch`: when a passed value and the row's are the same, by the type of the column."""

import contextlib
import datetime
import enum
import uuid
import warnings
from decimal import Decimal

import factory
import pytest
from keyed import current
from sqlalchemy import (
    JSON,
    Boolean,
    Column,
    Date,
    DateTime,
    Enum,
    Float,
    ForeignKey,
    Integer,
    LargeBinary,
    Numeric,
    String,
    func,
)
from sqlalchemy.ext.hybrid import hybrid_property
from sqlalchemy.orm import (
    backref,
    declarative_base,
    relationship,
    synonym,
    validates,
)

from factory_reuse import MismatchError, MismatchWarning, reuse_existing
from shop import ShopFactory, with_policy

# SQLAlchemy 1.4 warns that SQLite stores a Numeric as a float.
pytestmark = pytest.mark.filterwarnings("ignore:Dialect sqlite.pysqlite does:Warning")

Base = declarative_base()


class Color(enum.Enum):
    RED = "r"
    BLUE = "b"


class Category(Base):
    __tablename__ = "category"
    id = Column(Integer, primary_key=True)
    name = Column(String(50), unique=True)
    color = Column(String(50))
    hue = synonym("color")


class Product(Base):
    """Has a value of every kind that a caller may pass."""

    __tablename__ = "product"
    id = Column(Integer, primary_key=True)
    sku = Column(String(50), unique=True)
    title = Column(String(50))
    price = Column(Numeric(10, 2))
    weight = Column(Float)
    stock = Column(Integer)
    active = Column(Boolean)
    color = Column(Enum(Color))
    since = Column(Date)
    seen = Column(DateTime)
    extra = Column(JSON)
    image = Column(LargeBinary(20))
    email = Column(String(50))
    token = Column(String(36))
    _secret = Column("secret", String(60))
    category_id = Column(ForeignKey("category.id"))
    category = relationship(Category, backref="products")

    def __init__(self, greeting=None, **values):
        self.greeting = greeting
        super().__init__(**values)

    @validates("email")
    def _lower(self, key, value):
        return value.lower()

    @hybrid_property
    def shout(self):
        return self.title.upper()

    @shout.expression
    def shout(cls):
        return func.upper(cls.title)

    @shout.setter
    def shout(self, value):
        self.title = value.lower()

    @property
    def pin(self):
        raise AttributeError("write-only")

    @pin.setter
    def pin(self, value):
        self.token = uuid.uuid4().hex

    @property
    def secret(self):
        raise AttributeError("write-only")

    @secret.setter
    def secret(self, value):
        self._secret = f"{uuid.uuid4().hex}:{value}"


class User(Base):
    __tablename__ = "user_account"
    id = Column(Integer, primary_key=True)
    name = Column(String(50), unique=True)


class Profile(Base):
    __tablename__ = "profile"
    id = Column(Integer, primary_key=True)
    bio = Column(String(50))
    user_id = Column(ForeignKey("user_account.id"), unique=True)
    user = relationship(User, backref=backref("profile", uselist=False))


@reuse_existing
class CategoryFactory(ShopFactory):
    class Meta:
        model = Category

    name = factory.Sequence("Category {}".format)
    color = "grey"


@reuse_existing
class ProductFactory(ShopFactory):
    class Meta:
        model = Product

    sku = factory.Sequence("sku-{}".format)
    title = "A product"
    category = factory.SubFactory(CategoryFactory)


@reuse_existing
class UserFactory(ShopFactory):
    class Meta:
        model = User

    name = "Ann"


@reuse_existing
class ProfileFactory(ShopFactory):
    class Meta:
        model = Profile

    bio = "old"
    user = factory.SubFactory(UserFactory)


@pytest.fixture(autouse=True)
def _scoped(session):
    with current(session):
        yield


SAME = {
    "price": [Decimal("9.90"), 9.9, "9.90"],
    "weight": [0.5, Decimal("0.5")],
    "stock": [5, 5.0, "5"],
    "active": [True, 1],
    "color": [Color.RED, "RED"],
    "since": [datetime.date(2020, 1, 2), datetime.datetime(2020, 1, 2, 3, 4)],
    "seen": [datetime.datetime(2020, 1, 2, 3, 4)],
    "extra": [{"a": [1, None]}],
    "image": [b"\x00\x01"],
    "email": ["a@x.org", "A@X.org"],
    "title": ["A"],
    "shout": ["TITLE"],
    "category": [None],
}


def test_values_that_are_one_in_the_column(session):
    """What the column's type stores alike is no mismatch, before the row is read back or after."""
    declared = with_policy(ProductFactory, "raise")
    products = {field: declared(sku=field, **{field: SAME[field][0]}) for field in SAME}
    refused = []
    for _ in range(2):
        for field, product in products.items():
            for value in SAME[field]:
                try:
                    assert declared(sku=field, **{field: value}) is product
                except MismatchError:
                    refused.append((field, value))
        session.commit()
    assert refused == []


OTHER = {
    "price": [Decimal("9.91"), 10, None],
    "weight": [0.25, None],
    "stock": [6, None],
    "active": [False, None],
    "color": [Color.BLUE, "BLUE", None],
    "since": [datetime.date(2020, 1, 3), None],
    "seen": [datetime.datetime(2020, 1, 2, 3, 5), None],
    "extra": [{"a": [1]}, []],
    "image": [b"\x00", None],
    "email": ["b@x.org"],
    "title": ["a", "", None],
}


def test_values_that_differ_in_the_column(session):
    """What the column's type tells apart is a mismatch; None differs from every value."""
    declared = with_policy(ProductFactory, "raise")
    for field in OTHER:
        declared(sku=field, **{field: SAME[field][0]})
    accepted = []
    for _ in range(2):
        for field, values in OTHER.items():
            for value in values:
                with contextlib.suppress(MismatchError):
                    accepted.append((field, declared(sku=field, **{field: value})))
        session.commit()
    assert accepted == []


@pytest.mark.backends("sqlite")
def test_a_value_where_the_row_has_none():
    """NULL in the row differs from a passed value, and agrees with a passed None."""
    ProductFactory(sku="A", stock=None)
    ProductFactory(sku="A", stock=None)
    with pytest.warns(MismatchWarning, match=r"stock=0.*stock=None"):
        ProductFactory(sku="A", stock=0)


@pytest.mark.backends("sqlite")
def test_a_synonym_and_a_foreign_key_column():
    """A value passed by another name of the attribute is compared too."""
    books = CategoryFactory(name="Books", color="blue")
    product = ProductFactory(sku="A", category=books)
    assert ProductFactory(sku="A", category_id=books.id, category=books) is product
    with pytest.warns(MismatchWarning, match=r"hue='red'.*hue='blue'"):
        CategoryFactory(name="Books", hue="red")


@pytest.mark.backends("sqlite")
@pytest.mark.parametrize("policy", ["raise", "update"])
@pytest.mark.parametrize("field", ["greeting", "pin", "secret"])
def test_what_the_row_cannot_tell_is_not_compared(field, policy, statements):
    """An argument of the constructor alone, and a property that nobody can read, never differ."""
    declared = with_policy(ProductFactory, policy)
    product = declared(sku="A", **{field: "hello"})
    with statements() as seen:
        assert declared(sku="A", **{field: "hello"}) is product
    assert seen == []


@pytest.mark.backends("sqlite")
def test_comparing_leaves_a_one_to_one_child_where_it_is(session):
    """Holding values against a row assigns nothing: the parent keeps its child."""
    profile = ProfileFactory()
    ann, other = profile.user, Profile(bio="other")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert ProfileFactory(user=ann, bio="new") is profile
        assert ProfileFactory(user__name="Ann", bio="new") is profile
        assert UserFactory(name="Ann", profile=other) is ann
    assert [warning.category for warning in caught] == [MismatchWarning] * 3
    assert (ann.profile, profile.user) == (profile, ann)
    assert other.user is None
    session.commit()
    assert (ann.profile, profile.user) == (profile, ann)


@pytest.mark.backends("sqlite")
def test_comparing_flushes_nothing_of_a_lazy_factory(session):
    """A lazy factory loads the parent it compares, and what is pending stays so."""

    class LazyFactory(ProductFactory):
        class Meta:
            sqlalchemy_session_persistence = None

    ProductFactory(sku="A", category__name="Books")
    session.commit()
    session.expunge_all()
    games = Category(name="Games")
    session.add(games)
    LazyFactory(sku="A", category__name="Books")
    assert set(session.new) == {games}


# Parents that are awkward to read


class Shelf(Base):
    __tablename__ = "shelf"
    id = Column(Integer, primary_key=True)
    number = Column(Integer, unique=True)
    category_id = Column(ForeignKey("category.id"))
    category = relationship(Category, lazy="raise")
    shown = relationship(Category, viewonly=True)


@reuse_existing
class ShelfFactory(ShopFactory):
    class Meta:
        model = Shelf

    number = 1
    category = factory.SubFactory(CategoryFactory, name="Books")


@pytest.mark.backends("sqlite")
@pytest.mark.parametrize("passed", ["object", "path"])
def test_a_parent_that_must_not_be_loaded(passed, session):
    """`lazy="raise"` keeps no one from hearing that a passed parent is not the row's."""
    shelf = ShelfFactory()
    games = CategoryFactory(name="Games")
    session.commit()
    given = {"category": games} if passed == "object" else {"category__name": "Games"}
    with pytest.warns(MismatchWarning, match="category"):
        assert ShelfFactory(**given) is shelf


@pytest.mark.backends("sqlite")
def test_a_parent_that_is_only_viewed(session):
    """A relationship that writes nothing is compared all the same."""
    shelf = ShelfFactory()
    books, games = shelf.category, CategoryFactory(name="Games")
    session.commit()
    assert ShelfFactory(shown=books) is shelf
    with pytest.warns(MismatchWarning, match="shown=<Category id=2>.*shown=<Category id=1>"):
        assert ShelfFactory(shown=games) is shelf


@pytest.mark.backends("sqlite")
def test_what_is_passed_on_under_a_name_of_the_factorys_own():
    """A parent's parameter or renamed field is no attribute; it is no mismatch, and no error."""

    class VipFactory(CategoryFactory):
        class Meta:
            rename = {"title": "name"}

        class Params:
            vip = factory.Trait(title="VIP")

        title = "Books"
        name = factory.declarations.SKIP

    class VipShelfFactory(ShelfFactory):
        category = factory.SubFactory(VipFactory)

    shelf = VipShelfFactory()
    assert VipShelfFactory(category__vip=True) is shelf
    assert VipShelfFactory(category__title="VIP") is shelf


class Coupon(Base):
    """What a pending one does not have yet, its columns fill at the INSERT."""

    __tablename__ = "coupon"
    id = Column(Integer, primary_key=True)
    name = Column(String(50), unique=True)
    code = Column(String(50), unique=True, default="x")
    color = Column(String(50), default="red")
    number = Column(Integer, unique=True, default=lambda: 7)
    label = Column(String(50), server_default="s")


def test_default_of_a_pending_row(session):
    """A pending row has the values that its columns' defaults will give it."""

    class CouponFactory(ShopFactory):
        class Meta:
            model = Coupon
            sqlalchemy_session_persistence = None

    declared = with_policy(reuse_existing(CouponFactory, on="name"), "raise")
    keyed = with_policy(reuse_existing(CouponFactory, on=[("name",), ("code",)]), "raise")
    with current(session), session.no_autoflush:
        made = declared(name="a")
        assert declared(name="a", color="red", code="x") is made
        assert keyed(name="a", code="x") is made
        assert made in session.new
        with pytest.raises(MismatchError, match=r"color='blue'.*has color='red'"):
            declared(name="a", color="blue")
        with pytest.raises(MismatchError, match=r"code='y'.*has code='x'"):
            keyed(name="a", code="y")


def test_unknown_default_of_a_pending_row(session):
    """What only the INSERT gives a pending row is no difference; of a key, it is an error."""

    class CouponFactory(ShopFactory):
        class Meta:
            model = Coupon
            sqlalchemy_session_persistence = None

    declared = with_policy(reuse_existing(CouponFactory, on="name"), "warn")
    keyed = with_policy(reuse_existing(CouponFactory, on=[("name",), ("number",)]), "raise")
    with current(session), session.no_autoflush:
        made = declared(name="a")
        assert declared(name="a", label="t", number=8) is made
        with pytest.raises(MismatchError, match=r"number=7.*has number=<unknown before it is fl"):
            keyed(name="a", number=7)
        assert (made.label, made.number) == (None, None)
        session.flush()
        assert keyed(name="a", number=7) is made
        with pytest.raises(MismatchError, match=r"label='t'.*has label='s'"):
            keyed(name="a", label="t")


def test_unknown_default_is_updated(session):
    """Where rows are changed, a pending row takes the passed value."""

    class CouponFactory(ShopFactory):
        class Meta:
            model = Coupon
            sqlalchemy_session_persistence = None

    declared = with_policy(reuse_existing(CouponFactory, on="name"), "update")
    with current(session), session.no_autoflush:
        made = declared(name="a")
        assert declared(name="a", label="t", number=8) is made
        assert (made.label, made.number) == ("t", 8)
