"""The ways to get a row, each with the same calls.

A competitor is a function from a session to its :class:`~benchmarks.operations.Operations`.
What it cannot do it leaves out, and says why.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, Callable

from advanced_alchemy.repository import SQLAlchemySyncRepository
from factory.alchemy import SQLAlchemyModelFactory
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError

from factory_reuse import create_many, reuse_existing

from .models import Category, City, Country, Factories, Region, declare
from .operations import Operations, by_factory, by_function

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from .operations import Rows

OURS = "factory_reuse"

#: How many rows go into one statement, where the competitor lets us say so.
CHUNK = 1_000


COMPETITORS: dict[str, Callable[[Session], Operations]] = {}

_Competitor = Callable[["Session"], Operations]


def _competitor(title: str) -> Callable[[_Competitor], _Competitor]:
    def register(competitor: _Competitor) -> _Competitor:
        COMPETITORS[title] = competitor
        return competitor

    return register


@_competitor(OURS)
def _ours(session: Session) -> Operations:
    made = declare(session)
    for factory in made.keyed:
        reuse_existing(factory)

    def many(rows: Rows) -> None:
        deque(create_many(made.category, rows, chunk_size=CHUNK), maxlen=0)

    return by_factory(made, find_all=many, make_all=many, whole=True)


@_competitor("sqlalchemy_get_or_create")
def _get_or_create(session: Session) -> Operations:
    class GetOrCreate(SQLAlchemyModelFactory):
        class Meta:
            abstract = True
            sqlalchemy_get_or_create = ("name",)

    return by_factory(declare(session, GetOrCreate))


@_competitor("factory_boy, plain")
def _plain(session: Session) -> Operations:
    made = declare(session)
    refused = "inserts, and is refused"
    return by_factory(
        made,
        find=None,
        nest=lambda name: made.product(),  # with a category of its own, under the next name
        find_city=None,
        find_all=None,
        why={"find": refused, "find_city": refused, "find_all": refused},
    )


@_competitor("factory_boy, plain, one flush")
def _one_flush(session: Session) -> Operations:
    category = declare(session, persistence=None).category

    def make_all(rows: Rows) -> None:
        kept = [category(**row) for row in rows]
        session.flush()
        kept.clear()

    return Operations(make_all=make_all, whole=True)


@_competitor("build()")
def _build(session: Session) -> Operations:
    made = declare(session)
    category, product, city = made.category.build, made.product.build, made.city.build
    return by_factory(
        Factories(category, made.country, made.region, city, product),
        collide=None,
        why={"collide": "writes nothing"},
    )


class _Lookup(SQLAlchemyModelFactory):
    class Meta:
        abstract = True

    @classmethod
    def _create(cls, model_class: Any, *args: Any, **kwargs: Any) -> Any:
        options: Any = cls._meta  # factory_boy declares it without the options of SQLAlchemy
        session: Session = options.sqlalchemy_session
        found = session.scalars(select(model_class).filter_by(name=kwargs["name"])).first()
        return super()._create(model_class, *args, **kwargs) if found is None else found


@_competitor("_create: lookup")
def _lookup(session: Session) -> Operations:
    return by_factory(declare(session, _Lookup))


@_competitor("_create: lookup and dictionary")
def _dictionary(session: Session) -> Operations:
    seen: dict[Any, Any] = {}

    class Remembering(_Lookup):
        class Meta:
            abstract = True

        @classmethod
        def _create(cls, model_class: Any, *args: Any, **kwargs: Any) -> Any:
            key = model_class, kwargs["name"]
            if key not in seen:
                seen[key] = super()._create(model_class, *args, **kwargs)
            return seen[key]

    # Left alone, it would answer with the rows of earlier transactions.
    return by_factory(declare(session, Remembering), forget=seen.clear)


@_competitor("_create: SELECT, SAVEPOINT, INSERT")
def _savepoint(session: Session) -> Operations:
    class Savepoint(SQLAlchemyModelFactory):
        class Meta:
            abstract = True

        @classmethod
        def _create(cls, model_class: Any, *args: Any, **kwargs: Any) -> Any:
            wanted = select(model_class).filter_by(name=kwargs["name"])
            found = session.scalars(wanted).one_or_none()
            if found is not None:
                return found
            try:
                with session.begin_nested():
                    return super()._create(model_class, *args, **kwargs)
            except IntegrityError:
                return session.scalars(wanted).one()

    return by_factory(declare(session, Savepoint))


@_competitor("UniqueObject recipe")
def _unique_object(session: Session) -> Operations:
    made = declare(session)
    seen: dict[Any, Any] = {}

    def ensure(factory: Any, name: str, **given: Any) -> Any:
        return unique(factory._meta.model, name, lambda: factory.build(name=name, **given))

    def unique(model: Any, name: str, make: Callable[[], Any]) -> Any:
        key = model, name
        obj = seen.get(key)
        if obj is None:
            with session.no_autoflush:
                obj = session.scalars(select(model).where(model.name == name)).first()
                if obj is None:
                    obj = make()
                    session.add(obj)
            seen[key] = obj
        return obj

    build = made.category.build

    def find(name: str) -> Any:
        return unique(Category, name, lambda: build(name=name))

    return by_function(
        session,
        made,
        ensure,
        find=find,
        nest=lambda name: made.product(category=find(name)),
        forget=seen.clear,
    )


@_competitor("as_unique_sync, advanced-alchemy")
def _as_unique(session: Session) -> Operations:
    made = declare(session)

    def find(name: str) -> Any:
        return Category.as_unique_sync(session, name=name)

    def ensure(factory: Any, name: str, **given: Any) -> Any:
        values = vars(factory.stub(name=name, **given))
        return factory._meta.model.as_unique_sync(session, **values)

    def find_all(rows: Rows) -> None:
        for row in rows:
            Category.as_unique_sync(session, **row)

    return by_function(
        session,
        made,
        ensure,
        # Where the row is known to be there, no values need to be drawn for it.
        find=find,
        nest=lambda name: made.product(category=find(name)),
        find_city=lambda name: City.as_unique_sync(session, name=name),
        find_all=find_all,
        forget=lambda: vars(session).pop("_unique_cache", None),
    )


@_competitor("upsert_many, advanced-alchemy")
def _upsert_many(session: Session) -> Operations:
    made = declare(session)
    repositories = {
        model: _repository(model, session) for model in (Category, Country, Region, City)
    }

    def ensure(factory: Any, name: str, **given: Any) -> Any:
        built = factory.build(name=name, **given)
        return repositories[type(built)].upsert_many([built], match_fields=["name"])[0]

    def many(rows: Rows) -> None:
        built = [made.category.build(**row) for row in rows]
        repositories[Category].upsert_many(built, match_fields=["name"])

    why = "needs the whole row, its region included"
    return by_function(
        session,
        made,
        ensure,
        find_city=None,
        find_all=many,
        make_all=many,
        whole=True,
        why={"find_city": why},
    )


def _repository(model: Any, session: Session) -> Any:
    repository = type("Repository", (SQLAlchemySyncRepository,), {"model_type": model})
    return repository(session=session)


_READS = dict.fromkeys(("make", "collide", "make_city", "make_all"), "only reads")


@_competitor("Session.get")
def _get(session: Session) -> Operations:
    made = declare(session)
    get = session.get
    with session:
        ids = dict(session.execute(select(Category.name, Category.id)).tuples().all())
        cities = dict(session.execute(select(City.name, City.id)).tuples().all())

    def find_all(rows: Rows) -> None:
        for row in rows:
            get(Category, ids[row["name"]])

    return Operations(
        find=lambda name: get(Category, ids[name]),
        nest=lambda name: made.product(category=get(Category, ids[name])),
        find_city=lambda name: get(City, cities[name]),
        find_all=find_all,
        why=_READS,
    )


@_competitor("select")
def _select(session: Session) -> Operations:
    made = declare(session)
    scalars = session.scalars

    def find(name: str) -> Any:
        return scalars(select(Category).where(Category.name == name)).one()

    def find_all(rows: Rows) -> None:
        names = [row["name"] for row in rows]
        for start in range(0, len(names), CHUNK):
            chunk = Category.name.in_(names[start : start + CHUNK])
            deque(scalars(select(Category).where(chunk)), maxlen=0)

    return Operations(
        find=find,
        nest=lambda name: made.product(category=find(name)),
        find_city=lambda name: scalars(select(City).where(City.name == name)).one(),
        find_all=find_all,
        whole=True,
        why=_READS,
    )
