"""What the tests of keys share: a base for their factories, and what is asserted of each key."""

import contextlib
from typing import Any, Iterator

from factory.alchemy import SQLAlchemyModelFactory
from sqlalchemy import func, select
from sqlalchemy.orm import Session as PlainSession
from sqlalchemy.orm import scoped_session, sessionmaker

Session = scoped_session(sessionmaker())


class BaseFactory(SQLAlchemyModelFactory):
    """As most projects have it: with factory_boy's default, objects stay pending."""

    class Meta:
        abstract = True
        sqlalchemy_session = Session


@contextlib.contextmanager
def current(session: PlainSession) -> Iterator[PlainSession]:
    """For the block, the factories use the session."""
    Session.registry.set(session)
    try:
        yield session
    finally:
        Session.registry.clear()


def persisting(factory: Any, how: Any) -> Any:
    """Return a subclass of the factory with another `sqlalchemy_session_persistence`."""
    meta = type("Meta", (), {"sqlalchemy_session_persistence": how})
    return type(factory)(factory.__name__, (factory,), {"Meta": meta})


def rows(model: Any) -> int:
    """Return how many rows the model's table has, once all that is pending is there."""
    session = Session()
    session.flush()
    return session.execute(select(func.count()).select_from(model.__table__)).scalar_one()


def assert_reused(obj: Any, factory: Any, **passed: Any) -> None:
    """The call gives the object in every state that a row goes through."""
    session = Session()
    assert factory(**passed) is obj  # pending, if the factory left it so
    session.flush()
    assert factory(**passed) is obj  # in the cache
    session.commit()
    assert factory(**passed) is obj  # in the database
    assert factory(**passed) is obj
