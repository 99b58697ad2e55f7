"""The fixtures of a project that has one database for all its tests, and several workers."""

import os

import pytest
from sqlalchemy import create_engine, event, text
from sqlalchemy.pool import NullPool

from factory_reuse import create_many
from factory_reuse._shop import decorated as shop
from factory_reuse._shop import models

COUNTRIES = ("AT", "CH", "DE", "FR", "IT")
CATEGORIES = ("Books", "Games", "Toys")
EMAILS = ("ann@example.org", "ben@example.org", "cat@example.org")

# One worker at a time makes the tables; the lock goes with the connection. On SQLite each
# transaction has the database for itself.
LOCKS = {"postgresql": "SELECT pg_advisory_lock(1)", "mysql": "SELECT GET_LOCK('shop', 60)"}


@pytest.fixture(scope="session")
def engine():
    engine = create_engine(os.environ["SHOP_DATABASE"], future=True, poolclass=NullPool)
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", leave_begin_to_us)
        event.listen(engine, "begin", begin)
    with engine.begin() as alone:
        if engine.dialect.name in LOCKS:
            alone.execute(text(LOCKS[engine.dialect.name]))
        models.Base.metadata.create_all(alone)
        make_reference_rows(alone)
    yield engine
    engine.dispose()


def leave_begin_to_us(connection, record):
    connection.isolation_level = None
    connection.execute("PRAGMA busy_timeout = 60000")


def begin(connection):
    connection.exec_driver_sql("BEGIN IMMEDIATE")


def make_reference_rows(connection):
    """Make the rows that every test uses, before any test does.

    Two tests that insert the same rows wait for each other, and in the end for a deadlock.
    """
    models.Session.configure(bind=connection)
    list(create_many(shop.CategoryFactory, [{"name": name} for name in CATEGORIES]))
    for number, email in enumerate(EMAILS):
        shop.UserFactory(email=email, address__country__code=COUNTRIES[number])
    list(create_many(shop.CountryFactory, [{"code": code} for code in COUNTRIES]))
    models.Session.commit()
    models.Session.remove()


@pytest.fixture(scope="session", autouse=True)
def numbers_of_its_own(worker_id):
    """Begin each worker's sequences elsewhere, or all of them would make `ORDER-0000`."""
    first = int(worker_id.replace("master", "0").replace("gw", "")) * 1000
    for factory in (shop.UserFactory, shop.CategoryFactory, shop.ProductFactory, shop.OrderFactory):
        factory.reset_sequence(first)


@pytest.fixture(autouse=True)
def session(engine):
    """The session of all factories, in a transaction that is rolled back after the test."""
    with engine.connect() as connection:
        transaction = connection.begin()
        models.Session.configure(bind=connection)
        yield models.Session()
        models.Session.remove()
        transaction.rollback()
