"""The databases: a new one on each server, dropped afterwards."""

from __future__ import annotations

import contextlib
import os
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import create_engine
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import close_all_sessions

from .models import Base, fill

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Engine


class Unavailable(Exception):
    """The server of a backend does not answer."""


@dataclass(frozen=True)
class Backend:
    """A kind of database, and where to find a server of it.

    Attributes:
        variable: the environment variable that names the server, else it is ``default``.
        explain: what asks for the plan of a statement.
        index: what the unique index of the categories is called.
    """

    name: str
    title: str
    variable: str = ""
    default: str = ""
    explain: str = "EXPLAIN"
    index: str = "category_name_key"

    @contextlib.contextmanager
    def database(self, rows: int) -> Iterator[Engine]:
        """A database with ``rows`` categories, and nobody else in it.

        Raises:
            Unavailable: the server does not answer.
        """
        with _PLACES[self.name](self) as engine:
            Base.metadata.create_all(engine)
            with engine.begin() as connection:
                fill(connection, rows)
            try:
                yield engine
            finally:
                close_all_sessions()  # a server waits for them before it drops what they have read
                engine.dispose()

    @property
    def url(self) -> str:
        """Where the server is."""
        return os.environ.get(self.variable) or self.default

    def version(self) -> str:
        """Return what answers, as text.

        Raises:
            Unavailable: nothing does.
        """
        engine = create_engine(self.url)
        with _available(self), engine.connect() as connection:
            version = connection.dialect.server_version_info or ()
        engine.dispose()
        return ".".join(str(part) for part in version if isinstance(part, int))

    def uses_index(self, engine: Engine, statement: str, parameters: Any) -> bool:
        """Return whether the database says that it runs a statement by the unique index."""
        with engine.connect() as connection:
            plan = connection.exec_driver_sql(f"{self.explain} {statement}", parameters)
            # MariaDB shows the keys that it considered too.
            return any(self.index in str(row._mapping.get("key", row)) for row in plan)


BACKENDS = {
    backend.name: backend
    for backend in (
        Backend(
            "sqlite",
            "SQLite in memory",
            default="sqlite://",
            explain="EXPLAIN QUERY PLAN",
            index="INDEX sqlite_autoindex_category_1 (name=?)",
        ),
        Backend(
            "postgresql",
            "PostgreSQL",
            "FACTORY_REUSE_TEST_POSTGRESQL",
            "postgresql+psycopg2://postgres@127.0.0.1:5432/test",
        ),
        Backend(
            "mariadb",
            "MariaDB",
            "FACTORY_REUSE_TEST_MARIADB",
            "mysql+pymysql://root@127.0.0.1:3306/test",
            index="name",
        ),
    )
}


@contextlib.contextmanager
def _memory(backend: Backend) -> Iterator[Engine]:
    # In `memdb`, connections share a named database, which lasts as long as one of them is open;
    # `sqlite://` would be one connection, and a conflict takes two.
    engine = create_engine(f"sqlite:///file:/{_unique_name()}?vfs=memdb&uri=true")
    with engine.connect():
        yield engine


@contextlib.contextmanager
def _schema(backend: Backend) -> Iterator[Engine]:
    name = _unique_name()
    with _administrated(backend, f"CREATE SCHEMA {name}", f"DROP SCHEMA {name} CASCADE"):
        yield create_engine(backend.url, connect_args={"options": f"-csearch_path={name}"})


@contextlib.contextmanager
def _catalog(backend: Backend) -> Iterator[Engine]:
    name = _unique_name()
    create = f"CREATE DATABASE {name} CHARACTER SET utf8mb4"
    with _administrated(backend, create, f"DROP DATABASE {name}") as server:
        yield create_engine(server.url.set(database=name))


_PLACES = {"sqlite": _memory, "postgresql": _schema, "mariadb": _catalog}


@contextlib.contextmanager
def _administrated(backend: Backend, create: str, drop: str) -> Iterator[Engine]:
    server = create_engine(backend.url, isolation_level="AUTOCOMMIT")
    with _available(backend), server.connect() as connection:
        connection.exec_driver_sql(create)
    try:
        yield server
    finally:
        with server.connect() as connection:
            connection.exec_driver_sql(drop)
        server.dispose()


@contextlib.contextmanager
def _available(backend: Backend) -> Iterator[None]:
    try:
        yield
    except OperationalError as error:
        raise Unavailable(" ".join(str(error.orig).split())) from error


def _unique_name() -> str:
    return f"reuse_bench_{uuid.uuid4().hex}"
