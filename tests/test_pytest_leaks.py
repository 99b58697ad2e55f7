"""`--reuse-leaks`: reused rows that one test changed and a later one received."""

import pytest

from test_pytest_plugin import reported, run

__all__ = ["run"]

pytest_plugins = "pytester"

SHARED = """
import pytest
from factories import Country, CountryFactory, Session, User, UserFactory, engine

@pytest.fixture(scope="module", autouse=True)
def countries(tables):
    with engine.connect() as connection, connection.begin():
        Session.configure(bind=connection)
        for code in ("AT", "CH"):
            CountryFactory(code=code, name=code.lower())
        Session.commit()
        Session.remove()
    yield
    with engine.begin() as connection:
        connection.execute(User.__table__.delete())
        connection.execute(Country.__table__.delete())

@pytest.fixture
def session(tables):  # whose work stays
    Session.configure(bind=engine)
    yield Session()
    Session.rollback()
    Session.remove()
"""


def leaks(run, tests):
    """Run the tests; return what is told of their leaks, the tests by their names."""
    run(SHARED + tests, "--reuse-leaks", "--reuse-report=report.json").assert_outcomes(
        passed=tests.count("def test_")
    )
    document, _ = reported()
    return [
        tuple(
            value and value.rpartition("::test_")[2]
            for value in (leak["changed_by"], leak["received_by"])
        )
        + tuple(leak[name] for name in ("row", "attribute", "old", "new"))
        for leak in document["leaks"]
    ]


def test_committed_change(run):
    """A change that one test commits is told when another is given the row."""
    tests = """
def test_one(session):
    CountryFactory(code="AT").name = "Austria"
    session.commit()

def test_two(session):
    CountryFactory(code="AT")
    CountryFactory(code="CH")

def test_three(session):
    CountryFactory(code="AT")
"""
    assert leaks(run, tests) == [("one", "two", "Country(code='AT')", "name", "'at'", "'Austria'")]


def test_rolled_back_change(run):
    """A change that is rolled back is none."""
    tests = """
def test_one(session):
    CountryFactory(code="AT").name = "Austria"
    session.flush()
    CountryFactory(code="AT")

def test_two(session):
    CountryFactory(code="AT")
"""
    assert leaks(run, tests) == []


def test_change_and_back(run):
    """A change that its test takes back is none."""
    tests = """
def test_one(session):
    country = CountryFactory(code="AT")
    country.name = "Austria"
    session.commit()
    country.name = "at"
    session.commit()

def test_two(session):
    CountryFactory(code="AT")
"""
    assert leaks(run, tests) == []


def test_change_by_its_maker(run):
    """Whoever made a row may go on with it: a test, a fixture, and the factory's own hooks."""
    tests = """
import factory
from factories import BaseFactory
from factory_reuse import reuse_existing

@reuse_existing
class HookedFactory(BaseFactory):
    class Meta:
        model = Country
    code = "FR"
    name = "raw"
    @factory.post_generation
    def hook(self, create, extracted, **kwargs):
        self.name = "set by the hook"

@pytest.fixture(scope="module")
def country(countries):
    Session.configure(bind=engine)
    with Session() as session:
        country = session.query(Country).filter_by(code="CH").one()
        country.name = "set by the fixture"
        session.commit()
    Session.remove()

def test_one(session, country):
    user = UserFactory(email="a@example.org")
    session.commit()
    user.email = "b@example.org"
    HookedFactory()
    session.commit()
    assert UserFactory(email="b@example.org") is user

def test_two(session):
    UserFactory(email="b@example.org")
    HookedFactory()
    CountryFactory(code="CH")
"""
    found = leaks(run, tests)
    assert found == [
        (
            "the fixture test_suite.py::country",
            "two",
            "Country(code='CH')",
            "name",
            "'ch'",
            "'set by the fixture'",
        )
    ]


def test_change_by_a_query(run):
    """A change by an UPDATE of the ORM's is told with its test, too."""
    tests = """
def test_zero(session):
    CountryFactory(code="CH")

def test_one(session):
    session.query(Country).update({"name": "all"})
    session.commit()

def test_two(session):
    CountryFactory(code="CH")
"""
    assert leaks(run, tests) == [("one", "two", "Country(code='CH')", "name", "'ch'", "'all'")]


def test_change_by_a_statement(run):
    """A change by a statement without objects is told with its test, not with one before it."""
    tests = """
def test_one(session):
    CountryFactory(code="AT").name = "Austria"
    session.commit()

def test_two(session):
    CountryFactory(code="AT")

def test_three(session):
    session.execute(Country.__table__.update().values(name="all"))
    session.commit()

def test_four(session):
    CountryFactory(code="AT")
"""
    assert leaks(run, tests) == [
        ("one", "two", "Country(code='AT')", "name", "'at'", "'Austria'"),
        ("three", "four", "Country(code='AT')", "name", "'Austria'", "'all'"),
    ]


def test_statement_that_is_rolled_back(run):
    """A row that is read after a statement has changed it is as it was, once that is undone."""
    tests = """
def test_one(session):
    CountryFactory(code="AT")

def test_two(session):
    session.execute(Country.__table__.update().values(name="all"))
    CountryFactory(code="AT")

def test_three(session):
    CountryFactory(code="AT")

def test_four(session):
    session.execute(Country.__table__.update().values(name="all"))
    session.commit()
    CountryFactory(code="AT")  # its own change
"""
    assert leaks(run, tests) == []


def test_change_by_one_of_several(run):
    """Where several tests may have made a change, none is blamed, but the last that had the row."""
    tests = """
def test_one(session):
    CountryFactory(code="AT")

def test_two(session):
    session.execute(Country.__table__.update().values(name="two"))
    session.commit()

def test_three(session):
    session.execute(Country.__table__.update().values(name="three").where(Country.code == "CH"))
    session.commit()

def test_four(session):
    CountryFactory(code="AT")
"""
    assert leaks(run, tests) == [(None, "four", "Country(code='AT')", "name", "'at'", "'two'")]


def test_rows_of_each_test_s_own(run):
    """Rows that a test inserts without objects, with ids that come again, have not changed.

    Nor has one that the test itself writes over.
    """
    tests = """
from sqlalchemy.dialects.sqlite import insert

@pytest.mark.parametrize("name", ["one", "two"])
def test_insert(session, name):
    session.execute(User.__table__.insert(), {"id": 1, "email": "a", "country_id": len(name)})
    session.execute(Country.__table__.insert(), {"id": 9, "code": "XX", "name": name})
    UserFactory(email="a")
    CountryFactory(code="XX")

def test_deleted(session):
    user = UserFactory(email="a")
    session.commit()
    user.country_id = None
    session.commit()
    session.delete(user)
    session.commit()

def test_again(session):
    session.execute(User.__table__.insert(), {"id": 1, "email": "b", "country_id": 7})
    UserFactory(email="b")

def test_written_over(session):
    CountryFactory(code="AT")

def test_writing_over(session):
    statement = insert(Country.__table__).values(code="AT", name="new")
    session.execute(statement.on_conflict_do_update(index_elements=["code"], set_={"name": "new"}))
    CountryFactory(code="AT")

def test_after_that(session):
    CountryFactory(code="AT")
"""
    run(SHARED + tests, "--reuse-leaks", "--reuse-report=report.json").assert_outcomes(passed=7)
    document, _ = reported()
    assert document["leaks"] == []


def test_change_as_a_fixture_ends(run):
    """What a shared fixture does as it ends is not laid to the test that came last."""
    tests = """
@pytest.fixture(scope="class")
def changing(countries):
    Session.configure(bind=engine)
    CountryFactory(code="FR", name="made")
    Session.commit()
    Session.remove()
    yield
    CountryFactory(code="FR").name = "left behind"
    Session.commit()
    Session.remove()

class TestOne:
    def test_in_it(self, changing, session):
        assert CountryFactory(code="FR").name == "made"

def test_after(session):
    CountryFactory(code="FR")
"""
    assert leaks(run, tests) == []


def test_same_statement_of_two_tests(run):
    """One statement that two tests sent is neither's."""
    tests = """
def update(session, code, name):
    statement = Country.__table__.update().where(Country.code == code).values(name=name)
    session.execute(statement)
    session.commit()

def test_one(session):
    CountryFactory(code="AT")

def test_two(session):
    update(session, "AT", "Austria")

def test_three(session):
    update(session, "CH", "Switzerland")

def test_four(session):
    CountryFactory(code="AT")
"""
    assert leaks(run, tests) == [(None, "four", "Country(code='AT')", "name", "'at'", "'Austria'")]


def test_other_table_with_a_longer_name(run):
    """A statement about another table, whose name begins alike, is not about this one."""
    tests = """
from factories import Base
from sqlalchemy import Column, Integer, Table

pair = Table("country_name", Base.metadata, Column("name", Integer))

@pytest.fixture(scope="module", autouse=True)
def pairs(countries):
    Base.metadata.create_all(engine)

def test_one(session):
    CountryFactory(code="AT").name = "Austria"
    session.commit()

def test_two(session):
    session.execute(pair.update().values(name=1))
    session.execute(pair.delete())
    session.commit()

def test_three(session):
    CountryFactory(code="AT")
"""
    assert leaks(run, tests) == [
        ("one", "three", "Country(code='AT')", "name", "'at'", "'Austria'")
    ]


def test_change_twice(run):
    """A test that sets a value again has not changed it; the one before it has."""
    tests = """
def test_one(session):
    CountryFactory(code="AT").name = "Austria"
    session.commit()

def test_two(session):
    for country in session.query(Country):
        country.name = "Austria" if country.code == "AT" else country.name
    session.commit()

def test_three(session):
    CountryFactory(code="AT")
"""
    assert leaks(run, tests) == [
        ("one", "three", "Country(code='AT')", "name", "'at'", "'Austria'")
    ]


def test_savepoint(run):
    """A change that is rolled back to a SAVEPOINT is none; nor is what is made then a change."""
    tests = """
@pytest.fixture(scope="module")
def connection(countries):
    with engine.connect() as connection, connection.begin():
        connection.exec_driver_sql("BEGIN")
        yield connection

@pytest.fixture
def session(connection):
    nested = connection.begin_nested()
    Session.configure(bind=connection)
    yield Session()
    Session.remove()
    if nested.is_active:  # SQLAlchemy 1.4 has rolled it back with the session
        nested.rollback()

def test_one(session):
    CountryFactory(code="AT").name = "Austria"
    UserFactory(email="a")
    session.flush()

def test_two(session):
    CountryFactory(code="AT")
    session.execute(User.__table__.insert(), {"email": "b"})
    UserFactory(email="b")
"""
    assert leaks(run, tests) == []


def test_values_that_change_by_themselves(run):
    """Versions, times of the last change and computed columns are not the tests' changes."""
    tests = """
from factories import Base, BaseFactory
from factory_reuse import reuse_existing
from sqlalchemy import Column, Integer, String, func, select
from sqlalchemy.orm import column_property

class Page(Base):
    __tablename__ = "page"
    id = Column(Integer, primary_key=True)
    slug = Column(String(9), unique=True)
    text = Column(String(9))
    version = Column(Integer, nullable=False)
    touched = Column(Integer, default=0, onupdate=1)
    users = column_property(select(func.count(User.id)).scalar_subquery())
    __mapper_args__ = {"version_id_col": version}

@reuse_existing
class PageFactory(BaseFactory):
    class Meta:
        model = Page
    slug = "a"

@pytest.fixture(scope="module", autouse=True)
def page(countries):
    Base.metadata.create_all(engine)
    with Session(bind=engine) as session:
        session.add(Page(slug="a"))
        session.commit()
    Session.remove()
    yield
    Page.__table__.drop(engine)

def test_one(session):
    PageFactory().text = "x"
    UserFactory()
    session.commit()

def test_two(session):
    PageFactory()
"""
    assert leaks(run, tests) == [("one", "two", "Page(slug='a')", "text", "None", "'x'")]


def test_values_of_the_project(run):
    """Values that cannot be compared, copied or shown do no harm, and are no change."""
    tests = """
from decimal import Decimal
from factories import Base, BaseFactory
from factory_reuse import reuse_existing
from sqlalchemy import Column, Integer, PickleType, String

class Odd:
    def __init__(self, *state): pass
    def _refuse(self, *args):
        raise RuntimeError("the value's own")
    __eq__ = __ne__ = __hash__ = __repr__ = __bool__ = __deepcopy__ = _refuse

class Thing(Base):
    __tablename__ = "thing"
    id = Column(Integer, primary_key=True)
    name = Column(String(9), unique=True)
    one = Column(PickleType(comparator=lambda a, b: True))
    other = Column(PickleType(comparator=lambda a, b: True))
    long = Column(PickleType)

@reuse_existing(on_mismatch="keep")
class ThingFactory(BaseFactory):
    class Meta:
        model = Thing
    name = "a"
    one = [Decimal("sNaN")]
    long = b"x" * 3_000_000

@pytest.fixture(scope="module", autouse=True)
def things(countries):
    Base.metadata.create_all(engine)
    Session.configure(bind=engine)
    ThingFactory(other=Odd)
    Session.commit()
    Session.remove()
    yield
    Thing.__table__.drop(engine)

def test_one(session):
    ThingFactory()
    session.commit()

def test_two(session):
    ThingFactory()
"""
    assert leaks(run, tests) == []


def test_change_left_in_a_session(run):
    """A change that is in no database, but in a session that outlives its test, is told."""
    tests = """
kept = []

@pytest.fixture(scope="module", autouse=True)
def session(countries):
    Session.configure(bind=engine, autoflush=False)
    yield Session()
    Session.rollback()
    Session.remove()
    Session.configure(bind=engine, autoflush=True)

def test_one():
    kept.append(CountryFactory(code="AT"))
    kept[0].name = "Austria"

def test_two():
    CountryFactory(code="AT")
"""
    assert leaks(run, tests) == [("one", "two", "Country(code='AT')", "name", "'at'", "'Austria'")]


def test_other_row_with_the_id(run):
    """Another row that gets the id of one that is gone has not changed."""
    tests = """
def test_one(session):
    UserFactory(email="a@example.org")
    session.commit()
    session.execute(User.__table__.delete())
    session.commit()

def test_two(session):
    UserFactory(email="b@example.org")

def test_three(session):
    UserFactory(email="c@example.org")
    session.expire_all()
    UserFactory(email="c@example.org")
"""
    assert leaks(run, tests) == []


def test_terminal(run):
    """Each leak is told with both tests, the attribute and both values; or that there is none."""
    tests = """
def test_one(session):
    CountryFactory(code="AT").name = "Austria"
    session.commit()

def test_two(session):
    CountryFactory(code="AT")
"""
    result = run(SHARED + tests, "--reuse-leaks")
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(
        [
            "*= reused rows that a test changed for another one =*",
            "test_suite.py::test_two received Country(code='AT') from CountryFactory:",
            "    test_suite.py::test_one changed name from 'at' to 'Austria'",
        ]
    )
    result = run("def test(): pass", "--reuse-leaks")
    result.stdout.fnmatch_lines(["*= reused rows that a test changed *", "none"])


@pytest.mark.parametrize("workers", [1, 2])
def test_xdist(run, workers):
    """Workers tell of the leaks that they saw."""
    tests = """
def test_one(session):
    CountryFactory(code="AT").name = "Austria"
    session.commit()

def test_two(session):
    CountryFactory(code="AT")
"""
    result = run(
        SHARED + tests, "--reuse-leaks", f"-n{workers}", "--dist=loadfile", plugins=["no:randomly"]
    )
    result.stdout.fnmatch_lines(["*changed name from 'at' to 'Austria'"])
