"""Keys behind other names and under each way of flushing: private columns, hybrids, validators."""

import pytest
from keyed import BaseFactory, assert_reused, current, persisting, rows
from sqlalchemy import Column, ForeignKey, Integer, String, UniqueConstraint, event
from sqlalchemy.ext.hybrid import hybrid_property
from sqlalchemy.orm import (
    backref,
    column_property,
    composite,
    declarative_base,
    relationship,
    synonym,
    validates,
)

from factory_reuse import MismatchError, find, reuse_existing

Base = declarative_base()


@pytest.fixture(autouse=True)
def _current(session):
    with current(session):
        yield


class WithProperty(Base):
    __tablename__ = "with_property"

    id = Column(Integer, primary_key=True)
    _username = Column("username", String(20), unique=True)

    @property
    def username(self):
        return self._username

    @username.setter
    def username(self, username):
        self._username = username.lower()


class WithHybrid(Base):
    __tablename__ = "with_hybrid"

    id = Column(Integer, primary_key=True)
    _username = Column("user_name", String(20), unique=True)

    @hybrid_property
    def username(self):
        return self._username

    @username.setter
    def username(self, username):
        self._username = username.lower()


class WithSynonym(Base):
    __tablename__ = "with_synonym"

    id = Column(Integer, primary_key=True)
    _username = Column(String(20), unique=True)
    username = synonym("_username")

    @validates("_username")
    def _lower(self, name, username):
        return username.lower()


class WithValidator(Base):
    __tablename__ = "with_validator"
    __table_args__ = (UniqueConstraint("tenant", "username"),)

    id = Column(Integer, primary_key=True)
    tenant = Column(Integer)
    username = Column(String(20))

    @validates("username")
    def _lower(self, name, username):
        return username.lower()


def _factory(of):
    @reuse_existing
    class Factory(BaseFactory):
        class Meta:
            model = of

        username = "ann"

    return Factory


FACTORIES = {model.__name__: _factory(model) for model in (WithProperty, WithHybrid, WithSynonym)}


@reuse_existing
class WithValidatorFactory(BaseFactory):
    class Meta:
        model = WithValidator

    tenant = 1
    username = "ann"


FACTORIES["WithValidator"] = WithValidatorFactory


@pytest.fixture(params=list(FACTORIES))
def named(request):
    return FACTORIES[request.param]


def test_found_through_the_name_that_the_factory_uses(named):
    """A key column is given through a property, a hybrid, a synonym or a validator."""
    model = named._meta.model
    made = named(username="bob")
    assert_reused(made, named, username="bob")
    assert named() is not made
    assert rows(model) == 2


def test_model_has_the_last_word(named):
    """The key is what the model makes of the passed value: here, lower case."""
    model = named._meta.model
    made = named(username="Bob")
    assert made.username == "bob"
    assert_reused(made, named, username="BOB")
    assert_reused(made, named, username="bob")
    assert rows(model) == 1


@pytest.mark.backends("sqlite", "postgresql")
@pytest.mark.parametrize("autoflush", [True, False], ids=["autoflush", "no autoflush"])
@pytest.mark.parametrize("persistence", [None, "flush", "commit"])
def test_however_it_is_flushed(named, persistence, autoflush, make_session):
    """Autoflush or not, lazy, flushed or committed at once: one key is one row."""
    persisted = persisting(named, persistence)
    with current(make_session(autoflush=autoflush)):
        made = persisted(username="Bob")
        assert_reused(made, persisted, username="BOB")
        other = persisted(username="Other")
        assert persisted(username="OTHER") is other
        assert rows(named._meta.model) == 2


@pytest.mark.backends("sqlite", "postgresql")
@pytest.mark.parametrize("persistence", [None, "flush"])
def test_changed_key(named, persistence, make_session):
    """With autoflush off, a row is found by the key it was given since, not by the one it had."""
    persisted = persisting(named, persistence)
    with current(make_session(autoflush=False)) as session:
        made = persisted(username="old")
        session.commit()
        made.username = "new"
        assert persisted(username="new") is made
        session.flush()
        assert persisted(username="new") is made
        assert persisted(username="old") is not made
        assert rows(named._meta.model) == 2


@pytest.mark.backends("sqlite", "postgresql")
def test_private_attribute_itself(named):
    """The column's own attribute is a name for it too."""
    attribute = "username" if named is WithValidatorFactory else "_username"

    @reuse_existing
    class OwnNameFactory(BaseFactory):
        class Meta:
            model = named._meta.model

        if named is WithValidatorFactory:
            tenant = 1

    made = named(username="bob")
    assert_reused(made, OwnNameFactory, **{attribute: "bob"})
    assert rows(named._meta.model) == 1


class Account(Base):
    """Reached by two names at once."""

    __tablename__ = "account"

    id = Column(Integer, primary_key=True)
    email = Column("e_mail", String(20), unique=True)
    login = synonym("email")
    number = Column(Integer, unique=True)


@reuse_existing
class AccountFactory(BaseFactory):
    class Meta:
        model = Account


def test_one_column_by_two_names():
    """Whichever name the caller uses, it is one field."""
    made = AccountFactory(email="a@x.org", number=1)
    assert_reused(made, AccountFactory, login="a@x.org")
    assert_reused(made, AccountFactory, email="a@x.org")
    with pytest.raises(MismatchError, match="login"):
        AccountFactory(number=1, login="b@x.org")
    assert rows(Account) == 1


@pytest.mark.backends("sqlite")
def test_hybrid_that_nobody_can_give(session, engine):
    """A hybrid without a setter is not evaluated on the class, where it may loop forever."""
    base = declarative_base()

    class Calendar(base):
        __tablename__ = "calendar"

        id = Column(Integer, primary_key=True)
        name = Column(String(20), unique=True)

        @hybrid_property
        def letters(self):
            if isinstance(self, type):
                pytest.fail("evaluated on the class")
            return len(self.name)

    base.metadata.create_all(engine)

    @reuse_existing
    class CalendarFactory(BaseFactory):
        class Meta:
            model = Calendar

        name = "Gregorian"

    assert_reused(CalendarFactory(), CalendarFactory, name="Gregorian")
    assert CalendarFactory().letters == 9


# Names that give a column along with others


class Point:
    def __init__(self, x, y):
        self.x, self.y = x, y

    def __composite_values__(self):
        return self.x, self.y

    def __eq__(self, other):
        return isinstance(other, Point) and (self.x, self.y) == (other.x, other.y)

    __hash__ = None


class Owner(Base):
    __tablename__ = "owner"

    id = Column(Integer, primary_key=True)


class Place(Base):
    """Each key can be given by a name that is not its column's."""

    __tablename__ = "place"
    __table_args__ = (
        UniqueConstraint("title", "x", "y"),
        UniqueConstraint("title", "code"),
        UniqueConstraint("title", "cents"),
        UniqueConstraint("title", "owner_id"),
    )

    id = Column(Integer, primary_key=True)
    title = Column(String(20))
    x = Column(Integer)
    y = Column(Integer)
    point = composite(Point, x, y)
    code = Column(String(20))
    shorthand = synonym("code")
    abbreviation = synonym("shorthand")
    cents = Column(Integer)
    owner_id = Column(ForeignKey("owner.id"))
    owner = relationship(Owner)
    keeper = synonym("owner")

    @hybrid_property
    def price(self):
        return self.cents / 100

    @price.setter
    def price(self, price):
        self.cents = int(price * 100)

    @price.expression
    def price(cls):
        return cls.cents / 100.0


@reuse_existing
class PlaceFactory(BaseFactory):
    class Meta:
        model = Place

    title = "home"


OTHER_NAMES = {
    "point": (Point(1, 2), Point(1, 3)),
    "abbreviation": ("a", "b"),
    "price": (2.5, 2.0),
}


@pytest.mark.parametrize("persistence", [None, "flush"])
@pytest.mark.parametrize("name", OTHER_NAMES)
def test_given_by_another_name(name, persistence):
    """A composite, a synonym's synonym and a hybrid with SQL of its own give the key's columns."""
    places = persisting(PlaceFactory, persistence)
    value, other = OTHER_NAMES[name]
    made = places(**{name: value})
    assert places(**{name: other}) is not made
    assert_reused(made, places, **{name: value})


@pytest.mark.parametrize("on", [None, ("title", "code")])
@pytest.mark.parametrize("other", ["shorthand", "abbreviation"])
def test_two_names_that_disagree(on, other):
    """Two values that are passed for one column by two names are refused; equal ones are not."""
    places = reuse_existing(persisting(PlaceFactory, "flush"), on=on)
    made = places(code="a")
    with pytest.raises(MismatchError, match=r"disagree on code: .* gives 'a'") as raised:
        places(**{"code": "a", other: "b"})
    assert sorted(raised.value.values) == sorted(["code", other])
    assert_reused(made, places, **{"code": "a", other: "a"})


@pytest.mark.parametrize("on", [None, ("title", "keeper")])
def test_synonym_of_a_relationship(on, session):
    """A synonym of a relationship gives its foreign key."""
    places = reuse_existing(persisting(PlaceFactory, "flush"), on=on)
    first, second = Owner(), Owner()
    session.add_all([first, second])
    made = places(keeper=first)
    assert places(keeper=second) is not made
    assert_reused(made, places, keeper=first)


@pytest.mark.parametrize("name", ["price", "label"])
def test_hybrid_given_through_its_columns(name):
    """`on` names an expression, and the factory gives the columns it is made of."""
    places = reuse_existing(persisting(LabelledFactory, "flush"), on=name)
    made = places()
    assert_reused(made, places)
    assert places(code="b", cents=300) is not made


class Labelled(Base):
    __tablename__ = "labelled"

    id = Column(Integer, primary_key=True)
    title = Column(String(20))
    code = Column(String(20))
    cents = Column(Integer)
    label = column_property(title + code)

    @hybrid_property
    def price(self):
        return self.cents / 100.0


class LabelledFactory(BaseFactory):
    class Meta:
        model = Labelled

    title = "home"
    code = "a"
    cents = 250


# What validators and setters may do


class Badge(Base):
    __tablename__ = "badge"

    id = Column(Integer, primary_key=True)
    team = Column(String(20))
    name = Column(String(40), unique=True)
    nick = Column(String(40), unique=True)
    holder_id = Column(ForeignKey("owner.id"))
    holder = relationship(Owner, backref=backref("badge", uselist=False))

    the_holder = None

    @validates("name")
    def _with_team(self, name, value):
        if self.the_holder is not None:
            self.holder = self.the_holder
        return f"{self.team}/{self.shortened(value)}"

    def shortened(self, value):
        return value[:3]


@event.listens_for(Badge.nick, "set", retval=True)
def _lower(target, value, old, initiator):
    return value.lower()


class BadgeFactory(BaseFactory):
    class Meta:
        model = Badge
        sqlalchemy_session_persistence = "flush"

    team = "red"
    name = "Alexandra"


def test_validator_that_reads_another_attribute(session):
    """A validator sees the values that the call gives, and the model's own methods."""
    badges = reuse_existing(BadgeFactory, on="name")
    session.add(Badge(team=None, name="Alexandra"))
    made = badges()
    assert made.name == "red/Ale"
    assert_reused(made, badges)
    assert badges(team="blue") is not made


def test_event_that_changes_a_value():
    """A listener of the attribute has the last word, as a validator has."""
    badges = reuse_existing(BadgeFactory, on="nick")
    made = badges(nick="Lex")
    assert find(badges, nick="LEX") is made
    assert_reused(made, badges, nick="LEX")


def test_validator_that_assigns_a_parent(session, monkeypatch):
    """Finding out what a validator makes of a value unlinks nothing."""
    badges = reuse_existing(BadgeFactory, on="name")
    owner = Owner()
    session.add(owner)
    monkeypatch.setattr(Badge, "the_holder", owner)
    made = badges()
    session.commit()
    assert owner.badge is made
    assert badges() is made
    session.commit()
    assert made.holder_id == owner.id
