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
    parser.add_argument("--progress", action="store_true", help="show it on the way (with rich)")
    arguments = parser.parse_args(argv)
    engine = create_engine(arguments.url, future=True)
    Base.metadata.create_all(engine)
    options = {"follow": with_progress} if arguments.progress else {}
    try:
        first, second = timed_seed(engine, **options), timed_seed(engine, **options)
    finally:
        engine.dispose()
    print("{:<24}{:>12}{:>12}".format("rows inserted", "first run", "second run"))
    for label in first:
        print(f"{label:<24}{first[label]:>12}{second[label]:>12}")


def with_progress(made, what, total):
    """Pass the objects on, with a progress bar: ``create_many`` is an iterator like any other."""
    from rich.progress import track

    return track(made, description=what, total=total)


def timed_seed(engine, **options):
    """Return the number of rows that seeding inserted into each table, and the seconds it took."""
    with Session(engine, future=True) as session:
        before, start = rows(session), time.perf_counter()
        seed(session, **options)
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
