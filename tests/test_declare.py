"""Declaring: the decorator, the mixin, and what they make of every kind of factory class."""

import factory
import pytest
from factory.alchemy import SQLAlchemyModelFactory, SQLAlchemyOptions
from factory.base import FactoryOptions, OptionDefault
from sqlalchemy import Column, ForeignKey, Integer, String, UniqueConstraint, func, inspect, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import declarative_base, relationship

from factory_reuse import (
    MismatchError,
    MismatchWarning,
    ReuseError,
    ReuseMixin,
    UniqueKeyError,
    find,
    get_or_create,
    no_reuse,
    reuse_existing,
)

Base = declarative_base()
# What no database has a part in runs on one.
pytestmark = pytest.mark.backends("sqlite")
everywhere = pytest.mark.backends("sqlite", "sqlite-file", "postgresql", "mariadb")

MISS = ["SELECT", "SAVEPOINT", "INSERT", "RELEASE"]


class Category(Base):
    __tablename__ = "categories"

    id = Column(Integer, primary_key=True)
    name = Column(String(50), nullable=False, unique=True)
    label = Column(String(50))


class Product(Base):
    __tablename__ = "products"

    id = Column(Integer, primary_key=True)
    sku = Column(String(20), nullable=False, unique=True)
    name = Column(String(50))
    category_id = Column(ForeignKey("categories.id"))

    category = relationship(Category)


class User(Base):
    __tablename__ = "users"
    __table_args__ = (UniqueConstraint("tenant", "email"),)

    id = Column(Integer, primary_key=True)
    tenant = Column(String(20), nullable=False)
    email = Column(String(50), nullable=False)


class Note(Base):
    """A model that has no key but the one that the database gives."""

    __tablename__ = "notes"

    id = Column(Integer, primary_key=True)
    text = Column(String(50))


def count(session, model):
    return session.execute(select(func.count()).select_from(model)).scalar()


def reuses(session, factory_class, **key):
    """Whether a second call returns the same object, and inserts nothing in any table."""
    first = factory_class(**key)
    session.flush()
    before = [count(session, mapper.class_) for mapper in Base.registry.mappers]
    again = factory_class(**key)
    session.flush()
    after = [count(session, mapper.class_) for mapper in Base.registry.mappers]
    return again is first and after == before


def legacy_base(database, persistence="flush"):
    class LegacyBase(SQLAlchemyModelFactory):
        class Meta:
            abstract = True
            sqlalchemy_session = database
            sqlalchemy_session_persistence = persistence

    return LegacyBase


def category_factory(database, persistence="flush"):
    class CategoryFactory(legacy_base(database, persistence)):
        class Meta:
            model = Category

        name = factory.Sequence("Category {}".format)

    return CategoryFactory


WAYS = {
    "bare": reuse_existing,
    "no options": reuse_existing(),
    "with options": reuse_existing(on=("name",)),
    "called on a class": lambda decorated: reuse_existing(decorated, on="name"),
}


# The class stays what it is


@pytest.mark.parametrize("way", WAYS)
def test_the_decorated_class_is_the_same_object(session, way):
    """Each way of decorating returns the class itself, with its bases and options object."""
    undecorated = category_factory(session)
    before = (undecorated.__bases__, undecorated._meta, undecorated.__mro__, type(undecorated))

    decorated = WAYS[way](undecorated)

    assert decorated is undecorated
    assert (decorated.__bases__, decorated._meta, decorated.__mro__, type(decorated)) == before


@pytest.mark.parametrize("way", WAYS)
def test_each_way_of_decorating_reuses(session, way):
    """However it is decorated, a factory makes no row twice."""
    decorated = WAYS[way](category_factory(session))

    assert reuses(session, decorated, name="Books")
    assert count(session, Category) == 1


@everywhere
@pytest.mark.parametrize("persistence", [None, "flush", "commit"])
def test_a_decorated_factory_reuses_however_it_persists(session, persistence):
    """Lazy, flushing or committing, a factory makes no row twice."""
    decorated = reuse_existing(category_factory(session, persistence))

    assert reuses(session, decorated, name="Books")
    assert count(session, Category) == 1


def test_the_base_class_is_untouched(session):
    """Decorating a factory changes nothing for its parent or its siblings."""
    parent = category_factory(session)

    class Sibling(parent):
        pass

    @reuse_existing
    class Decorated(parent):
        pass

    parent_class, sibling_class = type(parent._meta), type(Sibling._meta)

    assert parent_class is sibling_class is SQLAlchemyOptions
    assert parent._options_class is SQLAlchemyOptions
    assert reuses(session, Decorated, name="Books")
    for undecorated in (parent, Sibling):
        with pytest.raises(IntegrityError), session.begin_nested():
            undecorated(name="Books")


def test_what_the_factory_holds_is_untouched(session):
    """Declarations, parameters and the sequence's counter survive the decoration."""

    class ProductFactory(legacy_base(session)):
        class Meta:
            model = Product

        class Params:
            cheap = factory.Trait(name="cheap")

        sku = factory.Sequence("SKU-{}".format)
        name = "thing"

        @factory.post_generation
        def tags(obj, create, extracted, **kwargs):
            pass

    ProductFactory()
    reuse_existing(ProductFactory)

    assert set(ProductFactory._meta.pre_declarations) == {"sku", "name"}
    assert set(ProductFactory._meta.post_declarations) == {"tags"}
    assert ProductFactory().sku == "SKU-1"
    assert ProductFactory.build(cheap=True).name == "cheap"
    assert vars(ProductFactory.stub()).keys() == {"sku", "name"}


# Every kind of factory


@everywhere
@pytest.mark.parametrize("way", [reuse_existing, reuse_existing(on="name")])
def test_a_plain_factory_with_its_own_create_reuses(session, way):
    """A `factory.Factory` that saves by itself works, once it says where to look."""

    class CategoryFactory(factory.Factory):
        class Meta:
            model = Category

        name = "Books"

        @classmethod
        def _create(cls, model_class, *args, **kwargs):
            obj = model_class(*args, **kwargs)
            session.add(obj)
            return obj

    reuse_existing(CategoryFactory, session=session)

    assert reuses(session, CategoryFactory)
    assert reuses(session, CategoryFactory, name="Games")
    assert count(session, Category) == 2


class LabelOptions(FactoryOptions):
    """A project's own options: one more of them, and models by name."""

    def _build_default_options(self):
        return [*super()._build_default_options(), OptionDefault("label", None, inherit=True)]

    def get_model_class(self):
        return {"category": Category}.get(self.model, self.model)

    def instantiate(self, step, args, kwargs):
        return super().instantiate(step, args, {**kwargs, "label": self.label})


def labelled_base(database):
    class LabelledFactory(factory.Factory):
        _options_class = LabelOptions

        class Meta:
            abstract = True

        @classmethod
        def _create(cls, model_class, *args, **kwargs):
            obj = model_class(*args, **kwargs)
            database.add(obj)
            database.flush()
            return obj

    return LabelledFactory


@pytest.mark.parametrize("mixed_in", [False, True])
def test_a_factory_with_its_own_options_class_keeps_it(session, mixed_in):
    """The project's options class goes on doing its part, in subclasses too."""
    base = labelled_base(session)

    class CategoryFactory(*([ReuseMixin, base] if mixed_in else [base])):
        class Meta:
            model = "category"
            label = "made here"

        name = "Books"

    reuse_existing(CategoryFactory, session=session)

    class SubFactory(CategoryFactory):
        name = "Games"

    for made in (CategoryFactory, SubFactory):
        assert isinstance(made._meta, LabelOptions)
        assert made().label == "made here"
        assert reuses(session, made)
    assert count(session, Category) == 2


@pytest.mark.parametrize("base", [SQLAlchemyModelFactory, None])
def test_a_factory_made_by_make_factory_reuses(session, base):
    """A factory without a class statement is decorated by a call."""
    if base is None:
        made = factory.make_factory(Category, FACTORY_CLASS=labelled_base(session), name="Books")
        reuse_existing(made, session=session)
    else:
        made = factory.make_factory(Category, FACTORY_CLASS=base, name="Books")
        made._meta.sqlalchemy_session = session
        assert reuse_existing(made) is made

    assert reuses(session, made)
    assert reuses(session, made, name="Games")


def test_a_factory_made_by_make_factory_from_a_reusing_base_reuses(session):
    """`make_factory` on a reuse-enabled base gives a factory that reuses."""
    base = reuse_existing(legacy_base(session))

    made = factory.make_factory(Category, FACTORY_CLASS=base, name="Books")

    assert reuses(session, made)


def test_a_factory_made_by_type_reuses(session):
    """A factory made by calling its metaclass is decorated like any other."""
    meta = type("Meta", (), {"model": Category})
    made = type(SQLAlchemyModelFactory)(
        "CategoryFactory", (legacy_base(session),), {"Meta": meta, "name": "Books"}
    )

    assert reuses(session, reuse_existing(made))


# sqlalchemy_get_or_create


def upgradable(database, names=("name",)):
    class CategoryFactory(legacy_base(database)):
        class Meta:
            model = Category
            sqlalchemy_get_or_create = names

        name = factory.Sequence("Category {}".format)

        @classmethod
        def _get_or_create(cls, model_class, session, args, kwargs):
            raise AssertionError("factory_boy's own lookup ran")

    return CategoryFactory


@everywhere
def test_get_or_create_is_upgraded_by_the_bare_decorator(session, statements):
    """factory_boy's own lookup no longer runs: one SELECT, and an INSERT that can be undone."""
    CategoryFactory = reuse_existing(upgradable(session))

    with statements() as seen:
        first = CategoryFactory(name="Books")
        assert CategoryFactory(name="Books") is first

    assert seen == MISS


@pytest.mark.parametrize("names", [("label",), ["label"], ("name", "label")])
def test_get_or_create_names_become_the_key(session, names):
    """The upgraded factory looks up by its own fields, not by the model's constraints."""
    CategoryFactory = reuse_existing(upgradable(session, names))

    first = CategoryFactory(name="Books", label="books")

    assert find(CategoryFactory, name="Books", label="books") is first
    assert find(CategoryFactory, name="Books", label="other") is None


def test_get_or_create_looks_again_by_what_was_passed(session):
    """As in factory_boy, a refused row may be found by the passed ones of the fields alone."""
    CategoryFactory = reuse_existing(upgradable(session, ("name", "label")))
    first = CategoryFactory(name="Books", label="books")

    class LabelledFactory(CategoryFactory):
        label = factory.Sequence("label {}".format)

    assert LabelledFactory(name="Books") is first
    with pytest.raises(IntegrityError):
        LabelledFactory(name="Books", label="other")
    with pytest.raises(IntegrityError):
        LabelledFactory(name=None)


def test_get_or_create_without_a_value(session):
    """As in factory_boy, it is an error to give no value for any of the fields."""
    CategoryFactory = reuse_existing(upgradable(session, ("label",)))

    with pytest.raises(UniqueKeyError, match=r"CategoryFactory.*Category"):
        CategoryFactory()


def test_on_goes_before_get_or_create(session):
    """A key given to the decorator replaces that of `sqlalchemy_get_or_create`."""
    CategoryFactory = reuse_existing(upgradable(session), on="label")

    first = CategoryFactory(name="Books", label="books")

    with pytest.warns(MismatchWarning):
        assert CategoryFactory(name="Others", label="books") is first


@pytest.mark.parametrize("mixed_in", [False, True])
def test_inherited_get_or_create_is_upgraded(session, mixed_in):
    """`sqlalchemy_get_or_create` of an undecorated parent counts, and stays in force there."""
    parent = upgradable(session, ("label",))

    class Child(*([ReuseMixin, parent] if mixed_in else [parent])):
        pass

    if not mixed_in:
        reuse_existing(Child)

    first = Child(name="Books", label="books")

    assert find(Child, label="books") is first
    assert find(Child, name="Books", label="other") is None
    with pytest.raises(AssertionError, match="own lookup ran"):
        parent(name="Books")


def test_get_or_create_of_a_subclass_is_upgraded(session):
    """A subclass of a reusing base may still say `sqlalchemy_get_or_create`."""
    base = reuse_existing(legacy_base(session))

    class CategoryFactory(base):
        class Meta:
            model = Category
            sqlalchemy_get_or_create = ("label",)

        name = factory.Sequence("Category {}".format)

    first = CategoryFactory(label="books")

    assert CategoryFactory(label="books") is first
    assert CategoryFactory(label="games") is not first


def test_get_or_create_of_a_subclass_survives_a_second_decoration_of_the_base(session):
    """Decorating the base again leaves alone the key that a subclass has of its own."""
    base = legacy_base(session)

    class CategoryFactory(base):
        class Meta:
            model = Category
            sqlalchemy_get_or_create = ("label",)

        name = factory.Sequence("Category {}".format)

    reuse_existing(base)
    reuse_existing(base, on_mismatch="keep")

    first = CategoryFactory(label="books")

    assert CategoryFactory(label="books", name="Books") is first


def test_a_second_decoration_replaces_the_inherited_get_or_create(session):
    """A key given to the base's second decoration holds for subclasses that were there before."""
    base = upgradable(session, ("name",))

    class Before(base):
        pass

    reuse_existing(base)
    reuse_existing(base, on="label")

    class After(base):
        pass

    for subclass in (Before, After):
        first = subclass(label=subclass.__name__)
        assert find(subclass, label=subclass.__name__, name=first.name) is first
        assert find(subclass, label="other", name=first.name) is None


def test_get_or_create_of_a_factory_that_is_turned_off_is_factory_boys(session):
    """Where reuse is off, `sqlalchemy_get_or_create` means what it means to factory_boy."""
    base = reuse_existing(legacy_base(session))

    class CategoryFactory(base):
        class Meta:
            model = Category
            reuse = False
            sqlalchemy_get_or_create = ("name",)

        name = "Books"

    assert CategoryFactory() is CategoryFactory()


# Abstract bases and hierarchies


@everywhere
@pytest.mark.parametrize("mixed_in", [False, True])
def test_subclasses_of_an_abstract_base_reuse(session, mixed_in):
    """An abstract base passes reuse on; each subclass infers the key of its own model."""
    base = legacy_base(session)
    if mixed_in:

        class Base(ReuseMixin, base):
            class Meta:
                abstract = True

    else:
        Base = reuse_existing(base)

    class CategoryFactory(Base):
        class Meta:
            model = Category

        name = factory.Sequence("Category {}".format)

    class ProductFactory(Base):
        class Meta:
            model = Product

        sku = factory.Sequence("SKU-{}".format)
        category = factory.SubFactory(CategoryFactory)

    assert reuses(session, CategoryFactory, name="Books")
    assert reuses(session, ProductFactory, sku="A", category__name="Books")
    assert (count(session, Category), count(session, Product)) == (1, 1)


def test_subclasses_defined_before_the_decoration_reuse(session):
    """Decorating an abstract base reaches the whole hierarchy that is already there."""
    base = legacy_base(session)

    class Middle(base):
        class Meta:
            abstract = True

    class CategoryFactory(Middle):
        class Meta:
            model = Category

        name = factory.Sequence("Category {}".format)

    class BooksFactory(CategoryFactory):
        name = "Books"

    reuse_existing(base, on_mismatch="raise")

    assert reuses(session, CategoryFactory, name="Games")
    assert reuses(session, BooksFactory)
    BooksFactory(name="Toys", label="toys")
    with pytest.raises(MismatchError):
        BooksFactory(name="Toys", label="other")


@pytest.mark.parametrize("order", ["base first", "subclass first"])
def test_a_subclass_keeps_the_options_of_its_own_decorator(session, order):
    """The subclass's decorator wins over its base's, whichever was applied first."""
    base = legacy_base(session)

    class CategoryFactory(base):
        class Meta:
            model = Category

        name = factory.Sequence("Category {}".format)

    decorations = [
        lambda: reuse_existing(base, on_mismatch="keep"),
        lambda: reuse_existing(CategoryFactory, on="label"),
    ]
    for decorate in decorations if order == "base first" else reversed(decorations):
        decorate()

    first = CategoryFactory(name="Books", label="books")

    with pytest.warns(MismatchWarning):
        assert CategoryFactory(name="Games", label="books") is first


def test_a_subclass_under_another_first_base_is_left_alone(session):
    """factory_boy inherits options from the first base, and so does reuse."""
    plain, decorated = legacy_base(session), legacy_base(session)

    class First(plain, decorated):
        class Meta:
            model = Category

        name = "Books"

    class Second(decorated, plain):
        class Meta:
            model = Category

        name = "Books"

    reuse_existing(decorated)

    assert reuses(session, Second)
    with pytest.raises(IntegrityError):
        First()


def test_a_deep_hierarchy_reuses_at_every_level(session):
    """Each level of a hierarchy of five reuses, with its own defaults and one sequence."""

    class Level0(ReuseMixin, legacy_base(session)):
        class Meta:
            abstract = True

    class Level1(Level0):
        class Meta:
            abstract = True

        label = "one"

    class Level2(Level1):
        class Meta:
            model = Category

        name = factory.Sequence("Category {}".format)

    class Level3(Level2):
        label = "three"

    class Level4(Level3):
        pass

    names = [level().name for level in (Level2, Level3, Level4)]

    assert names == ["Category 0", "Category 1", "Category 2"]
    for level in (Level2, Level3, Level4):
        assert reuses(session, level, name="Category 1")
        assert level(name="Category 1").label == "three"
    assert count(session, Category) == 3


# The mixin


class ProjectMixin(ReuseMixin):
    """A project's own mixin over ours."""


class PlainMixin:
    """A mixin that knows nothing of factories."""

    label = "mixed in"


@everywhere
@pytest.mark.parametrize("before", [True, False], ids=["mixin first", "mixin last"])
@pytest.mark.parametrize("mixin", [ReuseMixin, ProjectMixin])
def test_the_mixin_works_in_either_base_order(session, before, mixin):
    """`ReuseMixin` may stand before or after the factory; the bases stay as written."""
    base = legacy_base(session)
    bases = (mixin, base) if before else (base, mixin)

    class CategoryFactory(*bases):
        class Meta:
            model = Category

        name = factory.Sequence("Category {}".format)

    assert CategoryFactory.__bases__ == bases
    assert reuses(session, CategoryFactory, name="Books")


@pytest.mark.parametrize("depth", range(4))
@pytest.mark.parametrize("before", [True, False], ids=["mixin first", "mixin last"])
def test_the_mixin_works_at_any_depth(session, depth, before):
    """Below the class with the mixin all factories reuse; above it none does."""
    levels = [category_factory(session)]
    for level in range(4):
        bases = [levels[-1]]
        if level == depth:
            bases = [PlainMixin, *bases]
            bases = [ReuseMixin, *bases] if before else [*bases, ReuseMixin]
        levels.append(type(levels[-1])(f"Level{level}", tuple(bases), {}))
    levels[0](name="Books")

    for level, made in enumerate(levels[1:]):
        if level >= depth:
            assert reuses(session, made, name="Books")
        else:
            with pytest.raises(IntegrityError), session.begin_nested():
                made(name="Books")


def test_meta_options_are_inherited(session):
    """Every `Meta.reuse_*` holds for subclasses until they say otherwise."""

    class Base(ReuseMixin, legacy_base(session)):
        class Meta:
            abstract = True
            reuse_on = "label"
            reuse_on_mismatch = "raise"

    class CategoryFactory(Base):
        class Meta:
            model = Category

        name = factory.Sequence("Category {}".format)

    class Lenient(CategoryFactory):
        class Meta:
            reuse_on_mismatch = "keep"

    class ByName(Lenient):
        class Meta:
            reuse_on = ("name",)

    first = CategoryFactory(name="Books", label="books")

    with pytest.raises(MismatchError):
        CategoryFactory(name="Games", label="books")
    assert Lenient(name="Games", label="books") is first
    assert ByName(name="Books", label="games") is first
    assert first.label == "books"


def test_meta_options_are_inherited_from_the_first_base(session):
    """As factory_boy does, reuse takes options from the first base with a `_meta` alone."""

    class ByName(ReuseMixin, legacy_base(session)):
        class Meta:
            abstract = True
            reuse_on = "name"

    class ByLabel(ReuseMixin, legacy_base(session)):
        class Meta:
            abstract = True
            reuse_on = "label"

    class CategoryFactory(ByLabel, ByName):
        class Meta:
            model = Category

        name = factory.Sequence("Category {}".format)

    first = CategoryFactory(label="books")

    assert CategoryFactory(label="books") is first


def test_meta_options_may_stand_below_a_decorated_base(session):
    """A subclass of a decorated factory refines its options in Meta."""
    parent = reuse_existing(category_factory(session), on_mismatch="raise")

    class ByLabel(parent):
        class Meta:
            reuse_on = "label"

    first = ByLabel(name="Books", label="books")

    with pytest.raises(MismatchError):
        ByLabel(name="Games", label="books")
    with pytest.raises(MismatchError):
        parent(name="Books", label="games")
    assert parent(name="Books") is first


@everywhere
@pytest.mark.parametrize("mixed_in", [False, True])
def test_meta_reuse_false_turns_it_off(session, mixed_in):
    """`reuse = False` holds for a subclass and those below it, until one says True."""
    parent = category_factory(session)
    if mixed_in:

        class Parent(ReuseMixin, parent):
            pass

    else:
        Parent = reuse_existing(parent)

    class Off(Parent):
        class Meta:
            reuse = False

    class StillOff(Off):
        pass

    class OnAgain(StillOff):
        class Meta:
            reuse = True

    Parent(name="Books")

    for off in (Off, StillOff):
        with pytest.raises(IntegrityError), session.begin_nested():
            off(name="Books")
        assert find(off, name="Books") is None
    assert reuses(session, Parent, name="Books")
    assert reuses(session, OnAgain, name="Books")


def test_the_decorator_turns_it_on_again(session):
    """Decorating a factory that inherits `reuse = False` makes it reuse."""

    class Off(ReuseMixin, category_factory(session)):
        class Meta:
            reuse = False

    class Child(Off):
        pass

    reuse_existing(Off)

    assert reuses(session, Off, name="Books")
    assert reuses(session, Child, name="Books")


# class Params: unique_fields


@pytest.mark.parametrize("mixed_in", [False, True])
@pytest.mark.parametrize("names", ["label", ("label",), ["label"], [("label",)]])
def test_unique_fields_are_the_key(session, mixed_in, names):
    """`Params.unique_fields` is understood as the key, and never reaches the model."""
    parent = legacy_base(session)

    class CategoryFactory(*([ReuseMixin, parent] if mixed_in else [parent])):
        class Meta:
            model = Category

        class Params:
            unique_fields = names
            loud = factory.Trait(label="LOUD")

        name = factory.Sequence("Category {}".format)

    if not mixed_in:
        reuse_existing(CategoryFactory)

    first = CategoryFactory(label="books")
    assert CategoryFactory(label="books") is first
    assert CategoryFactory(loud=True) is CategoryFactory(label="LOUD")
    assert CategoryFactory.build().label is None
    assert not hasattr(CategoryFactory.stub(), "unique_fields")
    assert "unique_fields" not in CategoryFactory._meta.parameters


def test_unique_fields_are_inherited_and_overridden(session):
    """A subclass inherits `unique_fields`, or names its own, in Params or in Meta."""

    class ByLabel(ReuseMixin, legacy_base(session)):
        class Meta:
            model = Category

        class Params:
            unique_fields = ("label",)

        name = factory.Sequence("Category {}".format)

    class Inherits(ByLabel):
        pass

    class ByParams(ByLabel):
        class Params:
            unique_fields = ("name",)

    class ByMeta(ByLabel):
        class Meta:
            reuse_on = ("name",)

    first = ByLabel(name="Books", label="books")

    assert Inherits(label="books") is first
    for by_name in (ByParams, ByMeta):
        with pytest.warns(MismatchWarning):
            assert by_name(name="Books", label="games") is first


@pytest.mark.parametrize("order", ["before", "after"])
def test_on_goes_before_unique_fields_of_an_undecorated_parent(session, order):
    """A key given to the decorator replaces the parent's `unique_fields`, for subclasses too."""

    class Legacy(legacy_base(session)):
        class Meta:
            abstract = True

        class Params:
            unique_fields = ("label",)

    class CategoryFactory(Legacy):
        class Meta:
            model = Category

        name = factory.Sequence("Category {}".format)

    if order == "before":

        class Child(CategoryFactory):
            pass

    reuse_existing(CategoryFactory, on="name")
    if order == "after":

        class Child(CategoryFactory):
            pass

    for by_name in (CategoryFactory, Child):
        first = by_name(name=by_name.__name__, label="books")
        with pytest.warns(MismatchWarning):
            assert by_name(name=by_name.__name__, label="games") is first


def test_naming_the_key_twice_is_refused(session):
    """`Meta.reuse_on` beside `Params.unique_fields` is an error at the class statement."""
    with pytest.raises(ReuseError, match=r"CategoryFactory: .*reuse_on.*unique_fields.*Keep one"):

        class CategoryFactory(ReuseMixin, legacy_base(session)):
            class Meta:
                model = Category
                reuse_on = ("name",)

            class Params:
                unique_fields = ("label",)


# Double decoration, other models


def test_decorating_again_replaces_the_options(session):
    """The second decoration counts, and what it does not say is the default again."""
    CategoryFactory = reuse_existing(category_factory(session), on="label", on_mismatch="raise")
    CategoryFactory(name="Books", label="books")

    assert reuse_existing(CategoryFactory) is CategoryFactory

    with pytest.warns(MismatchWarning):
        assert CategoryFactory(name="Books", label="games").label == "books"
    assert count(session, Category) == 1


def test_decorating_again_replaces_meta_options(session):
    """The decorator on a class with the mixin replaces what its Meta said."""

    @reuse_existing(on_mismatch="keep")
    class CategoryFactory(ReuseMixin, legacy_base(session)):
        class Meta:
            model = Category
            reuse_on = "label"
            reuse_on_mismatch = "raise"

        name = factory.Sequence("Category {}".format)

    first = CategoryFactory(name="Books", label="books")

    assert CategoryFactory(name="Books", label="games") is first


def test_a_refused_decoration_changes_nothing(session):
    """After an error the options are those of before."""
    CategoryFactory = reuse_existing(category_factory(session), on_mismatch="keep")
    first = CategoryFactory(name="Books", label="books")

    with pytest.raises(ReuseError):
        reuse_existing(CategoryFactory, on="label", on_mismatch="no such")
    with pytest.raises(UniqueKeyError):
        reuse_existing(CategoryFactory, on="no_such", on_mismatch="raise")

    assert CategoryFactory(name="Books", label="games") is first


def test_a_refused_decoration_leaves_an_undecorated_factory_working(session):
    """After an error the factory is what it was: it inserts."""
    CategoryFactory = category_factory(session)

    with pytest.raises(ReuseError):
        reuse_existing(CategoryFactory, on=("name", "name"))

    CategoryFactory(name="Books")
    with pytest.raises(IntegrityError):
        CategoryFactory(name="Books")


@everywhere
def test_a_subclass_with_another_model_infers_anew(session):
    """What was inferred for the parent's model is not used for the subclass's."""
    CategoryFactory = reuse_existing(category_factory(session))
    CategoryFactory(name="Books")

    class UserFactory(CategoryFactory):
        class Meta:
            model = User
            exclude = ("name",)

        tenant = "acme"
        email = factory.Sequence("user{}@example.org".format)

    first = UserFactory(email="ann@example.org")
    assert UserFactory(tenant="acme", email="ann@example.org") is first
    assert UserFactory(tenant="bell", email="ann@example.org") is not first
    assert count(session, User) == 2


def test_a_model_assigned_later_is_inferred_anew(session):
    """`_meta.model` set after the first call counts at the next one."""
    CategoryFactory = reuse_existing(category_factory(session))
    CategoryFactory(name="Books")

    CategoryFactory._meta.model = Product

    first = CategoryFactory(sku="A")
    assert isinstance(first, Product)
    assert CategoryFactory(sku="A", name=first.name) is first


@pytest.mark.parametrize("mixed_in", [False, True])
def test_a_model_without_a_key_is_an_error_where_reuse_was_asked_for(session, mixed_in):
    """The error names factory and model, says what was looked at and what to write."""

    class NoteFactory(*([ReuseMixin] if mixed_in else []), legacy_base(session)):
        class Meta:
            model = Note

        text = "Hello"

    if not mixed_in:
        reuse_existing(NoteFactory)

    with pytest.raises(UniqueKeyError) as raised:
        NoteFactory()

    message = str(raised.value)
    assert "NoteFactory: Note has no unique key" in message
    assert "primary key (id)" in message
    assert "@reuse_existing(on=(...))" in message
    assert (raised.value.factory, raised.value.model) == ("NoteFactory", "Note")
    assert count(session, Note) == 0


@pytest.mark.parametrize("mixed_in", [False, True])
def test_a_model_without_a_key_is_created_where_reuse_is_inherited(session, mixed_in):
    """Below an abstract base that reuses, a factory without a key simply creates."""
    base = legacy_base(session)
    if mixed_in:

        class Base(ReuseMixin, base):
            class Meta:
                abstract = True
                reuse_on = "name"  # which a Note does not have

    else:
        Base = reuse_existing(base)

    class NoteFactory(Base):
        class Meta:
            model = Note

        text = "Hello"

    assert NoteFactory() is not NoteFactory()
    assert get_or_create(NoteFactory)[1] is True
    assert count(session, Note) == 3


def test_a_passed_primary_key_is_a_key(session):
    """A factory whose model has a primary key alone reuses by it."""

    @reuse_existing
    class NoteFactory(legacy_base(session)):
        class Meta:
            model = Note

        id = factory.Sequence(lambda n: n + 1)
        text = "Hello"

    first = NoteFactory(id=7)

    assert NoteFactory(id=7) is first
    assert NoteFactory(id="7") is first


@everywhere
def test_an_empty_on_never_looks_up(session, statements):
    """`on=()` inserts without a SELECT."""

    @reuse_existing(on=())
    class NoteFactory(legacy_base(session)):
        class Meta:
            model = Note

        text = "Hello"

    with statements() as seen:
        assert NoteFactory() is not NoteFactory()

    assert seen == ["SAVEPOINT", "INSERT", "RELEASE"] * 2


# When the model is looked at


def test_declaring_does_not_configure_mappers(session):
    """A model whose relationships point at classes not yet defined can be decorated."""
    base = declarative_base()

    class Child(base):
        __tablename__ = "children"

        id = Column(Integer, primary_key=True)
        name = Column(String(50), unique=True)
        parent_id = Column(ForeignKey("parents.id"))

        parent = relationship("Parent")

    @reuse_existing(on=[("name",), ("parent",)])
    class ChildFactory(legacy_base(session)):
        class Meta:
            model = Child

    class MixedIn(ReuseMixin, legacy_base(session)):
        class Meta:
            model = Child
            reuse_on = "parent"

    assert not inspect(Child).configured

    class Parent(base):
        __tablename__ = "parents"

        id = Column(Integer, primary_key=True)

    base.metadata.create_all(session.connection())
    first = ChildFactory(name="Ann")
    assert ChildFactory(name="Ann") is first


@pytest.mark.parametrize("mixed_in", [False, True])
def test_an_unknown_name_is_refused_at_declaration(session, mixed_in):
    """Where the mapper is configured, `on` is checked at once, and a close name suggested."""
    inspect(Category).registry.configure()

    def declare():
        if not mixed_in:
            return reuse_existing(category_factory(session), on="nam")

        class CategoryFactory(ReuseMixin, legacy_base(session)):
            class Meta:
                model = Category
                reuse_on = "nam"

        return CategoryFactory

    with pytest.raises(UniqueKeyError) as raised:
        declare()

    message = str(raised.value)
    assert "CategoryFactory" in message
    assert "'nam'" in message
    assert "Category.nam is not an attribute" in message
    assert "Did you mean 'name'?" in message


def test_an_unknown_name_is_refused_at_the_first_call(session):
    """Where the mapper was not configured yet, the first call says the same."""
    base = declarative_base()

    class Thing(base):
        __tablename__ = "things"

        id = Column(Integer, primary_key=True)
        name = Column(String(50), unique=True)

    @reuse_existing(on="nam")
    class ThingFactory(legacy_base(session)):
        class Meta:
            model = Thing

        name = "x"

    with pytest.raises(UniqueKeyError, match=r"ThingFactory.*'nam'.*Did you mean 'name'"):
        ThingFactory()


# Off means off


@everywhere
def test_no_reuse_is_as_undecorated(session, statements):
    """Inside `no_reuse()` a decorated factory sends what an undecorated one sends."""
    undecorated, decorated = category_factory(session), reuse_existing(category_factory(session))
    decorated(name="Books")

    with statements() as before:
        undecorated(name="Games")
    with no_reuse(), statements() as after:
        decorated(name="Toys")
    with no_reuse(), pytest.raises(IntegrityError), session.begin_nested():
        decorated(name="Books")

    assert list(before) == list(after) == ["INSERT"]
    assert reuses(session, decorated, name="Books")


@pytest.mark.parametrize("strategy", ["build", "stub"])
def test_other_strategies_are_as_undecorated(session, statements, strategy):
    """`build` and `stub` send nothing and ask for no session."""
    CategoryFactory = reuse_existing(category_factory(None))

    with statements() as seen:
        made = getattr(CategoryFactory, strategy)(name="Books")
        assert getattr(CategoryFactory, strategy)(name="Books") is not made

    assert made.name == "Books"
    assert seen == []
