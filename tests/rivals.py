"""Rivals: processes that race for the same keys, and what must be true when all have finished.

`python tests/rivals.py` does so on every database and prints a table; see `--help`.
"""

import argparse
import contextlib
import itertools
import multiprocessing
import operator
import random
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, NamedTuple, Optional, Set, Tuple

import factory
import pytest
from factory.alchemy import SQLAlchemyModelFactory
from sqlalchemy import (
    Boolean,
    Column,
    ForeignKey,
    Index,
    Integer,
    String,
    UniqueConstraint,
    create_engine,
    func,
    select,
    text,
)
from sqlalchemy.engine import Engine
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import declarative_base, relationship, scoped_session, sessionmaker

import backends
from factory_reuse import (
    RaceLostError,
    ReuseError,
    create_many,
    find,
    get_or_create,
    reuse_existing,
    watch,
)

Base = declarative_base()
Session = scoped_session(sessionmaker(future=True))


# What they race for. `maker` is the call that made a row: no two calls have the same.


class Own(Base):
    """What a transaction adds for itself, one row a call."""

    __tablename__ = "own"

    id = Column(Integer, primary_key=True)
    maker = Column(String(50), nullable=False)


class Tag(Base):
    __tablename__ = "tag"

    id = Column(Integer, primary_key=True)
    name = Column(String(50), unique=True)
    maker = Column(String(50), nullable=False)


class Place(Base):
    __tablename__ = "place"
    __table_args__ = (UniqueConstraint("row", "seat"),)

    id = Column(Integer, primary_key=True)
    row = Column(Integer, nullable=False)
    seat = Column(Integer, nullable=False)
    maker = Column(String(50), nullable=False)


class Account(Base):
    __tablename__ = "account"

    id = Column(Integer, primary_key=True)
    email = Column(String(50), nullable=False)
    maker = Column(String(50), nullable=False)


Index("account_email", func.lower(Account.email), unique=True)


class Offer(Base):
    __tablename__ = "offer"

    id = Column(Integer, primary_key=True)
    name = Column(String(50), nullable=False)
    active = Column(Boolean, nullable=False)
    maker = Column(String(50), nullable=False)

    __table_args__ = (
        Index(
            "offer_name",
            name,
            unique=True,
            postgresql_where=active.is_(True),
            sqlite_where=active.is_(True),
        ),
    )


class Parent(Base):
    __tablename__ = "parent"

    id = Column(Integer, primary_key=True)
    name = Column(String(50), unique=True)
    maker = Column(String(50), nullable=False)


class Child(Base):
    __tablename__ = "child"
    __table_args__ = (UniqueConstraint("parent_id", "name"),)

    id = Column(Integer, primary_key=True)
    name = Column(String(50), nullable=False)
    parent_id = Column(ForeignKey("parent.id"), nullable=False)
    parent = relationship(Parent)
    maker = Column(String(50), nullable=False)


class RivalFactory(SQLAlchemyModelFactory):
    class Meta:
        abstract = True
        sqlalchemy_session = Session
        sqlalchemy_session_persistence = "flush"

    maker = factory.LazyFunction(lambda: Session.info["call"])


@reuse_existing
class TagFactory(RivalFactory):
    class Meta:
        model = Tag


@reuse_existing
class CommittedTagFactory(RivalFactory):
    class Meta:
        model = Tag
        sqlalchemy_session_persistence = "commit"


@reuse_existing
class PlaceFactory(RivalFactory):
    class Meta:
        model = Place


@reuse_existing
class AccountFactory(RivalFactory):
    class Meta:
        model = Account


@reuse_existing
class OfferFactory(RivalFactory):
    class Meta:
        model = Offer

    active = True


@reuse_existing
class ParentFactory(RivalFactory):
    class Meta:
        model = Parent


@reuse_existing
class ChildFactory(RivalFactory):
    class Meta:
        model = Child

    parent = factory.SubFactory(ParentFactory)


class Kind(NamedTuple):
    """A kind of key: the factory, and what to pass it for the key of a number."""

    factory: Any
    key: Callable[[int], Dict[str, Any]]
    many: bool = False
    everywhere: bool = True

    @property
    def model(self) -> Any:
        return self.factory._meta.model

    @property
    def commits(self) -> bool:
        return self.factory._meta.sqlalchemy_session_persistence == "commit"


def named(number: int) -> Dict[str, Any]:
    return {"name": f"name {number}"}


def placed(number: int) -> Dict[str, Any]:
    return {"row": number // 10, "seat": number % 10}


def addressed(number: int) -> Dict[str, Any]:
    spelling = random.choice((str.lower, str.upper, str.title))
    return {"email": spelling(f"user{number}@example.org")}


def nested(number: int) -> Dict[str, Any]:
    return {"name": f"name {number % 5}", "parent__name": f"parent {number // 5}"}


KINDS: Dict[str, Kind] = {
    "one column": Kind(TagFactory, named),
    "composite": Kind(PlaceFactory, placed),
    "expression": Kind(AccountFactory, addressed, everywhere=False),
    "partial": Kind(OfferFactory, named, everywhere=False),
    "nested": Kind(ChildFactory, nested),
    "many": Kind(TagFactory, named, many=True),
    "many nested": Kind(ChildFactory, nested, many=True),
    "commit": Kind(CommittedTagFactory, named),
}

LEVELS: Dict[str, Tuple[Optional[str], ...]] = {
    "sqlite-file": (None,),
    "postgresql": ("READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE"),
    "mariadb": ("READ COMMITTED", "REPEATABLE READ"),
}


def kinds_on(backend: str) -> List[str]:
    return [name for name, kind in KINDS.items() if kind.everywhere or backend != "mariadb"]


# One rival


class Race(NamedTuple):
    """What a rival is told."""

    url: str
    connect_args: Dict[str, Any]
    level: Optional[str]
    kind: str
    keys: int
    seed: int


class Report(NamedTuple):
    """What a rival did.

    Attributes:
        makers: the calls whose work it committed.
        used: number and id of each keyed row that a committed transaction was given.
        tally: how often what happened.
    """

    makers: Set[str]
    used: Set[Tuple[int, int]]
    tally: Dict[str, int]


class Rival:
    """Uses every key once, in an order of its own, a few keys a transaction."""

    def __init__(self, race: Race, name: str) -> None:
        self.kind = KINDS[race.kind]
        self.level = race.level
        self.name = name
        self.numbers = random.sample(range(race.keys), race.keys)
        self.calls = itertools.count()
        self.report = Report(set(), set(), Counter())
        # Of the transaction that is going on.
        self.makers: Set[str] = set()
        self.used: Set[Tuple[int, int]] = set()

    def run(self) -> Report:
        size = 10 if self.kind.many else 4
        for first in range(0, len(self.numbers), size):
            numbers = self.numbers[first : first + size]
            while not self.commits(numbers):
                time.sleep(random.uniform(0, 0.005))
        return self.report

    def commits(self, numbers: List[int]) -> bool:
        """Run a transaction; return whether it was committed. If not, nothing of it may be left."""
        try:
            self.use_many(numbers) if self.kind.many else self.use_each(numbers)
            if random.random() < 0.15:
                return self.undone("rolled back")
            Session.commit()
            self.keep()
        except Exception as error:
            reason = reason_to_retry(error)
            if reason is None:
                raise
            return self.undone(reason)
        return True

    def use_each(self, numbers: List[int]) -> None:
        for number in numbers:
            key = self.kind.key(number)
            with self.call() as maker, watch() as watched:
                row = self.kind.factory(**key)
            self.count(watched.outcomes)
            self.take(number, row)
            created = watched.outcomes[-1].created
            assert created == (row.maker == maker), f"created: {created}, by {row.maker}"
            if created and self.kind.commits:
                self.keep()
            # A refused INSERT empties the cache, and MariaDB's snapshot may lack the winner.
            raced = any(outcome.source == "race" for outcome in watched.outcomes)
            hidden = raced and self.level == "REPEATABLE READ"
            assert find(self.kind.factory, **key) in ((row, None) if hidden else (row,))
            assert get_or_create(self.kind.factory, **key) == (row, False)

    def use_many(self, numbers: List[int]) -> None:
        asked = [*numbers, numbers[0]]
        with self.call(), watch() as watched:
            rows = list(create_many(self.kind.factory, map(self.kind.key, asked)))
        self.count(watched.outcomes)
        assert rows[0] is rows[-1]
        for number, row in zip(asked, rows):
            self.take(number, row)

    @contextlib.contextmanager
    def call(self) -> Iterator[str]:
        maker = f"{self.name}.{next(self.calls)}"
        Session.info["call"] = maker
        self.makers.add(maker)
        # On SQLite, who has written is alone. What is committed must be complete.
        own_row_first = self.kind.commits or random.random() < 0.3
        if own_row_first:
            Session.add(Own(maker=maker))
        yield maker
        if not own_row_first:
            Session.add(Own(maker=maker))

    def take(self, number: int, row: Any) -> None:
        asked, given = identity(self.kind.key(number)), identity_of(row, self.kind)
        assert given == asked, f"asked for {asked}, was given {given}"
        self.used.add((number, row.id))

    def keep(self) -> None:
        """Note that all that was done so far is committed."""
        self.report.makers.update(self.makers)
        self.report.used.update(self.used)
        self.makers.clear()
        self.used.clear()

    def undone(self, reason: str) -> bool:
        Session.rollback()
        self.report.tally[reason] += 1
        self.makers.clear()
        self.used.clear()
        return False

    def count(self, outcomes: List[Any]) -> None:
        self.report.tally.update(outcome.source for outcome in outcomes)


def identity(key: Dict[str, Any]) -> Tuple[str, ...]:
    return tuple(str(value).lower() for value in key.values())


def identity_of(row: Any, kind: Kind) -> Tuple[str, ...]:
    paths = {name: name.replace("__", ".") for name in kind.key(0)}
    return identity({name: operator.attrgetter(path)(row) for name, path in paths.items()})


#: By SQLSTATE on PostgreSQL, by number on MariaDB.
RETRIED = {
    "40P01": "deadlock",
    "40001": "serialization",
    "55P03": "lock wait",
    1213: "deadlock",
    1205: "lock wait",
    1020: "record changed",
}


def reason_to_retry(error: BaseException) -> Optional[str]:
    """Return why the database wants the transaction to be run again, if it does."""
    if isinstance(error, RaceLostError):
        return "race lost"
    if isinstance(error, ReuseError) and error.__cause__ is not None:  # as create_many raises it
        error = error.__cause__
    if not isinstance(error, DBAPIError):
        return None
    if str(error.orig) == "database is locked":
        return "locked"
    return RETRIED.get(getattr(error.orig, "pgcode", None) or error.orig.args[0])


# Many


class Crew:
    """Processes that wait for races to run in; each starts when all are ready."""

    def __init__(self, processes: int) -> None:
        context = multiprocessing.get_context("spawn")
        barrier = context.Barrier(processes)
        self.ends: List[Any] = []
        self.processes: List[Any] = []
        for number in range(processes):
            ours, theirs = context.Pipe()
            process = context.Process(target=_serve, args=(number, theirs, barrier), daemon=True)
            process.start()
            theirs.close()
            self.ends.append(ours)
            self.processes.append(process)
        for end in self.ends:
            end.recv()  # that it is there

    def run(self, race: Race, seconds: float) -> List[Report]:
        """Return the reports.

        Raises:
            RuntimeError: a rival failed, or has not finished by then; all are dead after that.
        """
        deadline = time.monotonic() + seconds
        for end in self.ends:
            end.send(race)
        waiting, reports = list(self.ends), []
        try:
            while waiting:
                ready = wait(waiting, timeout=max(0, deadline - time.monotonic()))
                if not ready:
                    late = [self.ends.index(end) for end in waiting]
                    raise RuntimeError(f"rivals {late} have not finished in {seconds} seconds")
                for end in ready:
                    answer = end.recv()
                    if isinstance(answer, str):
                        raise RuntimeError(f"rival {self.ends.index(end)} failed:\n{answer}")
                    reports.append(answer)
                    waiting.remove(end)
        except BaseException:
            self.stop()
            raise
        return reports

    def stop(self) -> None:
        for process in self.processes:
            process.kill()
        for process in self.processes:
            process.join()
        for end in self.ends:
            end.close()


@contextlib.contextmanager
def crew(processes: int) -> Iterator[Crew]:
    running = Crew(processes)
    try:
        yield running
    finally:
        running.stop()


def _serve(number: int, end: Any, barrier: Any) -> None:
    warnings.simplefilter("error")
    end.send(None)
    while True:
        race = end.recv()
        try:
            answer: Any = _run(race, number, barrier)
        except BaseException:
            answer = traceback.format_exc()
        end.send(answer)


def _run(race: Race, number: int, barrier: Any) -> Report:
    random.seed(f"{race.seed} {number}")
    options = {"isolation_level": race.level} if race.level else {}
    engine = create_engine(race.url, future=True, connect_args=race.connect_args, **options)
    Session.configure(bind=engine)
    try:
        Session.execute(select(1))
        Session.rollback()
        barrier.wait(timeout=60)
        return Rival(race, f"{race.kind}-{number}").run()
    finally:
        Session.remove()
        engine.dispose()


def race_on(engine: Engine, level: Optional[str], kind: str, keys: int, seed: int) -> Race:
    """Make the tables, and return what a rival has to know."""
    Base.metadata.drop_all(engine, tables=_tables(kind))
    Base.metadata.create_all(engine, tables=_tables(kind))
    connect_args: Dict[str, Any] = {}
    if engine.dialect.name == "postgresql":
        with engine.connect() as connection:
            schema = connection.execute(text("SELECT current_schema()")).scalar()
        connect_args["options"] = f"-csearch_path={schema} -clock_timeout={backends.LOCK_SECONDS}s"
    elif engine.dialect.name == "mysql":
        connect_args["init_command"] = f"SET innodb_lock_wait_timeout={backends.LOCK_SECONDS}"
    url = engine.url.render_as_string(hide_password=False)
    return Race(url, connect_args, level, kind, keys, seed)


def _tables(kind: str) -> List[Any]:
    models = (Own, Parent, Child) if KINDS[kind].model is Child else (Own, KINDS[kind].model)
    return [model.__table__ for model in models]


def faults(engine: Engine, race: Race, reports: List[Report]) -> List[str]:
    """Return what is wrong in the database after a race."""
    kind = KINDS[race.kind]
    committed = set().union(*(report.makers for report in reports))
    tally = total(reports)
    with sessionmaker(engine, future=True)() as session:
        own = Counter(session.execute(select(Own.maker)).scalars())
        rows = session.execute(select(kind.model)).scalars().all()
        parents = session.execute(select(Parent)).scalars().all() if kind.model is Child else []
        there = Counter(identity_of(row, kind) for row in rows)
        ids = {identity_of(row, kind): row.id for row in rows}
        keyed = Counter(row.maker for row in [*rows, *parents])
        childless = {row.name for row in parents} - {row.parent.name for row in rows if parents}
    numbers = {number: identity(kind.key(number)) for number in range(race.keys)}
    wrong = {
        "own rows lost": committed - set(own),
        "own rows of no committed transaction": set(own) - committed,
        "own rows there twice": {maker for maker, count in own.items() if count > 1},
        "keyed rows of no committed transaction": set(keyed) - committed,
        "keys there twice": {key for key, count in there.items() if count > 1},
        "keys missing": set(numbers.values()) - set(there),
        "keys nobody asked for": set(there) - set(numbers.values()),
        "given another row than the one that is there": {
            (number, given)
            for report in reports
            for number, given in report.used
            if ids.get(numbers[number]) != given
        },
        "not used by all": {
            number for report in reports for number in set(numbers) - {n for n, _ in report.used}
        },
        "parents without a child": childless,
        "races lost at READ COMMITTED": (
            {tally["race lost"]} - {0} if race.level == "READ COMMITTED" else set()
        ),
    }
    return [f"{what}: {sorted(which)[:10]}" for what, which in wrong.items() if which]


def total(reports: List[Report]) -> Dict[str, int]:
    return sum((Counter(report.tally) for report in reports), Counter())


# The command


RETRIES = ("race lost", "serialization", "deadlock", "lock wait", "record changed", "locked")
COUNTED = ("created", "race", "rolled back", *RETRIES)


def database(backend: str, stack: contextlib.ExitStack) -> Engine:
    if backend == "sqlite-file":
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        return stack.enter_context(backends.sqlite_file(directory))
    server, new = {
        "postgresql": (backends.postgresql_server, backends.postgresql_schema),
        "mariadb": (backends.mariadb_server, backends.mariadb_database),
    }[backend]
    admin = stack.enter_context(backends.admin_engine(server()))
    return stack.enter_context(new(admin))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--processes", type=int, default=8)
    parser.add_argument("--keys", type=int, default=300)
    parser.add_argument("--backend", choices=LEVELS, action="append")
    parser.add_argument("--kind", choices=KINDS, action="append")
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    parser.add_argument("--seconds", type=float, default=300, help="for each race")
    asked = parser.parse_args()
    print(f"{asked.processes} processes, {asked.keys} keys, seed {asked.seed}")
    header = ("database", "level", "key", "seconds", *COUNTED)
    row = "{:12} {:16} {:12}" + " {:>8}" + " {:>14}" * len(COUNTED)
    print(row.format(*header))
    failed = False
    with crew(asked.processes) as running:
        for backend in asked.backend or LEVELS:
            with contextlib.ExitStack() as stack:
                try:
                    engine = database(backend, stack)
                except pytest.skip.Exception as reason:
                    print(f"{backend:12} {reason}")
                    continue
                for level, kind in itertools.product(LEVELS[backend], kinds_on(backend)):
                    if asked.kind and kind not in asked.kind:
                        continue
                    race = race_on(engine, level, kind, asked.keys, asked.seed)
                    started = time.monotonic()
                    reports = running.run(race, asked.seconds)
                    seconds = f"{time.monotonic() - started:.1f}"
                    tally = total(reports)
                    counts = (tally[what] for what in COUNTED)
                    print(row.format(backend, level or "", kind, seconds, *counts), flush=True)
                    for fault in faults(engine, race, reports):
                        failed = True
                        print(f"  FAULT {fault}", flush=True)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
