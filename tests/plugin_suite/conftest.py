"""The project's fixtures: a transaction for each test, rolled back after it."""

import pytest
from factories import Base, Session, engine


@pytest.fixture(scope="session", autouse=True)
def tables():
    Base.metadata.create_all(engine)
    yield
    engine.dispose()


@pytest.fixture(autouse=True)
def session(tables):
    with engine.connect() as connection:
        transaction = connection.begin()
        # The driver would begin with the first INSERT, and a SAVEPOINT before it would be all.
        connection.exec_driver_sql("BEGIN")
        Session.configure(bind=connection)
        yield Session()
        Session.remove()
        transaction.rollback()
