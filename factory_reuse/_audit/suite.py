"""All factories that are audited together, and how they lead to each other."""

from __future__ import annotations

from collections import defaultdict
from functools import cached_property
from typing import Any, Iterable, Iterator

from typing_extensions import final

from .subjects import Link, Subject


@final
class Suite:
    """All factories that are audited, and how they lead to each other."""

    def __init__(self, subjects: Iterable[Subject]) -> None:
        self.subjects = tuple(subjects)
        self._by_factory = {subject.factory: subject for subject in self.subjects}

    def subject(self, factory: Any) -> Subject | None:
        """Return what is known of a factory; ``None`` if it is not among those audited."""
        return self._by_factory.get(factory)

    def target(self, link: Link) -> Any:
        """Return the factory that a declaration runs; ``None`` if it leads nowhere."""
        try:
            return link.declaration.get_factory()
        except Exception:
            return None

    def leading_to(self, subject: Subject) -> list[Link]:
        """Return the declarations that run a factory, each once where it is inherited."""
        return self._leading[subject.factory]

    def reaching(self, subject: Subject) -> set[Any]:
        """Return the factories a call of which comes to this one, over whichever others."""
        found: set[Any] = set()
        waiting = [subject.factory]
        while waiting:
            for link in self._leading[waiting.pop()]:
                if link.parent.factory not in found:
                    found.add(link.parent.factory)
                    waiting.append(link.parent.factory)
        return found

    @cached_property
    def _leading(self) -> defaultdict[Any, list[Link]]:
        leading: defaultdict[Any, list[Link]] = defaultdict(list)
        seen = set()
        for subject in self.subjects:
            for link in subject.links:
                target = self.target(link)
                if (id(link.declaration), target) not in seen:
                    seen.add((id(link.declaration), target))
                    leading[target].append(link)
        return leading


def concrete(factories: Iterable[Any]) -> Iterator[Any]:
    """Yield the factories that can be called."""
    for factory in factories:
        if not factory._meta.abstract:
            yield factory
