"""The fixtures themselves: what the other tests rely on."""

import os
import threading

import pytest
from sqlalchemy import Column, Integer, String, inspect
from sqlalchemy.orm import declarative_base

import backends

Base = declarative_base()


class Thing(Base):
    __tablename__ = "thing"

    id = Column(Integer, primary_key=True)
    name = Column(String(50), unique=True)


@pytest.mark.parametrize("turn", [1, 2])
def test_starts_empty(session, turn):
    """A committed row of one test is not there in the next, whichever runs first."""
    assert session.query(Thing).count() == 0
    session.add(Thing(name="same"))
    session.commit()


def test_databases_are_apart(session, new_database):
    """Two databases of one backend, open at once, see nothing of each other."""
    session.add(Thing(name="here"))
    session.commit()
    with new_database() as other:
        assert inspect(other).get_table_names() == []
        Base.metadata.create_all(other)
        with other.connect() as connection:
            assert connection.execute(Thing.__table__.select()).all() == []


@pytest.mark.backends("postgresql", "mariadb")
def test_dropped_when_done(new_database, backend, request):
    """A test leaves no schema and no database behind on the server."""
    admin = request.getfixturevalue(f"{backend}_admin")
    with new_database() as engine:
        name = inspect(engine).default_schema_name
        assert name in inspect(admin).get_schema_names()
    assert name not in inspect(admin).get_schema_names()


def test_sessions_share_the_database(session, make_session):
    """A second session sees what the first committed, and only that."""
    other = make_session()
    session.add(Thing(name="seen"))
    session.commit()
    assert [thing.name for thing in other.query(Thing)] == ["seen"]
    other.add(Thing(name="not seen"))
    other.flush()
    other.rollback()
    assert [thing.name for thing in session.query(Thing)] == ["seen"]


def test_rollback_of_one_session_is_not_that_of_another(make_session):
    """Sessions have transactions of their own."""
    first, second = make_session(), make_session()
    first.add(Thing(name="kept"))
    first.flush()
    second.rollback()
    first.commit()
    assert second.query(Thing).count() == 1


def test_threads_share_the_database(session, make_session):
    """A session in another thread sees the same rows."""
    session.add(Thing(name="seen"))
    session.commit()
    counts = []
    thread = threading.Thread(target=lambda: counts.append(make_session().query(Thing).count()))
    thread.start()
    thread.join()
    assert counts == [1]


def test_statements_are_recorded(session, statements):
    """Each statement by its first keyword, savepoints included; nothing after the block."""
    with statements() as seen:
        session.query(Thing).all()
        with session.begin_nested():
            session.add(Thing(name="new"))
    session.query(Thing).all()
    assert seen == ["SELECT", "SAVEPOINT", "INSERT", "RELEASE"]
    assert seen.sql[2].startswith("INSERT INTO thing")


@pytest.mark.backends("sqlite", "mariadb")
def test_marker_restricts(backend, engine):
    """`@pytest.mark.backends` leaves out the other databases."""
    assert backend in ("sqlite", "mariadb")
    assert engine.dialect.name in ("sqlite", "mysql")


def test_all_backends_in_ci(request):
    """Where all backends are required, no server is missing."""
    if not os.environ.get(backends.REQUIRED_VARIABLE):
        pytest.skip(f"{backends.REQUIRED_VARIABLE} is not set")
    for name in ("postgresql_admin", "mariadb_admin"):
        with request.getfixturevalue(name).connect() as connection:
            assert connection.exec_driver_sql("SELECT 1").scalar() == 1


def test_missing_backend(monkeypatch):
    """A missing server is a skip that names the variable to set; in CI it is a failure."""
    monkeypatch.delenv(backends.MARIADB_VARIABLE, raising=False)
    monkeypatch.delenv(backends.REQUIRED_VARIABLE, raising=False)
    with pytest.raises(pytest.skip.Exception, match=backends.MARIADB_VARIABLE):
        backends.mariadb_server().__enter__()
    monkeypatch.setenv(backends.REQUIRED_VARIABLE, "1")
    with pytest.raises(pytest.fail.Exception, match=backends.MARIADB_VARIABLE):
        backends.mariadb_server().__enter__()
