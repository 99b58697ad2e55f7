"""Models on the bases of other packages: SQLModel's and advanced-alchemy's."""

import datetime
from typing import List, Optional

import factory
import pytest
import sqlalchemy
from keyed import current

from factory_reuse import (
    aio,
    create_many,
    find,
    get_or_create,
    recycle,
    reuse_existing,
    use_session,
)
from shop import ShopFactory, rows

if sqlalchemy.__version__.startswith("1."):
    pytest.skip("these packages need SQLAlchemy 2", allow_module_level=True)

sqlmodel = pytest.importorskip("sqlmodel")
bases = pytest.importorskip("advanced_alchemy.base")

from advanced_alchemy.mixins import SlugKey
from drivers import async_engine, asynchronous, on
from sqlalchemy import ForeignKey, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column, relationship

# SQLModel


class Hero(sqlmodel.SQLModel, table=True):
    __table_args__ = (sqlmodel.UniqueConstraint("team_id", "name"),)
    id: Optional[int] = sqlmodel.Field(default=None, primary_key=True)
    name: str = sqlmodel.Field(max_length=50)
    age: int = 1
    team_id: Optional[int] = sqlmodel.Field(default=None, foreign_key="team.id")
    team: "Team" = sqlmodel.Relationship(back_populates="heroes")


class Team(sqlmodel.SQLModel, table=True):
    id: Optional[int] = sqlmodel.Field(default=None, primary_key=True)
    name: str = sqlmodel.Field(unique=True, max_length=50)
    heroes: List["Hero"] = sqlmodel.Relationship(back_populates="team")


@reuse_existing
class TeamFactory(ShopFactory):
    class Meta:
        model = Team

    name = "Preventers"


@reuse_existing
class HeroFactory(ShopFactory):
    class Meta:
        model = Hero

    name = "Deadpond"
    team = factory.SubFactory(TeamFactory)


@pytest.fixture
def sqlmodel_session(engine):
    sqlmodel.SQLModel.metadata.create_all(engine)
    with sqlmodel.Session(engine) as session, current(session):
        yield session


def test_sqlmodel(sqlmodel_session):
    """Its models, whose objects are equal by value and have no hash, are reused."""
    hero = HeroFactory()
    assert HeroFactory(age=1) is hero
    assert HeroFactory(name="Rusty-Man").team is hero.team
    sqlmodel_session.commit()
    assert get_or_create(HeroFactory, team__name="Preventers") == (hero, False)
    made = list(create_many(HeroFactory, [{"name": "Deadpond"}, {"name": "Black"}]))
    assert made[0] is hero
    with recycle(hero.team):
        assert HeroFactory(name="Spider-Boy").team is hero.team
    assert sqlmodel_session.exec(sqlmodel.select(Team)).all() == [hero.team]
    assert rows(Hero) == [4]


@on()
@asynchronous
async def test_sqlmodels_async_session(driver, engine):
    """Its AsyncSession is one."""
    from sqlmodel.ext.asyncio.session import AsyncSession

    sqlmodel.SQLModel.metadata.create_all(engine)
    async with AsyncSession(async_engine(driver, engine), expire_on_commit=False) as session:
        hero = await aio.create(session, HeroFactory)
        await session.commit()
        assert await aio.create(session, HeroFactory) is hero
        assert (await session.exec(sqlmodel.select(Team))).all() == [hero.team]


# advanced-alchemy


class Author(bases.UUIDAuditBase):
    __tablename__ = "author"
    name: Mapped[str] = mapped_column(sqlalchemy.String(50), unique=True)


class Book(bases.UUIDBase):
    __tablename__ = "book"
    __table_args__ = (UniqueConstraint("author_id", "title", name="uq_book"),)
    title: Mapped[str] = mapped_column(sqlalchemy.String(50))
    author_id: Mapped[object] = mapped_column(ForeignKey("author.id"))
    author: Mapped[Author] = relationship()


class Page(bases.BigIntBase, SlugKey):
    __tablename__ = "page"
    title: Mapped[str] = mapped_column(sqlalchemy.String(50))


@reuse_existing
class AuthorFactory(ShopFactory):
    class Meta:
        model = Author

    name = "Austen"


@reuse_existing
class BookFactory(ShopFactory):
    class Meta:
        model = Book

    title = "Emma"
    author = factory.SubFactory(AuthorFactory)


@reuse_existing
class PageFactory(ShopFactory):
    class Meta:
        model = Page

    title = "A page"
    slug = factory.LazyAttribute(lambda o: o.title.lower().replace(" ", "-"))


@pytest.fixture
def made(engine):
    tables = [model.__table__ for model in (Author, Book, Page)]
    bases.UUIDBase.metadata.create_all(engine, tables)
    bases.BigIntBase.metadata.create_all(engine, tables)


def test_advanced_alchemy(made, session):
    """Its keys, which are UUIDs that Python makes, and its audit columns are no hindrance."""
    with current(session):
        emma = BookFactory()
        assert isinstance(emma.author.created_at, (datetime.datetime, type(None)))
        assert BookFactory(author__name="Austen") is emma
        session.commit()
        assert BookFactory(author=emma.author) is emma
        assert find(BookFactory, author_id=emma.author_id) is emma
        assert next(create_many(BookFactory, [{}, {"title": "Persuasion"}])) is emma
        page = PageFactory()
        session.commit()
        assert PageFactory(slug="a-page") is page
        assert PageFactory(title="A page") is page
        assert rows(Author, Book, Page) == [1, 2, 1]


@on("aiosqlite", "asyncpg")
@asynchronous
async def test_advanced_alchemys_repository(driver, made, engine):
    """A repository's rows and a factory's are the same."""
    from advanced_alchemy.repository import SQLAlchemyAsyncRepository
    from sqlalchemy.ext.asyncio import AsyncSession

    class Authors(SQLAlchemyAsyncRepository[Author]):
        model_type = Author

    async with AsyncSession(async_engine(driver, engine), expire_on_commit=False) as session:
        authors = Authors(session=session)
        austen = await authors.add(Author(name="Austen"))
        emma = await aio.create(session, BookFactory)
        assert emma.author is austen
        assert await authors.count() == 1


def test_use_session(made, session):
    """A session is a session."""
    with use_session(session):
        assert AuthorFactory() is AuthorFactory()
