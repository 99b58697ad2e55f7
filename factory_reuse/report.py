"""What became of calls: the observation records, and their sum over a block of code."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Iterable

from typing_extensions import Literal, final

#: Where the object of a call came from.
Source = Literal["created", "database", "cache", "pending", "recycled", "race"]


@final
@dataclass(frozen=True)
class Outcome:
    """What became of one call of a reuse-enabled factory.

    Attributes:
        factory: the factory's name.
        key: the fields of the key that found the row; empty when it was created or recycled.
        source: ``created``, or where the reused row was found: in the transaction's ``cache``,
            among ``pending`` objects, in the ``database``, there after a lost ``race``, or given to
            :func:`~factory_reuse.recycle`.
        depth: 0 for a direct call, 1 for its SubFactories, and so on; factories that do not reuse
            are passed over.
        statements: how many statements the call sent to the database, those of the calls inside it
            included. What ``create_batch`` and ``create_many`` send for many calls at once counts
            for the first of them.
        seconds: how long the call took, the calls inside it included.
    """

    factory: str
    key: str
    source: Source
    depth: int
    statements: int = 0
    seconds: float = 0.0

    @property
    def created(self) -> bool:
        """Whether the object is new."""
        return self.source == "created"


@final
class Report:
    """What became of the calls in a block of code; see :func:`~factory_reuse.watch`.

    Attributes:
        outcomes: one a call, in the order in which they ended: a call comes after those inside it.
            One that raised has none.
    """

    def __init__(self, outcomes: Iterable[Outcome] = ()) -> None:
        self.outcomes: list[Outcome] = list(outcomes)

    @property
    def created(self) -> int:
        """How many objects are new."""
        return sum(outcome.created for outcome in self.outcomes)

    @property
    def reused(self) -> int:
        """How many calls gave an object that was there."""
        return len(self.outcomes) - self.created

    @property
    def by_factory(self) -> dict[str, Report]:
        """The same for each factory by its name, in the order of their first outcomes."""
        reports: dict[str, Report] = {}
        for outcome in self.outcomes:
            reports.setdefault(outcome.factory, Report()).outcomes.append(outcome)
        return reports

    @property
    def statements(self) -> int:
        """How many statements the direct calls sent, those of their SubFactories included."""
        return sum(outcome.statements for outcome in self.outcomes if outcome.depth == 0)

    @property
    def seconds(self) -> float:
        """How long the direct calls took, their SubFactories included."""
        return sum(outcome.seconds for outcome in self.outcomes if outcome.depth == 0)

    def __repr__(self) -> str:
        """Show the sums.

        >>> Report([Outcome("CategoryFactory", "", "created", 0, statements=4)])
        <Report: 1 created, 0 reused, 4 statements>
        """
        return (
            f"<Report: {self.created} created, {self.reused} reused, {self.statements} statements>"
        )
