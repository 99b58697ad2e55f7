"""A case: how it is played, and what is seen meanwhile."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Callable

from .measure import interleave, loop_cost, no_garbage, orphans, rows, seconds_of, statements

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from sqlalchemy.orm import Session

    from .measure import Player, Scale

#: How many calls are watched, to see what one does.
_WATCHED = 5

#: The fewest and the most calls of a round, and the most if each needs a new transaction.
_LEAST, _MOST, _MOST_EACH = 1, 500, 10


@dataclass
class Result:
    """What a competitor's call costs and does; for a batch, the time is per row.

    Attributes:
        survivors: how many of the caller's own rows are left after a conflict.
        error: what the call ended in.
    """

    title: str
    microseconds: float = 0.0
    statements: float | None = None
    rows: float | None = None
    orphans: float | None = None
    survivors: int | None = None
    error: str = ""

    def times(self, factor: float) -> Result:
        """Return the result of so many times as many rows."""
        self.statements = None if self.statements is None else self.statements * factor
        self.rows = None if self.rows is None else self.rows * factor
        return self


@dataclass
class Table:
    """The results of a case, ours first, and for those who are not in it the reason."""

    slug: str
    title: str
    results: list[Result]
    left_out: dict[str, str] = field(default_factory=dict)
    note: str = ""


@dataclass(frozen=True)
class Case:
    """A state, and a call in it.

    Attributes:
        operation: what is called, see :class:`~benchmarks.operations.Operations`.
        start: brings a player into the state.
        arguments: returns the arguments of so many calls, or of a batch of so many rows.
        each: whether each call needs the state anew; else the calls of a round share it.
        parents: whether rows may be left that nothing refers to.
        batch: whether the argument is a list of rows.
    """

    slug: str
    title: str
    operation: str
    start: Callable[[Player], object]
    arguments: Callable[[int], list[Any]]
    each: bool = False
    parents: bool = False
    batch: bool = False

    def play(self, player: Player, count: int) -> float:
        """Return the seconds that a call takes, measured over ``count`` of them."""
        call = getattr(player.operations, self.operation)
        arguments = self.arguments(count)
        seconds = 0.0
        with no_garbage():
            for together in [[one] for one in arguments] if self.each else [arguments]:
                self.start(player)
                seconds += seconds_of(call, together)
        player.rest()
        return seconds / self._size(arguments)

    def observe(self, player: Player, count: int) -> tuple[float, Result]:
        """Return the same for calls in one and the same state, and what a call does."""
        call = getattr(player.operations, self.operation)
        arguments = self.arguments(count)
        self.start(player)
        session = player.session
        before = self._count(session)
        with statements(player.engine) as sent, no_garbage():
            seconds = seconds_of(call, arguments)
        calls = len(arguments)
        made, left = ((now - then) / calls for now, then in zip(self._count(session), before))
        result = Result(player.title, statements=len(sent) / calls, rows=made)
        if self.parents:
            result.orphans = left
        player.rest()
        return seconds / self._size(arguments), result

    def _count(self, session: Session) -> tuple[int, int]:
        return rows(session), orphans(session) if self.parents else 0

    def _size(self, arguments: list[Any]) -> int:
        return len(arguments[0]) if self.batch else len(arguments)


def run(case: Case, players: Iterable[Player], scale: Scale) -> Table:
    """Let the players play a case, and return its table."""
    able: list[Player] = []
    left_out: dict[str, str] = {}
    for player in players:
        if getattr(player.operations, case.operation) is not None:
            able.append(player)
        elif case.operation in player.operations.why:
            left_out[player.title] = player.operations.why[case.operation]
    if case.batch:
        title = case.title.format(scale.batch)
        return Table(case.slug, title, _batches(case, able, scale), left_out, _note(scale))
    return Table(case.slug, case.title, calls(dict.fromkeys(able, case), scale), left_out)


def calls(plays: Mapping[Player, Case], scale: Scale) -> list[Result]:
    """Let each player play its case, in turn, and return what a call costs and does."""
    results: dict[str, Result] = {}
    turns = {}
    for player, case in plays.items():
        case.observe(player, 1)  # the first call ever imports, and compiles statements
        seconds, results[player.title] = case.observe(player, 1 if case.each else _WATCHED)
        most = _MOST_EACH if case.each else _MOST
        count = min(max(int(scale.seconds / seconds), _LEAST), most)
        turns[player.title] = partial(case.play, player, count)
    empty = loop_cost()
    for title, seconds in interleave(turns, scale.rounds).items():
        results[title].microseconds = (seconds - empty) * 1e6
    return list(results.values())


def _batches(case: Case, players: list[Player], scale: Scale) -> list[Result]:
    results: dict[str, Result] = {}

    def turn(player: Player) -> float:
        # Who goes row by row shows by a part what the whole costs.
        size = scale.batch if player.operations.whole else scale.sample
        seconds, result = case.observe(player, size)  # long enough that being watched costs nothing
        results[player.title] = result.times(scale.batch / size)
        return seconds

    for player in players:
        case.observe(player, _WATCHED)
    turns = {player.title: partial(turn, player) for player in players}
    seconds = interleave(turns, scale.batch_rounds)
    for title in seconds:
        results[title].microseconds = seconds[title] * 1e6
    return [results[title] for title in seconds]


def _note(scale: Scale) -> str:
    return (
        "The time is that of a row, all else is that of the batch. Who goes row by row did "
        f"{scale.sample:,} rows, and the counts are those of as many as there are."
    )
