"""Primary keys: keys only where their values are passed or declared."""

import pytest
from keyed import BaseFactory, assert_reused, current, persisting, rows
from sqlalchemy import Column, Integer, String
from sqlalchemy.orm import declarative_base

from factory_reuse import UniqueKeyError, create_many, reuse_existing

Base = declarative_base()


@pytest.fixture(autouse=True)
def _current(session):
    with current(session):
        yield


class Country(Base):
    __tablename__ = "country"

    code = Column(String(2), primary_key=True)


class Seat(Base):
    __tablename__ = "seat"

    row = Column(String(2), primary_key=True)
    number = Column(Integer, primary_key=True, autoincrement=False)


class Note(Base):
    __tablename__ = "note"

    id = Column(Integer, primary_key=True)
    body = Column(String(20))


@reuse_existing
class CountryFactory(BaseFactory):
    class Meta:
        model = Country

    code = "FR"


@reuse_existing
class SeatFactory(BaseFactory):
    class Meta:
        model = Seat

    row = "A"


@reuse_existing
class NoteFactory(BaseFactory):
    class Meta:
        model = Note


def test_declared_primary_key():
    """A primary key that the factory declares is a key."""
    made = CountryFactory()
    assert_reused(made, CountryFactory)
    assert CountryFactory(code="DE") is not made
    assert rows(Country) == 2


def test_composite_primary_key():
    """A composite primary key is a key once it is whole."""
    made = SeatFactory(number=1)
    assert_reused(made, SeatFactory, number=1)
    assert SeatFactory(number=2) is not made
    assert rows(Seat) == 2
    with pytest.raises(UniqueKeyError):
        SeatFactory()


def test_primary_key_only_when_passed():
    """A primary key that nothing gives is no key; passed, it is one."""
    made = NoteFactory(id=7, body="x")
    assert_reused(made, NoteFactory, id=7)
    with pytest.raises(UniqueKeyError, match=r"Note .*primary key \(id\)"):
        NoteFactory(body="x")
    assert rows(Note) == 1


def test_primary_key_as_a_string():
    """A string passed for an integer key is still that key."""
    made = NoteFactory(id=7)
    assert_reused(made, NoteFactory, id="7")
    assert rows(Note) == 1


def test_primary_key_first_given_as_a_string(session):
    """A row made with a string for its integer key is found by the integer, and by the string."""
    made = NoteFactory(id="7")
    assert NoteFactory(id=7) is made
    session.commit()
    session.expunge_all()  # SQLAlchemy would have two objects: it files the first under "7"
    again = NoteFactory(id=7)
    assert_reused(again, NoteFactory, id="7")
    assert (again.id, rows(Note)) == (7, 1)


def test_changed_primary_key(session):
    """A row given another primary key is found by the new one, not by the old."""
    made = CountryFactory(code="DD")
    session.flush()
    made.code = "DE"
    with session.no_autoflush:
        assert CountryFactory(code="DE") is made
    session.flush()
    assert CountryFactory(code="DD") is not made
    assert rows(Country) == 2


def test_rows_are_made_together(statements):
    """Rows that a primary key tells apart are inserted in one flush."""
    countries = persisting(CountryFactory, "flush")
    with statements() as seen:
        list(create_many(countries, [{"code": code} for code in ("FR", "DE", "IT", "FR")]))
    assert (seen.count("SELECT"), seen.count("SAVEPOINT")) == (1, 1)
    assert rows(Country) == 3
