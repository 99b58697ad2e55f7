"""The whole audit, from names to findings."""

from __future__ import annotations

from dataclasses import dataclass
from types import ModuleType
from typing import Any, Callable, Iterable, Iterator

from sqlalchemy.engine import Engine
from sqlalchemy.exc import SQLAlchemyError
from typing_extensions import final

from .findings import CODES, SEVERITIES, Finding
from .modules import FailedImport, factories_in, import_all
from .places import Place, Places
from .rules import calls, declared, legacy, missing, values
from .rules.database import Database
from .settings import Settings
from .subjects import Subject
from .suite import Suite, concrete


@final
@dataclass(frozen=True)
class Audited:
    """One factory and its key, in words.

    Attributes:
        reuse: ``"yes"``, ``"no"``, or ``"get_or_create"`` for factory_boy's own lookup.
        key: the fields of each key, alternatives in order.
        inferred: whether the key was read from the model.
    """

    factory: str
    model: str
    path: str
    line: int
    reuse: str
    key: tuple[str, ...]
    inferred: bool


@final
@dataclass(frozen=True)
class Audit:
    """What an audit found.

    Attributes:
        findings: the worst first.
        ignored: how many findings the configuration or a comment has ignored.
        accepted: how many are in the baseline.
        outdated: what the baseline has and the audit did not find.
    """

    factories: tuple[Audited, ...]
    findings: tuple[Finding, ...]
    failed: tuple[FailedImport, ...]
    ignored: int = 0
    accepted: int = 0
    outdated: tuple[str, ...] = ()


def audit(
    names: Iterable[str],
    settings: Settings,
    *,
    engine: Engine | None = None,
    baseline: frozenset[str] = frozenset(),
) -> Audit:
    """Import modules and say what is wrong with their factories.

    Args:
        names: of modules, packages or paths.
        engine: of the database that the metadata is compared with, if any.
        baseline: the identities of findings that are accepted.
    """
    imported = import_all(names)
    homes = factories_in(imported.modules)
    places = Places(homes)
    found: list[tuple[Any, Finding]] = []
    subjects = []
    for factory in concrete(homes):
        try:
            dialect = None if engine is None else engine.dialect.name
            subjects.append(Subject(factory, homes[factory], places, dialect))
        except Exception as error:  # whatever a model or a factory does when it is looked at
            found.append(
                (factory, _not_audited(homes[factory], places.of(factory), "its model", error))
            )
    suite = Suite(subjects)
    lookups = legacy.Lookups(places)
    database = None if engine is None else Database(engine)
    for subject in suite.subjects:
        found += [
            (subject.factory, each)
            for each in _findings(subject, suite, places, lookups, settings, database)
        ]
    heard = [
        finding for factory, finding in found if not _is_ignored(finding, factory, places, settings)
    ]
    identities = {finding.identity for finding in heard}
    return Audit(
        factories=tuple(_audited(subject, places) for subject in suite.subjects),
        findings=tuple(sorted(_new(heard, baseline), key=_order)),
        failed=tuple(imported.failed),
        ignored=len(found) - len(heard),
        accepted=sum(finding.identity in baseline for finding in heard),
        outdated=tuple(sorted(_outdated(baseline - identities, imported.modules, settings))),
    )


def _findings(
    subject: Subject,
    suite: Suite,
    places: Places,
    lookups: legacy.Lookups,
    settings: Settings,
    database: Database | None,
) -> Iterator[Finding]:
    rules: dict[str, Callable[[], Iterable[Finding]]] = {
        "its key": lambda: declared.check(subject),
        "its values": lambda: values.check(subject, suite, lookups),
        "its reuse": lambda: missing.check(subject, suite, lookups),
        "its cascade": lambda: missing.check_rows(subject, suite, settings.max_rows),
        "its calls": lambda: calls.check(subject, lookups),
        "its lookup": lambda: legacy.check(subject, lookups),
    }
    if database is not None:
        rules["its tables"] = lambda: database.check(subject)
    told = set()
    for what, rule in rules.items():
        try:
            yield from list(rule())
        except Exception as error:  # one factory must not hide what is wrong with the others
            if str(error) not in told:  # as each rule finds it that comes upon it
                told.add(str(error))
                yield _not_audited(subject.name, places.of(subject.factory), what, error)


def _not_audited(factory: object, place: Place, what: str, error: Exception) -> Finding:
    cause = "SQLAlchemy" if isinstance(error, SQLAlchemyError) else type(error).__name__
    first = str(error).partition("\n")[0]
    return Finding(
        code="FR001",
        severity=CODES["FR001"].severity,
        factory=str(factory),
        model="",
        path=place.path,
        line=place.line,
        subject=what,
        reason=f"{what[0].upper()}{what[1:]} could not be looked at ({cause}: {first}).",
        remedy="If a call of the factory works all the same, please report this.",
    )


def _audited(subject: Subject, places: Places) -> Audited:
    place = places.of(subject.factory)
    try:
        labels = tuple(key.label for key in subject.keys)
    except Exception:  # a finding says so
        labels = ()
    return Audited(
        factory=subject.name,
        model=subject.model,
        path=place.path,
        line=place.line,
        reuse="yes" if subject.reuses else "get_or_create" if subject.get_or_create else "no",
        key=labels,
        inferred=subject.on is None,
    )


def _is_ignored(finding: Finding, factory: Any, places: Places, settings: Settings) -> bool:
    if settings.ignores(finding.code):
        return True
    codes = places.ignored(factory, Place(finding.path, finding.line))
    return codes is None or any(finding.code.startswith(code) for code in codes)


def _new(findings: Iterable[Finding], baseline: frozenset[str]) -> Iterator[Finding]:
    seen = set()
    for finding in findings:
        if finding.identity not in baseline and finding not in seen:
            seen.add(finding)
            yield finding


def _outdated(
    identities: Iterable[str], modules: Iterable[ModuleType], settings: Settings
) -> Iterator[str]:
    """Yield those of the identities that would have been found again."""
    names = tuple(f"{module.__name__}." for module in modules)
    for identity in identities:
        code, _, rest = identity.partition(" ")
        if rest.startswith(names) and not settings.ignores(code):
            yield identity


def _order(finding: Finding) -> tuple[Any, ...]:
    worst = -SEVERITIES.index(finding.severity)
    return worst, finding.code, -finding.weight, finding.path, finding.line
