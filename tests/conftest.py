"""Fixtures: each test that asks for `engine` runs once per database, each time on an empty one."""

import contextlib
import contextvars
import os
from functools import partial
from typing import Any, Callable, ContextManager, Dict, Iterator

import hypothesis
import pytest
from sqlalchemy.engine import Engine
from sqlalchemy.orm import Session

import backends
from factory_reuse import _options
from factory_reuse._lookahead import FindBuilder

NewDatabase = Callable[[], ContextManager[Engine]]

BACKENDS = ("sqlite", "sqlite-file", "postgresql", "mariadb")

# Examples share two busy cores in CI, so time says nothing about them.
_LENIENT = {"deadline": None, "suppress_health_check": [hypothesis.HealthCheck.too_slow]}
hypothesis.settings.register_profile("default", max_examples=200, **_LENIENT)
hypothesis.settings.register_profile("ci", max_examples=2000, **_LENIENT)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE") or "default")


# Each repeated call goes both ways, and they must agree; or the long way only.
PATH = os.environ.get("FACTORY_REUSE_TEST_PATH") or "both"
_recalled = _options.ReuseOptions._recalled
_checking = contextvars.ContextVar("checking", default=False)


def _recalled_as_decided(options: Any, given: Dict[str, Any], scope: Any) -> Any:
    if PATH == "long" or _checking.get():
        return None
    entry = _recalled(options, given, scope)
    if entry is not None:
        token = _checking.set(True)
        try:
            found = FindBuilder(options, dict(given), "create").build()
        finally:
            _checking.reset(token)
        assert found is entry.obj, f"{options} recalled {entry.obj!r} for {given}, not {found!r}"
    return entry


_options.ReuseOptions._recalled = _recalled_as_decided


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "backend" not in metafunc.fixturenames:
        return
    marker = metafunc.definition.get_closest_marker("backends")
    names = marker.args if marker else BACKENDS
    if not names or not set(names).issubset(BACKENDS):
        raise pytest.UsageError(f"{metafunc.definition.nodeid}: choose from {BACKENDS}: {names}")
    metafunc.parametrize("backend", names, indirect=True)


@pytest.fixture
def backend(request: pytest.FixtureRequest) -> str:
    """The name of the database that the test runs on."""
    return request.param


@pytest.fixture
def new_database(backend: str, request: pytest.FixtureRequest) -> NewDatabase:
    """Open one more empty database of the same backend: `with new_database() as engine: ...`."""
    # By name, so that a server is only started, or missed, by the tests that run on it.
    if backend == "sqlite":
        return backends.sqlite_memory
    if backend == "sqlite-file":
        return partial(backends.sqlite_file, request.getfixturevalue("tmp_path"))
    if backend == "postgresql":
        return partial(backends.postgresql_schema, request.getfixturevalue("postgresql_admin"))
    return partial(backends.mariadb_database, request.getfixturevalue("mariadb_admin"))


@pytest.fixture
def engine(new_database: NewDatabase, request: pytest.FixtureRequest) -> Iterator[Engine]:
    """An engine on an empty database, with the tables of the test module's `Base`, if any."""
    with new_database() as engine:
        if hasattr(request.module, "Base"):
            request.module.Base.metadata.create_all(engine)
        yield engine


@pytest.fixture
def make_session(engine: Engine) -> Iterator[Callable[..., Session]]:
    """Make one more session on the same database: `make_session(autoflush=False)`."""
    with contextlib.ExitStack() as stack:

        def make(**options: object) -> Session:
            session = Session(engine, future=True, **options)
            stack.callback(session.close)
            return session

        yield make


@pytest.fixture
def session(make_session: Callable[..., Session]) -> Session:
    return make_session()


@pytest.fixture
def statements(engine: Engine) -> Callable[[], ContextManager[backends.Statements]]:
    """Record the statements of a block: `with statements() as seen: ...`."""
    return partial(backends.count_statements, engine)


@pytest.fixture(scope="session")
def postgresql_admin() -> Iterator[Engine]:
    with backends.admin_engine(backends.postgresql_server()) as admin:
        yield admin


@pytest.fixture(scope="session")
def mariadb_admin() -> Iterator[Engine]:
    with backends.admin_engine(backends.mariadb_server()) as admin:
        yield admin
