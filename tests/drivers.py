"""The drivers that can be awaited: an asynchronous engine on the database of the test."""

import asyncio
import functools
from typing import Any, Callable, Coroutine, Dict

import pytest
import sqlalchemy
from sqlalchemy import text
from sqlalchemy.engine import Engine

import backends

DRIVERS = {
    "aiosqlite": "sqlite",
    "asyncpg": "postgresql",
    "psycopg": "postgresql",
    "aiomysql": "mariadb",
}
LEGACY = sqlalchemy.__version__.startswith("1.")


def on(*names: str) -> Any:
    """Run the test with these drivers only, or with all."""
    pairs = [(DRIVERS[name], name) for name in names or DRIVERS]
    return pytest.mark.parametrize(("backend", "driver"), pairs, indirect=["backend"])


def asynchronous(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Run the test in an event loop of its own."""

    @functools.wraps(test)
    def run(*args: Any, **kwargs: Any) -> None:
        asyncio.run(test(*args, **kwargs))

    return run


def async_engine(driver: str, engine: Engine, **options: Any) -> Any:
    """Return an engine with the driver on the same database, and on PostgreSQL the same schema."""
    if driver == "psycopg" and LEGACY:
        pytest.skip("SQLAlchemy 1.4 knows no psycopg 3")
    from sqlalchemy.ext.asyncio import create_async_engine

    name = engine.url.get_backend_name()
    url = engine.url.set(drivername=f"{name}+{driver}")
    return create_async_engine(
        url, connect_args=_connect_args(driver, engine), **{**backends.UNPOOLED, **options}
    )


def _connect_args(driver: str, engine: Engine) -> Dict[str, Any]:
    if driver == "aiosqlite":
        return {}
    if driver == "aiomysql":
        return backends.MARIADB_PATIENCE
    with engine.connect() as connection:
        schema = connection.execute(text("SELECT current_schema()")).scalar()
    settings = {"search_path": schema, "lock_timeout": f"{backends.LOCK_SECONDS}s"}
    if driver == "asyncpg":
        return {"server_settings": settings}
    return {"options": " ".join(f"-c{name}={value}" for name, value in settings.items())}
