"""The pytest plugin: its report, budgets, markers and fixture, on a small project's tests."""

import json
import shutil
import sys
from pathlib import Path

import jsonschema
import pytest
import sqlalchemy
from factory.builder import StepBuilder

import factory_reuse

pytest_plugins = "pytester"

PROJECT = Path(__file__).parent / "plugin_suite"
SCHEMA = Path(factory_reuse.__file__).parent / "_suite" / "report.schema.json"

TESTS = """
from factories import CountryFactory, NoteFactory, UserFactory

def test_notes():
    NoteFactory()
    NoteFactory()
    NoteFactory(text="Bye")
    NoteFactory(text="Bye")
    CountryFactory(code="CH")

def test_users():
    UserFactory.create_batch(3)
    UserFactory(email="user@example.org", country__code="DE")
    UserFactory(email="user@example.org")
"""


@pytest.fixture
def run(pytester):
    """Run tests in the project, and give the result."""
    for file in PROJECT.glob("*.py"):
        shutil.copy(file, pytester.path)

    def run(tests, *options, plugins=("no:randomly", "no:xdist"), warnings="-Werror"):
        pytester.makepyfile(test_suite=tests)  # no name that one of our own modules has
        named = [f"-p{name}" for name in ("no:cacheprovider", *plugins)]
        return pytester.runpytest_inprocess(warnings, *named, *options)

    return run


def reported(file="report.json"):
    """Return what a file says, by the factories' names."""
    document = json.loads(Path(file).read_text("utf-8"))
    jsonschema.validate(document, json.loads(SCHEMA.read_text("utf-8")))
    return document, {each["name"]: each for each in document["factories"]}


def test_calls_by_factory(run):
    """Each factory's calls are told apart: direct or nested, new or reused, and from where."""
    run(TESTS, "--reuse-report=report.json").assert_outcomes(passed=2)
    document, factories = reported()
    told = {
        name: [each[k] for k in ("calls", "top_level", "nested", "created", "reused")]
        for name, each in factories.items()
    }
    assert told == {
        "NoteFactory": [4, 4, 0, 4, 0],
        "UserFactory": [9, 5, 4, 5, 4],
        "CountryFactory": [6, 1, 5, 4, 2],
    }
    assert sum(factories["UserFactory"]["sources"].values()) == 4
    assert factories["UserFactory"]["decorated"]
    totals = document["totals"]
    assert [totals[k] for k in ("tests", "calls", "created", "reused")] == [2, 19, 13, 6]


def test_undecorated(run):
    """A factory that is not decorated says which of its rows were like another of their test.

    Those that SubFactories made are rows to save, with the rows that were made for them.
    """
    tests = """
    import factory
    from factories import BaseFactory, CountryFactory, Note, NoteFactory, User

    class PlainUserFactory(BaseFactory):
        class Meta:
            model = User
        email = factory.Sequence(str)
        country = factory.SubFactory(CountryFactory, code=factory.Sequence(lambda n: f"{n:02}"))

    class PlainNoteFactory(BaseFactory):
        class Meta:
            model = Note
        text = "Hello"
        user = factory.SubFactory(PlainUserFactory)

    def test():
        PlainNoteFactory()
        PlainNoteFactory()
        PlainNoteFactory(text="Bye")
        PlainNoteFactory(text="Bye")
        PlainNoteFactory(user__email="a")
    """
    run(tests, "--reuse-report=report.json").assert_outcomes(passed=1)
    _, factories = reported()
    note = factories["PlainNoteFactory"]
    assert not note["decorated"]
    assert note["would_reuse"] == {"repeated": 1, "defaults": 1, "rows": 0}
    # A user and a country for each of the three notes after the first.
    assert factories["PlainUserFactory"]["would_reuse"] == {
        "repeated": 0,
        "defaults": 3,
        "rows": 6,
    }
    assert factories["CountryFactory"]["would_reuse"] is None


def test_saved(run):
    """Saved are the rows that were not made, and their INSERTs, less what reuse itself sends."""
    tests = """
    from factories import Country, CountryFactory, UserFactory

    def test(session):
        UserFactory(email="a")
        for _ in range(9):
            UserFactory(email="a")
    """
    run(tests, "--reuse-report=report.json")
    document, factories = reported()
    user, country = factories["UserFactory"], factories["CountryFactory"]
    # Nine users and the countries made for them, less SELECT, SAVEPOINT and RELEASE of the first.
    assert user["saved"] == {"rows": 18, "statements": 18 - (user["own_statements"] - 1)}
    assert country["saved"] == {"rows": 0, "statements": 1 - country["own_statements"]}
    assert document["totals"]["saved"]["statements"] == 20 - document["totals"]["statements"]


def test_repeats_of_another_test(run):
    """A row is compared with those of its own test alone."""
    tests = """
    from factories import NoteFactory
    def test_one(): NoteFactory(text="a")
    def test_two(): NoteFactory(text="a")
    """
    run(tests, "--reuse-report=report.json")
    _, factories = reported()
    assert factories["NoteFactory"]["would_reuse"] == {"repeated": 0, "defaults": 0, "rows": 0}


def test_made_factories(run):
    """Factories of make_factory are told by their model's module, and apart where they repeat."""
    tests = """
    import factory
    from factories import BaseFactory, Note

    def test():
        made = [factory.make_factory(Note, FACTORY_CLASS=BaseFactory, text=t) for t in "ab"]
        made[0]()
        made[1]()
        made[1]()
    """
    run(tests, "--reuse-report=report.json").assert_outcomes(passed=1)
    _, factories = reported()
    note = factories["NoteFactory"]
    assert (note["id"], note["module"], note["calls"]) == ("factories.NoteFactory", "factories", 3)
    assert note["would_reuse"]["defaults"] == 1


def test_lazy_factories(run):
    """Where a factory sends nothing, because a later flush does, the report says so."""
    tests = """
    from factories import BaseFactory, Note

    class LazyFactory(BaseFactory):
        class Meta:
            model = Note
            sqlalchemy_session_persistence = None

    def test():
        LazyFactory()
    """
    result = run(tests, "--reuse-report")
    result.stdout.fnmatch_lines(["lazy, so that * is in no figure: LazyFactory (1 calls)"])


def test_repeats_of_rows(run):
    """A row that is passed is the same value only if it is the same row."""
    tests = """
    from factories import NoteFactory, UserFactory
    def test():
        one, other = UserFactory.create_batch(2)
        for user in (one, other, one):
            NoteFactory(user=user)
        NoteFactory(text=["no", "plain", "value"][0].encode().decode(), user=None)
    """
    run(tests, "--reuse-report=report.json")
    _, factories = reported()
    assert factories["NoteFactory"]["would_reuse"]["repeated"] == 1


def test_lookup_of_its_own(run):
    """What a factory that is not decorated looks up by itself is no new row."""
    tests = """
    from factories import BaseFactory, Country, CountryFactory, Session

    class OldFactory(BaseFactory):
        class Meta:
            model = Country
            sqlalchemy_get_or_create = ("code",)
        code = "AT"

    known = {}

    class CachedFactory(BaseFactory):
        class Meta:
            model = Country
            sqlalchemy_session_persistence = None
        @classmethod
        def _create(cls, model, **given):
            if given["code"] not in known:
                known[given["code"]] = super()._create(model, **given)
            return known[given["code"]]

    def test_found(session):
        session.add(Country(code="AT"))
        assert OldFactory() is OldFactory()
        OldFactory(code="CH")

    def test_pending():
        assert CachedFactory(code="FR") is CachedFactory(code="FR")
    """
    run(tests, "--reuse-report=report.json").assert_outcomes(passed=2)
    _, factories = reported()
    assert factories["OldFactory"]["created"] == 1
    assert factories["OldFactory"]["sources"] == {"lookup": 2}
    assert factories["CachedFactory"]["created"] == 1
    assert factories["CachedFactory"]["sources"] == {"lookup": 1}


@pytest.mark.single
def test_statements_are_the_database_s(run):
    """The statements and rows reported are those that the database itself got."""
    tests = """
    import json
    import pytest
    from factories import NoteFactory, Session, engine

    @pytest.fixture
    def log(session):
        connection = session.connection().connection.driver_connection \\
            if hasattr(session.connection().connection, "driver_connection") \\
            else session.connection().connection.connection
        log = []
        connection.set_trace_callback(log.append)
        yield log
        connection.set_trace_callback(None)
        with open("log.json", "w") as file:
            json.dump(log, file)

    def test(log):
        NoteFactory.create_batch(3)
        NoteFactory(user__email="ben@example.org", user__country__code="CH")
    """
    run(tests, "--reuse-report=report.json").assert_outcomes(passed=1)
    document, factories = reported()
    log = json.loads(Path("log.json").read_text("utf-8"))
    inserts = [line for line in log if line.startswith("INSERT")]
    assert document["totals"]["created"] == len(inserts) == 8
    assert document["totals"]["statements"] == len(log)
    own = {name: each["own_statements"] for name, each in factories.items()}
    assert sum(own.values()) == len(log)
    # NoteFactory is not decorated: each row is its INSERT.
    assert own["NoteFactory"] == 4


def test_cascades(run):
    """Which factory pulled which is told, and how often."""
    run(TESTS, "--reuse-report=report.json")
    document, _ = reported()
    cascades = {
        (each["factory"].rpartition(".")[2], each["pulled"].rpartition(".")[2]): (
            each["calls"],
            each["created"],
        )
        for each in document["cascades"]
    }
    assert cascades == {
        ("NoteFactory", "UserFactory"): (4, 1),
        ("UserFactory", "CountryFactory"): (5, 3),
    }
    assert all(0 < each["share"] <= 1 for each in document["cascades"])


def test_calls_inside_declarations(run):
    """A call that a declaration or a hook makes by itself is inside that of its factory."""
    tests = """
    import factory
    from factories import BaseFactory, CountryFactory, Note, UserFactory

    class LazyFactory(BaseFactory):
        class Meta:
            model = Note
        user = factory.LazyFunction(lambda: UserFactory(email="a"))
        @factory.post_generation
        def country(self, create, extracted, **kwargs):
            CountryFactory(code="FR")

    def test():
        LazyFactory()
    """
    run(tests, "--reuse-report=report.json")
    document, factories = reported()
    assert factories["CountryFactory"]["nested"] == 2
    (test,) = document["tests"]
    (lazy,) = test["calls"]
    assert [each["factory"].rpartition(".")[2] for each in lazy["inside"]] == [
        "UserFactory",
        "CountryFactory",
    ]


def test_refused_call(run):
    """A call that raises is none; what it made inside stands for itself."""
    tests = """
    import pytest
    from sqlalchemy.exc import IntegrityError
    from factories import Session, Country, BaseFactory, UserFactory
    import factory

    class PlainFactory(BaseFactory):
        class Meta:
            model = Country

    def test(session):
        PlainFactory(code="AT")
        with pytest.raises(IntegrityError), session.begin_nested():
            PlainFactory(code="AT")
        UserFactory(email="a")
    """
    run(tests, "--reuse-report=report.json").assert_outcomes(passed=1)
    _, factories = reported()
    assert factories["PlainFactory"]["calls"] == 1
    assert factories["UserFactory"]["top_level"] == 1


def test_threads(run):
    """Calls of threads that run at the same time are no calls inside one another."""
    tests = """
    import threading
    from factories import BaseFactory, Country

    def test():
        barrier = threading.Barrier(2)

        class WaitingFactory(BaseFactory):
            class Meta:
                model = Country
            @classmethod
            def _create(cls, model, **given):
                barrier.wait(10)  # both have begun
                return model(**given)

        threads = [threading.Thread(target=WaitingFactory) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    """
    run(tests, "--reuse-report=report.json").assert_outcomes(passed=1)
    _, factories = reported()
    assert [factories["WaitingFactory"][k] for k in ("top_level", "nested")] == [2, 0]


def test_tasks(run):
    """Nor are awaited calls of tasks that run by turns; their statements are told apart, too."""
    for module in ("aiosqlite", "sqlalchemy.ext.asyncio", "factory_reuse.aio"):
        pytest.importorskip(module)  # here, or the run would have another one for itself
    tests = """
    import asyncio
    from factories import Base, CountryFactory, UserFactory
    from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
    from factory_reuse import aio

    async def make(engine, turns, me, other):
        async with AsyncSession(engine) as session:
            for code in ("AT", "CH"):
                await turns[me].acquire()
                task = asyncio.ensure_future(aio.create(session, UserFactory, country__code=code))
                await asyncio.sleep(0)
                turns[other].release()
                await task

    async def both():
        engines = [create_async_engine(f"sqlite+aiosqlite:///{n}.db") for n in "ab"]
        for engine in engines:
            async with engine.begin() as connection:
                await connection.run_sync(Base.metadata.create_all)
        turns = [asyncio.Semaphore(1), asyncio.Semaphore(0)]
        await asyncio.gather(*(make(e, turns, n, 1 - n) for n, e in enumerate(engines)))
        for engine in engines:
            await engine.dispose()

    def test():
        asyncio.run(both())
    """
    run(tests, "--reuse-report=report.json").assert_outcomes(passed=1)
    _, factories = reported()
    user, country = factories["UserFactory"], factories["CountryFactory"]
    assert [user[k] for k in ("top_level", "nested", "created")] == [4, 0, 4]
    assert [country[k] for k in ("top_level", "nested", "created")] == [0, 4, 4]


def test_terminal(run):
    """The report at the end names the factories, the cascades and the slowest tests."""
    result = run(TESTS, "--reuse-report")
    lines = [
        "*= factory reuse =*",
        "* s in factories, *% of the tests' * s: 19 calls, 13 created, 6 reused, * statements*",
        "factory * calls * direct * nested * created * reused *",
        "NoteFactory [*] *4 *4 *0 *4 *0*",
        "UserFactory *9 *5 *4 *5 *4*",
        "factory * seconds * own * stmts * own * saved rows * saved stmts",
        "[*] not decorated *created *repeated *defaults *rows to save, at most",
        "NoteFactory [*] * 4 * 1 * 1 * 0",
        "NoteFactory -> UserFactory *4 *1 *%",
        "test_suite.py::test_notes * *%",
    ]
    for line in lines:  # those of a table come in the order of their seconds
        result.stdout.fnmatch_lines([line])


def test_never_reused(run):
    """A decorated factory that never reused is named: its key is new each time."""
    result = run(
        "from factories import UserFactory\ndef test(): UserFactory.create_batch(3)",
        "--reuse-report",
    )
    result.stdout.fnmatch_lines(["decorated, and never reused: UserFactory (3 calls)"])


def test_nothing_was_run(run):
    """A run of no test has no report."""
    result = run(TESTS, "--reuse-report", "--collect-only")
    result.stdout.no_fnmatch_line("*factory reuse*")


def test_nothing_is_shown_unasked(run):
    """Without an option there is no report, and nothing but the plugin's own module is imported."""
    result = run(TESTS)
    result.assert_outcomes(passed=2)
    result.stdout.no_fnmatch_line("*factory reuse*")


def test_nothing_is_imported_unasked(pytester, monkeypatch):
    """In a suite that asks for nothing, pytest imports neither SQLAlchemy nor factory_boy."""
    pytester.makepyfile(
        """
        import sys

        def test():
            assert "factory_reuse.pytest_plugin" in sys.modules
            imported = {name for name in sys.modules if name.startswith("factory_reuse.")}
            assert imported == {"factory_reuse.pytest_plugin"}
            assert not {"sqlalchemy", "factory"} & set(sys.modules)
        """
    )
    command = [sys.executable, "-m", "pytest", "-p", "factory_reuse.pytest_plugin"]
    environment = {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTEST_ADDOPTS": ""}
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert pytester.run(*command).ret == 0


def test_named_plugin(run):
    """Naming the plugin with -p changes nothing."""
    result = run(TESTS, "--reuse-report", plugins=("factory_reuse.pytest_plugin", "no:randomly"))
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(["*19 calls*"])


@pytest.mark.single
def test_xdist(run):
    """With several workers the figures are those of one process."""
    run(TESTS, "--reuse-report=alone.json").assert_outcomes(passed=2)
    run(TESTS, "--reuse-report=together.json", "-n2", plugins=()).assert_outcomes(passed=2)

    def figures(file):
        document, factories = reported(file)
        counted = ("calls", "created", "sources", "statements", "own_statements", "would_reuse")
        assert document["totals"]["tests"] == 2
        return {name: [each[k] for k in counted] for name, each in factories.items()}

    assert figures("together.json") == figures("alone.json")


def test_calls_outside_of_tests(run):
    """What is made while modules are imported is in the report, once for all workers."""
    tests = """
    from factories import Base, CountryFactory, Session, engine
    Base.metadata.create_all(engine)
    Session.configure(bind=engine)
    CountryFactory(code="XX")
    Session.rollback()
    Session.remove()
    def test(): pass
    """
    for options, plugins in (((), ("no:xdist",)), (("-n2",), ())):
        run(tests, "--reuse-report=report.json", *options, plugins=plugins)
        document, factories = reported()
        assert factories["CountryFactory"]["created"] == 1
        assert [test["id"] for test in document["tests"] if test["calls"]] == [
            "(outside of the tests)"
        ]


def test_unknown_file(run):
    """A file that is neither JSON nor HTML is refused: it may be a path of tests."""
    result = run(TESTS, "--reuse-report", "test_suite.py")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*ends with .json or .html*write --reuse-report= before it*"])


@pytest.mark.parametrize(
    ("budget", "message"),
    [
        ("created=9", "created 13 of 9"),
        ("calls=1,created=9", "calls 19 of 1, created 13 of 9"),
        ("statements=1 --reuse-budget=calls=9", "statements * of 1, calls 19 of 9"),
        ("seconds=0", "seconds * of 0"),
    ],
)
def test_budget_of_the_run(run, budget, message):
    """A run whose factories do more than the budget fails, and shows the figures."""
    result = run(TESTS, *f"--reuse-budget={budget}".split(" "))
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["NoteFactory*", f"over the reuse budget: {message}"])


def test_budget_kept(run):
    """A run within its budget passes, and shows nothing."""
    result = run(TESTS, "--reuse-budget=created=13, calls=1", "--reuse-budget=calls=19")
    assert result.ret == pytest.ExitCode.OK
    result.stdout.no_fnmatch_line("*factory reuse*")


@pytest.mark.parametrize(
    ("budget", "message"),
    [
        ("rows=3", "*takes calls, created, statements, seconds, not 'rows'*"),
        ("created=few", "*created is a number from 0 on, not 'few'*"),
        ("created=1 --reuse-budget=calls=x", "*calls is a number from 0 on, not 'x'*"),
        ("created=-1", "*created is a number from 0 on, not '-1'*"),
        ("", "*not ''*"),
    ],
)
def test_bad_budget(run, budget, message):
    """A budget of what cannot be limited is refused at once."""
    result = run(TESTS, *f"--reuse-budget={budget}".split(" "))
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([message])


def test_budget_of_a_test(run):
    """A test whose factories do more than its marker allows fails, and shows what they did."""
    tests = """
    import pytest
    from factories import CountryFactory, UserFactory

    @pytest.fixture(scope="module")
    def shared(tables):
        pass

    @pytest.fixture
    def user(shared):
        return UserFactory()

    @pytest.mark.reuse_budget(created=2)
    def test_kept(user):
        UserFactory(email=user.email)

    @pytest.mark.reuse_budget(created=2)
    def test_exceeded(user):
        UserFactory()

    @pytest.mark.reuse_budget(created=0)
    def test_failed_anyhow():
        UserFactory()
        assert 0, "the test's own failure"

    @pytest.mark.reuse_budget(3)
    def test_unnamed(): pass

    @pytest.mark.reuse_budget(rows=3)
    def test_unknown(): pass
    """
    result = run(tests)
    result.assert_outcomes(passed=1, failed=4)
    result.stdout.fnmatch_lines(
        [
            "over its reuse budget: created 3 of 2",
            "UserFactory *2 *2 *0 *2 *0*",
            "*the test's own failure*",
            "reuse_budget: a budget is given by name: *",
            "reuse_budget: a budget takes *, not 'rows'",
        ]
    )


def test_budget_leaves_shared_fixtures_out(run):
    """What a fixture makes for several tests counts in none of their budgets."""
    tests = """
    import pytest
    from factories import Country, CountryFactory, Session, UserFactory, engine

    @pytest.fixture(scope="module")
    def countries(tables):
        with engine.connect() as connection, connection.begin():
            Session.configure(bind=connection)
            made = [CountryFactory(code=code).code for code in ("FR", "IT")]
            Session.commit()
            Session.remove()
        yield made
        with engine.begin() as connection:
            connection.execute(Country.__table__.delete())

    @pytest.mark.reuse_budget(created=0)
    def test(countries, session):
        assert CountryFactory(code="FR").code in countries
    """
    run(tests, "--reuse-report=report.json").assert_outcomes(passed=1)
    _, factories = reported()
    assert factories["CountryFactory"]["created"] == 2


def test_no_reuse(run):
    """A test marked no_reuse gets new rows, and so do its fixtures; the next one does not."""
    tests = """
    import pytest
    from sqlalchemy.exc import IntegrityError
    from factories import CountryFactory

    @pytest.fixture
    def country():
        return CountryFactory()

    @pytest.mark.no_reuse
    def test_off(country, session):
        with pytest.raises(IntegrityError), session.begin_nested():
            CountryFactory()

    def test_on(country):
        assert CountryFactory() is country
    """
    run(tests).assert_outcomes(passed=2)


def test_strict(run):
    """With --reuse-strict a mismatch fails its test, whatever the project's filters say."""
    tests = """
    import pytest
    from factories import CountryFactory

    @pytest.mark.filterwarnings("default")
    def test_plain():
        CountryFactory()

    def test_mismatch():
        CountryFactory(name="Austria")
        CountryFactory(name="Oesterreich")
    """
    ini = "[pytest]\nfilterwarnings =\n    ignore::factory_reuse.MismatchWarning\n"
    Path("pytest.ini").write_text(ini)
    run(tests, warnings="-Wdefault::ImportWarning").assert_outcomes(passed=2)
    result = run(tests, "--reuse-strict", warnings="-Wdefault::ImportWarning")
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["*MismatchWarning: CountryFactory*"])


def test_report_fixture(run):
    """The fixture tells what the test's calls led to, those of fixtures before it included."""
    tests = """
    import pytest
    from factories import CountryFactory, NoteFactory, UserFactory

    @pytest.fixture(autouse=True)
    def country(session):
        return CountryFactory()

    def test_one(country, reuse_report):
        UserFactory()
        assert (reuse_report.created, reuse_report.reused) == (2, 1)
        assert reuse_report.by_factory["CountryFactory"].reused == 1

    def test_two(reuse_report):
        assert (reuse_report.created, reuse_report.reused) == (1, 0)
    """
    run(tests).assert_outcomes(passed=2)
    run(tests, "--reuse-report").assert_outcomes(passed=2)


def test_failing_test(run):
    """A failing test's report names the rows that it was given, and the test that made each."""
    tests = """
    import pytest
    from factories import Country, CountryFactory, Session, UserFactory, engine

    @pytest.fixture(scope="module", autouse=True)
    def kept(tables):
        with engine.connect() as connection, connection.begin():
            Session.configure(bind=connection)
            CountryFactory(code="FR")
            connection.execute(Country.__table__.insert(), {"code": "IT"})
            Session.commit()
            Session.remove()
        yield
        with engine.begin() as connection:
            connection.execute(Country.__table__.delete())

    def test_first():
        CountryFactory(code="CH")  # rolled back: its id is free again

    def test_second(session):
        session.execute(Country.__table__.insert(), {"code": "CH"})
        for code in ("FR", "IT", "CH", "CH"):
            CountryFactory(code=code)
        UserFactory(country__code="FR")
        UserFactory(email="a@example.org")
        UserFactory(email="a@example.org")
        assert 0
    """
    result = run(tests, "--reuse-strict")
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.no_fnmatch_line("*= factory reuse =*")
    result.stdout.fnmatch_lines(
        [
            "*- Reused rows -*",
            "CountryFactory: Country(code='FR') (*), made by the fixture *.py::kept",
            "CountryFactory: Country(code='IT') (*), made by no test that is known",
            "CountryFactory: Country(code='CH') (*), made by no test that is known",
            "UserFactory: User(email='a@example.org') (*), made by this test",
        ]
    )


def test_retried_and_sub_tests(run):
    """Calls made in a subtest count once, in their test."""
    tests = """
    import unittest
    from factories import CountryFactory

    class Test(unittest.TestCase):
        def test(self):
            for code in ("AT", "CH"):
                with self.subTest(code=code):
                    CountryFactory(code=code)
    """
    run(tests, "--reuse-report=report.json")
    _, factories = reported()
    assert factories["CountryFactory"]["calls"] == 2


def test_asked_for_at_run_time(run):
    """A fixture that is asked for by its name at run time tells what comes after it."""
    tests = """
    from factories import CountryFactory

    def test(request):
        report = request.getfixturevalue("reuse_report")
        CountryFactory()
        assert report.created == 1
    """
    run(tests).assert_outcomes(passed=1)


def test_watched_from_outside(run):
    """A fixture that watches the whole run hides nothing from a marker or the fixture."""
    tests = """
    import pytest
    from factories import CountryFactory
    from factory_reuse import watch

    @pytest.fixture(scope="session", autouse=True)
    def watched():
        with watch() as report:
            yield report

    def test_fixture(reuse_report, watched):
        CountryFactory()
        assert reuse_report.created == watched.created == 1

    @pytest.mark.reuse_budget(created=0)
    def test_marker():
        CountryFactory()
    """
    run(tests).assert_outcomes(passed=1, failed=1)


def test_many_rows_of_a_failing_test(run):
    """A failing test names some of its rows, and how many more there are."""
    tests = """
    from factories import CountryFactory

    def test():
        for number in range(2 * 40):
            CountryFactory(code=f"{number % 40:02}")
        assert 0
    """
    result = run(tests, "--reuse-report")
    result.stdout.fnmatch_lines(["CountryFactory: Country(code='29') *", "(and 10 more)"])


def test_maker_after_all_is_gone(run):
    """A failing test names the maker of a row, though it has closed its session by then."""
    tests = """
    import pytest
    from factories import Base, Country, CountryFactory, Session, engine

    @pytest.fixture
    def session(tables):
        Session.configure(bind=engine)
        yield Session()
        Session.remove()

    def test_one(session):
        CountryFactory(code="AT")
        session.commit()

    def test_two(session):
        CountryFactory(code="AT")
        session.commit()
        Session.remove()
        assert 0
    """
    result = run(tests, "--reuse-report")
    maker = "test_suite.py::test_one"
    line = f"CountryFactory: Country(code='AT') (database), made by {maker}"
    result.stdout.fnmatch_lines([line])


def test_maker_that_was_rolled_back(run):
    """What is rolled back to a SAVEPOINT was made by nobody, though its id comes again."""
    tests = """
    import pytest
    from factories import Country, CountryFactory, Session, engine

    @pytest.fixture(scope="module")
    def connection(tables):
        with engine.connect() as connection, connection.begin():
            connection.exec_driver_sql("BEGIN")
            yield connection

    @pytest.fixture
    def session(connection):
        nested = connection.begin_nested()
        Session.configure(bind=connection)
        yield Session()
        Session.remove()
        if nested.is_active:
            nested.rollback()

    def test_one(session):
        CountryFactory(code="AT")

    def test_two(session):
        session.execute(Country.__table__.insert(), {"code": "AT"})
        CountryFactory(code="AT")
        assert 0
    """
    result = run(tests, "--reuse-report")
    result.assert_outcomes(passed=1, failed=1)
    line = "CountryFactory: Country(code='AT') (database), made by no test that is known"
    result.stdout.fnmatch_lines([line])


def test_flaky_test(run, pytester):
    """A test that begins again has a budget and a report of its own each time."""
    pytester.makepyfile(
        again="""
        from _pytest.runner import runtestprotocol

        def pytest_runtest_protocol(item, nextitem):
            for _ in range(2):
                runtestprotocol(item, nextitem=nextitem)
            return True
        """
    )
    tests = """
    import pytest
    from factories import CountryFactory

    @pytest.mark.reuse_budget(created=1)
    def test(reuse_report):
        CountryFactory()
        assert reuse_report.created == 1
    """
    pytester.syspathinsert()
    run(tests, "-pagain").assert_outcomes(passed=2)


def test_budget_with_nested_shared_fixtures(run):
    """A shared fixture that asks for another one by its name is left out of the budget once."""
    tests = """
    import pytest
    from factories import CountryFactory, Session, engine

    @pytest.fixture(scope="module")
    def inner(tables):
        CountryFactory.create_batch(3, code=None)

    @pytest.fixture(scope="module")
    def outer(tables, request):
        Session.configure(bind=engine)
        request.getfixturevalue("inner")
        Session.rollback()
        Session.remove()

    @pytest.mark.reuse_budget(created=1)
    def test(outer, session):
        CountryFactory.create_batch(2, code=None)
    """
    result = run(tests)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["over its reuse budget: created 2 of 1"])


def test_frozen_time(run):
    """Where the clock stands still, calls beside each other stay beside each other."""
    tests = """
    import time
    from factories import CountryFactory, NoteFactory

    def test(monkeypatch):
        monkeypatch.setattr(time, "perf_counter", lambda: 1.0)
        CountryFactory(code="CH")
        NoteFactory()
        CountryFactory(code="FR")
    """
    run(tests, "--reuse-report=report.json").assert_outcomes(passed=1)
    _, factories = reported()
    assert [factories["CountryFactory"][k] for k in ("top_level", "nested")] == [2, 1]
    assert factories["CountryFactory"]["seconds"] > 0


@pytest.mark.single
def test_listeners_and_options_of_the_project(run):
    """A statement is one, whatever listens to it, and whichever engine it goes through."""
    tests = """
    from factories import CountryFactory, Session, engine
    from sqlalchemy import event
    from factory_reuse import watch

    def test(session):
        Session.remove()
        event.listen(engine, "do_execute", lambda *executed: None)
        seen = []
        event.listen(engine, "before_cursor_execute", lambda *executed: seen.append(executed[2]))
        with engine.execution_options(a=1).connect() as connection:
            Session.configure(bind=connection)
            with watch() as report:
                CountryFactory()
            assert report.statements == len(seen) > 1
            Session.remove()
    """
    run(tests, "--reuse-report=report.json").assert_outcomes(passed=1)
    document, _ = reported()
    assert document["totals"]["statements"] == 4


def test_watching_asks_nothing(run):
    """Watching opens no connection, begins no transaction, and asks no value what it is."""
    tests = """
    import pytest
    from factories import Base, BaseFactory, Country, CountryFactory, Session, UserFactory
    from sqlalchemy import create_engine, event
    from sqlalchemy.exc import PendingRollbackError
    from factory_reuse import recycle

    class PlainFactory(BaseFactory):
        class Meta:
            model = Country
            exclude = ("engine",)
        engine = None

    def test_engine_as_a_value(tmp_path):
        def connect():
            raise AssertionError("connected")
        PlainFactory(engine=create_engine("sqlite://", creator=connect))

    def test_begun(session):
        country = CountryFactory()
        session.commit()
        country.code
        session.rollback()
        begun = []
        event.listen(session, "after_begin", lambda *args: begun.append(args))
        with recycle(country):
            try:
                UserFactory.build(country=CountryFactory.build())
            finally:
                assert not begun

    def test_inactive(session):
        country = CountryFactory()
        user = UserFactory(email="a")
        session.add(Country(id=country.id, code="AT"))
        with pytest.raises(Exception):
            session.flush()
        with pytest.raises(PendingRollbackError):
            session.connection()
        UserFactory.create_batch(0)
        assert CountryFactory.build().code == "AT"
    """
    for option in ("--reuse-report", "--reuse-leaks"):
        run(tests, option, warnings="-Wdefault").assert_outcomes(passed=3)


def test_file_that_cannot_be_written(run):
    """A report that cannot be written fails the run, and says why after all else."""
    result = run(TESTS, "--reuse-report=/dev/null/report.json")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["factory reuse report: *'/dev/null'*", "*2 passed*"])
    Path("report.html").mkdir()
    result = run(TESTS, "--reuse-report=report.html")
    assert result.ret == pytest.ExitCode.USAGE_ERROR


def test_sub_test_that_fails(run):
    """A failing subtest names the rows that were given so far."""
    tests = """
    from factories import CountryFactory

    def test(subtests):
        CountryFactory()
        with subtests.test():
            CountryFactory()
            assert 0
    """
    if int(pytest.__version__.partition(".")[0]) < 9:
        pytest.skip("pytest has subtests since version 9")
    result = run(tests, "--reuse-report=report.json")
    result.stdout.fnmatch_lines(["CountryFactory: Country(code='AT') (cache), made by this test"])
    _, factories = reported()
    assert factories["CountryFactory"]["calls"] == 2


def test_run_inside_a_run(pytester):
    """A run inside another one, in the same process, has its own report."""
    inner = "from factories import CountryFactory\ndef test(): CountryFactory()"
    tests = f"""
    import pathlib, shutil
    pytest_plugins = "pytester"

    def test_outer(pytester):
        for file in pathlib.Path({str(PROJECT)!r}).glob("*.py"):
            shutil.copy(file, pytester.path)
        pytester.makepyfile({inner!r})
        options = "-pno:randomly", "-pno:xdist", "-pno:cacheprovider", "--reuse-report"
        result = pytester.runpytest_inprocess(*options)
        result.stdout.fnmatch_lines(["*: 1 calls, 1 created*"])
    """
    pytester.makepyfile(tests)
    options = "-pno:randomly", "-pno:xdist", "-pno:cacheprovider", "--reuse-report"
    result = pytester.runpytest_inprocess(*options)
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["*: 1 calls, 1 created*"])


def test_plugin_leaves_nothing_behind(run):
    """After the run factory_boy's builder is as it was."""
    build = StepBuilder.build
    run(TESTS, "--reuse-report", "--reuse-leaks")
    assert StepBuilder.build is build
    engine = sqlalchemy.create_engine("sqlite://", future=True)
    with engine.connect() as connection:
        assert not list(connection.engine.dispatch.commit)
        assert not list(connection.dialect.dispatch.do_execute)
    engine.dispose()
