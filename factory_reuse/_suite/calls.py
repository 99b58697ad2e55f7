"""Calls of factories inside one another, and their sums: a tree, by which factory pulled which."""

from __future__ import annotations

from typing import Any, Iterable

from typing_extensions import TypedDict, final


@final
class Call:
    """One call that has ended.

    Attributes:
        factory: the factory's id.
        source: where its object came from; ``lookup`` if a factory that is not decorated looked it
            up by itself.
        number: that of its mark.
        again: for a factory that is not decorated: whether the new row is like one that the test
            had: ``repeated``, it was given the same values; ``defaults``, it was given none.
        pulled: whether a SubFactory made the call.
        inside: the calls that it made.
    """

    __slots__ = (
        "again",
        "factory",
        "inside",
        "number",
        "pulled",
        "seconds",
        "source",
        "statements",
    )

    def __init__(
        self,
        factory: str,
        source: str,
        number: int,
        seconds: float,
        statements: int,
        inside: list[Call],
        *,
        again: str,
        pulled: bool,
    ) -> None:
        self.factory = factory
        self.source = source
        self.number = number
        self.seconds = seconds
        self.statements = statements
        self.again = again
        self.pulled = pulled
        self.inside = inside


class Calls(TypedDict):
    """The calls of one factory from the same place, summed up; as it stands in a report's file.

    Attributes:
        factory: the factory's id.
        sources: how many objects came from where; ``created`` among them.
        seconds: of all calls, those inside them included; so are ``statements``.
        repeated: new rows that were given the same values as another of the same test.
        defaults: new rows that were given nothing, as another of the same test was.
        spare: those of these two that a SubFactory made.
        inside: the calls that these made.
    """

    factory: str
    calls: int
    created: int
    sources: dict[str, int]
    seconds: float
    statements: int
    repeated: int
    defaults: int
    spare: int
    inside: list[Any]


def summed(calls: Iterable[Call]) -> list[Calls]:
    """Sum up calls that stand beside each other, by their factories."""
    beside: dict[str, list[Call]] = {}
    for call in calls:
        beside.setdefault(call.factory, []).append(call)
    return [_sum(factory, group) for factory, group in beside.items()]


def _sum(factory: str, calls: list[Call]) -> Calls:
    sources: dict[str, int] = {}
    inside: list[Call] = []
    for call in calls:
        sources[call.source] = sources.get(call.source, 0) + 1
        inside += call.inside
    return {
        "factory": factory,
        "calls": len(calls),
        "created": sources.get("created", 0),
        "sources": sources,
        "seconds": sum(call.seconds for call in calls),
        "statements": sum(call.statements for call in calls),
        "repeated": sum(call.again == "repeated" for call in calls),
        "defaults": sum(call.again == "defaults" for call in calls),
        "spare": sum(bool(call.again) and call.pulled for call in calls),
        "inside": summed(inside) if inside else [],
    }


def merge(into: list[Calls], more: Iterable[Calls]) -> None:
    """Add sums to those of the same place. What is added is left as it is."""
    known = {calls["factory"]: calls for calls in into}
    for calls in more:
        there = known.get(calls["factory"])
        if there is None:
            into.append(copied(calls))
            continue
        for source, count in calls["sources"].items():
            there["sources"][source] = there["sources"].get(source, 0) + count
        there["calls"] += calls["calls"]
        there["created"] += calls["created"]
        there["seconds"] += calls["seconds"]
        there["statements"] += calls["statements"]
        there["repeated"] += calls["repeated"]
        there["defaults"] += calls["defaults"]
        there["spare"] += calls["spare"]
        merge(there["inside"], calls["inside"])


def copied(calls: Calls) -> Calls:
    """Return the same sums, to be added to."""
    copy = calls.copy()
    copy["sources"] = dict(calls["sources"])
    copy["inside"] = [copied(inside) for inside in calls["inside"]]
    return copy


def factories_in(calls: Iterable[Calls]) -> set[str]:
    """Return the ids of the factories that were called."""
    found: set[str] = set()
    for each in calls:
        found |= {each["factory"], *factories_in(each["inside"])}
    return found
