"""Many calls: :func:`create_many`, and what ``create_batch`` of a reuse-enabled factory does."""

from __future__ import annotations

import itertools
from collections import abc
from typing import Any, Final, Iterable, Iterator, Mapping, TypeVar

from factory.base import BaseFactory

from ._chunk import chunk_of
from ._options import ReuseOptions, options_of
from .errors import ReuseError

T = TypeVar("T")


def create_many(
    factory: type[BaseFactory[T]], rows: Iterable[Mapping[str, Any]], *, chunk_size: int = 1000
) -> Iterator[T]:
    """Call ``factory.create(**row)`` for each row, with one SELECT and one flush for many of them.

    Args:
        factory: a reuse-enabled factory.
        rows: one mapping of keyword arguments a call. They are taken as the objects are asked for,
            a chunk at a time.
        chunk_size: how many rows share a SELECT for each key and a flush.

    Yields:
        One object a row, in order; for rows that mean the same, the same object.

    Raises:
        ReuseError: the factory does not reuse, or ``chunk_size`` is no positive number; or a call
            failed. The message then begins with the row's index, as ``index`` has it, and another
            error than one of this package is the ``__cause__``. What was done for earlier chunks
            stays; of the failed one's nothing is given out, and what was inserted together is
            undone.

    Example::

        for category in create_many(CategoryFactory, [{"name": "Books"}, {"name": "Toys"}]):
            print(category.id)
    """
    meta = options_of(factory)
    size: Any = chunk_size
    if isinstance(size, bool) or not isinstance(size, int) or size < 1:
        raise ReuseError(
            f"{meta.name}: chunk_size={chunk_size!r} is not possible; it takes a positive number.",
            factory=meta.name,
            values={"chunk_size": chunk_size},
        )
    return _created(meta, _chunks(iter(rows), chunk_size))


def create_batch(factory: type[BaseFactory[T]], rows: Iterable[Mapping[str, Any]]) -> list[T]:
    """Return what :func:`create_many` yields; errors are raised as they are."""
    return [
        obj
        for chunk in _chunks(rows, _SIZE)
        for obj in chunk_of(options_of(factory), chunk).objects()
    ]


_SIZE: Final = 1000


def _chunks(rows: Iterable[Any], size: int) -> Iterator[list[Any]]:
    # Whoever gives them out may use one mapping for all.
    iterator = (dict(row) if isinstance(row, abc.Mapping) else row for row in rows)
    return iter(lambda: list(itertools.islice(iterator, size)), [])


def _created(meta: ReuseOptions, chunks: Iterable[list[Mapping[str, Any]]]) -> Iterator[Any]:
    first = 0
    for calls in chunks:
        for index, row in enumerate(calls):
            if not _is_call(row):
                error = TypeError(f"{row!r} is no mapping of keyword arguments")
                raise _at(meta, first + index, error)
        chunk = chunk_of(meta, calls)
        made: list[Any] = []
        failure: Exception | None = None
        try:
            # All of them, since what is inserted must not wait for the caller to be finished.
            made = list(chunk.objects())
        except Exception as error:
            if chunk.turn is None:
                raise
            failure = error
        if failure is not None and chunk.turn is not None:
            raise _at(meta, first + chunk.turn, failure)
        yield from made
        first += len(calls)


def _is_call(row: Any) -> bool:
    return isinstance(row, dict) and all(isinstance(name, str) for name in row)


def _at(meta: ReuseOptions, index: int, error: Exception) -> ReuseError:
    """Return the error with the index of the row that it is about."""
    if not isinstance(error, ReuseError):
        try:
            said = str(error)
        except Exception:  # it shows a value that cannot be shown
            said = "see the cause"
        wrapped = ReuseError(f"{type(error).__name__}: {said}", factory=meta.name)
        wrapped.__cause__ = error
        error = wrapped
    error.index = index
    error.args = (f"row {index}: {error.message}", *error.args[1:])
    return error
