"""What became of a call: the observation record."""

from __future__ import annotations

from dataclasses import dataclass

from typing_extensions import Literal

#: Where the object of a call came from.
Source = Literal["created", "database", "cache", "pending", "race"]


@dataclass(frozen=True)
class Outcome:
    """What became of one call of a reuse-enabled factory.

    Attributes:
        factory: the factory's name.
        key: the fields of the key that found the row; empty when it was created.
        source: ``created``, or where the reused row was found: in the transaction's ``cache``,
            among ``pending`` objects, in the ``database``, or there after a lost ``race``.
        depth: 0 for a direct call, 1 for its SubFactories, and so on.
    """

    factory: str
    key: str
    source: Source
    depth: int

    @property
    def created(self) -> bool:
        """Whether the object is new."""
        return self.source == "created"
