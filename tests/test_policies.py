"""`on_mismatch`: a reused row and the values that the caller passed."""

import inspect

import factory
import pytest
from keyed import current
from sqlalchemy import func, select

import shop
from factory_reuse import MismatchError, MismatchWarning
from shop import (
    Category,
    CategoryFactory,
    Product,
    ProductFactory,
    Scoped,
    ShopFactory,
    with_policy,
)

Base = shop.Base  # whose tables `engine` makes


@pytest.fixture(autouse=True)
def _scoped(session):
    with current(session):
        yield


def line(offset=0):
    return inspect.currentframe().f_back.f_lineno + offset


# What is done about it


@pytest.mark.backends("sqlite")
def test_keep_says_nothing():
    """`keep`: the row stays as it is, and nobody hears of it."""
    books = CategoryFactory(name="Books", color="blue")
    assert with_policy(CategoryFactory, "keep")(name="Books", color="red") is books
    assert books.color == "blue"


@pytest.mark.backends("sqlite")
def test_warn_is_the_default_and_names_both_values():
    """A differing value is kept, with a warning that names factory, model, key and both values."""
    books = CategoryFactory(name="Books", color="blue")
    with pytest.warns(MismatchWarning) as caught:
        assert CategoryFactory(name="Books", color="red") is books
    assert books.color == "blue"
    assert [warning.message.args[0] for warning in caught] == [
        "CategoryFactory was called with color='red', but the Category that has the key "
        "(name='Books') has color='blue'. Pass the row's value or none, or choose "
        "on_mismatch='keep', 'update' or 'raise', or call it inside no_reuse()."
    ]


@pytest.mark.backends("sqlite")
def test_one_warning_names_all_that_differs():
    """Two differing values are one warning."""
    ProductFactory(sku="A", title="x", stock=1, weight=2.0)
    with pytest.warns(MismatchWarning) as caught:
        ProductFactory(sku="A", title="y", stock=2, weight=2.0)
    assert len(caught) == 1
    assert "title='y', stock=2, but" in str(caught[0].message)
    assert "has title='x', stock=1." in str(caught[0].message)


@pytest.mark.backends("sqlite")
def test_raise_tells_all_by_attributes():
    """`raise`: the error has factory, model, both values and the row; the row stays."""
    books = CategoryFactory(name="Books", color="blue")
    with pytest.raises(MismatchError, match=r"color='red'.*color='blue'") as caught:
        with_policy(CategoryFactory, "raise")(name="Books", color="red")
    error = caught.value
    assert (error.factory, error.model) == ("CategoryFactory", "Category")
    assert (error.values, error.found) == ({"color": "red"}, {"color": "blue"})
    assert error.instance is books
    assert books.color == "blue"
    assert not Scoped().dirty


# Where the warning points


@pytest.mark.single
@pytest.mark.backends("sqlite")
@pytest.mark.parametrize(
    "call",
    [
        lambda: (line(), CategoryFactory(name="Books", color="red")),
        lambda: (line(), CategoryFactory.create(name="Books", color="red")),
        lambda: (line(), CategoryFactory.create_batch(1, name="Books", color="red")),
        lambda: (line(), CategoryFactory.simple_generate(True, name="Books", color="red")),
        lambda: (line(), ProductFactory(category__name="Books", category__color="red")),
        lambda: (line(), RedBooksFactory()),
    ],
    ids=["call", "create", "create_batch", "simple_generate", "nested", "declared"],
)
def test_the_warning_points_at_the_callers_line(call):
    """Whichever way the factory is called, also deep inside another: this file, that line."""
    CategoryFactory(name="Books", color="blue")
    with pytest.warns(MismatchWarning) as caught:
        expected, _ = call()
    assert [(warning.filename, warning.lineno) for warning in caught] == [(__file__, expected)]


class RedBooksFactory(ShopFactory):
    """Undecorated, above a decorated one that it passes values to."""

    class Meta:
        model = Product

    category = factory.SubFactory(CategoryFactory, name="Books", color="red")


@pytest.mark.single
@pytest.mark.backends("sqlite")
def test_the_warning_points_at_the_helper_that_calls():
    """A call in a helper function of the suite is the line to look at."""

    def helper():
        return line(), CategoryFactory(name="Books", color="red")

    CategoryFactory(name="Books", color="blue")
    with pytest.warns(MismatchWarning) as caught:
        expected, _ = helper()
    assert (caught[0].filename, caught[0].lineno) == (__file__, expected)


# What is compared


@pytest.mark.backends("sqlite")
def test_declared_values_are_not_compared():
    """What the factory declares, and nobody passed, may differ."""
    books = CategoryFactory(name="Books", color="blue")
    assert CategoryFactory(name="Books") is books


@pytest.mark.backends("sqlite")
def test_what_a_parent_passes_is_compared():
    """The defaults of a parent's SubFactory are passed values of the child."""
    CategoryFactory(name="Books", color="blue")
    with pytest.warns(MismatchWarning, match=r"color='red'.*color='blue'"):
        RedBooksFactory()


@pytest.mark.backends("sqlite")
def test_what_an_enabled_trait_sets_is_compared():
    """A Trait that the caller enables passes its values; one that is off does not."""
    ProductFactory(sku="A", title="x")
    with pytest.warns(MismatchWarning, match=r"title='Featured'.*title='x'"):
        ProductFactory(sku="A", featured=True)
    ProductFactory(sku="A", featured=False)


@pytest.mark.backends("sqlite")
def test_a_value_by_its_path():
    """`category__name="ZZ"` is held against the category that the row has."""
    product = ProductFactory(sku="A", category__name="Books")
    with pytest.warns(MismatchWarning, match=r"category__name='ZZ'.*category__name='Books'"):
        assert ProductFactory(sku="A", category__name="ZZ") is product
    assert ProductFactory(sku="A", category__name="Books", category__color="grey") is product
    assert Scoped.execute(select(func.count()).select_from(Category)).scalar() == 1


@pytest.mark.backends("sqlite")
def test_a_value_by_its_path_where_a_trait_has_another_subfactory():
    """A Trait over the SubFactory, on or off, does not hide the path's value."""

    class TraitFactory(ProductFactory):
        class Params:
            blue = factory.Trait(category=factory.SubFactory(CategoryFactory, color="blue"))

    TraitFactory(sku="A", category__name="Books")
    with pytest.warns(MismatchWarning, match=r"category__name='ZZ'.*category__name='Books'"):
        TraitFactory(sku="A", category__name="ZZ")


@pytest.mark.backends("sqlite")
def test_a_path_to_a_parent_that_is_not_there():
    """A row without the parent differs from any value passed for the parent."""
    ProductFactory(sku="A", category=None)
    with pytest.warns(MismatchWarning, match=r"category__name='ZZ'.*category__name=None"):
        ProductFactory(sku="A", category__name="ZZ")


@pytest.mark.backends("sqlite")
def test_a_relationship_value(session):
    """A passed parent is compared with the row's, also when that is not loaded."""
    books, games = CategoryFactory(name="Books"), CategoryFactory(name="Games")
    product = ProductFactory(sku="A", category=books)
    for _ in range(2):
        assert ProductFactory(sku="A", category=books) is product
        with pytest.warns(MismatchWarning, match="category=<"):
            ProductFactory(sku="A", category=games)
        with pytest.warns(MismatchWarning, match="category=None"):
            ProductFactory(sku="A", category=None)
        session.expire(product)
