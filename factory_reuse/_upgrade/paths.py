"""What all ways through a ``_create`` come to, taken together: a get-or-create, or not."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from typing import Iterable, Iterator, TypeVar

from typing_extensions import final

from .interpret import Run, ways
from .machine import INTEGRITY, NO_RESULT, Method
from .values import NOTHING, Fields, Found, Made, Outside, Stop, Value

T = TypeVar("T")


@final
@dataclass(frozen=True)
class GetOrCreate:
    """What a ``_create`` does, if it is a get-or-create and nothing else.

    Attributes:
        keys: the alternatives it looks up by.
        sessions: what it uses as a session.
        caches: the dictionaries it keeps rows in, each with whether it is the class's.
        by_super: whether it leaves creation to ``super()._create``.
        written: what it calls on the session after creating: ``"flush"``, ``"commit"`` or ``None``.
        unguarded: the fields that it looks up by also where they are ``None``.
        notes: what else is worth knowing: ``"empty"``, ``"rollback"``, ``"first"``...
    """

    keys: Fields
    sessions: tuple[Outside, ...]
    caches: tuple[tuple[str, bool], ...]
    by_super: bool
    written: str | None
    unguarded: frozenset[str]
    notes: frozenset[str]


def get_or_create(method: Method) -> GetOrCreate | None:
    """Return what a method comes to, or ``None`` where no way returns a row that was there.

    Raises:
        Stop: it does something that is not understood, or something else besides.
    """
    all_ways = [(run, _checked(run, result)) for run, result in ways(method)]
    if not any(isinstance(result, Found) for _, result in all_ways):
        return None
    runs = [run for run, _ in all_ways]
    keys = _keys(method, runs)
    made = [run for run, result in all_ways if isinstance(result, Made)]
    made = [run for run in made if "refused" not in _yes(run)]
    if not made:
        raise Stop(method.node, "`_create` never creates.")
    for run in made:
        _check_tried(run, keys)
    _check_called(method, runs)
    creations = {_creation(run) for run in made}
    if len(creations) > 1:
        raise Stop(method.node, "`_create` creates in more than one way.")
    ((by_super, written),) = creations
    return GetOrCreate(
        keys,
        _unique(session for run in runs for session in run.sessions),
        _unique(cache for run in runs for cache in run.caches),
        by_super,
        written,
        frozenset(field for run in runs for field in _unguarded(run)),
        frozenset(_notes(method, runs, made)),
    )


def _unique(values: Iterable[T]) -> tuple[T, ...]:  # in their order
    return tuple(dict.fromkeys(values))


def _yes(run: Run) -> set[str]:
    """Return the kinds of questions that came out true."""
    return {
        decision if isinstance(decision, str) else decision[0]
        for decision, outcome in run.decisions.items()
        if outcome and isinstance(decision, (str, tuple))
    }


def _checked(run: Run, result: Value | str) -> Value | str:
    """Return the result of a way that a get-or-create may take."""
    node, yes = run.method.node, _yes(run)
    found = {"found", "cached"} & yes
    refused = "refused" in yes
    if isinstance(result, Found):
        _check_events(run, {"made", "added", "rollback", "flush", "commit"} if refused else set())
    elif isinstance(result, Made):
        if found:
            raise Stop(node, "`_create` creates another row although it has found one.")
        if refused:
            raise Stop(node, "`_create` returns the object whose INSERT was refused.")
        _check_events(run, {"made", "added", "flush", "commit"})
        if run.events.count("made") != 1 or run.events.count("added") != 1:
            raise Stop(node, "`_create` does not add the new object exactly once.")
    elif refused and not found and result in (INTEGRITY, NO_RESULT):
        pass  # what the INSERT was refused for is something else
    elif refused and not found and result == NOTHING and _looked_again(run):
        run.notes.append("returns None")
    elif isinstance(result, str):
        raise Stop(node, f"`_create` raises `{result}` for some arguments.")
    else:
        raise Stop(node, "`_create` returns something else than a row that is there or is new.")
    return result


def _looked_again(run: Run) -> bool:
    return any(isinstance(each, tuple) and each[0] == "found" and each[2] for each in run.decisions)


def _check_events(run: Run, allowed: set[str]) -> None:
    for event in run.events:
        if event not in allowed:
            what = {"rollback": "rolls back", "commit": "commits", "flush": "flushes"}
            raise Stop(
                run.method.node,
                f"`_create` {what.get(event, 'creates')} also where it returns a row that is there "
                "or that is new.",
            )


def _keys(method: Method, runs: list[Run]) -> Fields:
    keys: list[tuple[str, ...]] = []
    for fields in (fields for run in runs for fields in run.tried):
        for key in fields:
            if all(set(key) != set(other) for other in keys):
                keys.append(key)
    cached = {frozenset(key) for run in runs for key in _cached(run)}
    queried = {frozenset(key) for run in runs for key in _queried(run)}
    cached |= {frozenset(key) for run in runs for fields in run.stored for key in fields}
    if len(cached) > 1 or (queried and not cached <= queried):
        raise Stop(method.node, "`_create` has a cache with another key than it looks up by.")
    return tuple(keys)


def _cached(run: Run) -> Iterator[tuple[str, ...]]:
    for decision in run.decisions:
        if isinstance(decision, tuple) and decision[0] == "cached":
            yield from decision[1]


def _queried(run: Run) -> Iterator[tuple[str, ...]]:
    for decision in run.decisions:
        if isinstance(decision, tuple) and decision[0] == "found":
            yield from decision[1]


def _check_tried(run: Run, keys: Fields) -> None:
    """See to it that a new row is made only where every key was looked up that was given."""
    missing = {
        decision[1]
        for decision, outcome in run.decisions.items()
        if isinstance(decision, tuple) and decision[0] in ("given", "in") and not outcome
    }
    given = {frozenset(key) for key in keys if not missing & set(key)}
    tried = {frozenset(key) for fields in run.tried for key in fields}
    inserts_first = not run.tried and "refused" in run.decisions
    if tried != given and not inserts_first:
        raise Stop(run.method.node, "`_create` looks up by some of its keys only in some cases.")


def _check_called(method: Method, runs: list[Run]) -> None:
    """See to it that the functions that are called give a session, and are no more than that."""
    sessions = [session.source or "" for run in runs for session in run.sessions]
    for called in (called for run in runs for called in run.called):
        if not any(session.startswith(called) for session in sessions):
            raise Stop(method.node, f"`_create` also calls `{called}`.")


def _unguarded(run: Run) -> Iterator[str]:
    for field in (field for fields in run.tried for key in fields for field in key):
        if ("given", field) not in run.decisions:
            yield field


def _creation(run: Run) -> tuple[bool, str | None]:
    written = "commit" if "commit" in run.events else "flush" if "flush" in run.events else None
    return "made_by_super" in run.notes, written


def _notes(method: Method, runs: list[Run], made: list[Run]) -> Iterator[str]:
    for run in runs:
        yield from run.notes
        if next(_queried(run), None):
            yield "queried"
        if "rollback" in run.events:
            yield "rollback"
    if any(not run.tried and "refused" in run.decisions for run in made):
        yield "inserts first"
    for node in ast.walk(method.node):
        if isinstance(node, ast.Attribute) and node.attr in ("first", "scalar"):
            yield "first"
