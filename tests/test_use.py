"""`get_or_create` and `find`: a call that tells what became of it, and one that only looks."""

import contextlib

import factory
import pytest
from factory.errors import FactoryError
from keyed import current
from sqlalchemy.orm import sessionmaker

import catalog
from catalog import Category, CategoryFactory, Product, ProductFactory
from factory_reuse import (
    AmbiguousMatchError,
    MismatchError,
    ReuseError,
    SessionError,
    find,
    get_or_create,
    no_reuse,
    reuse_existing,
    use_session,
)
from shop import Scoped, ShopFactory, never, rows

Base = catalog.Base  # whose tables `engine` makes


class PlainCategoryFactory(ShopFactory):
    class Meta:
        model = Category

    name = factory.Sequence("Category {}".format)


@reuse_existing
class PlainParentFactory(ProductFactory):
    category = factory.SubFactory(PlainCategoryFactory)


@reuse_existing
class NodeFactory(CategoryFactory):
    parent = factory.SubFactory(f"{__name__}.NodeFactory", name="root", parent=None)


@pytest.fixture(autouse=True)
def _scoped(session):
    for counted in (CategoryFactory, ProductFactory):
        counted.reset_sequence(0)
    with current(session):
        yield


def with_policy(policy):
    """Return a subclass of the factory with another `on_mismatch`."""

    class PolicyFactory(CategoryFactory):
        Meta = type("Meta", (), {"reuse_on_mismatch": policy})

    return PolicyFactory


# get_or_create


def test_get_or_create_tells_new_from_reused(session):
    """`(object, True)` for a new row, `(object, False)` for one that was there, cached or not."""
    books, created = get_or_create(CategoryFactory, name="Books")
    assert (books.name, created) == ("Books", True)
    assert get_or_create(CategoryFactory, name="Books") == (books, False)
    session.commit()
    assert get_or_create(CategoryFactory, name="Books") == (books, False)
    assert get_or_create(CategoryFactory, name="Games")[1] is True


@pytest.mark.backends("sqlite")
def test_get_or_create_tells_of_the_root():
    """What became of the SubFactories' rows does not count."""
    CategoryFactory(name="Games")
    chess, created = get_or_create(ProductFactory, title="Chess", category__name="Games")
    assert created is True
    assert get_or_create(ProductFactory, title="Chess", category__name="Games") == (chess, False)


@pytest.mark.backends("sqlite")
def test_get_or_create_tells_of_the_root_when_its_parent_is_of_the_same_factory():
    """A reused parent made by the same factory is not mistaken for the new row."""
    root = CategoryFactory(name="root")
    leaf, created = get_or_create(NodeFactory, name="leaf")
    assert (leaf.parent, created) == (root, True)
    assert get_or_create(NodeFactory, name="leaf") == (leaf, False)


@pytest.mark.backends("sqlite")
@pytest.mark.parametrize("code", ["c", None], ids=["with its key", "without its key"])
def test_get_or_create_tells_of_the_outer_call(code):
    """A call of the same factory inside a declaration is not mistaken for the outer one."""

    @reuse_existing(on="code")
    class NodeFactory(PlainCategoryFactory):
        parent = factory.LazyFunction(lambda: NodeFactory(code="root", parent=None))

    passed = {} if code is None else {"code": code}
    root = NodeFactory(code="root", parent=None)
    node, created = get_or_create(NodeFactory, **passed)
    assert (node.parent, node.code, created) == (root, code, True)
    assert get_or_create(NodeFactory, code="root", parent=None) == (root, False)


@pytest.mark.backends("sqlite")
def test_get_or_create_tells_of_the_outer_call_when_a_hook_calls_the_factory():
    """Nor is a call in a post-generation hook."""

    @reuse_existing
    class NodeFactory(CategoryFactory):
        @factory.post_generation
        def sibling(self, create, extracted, **kwargs):
            if extracted:
                NodeFactory(name=extracted)

    NodeFactory(name="old")
    node, created = get_or_create(NodeFactory, name="new", sibling="old")
    assert created is True
    assert get_or_create(NodeFactory, name="new", sibling="newer") == (node, False)


@pytest.mark.backends("sqlite")
def test_get_or_create_inside_get_or_create():
    """Each call tells of itself."""
    inner = []

    class NodeFactory(CategoryFactory):
        parent = factory.LazyFunction(
            lambda: inner.append(get_or_create(CategoryFactory, name="root")) or inner[-1][0]
        )

    assert get_or_create(NodeFactory, name="a")[1] is True
    assert get_or_create(NodeFactory, name="b")[1] is True
    assert get_or_create(NodeFactory, name="b")[1] is False
    assert [created for _, created in inner] == [True, False]


@pytest.mark.backends("sqlite")
def test_get_or_create_without_reuse_always_creates():
    """With reuse turned off, by `no_reuse()` or in Meta, the object is always new."""

    class PlainFactory(CategoryFactory):
        class Meta:
            reuse = False

    with no_reuse():
        first = get_or_create(CategoryFactory)
    second = get_or_create(PlainFactory)
    assert (first[1], second[1]) == (True, True)
    assert first[0] is not second[0]


@pytest.mark.backends("sqlite")
@pytest.mark.parametrize("call", [find, get_or_create])
def test_what_does_not_reuse_is_refused(call):
    """A factory that is not decorated, or no factory, is an error that says what to write."""
    with pytest.raises(ReuseError, match=r"PlainCategoryFactory.*@reuse_existing"):
        call(PlainCategoryFactory, name="Books")
    with pytest.raises(ReuseError):
        call(Category, name="Books")
    assert rows(Category) == [0]


@pytest.mark.backends("sqlite")
@pytest.mark.parametrize("call", [find, get_or_create])
def test_an_abstract_factory_is_refused(call):
    """An abstract factory makes no rows, so there is none to find: an error, as from a create."""

    @reuse_existing
    class AbstractFactory(ShopFactory):
        class Meta:
            abstract = True

    class AbstractCategoryFactory(AbstractFactory):
        class Meta:
            model = Category
            abstract = True

        name = "Books"

    CategoryFactory(name="Books")
    for abstract in (AbstractFactory, AbstractCategoryFactory):
        with pytest.raises(FactoryError):
            call(abstract, name="Books")


# find


def test_find_gives_the_row_or_none(session, statements):
    """The row that a create would reuse, or None; at most one SELECT, and nothing is inserted."""
    with statements() as seen:
        assert find(CategoryFactory, name="Books") is None
    assert seen == ["SELECT"]
    books = CategoryFactory(name="Books")
    session.commit()
    with statements() as seen:
        assert find(CategoryFactory, name="Books") is books
    assert set(seen) == {"SELECT"}
    assert rows(Category) == [1]


@pytest.mark.backends("sqlite")
def test_find_uses_no_sequence_number():
    """The number that find looks with is still there for the next create, at each depth."""
    assert find(CategoryFactory) is None
    assert find(ProductFactory) is None
    first = CategoryFactory()
    assert first.name == "Category 0"
    assert find(CategoryFactory) is None
    CategoryFactory.reset_sequence(0)
    assert find(CategoryFactory) is first
    assert find(CategoryFactory) is first
    assert find(CategoryFactory, __sequence=0) is first
    assert CategoryFactory() is first
    assert ProductFactory().title == "Product 0"


@pytest.mark.backends("sqlite")
def test_find_evaluates_nothing_but_the_key():
    """Neither other declarations nor post-generation declarations run, found or not."""

    class SpyFactory(CategoryFactory):
        color = factory.LazyFunction(never)
        after = factory.PostGeneration(never)
        related = factory.RelatedFactory(ProductFactory, "category")

        @classmethod
        def _after_postgeneration(cls, instance, create, results=None):
            never()

    books = CategoryFactory(name="Books")
    assert find(SpyFactory, name="Books") is books
    assert find(SpyFactory, name="Books", after=1, related__title="x") is books
    assert find(SpyFactory, name="Games") is None
    assert rows(Category, Product) == [1, 0]


@pytest.mark.backends("sqlite")
def test_find_looks_a_parent_up_in_the_same_way():
    """A SubFactory in the key is looked up: no parent, no child."""
    assert find(ProductFactory, title="Chess", category__name="Games") is None
    games = CategoryFactory(name="Games")
    assert find(ProductFactory, title="Chess", category__name="Games") is None
    chess = ProductFactory(title="Chess", category=games)
    assert find(ProductFactory, title="Chess", category__name="Games") is chess
    assert find(ProductFactory, title="Chess", category=games) is chess
    assert find(ProductFactory, title="Chess", category__name="Books") is None
    assert rows(Category, Product) == [1, 1]


@pytest.mark.backends("sqlite")
def test_find_knows_that_an_undecorated_parent_is_always_new():
    """Below a SubFactory that does not reuse, no row is there yet; nothing of it is made."""
    product = PlainParentFactory(title="Chess")
    number = PlainCategoryFactory._meta.next_sequence()
    assert find(PlainParentFactory, title="Chess") is None
    assert find(PlainParentFactory, title="Chess", category=product.category) is product
    assert PlainCategoryFactory._meta.next_sequence() == number + 1
    assert rows(Category, Product) == [1, 1]


@pytest.mark.backends("sqlite")
def test_find_tries_the_next_key_where_the_parent_is_missing():
    """One key's missing parent does not hide the row that another key finds."""

    @reuse_existing(on=[("category", "title"), ("id",)])
    class KeyedFactory(ProductFactory):
        pass

    chess = KeyedFactory(id=7, title="Chess", category__name="Games")
    assert find(KeyedFactory, id=7, title="Chess") is chess
    assert rows(Category, Product) == [1, 1]


@pytest.mark.backends("sqlite")
def test_find_sees_pending_rows(make_session):
    """Rows that are not flushed yet are found, and pending parents with them."""
    session = make_session(autoflush=False)
    Scoped.registry.set(session)
    games = Category(name="Games")
    chess = Product(title="Chess", category=games)
    session.add(chess)
    assert find(CategoryFactory, name="Games") is games
    assert find(ProductFactory, title="Chess", category=games) is chess
    assert find(ProductFactory, title="Chess", category__name="Games") is chess
    assert find(ProductFactory, title="Go", category=games) is None
    assert {games, chess} <= set(session.new)


@pytest.mark.backends("sqlite")
def test_find_raises_where_a_create_would():
    """A contradicting value of another key, or two rows for the key, is the same error."""
    CategoryFactory(name="Books", code="b")
    for call in (find, get_or_create):
        with pytest.raises(MismatchError, match=r"code='x'.*code='b'"):
            call(CategoryFactory, name="Books", code="x")

    @reuse_existing(on="color")
    class ColorFactory(PlainCategoryFactory):
        pass

    CategoryFactory(name="Games")
    for call in (find, get_or_create):
        with pytest.raises(AmbiguousMatchError):
            call(ColorFactory, color="grey")


@pytest.mark.backends("sqlite")
def test_find_applies_no_policy_to_other_values():
    """Other differing values: `warn` stays silent, `update` assigns nothing, `raise` raises."""
    books = CategoryFactory(name="Books")
    for policy in ("keep", "warn", "update"):
        assert find(with_policy(policy), name="Books", color="red") is books
    with pytest.raises(MismatchError, match=r"color='red'.*color='grey'"):
        find(with_policy("raise"), name="Books", color="red")
    assert books.color == "grey"
    assert not Scoped().dirty


@pytest.mark.backends("sqlite")
def test_find_gives_what_an_update_would_change():
    """Under `update` a create would reuse the row and assign another key: find gives it as is."""
    updating = with_policy("update")
    books = CategoryFactory(name="Books", code="b")
    assert find(updating, name="Books", code="x") is books
    assert books.code == "b"
    assert updating(name="Books", code="x") is books


@pytest.mark.backends("sqlite")
def test_find_where_reuse_is_off_finds_nothing():
    """Where a create would insert, there is no row that it would reuse."""

    class PlainFactory(CategoryFactory):
        class Meta:
            reuse = False

    CategoryFactory(name="Books")
    assert find(PlainFactory, name="Books") is None
    with no_reuse():
        assert find(CategoryFactory, name="Books") is None
    assert find(CategoryFactory, name=None) is None


@pytest.mark.backends("sqlite")
def test_a_mistyped_name_is_refused_on_a_hit_as_on_a_miss():
    """A passed name that neither the factory nor the model knows is never swallowed."""
    messages = []
    for _ in range(2):
        with pytest.raises(TypeError) as caught:
            CategoryFactory(name="Books", nmae="Games")
        messages.append(str(caught.value))
        CategoryFactory(name="Books")
    assert messages == ["'nmae' is an invalid keyword argument for Category"] * 2
    with pytest.raises(TypeError, match="nmae"):
        find(CategoryFactory, name="Books", nmae="Games")


@pytest.mark.backends("sqlite")
def test_a_mistyped_path_is_refused_on_a_hit_as_on_a_miss():
    """So is a name that a SubFactory, or one below it, hands on to its model."""

    @reuse_existing
    class DeepFactory(ProductFactory):
        category = factory.SubFactory(NodeFactory)

    for path in ("category__nmae", "category__parent__nmae"):
        given = {"title": path, "category__name": "Books", path: "x"}
        messages = []
        for _ in range(2):
            with pytest.raises(TypeError) as caught:
                DeepFactory(**given)
            messages.append(str(caught.value))
            DeepFactory(title=path, category__name="Books")
        assert messages == ["'nmae' is an invalid keyword argument for Category"] * 2


@pytest.mark.backends("sqlite")
@pytest.mark.parametrize("way", ["Meta", "use_session"])
def test_sessionmaker(engine, way):
    """A sessionmaker is no session: each call would look into another one."""
    maker = sessionmaker(engine)

    @reuse_existing(on="name")
    class MadeFactory(CategoryFactory):
        class Meta:
            sqlalchemy_session = maker

    scope = use_session(maker) if way == "use_session" else contextlib.nullcontext()
    with pytest.raises(SessionError, match=r"sessionmaker .* scoped_session\(...\)"), scope:
        MadeFactory(name="Books")


@pytest.mark.backends("sqlite")
def test_a_name_that_a_hook_takes_is_not_refused():
    """Where the factory has a hook of its own, it may know the name."""

    @reuse_existing(on="name")
    class HookFactory(CategoryFactory):
        @classmethod
        def _adjust_kwargs(cls, **kwargs):
            kwargs.pop("shelf", None)
            return kwargs

    first = HookFactory(name="Books", shelf=1)
    assert HookFactory(name="Books", shelf=2) is first


@pytest.mark.backends("sqlite")
def test_find_where_a_declaration_builds():
    """What a key's declaration builds in memory is no row that `find` would have to see."""

    class BuildingFactory(CategoryFactory):
        name = factory.LazyFunction(lambda: CategoryFactory.build(name="Books").name)

    assert find(BuildingFactory) is None
    books = BuildingFactory()
    assert find(BuildingFactory) is books
    assert BuildingFactory() is books
