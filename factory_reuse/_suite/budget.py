"""How much a test, or the whole run, may have its factories do."""

from __future__ import annotations

from typing import Any, Mapping

from .calls import Calls
from .figures import spent

#: What may be limited.
LIMITED = ("calls", "created", "statements", "seconds")


def parsed(text: str) -> dict[str, float]:
    """Return the limits that an option names, as in ``created=500,statements=2000``.

    Raises:
        ValueError: it names none, or what cannot be limited.

    >>> parsed("created=500,statements=2000")
    {'created': 500.0, 'statements': 2000.0}
    """
    pairs = [pair.partition("=") for pair in text.split(",")]
    return checked({name.strip(): limit.strip() for name, _, limit in pairs})


def checked(limits: Mapping[str, Any]) -> dict[str, float]:
    """Return limits as numbers.

    Raises:
        ValueError: there are none, or one is of what cannot be limited, or no number.
    """
    if not limits:
        raise ValueError(f"a budget takes at least one of {', '.join(LIMITED)}: created=500")
    for name, limit in limits.items():
        if name not in LIMITED:
            raise ValueError(f"a budget takes {', '.join(LIMITED)}, not {name!r}")
        try:
            valid = float(limit) >= 0
        except (TypeError, ValueError):
            valid = False
        if not valid:
            raise ValueError(f"a budget's {name} is a number from 0 on, not {limit!r}")
    return {name: float(limit) for name, limit in limits.items()}


def exceeded(limits: Mapping[str, float], calls: list[Calls], wide: list[Calls]) -> str:
    """Return in words which limits the calls exceed; nothing, if none.

    Args:
        wide: calls among these that do not count.
    """
    over = []
    for name, limit in limits.items():
        figure = _figure(name, calls) - _figure(name, wide)
        if figure > limit:
            over.append(f"{name} {figure:,.6g} of {limit:,.6g}")
    return ", ".join(over)


def _figure(name: str, calls: list[Calls]) -> float:
    if name == "seconds":
        return spent(calls)
    if name == "statements":
        return sum(each["statements"] for each in calls)
    return _count(name, calls)


def _count(name: str, calls: list[Any]) -> int:
    return sum(each[name] + _count(name, each["inside"]) for each in calls)
