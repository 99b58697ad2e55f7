"""Off means off: without the create strategy, or without reuse, a factory is as it was before."""

import factory
import pytest
from keyed import current
from sqlalchemy import inspect
from sqlalchemy.exc import IntegrityError

import shop
from factory_reuse import ReuseMixin, no_reuse, reuse_existing
from shop import Category, Product, Scoped, ShopFactory, Tag, count

Base = shop.Base  # whose tables `engine` makes


def product_factory(decorate):
    """Make one factory, and those below it, of every kind of declaration, with new counters."""

    @decorate
    class CategoryFactory(ShopFactory):
        class Meta:
            model = Category

        name = factory.Sequence("Category {}".format)
        color = factory.Iterator(["red", "green", "blue"])
        extra = factory.Dict({"number": factory.Sequence(lambda n: n), "list": factory.List([1])})

    @decorate
    class TagFactory(ShopFactory):
        class Meta:
            model = Tag

        label = factory.Sequence("Tag {}".format)

    @decorate
    class ProductFactory(ShopFactory):
        class Meta:
            model = Product
            exclude = ("word",)
            rename = {"caption": "title"}

        class Params:
            loud = factory.Trait(caption=factory.LazyAttribute(lambda o: o.word.upper()))

        word = factory.Transformer("Word", transform=str.title)
        sku = factory.LazyAttributeSequence(lambda o, n: f"{o.word}-{n}")
        caption = factory.SelfAttribute("word")
        category = factory.SubFactory(CategoryFactory)
        tags = factory.RelatedFactoryList(TagFactory, "product", size=2)

        @factory.post_generation
        def notes(self, create, extracted, **kwargs):
            self.notes = (create, extracted, kwargs)

    return ProductFactory


def shown(value):
    """Return what the value is made of, in a form that can be compared."""
    if isinstance(value, (list, tuple)):
        return [shown(item) for item in value]
    if inspect(value, raiseerr=False) is None and not hasattr(value, "__dict__"):
        return value
    hidden = ("_sa_instance_state", "product")
    fields = {name: shown(field) for name, field in vars(value).items() if name not in hidden}
    return (type(value).__name__, fields)


@pytest.fixture(autouse=True)
def _scoped(session):
    with current(session):
        yield


def undecorated(declared):
    return declared


def start_over():
    Scoped.rollback()
    Scoped.expunge_all()


CALLS = {
    "build": lambda f: f.build(),
    "build with arguments": lambda f: f.build(word="chess", category__name="Games", notes=1),
    "build with a trait": lambda f: f.build(loud=True, notes__depth=2),
    "build_batch": lambda f: f.build_batch(3, sku="same"),
    "generate": lambda f: f.generate(factory.BUILD_STRATEGY),
    "simple_generate": lambda f: f.simple_generate(False, __sequence=7),
    "stub": lambda f: f.stub(),
    "stub with arguments": lambda f: f.stub(word="chess", category__name="Games"),
    "stub_batch": lambda f: f.stub_batch(2),
    "several": lambda f: [f.build(), f.stub(), f.build(category=None, tags=[])],
}


@pytest.mark.backends("sqlite")
@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_what_is_not_created_is_as_before(call, statements):
    """`build` and `stub` give what an undecorated twin gives, twice over, without a statement."""
    plain, decorated = product_factory(undecorated), product_factory(reuse_existing)
    with statements() as seen:
        for _ in range(2):
            expected = shown(call(plain))
            assert shown(call(decorated)) == expected
    assert seen == []
    assert not Scoped().new
    assert decorated._meta.next_sequence() == plain._meta.next_sequence()


@pytest.mark.backends("sqlite")
def test_a_miss_is_as_before():
    """With nothing to reuse, a decorated factory makes the rows that its undecorated twin makes."""
    made = []
    for decorate in (undecorated, reuse_existing):
        declared = product_factory(decorate)
        rows = [declared(), declared(loud=True, category__name="Games"), declared(tags=[])]
        Scoped.flush()
        made.append([(row.category.id, row.category.name, row.category.color) for row in rows])
        made[-1] += [(row.id, row.sku, row.title, row.notes) for row in rows]
        made[-1] += [[tag.label for tag in row.tags] for row in rows]
        start_over()
    assert made[0] == made[1]


@pytest.mark.backends("sqlite")
def test_no_reuse_is_as_before():
    """Inside `no_reuse()` rows are inserted as an undecorated twin inserts them, at any depth."""
    made = []
    for decorate in (undecorated, reuse_existing):
        declared = product_factory(decorate)
        with no_reuse():
            rows = [declared(), declared(sku="x"), declared(sku="y", category=None)]
        made.append([(row.id, row.sku, row.title, row.notes) for row in rows])
        made[-1] += [(row.category.name, row.category.color) for row in rows[:2]]
        start_over()
    assert made[0] == made[1]


def test_no_reuse_sends_what_an_undecorated_factory_sends(statements):
    """Inside `no_reuse()` there is no lookup and no SAVEPOINT."""
    sent = []
    for decorate in (undecorated, reuse_existing):
        declared = product_factory(decorate)
        with no_reuse(), statements() as seen:
            declared()
        sent.append(seen.sql)
        start_over()
    assert sent[0] == sent[1]


def test_no_reuse_inserts_a_duplicate():
    """Inside `no_reuse()` the database refuses the second row, and the session needs a rollback."""
    decorated = product_factory(reuse_existing)
    decorated(sku="x")
    with no_reuse(), pytest.raises(IntegrityError):
        decorated(sku="x")
    Scoped.rollback()
    assert count(Product) == 0


@pytest.mark.backends("sqlite")
def test_no_reuse_ends_with_its_block():
    """After the block, and after an error in it, rows are reused again."""
    decorated = product_factory(reuse_existing)
    with no_reuse():
        product = decorated(sku="x")
    assert decorated(sku="x") is product
    with pytest.raises(ZeroDivisionError), no_reuse():
        raise ZeroDivisionError
    assert decorated(sku="x") is product


@pytest.mark.backends("sqlite")
def test_meta_reuse_false_is_as_before(statements):
    """`Meta.reuse = False` in a subclass: inserts, with no lookup and no SAVEPOINT."""

    class CategoryFactory(ReuseMixin, ShopFactory):
        class Meta:
            model = Category

        name = "Books"

    class PlainFactory(CategoryFactory):
        class Meta:
            reuse = False

    with statements() as seen:
        PlainFactory(name="Games")
    assert seen == ["INSERT"]
    with pytest.raises(IntegrityError):
        PlainFactory(name="Games")
    Scoped.rollback()
    assert CategoryFactory() is CategoryFactory()


@pytest.mark.backends("sqlite")
def test_a_factory_whose_strategy_is_build():
    """`Meta.strategy = BUILD_STRATEGY`: a plain call builds, an explicit create reuses."""

    @reuse_existing
    class BuiltFactory(ShopFactory):
        class Meta:
            model = Category
            strategy = factory.BUILD_STRATEGY

        name = "Books"

    assert inspect(BuiltFactory()).transient
    assert BuiltFactory.create() is BuiltFactory.create()
    assert BuiltFactory() is not BuiltFactory.create()
    assert count(Category) == 1


@pytest.mark.backends("sqlite")
def test_a_factory_that_never_looks_up(statements):
    """`on=()`: a create inserts, with no lookup."""

    @reuse_existing(on=())
    class CategoryFactory(ShopFactory):
        class Meta:
            model = Category

        name = factory.Sequence("Category {}".format)

    with statements() as seen:
        assert CategoryFactory() is not CategoryFactory()
    assert seen == ["SAVEPOINT", "INSERT", "RELEASE"] * 2


@pytest.mark.backends("sqlite")
def test_undecorated_factories_are_left_alone():
    """Decorating one factory changes neither its base nor its siblings."""

    class BaseFactory(ShopFactory):
        class Meta:
            model = Category

        name = "Books"

    options = type(BaseFactory._meta)

    @reuse_existing
    class DecoratedFactory(BaseFactory):
        pass

    class SiblingFactory(BaseFactory):
        pass

    books = DecoratedFactory()
    assert type(BaseFactory._meta) is type(SiblingFactory._meta) is options
    for plain in (BaseFactory, SiblingFactory):
        with pytest.raises(IntegrityError), Scoped.begin_nested():
            plain()
    assert DecoratedFactory() is books
