"""pytest-factoryboy: fixtures of factories that reuse.

It passes every declaration as a value, calls a subclass of its own, and makes parents before.
"""

import warnings

import factory
import pytest
from keyed import current
from pytest_factoryboy import LazyFixture, register

import shop
from factory_reuse import MismatchError, MismatchWarning, ReuseMixin, reuse_existing, watch
from shop import Category, CategoryFactory, Product, ProductFactory, ShopFactory, rows

Base = shop.Base  # whose tables `engine` makes
pytestmark = pytest.mark.backends("sqlite", "postgresql")


class KeepingFactory(ReuseMixin, ShopFactory):
    class Meta:
        model = Category
        reuse_on_mismatch = "keep"

    name = "Books"
    color = factory.Faker("color_name")


@reuse_existing
class StockedFactory(ShopFactory):
    class Meta:
        model = Product

    sku = "stocked"
    stock = 1
    category = None

    @factory.post_generation
    def restock(obj, create, extracted, **kwargs):
        obj.stock += 1


@reuse_existing(on=[("sku",), ("id",)])
class NumberedFactory(ShopFactory):
    class Meta:
        model = Product

    sku = "numbered"
    id = 77


register(NumberedFactory, "numbered")
register(CategoryFactory)
register(ProductFactory)
register(ProductFactory, "featured_product", featured=True)
register(KeepingFactory, "kept")
register(StockedFactory, "stocked")


@pytest.fixture(autouse=True)
def used(session):
    with current(session):
        yield session


def test_fixtures(category, product, product_factory):
    """Model fixtures are rows; the factory's own fixture reuses them."""
    assert product.category is category
    assert product_factory(sku=product.sku) is product
    assert rows(Category, Product) == [1, 1]


@pytest.mark.parametrize("category__name", ["Books"])
def test_row_that_is_there(request, category__name):
    """A fixture takes the row that is there, and what needs it does, too."""
    books = CategoryFactory(name="Books")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert request.getfixturevalue("category") is books
        assert request.getfixturevalue("product").category is books
    assert rows(Category, Product) == [1, 1]


@pytest.mark.parametrize("product__category", [LazyFixture("kept")])
@pytest.mark.parametrize("product__sku", ["a"])
def test_lazy_fixture(request, product__category, product__sku):
    """A LazyFixture is evaluated, and the whole product is reused."""
    there = ProductFactory(sku="a", category=CategoryFactory(name="Books"))
    assert request.getfixturevalue("product") is there
    assert rows(Category, Product) == [1, 1]


@pytest.mark.parametrize("category__name", ["Books"])
def test_what_is_declared_counts_as_passed(request, category__name):
    """Nobody can tell what was declared from what was passed: a row that differs is told of."""
    CategoryFactory(name="Books", color="red")
    with pytest.warns(MismatchWarning, match=r"CategoryFactory was called with color='grey'"):
        assert request.getfixturevalue("category").color == "red"


def test_key_that_contradicts(request):
    """A key that the row does not have is an error, as wherever it is passed."""
    ProductFactory(sku="numbered")
    with pytest.raises(MismatchError, match="NumberedFactory was called with id=77"):
        request.getfixturevalue("numbered")


def test_kept(request):
    """With on_mismatch="keep" a row is taken as it is."""
    books = CategoryFactory(name="Books", color="red")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert request.getfixturevalue("kept") is books
    assert books.color == "red"


def test_report(request):
    """A report names the factories as they were declared."""
    with watch() as report:
        request.getfixturevalue("product")
        request.getfixturevalue("featured_product")
    assert set(report.by_factory) == {"CategoryFactory", "ProductFactory"}
    assert report.by_factory["ProductFactory"].created == 2


def test_post_generation(request):
    """The plugin runs post-generation hooks itself, for a row that is reused, too."""
    assert StockedFactory(stock=0).stock == 1
    assert request.getfixturevalue("stocked").stock == 2
