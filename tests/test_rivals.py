"""Processes race for the same keys, on real databases and over every kind of key."""

from collections import Counter

import pytest

import rivals

KEYS = 24
pytestmark = pytest.mark.thorough

SECONDS = 60  # for a race that takes two; after that it hangs


@pytest.fixture(scope="module")
def crew():
    with rivals.crew(4) as running:
        yield running


@pytest.fixture
def race(crew, engine, backend):
    """Let the crew race at an isolation level, over each kind of key; return what happened."""

    def run(level):
        tally = Counter()
        for number, kind in enumerate(rivals.kinds_on(backend)):
            race = rivals.race_on(engine, level, kind, KEYS, seed=number)
            reports = crew.run(race, SECONDS)
            assert rivals.faults(engine, race, reports) == [], f"in {race}"
            tally += rivals.total(reports)
        return tally

    return run


@pytest.mark.backends("sqlite-file")
def test_sqlite(race):
    """On a SQLite file nothing is lost, doubled or made in vain, and somebody was faster."""
    assert race(None)["race"] > 0


@pytest.mark.parametrize("level", rivals.LEVELS["postgresql"])
@pytest.mark.backends("postgresql")
def test_postgresql(level, race):
    """Nor on PostgreSQL, where only at READ COMMITTED the rows of others can be reused at once."""
    tally = race(level)
    lost = tally["race lost"] + tally["serialization"]
    assert (tally["race"] > 0, lost > 0) == (level == "READ COMMITTED", level != "READ COMMITTED")


@pytest.mark.parametrize("level", rivals.LEVELS["mariadb"])
@pytest.mark.backends("mariadb")
def test_mariadb(level, race):
    """Nor on MariaDB, where they can at both levels."""
    tally = race(level)
    assert tally["race"] > 0
    assert tally["race lost"] == 0
