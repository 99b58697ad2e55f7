"""A repeated call: answered without a build, and only as long as the answer would be the same."""

import factory
import pytest
from factory.builder import StepBuilder
from keyed import current

import shop
from conftest import PATH
from factory_reuse import (
    MismatchWarning,
    find,
    get_or_create,
    no_reuse,
    reuse_existing,
    use_session,
)
from factory_reuse._direct import DirectBuilder, DirectCall
from factory_reuse._options import ReuseOptions
from shop import (
    Category,
    CategoryFactory,
    Line,
    Product,
    ProductFactory,
    Scoped,
    ShopFactory,
    never,
)

Base = shop.Base  # whose tables `engine` makes

pytestmark = [pytest.mark.backends("sqlite"), pytest.mark.single]


@pytest.fixture(autouse=True)
def _scoped(session):
    with current(session):
        yield


@pytest.fixture
def decided(monkeypatch):
    """Collect the factories that decide; each test is run without the check of the whole suite."""
    seen = []
    build, direct = StepBuilder.build, DirectCall.object

    def record_build(self, *args, **kwargs):
        seen.append(self.factory_meta.factory.__name__)
        return build(self, *args, **kwargs)

    def record_direct(self):
        seen.append(self.meta.factory.__name__)
        return direct(self)

    # What tests/conftest.py puts in their place decides again, in order to compare.
    originals = vars(ReuseOptions)["_recalled"].__globals__
    monkeypatch.setattr(ReuseOptions, "_recalled", originals["_recalled"])
    monkeypatch.setattr(DirectCall, "_find", originals["_find"])
    monkeypatch.setattr(StepBuilder, "build", record_build)
    monkeypatch.setattr(DirectCall, "object", record_direct)
    return seen


def twice(declared, **passed):
    """Call the factory until its answer is kept, and return it."""
    obj = declared(**passed)
    assert declared(**passed) is obj
    return obj


def test_a_repeated_call_decides_nothing(decided, statements):
    """The third equal call in a transaction runs no build step, and sends nothing."""
    books = twice(CategoryFactory, name="Books")
    del decided[:]
    with statements() as seen:
        assert CategoryFactory(name="Books") is books
        assert CategoryFactory.create(name="Books") is books
        assert get_or_create(CategoryFactory, name="Books") == (books, False)
    assert (decided, seen) == ([], [])


@pytest.mark.skipif(
    PATH == "long",
    reason="FACTORY_REUSE_TEST_PATH=long turns off the short way, which this is about",
)
def test_a_plain_call_that_finds_its_row_builds_nothing(session, statements, monkeypatch):
    """Of a row that is there, a direct call with plain values costs its SELECT, and no build."""
    books = CategoryFactory(name="Books", color="red")
    session.commit()
    monkeypatch.setattr(DirectBuilder, "begin", never)
    with statements() as seen:
        assert CategoryFactory(name="Books") is books
    assert seen == ["SELECT"]
    with pytest.warns(MismatchWarning, match="color='blue'"):
        CategoryFactory(name="Books", color="blue")
    with pytest.raises(TypeError, match="'colour' is an invalid keyword"):
        CategoryFactory(name="Books", colour="red")


def test_a_repeated_sub_factory_evaluates_nothing(decided):
    """A SubFactory pays its build step, and looks into no declaration."""

    @reuse_existing
    class ColoredFactory(CategoryFactory):
        color = factory.LazyFunction(never)

    books = Category(name="Books")
    Scoped.add(books)
    for _ in range(3):
        assert (
            ProductFactory(category=factory.SubFactory(ColoredFactory, name="Books")).category
            is books
        )


def test_constants_of_the_factory_count_as_passed(decided):
    """A call that passes nothing is answered too, if the key is a constant."""

    @reuse_existing
    class BooksFactory(CategoryFactory):
        name = "Books"

    books = twice(BooksFactory)
    del decided[:]
    assert BooksFactory() is books
    assert decided == []


def test_a_repeated_call_uses_a_sequence_number(decided):
    """As any call does."""
    twice(CategoryFactory, name="Books")
    CategoryFactory.reset_sequence(10)
    CategoryFactory(name="Books")
    assert CategoryFactory.build().name == "Category 11"


def test_a_value_of_another_type_is_another_call(decided):
    """`1 == True == 1.0`, but not to every column."""

    class LineFactory(ShopFactory):
        class Meta:
            model = Line

    lines = reuse_existing(LineFactory)
    line = twice(lines, number=1)
    del decided[:]
    assert lines(number=1) is line
    assert decided == []
    assert lines(number=True) is line
    assert decided == ["LineFactory"]


NOT_KEPT = {
    "where": {"where": Category.color == "grey"},
    "refresh": {"refresh": True},
    "no cache": {"cache": False},
    "not unique": {"on": "color"},
}


@pytest.mark.parametrize("options", NOT_KEPT.values(), ids=NOT_KEPT)
def test_what_asks_anew_each_time(options, decided):
    """Options by which the answer depends on more than the call and the row."""
    declared = reuse_existing(type("AnewFactory", (CategoryFactory,), {}), **options)
    passed = {options.get("on", "name"): "grey"}
    twice(declared, **passed)
    twice(declared, **passed)  # what `where` must find first is in the cache only now
    del decided[:]
    declared(**passed)
    assert decided == ["AnewFactory"]


def test_a_declaration_is_evaluated_each_time(decided):
    """Of a call that passes one, or whose key is one, nothing is kept."""
    counted = factory.Iterator(["Books", "Books", "Games"])
    assert [CategoryFactory(name=counted).name for _ in range(3)] == ["Books", "Books", "Games"]
    passed = [CategoryFactory(name=factory.LazyFunction(lambda: "Books")) for _ in range(3)]
    assert len(set(map(id, passed))) == 1


def test_a_value_that_the_row_lost(decided):
    """A value outside of the key is compared as long as it is passed."""
    books = twice(CategoryFactory, name="Books", color="grey")
    assert CategoryFactory(name="Books", color="grey") is books
    books.color = "red"
    with pytest.warns(MismatchWarning, match="color='grey'.*color='red'"):
        CategoryFactory(name="Books", color="grey")


def test_a_mismatch_is_told_each_time(decided):
    """A call that the row contradicts warns however often it is made."""
    CategoryFactory(name="Books")
    for _ in range(3):
        with pytest.warns(MismatchWarning):
            CategoryFactory(name="Books", color="red")


@pytest.mark.parametrize("end", ["commit", "rollback", "delete", "expunge", "rename", "flush"])
def test_when_an_answer_is_let_go(end, session, decided):
    """An answer is kept under the same conditions as a key in the cache."""
    books = twice(CategoryFactory, name="Books")
    if end in ("commit", "rollback"):
        getattr(session, end)()
    elif end in ("delete", "expunge"):
        getattr(session, end)(books)
    else:
        books.name = "Games"
        if end == "flush":
            session.flush()
    del decided[:]
    again = CategoryFactory(name="Books")
    assert decided == ["CategoryFactory"]
    assert again.name == "Books"
    assert (again is books) == (end == "commit")


def test_hooks_of_the_projects_own(decided):
    """Where code of the project's runs for a reused row, it runs each time."""
    ran = []

    @reuse_existing(post_generation="always")
    class HookedFactory(CategoryFactory):
        @factory.post_generation
        def hook(self, create, extracted, **kwargs):
            ran.append("post_generation")

    @reuse_existing
    class AfterFactory(CategoryFactory):
        @classmethod
        def _after_postgeneration(cls, instance, create, results=None):
            ran.append("after")

    @reuse_existing
    class GenerateFactory(ShopFactory):
        class Meta:
            model = Category

        @classmethod
        def _generate(cls, strategy, params):
            ran.append("generate")
            return super()._generate(strategy, params)

    for declared in (HookedFactory, AfterFactory, GenerateFactory):
        del ran[:]
        for _ in range(4):
            declared(name="Books")
        assert len(ran) == 4


def test_new_options_are_another_factory(decided):
    """What was kept under the options that a factory had is not its answer under new ones."""

    class DeclaredFactory(CategoryFactory):
        pass

    books = twice(reuse_existing(DeclaredFactory), name="Books")
    reuse_existing(DeclaredFactory, on=("name", "color"))
    assert DeclaredFactory(name="Books", color="grey") is books
    reuse_existing(DeclaredFactory, where=Category.color == "red")
    assert find(DeclaredFactory, name="Books") is None


def test_scopes_hold_for_a_repeated_call(session, make_session, decided):
    """`no_reuse` and `use_session` hold although the answer is kept."""
    books = twice(CategoryFactory, name="Books")
    session.commit()
    twice(CategoryFactory, name="Books")
    with make_session() as other, use_session(other):
        assert twice(CategoryFactory, name="Books") is not books
        assert CategoryFactory(name="Books") in other
    with no_reuse():
        assert CategoryFactory.create(name="Games") is not CategoryFactory.create(name="Toys")
    assert CategoryFactory(name="Books") is books


def test_memory_is_built_as_without_reuse(decided):
    """`build` and `stub` pass through factory_boy's own options, SubFactories included."""
    product = ProductFactory.build(category__name="Books")
    assert (product.category.name, product in Scoped) == ("Books", False)
    assert ProductFactory.stub(featured=True).title == "Featured"
    numbers = [ProductFactory.build().sku for _ in range(2)]
    number = int(numbers[0].split("-")[1])
    assert ProductFactory().sku == f"sku-{number + 2}"  # one sequence for all strategies
    assert isinstance(product, Product)
