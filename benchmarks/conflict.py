"""A conflict: the row appears between a competitor's SELECT and its INSERT, which is refused."""

from __future__ import annotations

import contextlib
from time import perf_counter
from typing import TYPE_CHECKING, Any

from sqlalchemy import event, func, insert, select

from .measure import no_garbage, seconds_of, statements
from .models import Category, Country
from .play import Case, Result

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Connection, Engine

    from .measure import Player


class Conflict(Case):
    """A case in which another connection is faster.

    The caller has rows in the transaction already, named ``Own …``; a call may end in an error.
    """

    def play(self, player: Player, count: int) -> float:
        """Return the seconds that a call takes, without those of the other connection."""
        with _rival(player.engine) as rival, no_garbage():
            seconds = sum(self._collide(player, rival, name)[0] for name in self.arguments(count))
        player.rest()
        return seconds / count

    def observe(self, player: Player, count: int) -> tuple[float, Result]:
        """Return the same for one call, and what is left of the caller's rows after it."""
        (name,) = self.arguments(1)
        with _rival(player.engine) as rival, statements(player.engine) as sent:
            seconds, error = self._collide(player, rival, name, ready=sent.clear)
            result = Result(player.title, statements=len(sent), error=error)
        result.survivors = _own_rows(player)
        player.rest()
        return seconds, result

    def _collide(
        self, player: Player, rival: _Rival, name: str, ready: Any = lambda: None
    ) -> tuple[float, str]:
        """Return the seconds that the competitor itself takes, and the error it ends in."""
        call = getattr(player.operations, self.operation)
        errors = []

        def attempt(name: str) -> None:
            try:
                call(name)
            except Exception as error:
                errors.append(type(error).__name__)

        player.rest()
        rival.aim(name)
        self.start(player)
        ready()
        seconds = seconds_of(attempt, [name])
        return seconds - rival.seconds, "".join(errors)


class _Rival:
    """Commits the row just before the competitor inserts it.

    SQLite lets nobody write while the caller does. There the row is committed before, and until
    the competitor inserts, its SELECTs are made to ask for another one.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._blinds = connection.dialect.name == "sqlite"
        self._name = ""
        self._done = True
        #: How long the commit took, at the competitor's expense.
        self.seconds = 0.0

    def aim(self, name: str) -> None:
        """Be faster with the row of this name."""
        self._name = name
        self._done = False
        if self._blinds:
            self._commit()
        self.seconds = 0.0

    def interfere(
        self, connection: Any, cursor: Any, text: str, parameters: Any, context: Any, many: bool
    ) -> tuple[str, Any]:
        """Come between, when the statement is the competitor's."""
        if self._done or connection is self._connection:
            return text, parameters
        if text.startswith("INSERT INTO category"):
            self._done = True
            if not self._blinds:
                self._commit()
        elif self._blinds and "FROM category" in text:
            parameters = tuple("nobody" if each == self._name else each for each in parameters)
        return text, parameters

    def _commit(self) -> None:
        begin = perf_counter()
        values = {"name": self._name, "description": "theirs", "color": "blue"}
        self._connection.execute(insert(Category).values(values))
        self._connection.commit()
        self.seconds = perf_counter() - begin


@contextlib.contextmanager
def _rival(engine: Engine) -> Iterator[_Rival]:
    with engine.connect().execution_options(uncounted=True) as connection:
        rival = _Rival(connection)
        listener = rival.interfere
        event.listen(engine, "before_cursor_execute", listener, retval=True)
        try:
            yield rival
        finally:
            event.remove(engine, "before_cursor_execute", listener)


def _own_rows(player: Player) -> int:
    session = player.session
    if not session.is_active:  # the caller has no choice then
        session.rollback()
    own = select(func.count()).select_from(Country).where(Country.name.startswith("Own "))
    return session.scalars(own).one()
