"""Factories for SQLAlchemy models that reuse the row that is already there.

>>> from factory_reuse import reuse_existing
"""

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
