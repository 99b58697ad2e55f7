"""What the audit finds, code by code, and what it leaves alone."""

import importlib

import pytest
from sqlalchemy import create_engine, text

from factory_reuse._audit.findings import CODES
from factory_reuse._audit.run import audit
from factory_reuse._audit.settings import Settings

USER = """
class User(Base):
    __tablename__ = "user"
    __table_args__ = (UniqueConstraint("tenant", "email"),)
    id = Column(Integer, primary_key=True)
    tenant = Column(String(50))
    email = Column(String(50))
    phone = Column(String(50), unique=True)
    badge = Column(String(50), unique=True)
    name = Column(String(50))

class UserFactory(Of):
    class Meta:
        model = User
    tenant = "acme"
    email = "ann@example.org"
    phone = "1"
    badge = "2"
    name = "Ann"
"""


def on(key):
    return USER.replace("class UserFactory", f"@reuse_existing(on={key!r})\nclass UserFactory")


PRODUCT = """
class Product(Base):
    __tablename__ = "product"
    __table_args__ = (UniqueConstraint("category_id", "title"),)
    id = Column(Integer, primary_key=True)
    title = Column(String(50))
    category_id = Column(ForeignKey("category.id"))
    category = relationship(Category)
"""


@pytest.mark.parametrize(
    ("key", "code", "remedy"),
    [
        (("email",), "FR101", "on=('email', 'tenant')"),
        (("phone", "name"), "FR102", "on=('phone',)"),
        (("tenant", "email", "name"), "FR102", "on=('tenant', 'email')"),
        (("name",), "FR103", "UniqueConstraint('name')"),
        (("email", "name"), "FR103", "UniqueConstraint('email', 'name')"),
        (("phone", "badge"), "FR104", "on=[('phone',), ('badge',)]"),
    ],
)
def test_key_beside_the_constraint(project, key, code, remedy):
    """A key that is not what the table makes unique is found, and the remedy is the right one."""
    (finding,) = project.audit(on(key)).findings
    assert finding.code == code
    assert remedy in finding.remedy
    assert finding.severity == CODES[code].severity


@pytest.mark.parametrize(
    "key",
    [("phone",), ("tenant", "email"), ("email", "tenant"), [("phone",), ("badge",)], (), ("id",)],
)
def test_right_keys(project, key):
    """A key that the table has, in any order, or none at all, is no finding."""
    found = project.codes(on(key))
    assert [code for code, _ in found if code.startswith("FR1")] == []


def test_sqlalchemy_get_or_create_is_a_key_too(project):
    """factory_boy's own fields are held against the constraints, and can be replaced."""
    source = USER.replace(
        "model = User", 'model = User\n        sqlalchemy_get_or_create = ("phone", "badge")'
    )
    assert project.codes(source) == [("FR104", "UserFactory"), ("FR501", "UserFactory")]


def test_relationship_in_a_key(project):
    """A relationship counts as its foreign-key column."""
    source = (
        PRODUCT
        + """
@reuse_existing
class CategoryFactory(Of):
    class Meta:
        model = Category
    name = "Books"

@reuse_existing(on={key})
class ProductFactory(Of):
    class Meta:
        model = Product
    title = "Dune"
    category = factory.SubFactory(CategoryFactory)
"""
    )
    assert project.codes(source.format(key=("category", "title"))) == []
    assert project.codes(source.format(key=("title",))) == [("FR101", "ProductFactory")]


def test_where_may_settle_the_rest_of_a_constraint(project):
    """A column of the constraint that `where` compares is not missing."""
    source = on(("email",)).replace(
        "on=('email',)", "on=('email',), where=lambda m: m.tenant == 'acme'"
    )
    assert project.codes(source) == []


INDEXED = """
class Label(Base):
    __tablename__ = "label"
    id = Column(Integer, primary_key=True)
    name = Column(String(50))
    gone = Column(Integer)

    @hybrid_property
    def lowered(self):
        return self.name.lower()

    @lowered.expression
    def lowered(cls):
        return func.lower(cls.name)

{index}

@reuse_existing{options}
class LabelFactory(Of):
    class Meta:
        model = Label
    name = "x"
"""


@pytest.mark.parametrize(
    "index",
    [
        'Index("i", func.lower(Label.name), unique=True)',
        'Index("i", Label.name, unique=True, postgresql_where=Label.gone.is_(None))',
        'Index("i", Label.name, unique=True, sqlite_where=Label.gone.is_(None))',
    ],
)
def test_index_with_an_expression_or_a_predicate(project, index):
    """A plain key where only an expression, or a part of the rows, is unique is found."""
    assert project.codes(INDEXED.format(index=index, options="(on='name')")) == [
        ("FR105", "LabelFactory")
    ]
    assert project.codes(INDEXED.format(index=index, options="")) == []


def test_no_key_at_all(project):
    """A decorated factory without a key, and one whose `on` the model does not have, are found."""
    source = INDEXED.format(index="", options="")
    (finding,) = project.audit(source).findings
    assert (finding.code, finding.line) == ("FR106", _line(project, finding, "@reuse_existing"))

    mistyped = CATEGORY.format(decorator="", name="'x'").replace(
        "model = Category", "model = Category\n        sqlalchemy_get_or_create = ('nmae',)"
    )
    finding = project.audit(mistyped).findings[0]
    assert finding.code == "FR106"
    assert "nmae" in finding.reason
    assert "Did you mean 'name'" in finding.remedy


def _line(project, finding, text):
    lines = (project.directory / finding.path).read_text("utf-8").splitlines()
    return next(number for number, line in enumerate(lines, 1) if line.startswith(text))


CATEGORY = """
{decorator}
class CategoryFactory(Of):
    class Meta:
        model = Category
    name = {name}
"""


# Below a factory of categories.
LOOKUP = """
    @classmethod
    def _create(cls, model_class, *args, **kwargs):
        session = cls._meta.sqlalchemy_session
        found = session.query(model_class).filter_by(name=kwargs["name"]).first()
        return found or super()._create(model_class, *args, **kwargs)
"""


@pytest.mark.parametrize(
    "name",
    [
        "factory.Faker('word')",
        "factory.Faker('pyint', min_value=1, max_value=100)",
        "factory.fuzzy.FuzzyChoice(['a', 'b'])",
        "factory.fuzzy.FuzzyText(length=2)",
        "factory.fuzzy.FuzzyInteger(1, 50)",
        "factory.Transformer(factory.Faker('word'), transform=str.upper)",
    ],
)
@pytest.mark.parametrize("decorator", ["", "@reuse_existing"])
def test_drawn_values(project, name, decorator):
    """A unique value drawn from so few that they repeat is found, with or without reuse."""
    found = project.audit(CATEGORY.format(decorator=decorator, name=name)).findings
    drawn = [each for each in found if each.code == "FR201"]
    assert len(drawn) == 1
    assert drawn[0].line == _line(project, drawn[0], "    name = factory")


@pytest.mark.parametrize(
    "name",
    [
        "factory.Faker('uuid4')",
        "factory.fuzzy.FuzzyText(length=20)",
        "factory.Sequence(str)",
        "factory.LazyFunction(lambda: 1 / 0)",
        "factory.fuzzy.FuzzyAttribute(lambda: 1 / 0)",
        "factory.fuzzy.FuzzyChoice(iter('ab'))",
        "factory.Faker('no_such_provider')",
        "'Books'",
    ],
)
def test_values_that_hardly_repeat(project, name):
    """What is drawn from very many, counts, or only the project's code knows is no finding."""
    found = project.codes(CATEGORY.format(decorator="@reuse_existing", name=name))
    assert "FR201" not in [code for code, _ in found]


def test_the_trial_leaves_no_trace(project):
    """The random state is what it was, and the choices of a declaration can still be read."""
    import factory.random

    factory.random.reseed_random(7)
    before = factory.random.get_random_state()
    project.codes(CATEGORY.format(decorator="", name="factory.Faker('word')"))
    assert factory.random.get_random_state() == before


def test_composite_key_with_a_sequence_is_not_drawn(project):
    """One part that counts keeps a composite key from coming twice."""
    drawn = USER.replace('tenant = "acme"', "tenant = factory.Faker('word')")
    assert "FR201" in [code for code, _ in project.codes(drawn)]
    counted = USER.replace('email = "ann@example.org"', "email = factory.Sequence(str)").replace(
        'tenant = "acme"', "tenant = factory.Faker('word')"
    )
    assert "FR201" not in [code for code, _ in project.codes(counted)]


def test_counted_key(project):
    """A key from a Sequence never reuses; unless another key does, or a SubFactory passes it."""
    counted = CATEGORY.format(decorator="@reuse_existing", name="factory.Sequence(str)")
    assert project.codes(counted) == [("FR202", "CategoryFactory")]
    passed = (
        counted
        + "    color = 'red'\n\nclass ParentFactory(Of):\n"
        + (
            "    class Meta:\n        model = Category\n        abstract = False\n"
            "    name = factory.Sequence(str)\n"
            "    other = factory.SubFactory(CategoryFactory, name='Books')\n"
        )
    )
    assert ("FR202", "CategoryFactory") not in project.codes(passed)
    other = on(None).replace('phone = "1"', "phone = factory.Sequence(str)")
    assert "FR202" not in [code for code, _ in project.codes(other)]


def test_key_that_nothing_sets(project):
    """A key that no declaration sets is found, milder where each call has to pass it anyway."""
    source = CATEGORY.format(decorator="@reuse_existing(on='name')", name="0").replace(
        "name = 0", "color = 'red'"
    )
    (finding,) = project.audit(source).findings
    assert (finding.code, finding.severity) == ("FR203", "warning")
    required = source.replace("@reuse", "Category.__table__.c.name.nullable = False\n@reuse", 1)
    (finding,) = project.audit(required).findings
    assert (finding.code, finding.severity) == ("FR203", "info")


CASCADE = """
class Shelf(Base):
    __tablename__ = "shelf"
    id = Column(Integer, primary_key=True)
    first_id = Column(ForeignKey("category.id"))
    second_id = Column(ForeignKey("category.id"))
    first = relationship(Category, foreign_keys=first_id)
    second = relationship(Category, foreign_keys=second_id)

{decorator}
class CategoryFactory(Of):
    class Meta:
        model = Category
    name = {name}

class ShelfFactory(Of):
    class Meta:
        model = Shelf
    first = factory.SubFactory(CategoryFactory)
    second = factory.SubFactory(CategoryFactory)
    more = factory.RelatedFactoryList(CategoryFactory, size=3)
"""


def test_missing_reuse_counts_what_leads_to_it(project):
    """A factory without reuse is found, worse where its values repeat and others run it."""
    (finding,) = project.audit(CASCADE.format(decorator="", name="'Books'")).findings
    assert (finding.code, finding.severity) == ("FR301", "warning")
    assert "SubFactories that run it: 3; factories whose calls come to it: 1." in finding.reason
    (finding,) = project.audit(CASCADE.format(decorator="", name="factory.Sequence(str)")).findings
    assert (finding.code, finding.severity) == ("FR301", "info")


def test_the_worst_missing_reuse_comes_first(project):
    """Of two factories without reuse, the one that more SubFactories lead to is first."""
    source = (
        USER.replace('"ann@example.org"', "factory.Sequence(str)")
        .replace('"1"', "factory.Sequence(str)")
        .replace('"2"', "factory.Sequence(str)")
    )
    source += """
class BadgeFactory(Of):
    class Meta:
        model = User
    other = factory.SubFactory(UserFactory)
"""
    found = project.codes(source + CASCADE.format(decorator="", name="factory.Sequence(str)"))
    assert found == [("FR301", "CategoryFactory"), ("FR301", "UserFactory")]


def test_cascade(project):
    """A call that makes more rows than allowed is found; rows that all share do not count."""
    few = Settings(max_rows=5)
    source = CASCADE.format(decorator="", name="factory.Sequence(str)")
    assert ("FR302", "ShelfFactory") in project.codes(source, few)
    assert ("FR302", "ShelfFactory") not in project.codes(source, Settings(max_rows=6))
    shared = CASCADE.format(decorator="@reuse_existing", name="'Books'")
    assert project.codes(shared, Settings(max_rows=1)) == []


def test_cascade_of_factories_that_lead_to_themselves(project):
    """A factory that leads to itself is counted to an end, and a value in its place ends it."""
    source = """
class NodeFactory(Of):
    class Meta:
        model = Category
    name = factory.Sequence(str)
    parent = factory.SubFactory(__name__ + ".NodeFactory"{given})
"""
    codes = [code for code, _ in project.codes(source.format(given=""))]
    assert "FR302" in codes
    codes = [code for code, _ in project.codes(source.format(given=", parent=None"))]
    assert "FR302" not in codes


def test_subfactory_that_leads_nowhere(project):
    """A dotted name that cannot be imported is found, with the reason."""
    source = CATEGORY.format(decorator="", name="factory.Sequence(str)")
    source += "    other = factory.SubFactory('no.such.Factory')\n"
    finding = project.audit(source).findings[0]
    assert finding.code == "FR002"
    assert "ModuleNotFoundError" in finding.reason


def test_lazy_persistence(project):
    """Reuse with pending rows is found, unless the database is in memory."""
    lazy = CATEGORY.format(decorator="@reuse_existing", name="'Books'").replace(
        "model = Category", "model = Category\n        sqlalchemy_session_persistence = None"
    )
    assert project.codes(lazy) == [("FR401", "CategoryFactory")]
    assert project.codes(lazy.replace("@reuse_existing", "@reuse_existing(savepoint=True)")) == []
    private = "from sqlalchemy import create_engine\nfrom sqlalchemy.orm import Session\n" + lazy
    private = private.replace(
        "persistence = None",
        "persistence = None\n        sqlalchemy_session = Session(create_engine('sqlite://'))",
    )
    assert project.codes(private) == []


HOOKED = (
    CATEGORY
    + """
    @factory.post_generation
    def paint(self, create, extracted, **kwargs):
        pass
"""
)


def test_hooks_that_change_a_reused_row(project):
    """Hooks that run on a reused row are found: with "always", and with an older lookup."""
    always = '@reuse_existing(post_generation="always")'
    assert project.codes(HOOKED.format(decorator=always, name="'x'")) == [
        ("FR402", "CategoryFactory")
    ]
    assert project.codes(HOOKED.format(decorator="@reuse_existing", name="'x'")) == []
    older = HOOKED.format(decorator="", name="'x'").replace(
        "model = Category", "model = Category\n        sqlalchemy_get_or_create = ('name',)"
    )
    assert project.codes(older) == [("FR402", "CategoryFactory"), ("FR501", "CategoryFactory")]


def test_lookup_without_an_index(project):
    """A functional key, and a key with `where`, are found where no index serves them."""
    by_hybrid = INDEXED.format(index="", options="(on='lowered')")
    assert ("FR403", "LabelFactory") in project.codes(by_hybrid)
    indexed = INDEXED.format(
        index='Index("i", func.lower(Label.name), unique=True)', options="(on='lowered')"
    )
    assert "FR403" not in [code for code, _ in project.codes(indexed)]
    where = INDEXED.format(index="", options="(on='name', where=lambda m: m.gone.is_(None))")
    assert ("FR403", "LabelFactory") in project.codes(where)
    plain = INDEXED.format(
        index='Index("i", Label.name)', options="(on='name', where=lambda m: m.gone.is_(None))"
    )
    assert "FR403" not in [code for code, _ in project.codes(plain)]


def test_hand_written_lookup(project):
    """A lookup in `_create` that upgrade understands is found, and no other `_create`."""
    source = CATEGORY.format(decorator="", name="factory.Sequence(str)") + LOOKUP
    assert ("FR502", "CategoryFactory") in project.codes(source)
    other = source.replace("found or super()", "super()")
    assert "FR502" not in [code for code, _ in project.codes(other)]


def test_database_beside_the_metadata(project):
    """Keys that only one of database and models has are found, and missing tables."""
    engine = create_engine(f"sqlite:///{project.directory / 'there.sqlite'}")
    with engine.begin() as connection:
        connection.execute(
            text("CREATE TABLE category (id INTEGER PRIMARY KEY, name TEXT, color TEXT UNIQUE)")
        )
    source = CATEGORY.format(decorator="@reuse_existing", name="'Books'") + USER
    found = project.audit(source, Settings(ignore=("FR3",)), engine=engine).findings
    engine.dispose()
    assert [(each.code, each.subject) for each in found] == [
        ("FR601", "category(color)"),
        ("FR602", "category(name)"),
        ("FR603", "user"),
    ]


def test_database_that_agrees(project):
    """The tables that the metadata makes have no finding, indexes with predicates included."""
    source = (
        INDEXED.format(
            index='Index("i", Label.name, unique=True, sqlite_where=Label.gone.is_(None))\n'
            'Index("j", func.lower(Label.name), unique=True)\n'
            'Index("k", Label.gone, unique=True)',
            options="",
        )
        + USER
    )
    name = project.write(source)
    engine = create_engine(f"sqlite:///{project.directory / 'there.sqlite'}")
    importlib.import_module(name).Base.metadata.create_all(engine)
    found = audit([name], Settings(), engine=engine).findings
    engine.dispose()
    assert [each for each in found if each.code.startswith("FR6")] == []


def test_database_of_each_kind(project, engine):
    """Each database that the tests have is read rightly, before and after a key more."""
    name = project.write(
        CATEGORY.format(decorator="@reuse_existing", name="'x'")
        + INDEXED.format(
            index='Index("i", func.lower(Label.name), Label.id, unique=True)'
            if engine.dialect.name != "mysql"
            else "",
            options="",
        )
    )
    importlib.import_module(name).Base.metadata.create_all(engine)
    settings = Settings(ignore=("FR1", "FR2", "FR3"))
    assert audit([name], settings, engine=engine).findings == ()
    with engine.begin() as connection:
        connection.execute(text("CREATE UNIQUE INDEX more ON category (color)"))
    (finding,) = audit([name], settings, engine=engine).findings
    assert (finding.code, finding.subject) == ("FR601", "category(color)")
    assert "(more)" in finding.reason


def test_factory_that_cannot_be_looked_at(project):
    """What fails under the audit is a finding, and the other factories are audited all the same."""
    source = """
class Broken(Base):
    __tablename__ = "broken"
    id = Column(Integer, primary_key=True)
    other = relationship("NoSuchModel")

class BrokenFactory(Of):
    class Meta:
        model = Broken

@reuse_existing(on="name", where=lambda m: m.no_such_column == 1)
class CategoryFactory(Of):
    class Meta:
        model = Category
    name = factory.Faker("word")
"""
    found = project.audit(source).findings
    assert {(each.code, each.factory.rpartition(".")[2]) for each in found} >= {
        ("FR001", "BrokenFactory")
    }


def test_factories_without_a_table(project):
    """Factories of dicts and of plain classes have no finding."""
    source = """
class Plain:
    def __init__(self, **given):
        self.given = given

class PlainFactory(factory.Factory):
    class Meta:
        model = Plain
    name = factory.Faker("word")

class MadeOfDicts(factory.DictFactory):
    name = factory.Faker("word")
"""
    assert project.codes(source) == []


def test_made_factories(project):
    """What `make_factory` made is audited, at the line that names it."""
    source = 'MadeFactory = factory.make_factory(Category, FACTORY_CLASS=Of, name="x")\n'
    found = project.audit(source)
    (made,) = found.factories
    assert made.model == "Category"
    assert made.factory.endswith(".MadeFactory")
    lines = (project.directory / made.path).read_text("utf-8").splitlines()
    assert lines[made.line - 1].startswith("MadeFactory =")


def test_traits_are_off(project):
    """A declaration that a Trait overrides is judged as it is without the Trait."""
    source = (
        CATEGORY.format(decorator="@reuse_existing", name="'Books'")
        + """
    class Params:
        random = factory.Trait(name=factory.Faker("word"))
"""
    )
    assert project.codes(source) == []


def test_primary_key_of_a_joined_table(project):
    """A key may be the primary key of a joined subclass's own table."""
    source = """
class Book(Category):
    __tablename__ = "book"
    category_id = Column(ForeignKey("category.id"), primary_key=True)

@reuse_existing(on="category_id")
class BookFactory(Of):
    class Meta:
        model = Book
    category_id = 1
"""
    assert project.codes(source) == []


def test_values_outside_of_a_predicate(project):
    """A constant in a partial index is not said to repeat: the row may be outside of it."""
    source = """
Index("i", Category.color, unique=True, postgresql_where=Category.color == "red")

class CategoryFactory(Of):
    class Meta:
        model = Category
    color = "blue"

class OtherFactory(Of):
    class Meta:
        model = Category
    name = factory.SubFactory(CategoryFactory)
"""
    assert project.codes(source) == []


def test_number_as_primary_key(project):
    """A primary key that only numbers the rows is nothing to reuse by; one that says more is."""
    source = """
class CategoryFactory(Of):
    class Meta:
        model = Category
    id = {}

class OtherFactory(Of):
    class Meta:
        model = Category
    color = factory.SubFactory(CategoryFactory)
"""
    assert project.codes(source.format("factory.Sequence(int)")) == []
    assert project.codes(source.format("7")) == [("FR301", "CategoryFactory")]
    assert project.codes(source.replace("id = {}", "name = None")) == []


def test_parts_drawn_together(project):
    """The parts of a composite key are drawn together: few of each are many together."""
    source = USER.replace('"acme"', "{}").replace('"ann@example.org"', "{}")
    many = "factory.fuzzy.FuzzyInteger(1, 20000)"
    assert "FR201" in [code for code, _ in project.codes(source.format(many, "'x'"))]
    assert "FR201" not in [code for code, _ in project.codes(source.format(many, many))]


def test_scope_that_is_not_there(project):
    """A session whose scope cannot be asked yet is not needed."""
    source = """
from sqlalchemy.orm import scoped_session, sessionmaker

def scope():
    raise RuntimeError("no application")

@reuse_existing
class CategoryFactory(Of):
    class Meta:
        model = Category
        sqlalchemy_session = scoped_session(sessionmaker(), scopefunc=scope)
    name = "Books"
"""
    assert project.codes(source) == []


def test_subfactory_that_the_parent_replaces(project):
    """A SubFactory is not counted where the parent's passes another declaration in its place."""
    source = """
class OrgFactory(Of):
    class Meta:
        model = Category
    name = factory.Sequence(str)

class TeamFactory(Of):
    class Meta:
        model = Category
    org = factory.SubFactory(OrgFactory)

class TaskFactory(Of):
    class Meta:
        model = Category
    org = factory.SubFactory(OrgFactory)
    team = factory.SubFactory(TeamFactory, org=factory.SelfAttribute("..org"))
"""
    assert ("FR302", "TaskFactory") not in project.codes(source, Settings(max_rows=3))
    assert ("FR302", "TaskFactory") in project.codes(source, Settings(max_rows=2))


def test_reuse_that_is_there_or_turned_off(project):
    """A factory whose reuse is turned off, or that looks up by hand, is not told to reuse."""
    source = """
class BaseFactory(ReuseMixin, Of):
    class Meta:
        abstract = True

class OffFactory(BaseFactory):
    class Meta:
        model = Category
        reuse = False
    name = "Books"
"""
    assert project.codes(source) == []
    by_hand = CATEGORY.format(decorator="", name="'Books'") + LOOKUP
    assert project.codes(by_hand) == [("FR502", "CategoryFactory")]


@pytest.mark.parametrize(
    ("values", "found"),
    [("['a', 'b']", True), ("iter('ab')", False), ("['a'], cycle=False", False)],
)
def test_iterators(project, values, found):
    """An Iterator comes again if it goes round a collection."""
    source = CATEGORY.format(decorator="", name=f"factory.Iterator({values})")
    assert (("FR301", "CategoryFactory") in project.codes(source)) == found


def test_values_by_chance_are_no_missing_reuse(project):
    """What repeats by chance alone is not to be reused: its own code says so."""
    source = CATEGORY.format(decorator="", name="factory.Faker('word')")
    assert project.codes(source) == [("FR201", "CategoryFactory")]


def test_remedy_names_the_relationship(project):
    """Where a key's column is given by a relationship, that is what is to be passed."""
    source = (
        PRODUCT
        + """
class CategoryFactory(Of):
    class Meta:
        model = Category
    color = "red"

class ProductFactory(Of):
    class Meta:
        model = Product
    title = factory.Sequence(str)
    category = factory.SubFactory(CategoryFactory)
    category_id = factory.SelfAttribute("category.id")

class OtherFactory(Of):
    class Meta:
        model = Category
    product = factory.SubFactory(ProductFactory)
"""
    )
    (finding,) = project.audit(source).findings
    assert "pass category, title where" in finding.remedy


@pytest.mark.parametrize("index", ["text('name DESC')", "desc('name')"])
def test_index_that_nobody_can_read(project, index):
    """Where a unique index does not tell its columns, nothing is said of it."""
    source = "from sqlalchemy import desc, text\n" + INDEXED.format(
        index=f'Index("i", {index}, unique=True, _table=Label.__table__)',
        options="(on='name')",
    )
    assert "FR103" not in [code for code, _ in project.codes(source)]


def test_where_that_nobody_can_read(project):
    """A `where` that has text in it may settle any column; text alone is refused by each call."""
    source = "from sqlalchemy import and_, text\n" + on(("email",)).replace(
        "on=('email',)", "on=('email',), where=and_(text('tenant = 1'), User.name == 'Ann')"
    )
    assert project.codes(source) == []
    alone = source.replace("and_(text('tenant = 1'), User.name == 'Ann')", "text('tenant = 1')")
    (finding,) = project.audit(alone).findings
    assert finding.code == "FR001"
    assert "must be an SQL expression" in finding.reason
    (finding,) = project.audit(alone.replace("('email',)", "('phone',)")).findings
    assert finding.code == "FR001"


def test_expression_over_a_unique_column(project):
    """A hybrid over a column that is unique as it is has no constraint behind it."""
    source = INDEXED.format(index='Index("i", Label.name, unique=True)', options="(on='lowered')")
    assert ("FR103", "LabelFactory") in project.codes(source)


def test_consequence_of_a_drawn_value(project):
    """Of a key that is not looked up by, the INSERT is refused, whatever else is reused."""
    source = USER.replace('phone = "1"', 'phone = factory.Faker("random_digit")').replace(
        "class UserFactory", '@reuse_existing(on="badge")\nclass UserFactory'
    )
    (finding,) = project.audit(source).findings
    assert "an INSERT is refused by chance" in finding.reason


def test_call_without_an_end(project):
    """A factory that leads back to itself without an end is found as such."""
    source = """
class ForeverFactory(Of):
    class Meta:
        model = Category
    other = factory.SubFactory(__name__ + ".ForeverFactory")
"""
    (finding,) = project.audit(source).findings
    assert (finding.code, finding.severity) == ("FR302", "warning")
    assert "RecursionError" in finding.reason


def test_class_that_is_defined_twice(project):
    """Of two classes of one name, each has its own line."""
    found = project.audit(2 * CATEGORY.format(decorator="", name="'Books'"))
    first, second = found.factories
    assert first.line < second.line


def test_own_faker_and_values_that_have_no_repr(project):
    """A project's own declaration is not evaluated, and a value need not have a repr."""
    source = """
class Shy:
    def __repr__(self):
        raise RuntimeError

class OwnFaker(factory.Faker):
    def evaluate(self, *args):
        raise SystemExit

@reuse_existing
class CategoryFactory(Of):
    class Meta:
        model = Category
    name = OwnFaker("word")
    color = Shy()

class ShyFactory(CategoryFactory):
    name = Shy()
"""
    assert project.codes(source) == []


def test_declared_in_meta(project):
    """The line of a mixin's key is that of `reuse_on`."""
    source = """
class UserFactory(ReuseMixin, Of):
    class Meta:
        model = Category
        reuse_on = ("color",)
    color = "red"
"""
    (finding,) = project.audit(source).findings
    lines = (project.directory / finding.path).read_text("utf-8").splitlines()
    assert "reuse_on" in lines[finding.line - 1]


def test_view_and_keys_of_another_database(project):
    """A view has no keys of its own, and what another database makes otherwise is no difference."""
    source = (
        CATEGORY.format(decorator="@reuse_existing", name="'Books'")
        + """
Index("here", Category.color, unique=True, postgresql_where=Category.color == "red")

class Seen(Base):
    __tablename__ = "seen"
    id = Column(Integer, primary_key=True)
    name = Column(String(50), unique=True)

@reuse_existing
class SeenFactory(Of):
    class Meta:
        model = Seen
    name = "Books"
"""
    )
    name = project.write(source)
    engine = create_engine(f"sqlite:///{project.directory / 'there.sqlite'}")
    with engine.begin() as connection:
        connection.execute(
            text("CREATE TABLE category (id integer primary key, name text unique, color text)")
        )
        connection.execute(text("CREATE UNIQUE INDEX here ON category (color)"))
        connection.execute(text("CREATE VIEW seen AS SELECT id, name FROM category"))
    found = audit([name], Settings(ignore=("FR3", "FR2")), engine=engine).findings
    engine.dispose()
    assert found == ()


def test_partial_index_that_the_database_lacks(project):
    """A partial unique index is looked for by its name."""
    name = project.write(
        INDEXED.format(
            index='Index("i", Label.name, unique=True, sqlite_where=Label.gone.is_(None))',
            options="",
        )
    )
    module = importlib.import_module(name)
    engine = create_engine(f"sqlite:///{project.directory / 'there.sqlite'}")
    module.Base.metadata.create_all(engine)
    with engine.begin() as connection:
        connection.execute(text("DROP INDEX i"))
    (finding,) = audit([name], Settings(), engine=engine).findings
    engine.dispose()
    assert (finding.code, finding.subject) == ("FR602", "label(index i)")


def test_one_cause_one_remedy(project):
    """A lookup in `_create` is judged as a lookup, and beside a decorator it is to be removed."""
    by_hand = CATEGORY.format(decorator="{}", name="factory.Faker('word')") + LOOKUP
    drawn, lookup = project.audit(by_hand.format("")).findings
    assert (drawn.code, lookup.code) == ("FR201", "FR502")
    assert "a call gets the row of another call" in drawn.reason
    both = project.audit(by_hand.format("@reuse_existing")).findings
    assert [each.remedy for each in both if each.code == "FR502"] == [
        "Remove it: @reuse_existing has looked up before."
    ]


def test_remedy_for_what_the_upgrade_leaves(project):
    """Where the upgrade leaves `sqlalchemy_get_or_create` as it is, its reason is said."""
    source = CATEGORY.format(decorator="", name="None").replace(
        "model = Category", "model = Category\n        sqlalchemy_get_or_create = ('name',)"
    )
    finding = project.audit(source).findings[-1]
    assert finding.code == "FR501"
    assert "The upgrade leaves that to you: `name`, of its key, is None" in finding.remedy


def test_remedy_for_fields_of_factory_boy(project):
    """Where the key is still in `sqlalchemy_get_or_create`, that is what is named."""
    source = USER.replace(
        "model = User", 'model = User\n        sqlalchemy_get_or_create = ("phone", "badge")'
    ).replace("class UserFactory", "@reuse_existing\nclass UserFactory")
    (finding,) = project.audit(source).findings
    assert finding.reason.startswith("sqlalchemy_get_or_create names (phone, badge)")
    assert "in @reuse_existing, in place of that" in finding.remedy


def test_all_fields_that_count(project):
    """Of a composite key, all fields that count are to be passed."""
    source = on(("tenant", "email")).replace('"acme"', "factory.Sequence(str)")
    source = source.replace('"ann@example.org"', "factory.Sequence(str)")
    (finding,) = project.audit(source).findings
    assert (finding.code, "Pass tenant, email where" in finding.remedy) == ("FR202", True)


def test_shared_row_in_a_cascade(project):
    """A row that is reused by a constant which a SubFactory passes does not count."""
    source = (
        CASCADE.format(decorator="@reuse_existing", name="factory.Sequence(str)")
        .replace("SubFactory(CategoryFactory)", "SubFactory(CategoryFactory, name='Books')")
        .replace("size=3", "size=3, name='Games'")
    )
    assert project.codes(source, Settings(max_rows=1)) == []
