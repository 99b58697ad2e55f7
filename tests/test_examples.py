"""The examples: the shop before and after, the demo that shows it, and the seeded world."""

import contextlib
import difflib
import io
import os
import re
import subprocess
import sys
from itertools import islice
from pathlib import Path

import pycountry
import pytest
from sqlalchemy import create_engine, func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

import backends
import factory_reuse
from factory_reuse import MismatchWarning, _demo, use_session
from factory_reuse.__main__ import main
from factory_reuse._shop import decorated, legacy, models, scenario

# Last, so that the examples use the factory_reuse under test.
sys.path.append(str(Path(__file__).parents[1]))

from examples.world import __main__ as world_command
from examples.world.factories import CurrencyFactory, SubdivisionFactory
from examples.world.models import Base as WorldBase
from examples.world.models import Country, Currency, Subdivision
from examples.world.seed import seed

ROOT = Path(__file__).parents[1]
Base = models.Base  # whose tables `engine` makes


@pytest.fixture
def shop_session(session):
    """The session of the test, which the factories of the shop then use."""
    models.Session.registry.set(session)
    yield session
    models.Session.registry.clear()


# The shop

DAY = {
    "countries": 5,
    "addresses": 5,
    "users": 5,
    "categories": 3,
    "products": 10,
    "orders": 6,
    "order_lines": 12,
}


def test_legacy_day_ends_in_a_duplicate(shop_session):
    """As it was, the shop cannot take the second order of a customer."""
    _, customer, _ = scenario.ORDERS[-1]

    with pytest.raises(IntegrityError) as raised:
        list(scenario.day(legacy))

    assert customer in str(raised.value)
    shop_session.rollback()
    assert set(rows(shop_session).values()) == {0}  # and the whole day is lost


def test_legacy_lookup_leaves_orphans(shop_session):
    """As it was, each product that is found again has made a category for nobody."""
    list(islice(scenario.day(legacy), 15))

    assert rows(shop_session)["categories"] == 3 + 10
    assert orphans(shop_session, models.Category, models.Product.category_id) == 10


def test_decorated_day_makes_each_row_once(shop_session):
    """Decorated, the shop takes every order and makes no row twice."""
    list(scenario.day(decorated))

    assert rows(shop_session) == DAY


def test_decorated_day_leaves_no_orphans(shop_session):
    """Decorated, no row is made that nobody refers to."""
    list(scenario.day(decorated))

    assert orphans(shop_session, models.Category, models.Product.category_id) == 0
    assert orphans(shop_session, models.Country, models.Address.country_id) == 0
    assert orphans(shop_session, models.Address, models.User.address_id) == 0
    assert orphans(shop_session, models.User, models.Order.user_id) == 0


def test_second_day_writes_nothing(shop_session, statements):
    """The same day once more finds everything, in one transaction and in the next."""
    first = list(scenario.day(decorated))
    shop_session.flush()

    with statements() as seen:
        assert same(scenario.day(decorated), first)
    shop_session.commit()
    with statements() as seen_after_commit:
        assert same(scenario.day(decorated), first)

    assert set(seen) <= {"SELECT"}
    assert set(seen_after_commit) == {"SELECT"}


def test_rollback_takes_the_day_back(shop_session):
    """Nothing of an uncommitted day is left after a rollback."""
    list(scenario.day(decorated))

    shop_session.rollback()

    assert set(rows(shop_session).values()) == {0}


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("CountryFactory", {"code": "CH"}),
        ("UserFactory", {"tenant": "acme", "email": "ann@example.org"}),
        ("UserFactory", {"email": "ann@example.org"}),
        ("CategoryFactory", {"name": "Books"}),
        ("ProductFactory", {"sku": "SKU-0"}),
        ("OrderFactory", {"number": "A-1"}),
        ("OrderLineFactory", {"order__number": "A-1", "product__sku": "SKU-0"}),
    ],
)
def test_a_key_passed_back_is_the_same_row(shop_session, name, key):
    """Each decorated factory returns the row it made, and makes nothing else for it."""
    factory = getattr(decorated, name)
    first = factory(**key)
    before = rows(shop_session)

    assert factory(**key) is first
    assert rows(shop_session) == before


def test_the_whole_composite_key_counts(shop_session):
    """The same e-mail address in another tenant is another user."""
    ann = decorated.UserFactory(tenant="acme", email="ann@example.org")
    other = decorated.UserFactory(tenant="bell", email="ann@example.org")

    assert other is not ann
    assert rows(shop_session)["users"] == 2


def test_an_undecorated_parent_is_made_each_time(shop_session):
    """An address, which has no key, is made each time, in a country that is made once."""
    decorated.AddressFactory(country__code="CH")
    decorated.AddressFactory(country__code="CH")

    assert rows(shop_session)["addresses"] == 2
    assert rows(shop_session)["countries"] == 1


def test_post_generation_runs_again_only_when_passed(shop_session):
    """A reused user keeps the password, unless the call passes one."""
    ann = decorated.UserFactory(email="ann@example.org", password="first")

    decorated.UserFactory(email="ann@example.org")
    assert ann.password == "hash of first"

    decorated.UserFactory(email="ann@example.org", password="second")
    assert ann.password == "hash of second"


def test_reused_order_gets_no_second_line(shop_session):
    """A reused order runs its RelatedFactory only when the call says something about the line."""
    order = decorated.OrderFactory(number="A-1", line__product__sku="SKU-0")

    decorated.OrderFactory(number="A-1")
    assert rows(shop_session)["order_lines"] == 1

    decorated.OrderFactory(number="A-1", line__product__sku="SKU-1")
    assert [line.product.sku for line in order.lines] == ["SKU-0", "SKU-1"]


def test_a_trait_that_the_row_contradicts_is_reported(shop_session):
    """A product on sale is reused as it is, and the trait that says otherwise is warned about."""
    product = decorated.ProductFactory(sku="SKU-0")

    with pytest.warns(MismatchWarning, match="active"):
        assert decorated.ProductFactory(sku="SKU-0", discontinued=True) is product

    assert product.active


def test_decorating_is_all_that_changed():
    """The two shops differ in the decorators, one base class, their import and the docstring."""
    before, after = (Path(shop.__file__).read_text().splitlines() for shop in (legacy, decorated))
    changes = [
        line
        for line in difflib.ndiff(before[1:], after[1:])
        if line[0] in "+-" and line[1:].strip()
    ]

    assert changes == [
        "+ from factory_reuse import ReuseMixin, reuse_existing",
        "+ @reuse_existing",
        "+ @reuse_existing",
        "- class CatalogueFactory(BaseFactory):",
        "+ class CatalogueFactory(ReuseMixin, BaseFactory):",
        "+ @reuse_existing",
        "+ @reuse_existing",
    ]


def test_the_example_is_the_shop_of_the_demo():
    """`examples/shop` holds the very files that the demo runs."""
    packaged = Path(models.__file__).parent
    example = ROOT / "examples" / "shop"

    assert {path.name: path.read_text() for path in example.glob("*.py")} == {
        path.name: path.read_text() for path in packaged.glob("*.py")
    }


# The demo


def test_demo_finds_the_duplicates_gone():
    """The demo's legacy day ends in an error and orphans, its decorated days in neither."""
    (before,) = _demo.play(legacy)
    after, again = _demo.play(decorated, days=2)

    assert (before.rows["categories"], before.orphans["categories"]) == (13, 10)
    assert "UNIQUE constraint failed: users.tenant, users.email" in before.error
    assert after.rows == again.rows == DAY
    assert sum(after.orphans.values()) == sum(again.orphans.values()) == 0
    assert after.error is again.error is None
    assert set(again.statements) <= {"SELECT"}


def test_demo_fits_a_terminal(capsys):
    """The demo prints a table of at most 30 lines and 80 columns, and succeeds."""
    assert main(["demo"]) == 0

    lines = capsys.readouterr().out.splitlines()
    assert len(lines) <= 30
    assert max(map(len, lines)) <= 80
    assert "  categories                                  13           3           3" in lines
    assert lines[-1] == "The decorated days end in no error."


@pytest.mark.single
def test_demo_is_the_same_each_time_and_in_a_new_process(tmp_path):
    """The demo's output depends on nothing, and warns of nothing."""
    finished = run(tmp_path, "-m", "factory_reuse", "demo")

    assert finished.stdout == _demo.report() + "\n" == _demo.report() + "\n"
    assert finished.stderr == ""


@pytest.mark.parametrize(("option", "word"), [("--help", "demo"), ("--version", "factory_reuse")])
def test_command_line_introduces_itself(capsys, option, word):
    """`--help` names the command, `--version` the package."""
    with pytest.raises(SystemExit) as ended:
        main([option])

    assert ended.value.code == 0
    assert word in capsys.readouterr().out


@pytest.mark.parametrize("arguments", [[], ["dmeo"]])
def test_command_line_refuses_what_it_does_not_know(capsys, arguments):
    """A missing or unknown command is an error that shows the usage."""
    with pytest.raises(SystemExit) as ended:
        main(arguments)

    assert ended.value.code == 2
    assert "usage: factory-reuse" in capsys.readouterr().err


# The world


@pytest.fixture(scope="module")
def seeded_world(tmp_path_factory):
    """An engine on the world, seeded by the command, and what that printed."""
    url = f"sqlite:///{tmp_path_factory.mktemp('world') / 'world.sqlite'}"
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        world_command.main(["--url", url])
    engine = create_engine(url, future=True)
    yield engine, printed.getvalue()
    engine.dispose()


@pytest.fixture
def empty_world():
    with backends.sqlite_memory() as engine:
        WorldBase.metadata.create_all(engine)
        with Session(engine, future=True) as session, use_session(session):
            yield session


def test_world_command_prints_what_it_inserted(seeded_world):
    """The first run inserts each record once, the second nothing."""
    _, printed = seeded_world
    table = {line.split()[0]: line.split()[1:] for line in printed.splitlines()}

    assert table["countries"] == [str(len(pycountry.countries)), "0"]
    assert table["subdivisions"] == [str(len(pycountry.subdivisions)), "0"]
    assert table["currencies"] == [str(len(pycountry.currencies)), "0"]
    assert "seconds" in table


def test_world_shows_its_progress(capsys, monkeypatch):
    """With --progress, a bar for each kind of rows ends at all of them."""
    monkeypatch.setenv("COLUMNS", "100")
    world_command.main(["--progress"])
    printed = capsys.readouterr().out
    for what in ("countries", "subdivisions", "currencies"):
        assert re.search(rf"{what} .*100%", printed)


def test_world_is_as_pycountry_says(seeded_world):
    """Each subdivision is there with its own country, name, kind and parent."""
    engine, _ = seeded_world
    with Session(engine, future=True) as session:
        seeded = {full_code(row): row for row in session.execute(select(Subdivision)).scalars()}

        assert {
            code: (row.name, row.kind, row.parent and full_code(row.parent))
            for code, row in seeded.items()
        } == {
            record.code: (record.name, record.type, record.parent_code)
            for record in pycountry.subdivisions
        }


def test_seeding_the_world_again_only_reads(seeded_world):
    """One more run, on a database with all the rows, sends not one INSERT or UPDATE."""
    engine, _ = seeded_world
    with Session(engine, future=True) as session, backends.count_statements(engine) as seen:
        seed(session)
        session.commit()

    assert set(seen) == {"SELECT"}


def test_a_subdivision_brings_its_parents(empty_world):
    """A district named by its key alone brings its province and country, each once."""
    district = SubdivisionFactory(country__code="GB", code="ABC")
    again = SubdivisionFactory(country__code="GB", code="ABC")
    sibling = SubdivisionFactory(country__code="GB", code="BFS")

    assert again is district
    assert sibling.parent is district.parent
    assert full_code(district.parent) == "GB-NIR"
    assert rows(empty_world, WorldBase) == {"countries": 1, "subdivisions": 3, "currencies": 0}


def test_the_same_code_in_another_country_is_another_subdivision(empty_world):
    """A subdivision is looked up by its code within its country."""
    parish = SubdivisionFactory(country__code="AD", code="02")
    region = SubdivisionFactory(country__code="TZ", code="02")

    assert region is not parish
    assert region.country.code == "TZ"


def test_a_currency_brings_the_country_that_issues_it(empty_world):
    """A currency has the country that its code begins with, where there is one."""
    franc, euro = CurrencyFactory(code="CHF"), CurrencyFactory(code="EUR")

    assert franc.country.code == "CH"
    assert euro.country is None
    assert empty_world.execute(select(Country.code)).scalars().all() == ["CH"]
    assert len(empty_world.execute(select(Currency)).scalars().all()) == 2


def test_world_runs_as_a_module():
    """`python -m examples.world` is a command with an option for the database."""
    assert "--url" in run(ROOT, "-m", "examples.world", "--help").stdout


# Helpers


def rows(session, base=models.Base):
    return {
        table.name: session.scalar(select(func.count()).select_from(table))
        for table in base.metadata.sorted_tables
    }


def orphans(session, model, reference):
    unused = select(func.count()).select_from(model).where(model.id.not_in(select(reference)))
    return session.scalar(unused)


def same(objects, others):
    """Whether both are the same objects, in the same order."""
    return [id(obj) for obj in objects] == [id(obj) for obj in others]


def full_code(subdivision):
    return f"{subdivision.country.code}-{subdivision.code}"


def run(directory, *arguments):
    """Run Python in the directory, with the package that is under test, warnings being errors."""
    package = str(Path(factory_reuse.__file__).parents[1])
    return subprocess.run(
        [sys.executable, "-W", "error", *arguments],
        cwd=str(directory),
        env={**os.environ, "PYTHONPATH": package},
        check=True,
        capture_output=True,
        text=True,
    )
