"""`factory_reuse.aio`: the same calls, awaited, with each driver."""

import asyncio
import contextlib
import contextvars
import inspect
import itertools
import sys
import warnings

import factory
import pytest
import sqlalchemy
from sqlalchemy import event, func, select
from sqlalchemy.pool import AsyncAdaptedQueuePool
from sqlalchemy.util import await_only

pytest.importorskip("greenlet")

from drivers import async_engine, asynchronous, on

import shop
from factory_reuse import (
    MismatchError,
    MismatchWarning,
    RaceLostError,
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
async def test_lost_race_that_the_snapshot_hides(connect):
    """Each driver has its own words for PostgreSQL's refusal; all of them are understood."""
    async with connect() as ours, connect() as theirs:
        await ours.connection(execution_options={"isolation_level": "REPEATABLE READ"})
        assert await aio.find(ours, CategoryFactory, name="Books") is None
        await aio.create(theirs, CategoryFactory, name="Books")
        await theirs.commit()
        with pytest.raises(RaceLostError, match="CategoryFactory: another transaction"):
            await aio.create(ours, CategoryFactory, name="Books")
        await ours.rollback()
        assert (await aio.create(ours, CategoryFactory, name="Books")).name == "Books"


@on("asyncpg", "psycopg")
@asynchronous
async def test_many_tasks(driver, engine):
    """50 tasks race for 20 keys: no duplicate, no lost row of a task, no connection kept."""
    made = async_engine(
        driver, engine, poolclass=AsyncAdaptedQueuePool, pool_size=10, max_overflow=0
    )

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


@contextlib.contextmanager
def cancelled_at(session, step):
    """Cancel the current task at the n-th statement that is sent, COMMIT included."""
    task, engine, seen = asyncio.current_task(), session.bind.sync_engine, []

    def note(statement):
        seen.append(statement)
        if len(seen) == step:
            task.cancel()

    def statement(conn, cursor, statement, *args):
        note(statement)

    def commit(conn):
        note("COMMIT")

    event.listen(engine, "before_cursor_execute", statement)
    event.listen(engine, "commit", commit)
    try:
        yield seen
    finally:
        event.remove(engine, "before_cursor_execute", statement)
        event.remove(engine, "commit", commit)


async def one(session, step):
    await aio.create(session, ProductFactory, sku=f"{step}", category__name=f"parent {step}")


async def many(session, step):
    rows = [{"sku": f"{step}", "category__name": f"parent {step}"}, {"sku": f"{step} too"}]
    async for _ in aio.create_many(session, ProductFactory, rows):
        pass


async def batch(session, step):
    await aio.create_batch(session, LineFactory, 1, number=step, product__sku=f"{step}")


async def committing(session, step):
    await aio.create(session, CommittingFactory, sku=f"{step}", category__name=f"parent {step}")


class CommittingFactory(ProductFactory):
    class Meta:
        model = Product
        sqlalchemy_session_persistence = "commit"


@on()
@pytest.mark.parametrize("call", [one, many, batch, committing])
@asynchronous
async def test_cancelled_at_each_statement(connect, call):
    """Wherever a call is cancelled, what came before stays, and the session can be used."""
    sent = []
    for step in itertools.count(1):
        async with connect() as session:
            await aio.create(session, CategoryFactory, name=f"own {step}")

            async def cancelled(session=session, step=step):
                with cancelled_at(session, step) as seen:
                    sent.append(seen)
                    await call(session, step)

            task = asyncio.ensure_future(cancelled())
            await asyncio.wait([task])
            ended = not task.cancelled()
            if ended:
                await task
            made = await aio.create(
                session, ProductFactory, sku=f"after {step}", category__name=f"own {step}"
            )
            await session.commit()
            assert made.category.name == f"own {step}"
        if ended:
            break
    # Two SELECTs, two SAVEPOINTs, two INSERTs and two RELEASEs, or what takes their place.
    assert step > 8
    async with connect() as session:
        assert {f"own {number}" for number in range(1, step + 1)} <= set(await names(session))
        made = await names(session, Product.sku)
        assert {f"after {number}" for number in range(1, step + 1)} <= set(made)
        # The last are its INSERT, its RELEASE and, perhaps, a COMMIT, all of which must end first
        # where a driver cannot give up a statement alone. With those the call is complete.
        assert not {f"{number}" for number in range(1, step - 3)}.intersection(made)


@on()
@asynchronous
async def test_lazy_factory_cancelled(connect):
    """A factory without a SAVEPOINT adds nothing once its call is cancelled."""

    class LazyFactory(CategoryFactory):
        class Meta:
            model = Category
            sqlalchemy_session_persistence = None

    async with connect() as session:
        await aio.create(session, CategoryFactory, name="own")

        async def call():
            with cancelled_at(session, 1):
                await aio.create(session, LazyFactory, name="lazy")

        task = asyncio.ensure_future(call())
        await asyncio.wait([task])
        assert task.cancelled()
        await session.commit()
        assert await names(session) == ["own"]


@on("asyncpg", "psycopg", "aiosqlite")
@asynchronous
async def test_no_connection(driver, engine):
    """What waits for a connection ends by the pool's timeout, and when it is cancelled."""
    options = {"pool_size": 1, "max_overflow": 0, "pool_timeout": 1}
    made = async_engine(driver, engine, poolclass=AsyncAdaptedQueuePool, **options)
    async with AsyncSession(made) as holder:
        await holder.execute(select(Category))
        async with AsyncSession(made) as session:
            call = aio.create(session, CategoryFactory, name="Books")
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(call, 0.2)
            with pytest.raises(sqlalchemy.exc.TimeoutError):
                await aio.create(session, CategoryFactory, name="Books")
            await holder.rollback()
            await aio.create(session, CategoryFactory, name="Books")
    assert made.pool.checkedout() == 0
    await made.dispose()


@on("aiosqlite", "asyncpg")
@asynchronous
async def test_timeout_inside(connect):
    """A timeout inside of a call is that of what it is around."""
    async with connect() as session:

        async def slowly():
            try:
                await asyncio.wait_for(asyncio.sleep(10), 0.1)
            except asyncio.TimeoutError:
                return "fallback"

        color = factory.LazyFunction(lambda: await_only(slowly()))
        made = await asyncio.wait_for(
            aio.create(session, CategoryFactory, name="Books", color=color), 5
        )
        assert made.color == "fallback"


@on("aiosqlite")
@asynchronous
async def test_cancelled_with_a_message(connect):
    """The CancelledError that comes out is the one that came in."""
    async with connect() as session:
        seen = []

        async def call():
            # What a declaration awaits ends first.
            color = factory.LazyFunction(lambda: await_only(asyncio.sleep(0.5)))
            try:
                await aio.create(session, CategoryFactory, name="Books", color=color)
            except asyncio.CancelledError as error:
                seen.append(error.args)
                raise

        task = asyncio.ensure_future(call())
        await asyncio.wait([task], timeout=0.2)
        if sys.version_info < (3, 9):
            task.cancel()
        else:
            task.cancel("why")
        await asyncio.wait([task])
        assert task.cancelled()
        assert seen == [("why",) if sys.version_info >= (3, 9) else ()]
        assert await aio.find(session, CategoryFactory, name="Books") is None


@on("asyncpg", "psycopg", "aiosqlite", "aiomysql")
@asynchronous
async def test_cancelled_among_many(connect):
    """Once a call is cancelled, no further statement of it is sent."""
    async with connect() as session:
        await aio.create(session, CategoryFactory, name="own")

        async def call(seen):
            with cancelled_at(session, 5) as sent:
                seen.append(sent)
                await aio.create_batch(session, SingleFactory, 50)

        seen = []
        task = asyncio.ensure_future(call(seen))
        await asyncio.wait([task])
        assert task.cancelled()
        assert len(seen[0]) < 12
        await session.commit()
        assert "own" in await names(session)


class SingleFactory(CategoryFactory):
    class Meta:
        model = Category
        reuse_cache = False  # so that a batch looks up each row


@on("asyncpg", "psycopg")
@asynchronous
async def test_all_tasks_cancelled(connect):
    """Whoever cancels all tasks, to shut down, cancels a call as its own task would be."""
    async with connect() as ours, connect() as theirs:
        await aio.create(ours, CategoryFactory, name="own")
        await aio.create(theirs, CategoryFactory, name="Books")
        task = asyncio.ensure_future(aio.create(ours, CategoryFactory, name="Books"))
        await asyncio.wait([task], timeout=0.3)
        # The driver may have some of its own.
        assert [each for each in asyncio.all_tasks() if "factory_reuse" in repr(each)] == [task]
        task.cancel()
        await asyncio.wait([task], timeout=5)
        assert task.cancelled()
        await ours.commit()
        await theirs.rollback()
        assert await names(theirs) == ["own"]


@on("asyncpg", "psycopg")
@asynchronous
async def test_another_session_inside(connect):
    """What a declaration does in another session ends first, and stays that session's own."""
    async with connect() as session, connect() as audit, connect() as blocking:
        await aio.create(blocking, CategoryFactory, name="blocked")
        audit.add(Category(name="audited"))
        await audit.flush()
        statement = sqlalchemy.insert(Category).values(name="blocked", color="red")

        def color():
            await_only(audit.execute(statement))
            return "red"

        call = aio.create(session, CategoryFactory, color=factory.LazyFunction(color), name="new")
        task = asyncio.ensure_future(call)
        await asyncio.wait([task], timeout=0.3)
        task.cancel()
        assert not (await asyncio.wait([task], timeout=0.3))[0]
        await blocking.rollback()
        await asyncio.wait([task])
        assert task.cancelled()
        await audit.commit()
        await session.commit()
        assert await names(session) == ["audited", "blocked"]


@on("aiosqlite")
@pytest.mark.parametrize("interrupt", [KeyboardInterrupt, SystemExit, GeneratorExit])
@asynchronous
async def test_interrupt_in_a_declaration(connect, interrupt):
    """An interrupt reaches the code that awaits, and not the event loop past it."""

    def color():
        raise interrupt

    async with connect() as session:
        await aio.create(session, CategoryFactory, name="own")
        with pytest.raises(interrupt):
            await aio.create(session, CategoryFactory, color=factory.LazyFunction(color))
        await session.commit()
        assert await names(session) == ["own"]


@pytest.mark.skipif(
    sys.version_info < (3, 12),
    reason="before Python 3.12 no task can share another's context, nor reset its tokens",
)
@on("aiosqlite")
@asynchronous
async def test_block_around_rows(connect):
    """A block that a generator of rows opens may stay open from chunk to chunk."""

    def rows():
        with no_reuse():
            for name in ("a", "b", "c"):
                yield {"name": name}

    async with connect() as session:
        made = [
            obj async for obj in aio.create_many(session, CategoryFactory, rows(), chunk_size=1)
        ]
        assert len(made) == 3


@on("aiosqlite")
@asynchronous
async def test_context(connect):
    """Variables that a declaration reads and sets are those of the code that awaits."""
    variable = contextvars.ContextVar("variable", default="unset")
    variable.set("outside")

    def color():
        assert variable.get() == "outside"
        variable.set("inside")
        return "red"

    async with connect() as session:
        await aio.create(session, CategoryFactory, color=factory.LazyFunction(color))
    assert variable.get() == "inside"


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


@pytest.mark.single
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


@pytest.mark.single
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


@on("asyncpg")
@asynchronous
async def test_scoped_session(connect):
    """An async_scoped_session stands for the session of the task."""
    scope = sqlalchemy_asyncio.async_scoped_session(connect, scopefunc=asyncio.current_task)

    async def task():
        made = await aio.create(scope, CategoryFactory, name="Books")
        assert made in scope()
        many = [obj async for obj in aio.create_many(scope, CategoryFactory, [{"name": "Books"}])]
        assert many == [made]
        await scope.remove()

    await asyncio.gather(task(), task())
    made = await asyncio.gather(*(aio.create(scope, CategoryFactory, name=name) for name in "ab"))
    first, second = map(sqlalchemy_asyncio.async_object_session, made)
    assert len({first, second, scope()}) == 3  # each call's is that of the task that awaits it
    for each in (first, second, scope()):
        await each.close()


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
