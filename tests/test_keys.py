"""Keys that the metadata gives: in each spelling, and when there are several."""

import factory
import pytest
from keyed import BaseFactory, assert_reused, current, rows
from sqlalchemy import Column, Index, Integer, String, UniqueConstraint
from sqlalchemy.orm import declarative_base

from factory_reuse import MismatchError, find, reuse_existing

Base = declarative_base()


@pytest.fixture(autouse=True)
def _current(session):
    with current(session):
        yield


# One key, in each spelling


class Spelled(Base):
    """One key in each spelling; a test gives one of them, and the others are NULL."""

    __tablename__ = "spelled"
    __table_args__ = (
        UniqueConstraint("x", "y"),
        UniqueConstraint("a_col", "b_col"),
        Index("ux_listed", "listed", unique=True),
    )

    id = Column(Integer, primary_key=True)
    x = Column(String(20))
    y = Column(Integer)
    a = Column("a_col", String(20))
    b = Column("b_col", String(20))
    flagged = Column(String(20), unique=True)
    listed = Column(String(20))
    indexed = Column(String(20), index=True, unique=True)
    renamed = Column("other_name", String(20), unique=True)


@reuse_existing
class SpelledFactory(BaseFactory):
    class Meta:
        model = Spelled


@pytest.mark.parametrize(
    ("key", "other"),
    [
        pytest.param({"x": "x", "y": 1}, {"x": "x", "y": 2}, id="UniqueConstraint"),
        pytest.param({"a": "x", "b": "x"}, {"a": "y", "b": "x"}, id="UniqueConstraint('a_col')"),
        pytest.param({"flagged": "x"}, {"flagged": "y"}, id="unique=True"),
        pytest.param({"listed": "x"}, {"listed": "y"}, id="Index(unique=True)"),
        pytest.param({"indexed": "x"}, {"indexed": "y"}, id="index=True, unique=True"),
        pytest.param({"renamed": "x"}, {"renamed": "y"}, id="Column('other_name')"),
    ],
)
def test_unique_in_each_spelling(key, other):
    """However uniqueness is spelled, it is a key; a value that differs is another row."""
    made = SpelledFactory(**key)
    assert SpelledFactory(**other) is not made
    assert_reused(made, SpelledFactory, **key)
    assert rows(Spelled) == 2


@pytest.mark.parametrize(
    "key",
    [{"flagged": None}, {"listed": None}, {"x": "x", "y": None}, {"x": None, "y": None}],
    ids=str,
)
def test_null_part_is_no_key(session, key):
    """NULLs are distinct: a key with a NULL part makes another row each time."""
    first, second = SpelledFactory(**key), SpelledFactory(**key)
    session.commit()
    assert len({first, second, SpelledFactory(**key)}) == 3
    assert rows(Spelled) == 3


def test_null_key_hides_no_other():
    """A key with a NULL part is passed over; the next one finds the row."""
    made = SpelledFactory(x="x", flagged="x")
    assert_reused(made, SpelledFactory, x="x", y=None, listed=None, flagged="x")
    assert rows(Spelled) == 1


# Several keys


class User(Base):
    __tablename__ = "users"
    __table_args__ = (UniqueConstraint("first", "last"),)

    id = Column(Integer, primary_key=True)
    first = Column(String(20))
    last = Column(String(20))
    username = Column(String(20), unique=True)
    email = Column(String(20), unique=True)


@reuse_existing
class UserFactory(BaseFactory):
    class Meta:
        model = User

    username = "bob"
    email = factory.Sequence("{}@x.org".format)
    first = "Bob"
    last = "Bell"


@pytest.fixture
def bob():
    return UserFactory()


@pytest.fixture
def cy():
    return UserFactory(username="cy", email="cy@x.org", first="Cy", last="Young")


@pytest.mark.parametrize(
    "key", [{"username": "cy"}, {"email": "cy@x.org"}, {"first": "Cy", "last": "Young"}], ids=str
)
def test_several_keys_are_alternatives(bob, cy, key):
    """Each key alone finds its row, and goes before those that the factory merely declares."""
    assert_reused(cy, UserFactory, **key)
    assert_reused(bob, UserFactory)
    assert rows(User) == 2


def test_narrowest_key_first(bob, cy):
    """With nothing passed, the key of fewest columns decides."""

    class BobNamedCy(UserFactory):
        first = "Cy"
        last = "Young"

    assert_reused(bob, BobNamedCy)
    assert rows(User) == 2


def test_most_passed_key_first(bob, cy):
    """A key of which more was passed goes before a narrower one, of which less was."""

    class BobNamedCy(UserFactory):
        first = "Cy"

    assert_reused(cy, BobNamedCy, last="Young")
    assert_reused(cy, UserFactory, first="Cy", last="Young")
    assert rows(User) == 2


def test_next_key_when_the_first_has_no_row(bob):
    """A passed key that no row has does not keep the next one from finding its row."""
    assert_reused(bob, UserFactory, username="bob", email=bob.email)
    assert find(UserFactory, email="new@x.org", username="bo", first="Bo", last="Bo") is None
    assert rows(User) == 1


@pytest.mark.parametrize(
    "passed",
    [
        {"username": "bob", "email": "cy@x.org"},
        {"username": "new", "email": "cy@x.org"},
        {"username": "bob", "first": "Cy", "last": "Young"},
        {"email": "new@x.org"},
        {"first": "Robert"},
    ],
    ids=str,
)
def test_passed_keys_must_agree(bob, cy, passed):
    """No row is returned that contradicts a passed value of any key, nor is one inserted."""
    with pytest.raises(MismatchError) as caught:
        UserFactory(**passed)
    assert caught.value.instance in (bob, cy)
    assert set(caught.value.values) <= set(passed)
    assert (bob.username, cy.username, rows(User)) == ("bob", "cy", 2)


def test_update_may_assign_another_key(session, bob):
    """Only on_mismatch="update" may change a row's other key to the passed value."""

    @reuse_existing(on_mismatch="update")
    class UpdatingFactory(UserFactory):
        pass

    assert UpdatingFactory(username="bob", email="new@x.org") is bob
    assert (bob.email, rows(User)) == ("new@x.org", 1)
    assert_reused(bob, UpdatingFactory, email="new@x.org", username="bob")


def test_primary_key_beside_another():
    """A passed primary key goes before a declared unique column, and must agree with a passed."""
    bob = UserFactory(id=1)
    cy = UserFactory(id=2, username="cy", first="Cy", last="Young")
    assert_reused(cy, UserFactory, id=2)
    assert_reused(bob, UserFactory, id=1, username="bob")
    with pytest.raises(MismatchError):
        UserFactory(id=2, username="bob")
    assert rows(User) == 2
