"""What the type checkers must say about the public names. Never run."""

from __future__ import annotations

import asyncio
from typing import Any, Dict, Iterator, List, Optional, Tuple, Type

# `factory.Factory` is not re-exported, as strict type checkers see it.
from factory.base import Factory
from sqlalchemy.ext.asyncio import AsyncSession, async_scoped_session
from sqlalchemy.orm import Session, scoped_session, sessionmaker
from typing_extensions import assert_type

from factory_reuse import (
    AmbiguousMatchError,
    MismatchError,
    ReuseError,
    ReuseMixin,
    aio,
    create_many,
    find,
    get_or_create,
    no_reuse,
    recycle,
    reuse_existing,
    use_session,
    watch,
)
from factory_reuse.report import Report


class Model:
    name: str
    deleted: bool


# A decorated class keeps its type: its own attributes, and the model that it makes.


@reuse_existing
class Bare(Factory[Model]):
    prefix: str = "x"

    @classmethod
    def shout(cls) -> int:
        return len(cls.prefix)


@reuse_existing()
class Empty(Factory[Model]):
    pass


@reuse_existing(
    on=("name",),
    where=lambda model: model.deleted.is_(False),
    session=sessionmaker(),
    on_mismatch="update",
    match="explicit",
    post_generation="never",
    refresh=True,
    cache=False,
    savepoint=None,
)
class WithOptions(Factory[Model]):
    pass


class Undecorated(Factory[Model]):
    pass


Called = reuse_existing(Undecorated, on="name")


class Mixed(ReuseMixin, Factory[Model]):
    pass


class MixedLast(Factory[Model], ReuseMixin):
    pass


class Child(Bare):
    pass


assert_type(Bare, Type[Bare])
assert_type(Empty, Type[Empty])
assert_type(WithOptions, Type[WithOptions])
assert_type(Called, Type[Undecorated])
assert_type(Bare.prefix, str)
assert_type(Bare.shout(), int)

assert_type(Bare.create(name="Books"), Model)
assert_type(Empty.create(), Model)
assert_type(WithOptions.create(), Model)
assert_type(Called.create(), Model)
assert_type(Mixed.create(), Model)
assert_type(MixedLast.create(), Model)
assert_type(Child.create(), Model)
assert_type(Bare.build(), Model)
assert_type(Bare.create_batch(3), List[Model])

# Every way to write a key.

reuse_existing(Undecorated, on=None)
reuse_existing(Undecorated, on="name")
reuse_existing(Undecorated, on=("name",))
reuse_existing(Undecorated, on=["name", "tenant"])
reuse_existing(Undecorated, on=[("name",), ("tenant", "email")])
reuse_existing(Undecorated, on=(("name",), ["tenant", "email"]))
reuse_existing(Undecorated, on=())

# What must be refused. (`warn_unused_ignores`, part of --strict, fails when it is not; pyright's
# rule is named beside it, since it has none by that name.)

reuse_existing(Undecorated, on_mismatch="ignore")  # type: ignore[call-overload] # pyright: ignore[reportCallIssue, reportArgumentType]
reuse_existing(Undecorated, "name")  # type: ignore[call-overload] # pyright: ignore[reportCallIssue, reportArgumentType]
reuse_existing(Undecorated, onn="name")  # type: ignore[call-overload] # pyright: ignore[reportCallIssue, reportArgumentType]
reuse_existing(Model)  # type: ignore[type-var] # pyright: ignore[reportCallIssue, reportArgumentType]
get_or_create(Model)  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]

# Use.

assert_type(get_or_create(Bare), Tuple[Model, bool])
assert_type(get_or_create(Called, name="Books"), Tuple[Model, bool])
assert_type(get_or_create(Mixed, name="Books"), Tuple[Model, bool])
assert_type(get_or_create(Child)[0].name, str)

found = find(WithOptions, name="Books")
if found is not None:
    assert_type(found, Model)
else:
    assert_type(found, None)
assert_type(find(Mixed) is None, bool)

assert_type(create_many(Bare, [{"name": "Books"}]), Iterator[Model])
assert_type(list(create_many(Child, iter([{}]), chunk_size=10)), List[Model])
# Wrong on purpose, and refused, too: no factory, rows that are no mappings, a positional size.
create_many(Model, [])  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
create_many(Bare, ["Books"])  # type: ignore[list-item] # pyright: ignore[reportArgumentType]
create_many(Bare, [], 10)  # type: ignore[call-arg] # pyright: ignore[reportCallIssue]


# Scope.


def scopes(session: Session, scoped: scoped_session[Session]) -> str:
    with use_session(session), use_session(scoped), use_session(lambda: session) as nothing:
        assert_type(nothing, None)
    with no_reuse():
        made = Bare.create()
    return made.name


def recycling() -> None:
    with recycle(Model(), Model()), watch() as report:
        Bare.create()
    assert_type(report, Report)
    assert_type(report.by_factory, Dict[str, Report])
    assert_type(report.seconds, float)
    for outcome in report.outcomes:
        assert_type(outcome.factory, str)
        assert_type(outcome.statements, int)


# Awaited.


async def awaited(session: AsyncSession, scoped: async_scoped_session[AsyncSession]) -> None:
    assert_type(await aio.create(session, Bare, name="Books"), Model)
    assert_type(await aio.create(scoped, Child), Model)
    assert_type(await aio.create_batch(session, Mixed, 3), List[Model])
    assert_type(await aio.get_or_create(session, Called), Tuple[Model, bool])
    assert_type(await asyncio.gather(aio.create(session, Bare)), Tuple[Model])
    task = asyncio.create_task(aio.create(session, Bare, name="Books"))
    assert_type(await asyncio.wait_for(task, 1), Model)
    both = await asyncio.gather(aio.find(session, Bare), aio.find(session, WithOptions))
    assert_type(both, Tuple[Optional[Model], Optional[Model]])
    maybe = await aio.find(session, WithOptions)
    if maybe is not None:
        assert_type(maybe, Model)
    async for made in aio.create_many(session, Bare, [{"name": "Books"}], chunk_size=10):
        assert_type(made, Model)


# Each of these calls is wrong on purpose, and must be refused: by its arguments, and as it is not
# awaited.


def not_awaited(session: Session, awaitable: AsyncSession) -> None:
    aio.create(session, Bare)  # type: ignore[arg-type, unused-coroutine] # pyright: ignore[reportArgumentType, reportUnusedCoroutine]
    aio.create(awaitable, Model)  # type: ignore[arg-type, unused-coroutine] # pyright: ignore[reportArgumentType, reportUnusedCoroutine]
    aio.create_many(awaitable, Bare, [], 10)  # type: ignore[call-arg] # pyright: ignore[reportCallIssue]


# Errors carry their data.


def handle() -> None:
    try:
        Bare.create()
    except MismatchError as error:
        assert_type(error.found, Dict[str, Any])
        assert_type(error.values, Dict[str, Any])
    except AmbiguousMatchError as error:
        assert_type(error.count, int)
    except ReuseError as error:
        assert_type(error.factory, Optional[str])
        assert_type(error.model, Optional[str])
