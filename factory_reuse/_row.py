"""One call of a chunk, between what is done for all of them together."""

from __future__ import annotations

from typing import Any, Mapping

from typing_extensions import final

from ._ahead import Mark
from ._direct import DirectCall
from ._lookup import Foreseen
from ._options import ReuseOptions
from ._values import Missing


@final
class Row:
    """One call of a chunk.

    Attributes:
        open: whether it is still to be done in advance what can be.
        foreseen: what is known of its question.
        repeated: whether an earlier call may answer it.
        marks: those of the keys that it is going to have.
        failure: what it raised in advance, which it raises at its turn.
        generation: that of the knowledge that nobody has them; ``None`` where nothing is known.
    """

    __slots__ = (
        "call",
        "failure",
        "foreseen",
        "generation",
        "index",
        "marks",
        "open",
        "repeated",
    )

    def __init__(self, meta: ReuseOptions, given: Mapping[str, Any], index: int) -> None:
        self.call = DirectCall(meta, given)
        self.index = index
        self.open = True
        self.repeated = False
        self.foreseen: Foreseen | None = None
        self.marks: tuple[Mark, ...] = ()
        self.generation: int | None = None
        self.failure: Exception | None = None

    def recall(self) -> None:
        """Leave it to its turn, if it is a repeated call."""
        self.repeated = self.call.meta.recalls(self.call.given)
        self.open = not self.repeated

    def follow(self) -> None:
        """Leave it to its turn, evaluated anew: what is evaluated may depend on rows before."""
        self.call.begin_again()
        self.foreseen = None
        self.generation = None
        self.open = False

    def ask_again(self) -> None:
        """Forget the answers: somebody has inserted what was not there."""
        self.foreseen = None
        self.call.ask_again()

    def finish(self) -> Any:
        """Return the object, at the row's turn."""
        call = self.call
        if self.failure is not None:
            raise self.failure
        found = call.meta.answer(call.given, call.mark) if self.repeated else None
        if found is not None:
            return found
        if self.foreseen is not None and call.question is not None:
            known = call.decision.lookup.answered(call.question[0], self.foreseen.token)
            if not isinstance(known, Missing):
                call.answer(known)
        return call.object()
