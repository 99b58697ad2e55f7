"""How many machine instructions a call costs: a regression check that noise can't blur.

Run it as ``python -m benchmarks.instructions``; it needs valgrind. ``--check`` holds the figures
against ``instructions.json``, ``--record`` writes that file. The counts depend on the builds of
Python and SQLAlchemy, so what is compared are ratios of two counts of one run.

The calls run in processes under callgrind, some of which never import factory_reuse. Each process
calls ``os.getppid()`` before and after it repeats a call, and callgrind, told to do so when that C
function is entered, writes out what it has counted and starts from zero: so one start-up serves
all calls and is in no figure. Nothing else asks for the parent process.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from importlib.metadata import version
from itertools import repeat
from pathlib import Path
from platform import python_version
from typing import Any, Callable, Final

import factory
from factory.alchemy import SQLAlchemyModelFactory
from sqlalchemy import Column, Integer, String, create_engine
from sqlalchemy.orm import Session, declarative_base

RECORDED: Final = Path(__file__).with_suffix(".json")

#: Exit statuses. 77 is what test runners take for "skipped".
OK, FAILED, NO_VALGRIND = 0, 1, 77

#: How often a call is repeated before it is counted, and while it is.
WARM_UP, COUNTED = 100, 50

#: Hash seeds, a process for each, of whose counts the least is taken. A seed makes a process
#: repeatable, but also decides what lies where in memory, and so which names get in each other's
#: way in Python's method cache; that alone may add 2 % to a flush.
SEEDS: Final = ("0", "1")

#: What the calls of the process without factory_reuse have behind their names.
ALONE: Final = ", not imported"


def main() -> int:
    """Count, and print, record or check what was counted."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.instructions")
    then = parser.add_mutually_exclusive_group()
    then.add_argument("--check", action="store_true", help=f"compare with {RECORDED.name}")
    then.add_argument("--record", action="store_true", help=f"write {RECORDED.name}")
    arguments = parser.parse_args()
    if shutil.which("valgrind") is None:
        print("SKIPPED: it takes valgrind to count, and there is none here.", file=sys.stderr)
        return NO_VALGRIND
    counts = count_all()
    print_counts(counts)
    if arguments.record:
        record(counts)
    return check(counts) if arguments.check else OK


@dataclass(frozen=True)
class Ratio:
    """What one call costs as a multiple of another.

    Attributes:
        limit: what it may not exceed, whatever is recorded; ``None``: what is recorded decides.
    """

    call: str
    base: str
    limit: float | None = None

    def __str__(self) -> str:
        return f"{self.call} / {self.base}"

    def of(self, counts: dict[str, float]) -> float:
        """Return the ratio."""
        return counts[self.call] / counts[self.base]

    def verdict(self, now: float, recorded: float | None) -> tuple[bool, str]:
        """Return whether it will do, and what to say of it."""
        if self.limit is not None:
            return now <= self.limit, f"limit {self.limit}"
        if recorded is None:
            return False, "not recorded: use --record"
        if now < recorded * (1 - TOLERANCE):
            return True, "better: record it anew with --record"
        return now <= recorded * (1 + TOLERANCE), f"tolerance {TOLERANCE:.0%}"


#: By which part of the recorded ratio a call may become dearer.
TOLERANCE: Final = 0.05

#: What makes no use of the library may not pay for it; the rest may not become dearer.
RATIOS: Final = (
    Ratio("hit", "Session.get"),
    Ratio("hit", "build"),
    Ratio("nested hit", "build"),
    Ratio("nested hit, key passed", "build"),
    Ratio("build under a parent, decorated", "build under a parent"),
    Ratio("create in a session that reuses", "create"),
    Ratio("build, decorated", "build", limit=1.02),
    Ratio("build", "build" + ALONE, limit=1.02),
    Ratio("build under a parent", "build under a parent" + ALONE, limit=1.02),
    Ratio("create", "create" + ALONE, limit=1.02),
)


def print_counts(counts: dict[str, float]) -> None:
    """Print the instructions of each call, and the ratios."""
    print(f"{'instructions per call':<64}{'now':>10}")
    for name, instructions in counts.items():
        print(f"  {name:<60}{instructions:>12,.0f}")
    print(f"{'ratio':<64}{'now':>10}")
    for ratio in RATIOS:
        print(f"  {ratio!s:<60}{ratio.of(counts):>12.4f}")


def record(counts: dict[str, float]) -> None:
    """Write the ratios, and for the reader the counts, with the versions they hold for."""
    recorded = {
        "versions": versions(),
        "ratios": {str(ratio): round(ratio.of(counts), 4) for ratio in RATIOS},
        "instructions": {name: round(instructions) for name, instructions in counts.items()},
    }
    RECORDED.write_text(json.dumps(recorded, indent=2) + "\n", encoding="utf-8")
    print(f"\nRecorded in {RECORDED.name}.")


def check(counts: dict[str, float]) -> int:
    """Print how each ratio stands to the recorded one, and return the exit status."""
    recorded = json.loads(RECORDED.read_text(encoding="utf-8"))
    then, now = _minor(recorded["versions"]), _minor(versions())
    if then != now:
        print(f"\nRecorded under {then}.\nThis is {now}: only limits are checked.")
    print(f"\n{'ratio':<64}{'recorded':>10}{'now':>10}")
    ratios = [ratio for ratio in RATIOS if ratio.limit is not None or then == now]
    will_do = [_check(ratio, counts, recorded["ratios"].get(str(ratio))) for ratio in ratios]
    return OK if all(will_do) else FAILED


def _check(ratio: Ratio, counts: dict[str, float], recorded: float | None) -> bool:
    now = ratio.of(counts)
    will_do, said = ratio.verdict(now, recorded)
    before = "-" if recorded is None else f"{recorded:.4f}"
    print(f"  {ratio!s:<62}{before:>10}{now:>10.4f}  {'ok' if will_do else 'FAILED'}: {said}")
    return will_do


def versions() -> dict[str, str]:
    """Return the versions that the counts depend on."""
    packages = {name: version(name) for name in ("SQLAlchemy", "factory_boy")}
    return {"Python": python_version(), **packages}


def _minor(versions: dict[str, str]) -> str:
    return ", ".join(f"{name} {'.'.join(of.split('.')[:2])}" for name, of in versions.items())


def count_all() -> dict[str, float]:
    """Return the instructions of each call, by name."""
    for call in with_reuse().values():
        call()  # what doesn't work should not take its minutes to say so
    with ThreadPoolExecutor(os.cpu_count()) as processes:
        counting = [processes.submit(_count, "with_reuse", seed) for seed in SEEDS]
        counting_alone = [processes.submit(_count, "without_reuse", seed) for seed in SEEDS]
    counts, alone = _least(counting), _least(counting_alone)
    parent = counts.pop("parent")
    for name in ("nested hit", "nested hit, key passed"):
        counts[name] -= parent  # so that it is what the child adds
    return {**counts, **{name + ALONE: instructions for name, instructions in alone.items()}}


def _least(counting: list[Future[dict[str, float]]]) -> dict[str, float]:
    counted = [future.result() for future in counting]
    return {name: min(counts[name] for counts in counted) for name in counted[0]}


def _count(calls: str, seed: str) -> dict[str, float]:
    names, counts = _run(f"from benchmarks.instructions import *; repeat_all({calls}())", seed)
    if len(counts) != 2 * len(names) + 1:
        raise RuntimeError(
            f"callgrind wrote {len(counts)} counts for {len(names)} calls: it can't see the "
            "function getppid of this C library, or something else calls it."
        )
    # Each second count is of what came before a call: the start, or its warm-up.
    of_calls = dict(zip(names, counts[1::2]))
    loop = of_calls.pop("nothing")
    return {name: (instructions - loop) / COUNTED for name, instructions in of_calls.items()}


def _run(code: str, seed: str) -> tuple[list[str], list[int]]:
    """Return what the code prints under callgrind, and what callgrind counts."""
    with tempfile.TemporaryDirectory() as directory:
        written = Path(directory, "callgrind.out")
        printed = subprocess.run(
            [
                *("valgrind", "-q", "--tool=callgrind", f"--callgrind-out-file={written}"),
                # One function; which of its names is seen depends on the C library's symbols.
                *("--combine-dumps=yes", "--dump-before=getppid", "--dump-before=__getppid"),
                *(sys.executable, "-c", code),
            ],
            cwd=Path(__file__).parents[1],
            env={**os.environ, "PYTHONHASHSEED": seed},
            stdout=subprocess.PIPE,
            check=True,
            encoding="utf-8",
        ).stdout
        summaries = re.findall(r"^summary: (\d+)$", written.read_text(), re.MULTILINE)
    return printed.splitlines(), [int(summary) for summary in summaries]


def repeat_all(calls: dict[str, Callable[[], Any]]) -> None:
    """Repeat each call between two marks, and print the names in this order."""
    gc.disable()  # a collection would fall on one call or another
    gc.freeze()  # and those below need not go through all that was imported
    for name, call in calls.items():
        _repeat(call, WARM_UP)  # until caches are full, and Python has specialised its bytecode
        gc.collect()
        os.getppid()
        _repeat(call, COUNTED)
        os.getppid()
        print(name)


def _repeat(call: Callable[[], Any], times: int) -> None:
    for _ in repeat(None, times):
        call()


def with_reuse() -> dict[str, Callable[[], Any]]:
    """Return the calls to count in a process that reuses rows, by name."""
    from factory_reuse import reuse_existing  # here, since the other process must not import it

    session = _session()
    reusing = reuse_existing(_category_factory(session), on=("name",))
    beside = _category_factory(session)
    shelf, empty_shelf = _shelf_factory(reusing), _shelf_factory(None)
    shelf_of_books = _shelf_factory(reusing, name="Books")
    return {
        "hit": lambda: reusing(name="Books"),
        "nested hit": lambda: shelf_of_books(),
        "nested hit, key passed": lambda: shelf(category__name="Books"),
        "parent": lambda: empty_shelf(),
        "build, decorated": lambda: reusing.build(name="Books"),
        "build under a parent, decorated": lambda: shelf_of_books.build(),
        "create in a session that reuses": lambda: beside(),
        **without_reuse(),  # last, so that they come after the library was used, not just imported
    }


def without_reuse() -> dict[str, Callable[[], Any]]:
    """Return the calls to count that need no factory_reuse, by name."""
    session = _session()
    category = _category_factory(session)
    shelf_of_books = _shelf_factory(category, name="Books")
    books = category(name="Books")
    key = books.id
    return {
        "Session.get": lambda: session.get(Category, key) is books,  # the identity map is weak
        "build": lambda: category.build(name="Books"),
        "build under a parent": lambda: shelf_of_books.build(),
        "create": lambda: category(),
        "nothing": lambda: None,
    }


Base: Any = declarative_base()


class Category(Base):
    """A row to reuse."""

    __tablename__ = "category"
    id = Column(Integer, primary_key=True)
    name = Column(String(50), unique=True)
    slug = Column(String(50))


class Shelf:
    """A parent that costs little, and the same whatever it is given."""

    def __init__(self, category: Category | None) -> None:
        self.category = category


def _session() -> Session:
    engine = create_engine("sqlite://")
    Base.metadata.create_all(engine)
    return Session(engine)


def _category_factory(session: Session) -> Any:
    class CategoryFactory(SQLAlchemyModelFactory):
        class Meta:
            model = Category
            sqlalchemy_session = session
            sqlalchemy_session_persistence = "flush"

        name = factory.Sequence(lambda n: f"Category {n}")
        slug = factory.LazyAttribute(lambda category: category.name.lower())

    return CategoryFactory


def _shelf_factory(child: Any, **passed: Any) -> Any:
    class ShelfFactory(factory.Factory):
        class Meta:
            model = Shelf

        category = child and factory.SubFactory(child, **passed)

    return ShelfFactory


if __name__ == "__main__":
    sys.exit(main())
