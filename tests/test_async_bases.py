"""Factories whose base is awaited: async-factory-boy's, and what cannot be made right."""

import asyncio
import inspect

import factory
import pytest
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError

pytest.importorskip("greenlet")

from drivers import async_engine, asynchronous, on

import shop
from factory_reuse import (
    MismatchWarning,
    ReuseError,
    ReuseMixin,
    SessionError,
    aio,
    get_or_create,
    no_reuse,
    reuse_existing,
)
from shop import Category, Product

AsyncSQLAlchemyFactory = pytest.importorskip(
    "async_factory_boy.factory.sqlalchemy"
).AsyncSQLAlchemyFactory
AsyncSession = pytest.importorskip("sqlalchemy.ext.asyncio").AsyncSession

Base = shop.Base  # whose tables `engine` makes


@pytest.fixture
def connect(driver, engine):
    made = async_engine(driver, engine)
    return lambda: AsyncSession(made, expire_on_commit=False)


def factories(session, declare=reuse_existing):
    """Declare factories on the asynchronous base, as its documentation shows."""

    class BaseFactory(AsyncSQLAlchemyFactory):
        class Meta:
            abstract = True
            sqlalchemy_session = session

    @declare
    class CategoryFactory(BaseFactory):
        class Meta:
            model = Category

        name = "Books"
        color = "grey"

    @declare
    class ProductFactory(BaseFactory):
        class Meta:
            model = Product

        sku = factory.Sequence("sku-{}".format)
        category = factory.SubFactory(CategoryFactory)

    return CategoryFactory, ProductFactory


async def skus(session):
    return sorted((await session.execute(select(Product.sku))).scalars())


@on()
@asynchronous
async def test_awaited(connect):
    """What is awaited is reused, alone and as a SubFactory."""
    async with connect() as session:
        CategoryFactory, ProductFactory = factories(session)
        books = await CategoryFactory(name="Books")
        assert await CategoryFactory.create(name="Books") is books
        assert (await CategoryFactory(name="Music")) is not books
        assert await CategoryFactory.create_batch(2) == [books, books]
        product = await ProductFactory(sku="a")
        assert product.category is books
        assert await ProductFactory(sku="a") is product
        assert await aio.create(session, ProductFactory, sku="a") is product
        assert await aio.get_or_create(session, CategoryFactory) == (books, False)
        rows = [{"name": "Books"}, {"name": "Films"}]
        many = [obj async for obj in aio.create_many(session, CategoryFactory, rows)]
        assert many[0] is books
        assert many[1].name == "Films"
    async with connect() as session:
        CategoryFactory, _ = factories(session)
        assert (await CategoryFactory()).id == books.id  # the base commits


@on("asyncpg", "psycopg", "aiomysql")
@asynchronous
async def test_lost_race(connect):
    """A lost race takes back nothing else, where the base itself would roll the session back."""
    async with connect() as ours, connect() as theirs:
        _, ProductFactory = factories(ours)
        ours.add(Category(name="own"))
        await ours.flush()
        winner = Category(name="Books", color="grey")
        theirs.add(winner)
        await theirs.flush()
        task = asyncio.ensure_future(ProductFactory(sku="a"))
        assert not (await asyncio.wait([task], timeout=0.3))[0]
        await theirs.commit()
        product = await task
        assert product.category.id == winner.id
        names = (await ours.execute(select(Category.name))).scalars()
        assert sorted(names) == ["Books", "own"]


@on("aiosqlite")
@asynchronous
async def test_mixin(connect):
    """The mixin does the same as the decorator."""
    async with connect() as session:

        class Mixed(ReuseMixin, AsyncSQLAlchemyFactory):
            class Meta:
                model = Category
                sqlalchemy_session = session

            name = "Books"

        assert await Mixed() is await Mixed()


@on("aiosqlite")
@asynchronous
async def test_warning(connect):
    """A MismatchWarning points to the line that awaits."""
    async with connect() as session:
        CategoryFactory, _ = factories(session)
        await CategoryFactory(name="Books")
        with pytest.warns(MismatchWarning, match="color='red'") as seen:
            await CategoryFactory(color="red")
        line = inspect.currentframe().f_lineno - 1
    assert [(each.filename, each.lineno) for each in seen] == [(__file__, line)]


@on("aiosqlite")
@asynchronous
async def test_off(connect):
    """Without reuse, and for what is only built, the base does all."""
    async with connect() as session:
        CategoryFactory, _ = factories(session)
        await CategoryFactory(name="Books")
        with no_reuse(), pytest.raises(IntegrityError):
            await CategoryFactory(name="Books")
        assert CategoryFactory.build().id is None


@on("aiosqlite")
@asynchronous
async def test_synchronous_call(connect):
    """What would have to be awaited says so, and leaves nothing behind."""
    async with connect() as session:
        CategoryFactory, _ = factories(session)
        with pytest.raises(SessionError, match=r"Await it, or call it through factory_reuse\.aio"):
            get_or_create(CategoryFactory)
        assert (await session.execute(select(Category))).first() is None


@on("aiosqlite")
@asynchronous
async def test_decorated_child_alone(connect):
    """A SubFactory that reuses below an asynchronous parent that does not is an error."""
    async with connect() as session:
        CategoryFactory, PlainFactory = factories(session, lambda plain: plain)
        reuse_existing(CategoryFactory)
        with pytest.raises(SessionError, match="let the one above it reuse, too"):
            await PlainFactory(sku="a")


def test_coroutine_of_its_own():
    """A base that builds in a coroutine of its own is refused where it is declared."""

    class Awaited(factory.Factory):
        class Meta:
            abstract = True

        @classmethod
        async def _generate(cls, strategy, params):
            return super()._generate(strategy, params)

    class CategoryFactory(Awaited):
        class Meta:
            model = Category

    message = "CategoryFactory builds its objects in a coroutine.*Base it on .*aio"
    with pytest.raises(ReuseError, match=message):
        reuse_existing(CategoryFactory)
    with pytest.raises(ReuseError, match=message):
        type(
            "CategoryFactory",
            (ReuseMixin, Awaited),
            {"Meta": type("Meta", (), {"model": Category})},
        )
