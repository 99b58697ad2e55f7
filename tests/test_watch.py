"""`watch`: what becomes of the calls in a block."""

import asyncio
import threading
import time

import factory
import pytest
from sqlalchemy import select

import shop
from factory_reuse import (
    create_many,
    find,
    get_or_create,
    no_reuse,
    recycle,
    reuse_existing,
    use_session,
    watch,
)
from factory_reuse.report import Outcome, Report
from shop import Category, CategoryFactory, ProductFactory, Scoped

Base = shop.Base  # whose tables `engine` makes


@pytest.fixture(autouse=True)
def used(session):
    Scoped.registry.set(session)
    with use_session(session):
        yield session
    Scoped.registry.clear()


def told(report):
    return [(each.factory, each.source, each.key, each.depth) for each in report.outcomes]


def test_sources(used):
    """Each call says which factory it was, where its object came from, by which key, how deep."""
    with watch() as report:
        product = ProductFactory(sku="A")
        ProductFactory(sku="A")
        used.commit()
        ProductFactory(sku="A")
        ProductFactory(sku="B", category__name="new")
        with recycle(product.category):
            ProductFactory(sku="C")
        with used.no_autoflush:
            used.add(Category(name="pending"))
            CategoryFactory(name="pending")
    assert told(report) == [
        ("CategoryFactory", "created", "", 1),
        ("ProductFactory", "created", "", 0),
        ("ProductFactory", "cache", "sku", 0),
        ("ProductFactory", "database", "sku", 0),
        ("CategoryFactory", "created", "", 1),
        ("ProductFactory", "created", "", 0),
        ("CategoryFactory", "recycled", "", 1),
        ("ProductFactory", "created", "", 0),
        ("CategoryFactory", "pending", "name", 0),
    ]
    assert (report.created, report.reused) == (5, 4)


def test_by_factory():
    """The sums of each factory, in the order in which they came."""
    with watch() as report:
        ProductFactory.create_batch(3, category__name="a")
        CategoryFactory(name="b")
    by_factory = report.by_factory
    assert list(by_factory) == ["CategoryFactory", "ProductFactory"]
    assert (by_factory["CategoryFactory"].created, by_factory["CategoryFactory"].reused) == (2, 2)
    assert (by_factory["ProductFactory"].created, by_factory["ProductFactory"].reused) == (3, 0)
    assert sum(each.created for each in by_factory.values()) == report.created


@pytest.mark.single
def test_statements(used, statements):
    """A call's statements are those that it sent, with those of the calls inside it."""
    used.execute(select(Category))
    with watch() as report, statements() as seen:
        ProductFactory(sku="A")
        ProductFactory(sku="A")
        used.commit()
        ProductFactory(sku="A")
    child, parent, repeated, again = [each.statements for each in report.outcomes]
    assert (child, repeated, again) == (4, 0, 1)
    assert parent == 8
    assert report.statements == len(seen) == 9


@pytest.mark.single
def test_statements_of_others_do_not_count(used):
    """What is sent between the calls, or in a session of another block, is none of theirs."""
    with watch() as report:
        used.execute(select(Category))
        CategoryFactory(name="a")
        used.execute(select(Category))
    assert report.statements == report.outcomes[0].statements == 4


def test_statements_of_a_batch(statements):
    """What many calls send together counts for the first of them."""
    CategoryFactory(name="first")
    with watch() as report, statements() as seen:
        list(create_many(CategoryFactory, [{"name": name} for name in "abc"]))
    counts = [each.statements for each in report.outcomes]
    assert counts[1:] == [0, 0]
    assert counts[0] == len(seen) - 1  # but for the RELEASE, which comes after all of them


def test_seconds():
    """A call takes at least as long as what it runs, and no longer than the block."""

    class Slow(CategoryFactory):
        name = factory.LazyFunction(lambda: time.sleep(0.02) or "slow")

    class Products(ProductFactory):
        category = factory.SubFactory(Slow)

    began = time.perf_counter()
    with watch() as report:
        Products(sku="A")
        Slow()
    took = time.perf_counter() - began
    child, parent, direct = [each.seconds for each in report.outcomes]
    assert 0.02 <= child <= parent
    assert direct >= 0.02
    assert 0.04 <= report.seconds == parent + direct <= took


def test_nested_blocks():
    """An inner block gets what happens inside it, and so does the outer one."""
    with watch() as outer:
        CategoryFactory(name="a")
        with watch() as inner:
            assert get_or_create(CategoryFactory, name="b")[1]
        CategoryFactory(name="c")
    CategoryFactory(name="d")
    assert len(inner.outcomes) == 1
    assert len(outer.outcomes) == 3
    assert outer.outcomes[1] == inner.outcomes[0]


def test_a_call_that_fails():
    """A call that raises has no outcome; those that went well inside it have."""
    with watch() as report:
        with pytest.raises(TypeError):
            ProductFactory(sku="A", colour="red")
        CategoryFactory(name="b")
    assert told(report) == [
        ("CategoryFactory", "created", "", 1),
        ("CategoryFactory", "created", "", 0),
    ]


def test_what_is_not_created_is_not_told():
    """Neither what is built or stubbed, nor `find`, is a call that creates."""
    with watch() as report:
        ProductFactory.build()
        ProductFactory.stub()
        find(ProductFactory, sku="A")
    assert report.outcomes == []


def test_without_reuse():
    """Inside `no_reuse()` calls are told of, too."""
    with watch() as report, no_reuse():
        ProductFactory(sku="A")
    assert told(report) == [
        ("CategoryFactory", "created", "", 1),
        ("ProductFactory", "created", "", 0),
    ]


def test_a_way_in_of_its_own():
    """So are those of a factory with a `_generate` of its own, from where the build begins."""

    class Own(CategoryFactory):
        @classmethod
        def _generate(cls, strategy, params):
            return super()._generate(strategy, params)

    @reuse_existing(on="sku")
    class Products(ProductFactory):
        @classmethod
        def _generate(cls, strategy, params):
            return super()._generate(strategy, params)

    with watch() as report:
        Own(name="a")
        Products(sku="A", category__name="a")
    assert told(report) == [
        ("Own", "created", "", 0),
        ("CategoryFactory", "cache", "name", 1),
        ("Products", "created", "", 0),
    ]
    assert [each.statements for each in report.outcomes] == [4, 0, 4]


@pytest.mark.backends("sqlite")
def test_threads_and_tasks():
    """Another thread's calls are its own; a task that is begun in the block is in it."""

    async def tasks():
        with watch() as report:
            await asyncio.gather(*(call(name) for name in "ab"))
            CategoryFactory(name="c")
        return report

    async def call(name):
        with watch() as own:
            CategoryFactory(name=name)
            await asyncio.sleep(0)
            CategoryFactory(name=name)
        assert [each.source for each in own.outcomes] == ["created", "cache"]

    report = asyncio.run(tasks())
    assert len(report.outcomes) == 5
    with watch() as report:
        thread = threading.Thread(target=CategoryFactory.build)
        thread.start()
        thread.join()
    assert report.outcomes == []


def test_report_of_outcomes():
    """A report may be made of outcomes, and shows its sums."""
    outcome = Outcome("F", "", "created", 0, statements=3, seconds=0.5)
    nested = Outcome("G", "name", "cache", 1, statements=2, seconds=0.25)
    report = Report([nested, outcome])
    assert repr(report) == "<Report: 1 created, 1 reused, 3 statements>"
    assert (report.statements, report.seconds) == (3, 0.5)
    assert Report().by_factory == {}
