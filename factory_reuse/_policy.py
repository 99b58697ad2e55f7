"""The options of one factory: what may be said, and what it means when nothing is."""

from __future__ import annotations

from typing import Any, Final, NamedTuple, Sequence, Tuple

from sqlalchemy.sql.elements import ClauseElement
from typing_extensions import final

from ._session import is_maker
from .errors import ReuseError

Names = Tuple[str, ...]

ON_MISMATCH: Final = ("keep", "warn", "raise", "update")
MATCH: Final = ("any", "explicit")
POST_GENERATION: Final = ("explicit", "always", "never")


@final
class Policy(NamedTuple):
    """The options of ``reuse_existing``, checked; see there for their meaning.

    ``on`` is normalised to a tuple of keys, each a tuple of names; ``None`` still means: infer.
    """

    on: tuple[Names, ...] | None = None
    where: Any = None
    session: Any = None
    on_mismatch: str = "warn"
    match: str = "any"
    post_generation: str = "explicit"
    refresh: bool = False
    cache: bool = True
    savepoint: bool | None = None

    @property
    def on_names(self) -> frozenset[str]:
        """The fields that ``on`` names."""
        return frozenset(name for names in self.on or () for name in names)


OPTIONS: Final = Policy._fields
DEFAULTS: Final[dict[str, Any]] = Policy._field_defaults


def checked(factory: str, options: dict[str, Any]) -> Policy:
    """Return the options as a policy.

    Raises:
        ReuseError: an option has a value that it cannot have; the message names the factory, the
            option, the value and the values it can have.

    >>> checked("CategoryFactory", {"on": "name"}).on
    (('name',),)
    """
    options = dict(options, on=_keys(factory, options.get("on")))
    for name, choices in _CHOICES.items():
        value = options.get(name, DEFAULTS[name])
        if not any(type(value) is type(choice) and value == choice for choice in choices):
            raise _bad(factory, name, value, f"one of {', '.join(map(repr, choices))}")
    where = options.get("where")
    if where is not None and not callable(where) and not _is_sql(where):
        raise _bad(
            factory, "where", where, "an SQL expression, or a callable from the model to one"
        )
    session = options.get("session")
    if is_maker(session):
        wanted = "one session, or scoped_session(...) of it: it makes a new session each time"
        raise _bad(factory, "session", session, wanted)
    if session is not None and not callable(session) and not hasattr(session, "get_bind"):
        raise _bad(factory, "session", session, "a Session, a scoped_session or a callable")
    return Policy(**options)


_CHOICES: Final[dict[str, Sequence[Any]]] = {
    "on_mismatch": ON_MISMATCH,
    "match": MATCH,
    "post_generation": POST_GENERATION,
    "refresh": (True, False),
    "cache": (True, False),
    "savepoint": (None, True, False),
}


def _keys(factory: str, on: Any) -> tuple[Names, ...] | None:
    if on is None:
        return None
    if isinstance(on, str):
        on = (on,)
    if hasattr(on, "key") and isinstance(on.key, str):
        raise _bad(factory, "on", _Shown(str(on)), f"the attribute's name: on={on.key!r}")
    if not isinstance(on, (tuple, list)):
        raise _bad(factory, "on", on, _ON)
    if len(on) == 0 and isinstance(on, tuple):
        return ()
    if len(on) == 0:
        raise _bad(factory, "on", on, "a key; on=() is for a factory that never looks up")
    keys = (tuple(on),) if all(isinstance(part, str) for part in on) else tuple(on)
    for key in keys:
        if not isinstance(key, (tuple, list)) or not key:
            raise _bad(factory, "on", on, _ON)
        for name in key:
            if isinstance(name, str) and "__" in name.strip("_"):
                root = name.partition("__")[0]
                raise _bad(factory, "on", on, f"no path, but the relationship: on={root!r}")
            if not isinstance(name, str) or not name.isidentifier():
                raise _bad(factory, "on", on, _ON)
        if len(set(key)) < len(key):
            raise _bad(factory, "on", on, "a key that names each field once")
    return tuple(tuple(key) for key in keys)


_ON: Final = (
    "'name', ('name',), a composite key ('a', 'b'), alternatives [('a',), ('b', 'c')], () or None, "
    "with the names of attributes of the model"
)


class _Shown(str):
    """A value as a message shows it."""

    __repr__ = str.__str__


def _is_sql(value: Any) -> bool:
    return isinstance(value, ClauseElement) or hasattr(value, "__clause_element__")


def _bad(factory: str, option: str, value: Any, wanted: str) -> ReuseError:
    return ReuseError(
        f"{factory}: {option}={value!r} is not possible; it takes {wanted}.",
        factory=factory,
        values={option: value},
    )
