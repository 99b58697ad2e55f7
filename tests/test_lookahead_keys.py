"""Lookahead: keys by every kind of declaration, through all that factory_boy does to a value."""

import factory
import faker
import pytest
from keyed import current

import catalog
from catalog import Category, CategoryFactory, Country, Product, ProductFactory
from factory_reuse import reuse_existing
from shop import Scoped, ShopFactory, rows

Base = catalog.Base  # whose tables `engine` makes


@reuse_existing
class NodeFactory(ShopFactory):
    """A category with a parent category, as factory_boy's manual writes it."""

    class Meta:
        model = Category

    name = factory.Sequence("Node {}".format)
    parent = factory.SubFactory(f"{__name__}.NodeFactory", parent=None)


@reuse_existing
class CyclicCategoryFactory(CategoryFactory):
    """Makes a product, which makes a category: each end stops the other."""

    featured = factory.RelatedFactory(
        f"{__name__}.CyclicProductFactory", factory_related_name="category", title="Featured"
    )


@reuse_existing
class CyclicProductFactory(ProductFactory):
    category = factory.SubFactory(CyclicCategoryFactory, featured=None)


@pytest.fixture(autouse=True)
def _scoped(session):
    for counted in (CategoryFactory, ProductFactory, NodeFactory):
        counted.reset_sequence(0)
    with current(session):
        yield


def category_factory(**declarations):
    """Return a reuse-enabled factory with these declarations and no others."""
    declarations.setdefault("Meta", type("Meta", (), {"model": Category}))
    declarations["__module__"] = __name__
    return reuse_existing(type("MadeFactory", (ShopFactory,), declarations))


DERIVED = {
    "LazyAttribute": {"name": factory.LazyAttribute(lambda o: o.color.upper())},
    "SelfAttribute": {"name": factory.SelfAttribute("color")},
    "LazyAttributeSequence": {"name": factory.LazyAttributeSequence(lambda o, n: o.color)},
    "ContainerAttribute": {
        "name": factory.ContainerAttribute(lambda o, chain: o.color, strict=False)
    },
    "Maybe": {"name": factory.Maybe("color", factory.SelfAttribute("color"), "colorless")},
    "Transformer": {
        "name": factory.Transformer(factory.SelfAttribute("color"), transform=str.upper)
    },
    "Params": {
        "Params": type("Params", (), {"base": factory.SelfAttribute("color")}),
        "name": factory.LazyAttribute(lambda o: f"{o.base}!"),
    },
    "chain": {
        "slug": factory.LazyAttribute(lambda o: o.color.lower()),
        "name": factory.LazyAttribute(lambda o: f"{o.slug}-1"),
        "Meta": type("Meta", (), {"model": Category, "exclude": ("slug",)}),
    },
    "Dict": {
        "extra": factory.Dict({"label": factory.SelfAttribute("..color")}),
        "name": factory.LazyAttribute(lambda o: o.extra["label"]),
    },
    "List": {
        "extra": factory.List([factory.SelfAttribute("..color")]),
        "name": factory.LazyAttribute(lambda o: o.extra[0]),
    },
}


@pytest.mark.backends("sqlite")
@pytest.mark.parametrize("declarations", DERIVED.values(), ids=DERIVED)
def test_a_key_derived_from_other_fields(declarations):
    """The key is what the declaration makes of the fields it reads, passed or declared."""
    made = category_factory(color="Grey", **declarations)
    grey, red = made(), made(color="Red")
    assert grey is not red
    assert made() is grey
    assert made(color="Red") is red
    assert rows(Category) == [2]


@pytest.mark.backends("sqlite")
def test_a_factory_without_a_class_statement():
    """What `make_factory` makes reuses like any other factory."""
    made = factory.make_factory(
        Category, name="Books", color=factory.Iterator(["red", "blue"]), FACTORY_CLASS=ShopFactory
    )
    books = reuse_existing(made)()
    assert made() is books
    assert made(name="Games").color == "blue"


@pytest.mark.backends("sqlite")
def test_a_key_by_trait():
    """A Trait that sets the key decides which row it is."""

    class Params:
        special = factory.Trait(name="Special", color="gold")

    made = category_factory(Params=Params, name="Plain")
    plain, special = made(), made(special=True)
    assert (plain.name, special.name) == ("Plain", "Special")
    assert made() is plain
    assert made(special=True) is special


@pytest.mark.backends("sqlite")
def test_a_key_by_a_passed_transformer_value():
    """A passed value goes through the Transformer before it is looked up; `Force` goes past it."""
    made = category_factory(name=factory.Transformer("Books", transform=str.upper))
    books = made()
    assert books.name == "BOOKS"
    assert made(name="books") is books
    assert made(name=factory.Transformer.Force("BOOKS")) is books
    assert made(name=factory.Transformer.Force("books")) is not books


@pytest.mark.backends("sqlite")
def test_a_key_under_another_name():
    """`rename`: the declaration's name counts in the call, the model's in the key."""
    meta = type("Meta", (), {"model": Category, "rename": {"label": "name"}})
    made = category_factory(Meta=meta, label="Books")
    books = made()
    assert books.name == "Books"
    assert made() is books
    assert made(label="Books") is books
    assert made(label="Games") is not books


@pytest.mark.backends("sqlite")
def test_a_key_by_position():
    """`inline_args`: a key that the model's constructor takes by position."""

    @reuse_existing
    class CountryFactory(ShopFactory):
        class Meta:
            model = Country
            inline_args = ("code",)

        code = "FR"
        title = "France"

    france = CountryFactory()
    assert CountryFactory(code="FR") is france
    assert CountryFactory(code="DE", title="Germany").code == "DE"
    assert rows(Country) == [2]


@pytest.mark.backends("sqlite")
def test_an_excluded_field_is_no_key():
    """`exclude`: a value that never reaches the model cannot identify a row."""
    meta = type("Meta", (), {"model": Category, "exclude": ("id",)})
    made = category_factory(Meta=meta, id=7, name=factory.LazyAttribute(lambda o: f"c{o.id}"))
    seven = made()
    assert seven.id == 1
    assert made() is seven
    assert made(id=1).name == "c1"
    assert rows(Category) == [2]


@pytest.mark.backends("sqlite")
def test_a_skipped_key_is_no_key():
    """A Maybe without a branch gives no value: nothing to look up, so a row is made."""
    made = category_factory(name=factory.Maybe("color", "Books"), color=None)
    assert made().name is None
    assert made() is not made()
    assert made(color="red") is made(color="red")


@pytest.mark.backends("sqlite")
def test_a_key_that_the_parent_knows():
    """`SelfAttribute("..x")` and ContainerAttribute read the parent of a SubFactory."""
    made = category_factory(
        name=factory.SelfAttribute("..title"),
        color=factory.ContainerAttribute(lambda o, chain: chain[0].title),
    )

    @reuse_existing
    class TitledFactory(ProductFactory):
        category = factory.SubFactory(made)

    chess = TitledFactory(title="Chess")
    assert (chess.category.name, chess.category.color) == ("Chess", "Chess")
    assert TitledFactory(title="Chess") is chess
    assert rows(Product, Category) == [1, 1]


@pytest.mark.backends("sqlite")
def test_a_key_by_a_declaration_passed_in_the_call():
    """A declaration that the caller passes is evaluated, once, and looked up."""
    books = CategoryFactory(name="Books")
    calls = []
    name = factory.LazyFunction(lambda: calls.append(1) or "Books")
    assert CategoryFactory(name=name) is books
    assert calls == [1]


@pytest.mark.backends("sqlite")
def test_a_parent_by_its_own_key():
    """A composite key over a SubFactory: the parent is looked up, then the child."""
    chess = ProductFactory(title="Chess", category__name="Games")
    assert ProductFactory(title="Chess", category__name="Games") is chess
    assert ProductFactory(title="Chess", category=chess.category) is chess
    assert ProductFactory(title="Chess", category__name="Books") is not chess
    assert rows(Product, Category) == [2, 2]


@pytest.mark.backends("sqlite")
def test_a_factory_that_is_its_own_parent():
    """A self reference ends where the declaration ends it; a hit does not follow it."""
    node = NodeFactory(name="leaf", parent__name="root")
    assert node.parent.parent is None
    assert NodeFactory(name="leaf") is node
    assert NodeFactory(name="other", parent__name="root").parent is node.parent
    assert NodeFactory(name="root") is node.parent
    assert rows(Category) == [3]


@pytest.mark.backends("sqlite")
def test_factories_that_make_each_other():
    """A cycle of a SubFactory and a RelatedFactory makes each row once, from either end."""
    games = CyclicCategoryFactory(name="Games")
    assert [product.title for product in games.products] == ["Featured"]
    assert CyclicCategoryFactory(name="Games") is games
    featured = CyclicProductFactory(title="Featured", category__name="Games")
    assert featured is games.products[0]
    assert rows(Product, Category) == [1, 1]


@pytest.mark.backends("sqlite")
def test_related_factories_reuse():
    """RelatedFactory and RelatedFactoryList take the rows that are there."""

    @reuse_existing(post_generation="always")
    class StockedFactory(CategoryFactory):
        best = factory.RelatedFactory(ProductFactory, "category", title="Best")
        more = factory.RelatedFactoryList(ProductFactory, "category", size=2, title="More")

    games = StockedFactory(name="Games")
    assert sorted(product.title for product in games.products) == ["Best", "More"]
    assert StockedFactory(name="Games") is games
    assert rows(Product, Category) == [2, 1]


# Sequences


@pytest.mark.backends("sqlite")
def test_a_hit_consumes_one_sequence_number():
    """As any call does, so that the numbers after it stay what they were."""
    books = CategoryFactory(name="Books")
    assert CategoryFactory(name="Books") is books
    assert CategoryFactory().name == "Category 2"


@pytest.mark.backends("sqlite")
def test_a_repeated_sequence_number_is_a_hit():
    """`__sequence` and `reset_sequence` give a number again, and with it the row."""
    first = CategoryFactory(__sequence=3)
    assert first.name == "Category 3"
    assert CategoryFactory(__sequence=3) is first
    zero = CategoryFactory()
    assert zero.name == "Category 0"
    CategoryFactory.reset_sequence(0)
    assert CategoryFactory() is zero
    assert ProductFactory(category____sequence=3).category is first


@pytest.mark.backends("sqlite")
def test_subclasses_share_the_counter():
    """A subclass of the same model counts on where its base is, decorated or not, hits included."""

    class RedFactory(CategoryFactory):
        color = "red"

    counter = CategoryFactory._meta.counter_reference
    assert RedFactory._meta.counter_reference is counter
    assert [CategoryFactory().name, RedFactory().name] == ["Category 0", "Category 1"]
    assert RedFactory(name="Category 0").color == "grey"
    assert CategoryFactory().name == "Category 3"
    with pytest.raises(ValueError, match="Can't reset a sequence on descendant factory"):
        RedFactory.reset_sequence()


@pytest.mark.backends("sqlite")
def test_decorating_a_used_factory_keeps_its_counter():
    """The counter goes on from where it was before the factory was decorated."""

    class PlainFactory(ShopFactory):
        class Meta:
            model = Category

        name = factory.Sequence("Plain {}".format)

    assert PlainFactory().name == "Plain 0"
    reuse_existing(PlainFactory)
    assert PlainFactory().name == "Plain 1"


# Errors of factory_boy


class BrokenFactory(ShopFactory):
    class Meta:
        model = Category

    name = "Broken"
    color = factory.LazyAttribute(lambda o: o.parent)
    parent = factory.LazyAttribute(lambda o: o.color)


BROKEN = {
    "unknown deep context": {"nothing__name": 1},
    "cycle": {},
    "cycle in the key": {"name": factory.LazyAttribute(lambda o: o.color)},
    "unknown field": {"color": factory.LazyAttribute(lambda o: o.nothing)},
    "unknown field in the key": {"name": factory.LazyAttribute(lambda o: o.nothing)},
    "no container": {"color": factory.ContainerAttribute(lambda o, chain: chain)},
    "wrong type": {"colour": "grey", "color": "x", "parent": None},
}


@pytest.mark.backends("sqlite")
@pytest.mark.parametrize("passed", BROKEN.values(), ids=BROKEN)
def test_the_errors_of_factory_boy_stay_as_they_were(passed):
    """The same mistake in the same call has the same error and the same message."""
    decorated = reuse_existing(type("BrokenFactory", (BrokenFactory,), {"__module__": __name__}))
    messages = []
    for broken in (BrokenFactory, decorated):
        with pytest.raises(Exception) as caught:  # noqa: PT011  # the message is compared below
            broken(**passed)
        messages.append((type(caught.value), str(caught.value)))
    assert messages[0] == messages[1]
    assert not Scoped().new


@pytest.mark.backends("sqlite")
def test_fakers_unique():
    """A unique proxy draws nothing on a hit, and one value a row."""
    fake = faker.Faker()
    drawn = []

    def draw():
        drawn.append(fake.unique.random_element(("a", "b", "c")))
        return drawn[-1]

    declared = category_factory(name=factory.LazyFunction(draw), color=None)
    first = declared()
    assert declared(name=first.name) is first
    assert len(drawn) == 1
    made = declared.create_batch(2)
    assert {category.name for category in (first, *made)} == {"a", "b", "c"}
    with pytest.raises(faker.exceptions.UniquenessException):
        declared()
    assert declared(name="a").name == "a"
    assert rows(Category) == [3]
