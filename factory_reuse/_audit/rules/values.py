"""FR2xx: whether the values of a key repeat, and whether they should."""

from __future__ import annotations

from typing import Iterator

from factory_reuse._keys import Key
from factory_reuse._parts import PredicatePart

from .. import variety
from ..findings import Finding
from ..subjects import Subject
from ..suite import Suite
from ..variety import DRAWN
from .legacy import Lookups


def check(subject: Subject, suite: Suite, lookups: Lookups) -> Iterator[Finding]:
    """Yield what is wrong with the values that the factory gives a key."""
    if subject.mapper is None:
        return
    yield from _drawn(subject, lookups)
    if not subject.reuses or not subject.keys:
        return
    usable = [key for key in subject.keys if subject.variety(key).kind != variety.ABSENT]
    passed = frozenset().union(*(link.passes for link in suite.leading_to(subject)))
    if usable:
        counting = [key for key in usable if subject.variety(key).kind == variety.COUNTS]
        if len(counting) == len(usable) and not any(key.names & passed for key in counting):
            yield _counts(subject, counting[0])
    elif not any(key.names & passed for key in subject.keys):
        yield _unset(subject, subject.keys[0])


def _drawn(subject: Subject, lookups: Lookups) -> Iterator[Finding]:
    seen = set()
    looks_up = subject.reuses or subject.get_or_create or lookups.of(subject)
    looked_up = subject.keys if looks_up else ()
    for key in (*subject.unique, *subject.keys):
        found = subject.variety(key)
        if found.kind != variety.CHANCE or key.compared in seen:
            continue
        seen.add(key.compared)
        name = _source_of(subject, key, found.words)
        then = (
            "a call gets the row of another call by chance"
            if any(key.compared == each.compared for each in looked_up)
            else "an INSERT is refused by chance"
        )
        yield subject.finding(
            "FR201",
            key.label,
            f"({key.label}) is unique and {name} is drawn from {found.words}, of which "
            f"{found.repeated} of {DRAWN} values had come before in a trial: {then}.",
            f"Give {name} a Sequence; or, where one row is meant, a constant or an Iterator.",
            at=name,
        )


def _counts(subject: Subject, key: Key) -> Finding:
    found = subject.variety(key)
    name = _source_of(subject, key, found.words)
    counting = subject.counting(key)
    return subject.finding(
        "FR202",
        key.label,
        f"{counting} is another in each call ({found.words}), so a call that does not pass it "
        "never reuses a row.",
        f"Pass {counting} where one row is meant, or give it a constant or an Iterator.",
        at=name,
    )


def _unset(subject: Subject, key: Key) -> Finding:
    missing = [
        next(iter(part.names()))
        for part in key.parts
        if not isinstance(part, PredicatePart) and subject.source(part.names()) is None
    ]
    names = ", ".join(missing) or key.label
    # Where there must be a value, each call has to pass it, and may well.
    required = all(not column.column.nullable for column in key.compared)
    return subject.finding(
        "FR203",
        key.label,
        f"No declaration sets {names} of the key ({key.label}), so a call that does not pass it "
        "finds no row.",
        f"Declare {names} in the factory, or pass it in each call.",
        severity="info" if required else None,
    )


def _source_of(subject: Subject, key: Key, words: str) -> str:
    """Return the declared name that makes a key vary as it does."""
    names = [subject.source(part.names()) for part in key.parts]
    declared = [name for name in names if name is not None]
    for name in declared:
        if variety.in_words(subject.declarations[name]) in words.split(" and "):
            return name
    return declared[0] if declared else key.label
