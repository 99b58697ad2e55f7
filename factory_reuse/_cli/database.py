"""The database of ``--db``, opened for reading."""

from __future__ import annotations

from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Iterator


@contextmanager
def database(url: str | None) -> Iterator[Any]:
    """Give an engine for the URL, if there is one.

    Raises:
        ReuseError: there is no such database, or its driver is not installed.
    """
    if url is None:
        yield None
        return
    from sqlalchemy import create_engine, inspect
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError

    from factory_reuse.errors import ReuseError

    try:
        engine = create_engine(url)
        if getattr(engine.dialect, "is_async", False):
            backend = make_url(url).get_backend_name()
            raise ReuseError(
                f"--db: {engine.dialect.driver} is asynchronous. Name another driver, such as the "
                f"default one: {backend}://..."
            )
        file = engine.url.database if engine.dialect.name == "sqlite" else None
        if file and not file.startswith((":memory:", "file:")) and not Path(file).exists():
            raise ReuseError(f"--db: there is no file {file}.")  # which SQLite would make
        with closing(engine.connect()) as connection:
            inspect(connection).get_table_names()  # SQLite looks at its file no earlier
    except (ArgumentError, NoSuchModuleError, DBAPIError, ImportError) as error:
        first = str(error).partition("\n")[0]
        raise ReuseError(f"--db: the database cannot be opened: {first}") from error
    try:
        yield engine
    finally:
        engine.dispose()
