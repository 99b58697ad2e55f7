"""Models that are dataclasses, with fields that their constructor does not take."""

import factory
import pytest
import sqlalchemy
from keyed import current
from sqlalchemy import ForeignKey, String, UniqueConstraint

from factory_reuse import (
    MismatchError,
    UniqueKeyError,
    create_many,
    find,
    recycle,
    reuse_existing,
    watch,
)
from shop import ShopFactory, rows

if sqlalchemy.__version__.startswith("1."):
    pytest.skip("SQLAlchemy 1.4 has no MappedAsDataclass", allow_module_level=True)

from sqlalchemy.orm import DeclarativeBase, Mapped, MappedAsDataclass, mapped_column, relationship


class Base(MappedAsDataclass, DeclarativeBase):
    pass


class Author(Base):
    __tablename__ = "author"
    id: Mapped[int] = mapped_column(init=False, primary_key=True)
    name: Mapped[str] = mapped_column(String(50), unique=True)
    rank: Mapped[int] = mapped_column(default=1)


class Page(Base):
    """Fills its key itself."""

    __tablename__ = "page"
    __table_args__ = (UniqueConstraint("author_id", "title"),)
    id: Mapped[int] = mapped_column(init=False, primary_key=True)
    title: Mapped[str] = mapped_column(String(50))
    author: Mapped[Author] = relationship()
    author_id: Mapped[int] = mapped_column(ForeignKey("author.id"), init=False)
    slug: Mapped[str] = mapped_column(String(50), init=False, unique=True)

    def __post_init__(self) -> None:
        self.slug = self.title.lower()


class Note(Base):
    __tablename__ = "note"
    id: Mapped[int] = mapped_column(init=False, primary_key=True)
    text: Mapped[str] = mapped_column(String(50))
    slug: Mapped[str] = mapped_column(String(50), init=False, unique=True)

    def __post_init__(self) -> None:
        self.slug = self.text.lower()


@reuse_existing
class AuthorFactory(ShopFactory):
    class Meta:
        model = Author

    name = "Austen"


@reuse_existing
class PageFactory(ShopFactory):
    class Meta:
        model = Page

    title = "Emma"
    author = factory.SubFactory(AuthorFactory)


@pytest.fixture(autouse=True)
def used(session):
    with current(session):
        yield session


def test_reused(used):
    """Keys and parents are found by what the constructor takes."""
    emma = PageFactory()
    used.commit()
    assert PageFactory(title="Emma", author__name="Austen") is emma
    assert find(PageFactory) is emma
    assert AuthorFactory(name="Austen", rank=1) is emma.author
    assert list(create_many(AuthorFactory, [{"name": "Austen"}])) == [emma.author]
    with recycle(emma.author):
        assert PageFactory(title="Persuasion").author is emma.author
    assert rows(Author, Page) == [1, 2]


def test_key_that_is_not_passed():
    """Where the model alone knows the key, the error says what to do."""

    @reuse_existing
    class BareFactory(ShopFactory):
        class Meta:
            model = Note

            exclude = ("slug",)

        text = "Emma"
        slug = "emma"

    with pytest.raises(UniqueKeyError, match=r"unique \(slug\).*declared by the factory: text\. W"):
        BareFactory()


@pytest.mark.backends("sqlite", "postgresql")  # to MariaDB, "EMMA" is the same title
def test_key_that_only_the_insert_tells():
    """A row that is refused by a key which no lookup knew is not another's."""
    PageFactory()
    with pytest.raises(MismatchError, match=r"title='EMMA'.*has the key \(slug='emma'\)"):
        PageFactory(title="EMMA")
    assert rows(Author, Page) == [1, 1]


@pytest.mark.parametrize("where", ["exclude", "Params"])
def test_key_that_on_names(where):
    """A key that the model is not given is the factory's value of it, where `on` asks for it."""
    slug = factory.LazyAttribute(lambda o: o.title.lower())

    @reuse_existing(on="slug", on_mismatch="keep")
    class SlugFactory(ShopFactory):
        class Meta:
            model = Page
            exclude = ("slug",) if where == "exclude" else ()

        if where == "exclude":
            locals()["slug"] = slug
        else:
            Params = type("Params", (), {"slug": slug})
        title = "Emma"
        author = factory.SubFactory(AuthorFactory)

    emma = SlugFactory()
    with watch() as report:
        assert SlugFactory(title="EMMA", author=emma.author) is emma
        assert find(SlugFactory, title="EMMA") is emma
        assert SlugFactory(slug="emma") is emma
    assert {outcome.source for outcome in report.outcomes} == {"cache"}
    assert SlugFactory(title="Persuasion").slug == "persuasion"
    assert rows(Author, Page) == [1, 2]
