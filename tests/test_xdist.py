"""A project's suite with pytest-xdist: four workers, one database, the same rows in each test."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

SUITE = Path(__file__).parent / "xdist_suite"


def outcome(engine):
    """Run the suite on the engine's database; return its exit code and what it printed."""
    url = engine.url
    if engine.dialect.name == "postgresql":
        with engine.connect() as connection:
            schema = connection.exec_driver_sql("SELECT current_schema()").scalar()
        url = url.update_query_dict({"options": f"-csearch_path={schema}"})
    # What the run around it was told is not for this one.
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTEST_")}
    environment["SHOP_DATABASE"] = url.render_as_string(hide_password=False)
    options = ["-c", os.devnull, "--rootdir", SUITE, "--confcutdir", SUITE, "-W", "error"]
    command = [sys.executable, "-m", "pytest", *options, "-p", "no:cacheprovider", "-n", "4"]
    done = subprocess.run(
        [*command, "suite_shop.py"],
        cwd=SUITE,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=300,  # then it hangs
    )
    return done.returncode, done.stdout.decode()


@pytest.mark.thorough
@pytest.mark.backends("sqlite-file", "postgresql", "mariadb")
def test_xdist(engine):
    """Every test passes, whichever rows the other workers are using at the time."""
    returncode, printed = outcome(engine)
    assert returncode == 0, printed
    assert " 48 passed" in printed
