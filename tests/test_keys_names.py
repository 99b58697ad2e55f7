"""Keys behind other names and under each way of flushing: private columns, hybrids, validators."""

import pytest
from keyed import BaseFactory, assert_reused, current, persisting, rows
from sqlalchemy import Column, Integer, String, UniqueConstraint
from sqlalchemy.ext.hybrid import hybrid_property
from sqlalchemy.orm import declarative_base, synonym, validates

from factory_reuse import MismatchError, reuse_existing

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
