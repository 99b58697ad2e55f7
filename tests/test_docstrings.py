"""The examples in the docstrings of what the package shows are run as they stand."""

import asyncio
import inspect
import re
import textwrap

import factory
import pytest
from factory.alchemy import SQLAlchemyModelFactory
from sqlalchemy import Column, ForeignKey, Integer, String, create_engine
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session, declarative_base, relationship

import factory_reuse
from factory_reuse import aio, pytest_plugin, reuse_existing

pytest_plugins = "pytester"

Base = declarative_base()


class User(Base):
    __tablename__ = "user"
    id = Column(Integer, primary_key=True)
    email = Column(String(50), unique=True)


class Order(Base):
    __tablename__ = "order"
    id = Column(Integer, primary_key=True)
    user_id = Column(ForeignKey("user.id"), nullable=False)
    user = relationship(User)


class Category(Base):
    __tablename__ = "category"
    id = Column(Integer, primary_key=True)
    name = Column(String(50), unique=True)


class Product(Base):
    __tablename__ = "product"
    id = Column(Integer, primary_key=True)
    category_id = Column(ForeignKey("category.id"), nullable=False)
    category = relationship(Category)


def names(session):
    """Return what an example may name: factories that save in the session, and what they need."""

    class Of(SQLAlchemyModelFactory):
        class Meta:
            abstract = True
            sqlalchemy_session = session
            sqlalchemy_session_persistence = "flush"

    @reuse_existing
    class UserFactory(Of):
        class Meta:
            model = User

        email = factory.Sequence("user{}@example.org".format)

    class OrderFactory(Of):
        class Meta:
            model = Order

        user = factory.SubFactory(UserFactory)

    @reuse_existing
    class CategoryFactory(Of):
        class Meta:
            model = Category

        name = factory.Sequence("Category {}".format)

    @reuse_existing(on=())
    class ProductFactory(Of):
        class Meta:
            model = Product

        category = factory.SubFactory(CategoryFactory)

    shown = {name: getattr(factory_reuse, name) for name in factory_reuse.__all__}
    return {
        **shown,
        **{each.__name__: each for each in (User, Category, UserFactory, OrderFactory)},
        **{each.__name__: each for each in (CategoryFactory, ProductFactory)},
        "SQLAlchemyModelFactory": SQLAlchemyModelFactory,
        "IntegrityError": IntegrityError,
        "pytest": pytest,
        "aio": aio,
        "session": session,
        "user": None if session is None else User(email="ann@example.org"),
        "rows": [{"name": "Books"}, {"name": "Toys"}],
    }


def examples(module, shown):
    """Return the examples of a module's objects by the objects' names."""
    found = {}
    for name in shown:
        text = inspect.getdoc(getattr(module, name)) or ""
        block = re.search(r"^Example::\n\n((?:(?:    .*)?\n?)+)", text, re.M)
        if block is not None:
            found[name] = textwrap.dedent(block.group(1))
    return found


SYNC = examples(factory_reuse, factory_reuse.__all__)
ASYNC = examples(aio, aio.__all__)

#: Examples that speak of a category that is there already.
WITH_BOOKS = ("no_reuse", "watch")


def test_all_that_is_called_has_an_example():
    """Whatever is called has an example; errors and the warning have none."""
    called = {
        name
        for name in factory_reuse.__all__
        if not (
            inspect.isclass(getattr(factory_reuse, name))
            and issubclass(getattr(factory_reuse, name), BaseException)
        )
    }
    assert set(SYNC) == called
    assert set(ASYNC) == set(aio.__all__)


@pytest.mark.parametrize("name", SYNC)
def test_example(name):
    """The example of each function and class runs."""
    engine = create_engine("sqlite://", future=True)
    Base.metadata.create_all(engine)
    try:
        with Session(engine, future=True) as session:
            given = names(session)
            if name in WITH_BOOKS:
                given["CategoryFactory"](name="Books")
            exec(SYNC[name], given)
    finally:
        engine.dispose()


@pytest.mark.parametrize("name", ASYNC)
def test_asynchronous_example(name):
    """The example of each awaited function runs."""
    pytest.importorskip("aiosqlite")
    from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine

    async def run():
        engine = create_async_engine("sqlite+aiosqlite://")
        try:
            async with engine.begin() as connection:
                await connection.run_sync(Base.metadata.create_all)
            async with AsyncSession(engine, expire_on_commit=False) as session:
                given = {**names(None), "session": session}
                exec("async def example():\n" + textwrap.indent(ASYNC[name], "    "), given)
                await given["example"]()
        finally:
            await engine.dispose()

    asyncio.run(run())


def test_example_of_the_fixture(pytester):
    """The example of the plugin's fixture is a test that passes."""
    (text,) = examples(pytest_plugin, ["reuse_report"]).values()
    pytester.makeconftest(
        "import sys\nfrom sqlalchemy import create_engine\nfrom sqlalchemy.orm import Session\n"
        f"sys.path.insert(0, {str(__file__.rpartition('test_docstrings')[0])!r})\n"
        "import test_docstrings as models\n"
        "engine = create_engine('sqlite://', future=True)\n"
        "models.Base.metadata.create_all(engine)\n"
        "session = Session(engine, future=True)\n"
        "names = models.names(session)\n"
        "def pytest_unconfigure():\n    session.close()\n    engine.dispose()\n"
    )
    pytester.makepyfile(test_suite="from conftest import names\nglobals().update(names)\n" + text)
    pytester.runpytest_subprocess("-p", "no:randomly").assert_outcomes(passed=1)
