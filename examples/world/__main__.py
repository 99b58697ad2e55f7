"""Seed the world twice, and show what each run inserted."""

import argparse
import time

from sqlalchemy import create_engine, func, select
from sqlalchemy.orm import Session

from .models import Base
from .seed import seed


def main(argv=None):
    """Seed the database that ``argv`` names, and print a table with a column for each run."""
    parser = argparse.ArgumentParser(prog="python -m examples.world", description=__doc__)
    parser.add_argument("--url", default="sqlite://", help="of the database (default: in memory)")
    engine = create_engine(parser.parse_args(argv).url, future=True)
    Base.metadata.create_all(engine)
    try:
        first, second = timed_seed(engine), timed_seed(engine)
    finally:
        engine.dispose()
    print("{:<24}{:>12}{:>12}".format("rows inserted", "first run", "second run"))
    for label in first:
        print(f"{label:<24}{first[label]:>12}{second[label]:>12}")


def timed_seed(engine):
    """Return the number of rows that seeding inserted into each table, and the seconds it took."""
    with Session(engine, future=True) as session:
        before, start = rows(session), time.perf_counter()
        seed(session)
        session.commit()
        seconds = time.perf_counter() - start
        inserted = {table: count - before[table] for table, count in rows(session).items()}
    return {**inserted, "seconds": round(seconds, 1)}


def rows(session):
    """Return the number of rows in each table."""
    return {
        table.name: session.scalar(select(func.count()).select_from(table))
        for table in Base.metadata.sorted_tables
    }


if __name__ == "__main__":
    main()
