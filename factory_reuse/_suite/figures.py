"""The figures of a run: what its tests' calls come to, by factory, by cascade and in all."""

from __future__ import annotations

from typing import Final, Iterator

from typing_extensions import TypedDict, final

from .calls import Calls, merge
from .rows import Leak
from .tracer import FactoryInfo


class TestFigures(TypedDict):
    """One test, its fixtures included.

    Attributes:
        seconds: how long it took, all of it.
    """

    id: str
    seconds: float
    calls: list[Calls]


class Part(TypedDict):
    """What becomes of a phase of a test, on its way from the process that ran it."""

    factories: dict[str, FactoryInfo]
    calls: list[Calls]
    leaks: list[Leak]


class Saved(TypedDict):
    """What reuse has spared, reckoned by what the factory's new rows brought in the same run.

    Attributes:
        rows: those reused, and those that would have been made for them.
        statements: an INSERT for each of these, less all that is sent beside the INSERTs in order
            to look up, and to undo a refused insert alone: SELECT, SAVEPOINT, RELEASE. Below zero,
            where that is more.
    """

    rows: int
    statements: int


class WouldReuse(TypedDict):
    """New rows of a factory that is not decorated, after another one like it in the same test.

    Attributes:
        repeated: they were given the same values.
        defaults: they were given none.
        rows: how many rows it would have spared to reuse those that SubFactories made, the rows
            made for them included. What tests themselves ask for may be meant to be several.
    """

    repeated: int
    defaults: int
    rows: int


class FactoryFigures(TypedDict):
    """One factory in the whole run.

    Attributes:
        sources: how many objects came from where, beside the new ones.
        top_level: calls by the tests and fixtures themselves.
        nested: calls inside those of a factory.
        seconds: calls inside included; ``own_seconds`` are without them. So for ``statements``.
        would_reuse: none for a factory that is decorated.
    """

    id: str
    name: str
    module: str
    decorated: bool
    calls: int
    created: int
    reused: int
    sources: dict[str, int]
    top_level: int
    nested: int
    seconds: float
    own_seconds: float
    statements: int
    own_statements: int
    saved: Saved
    would_reuse: WouldReuse | None


class Cascade(TypedDict):
    """A factory that another one pulled.

    Attributes:
        share: its seconds, of those of the whole run.
    """

    factory: str
    pulled: str
    calls: int
    created: int
    seconds: float
    share: float


class Totals(TypedDict):
    """The whole run.

    Attributes:
        seconds: how long the tests took, in all processes together.
        factory_seconds: how much of that was spent in factories.
    """

    tests: int
    seconds: float
    factory_seconds: float
    share: float
    calls: int
    created: int
    reused: int
    statements: int
    saved: Saved


#: What is said of calls that no test makes: those while modules are imported, say.
OUTSIDE: Final = "(outside of the tests)"


@final
class Figures:
    """Collects what the tests' phases come to.

    Attributes:
        tests: by their ids.
        leaks: in the order in which they were seen.
    """

    def __init__(self) -> None:
        self.tests: dict[str, TestFigures] = {}
        self.leaks: list[Leak] = []
        self._info: dict[str, FactoryInfo] = {}

    def add(self, test: str, seconds: float, part: Part) -> None:
        """Add a phase of a test."""
        figures = self.tests.setdefault(test, {"id": test, "seconds": 0.0, "calls": []})
        figures["seconds"] += seconds
        merge(figures["calls"], part["calls"])
        self.leaks += part["leaks"]
        self._info.update(part["factories"])

    def all_calls(self) -> list[Calls]:
        """Return the calls of all tests together."""
        together: list[Calls] = []
        for test in self.tests.values():
            merge(together, test["calls"])
        return together

    def name(self, factory: str) -> str:
        """Return the factory's name; its id, where two have the same name."""
        name = self._info[factory]["name"]
        same = [each for each, info in self._info.items() if info["name"] == name]
        return name if len(same) == 1 else factory

    def factories(self, calls: list[Calls]) -> list[FactoryFigures]:
        """Return the figures of each factory, the one that took most time itself first."""
        counts: dict[str, _Count] = {}
        _count(calls, (), counts)
        figures = [self._figures(factory, count) for factory, count in counts.items()]
        return sorted(figures, key=lambda each: -each["own_seconds"])

    def cascades(self, calls: list[Calls]) -> list[Cascade]:
        """Return which factory pulled which, the one that took most time first."""
        found: dict[tuple[str, str], Cascade] = {}
        seconds = sum(test["seconds"] for test in self.tests.values())
        for above, each in _pairs(calls):
            pair = above["factory"], each["factory"]
            cascade = found.setdefault(
                pair,
                {
                    "factory": pair[0],
                    "pulled": pair[1],
                    "calls": 0,
                    "created": 0,
                    "seconds": 0.0,
                    "share": 0.0,
                },
            )
            cascade["calls"] += each["calls"]
            cascade["created"] += each["created"]
            cascade["seconds"] += each["seconds"]
            cascade["share"] = share(cascade["seconds"], seconds)
        return sorted(found.values(), key=lambda each: -each["seconds"])

    def slowest(self, most: int) -> list[TestFigures]:
        """Return the tests that spent most time in factories, those that spent some."""
        tests = [test for test in self.tests.values() if test["calls"]]
        return sorted(tests, key=lambda test: -spent(test["calls"]))[:most]

    def totals(self, calls: list[Calls]) -> Totals:
        """Return the figures of the whole run."""
        factories = self.factories(calls)
        seconds = sum(test["seconds"] for test in self.tests.values())
        factory_seconds = spent(calls)
        return {
            "tests": len(self.tests.keys() - {OUTSIDE}),
            "seconds": seconds,
            "factory_seconds": factory_seconds,
            "share": share(factory_seconds, seconds),
            "calls": sum(each["calls"] for each in factories),
            "created": sum(each["created"] for each in factories),
            "reused": sum(each["reused"] for each in factories),
            "statements": sum(each["statements"] for each in calls),
            "saved": {
                "rows": sum(each["saved"]["rows"] for each in factories),
                "statements": sum(each["saved"]["statements"] for each in factories),
            },
        }

    def _figures(self, factory: str, count: _Count) -> FactoryFigures:
        info, reused = self._info[factory], count.calls - count.created
        rows = count.rows / count.created if count.created else 1.0
        saved = round(reused * rows)
        beside_inserts = max(0, count.own_statements - count.created)
        would_reuse: WouldReuse = {
            "repeated": count.repeated,
            "defaults": count.defaults,
            "rows": round(count.spare * rows),
        }
        return {
            "id": factory,
            "name": info["name"],
            "module": info["module"],
            "decorated": info["decorated"],
            "calls": count.calls,
            "created": count.created,
            "reused": reused,
            "sources": {name: count.sources[name] for name in ORDER if name in count.sources},
            "top_level": count.top_level,
            "nested": count.calls - count.top_level,
            "seconds": count.seconds,
            "own_seconds": count.own_seconds,
            "statements": count.statements,
            "own_statements": count.own_statements,
            "saved": {
                "rows": saved if info["decorated"] else 0,
                "statements": saved - beside_inserts if info["decorated"] else 0,
            },
            "would_reuse": None if info["decorated"] else would_reuse,
        }


#: Where a reused object may come from; see :class:`~factory_reuse._suite.calls.Call`.
ORDER = ("cache", "pending", "database", "race", "recycled", "lookup")


class _Count:
    """What is added up for one factory."""

    def __init__(self) -> None:
        self.sources: dict[str, int] = {}
        self.seconds = self.own_seconds = 0.0
        self.calls = self.created = self.top_level = self.rows = 0
        self.statements = self.own_statements = 0
        self.repeated = self.defaults = self.spare = 0


def _count(calls: list[Calls], above: tuple[str, ...], counts: dict[str, _Count]) -> int:
    """Count calls that stand beside each other; return how many rows they made."""
    made = 0
    for each in calls:
        factory, inside = each["factory"], each["inside"]
        count = counts.setdefault(factory, _Count())
        rows = each["created"] + _count(inside, (*above, factory), counts)
        made += rows
        count.calls += each["calls"]
        count.created += each["created"]
        count.rows += rows
        count.top_level += 0 if above else each["calls"]
        count.repeated += each["repeated"]
        count.defaults += each["defaults"]
        count.spare += each["spare"]
        count.own_seconds += each["seconds"] - spent(inside)
        count.own_statements += each["statements"] - sum(i["statements"] for i in inside)
        if factory not in above:  # or its time is in there already
            count.seconds += each["seconds"]
            count.statements += each["statements"]
        for source, number in each["sources"].items():
            count.sources[source] = count.sources.get(source, 0) + number
    return made


def _pairs(calls: list[Calls]) -> Iterator[tuple[Calls, Calls]]:
    for above in calls:
        for each in above["inside"]:
            yield above, each
        yield from _pairs(above["inside"])


def spent(calls: list[Calls]) -> float:
    """Return the seconds of calls that stand beside each other."""
    return sum(each["seconds"] for each in calls)


def share(part: float, whole: float) -> float:
    """Return the part's share of the whole, from 0 to 1."""
    return part / whole if whole else 0.0
