"""Lookahead: on a hit nothing but the key is evaluated, at any depth; on a miss, all of it once."""

from collections import Counter

import factory
import factory.random
import pytest
from keyed import current

import shop
from factory_reuse import reuse_existing
from shop import Category, CategoryFactory, Line, Product, ProductFactory, ShopFactory, never, rows

Base = shop.Base  # whose tables `engine` makes


@reuse_existing
class LineFactory(ShopFactory):
    class Meta:
        model = Line

    number = factory.Sequence(lambda n: n)
    product = factory.SubFactory(ProductFactory)


class PlainProductFactory(ShopFactory):
    class Meta:
        model = Product

    sku = factory.Sequence("plain-{}".format)
    category = factory.SubFactory(CategoryFactory)


class PlainLineFactory(ShopFactory):
    class Meta:
        model = Line

    number = factory.Sequence(lambda n: n + 1000)
    product = factory.SubFactory(ProductFactory)


@pytest.fixture(autouse=True)
def _scoped(session):
    for counted in (CategoryFactory, ProductFactory, LineFactory, PlainProductFactory):
        counted.reset_sequence(0)
    with current(session):
        yield


def forbid(declared, field):
    """Return a subclass of the factory in which evaluating the field fails."""
    return type(declared.__name__, (declared,), {field: factory.LazyFunction(never)})


class RaisingFactory(factory.Factory):
    class Meta:
        model = dict

    value = factory.LazyFunction(never)


UNWANTED = {
    "LazyFunction": factory.LazyFunction(never),
    "LazyAttribute": factory.LazyAttribute(never),
    "LazyAttributeSequence": factory.LazyAttributeSequence(never),
    "Sequence": factory.Sequence(never),
    "ContainerAttribute": factory.ContainerAttribute(never, strict=False),
    "SelfAttribute": factory.SelfAttribute("no_such_field"),
    "Iterator": factory.Iterator([1], getter=never),
    "Maybe": factory.Maybe("name", factory.LazyFunction(never)),
    "Transformer": factory.Transformer("grey", transform=never),
    "SubFactory": factory.SubFactory(RaisingFactory),
    "Dict": factory.Dict({"value": factory.LazyFunction(never)}),
    "List": factory.List([factory.LazyFunction(never)]),
}


@pytest.mark.backends("sqlite")
@pytest.mark.parametrize("declaration", UNWANTED.values(), ids=UNWANTED)
def test_a_hit_evaluates_no_other_declaration(declaration):
    """Whatever kind of declaration a field is, a hit leaves it alone."""
    books = CategoryFactory(name="Books")

    class SpyFactory(CategoryFactory):
        color = declaration

    assert SpyFactory(name="Books") is books
    with pytest.raises((AssertionError, AttributeError)):
        SpyFactory(name="Games")


@pytest.mark.backends("sqlite")
def test_a_hit_evaluates_no_param_and_no_trait():
    """Params and Traits that the key does not read are not evaluated."""
    books = CategoryFactory(name="Books")

    class SpyFactory(CategoryFactory):
        class Params:
            mood = factory.LazyFunction(never)
            loud = factory.Trait(color=factory.LazyFunction(never))

        color = factory.LazyAttribute(lambda o: o.mood)

    assert SpyFactory(name="Books") is books
    assert SpyFactory(name="Books", loud=True) is books


@pytest.mark.backends("sqlite")
def test_a_hit_advances_no_iterator():
    """The iterator's next value is there for the next new row."""

    class ColorFactory(CategoryFactory):
        color = factory.Iterator(["red", "green", "blue"])

    assert ColorFactory(name="a").color == "red"
    assert ColorFactory(name="a").color == "red"
    assert ColorFactory(name="b").color == "green"


@pytest.mark.backends("sqlite")
def test_a_hit_draws_nothing_from_faker():
    """The random state is the same before and after a hit, so a seeded suite stays as it was."""

    class FakedFactory(CategoryFactory):
        color = factory.Faker("color_name")

    books = FakedFactory(name="Books")
    before = factory.random.get_random_state()
    assert FakedFactory(name="Books") is books
    assert factory.random.get_random_state() == before


def test_a_hit_at_the_root_of_a_tree_is_one_select(session, statements):
    """Three factories deep, all rows there: one SELECT, no row of any of the three is added."""
    known = LineFactory(number=1).id
    session.commit()
    session.expunge_all()
    with statements() as seen:
        again = LineFactory(number=1)
    assert seen == ["SELECT"]
    assert again.id == known
    assert rows(Line, Product, Category) == [1, 1, 1]


@pytest.mark.parametrize("parent", [LineFactory, PlainLineFactory], ids=["decorated", "plain"])
def test_a_nested_hit_leaves_no_orphan(parent):
    """Below a new row, a child that is there is taken; its own SubFactory does not run."""
    product = ProductFactory(sku="A")
    quiet = forbid(ProductFactory, "category")

    class SpyLineFactory(parent):
        product = factory.SubFactory(quiet)

    line = SpyLineFactory(product__sku="A")
    assert line.product is product
    assert rows(Line, Product, Category) == [1, 1, 1]


def test_a_hit_two_levels_below_undecorated_parents():
    """SubFactories of undecorated factories reach reuse-enabled ones just the same."""
    books = CategoryFactory(name="Books")

    class PlainDeepFactory(PlainLineFactory):
        product = factory.SubFactory(PlainProductFactory)

    first = PlainDeepFactory(product__category__name="Books")
    second = PlainDeepFactory(product__category__name="Books")
    assert first.product is not second.product
    assert first.product.category is books
    assert second.product.category is books
    assert rows(Line, Product, Category) == [2, 2, 1]


@pytest.mark.backends("sqlite")
def test_deep_arguments_below_a_hit_run_nothing():
    """`product__category__name` below a product that is there makes no category."""
    product = ProductFactory(sku="A", category__name="Books")
    line = LineFactory(product__sku="A", product__category__name="Books")
    assert line.product is product
    assert rows(Line, Product, Category) == [1, 1, 1]


@pytest.mark.backends("sqlite")
def test_a_nested_hit_takes_no_number_below_it():
    """The SubFactory that does not run uses up no sequence number."""
    ProductFactory(sku="A")
    ProductFactory(sku="A")
    LineFactory(product__sku="A")
    assert CategoryFactory().name == "Category 1"


@pytest.mark.backends("sqlite")
def test_a_key_that_finds_the_row_makes_no_parent_for_another_key():
    """A SubFactory in one key is not run in vain when another key finds the row."""

    class PairFactory(ShopFactory):
        class Meta:
            model = Product

        title = "A product"
        sku = factory.LazyAttribute(lambda o: f"sku-{o.title}")
        category = factory.SubFactory(CategoryFactory)

    reuse_existing(PairFactory, on=[("sku",), ("category", "title")])
    product = PairFactory(title="A")
    assert PairFactory(title="A") is product
    assert rows(Product, Category) == [1, 1]


KINDS = {
    "LazyFunction": factory.LazyFunction,
    "LazyAttribute": factory.LazyAttribute,
    "LazyAttributeSequence": factory.LazyAttributeSequence,
    "Sequence": factory.Sequence,
    "ContainerAttribute": lambda function: factory.ContainerAttribute(function, strict=False),
    "Transformer": lambda function: factory.Transformer("grey", transform=function),
}


@pytest.mark.backends("sqlite")
@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_a_miss_evaluates_each_declaration_once(kind):
    """Looking ahead does not make a declaration run twice, in the key or outside it."""
    calls = Counter()

    def spy(field):
        def evaluate(*args):
            calls[field] += 1
            return f"{field} {calls[field]}"

        return evaluate

    @reuse_existing
    class SpyFactory(ShopFactory):
        class Meta:
            model = Category

        name = kind(spy("name"))
        color = kind(spy("color"))

    category = SpyFactory()
    assert (category.name, category.color) == ("name 1", "color 1")
    assert calls == {"name": 1, "color": 1}


@pytest.mark.backends("sqlite")
def test_a_subfactory_in_the_key_runs_once():
    """The parent that the key needs is the one that the row gets."""

    @reuse_existing(on=("category", "title"))
    class TitledFactory(ShopFactory):
        class Meta:
            model = Product

        title = "A"
        category = factory.SubFactory(CategoryFactory)

    assert TitledFactory().category.name == "Category 0"
    assert TitledFactory().category.name == "Category 1"
    assert rows(Product, Category) == [2, 2]


@pytest.mark.backends("sqlite")
def test_a_hit_evaluates_the_key_once():
    """On a hit the key's declaration runs once, as on a miss."""
    calls = []

    @reuse_existing
    class SpyFactory(ShopFactory):
        class Meta:
            model = Category

        name = factory.LazyFunction(lambda: calls.append(1) or "Books")

    assert SpyFactory() is SpyFactory()
    assert calls == [1, 1]


@pytest.mark.backends("sqlite")
def test_adjust_kwargs_sees_what_it_always_saw():
    """`_adjust_kwargs` gets the same keyword arguments in the same order; on a hit, none."""
    seen = []

    class PlainFactory(ShopFactory):
        class Meta:
            model = Category

        color = factory.LazyAttribute(lambda o: f"{o.name} color")
        name = factory.Sequence("Category {}".format)

        @classmethod
        def _adjust_kwargs(cls, **kwargs):
            seen.append(list(kwargs.items()))
            return kwargs

    PlainFactory(name="x", extra={"a": 1})
    reuse_existing(PlainFactory)
    PlainFactory(name="y", extra={"a": 1})
    PlainFactory(name="y", extra={"a": 1})
    PlainFactory.build(name="z", extra={"a": 1})
    assert seen == [
        [("color", f"{name} color"), ("name", name), ("extra", {"a": 1})] for name in "xyz"
    ]


@pytest.mark.backends("sqlite")
def test_create_batch_reuses():
    """`create_batch` calls the factory as often as asked; equal keys give the same row."""
    assert len(set(CategoryFactory.create_batch(3, name="Books"))) == 1
    assert len(set(CategoryFactory.create_batch(3))) == 3
    assert rows(Category) == [4]


@pytest.mark.backends("sqlite")
def test_the_other_ways_to_call_a_factory_reuse_too():
    """`generate` and `simple_generate` create, so they reuse."""
    books = CategoryFactory(name="Books")
    assert CategoryFactory.generate(factory.CREATE_STRATEGY, name="Books") is books
    assert CategoryFactory.simple_generate(True, name="Books") is books
    assert CategoryFactory.simple_generate_batch(True, 2, name="Books") == [books, books]
    assert CategoryFactory.simple_generate(False, name="Books") is not books
    assert rows(Category) == [1]
