"""Many calls at a time: the same objects as one by one, for fewer statements."""

import gc
import itertools
import weakref

import factory
import pytest
from keyed import current, persisting
from sqlalchemy import (
    Column,
    ForeignKey,
    Index,
    Integer,
    String,
    UniqueConstraint,
    event,
    func,
    insert,
    select,
    update,
)
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import declarative_base, relationship

import shop
from factory_reuse import (
    AmbiguousMatchError,
    MismatchError,
    MismatchWarning,
    ReuseError,
    create_many,
    find,
    no_reuse,
    reuse_existing,
    watch,
)
from shop import (
    Category,
    CategoryFactory,
    Product,
    ProductFactory,
    ShopFactory,
    Tag,
    never,
    rows,
)

Base = declarative_base()
Indexed = declarative_base()


class Country(Base):
    __tablename__ = "country"
    id = Column(Integer, primary_key=True)
    code = Column(String(20), unique=True)


class Region(Base):
    __tablename__ = "region"
    id = Column(Integer, primary_key=True)
    code = Column(String(20))
    country_id = Column(ForeignKey("country.id"))
    country = relationship(Country, backref="regions")
    position = Column(Integer)
    __table_args__ = (UniqueConstraint("country_id", "code"),)


class City(Base):
    __tablename__ = "city"
    id = Column(Integer, primary_key=True)
    name = Column(String(20), unique=True)
    alias = Column(String(20), unique=True)
    region_id = Column(ForeignKey("region.id"))
    region = relationship(Region)


class Node(Base):
    __tablename__ = "node"
    id = Column(Integer, primary_key=True)
    name = Column(String(20), unique=True)
    label = Column(String(20))
    parent_id = Column(ForeignKey("node.id"))
    parent = relationship("Node", remote_side=[id], backref="children")


class Stripped(Base):
    __tablename__ = "stripped"
    id = Column(Integer, primary_key=True)
    name = Column(String(20), unique=True)
    category_id = Column(Integer)


class Email(Indexed):
    __tablename__ = "email"
    id = Column(Integer, primary_key=True)
    address = Column(String(50))


Index("email_lower", func.lower(Email.address), unique=True)


@reuse_existing
class CountryFactory(ShopFactory):
    class Meta:
        model = Country

    code = factory.Sequence("C{}".format)


@reuse_existing
class RegionFactory(ShopFactory):
    class Meta:
        model = Region

    code = factory.Sequence("R{}".format)
    country = factory.SubFactory(CountryFactory)


@reuse_existing
class CityFactory(ShopFactory):
    class Meta:
        model = City

    name = factory.Sequence("City {}".format)
    region = factory.SubFactory(RegionFactory)


@reuse_existing
class NodeFactory(ShopFactory):
    class Meta:
        model = Node

    name = factory.Sequence("Node {}".format)
    label = "?"


@pytest.fixture(autouse=True)
def _scoped(engine, session):
    shop.Base.metadata.create_all(engine)
    with current(session):
        yield


def named(*names):
    return [{"name": name} for name in names]


def insert_as_another(engine, model, **values):
    """Return a context in which another transaction commits a row before our next SAVEPOINT."""
    fired = []

    def commit_first(connection, cursor, statement, parameters, context, executemany):
        if statement.startswith("SAVEPOINT") and not fired:
            fired.append(statement)
            with engine.connect() as other, other.begin():
                other.execute(insert(model.__table__).values(**values))

    event.listen(engine, "before_cursor_execute", commit_first)
    return fired


# What it costs


def test_existing_rows(session, statements):
    """Rows that are there cost one SELECT a chunk, and are the very objects, in order."""
    made = [CategoryFactory(name=f"{number}") for number in range(25)]
    session.commit()
    with statements() as seen, watch() as watched:
        again = list(create_many(CategoryFactory, named(*map(str, range(25))), chunk_size=10))
    assert again == made
    assert seen == ["SELECT"] * 3
    assert {outcome.source for outcome in watched.outcomes} == {"database"}


def test_seen_rows(session, statements):
    """Rows that the transaction has seen cost no statement, and come from the cache."""
    given = named(*map(str, range(25)))
    made = list(create_many(CategoryFactory, given))
    for _ in range(3):
        with statements() as seen, watch() as watched:
            assert list(create_many(CategoryFactory, given, chunk_size=10)) == made
        assert seen == []
        assert {outcome.source for outcome in watched.outcomes} == {"cache"}


def test_new_rows(session, statements):
    """New rows cost one SELECT, and one flush in one SAVEPOINT, a chunk."""
    with statements() as seen, watch() as watched:
        made = list(create_many(CategoryFactory, named(*map(str, range(20))), chunk_size=10))
    assert [category.name for category in made] == [str(number) for number in range(20)]
    assert [category.id for category in made] == sorted(category.id for category in made)
    # SQLite is sent as many INSERTs in one, where SQLAlchemy has it return their keys in order.
    once = [verb for verb, _ in itertools.groupby(seen)]
    assert once == ["SELECT", "SAVEPOINT", "INSERT", "RELEASE"] * 2
    assert {outcome.source for outcome in watched.outcomes} == {"created"}
    assert not session.new


def test_some_of_each(session, statements):
    """Rows that are there and rows that are not are told apart by the one SELECT."""
    books = CategoryFactory(name="Books")
    session.commit()
    with statements() as seen, watch() as watched:
        made = list(create_many(CategoryFactory, named("Toys", "Books", "Toys", "Games")))
    assert made[1] is books
    assert made[0] is made[2]
    assert [outcome.source for outcome in watched.outcomes] == [
        "created",
        "database",
        "cache",
        "created",
    ]
    assert seen.count("SELECT") == seen.count("SAVEPOINT") == 1
    assert rows(Category) == [3]


def test_a_composite_key_with_parents(session, statements):
    """Parents that SubFactories would find are looked up together, before their children."""
    given = [{"code": f"R{n}", "country__code": f"C{n % 5}"} for n in range(40)]
    made = [region.id for region in create_many(RegionFactory, given)]
    session.commit()
    session.expunge_all()
    with statements() as seen:
        again = list(create_many(RegionFactory, given))
    assert seen == ["SELECT", "SELECT"]
    assert [region.id for region in again] == made
    assert rows(Country, Region) == [5, 40]


def test_new_children_of_new_and_old_parents(session, statements):
    """A parent that is missing is made once, without a SELECT of its own."""
    CountryFactory(code="C0")
    session.commit()
    given = [{"code": f"R{n}", "country__code": f"C{n % 3}"} for n in range(12)]
    with statements() as seen:
        made = list(create_many(RegionFactory, given))
    assert [region.country.code for region in made] == [f"C{n % 3}" for n in range(12)]
    assert seen.count("SELECT") == 2
    assert seen.count("SAVEPOINT") == 4  # two countries, all regions, and the whole of it
    assert rows(Country, Region) == [3, 12]


def test_three_levels(session, statements):
    """Grandparents are looked up before parents, each level with one SELECT."""
    given = [
        {"name": f"{n}", "region__code": f"R{n % 6}", "region__country__code": f"C{n % 3}"}
        for n in range(30)
    ]
    list(create_many(CityFactory, given))
    assert rows(Country, Region, City) == [3, 6, 30]
    session.commit()
    session.expunge_all()
    more = [{**row, "name": f"more {row['name']}"} for row in given]
    with statements() as seen:
        list(create_many(CityFactory, more))
    assert seen.count("SELECT") == 3
    assert rows(Country, Region, City) == [3, 6, 60]


def test_parents_of_rows_that_are_there_are_not_looked_up(session, statements):
    """A hit costs no SELECT for a parent that is not of its key."""
    given = [{"sku": f"{n}", "category__name": f"{n % 3}"} for n in range(10)]
    made = list(create_many(ProductFactory, given))
    session.commit()
    plain = [{"sku": row["sku"]} for row in given]
    with statements() as seen:
        assert list(create_many(ProductFactory, plain)) == made
    assert seen == ["SELECT"]


@pytest.mark.parametrize("path", ["..label", "..own"])
def test_a_parent_named_by_its_child(path, session, statements):
    """A value that a SubFactory takes over from its own factory is known in advance."""

    @reuse_existing
    class NamedFactory(CityFactory):
        class Meta:
            exclude = ("label", "own")

        label = None
        own = "R0"
        region = factory.SubFactory(
            RegionFactory, code=factory.SelfAttribute(path), country__code="C0"
        )

    RegionFactory(code="R0", country__code="C0")
    session.commit()
    with statements() as seen:
        made = list(create_many(NamedFactory, [{"name": f"{n}", "label": "R0"} for n in range(9)]))
    assert len({city.region for city in made}) == 1
    assert seen.count("SELECT") == 3
    assert rows(Region) == [1]


def test_alternative_keys(session, statements):
    """Each key is asked for with a SELECT of its own, by the rows that no other key found."""
    old = CityFactory(name="Old", alias="O", region=None)
    session.commit()
    given = [{"name": "Old"}, {"alias": "O"}, {"name": "New", "alias": "N"}, {"alias": "N"}]
    with statements() as seen:
        made = list(create_many(CityFactory, [{"region": None, **row} for row in given]))
    assert made[:2] == [old, old]
    assert made[2] is made[3]
    assert rows(City) == [2]
    assert seen.count("SELECT") <= 4


def test_alternative_keys_of_rows_that_go_one_by_one(session, statements):
    """So too where a row may be updated, and so none are inserted together."""
    declared = reuse_existing(
        type("UpdatedFactory", (CityFactory,), {}),
        on=[("name",), ("alias",)],
        on_mismatch="update",
    )
    session.commit()
    given = [{"name": f"{n}", "alias": f"alias {n}", "region": None} for n in range(5)]
    with statements() as seen:
        made = list(create_many(declared, given))
    assert seen.count("SELECT") == 2
    assert [city.name for city in made] == list("01234")
    assert rows(City) == [5]


@pytest.mark.parametrize("size", [1, 7, 1000, 5000])
def test_limits(size, session):
    """Any number of keys is found, whatever the backend's limits are."""
    given = [{"code": f"{n}", "country": None} for n in range(1200)]
    country = CountryFactory()
    for row in given:
        row["country"] = country
    made = list(create_many(RegionFactory, given))
    session.commit()
    assert list(create_many(RegionFactory, given, chunk_size=size)) == made
    assert rows(Region) == [1200]


@pytest.mark.backends("sqlite", "postgresql")  # MariaDB has no such indexes
def test_an_index_over_an_expression(engine, session):
    """A key that is an expression is looked up for all rows, too."""
    Indexed.metadata.create_all(engine)

    @reuse_existing
    class EmailFactory(ShopFactory):
        class Meta:
            model = Email

    old = EmailFactory(address="Ann@example.org")
    session.commit()
    given = ["ann@example.org", "bob@example.org", "BOB@example.org", "cy@example.org"]
    made = list(create_many(EmailFactory, [{"address": address} for address in given]))
    assert made[0] is old
    assert made[1] is made[2]
    assert rows(Email) == [3]


def test_texts_that_the_database_takes_for_equal(session, backend):
    """A collation decides what is the same; MariaDB's passes over case."""
    books = CategoryFactory(name="Books")
    session.commit()
    made = list(create_many(CategoryFactory, named("books", "toys", "Toys", "BOOKS")))
    same = backend == "mariadb"
    assert (made[0] is books) is same
    assert (made[1] is made[2]) is same
    assert rows(Category) == [2 if same else 5]


# What it gives


def test_lazily_and_in_order(session):
    """Rows are taken a chunk at a time, when their objects are asked for."""
    taken = []

    def given():
        for number in range(100):
            taken.append(number)
            yield {"name": f"{number}"}

    objects = create_many(CategoryFactory, given(), chunk_size=10)
    assert taken == []
    assert next(objects).name == "0"
    assert taken == list(range(10))
    assert [category.name for category in objects] == [str(number) for number in range(1, 100)]


def test_constant_memory(session):
    """What a chunk made is let go once it is given out, but for what the cache holds."""
    objects = create_many(CategoryFactory, (named(f"{n}")[0] for n in range(60)), chunk_size=10)
    seen = []
    for category in objects:
        seen.append(weakref.ref(category))
        del category
        if len(seen) % 10 == 1:
            session.commit()
    session.commit()
    gc.collect()
    assert [reference() for reference in seen] == [None] * 60


def test_built_as_ever(session):
    """Sequences, lazy attributes, traits and parents come about as in a single call."""
    CategoryFactory.reset_sequence(5)
    ProductFactory.reset_sequence(10)

    @reuse_existing
    class TitledFactory(ProductFactory):
        title = factory.LazyAttribute(lambda product: f"{product.sku} of {product.category.id}")

    made = list(create_many(TitledFactory, [{}, {"featured": True}, {"sku": "x", "stock": 3}]))
    assert [product.sku for product in made] == ["sku-10", "sku-11", "x"]
    assert [product.category.name for product in made] == [f"Category {n}" for n in (5, 6, 7)]
    assert made[0].title == f"sku-10 of {made[0].category_id}"
    assert [product.title for product in made[1:]] == ["Featured", f"x of {made[2].category_id}"]
    assert TitledFactory().sku == "sku-13"


def test_a_forced_sequence_number(session):
    """`__sequence` counts for the call alone."""
    ProductFactory.reset_sequence(3)
    made = list(create_many(ProductFactory, [{"__sequence": 90}, {}, {"__sequence": None}]))
    assert [product.sku for product in made] == ["sku-90", "sku-3", "sku-4"]


def test_post_generation(session):
    """Post-generation declarations run once a new row is there, and for a hit only if asked."""
    seen = []

    @reuse_existing
    class TaggedFactory(ProductFactory):
        @factory.post_generation
        def note(self, create, extracted, **kwargs):
            seen.append((self.sku, self.id is not None, extracted))

        tag = factory.RelatedFactory("test_batch.TagFactory", "product")

    TaggedFactory(sku="old")
    del seen[:]
    given = [{"sku": "a"}, {"sku": "old"}, {"sku": "a", "note": 1}, {"sku": "b"}]
    made = list(create_many(TaggedFactory, given))
    assert seen == [("a", True, None), ("a", True, 1), ("b", True, None)]
    assert rows(Product, Tag) == [3, 3]
    assert [len(product.tags) for product in made] == [1, 1, 1, 1]


@reuse_existing
class TagFactory(ShopFactory):
    class Meta:
        model = Tag

    label = factory.Sequence("tag {}".format)


def test_nothing_in_vain(session):
    """For a row that is there nothing is evaluated, and nothing twice for one that is not."""
    drawn = []

    @reuse_existing
    class DrawingFactory(ProductFactory):
        title = factory.LazyFunction(lambda: drawn.append(1) or "drawn")

    old = DrawingFactory(sku="old")
    session.commit()
    del drawn[:]
    made = list(create_many(DrawingFactory, [{"sku": "old"}, {"sku": "new"}, {"sku": "new"}]))
    assert made[0] is old
    assert len(drawn) == 1
    assert rows(Category) == [2]

    class UnevaluatedFactory(DrawingFactory):
        title = factory.LazyFunction(never)
        category = factory.LazyFunction(never)

    assert list(create_many(UnevaluatedFactory, [{"sku": "old"}, {"sku": "new"}])) == made[:2]


@pytest.mark.single
def test_mismatches(session):
    """Passed values are compared with each reused row, as in a single call."""
    CategoryFactory(name="Books", color="red")
    session.commit()
    given = [{"name": "Books", "color": "red"}, {"name": "Books", "color": "blue"}]
    with pytest.warns(MismatchWarning, match="color='blue'") as caught:
        list(create_many(CategoryFactory, given))
    assert [warning.filename for warning in caught] == [__file__]
    with pytest.warns(MismatchWarning, match="color='green'"):
        list(create_many(CategoryFactory, [{"name": "x"}, {"name": "x", "color": "green"}]))


def test_updates(session):
    """Under on_mismatch="update" each row's passed values are assigned in turn."""
    declared = shop.with_policy(CategoryFactory, "update")
    declared(name="Books", color="red")
    made = list(create_many(declared, [{"name": "Books", "color": c} for c in ("blue", "green")]))
    assert [category.color for category in made] == ["green", "green"]


# What rows of a chunk know of each other


@pytest.mark.parametrize("autoflush", [True, False])
def test_a_query_sees_the_rows_before(autoflush, session):
    """A declaration that queries sees the rows before its own, as one by one."""
    session.autoflush = autoflush

    def next_name():
        return str(session.execute(select(func.count()).select_from(Country)).scalar())

    @reuse_existing
    class CountedFactory(CountryFactory):
        code = factory.LazyFunction(next_name)

    assert [country.code for country in CountedFactory.create_batch(4)] == ["0", "1", "2", "3"]


@pytest.mark.parametrize("in_key", [True, False])
def test_a_collection_has_the_rows_before(in_key, session):
    """A declaration that counts the children of its parent counts those of the same batch."""
    number = factory.LazyAttribute(lambda region: len(region.country.regions))

    class CountedFactory(RegionFactory):
        code = factory.LazyAttribute(lambda r: f"{len(r.country.regions)}") if in_key else "x"
        position = number

    country = CountryFactory()
    given = [{"country": country, **({} if in_key else {"code": f"{n}"})} for n in range(4)]
    made = list(create_many(CountedFactory, given))
    assert [region.position for region in made] == [0, 1, 2, 3]
    assert [region.code for region in made] == ["0", "1", "2", "3"]


@pytest.mark.parametrize(
    "options", [{"savepoint": False}, {"cache": False}, {"on_mismatch": "update"}, {}, None]
)
def test_a_key_that_counts(options, session):
    """A key that is counted counts the rows before, also where rows go one by one."""

    def count():
        return str(session.execute(select(func.count()).select_from(Country)).scalar())

    how = "flush" if options is not None else None
    declared = type("D", (persisting(CountryFactory, how),), {"code": factory.LazyFunction(count)})
    reuse_existing(**options or {})(declared)
    assert [country.code for country in declared.create_batch(3)] == ["0", "1", "2"]


def test_a_row_that_asks_for_nothing(session):
    """A row whose key is drawn, but does not count, goes before one that passes it."""

    @reuse_existing(match="explicit")
    class ExplicitFactory(CityFactory):
        name = "drawn"

    made = list(create_many(ExplicitFactory, [{}, {"name": "drawn"}]))
    assert made[0] is made[1]
    assert rows(City, Region) == [1, 1]


def test_without_a_constraint(session):
    """Rows with a key that nothing enforces are inserted in turn, and reused."""
    declared = reuse_existing(on="color")(persisting(CategoryFactory, "flush"))
    made = list(create_many(declared, [{"color": color} for color in ("red", "blue", "red")]))
    assert made[0] is made[2]
    assert rows(Category) == [2]


@pytest.mark.parametrize("persistence", [None, "flush"])
@pytest.mark.parametrize("rest", [1, 8])
def test_a_key_that_several_rows_have(rest, persistence, session):
    """What nothing enforces, several rows may have: the error counts them all."""
    declared = reuse_existing(on="color")(persisting(CategoryFactory, persistence))
    session.add_all([Category(name=f"{number}", color="red") for number in range(rest + 1)])
    session.add(Category(name="blue", color="blue"))
    session.commit()
    with pytest.raises(AmbiguousMatchError, match="row 1: ") as caught:
        list(create_many(declared, [{"color": "blue"}, {"color": "red"}, {"color": "green"}]))
    assert (caught.value.count, caught.value.values) == (rest + 1, {"color": "red"})
    assert rows(Category) == [rest + 2]


@pytest.mark.parametrize("persistence", [None, "flush"])
@pytest.mark.parametrize("others", [[], [func.lower("X")]], ids=["known", "unknown"])
def test_unflushed_objects(others, persistence, session):
    """With autoflush off, an object that no SELECT can see yet is found as one by one."""
    session.autoflush = False
    pending = Country(code="C")
    session.add_all([pending, *(Country(code=code) for code in others)])
    countries = persisting(CountryFactory, persistence)
    made = list(create_many(countries, [{"code": "A"}, {"code": "C"}, {"code": "A"}]))
    assert made[0] is made[2]
    assert made[1] is pending
    session.flush()
    assert rows(Country) == [2 + len(others)]


@pytest.mark.backends("sqlite", "mariadb")  # PostgreSQL has no json = json
def test_a_value_without_a_hash(session):
    """A key value that cannot be hashed is looked up in its turn."""

    @reuse_existing(on="extra")
    class ExtraFactory(CategoryFactory):
        pass

    assert len(list(create_many(ExtraFactory, [{"extra": [1]}, {"extra": [2]}]))) == 2


def test_a_tree(session):
    """A row may be the parent of a later one of the same batch."""

    class ChildFactory(NodeFactory):
        class Params:
            under = None

        parent = factory.Maybe(
            "under", factory.SubFactory(NodeFactory, name=factory.SelfAttribute("..under"))
        )

    given = [
        {"name": "root", "label": "mine"},
        {"name": "a", "under": "root"},
        {"name": "b", "under": "a"},
        {"name": "c", "under": "late"},
        {"name": "late"},
    ]
    root, a, b, c, late = create_many(ChildFactory, given)
    assert (a.parent, b.parent, c.parent) == (root, a, late)
    assert [node.label for node in (root, a, b, c, late)] == ["mine", "?", "?", "?", "?"]
    assert rows(Node) == [5]


def test_a_tree_of_subfactories(session):
    """The same where the parent's name is passed by its path."""

    class ChildFactory(NodeFactory):
        parent = factory.SubFactory(NodeFactory)

    given = [
        {"name": "root", "label": "mine", "parent": None},
        {"name": "a", "parent__name": "root"},
        {"name": "b", "parent__name": "a"},
    ]
    root, a, b = create_many(ChildFactory, given)
    assert (a.parent, b.parent, root.label) == (root, a, "mine")
    assert rows(Node) == [3]


def test_a_row_that_a_declaration_inserts(session):
    """A row that comes from elsewhere, while the chunk is evaluated, is reused."""

    def interfere():
        session.execute(insert(Category.__table__).values(name="second"))
        return "first"

    @reuse_existing
    class InterferingFactory(CategoryFactory):
        color = factory.LazyFunction(interfere)

    made = list(create_many(CategoryFactory, named("zero")))
    first = InterferingFactory.create_batch(1, name="one")
    assert rows(Category) == [3]
    made = list(create_many(CategoryFactory, named("one", "second", "zero")))
    assert made[0] is first[0]
    assert rows(Category) == [3]


def test_an_iterator_in_the_key(session):
    """A key that an earlier row of the chunk has too is drawn but once."""

    class NamedFactory(CategoryFactory):
        name = factory.Iterator(["a", "a", "b", "c", "d"])

    made = NamedFactory.create_batch(3)
    assert [category.name for category in made] == ["a", "a", "b"]
    assert rows(Category) == [2]


class Text(str):
    """A text of the project's own kind, which the cache does not answer for."""

    __slots__ = ()


@pytest.mark.parametrize("first", [Text("a"), "a"])
def test_the_first_of_two_makes_the_row(first, session):
    """Of two rows with one key the first is made, also where only the database can tell."""
    declared = shop.with_policy(CategoryFactory, "keep")
    given = [{"name": first, "color": "red"}, {"name": "a", "color": "blue"}]
    assert [category.color for category in create_many(declared, given)] == ["red", "red"]


def test_a_row_that_a_parent_makes_first(session):
    """No parents are made for a row that another row's SubFactory has made meanwhile."""

    class SitedFactory(NodeFactory):
        class Meta:
            exclude = ("country",)

        country = factory.SubFactory(CountryFactory)

    class ChildFactory(SitedFactory):
        parent = factory.SubFactory(SitedFactory)

    late, _ = create_many(ChildFactory, [{"name": "a", "parent__name": "late"}, {"name": "late"}])
    assert late.parent.name == "late"
    assert rows(Node, Country) == [2, 2]


@pytest.mark.parametrize("how", ["flush", None])
def test_a_row_that_a_parent_left(how, session):
    """What the SubFactory of an earlier row made is found, pending or not."""

    class ChildFactory(persisting(NodeFactory, how)):
        parent = factory.SubFactory(persisting(NodeFactory, how))

    child, root = create_many(
        ChildFactory, [{"name": "a", "parent__name": "root"}, {"name": "root", "parent": None}]
    )
    assert child.parent is root
    assert rows(Node) == [2]


def test_statements_of_a_declaration(session):
    """A declaration that writes does not let a later row go before an earlier one."""

    def write():
        session.execute(update(Country).values(code="x"))
        return "drawn"

    @reuse_existing(on_mismatch="keep")
    class WritingFactory(CityFactory):
        alias = factory.Sequence("alias {}".format)
        region = None
        place = factory.LazyFunction(write)

        class Meta:
            exclude = ("place",)

    made = list(create_many(WritingFactory, [{"name": "a"}, {"name": "b"}, {"name": "a"}]))
    assert [city.alias for city in made] == [made[0].alias, made[1].alias, made[0].alias]
    assert rows(City) == [2]


def test_an_update_comes_before_later_rows(session):
    """Under on_mismatch="update" a row may be given what a later one would insert."""
    declared = shop.with_policy(CityFactory, "update")
    declared(name="a", alias="x", region=None)
    session.commit()
    given = [{"name": "a", "alias": "q"}, {"name": "b", "alias": "q"}]
    made = list(create_many(declared, [{"region": None, **row} for row in given]))
    assert len(set(made)) == 1
    assert [(city.name, city.alias) for city in made] == [("b", "q")] * 2


def test_a_mapping_for_all_rows(session):
    """Whoever gives the rows out may use one mapping, changed each time."""

    def given():
        row = {}
        for row["name"] in "abc":
            yield row

    assert [category.name for category in create_many(CategoryFactory, given())] == list("abc")


def test_a_batch_within_a_batch(session):
    """A declaration may make a batch of the same factory, or another's."""

    class NestingFactory(CategoryFactory):
        color = factory.LazyAttribute(
            lambda category: CategoryFactory.create_batch(2, name=f"of {category.name}")[0].name
        )

    made = list(create_many(NestingFactory, [*named("a", "b", "of b"), {"name": "a"}]))
    assert [category.color for category in made[:2]] == ["of a", "of b"]
    assert made[3] is made[0]
    assert rows(Category) == [4]


# When it is refused


def test_what_a_declaration_wrote_is_undone_with_the_chunk(session):
    """Rows that declarations made are made again, where the chunk is refused."""

    @reuse_existing(on="name", on_mismatch="keep")
    class StrippedFactory(ShopFactory):
        class Meta:
            model = Stripped

        category_id = factory.LazyFunction(lambda: CategoryFactory().id)

    StrippedFactory(name="before")
    made = list(create_many(StrippedFactory, named("1", "12", "1-2")))
    assert made[1] is made[2]
    there = set(session.execute(select(Category.id)).scalars())
    assert {stripped.category_id for stripped in made} <= there


@event.listens_for(Stripped, "before_insert")
def strip(mapper, connection, target):
    target.name = target.name.replace("-", "")


def test_a_transient_parent(session):
    """A parent that is not saved yet is saved with its child."""
    country = Country(code="new")
    made = list(create_many(RegionFactory, [{"code": c, "country": country} for c in "aba"]))
    assert [region.country for region in made] == [country] * 3
    assert made[2] is made[0]
    assert rows(Country, Region) == [1, 2]


def test_an_error_is_raised_once(session):
    """A declaration that raises is not evaluated again."""
    drawn = []

    def draw():
        drawn.append(1)
        if len(drawn) == 2:
            raise OSError("unplugged")
        return f"{len(drawn)}"

    class DrawingFactory(CategoryFactory):
        name = factory.LazyFunction(draw)

    with pytest.raises(ReuseError, match=r"^row 1: OSError: unplugged"):
        list(create_many(DrawingFactory, [{}, {}, {}]))
    assert len(drawn) == 2
    assert rows(Category) == [0]


@pytest.mark.backends("sqlite")
def test_a_value_that_cannot_be_sent(session):
    """A value that the SELECT for all refuses is found out, and its row named."""
    with pytest.raises(ReuseError, match=r"^row 2: OverflowError"):
        list(create_many(CountryFactory, [{"id": 1}, {"id": 2}, {"id": 2**70}]))
    assert rows(Country) == [2]  # which were inserted one by one


def test_a_hook_that_rolls_back(session):
    """Rows that a post-generation declaration rolled back are made at their turn."""

    @reuse_existing
    class RollingFactory(CategoryFactory):
        @factory.post_generation
        def roll(self, create, extracted, **kwargs):
            if extracted:
                session.rollback()

    made = list(create_many(RollingFactory, [{"name": "a", "roll": True}, *named("b", "c")]))
    assert [category in session for category in made] == [False, True, True]
    assert rows(Category) == [2]


@pytest.mark.backends("postgresql", "mariadb")  # SQLite has one writer at a time
def test_a_lost_race(engine, make_session):
    """A chunk that is refused goes row by row; what others inserted is reused, nothing is lost."""
    drawn = []

    @reuse_existing
    class DrawingFactory(CategoryFactory):
        color = factory.LazyFunction(lambda: drawn.append(1) or "drawn")

    session = make_session()
    with current(session):
        mine = CategoryFactory(name="mine")
        insert_as_another(engine, Category, name="2", color="theirs")
        made = list(create_many(DrawingFactory, named("1", "2", "3", "1")))
        assert [category.name for category in made] == ["1", "2", "3", "1"]
        assert made[1].color == "theirs"
        assert made[0] is made[3]
        assert len(drawn) == 3  # each at most once, those of the lost row among them
        assert mine in session
        session.commit()
        assert rows(Category) == [4]


def test_an_error_names_the_row(session):
    """An error has the row's index; earlier chunks stay, and its own is undone."""
    given = [*named("a", "b", "c"), {"name": "d", "colour": "red"}, *named("e")]
    objects = create_many(CategoryFactory, given, chunk_size=2)
    made = []
    with pytest.raises(ReuseError, match=r"^row 3: TypeError: 'colour' is an invalid") as caught:
        made.extend(objects)
    assert [category.name for category in made] == ["a", "b"]
    assert caught.value.index == 3
    assert isinstance(caught.value.__cause__, TypeError)
    assert rows(Category) == [2]
    assert list(objects) == []


def test_an_error_of_ours_stays_what_it_is(session):
    """An error of this package keeps its type and its data, and gets the index."""
    CityFactory(name="a", alias="A", region=None)
    CityFactory(name="b", alias="B", region=None)
    given = [{"name": "a", "region": None}, {"name": "a", "alias": "B", "region": None}]
    with pytest.raises(MismatchError, match=r"^row 1: CityFactory") as caught:
        list(create_many(CityFactory, given))
    assert (caught.value.index, caught.value.factory) == (1, "CityFactory")


def test_an_error_of_the_database(session):
    """A row that the database refuses for another reason is found out, and named."""
    given = [{"sku": "1"}, {"sku": "2", "id": 7}, {"sku": "3", "id": 7}, {"sku": "4"}]
    with no_reuse():
        ProductFactory(sku="old", id=7)
    session.commit()
    with pytest.raises(ReuseError, match=r"^row 1: ") as caught:
        list(create_many(persisting(reuse_existing(on="sku")(ProductFactory), "flush"), given))
    assert caught.value.index == 1
    assert rows(Product, Category) == [1, 1]  # and no parent of a product that is not there


@pytest.mark.parametrize("row", ["Books", None, {1: 2}, [("name", "Books")]])
def test_a_row_that_is_no_mapping(row, session):
    """What cannot be keyword arguments is an error that names the row."""
    with pytest.raises(ReuseError, match=r"^row 1: TypeError") as caught:
        list(create_many(CategoryFactory, [{"name": "a"}, row]))
    assert caught.value.index == 1
    assert rows(Category) == [0]


def test_an_error_of_the_rows_themselves(session):
    """An iterable that fails raises its own error; earlier chunks are there."""

    def given():
        yield from named("a", "b", "c")
        raise OSError("unplugged")

    made = []
    with pytest.raises(OSError, match="unplugged"):
        made.extend(create_many(CategoryFactory, given(), chunk_size=2))
    assert [category.name for category in made] == ["a", "b"]


@pytest.mark.parametrize("size", [0, -1, 1.5, None, True, "10"])
def test_chunk_size(size):
    """A chunk size that can't be is refused at once."""
    with pytest.raises(ReuseError, match=r"CategoryFactory: chunk_size=.* positive number"):
        create_many(CategoryFactory, [], chunk_size=size)


def test_a_factory_that_does_not_reuse():
    """create_many is for factories that reuse."""
    with pytest.raises(ReuseError, match="ShopFactory is no factory that reuses rows"):
        create_many(ShopFactory, [])


def test_an_abstract_factory():
    """An abstract factory raises factory_boy's own error, for a batch too."""

    @reuse_existing
    class AbstractFactory(ShopFactory):
        class Meta:
            abstract = True

    with pytest.raises(factory.errors.FactoryError, match="abstract"):
        AbstractFactory.create_batch(1)
    with pytest.raises(ReuseError, match="abstract"):
        list(create_many(AbstractFactory, [{}]))


# Factories of other kinds


def test_a_factory_with_a_create_of_its_own(session, statements):
    """Its `_create` is called for each row that is missing, and the SELECT is shared."""
    created = []

    @reuse_existing
    class OwnFactory(CategoryFactory):
        @classmethod
        def _create(cls, model_class, *args, **kwargs):
            created.append(kwargs["name"])
            return super()._create(model_class, *args, **kwargs)

    CategoryFactory(name="b")
    session.commit()
    with statements() as seen:
        made = list(create_many(OwnFactory, named("a", "b", "c", "a")))
    assert created == ["a", "c"]
    assert [category.name for category in made] == ["a", "b", "c", "a"]
    assert seen.count("SAVEPOINT") == 2
    assert seen[0] == "SELECT"
    assert rows(Category) == [3]


@pytest.mark.parametrize("hook", ["create", "_generate"])
def test_a_factory_with_a_way_in_of_its_own(hook, session):
    """A method of the project's own that sees each call goes on seeing it."""
    seen = []

    def see(cls, *args, **kwargs):
        seen.append(cls.__name__)
        return getattr(super(OwnFactory, cls), hook)(*args, **kwargs)

    OwnFactory = type("OwnFactory", (CategoryFactory,), {hook: classmethod(see)})
    assert len(set(create_many(OwnFactory, named("a", "b", "a")))) == 2
    assert len(set(OwnFactory.create_batch(2, name="a"))) == 1
    assert seen == ["OwnFactory"] * 5


def test_lazy(session, statements):
    """What a lazy factory makes stays pending, chunk after chunk."""
    lazy = persisting(CategoryFactory, None)
    with statements() as seen:
        made = list(create_many(lazy, named(*"abcab"), chunk_size=3))
    assert seen == ["SELECT"]
    assert set(session.new) == set(made)
    assert len(session.new) == 3


def test_commit(session, statements):
    """A factory that commits does so once a chunk."""
    committed = []
    event.listen(session, "after_commit", lambda session: committed.append(1))
    declared = persisting(CategoryFactory, "commit")
    made = list(create_many(declared, named(*"abcde"), chunk_size=3))
    session.rollback()
    assert rows(Category) == [5]
    assert len(committed) == 2
    assert [category.name for category in made] == list("abcde")


def test_without_a_savepoint(session, statements):
    """savepoint=False inserts one by one, as in single calls; the SELECT is shared."""
    declared = reuse_existing(savepoint=False)(persisting(CategoryFactory, "flush"))
    with statements() as seen:
        list(create_many(declared, named(*"abc")))
    assert seen == ["SELECT", "INSERT", "INSERT", "INSERT"]


def test_without_a_key(session, statements):
    """on=() looks nothing up, and inserts all rows together."""
    declared = reuse_existing(on=())(persisting(CategoryFactory, "flush"))
    with statements() as seen:
        made = list(create_many(declared, [{} for _ in range(5)]))
    assert len(set(made)) == 5
    assert [verb for verb, _ in itertools.groupby(seen)] == ["SAVEPOINT", "INSERT", "RELEASE"]


@pytest.mark.parametrize("options", [{"cache": False}, {"refresh": True}, {"match": "explicit"}])
def test_options(options, session):
    """Whatever the options, the objects are those of single calls."""
    declared = reuse_existing(**options)(persisting(CategoryFactory, "flush"))
    old = CategoryFactory(name="b")
    made = list(create_many(declared, [*named("a", "b", "a"), {}]))
    assert made[1] is old
    assert made[0] is made[2]
    assert rows(Category) == [3]


def test_where(session):
    """Only rows that satisfy `where` are reused, and those are found together."""
    declared = reuse_existing(on="color", where=Category.name.like("x%"))(
        persisting(CategoryFactory, "flush")
    )
    for name, color in [("x1", "red"), ("y1", "red"), ("x2", "blue"), ("y2", "green")]:
        CategoryFactory(name=name, color=color)
    session.commit()
    given = [{"color": color, "name": f"x-{color}"} for color in ("red", "blue")]
    with pytest.warns(MismatchWarning):
        made = list(create_many(declared, given))
    assert [category.name for category in made] == ["x1", "x2"]
    (new,) = create_many(declared, [{"color": "green", "name": "x3"}])
    assert new.name == "x3"


def test_no_reuse(session):
    """Inside no_reuse() each row is inserted."""
    CategoryFactory(name="a")
    session.commit()
    with no_reuse(), pytest.raises(ReuseError, match=r"^row 0: IntegrityError"):
        list(create_many(CategoryFactory, named("a")))
    session.rollback()
    with no_reuse(), pytest.raises(IntegrityError):
        CategoryFactory.create_batch(1, name="a")


def test_inside_find(session):
    """A batch that a declaration makes inserts nothing, while something is only looked for."""

    @reuse_existing
    class BatchedFactory(ProductFactory):
        category = factory.LazyFunction(lambda: CategoryFactory.create_batch(1, name="new")[0])
        sku = factory.LazyAttribute(lambda product: product.category.name)

    assert find(BatchedFactory) is None
    assert rows(Category, Product) == [0, 0]


# create_batch


def test_create_batch(session, statements):
    """create_batch of a reuse-enabled factory makes its rows together."""
    with statements() as seen:
        made = CategoryFactory.create_batch(5, color="red")
    assert isinstance(made, list)
    assert len(set(made)) == 5
    assert seen.count("SELECT") == seen.count("SAVEPOINT") == 1
    assert len(set(CategoryFactory.create_batch(5, name="one"))) == 1
    assert CategoryFactory.create_batch(0) == []
    assert factory.create_batch(Category, 2, FACTORY_CLASS=CategoryFactory)[0].id is not None


def test_a_create_that_is_replaced(session, monkeypatch):
    """A `create` that a test puts in place of factory_boy's goes on being called."""
    monkeypatch.setattr(CategoryFactory, "create", lambda **kwargs: kwargs["name"])
    assert CategoryFactory.create_batch(2, name="a") == ["a", "a"]


def test_create_batch_raises_what_it_always_did(session):
    """An error in a batch is the error itself."""
    with pytest.raises(TypeError, match="'colour' is an invalid keyword argument"):
        CategoryFactory.create_batch(2, colour="red")
    with pytest.raises(TypeError):
        CategoryFactory.create_batch("2")


def test_batches_that_build(session):
    """build_batch and stub_batch build, and reuse nothing."""
    assert len({id(category) for category in CategoryFactory.build_batch(3, name="a")}) == 3
    assert len(CategoryFactory.stub_batch(2)) == 2
    assert rows(Category) == [0]


def test_a_subclass_without_reuse(session):
    """Where a subclass turns reuse off, its batches are factory_boy's own."""

    class OffFactory(CategoryFactory):
        class Meta:
            reuse = False

    OffFactory.create_batch(2)
    assert rows(Category) == [2]
    with pytest.raises(IntegrityError):
        OffFactory.create_batch(2, name="a")
