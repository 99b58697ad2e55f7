"""FR5xx: what ``factory-reuse upgrade`` can replace."""

from __future__ import annotations

from pathlib import Path
from typing import Iterator

from typing_extensions import final

from factory_reuse._upgrade.recognise import Lookup, recognise
from factory_reuse._upgrade.sources import Project

from ..findings import Finding
from ..places import Places
from ..subjects import Subject


def check(subject: Subject, lookups: Lookups) -> Iterator[Finding]:
    """Yield a lookup that was there before this library."""
    if subject.reuses:
        return
    said = subject.get_or_create
    if said:
        yield subject.finding(
            "FR501",
            ", ".join(said),
            f"sqlalchemy_get_or_create looks up by ({', '.join(said)}){_too_late(subject)}, and a "
            "refused INSERT rolls back the whole transaction.",
            "Run `factory-reuse upgrade` on the file, or write @reuse_existing above the class.",
            at="Meta.sqlalchemy_get_or_create",
        )
    if lookups.of(subject) is not None:
        yield subject.finding(
            "FR502",
            "_create",
            f"_create looks the row up by hand{_too_late(subject)}, and passed values that differ "
            "from the row's are lost in silence.",
            "Run `factory-reuse upgrade` on the file.",
            at="_create",
        )


def _too_late(subject: Subject) -> str:
    if any(not link.related for link in subject.links):
        return " when all SubFactories have run, which leaves their rows behind"
    return " when all declarations are evaluated"


@final
class Lookups:
    """The hand-written lookups of factories. Files are read once."""

    def __init__(self, places: Places) -> None:
        self._places = places
        self._project = Project()

    def of(self, subject: Subject) -> Lookup | None:
        """Return the lookup in the factory's own ``_create``, if it is understood."""
        if "_create" not in vars(subject.factory):
            return None
        place = self._places.of(subject.factory)
        source = self._project.source(Path(place.path).resolve())
        for node in () if source is None else source.classes:
            if source is not None and node.lineno == place.line:
                found = recognise(self._project, source, node)
                return found if isinstance(found, Lookup) and found.method else None
        return None
