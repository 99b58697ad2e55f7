"""FR3xx: where reuse is missing, and what that costs."""

from __future__ import annotations

from math import inf
from typing import Any, Final, Iterator, Mapping

from factory.declarations import RelatedFactoryList

from factory_reuse._call import is_declaration, is_subfactory
from factory_reuse._keys import Key
from factory_reuse._parts import Part, PredicatePart

from .. import variety
from ..findings import Finding
from ..subjects import Link, Subject
from ..suite import Suite
from .legacy import Lookups

#: The kinds of values that come again, so that a second call is refused. What comes again by chance
#: has a code of its own, and another remedy.
_REPEATING: Final = (variety.SAME, variety.CYCLES)

#: Factories may lead to themselves.
_DEEPEST: Final = 20


def check(subject: Subject, suite: Suite, lookups: Lookups) -> Iterator[Finding]:
    """Yield a missing reuse, and a SubFactory that leads nowhere."""
    for link in subject.links:
        if suite.target(link) is None:
            yield _leads_nowhere(subject, link)
    if subject.reuses or subject.turned_off or subject.get_or_create or lookups.of(subject):
        return
    leading, reaching = len(suite.leading_to(subject)), len(suite.reaching(subject))
    given = [key for key in subject.unique if _tells_rows_apart(subject, key)]
    repeating = [key for key in given if subject.variety(key).kind in _REPEATING]
    if repeating or (given and leading):
        yield _without_reuse(subject, (repeating or given)[0], leading, reaching)


def _tells_rows_apart(subject: Subject, key: Key) -> bool:
    """Whether a call could reuse by the key: the factory gives it, and not as a mere number."""
    if not subject.gives(key) or any(isinstance(part, PredicatePart) for part in key.parts):
        return False  # whether a row is inside a predicate, only the database can tell
    kind = subject.variety(key).kind
    return kind in _REPEATING if key.primary else kind != variety.ABSENT


def check_rows(subject: Subject, suite: Suite, most: int) -> Iterator[Finding]:
    """Yield a cascade that makes more than ``most`` rows per call."""
    rows = _rows(subject, suite, {}, 0)
    if rows <= most:
        return
    if rows == inf:
        yield subject.finding(
            "FR302",
            "rows",
            f"A call of {subject.short} leads back to it without an end, so it ends in a "
            "RecursionError.",
            "Declare one of the SubFactories as None, and pass it where it is needed.",
            severity="warning",
        )
        return
    branches = {
        link.name: _branch(link, suite, {}, 0) for link in subject.links if suite.target(link)
    }
    widest = max(branches, key=lambda name: branches[name]) if branches else ""
    yield subject.finding(
        "FR302",
        "rows",
        f"One call makes up to {rows} rows, {branches.get(widest, 0)} of them by its {widest!r}.",
        "Let the factories of rows that all may share reuse, pass one object to all that need one "
        "(recycle), or leave a SubFactory out where the tests do not need its row.",
        at=widest,
        weight=int(rows),
    )


def _leads_nowhere(subject: Subject, link: Link) -> Finding:
    try:
        link.declaration.get_factory()
        reason = ""
    except Exception as error:
        reason = f"{type(error).__name__}: {error}"
    return subject.finding(
        "FR002",
        link.name,
        f"The factory of {link.name} cannot be imported ({reason}), so each call fails.",
        "Correct the dotted name.",
        at=link.name,
    )


def _without_reuse(subject: Subject, key: Key, leading: int, reaching: int) -> Finding:
    repeats = subject.variety(key).kind in _REPEATING
    return subject.finding(
        "FR301",
        key.label,
        f"{subject.model} is unique by ({key.label}), and {subject.short} does not reuse: it "
        + ("gives values that come again, so that a call is refused" if repeats else _ADDS)
        + f". SubFactories that run it: {leading}; factories whose calls come to it: {reaching}.",
        "Write @reuse_existing above the class"
        + (
            "."
            if repeats
            else f", and pass {subject.fields(key)} where one row is meant, or recycle one."
        ),
        severity="warning" if repeats and leading else None,
        weight=leading * 1000 + reaching,
    )


_ADDS: Final = "adds a row in each call, and is refused where a call passes values that are there"


def _rows(subject: Subject, suite: Suite, given: Mapping[str, Any], depth: int) -> float:
    """Return how many rows a call inserts at most, after the first one."""
    own = 0 if subject.mapper is None or _is_shared(subject, given) else 1
    if subject.mapper is not None and not own:
        return 0
    return own + sum(_branch(link, suite, given, depth) for link in subject.links)


def _branch(link: Link, suite: Suite, given: Mapping[str, Any], depth: int) -> float:
    """Return how many of them a declaration makes, unless the call gives it another value."""
    target = suite.subject(suite.target(link))
    if target is None or (link.name in given and not is_subfactory(given[link.name])):
        return 0
    if depth > _DEEPEST:
        return inf
    prefix = f"{link.name}__"
    passed = {**link.defaults}
    passed.update({n[len(prefix) :]: v for n, v in given.items() if n.startswith(prefix)})
    if link.related and link.declaration.name:
        passed[link.declaration.name] = None
    size = getattr(link.declaration, "size", 1)
    times = (
        size if isinstance(link.declaration, RelatedFactoryList) and isinstance(size, int) else 1
    )
    return times * _rows(target, suite, passed, depth + 1)


def _is_shared(subject: Subject, given: Mapping[str, Any]) -> bool:
    """Whether another call has made the row already: it is reused, and its key comes again."""
    if not subject.reuses and not subject.get_or_create:
        return False
    return any(
        all(_comes_again(subject, part, given) for part in key.parts) for key in subject.keys
    )


def _comes_again(subject: Subject, part: Part, given: Mapping[str, Any]) -> bool:
    passed = [given[name] for name in part.names() if name in given]
    if passed:
        return not any(map(is_declaration, passed))
    return subject.variety_of(part).kind in _REPEATING
