"""Lookups do not depend on how the model loads its relationships."""

import factory
import pytest
from keyed import BaseFactory, assert_reused, current, persisting, rows
from sqlalchemy import Column, ForeignKey, Integer, String
from sqlalchemy.orm import declarative_base, relationship

from factory_reuse import get_or_create, reuse_existing

Base = declarative_base()


@pytest.fixture(autouse=True)
def _current(session):
    with current(session):
        yield


class Shelf(Base):
    __tablename__ = "shelf"

    id = Column(Integer, primary_key=True)
    name = Column(String(20), unique=True)
    # Unread, on purpose: any load of it is an error.
    owner_id = Column(Integer, ForeignKey("shelf.id"))
    owner = relationship("Shelf", remote_side=id, lazy="raise")


class Book(Base):
    __tablename__ = "book"

    id = Column(Integer, primary_key=True)
    title = Column(String(20), unique=True)
    shelf_id = Column(Integer, ForeignKey("shelf.id"))
    shelf = relationship(Shelf, lazy="joined", innerjoin=True)
    pages = relationship("Page", lazy="joined", innerjoin=True, back_populates="book")


class Author(Base):
    __tablename__ = "author"

    id = Column(Integer, primary_key=True)
    name = Column(String(20), unique=True)
    number = Column(Integer, unique=True)
    letters = relationship("Letter", lazy="subquery")


class Letter(Base):
    __tablename__ = "letter"

    id = Column(Integer, primary_key=True)
    author_id = Column(Integer, ForeignKey("author.id"))


class Page(Base):
    __tablename__ = "page"

    id = Column(Integer, primary_key=True)
    number = Column(Integer, unique=True)
    book_id = Column(Integer, ForeignKey("book.id"))
    book = relationship(Book, lazy="joined", innerjoin=True, back_populates="pages")


@reuse_existing
class ShelfFactory(BaseFactory):
    class Meta:
        model = Shelf

    name = "top"


@reuse_existing
class BookFactory(BaseFactory):
    class Meta:
        model = Book

    title = "Emma"


@reuse_existing
class PageFactory(BaseFactory):
    class Meta:
        model = Page

    number = 1
    book = factory.SubFactory(BookFactory)


@pytest.fixture(params=[None, "flush"])
def books(request):
    return persisting(BookFactory, request.param)


def test_inner_join_hides_no_row(session, books):
    """A row without a parent is found, although the model joins the parent with an inner join."""
    made = books()
    assert_reused(made, books)
    session.expunge_all()
    found, created = get_or_create(books)
    assert (found.title, created) == ("Emma", False)
    assert (found.shelf, found.pages) == (None, [])
    assert rows(Book) == 1


def test_inner_join_behind_a_join(session):
    """Nor is one whose parent's own joins would lose it."""
    made = PageFactory()
    assert_reused(made, PageFactory)
    assert_reused(made, PageFactory, number=1)
    session.expunge_all()
    found, created = get_or_create(PageFactory, number=1)
    assert (found.book.title, created) == ("Emma", False)
    assert (rows(Book), rows(Page)) == (1, 1)


def test_inner_join_loads_the_parent(session, books, statements):
    """A joined parent that is there still comes with the row, in one SELECT."""
    books(shelf=ShelfFactory())
    session.commit()
    session.expunge_all()
    with statements() as seen:
        found = books()
        assert found.shelf.name == "top"
    assert seen == ["SELECT"]
    assert (rows(Shelf), rows(Book)) == (1, 1)


def test_joined_collection_makes_no_duplicates(session, books):
    """A row joined with several of a collection is still one row."""
    made = books()
    for number in range(3):
        PageFactory(number=number, book=made)
    assert_reused(made, books)
    session.expunge_all()
    found = books()
    assert len(found.pages) == 3
    assert (rows(Book), rows(Page)) == (1, 3)


def test_relationship_that_must_not_be_loaded(session):
    """A relationship that raises when loaded is not touched by a lookup."""
    made = ShelfFactory(owner=ShelfFactory(name="owner"))
    assert_reused(made, ShelfFactory)
    session.commit()
    owner_id = made.owner_id
    session.expunge_all()
    assert ShelfFactory().owner_id == owner_id
    assert rows(Shelf) == 2


@pytest.mark.backends("postgresql", "mariadb")
@pytest.mark.parametrize("parent", [True, False], ids=["with parent", "without"])
def test_locking_read_after_a_refused_insert(session, make_session, parent):
    """The row of the winner of a race is found, its eager joins notwithstanding."""

    class RacedFactory(persisting(BookFactory, "flush")):
        @factory.lazy_attribute
        def shelf_id(self):
            with make_session() as winner:
                shelf = Shelf(name="won") if parent else None
                winner.add(Book(title="Raced", shelf=shelf))
                winner.commit()

    found, created = get_or_create(RacedFactory, title="Raced")
    assert (found.title, created) == ("Raced", False)
    assert (found.shelf_id is not None) is parent
    session.commit()  # MariaDB's snapshot shows neither the row nor its parent
    assert (found.shelf is not None) is parent
    assert rows(Book) == 1


@reuse_existing
class AuthorFactory(BaseFactory):
    class Meta:
        model = Author


class Text(str):
    """A text of the project's own kind."""

    __slots__ = ()


def test_one_select_for_all_values(session):
    """What is loaded along with a row is that of this row, whichever was asked for before."""
    session.add_all(
        Author(name=name, number=number, letters=[Letter() for _ in range(number)])
        for number, name in enumerate("012")
    )
    session.commit()
    for name in ["0", "1", Text("2"), "2", "1"]:
        author = AuthorFactory(name=name)
        assert (author.name, len(author.letters)) == (name, int(name))
        session.expunge_all()
    for number in [2, True, 1, False, "2"]:
        author = AuthorFactory(number=number)
        assert author.number == len(author.letters) == int(number)
        session.expunge_all()
