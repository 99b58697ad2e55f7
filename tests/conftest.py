"""Fixtures: each test that asks for `engine` runs once per database, each time on an empty one."""

import contextlib
import contextvars
import os
import sys
from functools import partial
from typing import Any, Callable, ContextManager, Dict, Iterator, List, Set

import hypothesis
import pytest
from sqlalchemy import event
from sqlalchemy.engine import Engine
from sqlalchemy.orm import Session, close_all_sessions

import backends
from factory_reuse import MismatchError, _chunk, _direct, _options, _row
from factory_reuse._builders import FindBuilder

# pytest run inside a test forgets the modules that it was the first to import, and a second copy of
# this one would have other classes.
with contextlib.suppress(ImportError):  # without greenlet
    import sqlalchemy.ext.asyncio  # noqa: F401

# Projects of their own, whose conftest is another one.
collect_ignore = ["plugin_suite", "xdist_suite"]

NewDatabase = Callable[[], ContextManager[Engine]]

BACKENDS = ("sqlite", "sqlite-file", "postgresql", "mariadb")

# Examples share two busy cores in CI, so time says nothing about them.
_LENIENT = {"deadline": None, "suppress_health_check": [hypothesis.HealthCheck.too_slow]}
hypothesis.settings.register_profile("default", max_examples=200, **_LENIENT)
# The same examples each time, so that what fails is the change; the long one finds new ones.
hypothesis.settings.register_profile("ci", max_examples=500, derandomize=True, **_LENIENT)
hypothesis.settings.register_profile("long", max_examples=40_000, **_LENIENT)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE") or "default")


# Calls that are answered without a build step go both ways, and must agree ("both"); or always
# the long way ("long"); or each as a batch of one ("batch").
PATH = os.environ.get("FACTORY_REUSE_TEST_PATH") or "both"
_recalled = _options.ReuseOptions._recalled
_find = _direct.DirectCall._find
_object = _direct.DirectCall.object
_checking = contextvars.ContextVar("checking", default=False)


def _decided(options: Any, given: Dict[str, Any]) -> Any:
    token = _checking.set(True)
    try:
        return FindBuilder(options, dict(given), "create").build()
    finally:
        _checking.reset(token)


def _recalled_as_decided(options: Any, given: Dict[str, Any], scope: Any) -> Any:
    if PATH == "long" or _checking.get():
        return None
    entry = _recalled(options, given, scope)
    if entry is not None:
        found = _decided(options, given)
        assert found is entry.obj, f"{options} recalled {entry.obj!r} for {given}, not {found!r}"
    return entry


def _found_as_decided(call: Any) -> Any:
    found = _find(call)
    policy, plain = call.meta.policy, getattr(call.decision, "call", None)
    opens = vars(call.meta).get("sqlalchemy_session_factory") is not None  # another session
    asks_again = opens or policy.refresh or not policy.cache or policy.where is not None
    evaluated = getattr(plain, "_begun", plain) is not None
    if found is not None and found.key.unique and not asks_again and not evaluated:
        with contextlib.suppress(MismatchError):  # as the call is going to raise, too
            other = _decided(call.meta, call.given)
            assert other is found.obj, f"{call.meta} found {found.obj!r}, not {other!r}"
    return found


class _CallOfABatch(_direct.DirectCall):
    __slots__ = ()


def _object_of_a_batch(call: Any) -> Any:
    if isinstance(call, _CallOfABatch):
        return _object(call)
    counter = call.meta._counter
    before = counter.seq
    chunk = _chunk.Chunk.of(call.meta, [call.given])
    counter.seq = before  # whose number the call has taken already
    if chunk is None:
        return _object(call)
    chunk._rows[0].call = call
    call.__class__ = _CallOfABatch
    (obj,) = chunk.objects()
    return obj


def _never_plain(*args: Any) -> None:
    raise _direct.Unknown


_options.ReuseOptions._recalled = _recalled_as_decided
_direct.DirectCall._find = _found_as_decided
if PATH == "long":
    _direct.PlainCall = _never_plain
elif PATH == "batch":
    _direct.DirectCall.object = _object_of_a_batch
    _row.DirectCall = _CallOfABatch


def pytest_collection_modifyitems(items: List[pytest.Item]) -> None:
    for item in items if PATH == "batch" else ():
        if item.get_closest_marker("single"):
            item.add_marker(
                pytest.mark.skip(reason="a batch of one sends other statements than a single call")
            )


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "backend" not in metafunc.fixturenames or "driver" in metafunc.fixturenames:
        return  # an asynchronous driver has its backend; see tests/drivers.py
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


@pytest.fixture
def errors(engine: Engine) -> List[Any]:
    """Collect what the driver raises, as SQLAlchemy passes it on."""
    seen: List[Any] = []

    @event.listens_for(engine, "handle_error")
    def collect(context: Any) -> None:
        seen.append(context.sqlalchemy_exception)

    return seen


@pytest.fixture(scope="session")
def postgresql_admin() -> Iterator[Engine]:
    with backends.admin_engine(backends.postgresql_server()) as admin:
        yield admin


@pytest.fixture(scope="session")
def mariadb_admin() -> Iterator[Engine]:
    with backends.admin_engine(backends.mariadb_server()) as admin:
        yield admin


@pytest.fixture
def project(tmp_path: Any, monkeypatch: Any) -> Iterator[Any]:
    """An empty project to audit: the working directory, whose modules are forgotten at the end."""
    import audited  # with it comes much that other tests need not import

    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    before = set(sys.modules)
    yield audited.Project(tmp_path)
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(tmp_path)):
            del sys.modules[name]


@pytest.fixture
def engines_disposed() -> Iterator[None]:
    """At the end, what the code under test has left open is closed.

    Python 3.13 warns of each connection to SQLite that is not.
    """
    made: Set[Engine] = set()

    def note(connection: Any, *branch: Any) -> None:  # which SQLAlchemy 1.4 tells of, too
        made.add(connection.engine)

    event.listen(Engine, "engine_connect", note)
    yield
    event.remove(Engine, "engine_connect", note)
    close_all_sessions()
    for engine in made:
        engine.dispose()
