"""The figures that the library set out to reach, as ratios within one run."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import factory
from factory.alchemy import SQLAlchemyModelFactory
from sqlalchemy import select
from sqlalchemy.orm import Session, scoped_session, sessionmaker

from factory_reuse import reuse_existing

from .cases import FIRST, MISS, NESTED, NEW_BATCH, OLD_BATCH, REPEATED, SECOND
from .competitors import COMPETITORS, OURS
from .footprint import import_milliseconds, index_used, memory
from .growth import FEW_ROWS, by_keys, by_rows
from .measure import Player
from .models import Category, Product, declare
from .operations import Operations
from .play import Case, calls, run

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Engine

    from .backends import Backend
    from .measure import Scale
    from .play import Result


@dataclass
class Goal:
    """A figure that was measured, and the most that it should be, if anything was said."""

    title: str
    value: float
    limit: float | None = None

    def __str__(self) -> str:
        shown = f"{self.value:,.3g}" if self.value < 100 else f"{self.value:,.0f}"
        if self.limit is None:
            return shown
        return f"{shown} {'≤' if self.value <= self.limit else '>'} {self.limit:,g}"


@dataclass(frozen=True)
class Ground:
    """Where the goals of one backend are measured.

    Attributes:
        engine: of a database for all but the growth.
        small: of one with few rows.
        large: of one with many.
    """

    backend: Backend
    engine: Engine
    small: Engine
    large: Engine
    scale: Scale

    @property
    def patient(self) -> Ground:
        """The same with more rounds, for small differences and for batches, which have few."""
        rounds, batch_rounds = 2 * self.scale.rounds, 2 * self.scale.batch_rounds
        return replace(self, scale=replace(self.scale, rounds=rounds, batch_rounds=batch_rounds))

    def play(self, case: Case, *players: Player | str) -> list[Result]:
        """Return the results of the players, or of the competitors of these titles, in order."""
        able = [Player.of(it, self.engine) if isinstance(it, str) else it for it in players]
        return run(case, able, self.scale).results


def reached(ground: Ground) -> list[Goal]:
    """Measure all goals of one backend."""
    return [goal for measured in _GOALS for goal in measured(ground)]


def _repeated(ground: Ground) -> Iterator[Goal]:
    engine = ground.engine
    ours, build, get, constant, constant_build, scoped = ground.play(
        REPEATED,
        OURS,
        "build()",
        "Session.get",
        Player.new("constants only", engine, _constant),
        Player.new("constants only, build()", engine, _constant_build),
        _scoped(OURS, engine),
    )
    yield Goal("repeated hit: statements", _known(ours.statements), 0)
    yield _ratio("repeated hit / build()", ours, build, 0.10)
    yield _ratio("the same, a factory of constants", constant, constant_build)
    yield _ratio("repeated hit / Session.get", ours, get, 2)
    yield _ratio("the same, through a scoped_session", scoped, get)
    second, build = ground.play(SECOND, OURS, "build()")
    yield _ratio("second hit in a transaction / build()", second, build)


def _constant(session: Session) -> Operations:
    category = reuse_existing(_constant_factory(session))
    return Operations(find=lambda name: category(name=name))


def _constant_build(session: Session) -> Operations:
    build = _constant_factory(session).build
    return Operations(find=lambda name: build(name=name))


def _constant_factory(session: Session) -> Any:
    class CategoryFactory(SQLAlchemyModelFactory):
        class Meta:
            model = Category
            sqlalchemy_session = session

        name = "Books"
        description = "Printed."
        color = "red"

    return CategoryFactory


def _nested(ground: Ground) -> Iterator[Goal]:
    # Products are only added to the session: an INSERT would hide what is measured here.
    plays = {
        Player.new("a product", ground.engine, _childless): NESTED,
        Player.new("with a hit", ground.engine, _nesting): NESTED,
        Player.new("with the object", ground.engine, _given): NESTED,
        Player.new("with an empty child", ground.engine, _empty): NESTED,
        Player.of("build()", ground.engine): REPEATED,
    }
    alone, nesting, given, empty, build = calls(plays, ground.patient.scale)

    def added(result: Result) -> float:
        return (result.microseconds - alone.microseconds) / build.microseconds

    yield Goal("what a nested hit adds / build()", added(nesting), 0.6)
    yield Goal("of it: SQLAlchemy assigns the object", added(given))
    yield Goal("of it: factory_boy runs a SubFactory", added(empty))


def _childless(session: Session) -> Operations:
    class ProductFactory(SQLAlchemyModelFactory):
        class Meta:
            model = Product
            sqlalchemy_session = session

        title = factory.Faker("word")
        cents = factory.Faker("pyint", min_value=100, max_value=9999)

    return Operations(nest=lambda name: ProductFactory())


def _nesting(session: Session) -> Operations:
    made = declare(session, persistence=None)
    category, product = reuse_existing(made.category), made.product
    return Operations(
        find=lambda name: category(name=name), nest=lambda name: product(category__name=name)
    )


def _given(session: Session) -> Operations:
    made = declare(session, persistence=None)
    category, product = reuse_existing(made.category), made.product
    given: list[Any] = [None]

    def find(name: str) -> Any:
        given[0] = category(name=name)
        return given[0]

    return Operations(find=find, nest=lambda name: product(category=given[0]))


def _empty(session: Session) -> Operations:
    class EmptyFactory(factory.Factory[Any]):
        class Meta:
            model = dict

    class ProductFactory(SQLAlchemyModelFactory):
        class Meta:
            model = Product
            sqlalchemy_session = session
            exclude = ("category",)

        title = factory.Faker("word")
        cents = factory.Faker("pyint", min_value=100, max_value=9999)
        category = factory.SubFactory(EmptyFactory)

    return Operations(nest=lambda name: ProductFactory(category__name=name))


def _first(ground: Ground) -> Iterator[Goal]:
    ours, bare = ground.play(FIRST, OURS, "select")
    yield Goal("first hit in a transaction: statements", _known(ours.statements), 1)
    yield _ratio("first hit in a transaction / select", ours, bare, 1.5)
    case = replace(FIRST, start=_renewed)
    new, new_bare = ground.play(
        case, _scoped(OURS, ground.engine), _scoped("select", ground.engine)
    )
    yield _ratio("the same, in a new session each time", new, new_bare)


def _scoped(title: str, engine: Engine) -> Player:
    registry: Any = scoped_session(sessionmaker(engine))
    return Player(f"{title}, scoped", engine, registry, COMPETITORS[title](registry))


def _renewed(player: Player) -> None:
    registry: Any = player.session
    registry.remove()
    registry.connection()


def _miss(ground: Ground) -> Iterator[Goal]:
    by_hand = Player.new("by hand", ground.engine, _by_hand)
    ours, others = ground.play(MISS, OURS, by_hand)
    yield _ratio("miss / SELECT, SAVEPOINT, INSERT and build() by hand", ours, others, 1.15)


def _by_hand(session: Session) -> Operations:
    category = declare(session).category

    def make(name: str) -> Any:
        obj = session.scalars(select(Category).where(Category.name == name)).one_or_none()
        if obj is None:
            with session.begin_nested():
                obj = category.build(name=name)
                session.add(obj)
        return obj

    return Operations(make=make)


def _old_batch(ground: Ground) -> Iterator[Goal]:
    ours, others = ground.patient.play(OLD_BATCH, OURS, "sqlalchemy_get_or_create")
    size = f"{ground.scale.batch:,} existing rows"
    limit = {"sqlite": 0.15, "postgresql": 0.05}.get(ground.backend.name)
    yield Goal(f"{size}: statements", _known(ours.statements), 11)
    yield _ratio(f"{size} / sqlalchemy_get_or_create", ours, others, limit)


def _new_batch(ground: Ground) -> Iterator[Goal]:
    ours, plain, upsert = ground.patient.play(
        NEW_BATCH, OURS, "factory_boy, plain", "upsert_many, advanced-alchemy"
    )
    size = f"{ground.scale.batch:,} new rows"
    yield _ratio(f"{size} / plain factory_boy", ours, plain, 0.5)
    yield _ratio(f"{size} / upsert_many and build()", ours, upsert, 1)


def _growth(ground: Ground) -> Iterator[Goal]:
    small, large, *others = by_rows(ground.small, ground.large, ground.scale).results
    yield _ratio(f"first hit, {ground.scale.table:,} rows / {FEW_ROWS:,} rows", large, small, 1.2)
    *_, select_small, select_large = others
    yield _ratio("the same, of a select", select_large, select_small)
    few, many = by_keys(ground.small, ground.large, ground.scale).results
    yield _ratio(f"repeated hit, {ground.scale.keys:,} keys seen / 10 keys", many, few)
    for title, used in index_used(ground.backend, ground.large, ground.scale.table).items():
        yield Goal(f"lookups without the unique index, {title}", int(not used), 0)


def _footprint(ground: Ground) -> Iterator[Goal]:
    """These depend on no database, so one is enough."""
    if ground.backend.name != "sqlite":
        return
    kept, limit, left = memory(ground.large, ground.scale.keys)
    yield Goal(f"rows kept after {ground.scale.keys:,} keys", kept, limit)
    yield Goal("MB left after the commit", left, 1)
    yield Goal("import: ms added", import_milliseconds(), 15)


def _off(ground: Ground) -> Iterator[Goal]:
    if ground.backend.name != "sqlite":
        return
    decorated, plain = ground.patient.play(
        REPEATED, Player.new("decorated", ground.engine, _decorated_build), "build()"
    )
    # By the clock, which can tell no 2 %.
    yield _ratio("build() of a decorated factory / of a plain one", decorated, plain, 1.05)


def _decorated_build(session: Session) -> Operations:
    build = reuse_existing(declare(session).category).build
    return Operations(find=lambda name: build(name=name))


def _ratio(title: str, ours: Result, others: Result, limit: float | None = None) -> Goal:
    return Goal(title, ours.microseconds / others.microseconds, limit)


def _known(value: float | None) -> float:
    assert value is not None
    return value


_GOALS = (
    _repeated,
    _nested,
    _first,
    _miss,
    _old_batch,
    _new_batch,
    _growth,
    _footprint,
    _off,
)
