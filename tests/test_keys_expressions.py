"""Unique indexes over expressions: the expression on both sides."""

import factory
import pytest
from keyed import BaseFactory, assert_reused, current, persisting, rows
from sqlalchemy import (
    Boolean,
    Column,
    ForeignKey,
    Index,
    Integer,
    String,
    column,
    desc,
    func,
    literal_column,
    text,
)
from sqlalchemy.orm import declarative_base, relationship

from factory_reuse import MismatchError, UniqueKeyError, find, reuse_existing

# MariaDB has no indexes over expressions.
pytestmark = pytest.mark.backends("sqlite", "sqlite-file", "postgresql")

Base = declarative_base()


@pytest.fixture(autouse=True)
def _current(session):
    with current(session):
        yield


@pytest.fixture(params=[None, "flush"])
def persistence(request):
    return request.param


class Reader(Base):
    __tablename__ = "reader"

    id = Column(Integer, primary_key=True)
    email = Column("e_mail", String(20))
    nick = Column(String(20), unique=True)


Index("ux_reader_email", func.lower(Reader.email), unique=True)


class Folder(Base):
    __tablename__ = "folder"

    id = Column(Integer, primary_key=True)
    parent_id = Column(Integer, ForeignKey("folder.id"))
    parent = relationship("Folder", remote_side=id)
    name = Column(String(20))


Index("ux_folder", func.coalesce(Folder.parent_id, 0), Folder.name, unique=True)


class Room(Base):
    """A partial index over an expression, and one that is merely sorted."""

    __tablename__ = "room"

    id = Column(Integer, primary_key=True)
    name = Column(String(20))
    floor = Column(Integer)
    number = Column(Integer)
    open = Column(Boolean, default=True)


Index(
    "ux_room_name",
    func.lower(Room.name),
    unique=True,
    sqlite_where=Room.open,
    postgresql_where=Room.open,
)
Index("ux_room_number", Room.floor, desc(Room.number), unique=True)


def _indexed(table, *elements, called="name", **where):
    body = {
        "__tablename__": table,
        "__table_args__": (Index(f"ux_{table}", *elements, unique=True, **where),),
        "id": Column(Integer, primary_key=True),
        "name": Column(called, String(20)),
        "shelf": Column(Integer),
    }
    return type(table.title(), (Base,), body)


INDEXED = {
    "text": _indexed("of_text", func.lower(text("name")), "shelf"),
    "literal": _indexed("of_literal", func.lower(literal_column("name")), "shelf"),
    "name": _indexed("of_name", func.lower(column("name")), "shelf"),
    "quoted": _indexed("of_quoted", func.lower(column("a name")), "shelf", called="a name"),
    "whole": _indexed("whole", literal_column("lower(name)"), "shelf"),
    "descending": _indexed("descending", func.lower(column("name")).desc(), "shelf"),
    "predicate": _indexed(
        "predicate",
        func.lower(text("name")),
        sqlite_where=column("shelf") == 1,
        postgresql_where=literal_column("shelf") == 1,
    ),
}


class Spelled(Base):
    """An expression given as text."""

    __tablename__ = "spelled"
    __table_args__ = (Index("ux_spelled", text("lower(name)"), unique=True),)

    id = Column(Integer, primary_key=True)
    name = Column(String(20))


class Only(Base):
    """A table for one row: the index has no column."""

    __tablename__ = "only"
    __table_args__ = (Index("ux_only", func.abs(1), unique=True),)

    id = Column(Integer, primary_key=True)
    name = Column(String(20))


class Ordered(Base):
    """Text that is more than an expression: nothing can be compared with it."""

    __tablename__ = "ordered"
    __table_args__ = (Index("ux_ordered", text("name DESC"), unique=True),)

    id = Column(Integer, primary_key=True)
    name = Column(String(20))


@reuse_existing(on_mismatch="keep")
class ReaderFactory(BaseFactory):
    class Meta:
        model = Reader


@reuse_existing
class FolderFactory(BaseFactory):
    class Meta:
        model = Folder

    name = "etc"
    parent = None


@reuse_existing(on_mismatch="keep")
class RoomFactory(BaseFactory):
    class Meta:
        model = Room


@reuse_existing(on_mismatch="keep")
class SpelledFactory(BaseFactory):
    class Meta:
        model = Spelled

    name = "Ann"


@reuse_existing
class OrderedFactory(BaseFactory):
    class Meta:
        model = Ordered

    name = "a"


# lower(email)


def test_lower(persistence):
    """What is equal under the expression is the same row, in either spelling."""
    readers = persisting(ReaderFactory, persistence)
    made = readers(email="Ann@x.org")
    assert_reused(made, readers, email="Ann@x.org")
    assert_reused(made, readers, email="ann@X.ORG")
    assert readers(email="bob@x.org") is not made
    assert (made.email, rows(Reader)) == ("Ann@x.org", 2)


def test_lower_of_pending(make_session, persistence):
    """An object that no SELECT can see yet is found in either spelling too."""
    readers = persisting(ReaderFactory, persistence)
    with current(make_session(autoflush=False)) as session:
        made = Reader(email="Ann@x.org")
        session.add(made)
        assert readers(email="ANN@x.org") is made
        session.commit()
        made.email = "Eve@x.org"
        assert readers(email="EVE@x.org") is made
        assert readers(email="ANN@x.org") is not made
        assert rows(Reader) == 2


def test_lower_of_null(persistence):
    """Of NULL the expression is NULL, and NULLs are distinct."""
    readers = persisting(ReaderFactory, persistence)
    assert readers(email=None) is not readers(email=None)
    assert rows(Reader) == 2


def test_expression_and_another_key():
    """A row found by another key must agree under the expression, not to the letter."""
    made = ReaderFactory(email="Ann@x.org", nick="ann")
    ReaderFactory(email="Bob@x.org", nick="bob")
    with pytest.raises(MismatchError):
        ReaderFactory(nick="ann", email="bob@x.org")
    assert_reused(made, ReaderFactory, nick="ann", email="Ann@x.org")
    assert_reused(made, ReaderFactory, nick="ann", email="ann@x.org")
    assert rows(Reader) == 2


# coalesce(parent_id, 0), name


def test_coalesce(persistence):
    """An expression that replaces NULL makes a row without a parent unique as well."""
    folders = persisting(FolderFactory, persistence)
    root = folders()
    assert_reused(root, folders)
    assert_reused(root, folders, parent=None)
    assert_reused(root, folders, name="etc")
    child = folders(parent=root)
    assert child is not root
    assert_reused(child, folders, parent=root)
    assert folders(parent=child) is not child
    assert rows(Folder) == 3


def test_coalesce_by_column(persistence):
    """The expression's foreign key is given by its column as well, or not at all."""

    @reuse_existing
    class PlainFactory(BaseFactory):
        class Meta:
            model = Folder

    folders = persisting(PlainFactory, persistence)
    root = folders(name="etc")
    assert_reused(root, folders, name="etc")
    assert_reused(root, folders, name="etc", parent_id=None)
    child = folders(name="etc", parent_id=root.id)
    assert_reused(child, folders, name="etc", parent=root)
    assert_reused(child, folders, name="etc", parent_id=root.id)
    assert rows(Folder) == 2


def test_coalesce_of_a_pending_parent(make_session):
    """A child of a pending parent is found, although the expression has no value yet."""
    with current(make_session(autoflush=False)) as session:
        root, other = Folder(name="root"), Folder(name="other")
        session.add_all([root, other])
        made = FolderFactory(parent=root)
        assert FolderFactory(parent=root) is made
        assert FolderFactory(parent=other) is not made
        assert root.id is None
        assert_reused(made, FolderFactory, parent=root)
        assert rows(Folder) == 4


def test_coalesce_of_a_transient_parent(persistence):
    """A transient parent has no child, and a child of it is not one without a parent."""
    folders = persisting(FolderFactory, persistence)
    root = folders()
    first, second = folders(parent=Folder(name="a")), folders(parent=Folder(name="b"))
    assert len({root, first, second}) == 3
    assert_reused(first, folders, parent=first.parent)
    assert rows(Folder) == 5


def test_nested_coalesce():
    """A path of SubFactories leads to the same rows each time."""

    class PathFactory(FolderFactory):
        name = "apt"
        parent = factory.SubFactory(FolderFactory)

    assert find(PathFactory) is None
    made = PathFactory()
    assert_reused(made, PathFactory)
    assert find(PathFactory) is made
    assert find(PathFactory, parent__name="var") is None
    assert rows(Folder) == 2


# Others


def test_partial_expression(persistence):
    """The predicate of an index over an expression holds for both rows too."""
    rooms = persisting(RoomFactory, persistence)
    closed = rooms(name="A", open=False)
    made = rooms(name="A")
    assert made is not closed
    assert_reused(made, rooms, name="a")
    assert rooms(name="a", open=False) not in (made, closed)
    assert rows(Room) == 3


def test_sorted_column(persistence):
    """The order of an index's column says nothing about its key."""
    rooms = persisting(RoomFactory, persistence)
    made = rooms(floor=1, number=2)
    assert_reused(made, rooms, floor=1, number=2)
    assert rooms(floor=2, number=2) is not made
    assert rows(Room) == 2


def test_text(persistence):
    """The columns in an expression given as text are found."""
    spelled = persisting(SpelledFactory, persistence)
    made = spelled()
    assert_reused(made, spelled)
    assert_reused(made, spelled, name="ANN")
    assert spelled(name="Bob") is not made
    assert rows(Spelled) == 2


@pytest.mark.parametrize("spelling", INDEXED)
def test_spellings(spelling, persistence):
    """Text, and names that name no table, are the table's columns, as the database takes them."""

    class IndexedFactory(BaseFactory):
        class Meta:
            model = INDEXED[spelling]

        name = "Ann"
        shelf = 1

    indexed = persisting(reuse_existing(IndexedFactory), persistence)
    made = indexed()
    assert_reused(made, indexed)
    assert_reused(made, indexed, name="ANN")
    assert indexed(shelf=2) is not made
    assert rows(INDEXED[spelling]) == 2


def test_text_with_an_order_is_no_key():
    """An index over other text is no key: a factory with nothing else is told so."""
    with pytest.raises(UniqueKeyError, match="Ordered"):
        OrderedFactory()
    assert rows(Ordered) == 0


def test_an_expression_without_a_column_is_no_key():
    """Nor is an index that lets a table have one row: no value says which."""

    class OnlyFactory(BaseFactory):
        class Meta:
            model = Only

        name = "a"

    with pytest.raises(UniqueKeyError, match="Only"):
        reuse_existing(OnlyFactory)()
    assert rows(Only) == 0


def test_expression_in_messages():
    """The value of an expression is shown as the row has it."""
    readers = persisting(ReaderFactory, "flush")
    made = readers(email="Ann@example.org", nick="ann")
    with pytest.raises(MismatchError) as raised:
        readers(email="ann@example.org", nick="ben")
    assert raised.value.instance is made
    assert "(lower(reader.e_mail)='Ann@example.org')" in str(raised.value)
