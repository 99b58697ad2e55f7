"""The codes of the audit's findings, and what a finding says."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NamedTuple

from typing_extensions import final

#: From the mildest on.
SEVERITIES: Final = ("info", "warning", "error")


@final
class Code(NamedTuple):
    """What a code stands for, and how bad it is unless a rule knows better."""

    title: str
    severity: str


#: Codes are never given another meaning. The first digit tells what a finding is about: 0 the audit
#: itself, 1 declared keys, 2 the values of keys, 3 missing reuse, 4 sessions, hooks and indexes,
#: 5 what ``upgrade`` can replace, 6 the database.
CODES: Final = {
    "FR001": Code("The factory could not be audited", "warning"),
    "FR002": Code("A SubFactory leads nowhere", "error"),
    "FR101": Code("The key misses a column of the constraint", "error"),
    "FR102": Code("The key holds a column that the constraint does not cover", "error"),
    "FR103": Code("No constraint is behind the key", "warning"),
    "FR104": Code("Separately unique columns are declared as one composite key", "error"),
    "FR105": Code("The key is not what the index makes unique", "warning"),
    "FR106": Code("There is no key to reuse by", "error"),
    "FR201": Code("A unique value is drawn at random", "warning"),
    "FR202": Code("The key counts, so nothing is reused", "info"),
    "FR203": Code("No declaration sets the key", "warning"),
    "FR301": Code("A model with a unique key, and a factory without reuse", "info"),
    "FR302": Code("One call makes many rows", "info"),
    "FR401": Code("Rows stay pending where others insert the same", "info"),
    "FR402": Code("A reused row is changed by post-generation declarations", "warning"),
    "FR403": Code("No index serves the lookup", "warning"),
    "FR501": Code("sqlalchemy_get_or_create can be replaced", "info"),
    "FR502": Code("A lookup in _create can be replaced", "info"),
    "FR601": Code("The database has a unique key that the models lack", "error"),
    "FR602": Code("The models have a unique key that the database lacks", "error"),
    "FR603": Code("The database has no such table", "warning"),
}


@final
@dataclass(frozen=True)
class Finding:
    """One thing that is wrong with one factory.

    Attributes:
        code: one of :data:`CODES`.
        severity: one of :data:`SEVERITIES`.
        factory: the factory's module and name.
        model: the model's name; empty, where the factory has none.
        path: the file, below the working directory where it is there.
        line: counted from 1.
        subject: what of the factory it is about, a key or a declaration; with the code and the
            factory it identifies the finding in a baseline, whatever the line.
        reason: what is wrong and what follows from it, in one sentence.
        remedy: what to write.
        weight: of two with the same severity and code, the heavier is the worse.
    """

    code: str
    severity: str
    factory: str
    model: str
    path: str
    line: int
    subject: str
    reason: str
    remedy: str
    weight: int = 0

    @property
    def title(self) -> str:
        """What the code stands for."""
        return CODES[self.code].title

    @property
    def identity(self) -> str:
        """What a baseline knows the finding by."""
        return f"{self.code} {self.factory} {self.subject}".rstrip()


def at_least(severity: str, threshold: str) -> bool:
    """Whether one severity is as bad as another.

    >>> at_least("warning", "error")
    False
    """
    return SEVERITIES.index(severity) >= SEVERITIES.index(threshold)
