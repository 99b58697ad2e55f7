"""The errors and the warning of this package, each with its data as attributes.

Every error is a :class:`ReuseError`, which is a ``factory.errors.FactoryError``: a suite that
already catches factory_boy's errors catches these.

>>> try:
...     raise MismatchError("...", factory="CategoryFactory", values={"name": "Books"})
... except FactoryError as error:
...     error.values
{'name': 'Books'}
"""

from __future__ import annotations

from typing import Any, Final, Mapping

from factory.errors import FactoryError
from sqlalchemy.exc import MultipleResultsFound

__all__ = [
    "AmbiguousMatchError",
    "MismatchError",
    "MismatchWarning",
    "RaceLostError",
    "ReuseError",
    "SessionError",
    "UniqueKeyError",
]


#: The page that explains each class under a heading of its name.
EXPLAINED: Final = "https://factory-reuse.readthedocs.io/en/stable/reference/errors.html"


class ReuseError(FactoryError):
    """Base of all errors raised here; raised itself for an option that cannot be right.

    Attributes:
        factory: name of the factory that was called or declared.
        model: name of its model, where one is involved.
        values: the values concerned, by field name.
        index: which row of :func:`~factory_reuse.create_many` it is about; else ``None``.
    """

    index: int | None = None

    def __init__(
        self,
        message: str,
        *,
        factory: str | None = None,
        model: str | None = None,
        values: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(message)
        self.factory = factory
        self.model = model
        self.values = dict(values or {})

    def __str__(self) -> str:
        return _with_link(self, super().__str__())

    @property
    def message(self) -> str:
        """The message without the link to its explanation."""
        return super().__str__()


class UniqueKeyError(ReuseError):
    """The factory has no key to look a row up by, or ``on`` names what cannot be one."""


class SessionError(ReuseError, RuntimeError):
    """There is no SQLAlchemy session to look in.

    A ``RuntimeError`` too, which is what factory_boy raises for a missing session.
    """


class MismatchError(ReuseError):
    """The row that holds the key contradicts a value the caller passed.

    Raised for a value of another key whatever ``on_mismatch`` says (``"update"`` assigns it), and
    for any passed value under ``on_mismatch="raise"``. ``found`` has the row's values, ``instance``
    the row itself.
    """

    def __init__(
        self,
        message: str,
        *,
        found: Mapping[str, Any] | None = None,
        instance: Any = None,
        **data: Any,
    ) -> None:
        super().__init__(message, **data)
        self.found = dict(found or {})
        self.instance = instance


class AmbiguousMatchError(ReuseError, MultipleResultsFound):
    """More than one row has the key; ``count`` says how many.

    A ``sqlalchemy.exc.MultipleResultsFound`` too, which is what factory_boy's own lookup raises.
    """

    def __init__(self, message: str, *, count: int = 0, **data: Any) -> None:
        super().__init__(message, **data)
        self.count = count


class RaceLostError(ReuseError):
    """Another transaction inserted the row, and this one's snapshot cannot see it.

    The remedy is the one the database's manual gives for a serialization failure: roll back and
    run the transaction again. ``__cause__`` is the database's own error.
    """


class MismatchWarning(UserWarning):
    """A reused row differs from a value that the caller passed (``on_mismatch="warn"``)."""

    def __str__(self) -> str:
        return _with_link(self, super().__str__())


def _with_link(problem: object, message: str) -> str:
    """Add where the class is explained, as SQLAlchemy's errors do."""
    return f"{message}\n(More: {EXPLAINED}#{type(problem).__name__.lower()})"
