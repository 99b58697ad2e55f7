"""The cache under keys that the database does not keep unique, under `where` and `refresh`."""

import datetime

import factory
import pytest
from factory.alchemy import SQLAlchemyModelFactory
from sqlalchemy import Boolean, Column, DateTime, Integer, String, bindparam, func, insert
from sqlalchemy.orm import declarative_base

from factory_reuse import AmbiguousMatchError, get_or_create, no_reuse, reuse_existing, use_session

Base = declarative_base()


class Article(Base):
    __tablename__ = "article"
    # Or SQLite gives the id of a deleted row to the next one, and their objects collide.
    __table_args__ = {"sqlite_autoincrement": True}

    id = Column(Integer, primary_key=True)
    title = Column(String(50))
    slug = Column(String(50), unique=True)
    tenant = Column(String(50))
    deleted = Column(Boolean, default=False)
    expires = Column(DateTime)


class PlainArticleFactory(SQLAlchemyModelFactory):
    class Meta:
        model = Article
        sqlalchemy_session_persistence = "flush"

    title = "Hello"
    tenant = "one"


@reuse_existing(on="title")
class ArticleFactory(PlainArticleFactory):
    pass


@pytest.fixture(autouse=True)
def in_use(session):
    with use_session(session):
        yield


# Keys that the database does not keep unique


def _add_flushed(session):
    session.add(Article(title="Hello"))
    session.flush()


def _add_without_reuse(session):
    with no_reuse():
        ArticleFactory()


def _rename(session):
    other = session.query(Article).filter_by(title="Other").one()
    other.title = "Hello"


SECOND_ROWS = {
    "flushed": _add_flushed,
    "pending": lambda session: session.add(Article(title="Hello")),
    "no_reuse": _add_without_reuse,
    "merged": lambda session: session.merge(Article(title="Hello")),
    "core": lambda session: session.execute(insert(Article.__table__).values(title="Hello")),
    "bulk_insert_mappings": lambda session: session.bulk_insert_mappings(
        Article, [{"title": "Hello"}]
    ),
    "bulk_save_objects": lambda session: session.bulk_save_objects([Article(title="Hello")]),
    "renamed": _rename,
}


@pytest.mark.backends("sqlite", "postgresql")
@pytest.mark.parametrize("known", [True, False], ids=["cached", "not-cached"])
@pytest.mark.parametrize("add", SECOND_ROWS.values(), ids=SECOND_ROWS)
def test_second_row(add, known, session):
    """A second row for a key makes the next call an error that counts them."""
    ArticleFactory(title="Other")
    ArticleFactory()
    if not known:
        session.commit()
        session.expunge_all()
    add(session)
    with pytest.raises(AmbiguousMatchError, match="ArticleFactory: 2 rows of Article") as caught:
        ArticleFactory()
    assert caught.value.count == 2
    assert caught.value.values == {"title": "Hello"}


def test_second_row_that_is_not_flushed(make_session):
    """Nor is one row picked when the other is in memory alone."""
    session = make_session(autoflush=False)
    with use_session(session):
        article = ArticleFactory()
        session.add(Article(title="Hello"))
        with pytest.raises(AmbiguousMatchError) as caught:
            ArticleFactory()
        assert caught.value.count == 2
        assert article in session


def test_many_rows(session):
    """All rows are counted, not just two."""
    session.add_all([Article(title="Hello") for _ in range(5)])
    with pytest.raises(AmbiguousMatchError) as caught:
        ArticleFactory()
    assert caught.value.count == 5


def test_second_row_gone(session):
    """Once one row is left, it is that one."""
    article = ArticleFactory()
    second = Article(title="Hello")
    session.add(second)
    session.flush()
    session.delete(article)
    assert ArticleFactory() is second


# `where`


@reuse_existing(on="title", where=lambda model: model.deleted.is_(False))
class LiveFactory(PlainArticleFactory):
    deleted = False


@pytest.mark.parametrize("flush", [False, True], ids=["unflushed", "flushed"])
def test_soft_deleted(flush, session):
    """A row that no longer satisfies `where` is left alone, and a new one made."""
    article = LiveFactory()
    assert LiveFactory() is article
    article.deleted = True
    if flush:
        session.flush()
    again, created = get_or_create(LiveFactory)
    assert created
    assert again is not article
    assert LiveFactory() is again
    assert article.deleted is True


def test_soft_deleted_by_statement(session):
    """So too when an UPDATE past the ORM did it."""
    article = LiveFactory()
    session.query(Article).update({"deleted": True}, synchronize_session=False)
    assert LiveFactory() is not article


def test_brought_back(session):
    """A row that satisfies `where` again is reused again."""
    article = LiveFactory()
    article.deleted = True
    session.flush()
    article.deleted = False
    assert LiveFactory() is article


def test_tenant(statements):
    """`where` is read at each call; each answer is remembered by its values."""
    tenant = {"name": "one"}

    @reuse_existing(on="title", where=lambda model: model.tenant == tenant["name"])
    class TenantFactory(PlainArticleFactory):
        tenant = factory.LazyFunction(lambda: tenant["name"])

    one = TenantFactory()
    tenant["name"] = "two"
    two = TenantFactory()
    assert (one.tenant, two.tenant) == ("one", "two")
    for name, article in [("one", one), ("two", two)]:
        tenant["name"] = name
        assert TenantFactory() is article
    with statements() as seen:
        for name, article in [("one", one), ("two", two)]:
            tenant["name"] = name
            assert TenantFactory() is article
    assert seen == []


def test_tenant_in_a_bound_parameter():
    """A parameter whose value is computed at execution is computed at each call."""
    tenant = {"name": "one"}

    @reuse_existing(
        on="title", where=Article.tenant == bindparam("tenant", callable_=lambda: tenant["name"])
    )
    class TenantFactory(PlainArticleFactory):
        tenant = factory.LazyFunction(lambda: tenant["name"])

    one = TenantFactory()
    tenant["name"] = "two"
    two = TenantFactory()
    assert (one.tenant, two.tenant) == ("one", "two")
    tenant["name"] = "one"
    assert TenantFactory() is one


def test_where_on_the_clock(statements):
    """What `where` asks the server is asked at each call."""

    @reuse_existing(on="title", where=Article.expires > func.now())
    class UnexpiredFactory(PlainArticleFactory):
        expires = datetime.datetime(2999, 1, 1)

    article = UnexpiredFactory()
    with statements() as seen:
        assert UnexpiredFactory() is article
    assert seen == ["SELECT"]


def test_where_differs_between_factories():
    """Two factories of one model and key do not answer each other."""

    @reuse_existing(on="title", where=Article.tenant == "two")
    class TwoFactory(PlainArticleFactory):
        tenant = "two"

    @reuse_existing(on="title", where=Article.tenant == "one")
    class OneFactory(PlainArticleFactory):
        pass

    one, two = OneFactory(), TwoFactory()
    assert one is not two
    assert (OneFactory(), TwoFactory()) == (one, two)


# `refresh`


@reuse_existing(refresh=True)
class FreshFactory(PlainArticleFactory):
    slug = "hello"


@reuse_existing
class SlugFactory(PlainArticleFactory):
    slug = "hello"


def test_refresh(session, statements):
    """`refresh=True` gives the row's values of now, for the one SELECT that reads them."""
    article = FreshFactory()
    session.connection().execute(Article.__table__.update().values(tenant="new"))
    assert SlugFactory() is article
    assert article.tenant == "one"
    with statements() as seen:
        assert FreshFactory() is article
        assert article.tenant == "new"
    assert seen == ["SELECT"]


def test_refresh_of_a_row_that_is_gone(session):
    """A row deleted past the ORM is made anew under `refresh=True` too."""
    article = FreshFactory()
    session.connection().execute(Article.__table__.delete())
    assert FreshFactory() is not article
