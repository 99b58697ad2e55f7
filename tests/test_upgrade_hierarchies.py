"""`upgrade` on `sqlalchemy_get_or_create`, hierarchies, sessions and persistence."""

import warnings

import pytest

pytest.importorskip("libcst")

from rewritten import BASE, run, upgrader
from rewritten import MODELS as SHOP

pytestmark = pytest.mark.single

MODELS = (
    """\
import factory
from factory.alchemy import SQLAlchemyModelFactory
from sqlalchemy import Column, ForeignKey, Integer, String, UniqueConstraint, create_engine
from sqlalchemy.orm import declarative_base, relationship, scoped_session, sessionmaker


"""
    + SHOP
)


@pytest.fixture
def upgraded(tmp_path):
    """Return what becomes of a source."""
    return upgrader(tmp_path)


@pytest.fixture
def same(upgraded):
    """Upgrade, see that a script sees the same before and after, and return the new source."""

    def same(source, script, *, left=0, again=True):
        result = upgraded(source)
        after = result.after.decode()
        assert len(result.left) == left, result.left
        assert run(after, script) == run(source, script)
        if again:
            assert not upgraded(after).changed
        return after

    return same


def created(factory, *calls):
    """A script that makes calls, and sees the ids."""
    return "\n".join(f"seen.append({factory}({call}).id)" for call in calls)


# sqlalchemy_get_or_create


GET_OR_CREATE = (
    MODELS
    + BASE
    + """\
class CategoryFactory(BaseFactory):
    class Meta:
        model = Category
        sqlalchemy_get_or_create = ("name",)

    name = factory.Sequence("Category {}".format)
"""
)


@pytest.mark.parametrize("fields", ['("name",)', '["name"]', '{"name"}'])
def test_one_field_is_the_key(same, fields):
    """The line goes, and the field is `on`."""
    source = GET_OR_CREATE.replace('("name",)', fields)
    after = same(source, created("CategoryFactory", 'name="A"', "", 'name="A"', 'name="B"'))
    assert '@reuse_existing(on=("name",))\nclass CategoryFactory' in after
    assert "sqlalchemy_get_or_create" not in after


def test_fields_that_are_unique_together_are_a_composite_key(same):
    """A relationship stands for its foreign key in the model's constraint."""
    source = (
        GET_OR_CREATE
        + """

class ProductFactory(BaseFactory):
    class Meta:
        model = Product
        sqlalchemy_get_or_create = ("category", "title")

    title = "Emma"
    category = factory.SubFactory(CategoryFactory, name="Books")
"""
    )
    after = same(source, created("ProductFactory", "", "", 'title="B"', 'title="B"'))
    assert '@reuse_existing(on=("category", "title"))' in after
    assert "sqlalchemy_get_or_create" not in after


def test_fields_that_are_unique_alone_keep_the_line(upgraded):
    """After a refused INSERT factory_boy looks by each, as a bare `@reuse_existing` does."""
    source = GET_OR_CREATE.replace('("name",)', '("name", "slug")')
    result = upgraded(source)
    after = result.after.decode()
    assert "@reuse_existing\nclass CategoryFactory" in after
    assert 'sqlalchemy_get_or_create = ("name", "slug")' in after
    assert "`name` is unique alone in Category" in result.rewritten[0].what
    script = """
    a = CategoryFactory(name="A", slug="a")
    seen.append(CategoryFactory(name="A", slug="a") is a)
    session.commit()
    """
    assert run(after, script) == run(source, script)
    assert not upgraded(after).changed


@pytest.mark.parametrize(
    ("model", "doubt"),
    [
        ("__tablename__ = 'm'\n    a = Column(Integer)\n    b = Column(Integer)", "no unique"),
        ("a = Column(Integer, unique=True)\n    b = Column(Integer)", "`a` is unique alone"),
        ("a = Column(Integer, unique=YES)\n    b = Column(Integer)", "cannot be read"),
        ("__table__ = table", "has a `__table__`"),
        ("a = Column(Integer)", "no column for `b`"),
        (
            "__table_args__ = args\n    a = Column(Integer)\n    b = Column(Integer)",
            "cannot be read",
        ),
        (
            "__table_args__ = (Index('i', 'a', 'b', unique=True, sqlite_where=a > 1),)\n"
            "    a = Column(Integer)\n    b = Column(Integer)",
            "with a condition",
        ),
        (
            "__table_args__ = (UniqueConstraint('a', 'b', 'c'),)\n"
            "    a = Column(Integer)\n    b = Column(Integer)\n    c = Column(Integer)",
            "no unique",
        ),
        (
            "__table_args__ = (UniqueConstraint('a', 'b'), Index('i', 'b', unique=True))\n"
            "    a = Column(Integer)\n    b = Column(Integer)",
            "`b` is unique alone",
        ),
    ],
)
def test_what_is_not_proven_keeps_the_line(upgraded, model, doubt):
    """A bare `@reuse_existing` does what factory_boy did; the summary says what was in doubt."""
    source = f"class M(Base):\n    {model}\n\n\n" + TWO_FIELDS
    result = upgraded(source)
    assert "@reuse_existing\nclass MFactory" in result.after.decode()
    assert doubt in result.rewritten[0].what


@pytest.mark.parametrize(
    "model",
    [
        "__table_args__ = (UniqueConstraint('a', 'b'), {'schema': 's'})\n"
        "    a = Column(Integer)\n    b = Column(Integer)",
        "a = mapped_column(primary_key=True)\n    b = mapped_column(primary_key=True)",
        "__table_args__ = (sa.Index('i', 'a_', 'b_id', unique=True),)\n"
        "    a = Column('a_', Integer)\n    b_id = Column(ForeignKey('bs.id'))",
        "a: Mapped[int] = mapped_column(index=True)\n    b: Mapped[int] = mapped_column()\n"
        "    __table_args__ = (UniqueConstraint(a, b),)",
    ],
)
def test_a_model_is_read_in_any_style(upgraded, model):
    """Constraints, indexes and composite primary keys prove that fields are one key."""
    result = upgraded(f"class M(Base):\n    {model}\n\n\n" + TWO_FIELDS)
    assert '@reuse_existing(on=("a", "b"))\nclass MFactory' in result.after.decode()


TWO_FIELDS = """\
class MFactory(SQLAlchemyModelFactory):
    class Meta:
        model = M
        sqlalchemy_get_or_create = ("a", "b")
"""


def test_fields_that_have_a_name_keep_the_line(same):
    """A bare `@reuse_existing` reads them when it runs."""
    source = GET_OR_CREATE.replace('("name",)', "FIELDS")
    source = source.replace("engine =", "FIELDS = ('name',)\nengine =", 1)
    after = same(source, created("CategoryFactory", 'name="A"', "", 'name="A"'))
    assert "@reuse_existing\nclass CategoryFactory" in after
    assert "sqlalchemy_get_or_create = FIELDS" in after


def test_a_plain_class_that_meta_is_based_on_keeps_its_line(same):
    """What it says is read by a bare `@reuse_existing`."""
    source = (
        MODELS
        + """\
class BaseMeta:
    sqlalchemy_session = session
    sqlalchemy_session_persistence = "flush"
    sqlalchemy_get_or_create = ("name",)


class CategoryFactory(SQLAlchemyModelFactory):
    class Meta(BaseMeta):
        model = Category

    name = "Books"
"""
    )
    after = same(source, created("CategoryFactory", "", "", 'name="B"'))
    assert "@reuse_existing\nclass CategoryFactory" in after


def test_a_string_is_left(upgraded):
    """factory_boy takes its letters for fields."""
    result = upgraded(GET_OR_CREATE.replace('("name",)', '"name"'))
    assert not result.changed
    assert "takes each letter" in result.left[0].reason


def test_a_factory_with_a_create_of_its_own_is_left(upgraded):
    """That would not run any more for a row that is there."""
    source = (
        GET_OR_CREATE
        + """
    @classmethod
    def _create(cls, model_class, *args, **kwargs):
        kwargs["slug"] = kwargs["name"].lower()
        return super()._create(model_class, *args, **kwargs)
"""
    )
    (left,) = upgraded(source).left
    assert "Its `_create` is its own, and would not run for a row that is there" in left.reason


def test_a_create_that_only_passes_on_is_no_obstacle(same):
    """It may stay."""
    source = (
        GET_OR_CREATE
        + '''
    @classmethod
    def _create(cls, model_class, *args, **kwargs):
        """Say nothing."""
        return super()._create(model_class, *args, **kwargs)
'''
    )
    after = same(source, created("CategoryFactory", 'name="A"', "", 'name="A"'))
    assert "def _create" in after


def test_a_base_that_saves_in_its_own_way_is_an_obstacle(upgraded):
    """It may have a session of its own."""
    source = GET_OR_CREATE.replace(
        "class CategoryFactory",
        "class OtherFactory(BaseFactory):\n    @classmethod\n"
        "    def _save(cls, model_class, session, args, kwargs):\n        return 1\n\n\n"
        "class CategoryFactory",
    ).replace("CategoryFactory(BaseFactory)", "CategoryFactory(OtherFactory)")
    (left,) = upgraded(source).left
    assert "The `_save` of its base `OtherFactory` is its own" in left.reason


# Hierarchies


ABSTRACT = (
    MODELS
    + """\
class NamedFactory(SQLAlchemyModelFactory):
    class Meta:
        abstract = True
        sqlalchemy_session = session
        sqlalchemy_session_persistence = "flush"
        sqlalchemy_get_or_create = ("name",)


class CategoryFactory(NamedFactory):
    class Meta:
        model = Category

    name = factory.Sequence("Category {}".format)
"""
)


def test_an_abstract_base_passes_reuse_on(same):
    """It is decorated, and its subclasses inherit."""
    after = same(ABSTRACT, created("CategoryFactory", 'name="A"', "", 'name="A"'))
    assert '@reuse_existing(on=("name",))\nclass NamedFactory' in after
    assert after.count("@reuse_existing") == 1


def test_a_subclass_with_other_fields_is_decorated_itself(same):
    """Its key is its own, as it was."""
    source = (
        ABSTRACT
        + """

class SlugFactory(CategoryFactory):
    class Meta:
        sqlalchemy_get_or_create = ("slug",)

    slug = "a-slug"
"""
    )
    script = """
    one = SlugFactory(slug="a", name="A")
    seen.append(SlugFactory(slug="a", name="A") is one)
    seen.append(SlugFactory(slug="b", name="B").id)
    seen.append(CategoryFactory(name="B").id)
    """
    after = same(source, script)
    assert '@reuse_existing(on=("slug",))\nclass SlugFactory(CategoryFactory):\n    slug' in after


def test_a_subclass_that_looks_up_by_nothing_is_turned_off(same):
    """It creates a row each time, as it did."""
    source = (
        ABSTRACT
        + """

class NewFactory(CategoryFactory):
    class Meta:
        sqlalchemy_get_or_create = ()  # always new

    name = None
"""
    )
    script = created("NewFactory", "", "", "") + "\n" + created("CategoryFactory", 'name="A"')
    after = same(source, script)
    assert "        reuse = False  # always new\n" in after
    assert after.count("@reuse_existing") == 1


@pytest.mark.parametrize(
    "create",
    [
        "return super()._create(model_class, *args, **dict(kwargs, slug='x'))",
        "obj = model_class(**kwargs)\n        session.add(obj)\n        return obj",
    ],
)
def test_a_base_whose_subclass_creates_in_its_own_way_is_left(upgraded, create):
    """The subclass would inherit reuse, and did not have it, or had it at another place."""
    source = (
        ABSTRACT
        + f"""

class OwnFactory(CategoryFactory):
    @classmethod
    def _create(cls, model_class, *args, **kwargs):
        {create}
"""
    )
    result = upgraded(source)
    assert not result.changed
    (left,) = result.left
    assert left.factory == "NamedFactory"
    assert "Its subclass `OwnFactory` overrides `_create`" in left.reason


LOOKUP = """
    @classmethod
    def _create(cls, model_class, *args, **kwargs):
        obj = session.query(model_class).filter_by({0}=kwargs["{0}"]).first()
        return obj or super()._create(model_class, *args, **kwargs)
"""


def test_a_subclass_inherits_a_lookup(same):
    """One that is written by hand too."""
    source = GET_OR_CREATE.replace('        sqlalchemy_get_or_create = ("name",)\n', "")
    source += LOOKUP.format("name") + "\n\nclass SubFactory(CategoryFactory):\n    label = 'x'\n"
    script = created("SubFactory", 'name="A"', "", 'name="A"')
    script += "\n" + created("CategoryFactory", 'name="A"', "")
    assert '@reuse_existing(on=("name",))' in same(source, script)


def test_lookups_on_top_of_each_other_are_left(upgraded):
    """Both of them: what they do together is not what either says."""
    source = GET_OR_CREATE.replace('        sqlalchemy_get_or_create = ("name",)\n', "")
    source += LOOKUP.format("name")
    source += "\n\nclass SubFactory(CategoryFactory):" + LOOKUP.format("slug")
    result = upgraded(source)
    assert not result.changed
    assert [left.factory for left in result.left] == ["CategoryFactory", "SubFactory"]


def test_a_lookup_over_get_or_create_is_left(upgraded):
    """`super()._create` looks up once more, by another key."""
    for source in (
        GET_OR_CREATE + LOOKUP.format("slug"),
        ABSTRACT + LOOKUP.format("name"),
        GET_OR_CREATE.replace('        sqlalchemy_get_or_create = ("name",)\n', "")
        + LOOKUP.format("name")
        + "\n\nclass SubFactory(CategoryFactory):\n    class Meta:\n"
        '        sqlalchemy_get_or_create = ("slug",)\n',
    ):
        result = upgraded(source)
        assert not result.changed
        assert len(result.left) == 2 if "SubFactory" in source else result.left


def test_a_lookup_that_says_the_same_twice_goes_as_a_whole(same):
    """`sqlalchemy_get_or_create` with it."""
    source = (
        GET_OR_CREATE
        + """
    @classmethod
    def _create(cls, model_class, *args, **kwargs):
        key = {field: kwargs[field] for field in cls._meta.sqlalchemy_get_or_create}
        obj = cls._meta.sqlalchemy_session.query(model_class).filter_by(**key).first()
        return obj or super()._create(model_class, *args, **kwargs)
"""
    )
    after = same(source, created("CategoryFactory", 'name="A"', "", 'name="A"'))
    assert "get_or_create" not in after
    assert "_create" not in after


@pytest.mark.parametrize(
    "declared",
    [
        "from factory_reuse import reuse_existing\n{}@reuse_existing(on=('slug',))\n{}",
        "import factory_reuse as fr\n{}@fr.reuse_existing\n{}",
        "from factory_reuse import reuse_existing as r\n{}{}\nr(CategoryFactory)\n",
        "from factory_reuse import ReuseMixin\n{}{}",
    ],
)
def test_factories_that_reuse_already_are_left_alone(upgraded, declared):
    """Nothing is rewritten, and nothing is listed."""
    start = GET_OR_CREATE.index("class CategoryFactory")
    source = declared.format(GET_OR_CREATE[:start], GET_OR_CREATE[start:])
    if "ReuseMixin" in declared:
        source = source.replace("CategoryFactory(Base", "CategoryFactory(ReuseMixin, Base")
    result = upgraded(source)
    assert not result.changed
    assert result.rewritten == result.left == ()


@pytest.mark.parametrize("base", ["factory.Factory", "factory.base.Factory"])
def test_a_plain_factory_is_left(upgraded, base):
    """Its `_create` is all that saves."""
    source = MODELS + f"class CategoryFactory({base}):\n    class Meta:\n        model = Category\n"
    (left,) = upgraded(source + LOOKUP.format("name")).left
    assert "plain `factory.Factory`" in left.reason


def test_a_mixin_is_left(upgraded):
    """There is no factory to decorate."""
    (left,) = upgraded(MODELS + "class Mixin:" + LOOKUP.format("name")).left
    assert "is a mixin" in left.reason


def test_factories_of_another_orm_are_not_looked_at(upgraded):
    """Django has a get-or-create of its own."""
    source = "from factory.django import DjangoModelFactory\n\n\nclass F(DjangoModelFactory):"
    result = upgraded(source + LOOKUP.format("name"))
    assert result.left == result.rewritten == ()


@pytest.mark.parametrize("rest", [LOOKUP.format("name"), ""])
def test_arguments_that_are_adjusted_may_change_the_key(upgraded, rest):
    """They are, after the lookup."""
    adjusting = "\n    @classmethod\n    def _adjust_kwargs(cls, **kwargs):\n        return {}\n"
    source = GET_OR_CREATE
    if rest:
        source = source.replace('        sqlalchemy_get_or_create = ("name",)\n', "") + rest
    heir = "\n\nclass HeirFactory(CategoryFactory):" + adjusting
    for each in (source + adjusting, source + heir):
        result = upgraded(each)
        assert not result.changed
        assert "`_adjust_kwargs` may change the key" in result.left[0].reason


@pytest.mark.parametrize(
    ("says", "create"),
    [
        ("model = Other", "obj = session.query(Category).filter_by(name=kwargs['name']).first()"),
        ("sqlalchemy_session = other", LOOKUP.format("name").split("\n")[3].strip()),
    ],
)
def test_a_lookup_that_counts_for_a_subclass_in_another_way_is_left(upgraded, says, create):
    """What the subclass says for itself was not heard by `_create`."""
    source = GET_OR_CREATE.replace('        sqlalchemy_get_or_create = ("name",)\n', "")
    source += LOOKUP.format("name").replace(LOOKUP.format("name").split("\n")[3].strip(), create)
    source += f"\n\nclass HeirFactory(CategoryFactory):\n    class Meta:\n        {says}\n"
    (left,) = upgraded(source).left
    assert f"`HeirFactory` has a `{says.partition(' ')[0]}` of its own" in left.reason


# Sessions and persistence


OWN_SESSION = """\
class CategoryFactory(SQLAlchemyModelFactory):
    class Meta:
        model = Category
        sqlalchemy_session = {own}
        sqlalchemy_session_persistence = "flush"

    name = "Books"

    @classmethod
    def _create(cls, model_class, *args, **kwargs):
        db = {used}
        obj = db.query(model_class).filter_by(name=kwargs["name"]).first()
        if obj is None:
            obj = model_class(**kwargs)
            db.add(obj)
            db.flush()
        return obj
"""


@pytest.mark.parametrize(
    ("own", "used", "option"),
    [
        ("session", "session", None),
        ("session", "session()", None),
        ("session", "cls._meta.sqlalchemy_session", None),
        ("None", "session", "session=session"),
        ("None", "session()", "session=session"),
        ("None", "get_session()", "session=get_session"),
        ("None", "holder.session", "session=lambda: holder.session"),
        ("None", "holder.get().session", None),
    ],
)
def test_a_session_that_is_not_the_factorys_is_said(same, upgraded, own, used, option):
    """As it is, or as the function that gives it; anything else is left."""
    source = MODELS + "import types\n\nholder = types.SimpleNamespace(session=session)\n\n\n"
    source += "def get_session():\n    return session()\n\n\n"
    source += OWN_SESSION.format(own=own, used=used)
    if used == "holder.get().session":
        assert not upgraded(source).changed
        return
    after = same(source, created("CategoryFactory", 'name="A"', "", 'name="A"'))
    assert f", {option})" in after if option else ", session=" not in after


def test_a_session_that_is_set_later_is_read_at_each_call(same):
    """When the class is decorated there is none yet."""
    source = MODELS + "current = None\n\n\n" + OWN_SESSION.format(own="None", used="current")
    script = "current = session\n" + created("CategoryFactory", 'name="A"', "", 'name="A"')
    assert "session=lambda: current)" in same(source, script)


@pytest.mark.parametrize("before", [None, "flush", "commit"])
@pytest.mark.parametrize("written", ["pass", "session.flush()", "session.commit()"])
def test_what_a_create_did_after_adding_is_said_as_persistence(same, before, written):
    """If `class Meta` says otherwise, or nothing."""
    says = "" if before is None else f"        sqlalchemy_session_persistence = {before!r}\n"
    source = (
        MODELS
        + f"""\
class CategoryFactory(SQLAlchemyModelFactory):
    class Meta:
        model = Category
        sqlalchemy_session = session
{says}
    name = "Books"

    @classmethod
    def _create(cls, model_class, *args, **kwargs):
        obj = session.query(model_class).filter_by(name=kwargs["name"]).first()
        if obj is None:
            obj = model_class(**kwargs)
            session.add(obj)
            {written}
        return obj
"""
    )
    script = """
    for name in ("A", "B", "A"):
        obj = CategoryFactory(name=name)
        seen.append((obj.name, name != "A" and obj in session.new))
    session.rollback()
    seen.append(session.query(Category).count())
    """
    same(source, script)


# Cautions, and what follows from the class


def test_post_generation_declarations_run_as_before(same):
    """For a row that was there, too."""
    source = (
        GET_OR_CREATE
        + """
    @factory.post_generation
    def mark(self, create, extracted, **kwargs):
        seen.append(("marked", self.name))
"""
    )
    source = source.replace("engine =", "seen = []\nengine =", 1)
    script = created("CategoryFactory", 'name="A"', 'name="A"') + "\nseen.append(len(seen))"
    after = same(source, script)
    assert 'post_generation="always"' in after


def test_post_generation_declarations_of_a_subclass_count(same):
    """It inherits the option from the base."""
    source = (
        ABSTRACT.replace("engine =", "seen = []\nengine =", 1)
        + """
    related = factory.PostGeneration(lambda self, create, extracted: seen.append(self.name))
"""
    )
    script = created("CategoryFactory", 'name="A"', 'name="A"')
    assert 'post_generation="always"' in same(source, script)


@pytest.mark.parametrize(
    ("name", "text", "strict"),
    [
        ("pytest_ini", "[pytest]\nfilterwarnings = error\n", True),
        ("pytest_ini", "[pytest]\nfilterwarnings =\n    error\n    ignore::X\n", True),
        ("pytest_ini", "[pytest]\naddopts = -W error -q\n", True),
        ("pytest_ini", "[pytest]\nfilterwarnings =\n    error::DeprecationWarning\n", False),
        ("pytest_ini", "[pytest]\nfilterwarnings = ignore\nlog_level = error\n", False),
        ("pyproject_toml", '[tool.pytest.ini_options]\nfilterwarnings = ["error"]\n', None),
    ],
)
def test_where_warnings_are_errors_a_row_is_kept_in_silence(upgraded, name, text, strict):
    """A row that differs was no error before, so it is none after."""
    result = upgraded(GET_OR_CREATE, **{name: text})
    kept = 'on_mismatch="keep"' in result.after.decode()
    assert kept is bool(strict)  # pytest.ini goes before pyproject.toml
    told = [each for each in result.rewritten[0].cautions if "MismatchWarning" in each]
    assert bool(told) is not kept


def test_a_row_that_differs_is_kept_with_a_warning(upgraded):
    """That is what the caution says."""
    after = upgraded(GET_OR_CREATE + '    label = "x"\n').after.decode()
    script = """
    seen.append(CategoryFactory(name="A", label="a").label)
    seen.append(CategoryFactory(name="A", label="b").label)
    """
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert run(after, script) == ["a", "a"]
    assert [warning.category.__name__ for warning in caught] == ["MismatchWarning"]


def test_cautions_tell_only_what_the_class_has(upgraded):
    """SubFactories, random values and dictionaries are named where there are any."""
    plain = upgraded(GET_OR_CREATE).rewritten[0].cautions
    rich = (
        upgraded(
            GET_OR_CREATE + '    label = factory.Faker("word")\n    p = factory.SubFactory("x.Y")\n'
        )
        .rewritten[0]
        .cautions
    )
    assert len(rich) == len(plain) + 2
    assert any("Random values" in caution for caution in rich)
    assert any("SubFactories" in caution for caution in rich)
