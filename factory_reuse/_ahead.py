"""What is known of many keys in advance: that no row has them, or who is going to insert one."""

from __future__ import annotations

from typing import Any, Hashable, Iterable, Sequence, Tuple

from sqlalchemy.orm.base import instance_state
from typing_extensions import final

from ._values import MISSING, folded

#: A key, and values as :func:`folded` has them: what rows share that may be the same row anywhere.
Mark = Tuple[Any, Hashable]


def mark_of(key: Any, values: tuple[Any, ...]) -> Mark:
    """Return the mark of a key's values."""
    return key, folded(values)


def marks_of(key: Any, objects: Iterable[Any]) -> set[Mark] | None:
    """Return the marks of objects with their present values; ``None`` if one cannot be told."""
    marks = set()
    for obj in objects:
        values = tuple(part.current(obj) for part in key.parts)
        if any(value is MISSING for value in values):
            return None
        try:
            marks.add(mark_of(key, values))
        except Exception:  # a value without a hash, or whose own hash raises
            return None
    return marks


@final
class Ahead:
    """Holds between a SELECT for many keys and the flush of the rows that it did not find.

    A flushed object takes its keys out.
    """

    def __init__(self) -> None:
        self._absent: dict[Hashable, Mark] = {}
        self._tokens: dict[Mark, list[Hashable]] = {}
        self._claims: dict[Mark, Any] = {}
        #: Another number after each time that all knowledge was lost.
        self.generation = 0

    def mark_of_absent(self, token: Hashable) -> Mark | None:
        """Return the mark of the key that the token stands for, if no row has it."""
        return self._absent.get(token)

    def note_absent(self, token: Hashable, mark: Mark) -> None:
        """Note that no row has the key."""
        self._absent[token] = mark
        self._tokens.setdefault(mark, []).append(token)

    def claim(self, mark: Mark, claimant: Any) -> None:
        """Note who is going to have the key: so it is not known to be absent."""
        self._forget_absent(mark)
        self._claims[mark] = claimant

    def claimant(self, mark: Mark) -> Any:
        """Return who is going to have the key, if there is no row with it yet."""
        return self._claims.get(mark)

    def release(self, mark: Mark, claimant: Any) -> None:
        """Take a claim back, if it is the claimant's still."""
        if self._claims.get(mark) is claimant:
            del self._claims[mark]

    def clear(self) -> None:
        """Forget what is absent. Who is going to insert what stays, if it is still missing."""
        self.generation += 1
        self.forget_absent()

    def forget_absent(self) -> None:
        """The same, where nothing speaks against it."""
        if self._absent:
            self._absent.clear()
            self._tokens.clear()

    def take_out(self, flushed: Sequence[Any]) -> None:
        """Forget the keys that objects have which were just made or changed."""
        for key in {mark[0] for marks in (self._tokens, self._claims) for mark in marks}:
            base = key.mapper.base_mapper
            of_class = [obj for obj in flushed if instance_state(obj).mapper.base_mapper is base]
            marks = marks_of(key, of_class)
            if marks is None:
                marks = {mark for mark in (*self._tokens, *self._claims) if mark[0] is key}
            for mark in marks:
                self._forget_absent(mark)
                self._claims.pop(mark, None)

    def _forget_absent(self, mark: Mark) -> None:
        for token in self._tokens.pop(mark, ()):
            self._absent.pop(token, None)
