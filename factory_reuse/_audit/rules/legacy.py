"""FR5xx: what ``factory-reuse upgrade`` can replace."""

from __future__ import annotations

from pathlib import Path
from typing import Iterator

from typing_extensions import final

from factory_reuse._upgrade.project import Project
from factory_reuse._upgrade.recognise import Lookup, NotUnderstood, Recognised, recognise

from ..findings import Finding
from ..places import Places
from ..subjects import Subject


def check(subject: Subject, lookups: Lookups) -> Iterator[Finding]:
    """Yield a lookup that was there before this library."""
    said = subject.get_or_create
    if said and not subject.reuses:
        stays = lookups.stays(subject)
        yield subject.finding(
            "FR501",
            ", ".join(said),
            f"sqlalchemy_get_or_create looks up by ({', '.join(said)}){_too_late(subject)}, and a "
            "refused INSERT rolls back the whole transaction.",
            "Run `factory-reuse upgrade` on the file, or write @reuse_existing above the class."
            if stays is None
            else f"Write @reuse_existing above the class. The upgrade leaves that to you: {stays}",
            at="Meta.sqlalchemy_get_or_create",
        )
    if lookups.of(subject) is not None:
        yield subject.finding(
            "FR502",
            "_create",
            f"_create looks the row up by hand{_too_late(subject)}, and passed values that differ "
            "from the row's are lost in silence.",
            "Run `factory-reuse upgrade` on the file."
            if not subject.reuses
            else "Remove it: @reuse_existing has looked up before.",
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
        found = self._recognised(subject)
        return found if isinstance(found, Lookup) and found.method else None

    def stays(self, subject: Subject) -> str | None:
        """Return why an upgrade would leave the factory as it is, if it would."""
        found = self._recognised(subject)
        return found.reason if isinstance(found, NotUnderstood) else None

    def _recognised(self, subject: Subject) -> Recognised:
        place = self._places.of(subject.factory)
        source = self._project.source(Path(place.path).resolve())
        for node in () if source is None else source.classes:
            if source is not None and node.lineno == place.line:
                return recognise(self._project, source, node, even_if_it_reuses=True)
        return None
