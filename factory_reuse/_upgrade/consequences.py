"""What follows for a factory's options, and for its tests, from how its class is."""

from __future__ import annotations

import ast
from typing import Iterable, Iterator

from . import cautions, models
from .checks import PERSISTENCE
from .classes import Factory
from .paths import GetOrCreate
from .settings import warnings_are_errors
from .values import Fields


def on_mismatch(factory: Factory) -> str | None:
    """Return the value for ``on_mismatch=``, where the default would fail tests."""
    return "keep" if warnings_are_errors(factory.source.path.parent) else None


def post_generation(factory: Factory) -> str | None:
    """Return the value for ``post_generation=`` that keeps what its declarations do."""
    return "always" if any(each.post_generates for each in factory.family) else None


def of_pending(
    factory: Factory, form: GetOrCreate | None = None, persistence: str | None = None
) -> str:
    """Return what a test may see of pending rows: those of others, or its own.

    Args:
        factory: by factory_boy's default its own rows stay pending.
        form: what its ``_create`` did.
        persistence: what is written into ``class Meta``.
    """
    if form is not None and "no_autoflush" in form.notes:
        return cautions.NO_AUTOFLUSH
    option = factory.option(PERSISTENCE)
    if persistence is not None:
        lazy = persistence == "None"
    elif option is None:
        lazy = factory.is_known
    else:
        lazy = isinstance(option.value, ast.Constant) and option.value.value is None
    return cautions.LAZY if lazy else cautions.PENDING


def of_class(
    factory: Factory, keys: Fields, *, unguarded: Iterable[str], pending: str
) -> Iterator[str]:
    """Yield what a test may see because of how the class is.

    Args:
        keys: the fields that are looked up by, as far as they are known.
        unguarded: those of the fields that were looked up by also if they were ``None``.
        pending: what there is to say of rows that are pending.
    """
    family = factory.family
    fields = {field for key in keys for field in key}
    yield cautions.KEPT if on_mismatch(factory) else cautions.MISMATCH
    unguarded = set(unguarded)
    if unguarded:
        yield cautions.NULL
    renamed = factory.is_abstract or factory.option("rename")
    if not renamed and not all(map(factory.declaration, unguarded)):
        yield cautions.MISSING
    if any(field.endswith("_id") for field in fields):
        yield cautions.FOREIGN
    yield pending
    if any(each.does_more(fields) for each in family):
        yield cautions.DECLARATIONS
    if any(each.unknown for each in family):
        yield cautions.UNKNOWN
    if not factory.project.is_searched(factory.source):
        yield cautions.ELSEWHERE
    if any(each.declares("SubFactory") for each in family):
        yield cautions.SUBFACTORY
    if any(each.is_random for each in family):
        yield cautions.RANDOM
    if post_generation(factory):
        yield cautions.POST_GENERATION
    elif factory.is_abstract:
        yield cautions.INHERITED_POST_GENERATION


def of_form(
    factory: Factory, form: GetOrCreate, session: str | None, persistence: str | None
) -> Iterator[str]:
    """Yield what a test may see because of what its ``_create`` did."""
    if {"first", "several"} & form.notes and not models.is_unique(factory, form.keys):
        yield cautions.SEVERAL_ROWS
    if len(form.keys) > 1:
        yield cautions.SEVERAL_KEYS
        yield cautions.KEY_ORDER
    if "empty" in form.notes:
        yield cautions.EMPTY
    if "inserts first" in form.notes:
        yield cautions.INSERTS_FIRST
    if "reloaded" in form.notes:
        yield cautions.RELOADED
    if "returns None" in form.notes:
        yield cautions.RETURNS_NONE
    if "rollback" in form.notes:
        yield cautions.ROLLBACK
    if form.caches:
        yield cautions.CACHE
        yield cautions.CACHE_STAYS
    if form.caches and "queried" not in form.notes:
        yield cautions.NO_QUERY
    if session is not None:
        yield cautions.SESSION
    if persistence is not None:
        yield cautions.PERSISTENCE
