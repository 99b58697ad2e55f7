"""`factory_reuse.aio`: the same calls, awaited, with each driver."""

import asyncio
import inspect
import warnings

import factory
import pytest
from sqlalchemy import event, func, select

pytest.importorskip("greenlet")

from drivers import async_engine, asynchronous, on

import shop
from factory_reuse import (
    MismatchError,
    MismatchWarning,
    ReuseError,
    SessionError,
    aio,
    no_reuse,
    recycle,
    reuse_existing,
    use_session,
    watch,
)
from shop import Category, CategoryFactory, Line, Product, ProductFactory, ShopFactory

sqlalchemy_asyncio = pytest.importorskip("sqlalchemy.ext.asyncio")
AsyncSession = sqlalchemy_asyncio.AsyncSession

Base = shop.Base  # whose tables `engine` makes


@reuse_existing(on="number")
class LineFactory(ShopFactory):
    class Meta:
        model = Line

    number = 1
    product = factory.SubFactory(ProductFactory)


@pytest.fixture
def connect(driver, engine):
    """Make a session on the database: `async with connect() as session: ...`."""
    made = async_engine(driver, engine)

    def connect(**options):
        return AsyncSession(made, expire_on_commit=False, **options)

    return connect


async def names(session, column=Category.name):
    return sorted((await session.execute(select(column))).scalars())


@on()
@asynchronous
async def test_calls(connect):
    """Each call does what its namesake does; the factories are unchanged."""
    async with connect() as session:
        assert await aio.find(session, CategoryFactory, name="Books") is None
        books, created = await aio.get_or_create(session, CategoryFactory, name="Books")
        assert created
        assert books in session
        assert await aio.get_or_create(session, CategoryFactory, name="Books") == (books, False)
        assert await aio.create(session, CategoryFactory, name="Books") is books
        assert await aio.create_batch(session, CategoryFactory, 2, name="Books") == [books] * 2
        assert await aio.find(session, CategoryFactory, name="Books") is books
        product = await aio.create(session, ProductFactory, sku="a", category__name="Books")
        assert product.category is books
        line = await aio.create(session, LineFactory, product__sku="a")
        assert line.product is product
        rows = [{"name": name} for name in ("Books", "Music", "Books")]
        many = [obj async for obj in aio.create_many(session, CategoryFactory, rows)]
        assert many[0] is many[2] is books
        await session.commit()
    async with connect() as session:
        again = await aio.create(session, LineFactory, number=1)
        assert (again.id, again is line) == (line.id, False)
        assert await names(session) == ["Books", "Music"]


@on()
@asynchronous
async def test_rollback(connect):
    """A rollback takes back what was made, and the cache answers nothing of it."""
    async with connect() as session:
        first = await aio.create(session, ProductFactory, sku="a")
        await session.rollback()
        assert await aio.find(session, ProductFactory, sku="a") is None
        assert await aio.create(session, ProductFactory, sku="a") is not first
        await session.commit()
        assert await names(session, Product.sku) == ["a"]


@on()
@asynchronous
async def test_error(connect):
    """What a call raises undoes the call alone."""
    async with connect() as session:
        await aio.create(session, CategoryFactory, name="own", color="red")
        with pytest.raises(MismatchError):
            await aio.create(session, raising, name="own", color="blue")
        with pytest.raises(ZeroDivisionError):
            await aio.create(session, ProductFactory, sku="a", title=factory.LazyFunction(fail))
        await session.commit()
        assert await names(session) == ["own"]


raising = shop.with_policy(CategoryFactory, "raise")


def fail():
    return 1 / 0


@on("asyncpg", "psycopg", "aiomysql")
@asynchronous
async def test_lost_race(connect):
    """A call that waits for another's uncommitted row gets that row, and keeps earlier work."""
    async with connect() as ours, connect() as theirs:
        await aio.create(ours, CategoryFactory, name="own")
        winner = await aio.create(theirs, CategoryFactory, name="Books", color="red")
        waiting = asyncio.ensure_future(aio.create(ours, shop_quiet, name="Books", color="blue"))
        assert not (await asyncio.wait([waiting], timeout=0.3))[0]
        await theirs.commit()
        found = await waiting
        assert (found.id, found.color) == (winner.id, "red")
        await ours.commit()
        assert await names(ours) == ["Books", "own"]


shop_quiet = shop.with_policy(CategoryFactory, "keep")


@on("asyncpg", "psycopg")
@asynchronous
async def test_many_tasks(driver, engine):
    """50 tasks race for 20 keys: no duplicate, no lost row of a task, no connection kept."""
    made = async_engine(driver, engine, poolclass=None, pool_size=10, max_overflow=0)

    async def task(number):
        async with AsyncSession(made, expire_on_commit=False) as session:
            for step in range(20):
                key = (number + step * 7) % 20
                await aio.create(
                    session, ProductFactory, sku=f"{number}-{step}", category__name=f"{key}"
                )
                # Else tasks that hold one key and want another wait for each other, as they would
                # with plain SQL.
                if number % 5 == 0:
                    await session.rollback()
                else:
                    await session.commit()

    await asyncio.gather(*map(task, range(50)))
    assert made.pool.checkedout() == 0
    async with AsyncSession(made) as session:
        assert await names(session) == sorted(str(key) for key in range(20))
        skus = {f"{number}-{step}" for number in range(50) if number % 5 for step in range(20)}
        assert set(await names(session, Product.sku)) == skus
        matched = select(func.count()).select_from(Product).join(Product.category)
        assert (await session.execute(matched)).scalar() == len(skus)
    await made.dispose()


# Cancellation


def cancel_at(session, step):
    """Cancel the current task at the n-th statement that is sent, counting from 0."""
    task = asyncio.current_task()
    seen = []
    connection = session.bind.sync_engine

    def cancel(conn, cursor, statement, *args):
        if len(seen) == step:
            task.cancel()
        seen.append(statement)

    event.listen(connection, "before_cursor_execute", cancel)
    return seen, lambda: event.remove(connection, "before_cursor_execute", cancel)


@on()
@asynchronous
async def test_cancelled_at_each_statement(connect):
    """Wherever a call is cancelled, what came before stays, and the session can be used."""
    outcomes = []
    for step in range(20):
        async with connect() as session:
            await aio.create(session, CategoryFactory, name=f"own {step}")

            async def call(session=session, step=step):
                seen, stop = cancel_at(session, step)
                try:
                    await aio.create(
                        session, ProductFactory, sku=f"{step}", category__name=f"parent {step}"
                    )
                finally:
                    stop()
                    outcomes.append(seen)

            task = asyncio.ensure_future(call())
            await asyncio.wait([task])
            if not task.cancelled():
                await task
                break
            made = await aio.create(
                session, ProductFactory, sku=f"after {step}", category__name=f"own {step}"
            )
            await session.commit()
            assert made.category.name == f"own {step}"
    last = len(outcomes) - 1
    assert last > 5  # two SELECTs, two SAVEPOINTs, two INSERTs, their RELEASEs
    async with connect() as session:
        # The parent's own SAVEPOINT is released before its child's begins.
        whole = [f"own {step}" for step in range(last)]
        assert set(whole) <= set(await names(session))
        skus = await names(session, Product.sku)
        assert not set(skus) & {str(step) for step in range(last - 1)}
        assert {f"after {step}" for step in range(last)} <= set(skus)


@on("asyncpg", "psycopg")
@pytest.mark.parametrize("times", [1, 3])
@asynchronous
async def test_cancelled_while_it_waits(connect, times):
    """A call that waits for another's row ends at once, and takes nothing else with it."""
    async with connect() as ours, connect() as theirs:
        await aio.create(ours, CategoryFactory, name="own")
        await aio.create(theirs, CategoryFactory, name="Books")
        task = asyncio.ensure_future(aio.create(ours, CategoryFactory, name="Books"))
        assert not (await asyncio.wait([task], timeout=0.3))[0]
        for _ in range(times):
            task.cancel()
            await asyncio.sleep(0)
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(task, 5)  # theirs is still open
        assert await aio.find(ours, CategoryFactory, name="Books") is None
        await aio.create(ours, CategoryFactory, name="later")
        await ours.commit()
        await theirs.rollback()
        assert await names(theirs) == ["later", "own"]


@on("asyncpg", "psycopg")
@asynchronous
async def test_timeout(connect):
    """A timeout is a cancellation, too."""
    async with connect() as ours, connect() as theirs:
        await aio.create(ours, CategoryFactory, name="own")
        await aio.create(theirs, CategoryFactory, name="Books")
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(aio.create(ours, CategoryFactory, name="Books"), 0.3)
        await theirs.commit()
        assert (await aio.get_or_create(ours, CategoryFactory, name="Books"))[1] is False
        await ours.commit()
        assert await names(ours) == ["Books", "own"]


@on("aiomysql")
@pytest.mark.parametrize("end", ["commit", "rollback"])
@asynchronous
async def test_cancelled_statement_that_ends_first(connect, end):
    """With a driver that cannot give up a statement alone, it ends first, and is undone."""
    async with connect() as ours, connect() as theirs:
        await aio.create(ours, CategoryFactory, name="own")
        await aio.create(theirs, CategoryFactory, name="Books")
        task = asyncio.ensure_future(aio.create(ours, CategoryFactory, name="Books"))
        await asyncio.wait([task], timeout=0.3)
        task.cancel()
        assert not (await asyncio.wait([task], timeout=0.3))[0]
        await getattr(theirs, end)()
        await asyncio.wait([task])
        assert task.cancelled()
        await ours.commit()
        assert await names(ours) == (["Books", "own"] if end == "commit" else ["own"])


# What holds around the calls


@on("aiosqlite")
@pytest.mark.parametrize("call", ["create", "create_batch", "get_or_create", "find"])
def test_checked_at_the_call(connect, call):
    """What is wrong with a call is said where it is made, not where it is awaited."""
    args = [2] if call == "create_batch" else []
    make = getattr(aio, call)
    with pytest.raises(SessionError, match=r"given None as its session.*no AsyncSession"):
        make(None, CategoryFactory, *args)
    with pytest.raises(ReuseError, match="PlainFactory"):
        make(connect(), PlainFactory, *args)


class PlainFactory(ShopFactory):
    class Meta:
        model = Category


@on("aiosqlite")
def test_create_many_is_checked_at_the_call(connect):
    """So it is where many are made."""
    with pytest.raises(SessionError, match="no AsyncSession"):
        aio.create_many(object(), CategoryFactory, [])
    with pytest.raises(ReuseError, match="PlainFactory"):
        aio.create_many(connect(), PlainFactory, [])


@on("aiosqlite")
@asynchronous
async def test_create_many_is_lazy(connect):
    """A chunk is made when its first object is asked for, and rows are taken as it is made."""
    taken = []

    def rows():
        for number in range(10):
            taken.append(number)
            yield {"name": f"{number}"}

    async with connect() as session:
        objects = aio.create_many(session, CategoryFactory, rows(), chunk_size=4)
        assert taken == []
        assert (await objects.__anext__()).name == "0"
        assert len(taken) == 4
        assert [obj.name async for obj in objects] == [str(number) for number in range(1, 10)]


@on("aiosqlite")
@asynchronous
async def test_warning(connect):
    """A MismatchWarning points to the line that made the call, in a task, too."""
    async with connect() as session:
        await aio.create(session, CategoryFactory, name="Books", color="red")
        here = inspect.currentframe().f_lineno
        with warnings.catch_warnings(record=True) as seen:
            warnings.simplefilter("always")
            await aio.create(session, CategoryFactory, name="Books", color="blue")
            task = asyncio.ensure_future(
                aio.get_or_create(session, CategoryFactory, name="Books", color="blue")
            )
            await task
            many = aio.create_many(session, CategoryFactory, [{"name": "Books", "color": "blue"}])
            async for _ in many:
                pass
    told = [(each.category, each.filename, each.lineno) for each in seen]
    assert told == [(MismatchWarning, __file__, here + line) for line in (3, 5, 8)]


@on("aiosqlite")
@asynchronous
async def test_watch(connect):
    """A block hears of the calls of all tasks that began inside it, each with its statements."""

    async def task(number):
        async with connect() as session:
            with watch() as own:
                await aio.create(session, CategoryFactory, name="Books")
                await aio.create(session, CategoryFactory, name=f"{number}")
            await session.rollback()
            return own

    async with connect() as session:
        await aio.create(session, CategoryFactory, name="Books")
        await session.commit()
    with watch() as report:
        reports = [await task(number) for number in range(3)]
    assert [(each.created, each.reused) for each in reports] == [(1, 1)] * 3
    assert (report.created, report.reused) == (3, 3)
    assert report.statements == sum(each.statements for each in reports)


@on("asyncpg")
@asynchronous
async def test_watch_tasks_by_turns(connect):
    """Tasks that run by turns do not count each other's statements."""

    async def task(number):
        async with connect() as session:
            with watch() as own:
                await aio.create(session, CategoryFactory, name=f"{number}")
            return own

    with watch() as report:
        reports = await asyncio.gather(*map(task, range(5)))
    # The lookup, the SAVEPOINT, the INSERT and the RELEASE.
    assert [each.statements for each in reports] == [4] * 5
    assert report.statements == 20


@on("aiosqlite")
@asynchronous
async def test_recycle(connect):
    """Objects are handed out in turn from call to call."""
    async with connect() as session:
        two = [await aio.create(session, CategoryFactory, name=name) for name in "ab"]
        with recycle(*two):
            made = [await aio.create(session, ProductFactory) for _ in range(3)]
        assert [product.category for product in made] == [two[0], two[1], two[0]]
        assert (await aio.create(session, ProductFactory)).category not in two


@on("aiosqlite")
@asynchronous
async def test_no_reuse(connect):
    """In a no_reuse block the factories are factory_boy's own."""
    async with connect() as session:
        with no_reuse():
            made = await aio.create(session, CategoryFactory, name="Books")
        assert made in session
        assert await aio.create(session, CategoryFactory, name="Books") is made


@on("aiosqlite")
@asynchronous
async def test_scoped_session(connect):
    """An async_scoped_session stands for the session of the task."""
    scope = sqlalchemy_asyncio.async_scoped_session(connect, scopefunc=asyncio.current_task)

    async def task():
        made = await aio.create(scope, CategoryFactory, name="Books")
        assert made in scope()
        await scope.remove()

    await asyncio.gather(task(), task())


@on("aiosqlite")
@asynchronous
async def test_run_sync(connect):
    """Inside of run_sync a factory is called as ever."""
    async with connect() as session:

        def work(sync_session):
            with use_session(sync_session):
                return CategoryFactory(name="Books")

        made = await session.run_sync(work)
        assert await aio.create(session, CategoryFactory, name="Books") is made


@on("aiosqlite")
@asynchronous
async def test_declared_session(connect):
    """A factory whose own session is asynchronous is called through aio all the same."""
    session = connect()

    @reuse_existing
    class Declared(CategoryFactory):
        class Meta:
            model = Category
            sqlalchemy_session = session

    async with session:
        books = await aio.create(session, Declared, name="Books")
        assert await aio.create(session, Declared, name="Books") is books
        with pytest.raises(SessionError, match=r"Declared .*await aio\.create\("):
            Declared(name="Music")


@on("aiosqlite", "asyncpg")
@asynchronous
async def test_save_of_its_own(connect):
    """A factory with a `_save` that is awaited is called through aio, too, and saves as it does."""
    session = connect()
    saved = []

    @reuse_existing
    class Saving(CategoryFactory):
        class Meta:
            model = Category
            sqlalchemy_session = session

        @classmethod
        async def _save(cls, model_class, session, args, kwargs):
            obj = model_class(*args, **kwargs)
            session.add(obj)
            await session.flush()
            saved.append(obj.name)
            return obj

    async with session:
        books = await aio.create(session, Saving, name="Books")
        assert await aio.create(session, Saving, name="Books") is books
        product = await aio.create(session, over(Saving), category__name="Music")
        assert (product.category.name, saved) == ("Music", ["Books", "Music"])


def over(category_factory):
    class Over(ProductFactory):
        class Meta:
            model = Product

        category = factory.SubFactory(category_factory)

    return Over


@on("aiosqlite")
@asynchronous
async def test_closed(connect):
    """A call that is never awaited and closed does nothing."""
    async with connect() as session:
        aio.create(session, CategoryFactory, name="Books").close()
        assert await aio.find(session, CategoryFactory, name="Books") is None
