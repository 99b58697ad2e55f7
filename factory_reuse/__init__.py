"""Factories for SQLAlchemy models that reuse the row that is already there.

>>> from factory_reuse import reuse_existing

What the package shows is imported when it is first asked for: pytest imports the package to learn
of its options, also for a suite that uses neither them nor SQLAlchemy.
"""

from typing import TYPE_CHECKING, Any, List

if TYPE_CHECKING:
    from ._batch import create_many
    from ._declare import ReuseMixin, reuse_existing
    from ._scope import no_reuse, recycle, use_session, watch
    from ._use import find, get_or_create
    from .errors import (
        AmbiguousMatchError,
        MismatchError,
        MismatchWarning,
        RaceLostError,
        ReuseError,
        SessionError,
        UniqueKeyError,
    )

__all__ = [
    "AmbiguousMatchError",
    "MismatchError",
    "MismatchWarning",
    "RaceLostError",
    "ReuseError",
    "ReuseMixin",
    "SessionError",
    "UniqueKeyError",
    "create_many",
    "find",
    "get_or_create",
    "no_reuse",
    "recycle",
    "reuse_existing",
    "use_session",
    "watch",
]

_HOMES = {
    "create_many": "_batch",
    "ReuseMixin": "_declare",
    "reuse_existing": "_declare",
    "no_reuse": "_scope",
    "recycle": "_scope",
    "use_session": "_scope",
    "watch": "_scope",
    "find": "_use",
    "get_or_create": "_use",
}

if not TYPE_CHECKING:  # or checkers would take every name for one of ours

    def __getattr__(name: str) -> Any:
        from importlib import import_module

        if name in ("aio", "errors", "report"):
            return import_module(f"{__name__}.{name}")
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        module = import_module(f"{__name__}.{_HOMES.get(name, 'errors')}")
        value = globals()[name] = getattr(module, name)
        return value

    def __dir__() -> List[str]:
        return [*globals(), *__all__]
