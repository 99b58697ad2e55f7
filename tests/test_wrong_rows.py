"""Calls that could be answered with a row that is almost the right one."""

import datetime
import warnings
from decimal import Decimal
from functools import partial

import factory
import pytest
from keyed import BaseFactory, current, persisting, rows
from sqlalchemy import (
    JSON,
    Column,
    DateTime,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    String,
    UniqueConstraint,
    text,
)
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.orm import Session, composite, declarative_base, relationship

from factory_reuse import MismatchError, MismatchWarning, create_many, find, reuse_existing

Base = declarative_base()


@pytest.fixture(autouse=True)
def _current(session):
    with current(session):
        yield


class Org(Base):
    __tablename__ = "org"

    id = Column(Integer, primary_key=True)
    name = Column(String(20), unique=True)


class Team(Base):
    __tablename__ = "team"
    __table_args__ = (UniqueConstraint("org_id", "name"),)

    id = Column(Integer, primary_key=True)
    code = Column(String(20), unique=True)
    name = Column(String(30))
    org_id = Column(Integer, ForeignKey("org.id"))
    org = relationship(Org)


class Node(Base):
    """A tree in which each name is unique."""

    __tablename__ = "node"

    id = Column(Integer, primary_key=True)
    name = Column(String(20), unique=True)
    parent_id = Column(Integer, ForeignKey("node.id"))
    children = relationship("Node")


class Page(Base):
    """A page of a tenant, whose parent page is of the same tenant."""

    __tablename__ = "page"
    __table_args__ = (
        UniqueConstraint("tenant_id", "slug"),
        UniqueConstraint("tenant_id", "id"),
        ForeignKeyConstraint(["tenant_id", "parent_id"], ["page.tenant_id", "page.id"]),
    )

    id = Column(Integer, primary_key=True)
    tenant_id = Column(Integer, ForeignKey("org.id"))
    slug = Column(String(20))
    parent_id = Column(Integer)
    tenant = relationship(Org, overlaps="parent")
    parent = relationship("Page", remote_side=[tenant_id, id], overlaps="tenant")


class Post(Base):
    __tablename__ = "post"
    __table_args__ = (
        Index(
            "ux_post",
            "title",
            unique=True,
            sqlite_where=text("status NOT LIKE 'dead%'"),
            postgresql_where=text("status NOT LIKE 'dead%'"),
        ),
    )

    id = Column(Integer, primary_key=True)
    title = Column(String(20))
    status = Column(String(20))


class Point(tuple):
    def __new__(cls, x, y):
        return super().__new__(cls, (x, y))

    def __composite_values__(self):
        return tuple(self)


class Place(Base):
    __tablename__ = "place"
    __table_args__ = (UniqueConstraint("x", "y"),)

    id = Column(Integer, primary_key=True)
    name = Column(String(20), unique=True)
    x = Column(Integer)
    y = Column(Integer)
    point = composite(Point, x, y)


class Item(Base):
    __tablename__ = "item"

    id = Column(Integer, primary_key=True)
    sku = Column(String(20), unique=True)
    data = Column(JSON)
    at = Column(DateTime(timezone=True))


@reuse_existing
class OrgFactory(BaseFactory):
    class Meta:
        model = Org

    name = factory.Iterator([f"org {n}" for n in range(20)])


@reuse_existing
class TeamFactory(BaseFactory):
    class Meta:
        model = Team

    code = factory.Sequence("code {}".format)
    name = factory.LazyAttribute(lambda o: f"team of {o.org.name}")
    org = factory.SubFactory(OrgFactory)


@reuse_existing
class NodeFactory(BaseFactory):
    class Meta:
        model = Node
        sqlalchemy_session_persistence = "flush"

    name = factory.Sequence("node {}".format)


@reuse_existing
class PageFactory(BaseFactory):
    class Meta:
        model = Page
        sqlalchemy_session_persistence = "flush"

    slug = "home"


@reuse_existing
class PostFactory(BaseFactory):
    class Meta:
        model = Post
        sqlalchemy_session_persistence = "flush"

    title = "Hello"
    status = "live"


@reuse_existing(on="sku")
class ItemFactory(BaseFactory):
    class Meta:
        model = Item
        sqlalchemy_session_persistence = "flush"

    sku = "abc"


@pytest.mark.backends("sqlite", "postgresql")
@pytest.mark.parametrize("persistence", [None, "flush"])
def test_foreign_key_that_another_field_depends_on(session, persistence):
    """A passed `org_id` finds its row; where there is none, factory_boy's SubFactory decides."""
    teams = persisting(TeamFactory, persistence)
    org = OrgFactory(name="mine")
    session.flush()
    team = teams(org_id=org.id)
    session.flush()
    assert team.org_id == team.org.id != org.id  # the flush writes what the relationship has
    session.commit()
    assert teams(org_id=team.org_id, name=team.name) is team
    assert (rows(Org), rows(Team)) == (2, 1)


@pytest.mark.backends("sqlite")
def test_each_parent_is_evaluated_once():
    """With two keys, the parent of the second is made from the values it was looked up by."""
    OrgFactory.name.reset()
    assert [TeamFactory().org.name for _ in range(3)] == ["org 0", "org 1", "org 2"]
    assert rows(Org) == 3


@pytest.mark.backends("sqlite")
def test_foreign_key_and_path_that_disagree(session):
    """With two keys too, `org_id` and `org__name` must agree."""
    org = OrgFactory(name="mine")
    session.flush()
    with pytest.raises(MismatchError, match="org_id gives"):
        TeamFactory(org_id=org.id, org__name="other")
    team = TeamFactory(org=org)
    with pytest.raises(MismatchError):
        TeamFactory(code=team.code, org_id=org.id, org__name="other")


def test_refused_for_the_sake_of_another_object(session):
    """A refused child is no reason to return the child's row for the parent."""
    leaf = NodeFactory(name="leaf")
    session.commit()
    with pytest.raises(IntegrityError):
        NodeFactory(name="root", children=[Node(name="leaf")])
    assert find(NodeFactory, name="leaf") is leaf
    assert rows(Node) == 1


@pytest.mark.backends("sqlite", "postgresql")
def test_value_that_only_the_predicate_reads():
    """A passed value of the predicate's column is held against the row."""
    live = PostFactory()
    with pytest.warns(MismatchWarning, match="status='draft'.*status='live'"):
        assert PostFactory(status="draft") is live
    updating = reuse_existing(type("Updating", (PostFactory,), {}), on_mismatch="update")
    assert updating(status="draft") is live
    assert live.status == "draft"
    assert PostFactory(status="dead") is not live


def test_relationship_of_which_the_key_has_one_column(session):
    """A passed parent of which the key has only the tenant is held against the row."""
    acme, other = OrgFactory(name="acme"), OrgFactory(name="other")
    session.flush()
    first, second = PageFactory(tenant=acme, slug="a"), PageFactory(tenant=acme, slug="b")
    foreign = PageFactory(tenant=other, slug="c")
    page = PageFactory(tenant=acme, parent=first)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert PageFactory(tenant=acme, parent=first) is page
    with pytest.warns(MismatchWarning, match="parent="):
        PageFactory(tenant=acme, parent=second)
    with pytest.raises(MismatchError, match="disagree on tenant_id"):
        PageFactory(tenant=acme, parent=foreign)


@pytest.mark.backends("sqlite")
@pytest.mark.parametrize("persistence", [None, "flush"])
def test_composite_attribute_of_another_key(persistence):
    """A passed composite of another key's columns must agree with the row."""

    @reuse_existing(on_mismatch="keep")
    class PlaceFactory(BaseFactory):
        class Meta:
            model = Place
            sqlalchemy_session_persistence = persistence

    home = PlaceFactory(name="home", point=Point(1, 2))
    assert PlaceFactory(name="home", point=Point(1, 2)) is home
    with pytest.raises(MismatchError):
        PlaceFactory(name="home", point=Point(3, 3))


# What Python 3.12's sqlite3 says of every date that reaches it as it is.
@pytest.mark.filterwarnings("ignore:The default date adapter is deprecated:DeprecationWarning")
@pytest.mark.parametrize(
    "sku", [0.0, 1.5, False, Decimal("1.5"), datetime.date(2020, 1, 2), 7], ids=repr
)
def test_text_key_of_another_kind(sku, session):
    """A number for a key of text finds the row with that text, not one that begins like it."""
    own = [ItemFactory(sku="abc"), ItemFactory(sku="1.5-beta"), ItemFactory(sku="7up")]
    session.commit()
    try:
        item = ItemFactory(sku=sku)
    except (DBAPIError, TypeError):
        assert find(ItemFactory, sku="abc") is own[0]  # the driver's word; nothing is lost
    else:
        assert item not in own


@pytest.mark.parametrize("id_", ["{}x", "xx", "{}.5"])
def test_number_key_that_is_none(id_, session):
    """What is no number is no row's id; the refused call costs nothing else."""
    item = ItemFactory(sku="abc")
    session.commit()
    id_ = id_.format(item.id)
    earlier = ItemFactory(sku="earlier")
    by_id = reuse_existing(type("ById", (ItemFactory,), {}), on="id")
    try:
        found = by_id(id=id_, sku="new")
    except DBAPIError:
        found = None
    assert found is not item
    assert earlier in session
    assert find(ItemFactory, sku="earlier") is earlier


@pytest.mark.backends("sqlite")
def test_key_of_json(session):
    """A key value that cannot be hashed is a key value all the same."""
    by_data = reuse_existing(type("ByData", (ItemFactory,), {}), on=("sku", "data"))
    item = by_data(data={"a": 1})
    session.commit()
    assert by_data(data={"a": 1}) is item
    assert find(ItemFactory, sku="abc") is item


def test_session_with_binds_alone(engine):
    """A session that knows engines by model only is asked through the model."""
    with Session(binds={Base: engine}, future=True) as session, current(session):
        live = reuse_existing(
            type("Live", (PostFactory,), {"Meta": LazyMeta}),
            on="title",
            where=lambda model: model.status == "live",
        )
        assert live() is live()


class LazyMeta:
    sqlalchemy_session_persistence = None


@pytest.mark.backends("sqlite", "sqlite-file")
def test_savepoint_of_the_callers_own_comes_first(session):
    """SQLite: a row made in the caller's first SAVEPOINT goes with the caller's rollback."""
    with session.begin_nested():
        NodeFactory(name="a")
    session.rollback()
    assert rows(Node) == 0
    with session.begin_nested():
        NodeFactory(name="a")
    session.commit()
    assert rows(Node) == 1


@pytest.mark.backends("sqlite")
def test_find_where_a_function_makes_the_parent():
    """`find` makes nothing, even where the key's parent is made by a function."""

    @reuse_existing(on=("org", "name"))
    class MadeFactory(BaseFactory):
        class Meta:
            model = Team

        name = "core"
        org = factory.LazyFunction(OrgFactory)

    assert find(MadeFactory) is None
    assert rows(Org) == 0


@pytest.mark.backends("postgresql")
def test_key_attribute_that_another_session_changed(session, make_session):
    """The row found shows the key it was found by, of whatever type."""
    day = datetime.datetime(2020, 1, 1, tzinfo=datetime.timezone.utc)
    later = day + datetime.timedelta(days=1)
    session.expire_on_commit = False
    by_time = reuse_existing(type("ByTime", (ItemFactory,), {}), on="at")
    item = by_time(at=day)
    session.commit()
    other = make_session()
    other.get(Item, item.id).at = later
    other.commit()
    assert by_time(at=later) is item
    assert item.at == later


class Document(Base):
    """A document, whose folder is of the same tenant."""

    __tablename__ = "document"
    __table_args__ = (
        ForeignKeyConstraint(["tenant_id", "folder_id"], ["folder.tenant_id", "folder.id"]),
        Index(
            "document_filed",
            "tenant_id",
            "name",
            unique=True,
            sqlite_where=text("folder_id IS NOT NULL"),
            postgresql_where=text("folder_id IS NOT NULL"),
        ),
        UniqueConstraint("tenant_id", "folder_id", "position"),
    )

    id = Column(Integer, primary_key=True)
    tenant_id = Column(Integer)
    folder_id = Column(Integer)
    name = Column(String(20))
    position = Column(Integer)
    rank = Column(Integer, default=1)
    folder = relationship("Folder")


class Folder(Base):
    __tablename__ = "folder"

    tenant_id = Column(Integer, primary_key=True, autoincrement=False)
    id = Column(Integer, primary_key=True, autoincrement=False)


class DocumentFactory(BaseFactory):
    class Meta:
        model = Document


@pytest.mark.backends("sqlite", "postgresql")  # elsewhere the index is not a partial one
@pytest.mark.parametrize("on_mismatch", ["keep", "raise"])
def test_parent_of_which_the_predicate_reads_a_column(on_mismatch, session):
    """A predicate says nothing of which parent it is: another one is the key of another row."""
    declared = reuse_existing(on_mismatch=on_mismatch)(persisting(DocumentFactory, "flush"))
    one, two = Folder(tenant_id=1, id=1), Folder(tenant_id=1, id=2)
    session.add_all([one, two])
    declared(name="a", folder=one, position=1)
    with pytest.raises(MismatchError, match="folder"):
        declared(name="a", folder=two, position=1)


def test_none_for_a_column_with_a_default():
    """A None is left out of the INSERT where there is a default, and means that default again."""
    declared = reuse_existing(on="name", on_mismatch="raise")(persisting(DocumentFactory, "flush"))
    made = declared(name="a", rank=None)
    assert made.rank == 1
    assert declared(name="a", rank=None) is made


@pytest.mark.backends("postgresql", "mariadb")  # SQLite's driver takes no Decimal
@pytest.mark.parametrize("cache", [True, False])
def test_decimals_of_one_value_in_a_text(cache):
    """A column of text tells 1.0 from 1.00, and so does the cache."""
    declared = reuse_existing(on="code", cache=cache)(persisting(TeamFactory, "flush"))
    teams = [declared(code=Decimal(text)) for text in ("1.0", "1.00")]
    assert teams[0] is not teams[1]
    assert declared(code=Decimal("1.0")) is teams[0]


@pytest.mark.parametrize("many", [False, True])
@pytest.mark.parametrize("on", [[("code",), ("name",)], [("name",), ("code",)]])
def test_row_that_a_statement_has_changed(on, many, session):
    """A row is held against the passed values as it is, not as the session has it in memory."""
    declared = reuse_existing(on=on, on_mismatch="raise")(persisting(TeamFactory, "flush"))
    team = declared(code="x", name="a")
    session.execute(Team.__table__.update().values(name="b"))
    call = partial(create_many, declared, [{"code": "x", "name": "a"}]) if many else None
    with pytest.raises(MismatchError, match="name='a'"):
        list(call()) if call else declared(code="x", name="a")
    assert declared(code="x", name="b") is team
