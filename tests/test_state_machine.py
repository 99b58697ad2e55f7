"""Any order of operations on a session, against a plain dictionary of what the table holds."""

import gc
from typing import Any, Dict, List, Optional

import factory
import hypothesis.strategies as st
import pytest
from factory.alchemy import SQLAlchemyModelFactory
from hypothesis import settings
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from sqlalchemy import Column, Integer, String, create_engine, delete, insert, select, update
from sqlalchemy.orm import Session, declarative_base
from sqlalchemy.pool import StaticPool

from factory_reuse import find, get_or_create, no_reuse, reuse_existing

Base = declarative_base()


class Item(Base):
    __tablename__ = "item"
    # Or SQLite gives the id of a row that was rolled back behind SQLAlchemy's back to the next.
    __table_args__ = {"sqlite_autoincrement": True}

    id = Column(Integer, primary_key=True)
    name = Column(String(20), nullable=False, unique=True)
    rank = Column(Integer)


class ItemFactory(SQLAlchemyModelFactory):
    class Meta:
        model = Item
        sqlalchemy_session_persistence = "flush"

    name = factory.Sequence(lambda n: f"generated {n}")
    rank = 1


class LazyItemFactory(ItemFactory):
    class Meta:
        model = Item
        sqlalchemy_session_persistence = None


reuse_existing(ItemFactory)
reuse_existing(LazyItemFactory)

NAMES = st.sampled_from(["a", "b", "c", "d"])


class Rows(RuleBasedStateMachine):
    """The table as `self.rows` (name to id); the session must never disagree.

    An id of None: the row is pending, and gets its id at the next flush. Objects are never kept,
    so that the identity map may drop them at any time.
    """

    factory: Any
    autoflush: bool

    def __init__(self) -> None:
        super().__init__()
        self.engine = create_engine("sqlite://", poolclass=StaticPool, future=True)
        Base.metadata.create_all(self.engine)
        self.session = Session(self.engine, autoflush=self.autoflush, future=True)
        self.factory._meta.sqlalchemy_session = self.session
        self.rows: Dict[str, Optional[int]] = {}
        self.committed: Dict[str, Optional[int]] = {}
        self.savepoints: List[Any] = []

    def teardown(self) -> None:
        self.session.close()
        self.engine.dispose()

    # Calls

    @rule(name=NAMES)
    def call(self, name: str) -> None:
        obj, created = get_or_create(self.factory, name=name)
        assert created == (name not in self.rows)
        assert obj.name == name
        assert obj in self.session
        self._note(name, obj)

    @rule(name=NAMES)
    def look(self, name: str) -> None:
        obj = find(self.factory, name=name)
        assert (obj is None) == (name not in self.rows)
        if obj is not None:
            assert obj.name == name
            assert obj in self.session
            self._note(name, obj)

    @rule(name=NAMES)
    def call_twice(self, name: str) -> None:
        first = self.factory(name=name)
        assert self.factory(name=name) is first
        self._note(name, first)

    @rule(name=NAMES)
    def insert_always(self, name: str) -> None:
        if name not in self.rows:
            self.session.flush()  # it inserts before it deletes
            with no_reuse():
                self._note(name, self.factory(name=name))

    # The caller's own work

    @rule(name=NAMES)
    def add(self, name: str) -> None:
        if name not in self.rows:
            if self.session.dirty or self.session.deleted:
                self.session.flush()  # it inserts before it updates and deletes
            self.session.add(Item(name=name, rank=1))
            self.rows[name] = None

    @rule(old=NAMES, new=NAMES)
    def rename(self, old: str, new: str) -> None:
        if old in self.rows and new not in self.rows:
            obj = self._load(old)
            obj.name = new
            self.rows[new] = self.rows.pop(old)
            self._order_matters()

    @rule(name=NAMES)
    def delete(self, name: str) -> None:
        if name in self.rows:
            self.session.flush()
            self.session.delete(self._load(name))
            del self.rows[name]
            self._order_matters()

    @rule(name=NAMES)
    def expunge(self, name: str) -> None:
        if name in self.rows:
            self.session.flush()
            self.session.expunge(self._load(name))

    @rule(name=NAMES)
    def delete_in_bulk(self, name: str) -> None:
        self.session.flush()
        statement = delete(Item).where(Item.name == name)
        self.session.execute(statement, execution_options={"synchronize_session": False})
        self.rows.pop(name, None)

    @rule(old=NAMES, new=NAMES, direct=st.booleans())
    def rename_in_bulk(self, old: str, new: str, direct: bool) -> None:
        if old in self.rows and new not in self.rows:
            self.session.flush()
            statement = update(Item.__table__).where(Item.name == old).values(name=new)
            (self.session.connection() if direct else self.session).execute(statement)
            self.rows[new] = self.rows.pop(old)

    @rule(name=NAMES)
    def insert_in_bulk(self, name: str) -> None:
        self.session.flush()
        if name not in self.rows:
            result = self.session.execute(insert(Item.__table__).values(name=name, rank=1))
            self.rows[name] = result.inserted_primary_key[0]

    @rule()
    def expire(self) -> None:
        self.session.flush()
        self.session.expire_all()

    @rule()
    def collect(self) -> None:
        gc.collect()

    # Transactions

    @rule()
    def flush(self) -> None:
        self.session.flush()

    @rule()
    def commit(self) -> None:
        self.session.commit()
        self.savepoints.clear()
        self.committed = dict(self.rows)

    @rule()
    def roll_back(self) -> None:
        self.session.rollback()
        self._forget()

    @rule()
    def close(self) -> None:
        self.session.close()
        self._forget()

    @rule()
    def begin_savepoint(self) -> None:
        # SQLite's driver needs a transaction first, or RELEASE is a COMMIT (see factory_reuse).
        self.session.flush()
        driver = self.session.connection().connection.dbapi_connection
        if not driver.in_transaction:
            driver.execute("BEGIN")
        self.savepoints.append((self.session.begin_nested(), dict(self.rows)))

    @precondition(lambda self: self.savepoints)
    @rule()
    def release_savepoint(self) -> None:
        self.savepoints.pop()[0].commit()

    @precondition(lambda self: self.savepoints)
    @rule()
    def roll_back_savepoint(self) -> None:
        savepoint, self.rows = self.savepoints.pop()
        savepoint.rollback()

    # What must always hold

    @initialize()
    def start_empty(self) -> None:
        assert self._stored() == set()

    @invariant()
    def the_table_is_as_expected(self) -> None:
        if not (self.session.new or self.session.dirty or self.session.deleted):
            assert self._stored() == set(self.rows)

    def _note(self, name: str, obj: Item) -> None:
        if self.rows.get(name) is not None:
            assert obj.id == self.rows[name]
        elif obj.id is not None:
            assert obj.id not in [known for other, known in self.rows.items() if other != name]
        self.rows[name] = obj.id

    def _load(self, name: str) -> Item:
        self.session.flush()
        # A bulk statement may have renamed the row behind the object.
        statement = select(Item).where(Item.name == name)
        return self.session.execute(
            statement.execution_options(populate_existing=True)
        ).scalar_one()

    def _order_matters(self) -> None:
        # A flush inserts before it updates and deletes. What stays pending until the next flush
        # can't take a name that the same flush sets free, with or without this library.
        if self.factory is LazyItemFactory:
            self.session.flush()

    def _forget(self) -> None:
        self.savepoints.clear()
        self.rows = dict(self.committed)

    def _stored(self) -> set:
        with self.session.no_autoflush:
            return set(self.session.execute(select(Item.__table__.c.name)).scalars())


@pytest.mark.parametrize("autoflush", [True, False], ids=["autoflush", "no-autoflush"])
@pytest.mark.parametrize("item_factory", [ItemFactory, LazyItemFactory], ids=["flush", "lazy"])
def test_any_order_of_operations(item_factory: Any, autoflush: bool) -> None:
    """No order of operations yields a stale object, a duplicate or an unexpected error."""
    members = {"factory": item_factory, "autoflush": autoflush}
    gc.freeze()  # so that a collection looks at the machine's objects alone
    runs = settings.default.max_examples // 4  # four machines share the profile's number
    run_state_machine_as_test(
        type("Machine", (Rows,), members),
        settings=settings(max_examples=runs, stateful_step_count=15),
    )
    gc.unfreeze()
