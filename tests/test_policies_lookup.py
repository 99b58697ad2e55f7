"""`match`, `where` and `refresh`: which rows count, and how fresh they are."""

import datetime

import factory
import pytest
from keyed import current
from sqlalchemy import (
    Column,
    DateTime,
    Integer,
    String,
    UniqueConstraint,
    and_,
    func,
    literal_column,
    text,
    update,
)
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import declarative_base

from factory_reuse import AmbiguousMatchError, ReuseError, find, reuse_existing
from shop import Scoped, ShopFactory, count

Base = declarative_base()


class Tag(Base):
    __tablename__ = "tag"
    __table_args__ = (UniqueConstraint("tenant", "slug"),)
    id = Column(Integer, primary_key=True)
    name = Column(String(50))
    tenant = Column(Integer)
    slug = Column(String(50))
    color = Column(String(50))
    deleted_at = Column(DateTime)


class Word(Base):
    __tablename__ = "word"
    id = Column(Integer, primary_key=True)
    text = Column(String(50), unique=True)
    language = Column(String(50))


class TagFactory(ShopFactory):
    class Meta:
        model = Tag

    name = "new"


@reuse_existing(match="explicit")
class WordFactory(ShopFactory):
    class Meta:
        model = Word

    text = "hello"
    language = "en"


@pytest.fixture(autouse=True)
def _scoped(session):
    with current(session):
        yield


def tags(**options):
    """Return the factory of tags, with these options."""
    return reuse_existing(type("TagFactory", (TagFactory,), {"__module__": __name__}), **options)


# match


def test_any_counts_declared_values():
    """`any`, the default: a key that the caller did not pass finds the row just the same."""
    declared = tags(on="name")
    assert declared() is declared()
    assert declared(name="new") is declared()
    assert count(Tag) == 1


def test_explicit_counts_passed_values():
    """`explicit`: only a key of which the caller passed a value is looked up."""
    declared = tags(on="name", match="explicit")
    first = declared()
    assert declared() is not first
    other = declared(name="other")
    assert declared(name="other") is other
    assert count(Tag) == 3


@pytest.mark.backends("sqlite")
def test_explicit_counts_one_passed_part():
    """`explicit`: one passed part of a composite key is enough."""
    declared = tags(on=("tenant", "name"), match="explicit")
    declared.name, declared.tenant = None, None
    first = declared(tenant=1)
    assert declared(tenant=1) is first
    assert declared(tenant=2) is not first


@pytest.mark.backends("sqlite")
def test_explicit_means_what_a_parent_or_a_trait_passes_too():
    """`explicit`: values passed by a SubFactory, or set by an enabled Trait, are passed values."""

    @reuse_existing(match="explicit")
    class TraitFactory(WordFactory):
        class Params:
            german = factory.Trait(text="hallo", language="de")

    hallo = TraitFactory(german=True)
    assert TraitFactory(german=True) is hallo

    class PairFactory(factory.Factory):
        class Meta:
            model = dict

        word = factory.SubFactory(WordFactory, text="hallo")

    assert PairFactory()["word"] is hallo


def test_explicit_never_gives_a_row_that_nobody_asked_for(session):
    """`explicit`: a declared value that is taken is a duplicate, and leaves the session usable."""
    word = WordFactory(text="hello")
    with pytest.raises(IntegrityError):
        WordFactory()
    assert session.is_active
    assert WordFactory(text="hello") is word
    assert count(Word) == 1


# where


def test_where_hides_deleted_rows():
    """A row outside `where` is not reused: a new one is made, and found from then on."""
    declared = tags(on="name", where=Tag.deleted_at.is_(None))
    old = declared()
    assert declared() is old
    old.deleted_at = func.now()
    Scoped.flush()
    new = declared()
    assert new is not old
    assert declared() is new
    assert count(Tag) == 2


def test_where_as_a_callable_is_asked_at_each_call():
    """A callable gets the model; what it reads may change between two calls."""
    current = {"tenant": 1}
    seen = []

    def this_tenant(model):
        seen.append(model)
        return model.tenant == current["tenant"]

    declared = tags(on="name", where=this_tenant)
    declared.tenant = None
    first = declared(tenant=1)
    assert declared() is first
    current["tenant"] = 2
    second = declared(tenant=2)
    assert second is not first
    assert declared() is second
    current["tenant"] = 1
    assert declared() is first
    assert set(seen) == {Tag}


def test_where_applies_to_pending_rows(make_session):
    """An unflushed object outside `where` is not reused either."""
    session = make_session(autoflush=False)
    Scoped.registry.set(session)
    declared = tags(on="name", where=Tag.tenant == 1)
    inside, outside = Tag(name="new", tenant=1), Tag(name="new", tenant=2)
    session.add_all([outside, inside])
    assert declared() is inside
    session.expunge(inside)
    session.add(Tag(name="new"))
    assert declared(tenant=1) not in (inside, outside)


def test_where_narrows_an_inferred_key():
    """With `where` and no `on`, the model's own key must hold and the condition too."""
    declared = tags(where=lambda model: model.color != "hidden")
    shown = declared(tenant=1, slug="a", color="red")
    assert declared(tenant=1, slug="a") is shown
    shown.color = "hidden"
    Scoped.flush()
    with pytest.raises(IntegrityError):
        declared(tenant=1, slug="a")
    assert count(Tag) == 1


@pytest.mark.backends("sqlite")
def test_where_tells_ambiguous_rows_apart():
    """Two rows with the key are an error that counts them, unless `where` leaves one."""
    Scoped.add_all([Tag(name="new", tenant=1), Tag(name="new", tenant=2)])
    with pytest.raises(AmbiguousMatchError, match="name='new'") as caught:
        tags(on="name")()
    assert (caught.value.count, caught.value.values) == (2, {"name": "new"})
    assert tags(on="name", where=Tag.tenant == 2)().tenant == 2


# refresh


def change_behind(session, tag, color):
    """Change the row in a way that the object does not notice."""
    statement = update(Tag).where(Tag.id == tag.id).values(color=color)
    session.connection().execute(statement)


def test_without_refresh_a_loaded_row_stays_as_loaded(session):
    """`refresh=False`, the default: what is loaded is not read again."""
    declared = tags(on="name")
    tag = declared(color="red")
    change_behind(session, tag, "blue")
    assert declared() is tag
    assert tag.color == "red"


def test_refresh_reloads_a_reused_row(session):
    """`refresh=True`: the row's values are those of the database, cached or not."""
    declared = tags(on="name", refresh=True)
    tag = declared(color="red")
    for color in ("blue", "green"):
        change_behind(session, tag, color)
        assert declared() is tag
        assert tag.color == color


def test_refresh_comes_before_comparing(session):
    """`refresh=True`: passed values are held against what the database has now."""
    declared = tags(on="name", refresh=True, on_mismatch="raise")
    tag = declared(color="red")
    change_behind(session, tag, "blue")
    assert declared(color="blue") is tag


def test_refresh_keeps_what_is_not_flushed(make_session):
    """`refresh=True`: a change of the caller's stays, and all else is read again."""
    session = make_session(autoflush=False)
    Scoped.registry.set(session)
    declared = tags(on="name", refresh=True)
    tag = declared(tenant=1)
    change_behind(session, tag, "blue")
    tag.tenant = 2
    assert declared() is tag
    assert (tag.color, tag.tenant) == ("blue", 2)
    session.flush()
    session.refresh(tag)
    assert (tag.color, tag.tenant) == ("blue", 2)


@pytest.mark.backends("sqlite")
def test_refresh_leaves_pending_rows_alone(make_session):
    """`refresh=True`: an unflushed row has nothing to reload."""
    session = make_session(autoflush=False)
    Scoped.registry.set(session)
    pending = Tag(name="new", color="red")
    session.add(pending)

    class LazyFactory(TagFactory):
        class Meta:
            sqlalchemy_session_persistence = None

    declared = reuse_existing(LazyFactory, on="name", refresh=True)
    assert declared() is pending
    assert (pending.color, pending in session.new) == ("red", True)


# What a row must also satisfy, and a new one does not


def test_a_new_row_that_where_excludes():
    """A row that was made is no answer where it does not satisfy `where` itself."""
    declared = tags(on="name", where=Tag.deleted_at.is_(None))
    deleted = declared(deleted_at=datetime.datetime(2020, 1, 1))
    assert find(declared) is None
    made = declared()
    assert made is not deleted
    assert declared() is made


@pytest.mark.backends("sqlite", "postgresql")
@pytest.mark.parametrize("look", ["refresh", "expire"])
def test_a_row_that_left_where_behind_the_session(look, make_session, session):
    """A row that another session took out of `where` is no answer once the object is reread."""
    declared = tags(on="name", where=Tag.deleted_at.is_(None))
    declared()
    session.commit()
    tag = declared()
    other = make_session()
    other.execute(update(Tag).values(deleted_at=datetime.datetime(2020, 1, 1)))
    other.commit()
    getattr(session, look)(tag, ["deleted_at"])
    assert find(declared) is None


@pytest.mark.backends("sqlite")
@pytest.mark.parametrize("where", [literal_column("tenant") == 1, text("tenant = 1")])
def test_where_given_as_text(where, statements):
    """What SQL given as text reads cannot be told, so no answer of it is kept."""
    declared = tags(on="name", where=and_(where, Tag.id > 0))
    tag = declared(tenant=1)
    for _ in range(2):
        with statements() as seen:
            assert declared() is tag
        assert seen == ["SELECT"]
    tag.tenant = 2
    assert find(declared) is None


@pytest.mark.backends("sqlite")
def test_a_callable_that_fails():
    """A mistake in `where=` is an error that names the factory, the model and the option."""

    def where():
        return Tag.id > 0

    with pytest.raises(
        ReuseError, match=r"TagFactory: where=.* failed for Tag: .*argument"
    ) as raised:
        tags(on="name", where=where)()
    assert raised.value.message.endswith(" It takes the model and returns an SQL expression.")
    assert (raised.value.factory, raised.value.model) == ("TagFactory", "Tag")
    assert raised.value.values == {"where": where}


@pytest.mark.backends("sqlite")
def test_refresh_leaves_pending_objects_pending():
    """`refresh=True` reloads a lazy factory's row and flushes nothing."""

    class LazyFactory(TagFactory):
        class Meta:
            sqlalchemy_session_persistence = None

    declared = reuse_existing(LazyFactory, on="name", refresh=True)
    tag = declared()
    Scoped.commit()
    pending = Tag(name="pending")
    Scoped.add(pending)
    assert declared() is tag
    assert pending in Scoped.new
