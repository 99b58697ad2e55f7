"""A repeated call: what answered it answers it again, before anything is built.

What a call leads to, when it passes plain values and reads nothing but constants beside them,
depends on those values and on the row alone. So the answer is kept under the values, in the
session's cache and with the checks that hold for every answer there. No rule of a decision is
repeated here: what is kept has been through the whole of it.
"""

from __future__ import annotations

import datetime
import uuid
from typing import Any, Final, Hashable, Mapping, Sequence

from sqlalchemy.orm import Session

from ._cache import Entry, session_cache, would_flush
from ._columns import MappedColumn
from ._values import is_safe


def token_of(factory: object, given: Mapping[str, Any]) -> Hashable | None:
    """Return what a call's answer is kept under, or ``None`` when nothing safely is.

    Args:
        factory: stands for the factory with its present options; it is compared by identity.
        given: what the caller passed.

    >>> token_of("CategoryFactory", {"name": "Books"})
    ('CategoryFactory', ('name', 'Books'), <class 'str'>)
    """
    types = tuple(map(type, given.values()))
    if not _PLAIN.issuperset(types):
        return None
    # With the types, since 1 == True == 1.0, and columns tell them apart.
    return (factory, *given.items(), *types)


def recall(session: Session, token: Hashable) -> Entry | None:
    """Return what is kept under the token, if the same call would be answered by it now."""
    entry = session_cache(session).get_answer(session, token)
    # What a query would flush may take the answer away.
    return None if entry is None or would_flush(session) else entry


def keep(
    session: Session,
    token: Hashable,
    given: Mapping[str, Any],
    obj: Any,
    key: object,
    columns: Sequence[MappedColumn],
) -> None:
    """Keep a call's answer, which holds as long as the object's ``columns`` do not change."""
    if all(map(is_safe, given.values())):
        session_cache(session).put_answer(session, token, Entry(obj, tuple(columns), key))


#: Exact types whose equality and hash can neither raise nor lie.
_PLAIN: Final = frozenset(
    (str, int, bool, float, bytes, type(None), uuid.UUID, datetime.date, datetime.datetime)
)
