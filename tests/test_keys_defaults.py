"""Key columns that fill themselves, and factories left without a key."""

import itertools

import pytest
from keyed import BaseFactory, assert_reused, current, persisting, rows
from sqlalchemy import (
    Boolean,
    Column,
    FetchedValue,
    Index,
    Integer,
    String,
    UniqueConstraint,
    text,
)
from sqlalchemy.orm import declarative_base

from factory_reuse import UniqueKeyError, get_or_create, reuse_existing

Base = declarative_base()


@pytest.fixture(autouse=True)
def _current(session):
    with current(session):
        yield


# Columns that fill themselves


class Setting(Base):
    __tablename__ = "setting"
    __table_args__ = (UniqueConstraint("name", "kind", "hidden", "level"),)

    id = Column(Integer, primary_key=True)
    name = Column(String(20))
    kind = Column(String(20), default="plain")
    hidden = Column(Boolean, default=False)
    level = Column(Integer, default=0)


@reuse_existing
class SettingFactory(BaseFactory):
    class Meta:
        model = Setting

    name = "colour"


@pytest.mark.parametrize("other", [{"kind": "rare"}, {"hidden": True}, {"level": 1}], ids=str)
def test_scalar_default(other):
    """A key column with a scalar Python default need not be declared."""
    made = SettingFactory()
    assert_reused(made, SettingFactory)
    assert_reused(made, SettingFactory, kind="plain", hidden=False, level=0)
    assert SettingFactory(**other) is not made
    assert rows(Setting) == 2


@pytest.mark.parametrize("persistence", [None, "flush"])
def test_none_where_there_is_a_default(session, persistence):
    """Passing None leaves the column to its default, as SQLAlchemy does; so it is that key."""
    settings = persisting(SettingFactory, persistence)
    made = settings(kind=None)
    session.flush()
    assert made.kind == "plain"
    assert_reused(made, settings, kind=None)
    assert_reused(made, settings)
    assert rows(Setting) == 1


_numbers = itertools.count()


class Ticket(Base):
    """Keys with a column whose value is not known before the INSERT."""

    __tablename__ = "ticket"
    __table_args__ = (
        UniqueConstraint("name", "called"),
        UniqueConstraint("name", "served"),
        UniqueConstraint("name", "triggered"),
        # As `index=True` beside a constraint makes one: it is no other key.
        Index("ix_ticket", "name", "called", unique=True),
    )

    id = Column(Integer, primary_key=True)
    name = Column(String(20))
    called = Column(Integer, default=lambda: next(_numbers))
    served = Column(Integer, server_default=text("NULL"))
    triggered = Column(Integer, server_default=FetchedValue())


@reuse_existing
class ReusingBase(BaseFactory):
    class Meta:
        abstract = True


class InheritingTicketFactory(ReusingBase):
    class Meta:
        model = Ticket

    name = "a"


@reuse_existing
class TicketFactory(BaseFactory):
    class Meta:
        model = Ticket

    name = "a"


@pytest.mark.parametrize("column", ["called", "served", "triggered"])
def test_column_filled_at_the_insert(column):
    """A key column filled by a callable or by the server is a key only with a value of its own."""
    made = InheritingTicketFactory()
    assert InheritingTicketFactory() is not made
    passed = InheritingTicketFactory(**{column: -5})
    assert_reused(passed, InheritingTicketFactory, **{column: -5})
    assert_reused(passed, TicketFactory, **{column: -5})
    assert rows(Ticket) == 3


def test_no_usable_key():
    """A directly decorated factory without a usable key is an error that says what to write."""
    with pytest.raises(UniqueKeyError) as caught:
        TicketFactory()
    message = str(caught.value)
    assert message.startswith("TicketFactory: Ticket has no unique key")
    looked_at = message.partition("Looked at: ")[2].partition("; declared")[0].split("; ")
    pairs = [f"unique (name, {column})" for column in ("called", "served", "triggered")]
    assert sorted(looked_at) == ["primary key (id)", *pairs]
    assert "on=(" in message
    assert (caught.value.factory, caught.value.model) == ("TicketFactory", "Ticket")
    assert rows(Ticket) == 0


def test_no_usable_key_under_an_abstract_base():
    """A factory that inherits reuse creates where there is no key, and is told so by no error."""
    made, created = get_or_create(InheritingTicketFactory)
    again, created_again = get_or_create(InheritingTicketFactory)
    assert (created, created_again) == (True, True)
    assert made is not again
    assert rows(Ticket) == 2
