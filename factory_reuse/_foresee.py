"""The parents of many calls, looked up together before the SubFactories run one by one."""

from __future__ import annotations

import contextlib
from typing import Any, Final, Iterable, Mapping, Sequence

from factory.builder import DeclarationSet
from factory.declarations import SelfAttribute, SubFactory

from . import _scope
from ._call import PlainCall, Unknown, is_declaration, is_subfactory
from ._keys import Key
from ._lookup import Lookup
from ._options import ReuseOptions
from ._recall import token_of
from ._resolve import Decision, Questions
from ._values import MISSING
from .errors import ReuseError

#: What a call passes, or ``None`` where that is not known without evaluating something.
Given = Mapping[str, Any]


def foresee(meta: ReuseOptions, calls: Sequence[Given]) -> None:
    """Look up together what calls of a factory will ask for one by one, as far as that is plain."""
    decisions = [_decision(meta, given) for given in calls]
    asking = [decision.questions() for decision in decisions if decision is not None]
    lookup = next((decision.lookup for decision in decisions if decision is not None), None)
    while asking and lookup is not None:
        by_key: dict[Key, list[tuple[Questions, Any]]] = {}
        for questions in asking:
            with contextlib.suppress(StopIteration, Unknown, ReuseError):
                key, values = next(questions)
                by_key.setdefault(key, []).append((questions, values))
        asking = []
        for key, asked in by_key.items():
            foreseen = lookup.foresee(key, [values for _, values in asked])
            pairs = zip(asked, foreseen)
            asking += [
                questions for (questions, _), known in pairs if known and known.there is False
            ]


def foresee_parents(meta: ReuseOptions, calls: Sequence[Given], names: Iterable[str]) -> bool:
    """Look up what the SubFactories of these names will find, for many calls of a factory.

    Nothing is evaluated: a parent that is not known from plain values is left to its SubFactory.

    Returns:
        Whether no SubFactory runs that is not known to find its row.
    """
    if _scope.recyclable():
        return False  # what they take tells itself
    declared = meta.pre_declarations.declarations
    names = [name for name in names if is_subfactory(declared.get(name))]
    found = [parent for name in names for parent in _parents(meta, calls, name)]
    return not any(parent is None for parent in found)


def _parents(meta: ReuseOptions, calls: Sequence[Given], name: str) -> list[Any]:
    """Return the row that is there for each call's SubFactory of the name.

    It is ``None`` where there is none, or none is known; ``MISSING``, if the SubFactory won't run.
    """
    declared = meta.pre_declarations.declarations[name]
    runs = [name not in given for given in calls]
    if type(declared) is not SubFactory:  # a Maybe, or one of the project's own kind
        return [None if run else MISSING for run in runs]
    above = declared.get_factory()._meta
    passed_on = [_passed_on(meta, given, name) if run else None for given, run in zip(calls, runs)]
    tokens = [None if given is None else token_of(above, given) for given in passed_on]
    different = {token: given for token, given in zip(tokens, passed_on) if token is not None}
    rows = dict(zip(different, _rows(above, list(different.values()))))
    return [rows.get(token) if run else MISSING for token, run in zip(tokens, runs)]


def _rows(meta: Any, calls: Sequence[Any]) -> list[Any]:
    """Return the rows that calls of a factory would reuse, ``None`` for those not there."""
    names = meta.key_names() if isinstance(meta, ReuseOptions) else frozenset()
    for name in names:
        if is_subfactory(meta.pre_declarations.declarations.get(name)):
            calls = [
                given
                if parent is None or parent is MISSING
                else {**_without(given, name), name: parent}
                for given, parent in zip(calls, _parents(meta, calls, name))
            ]
    questions = [_question(meta, given) if names else None for given in calls]
    asked: dict[Key, tuple[Lookup, list[Any]]] = {}
    for lookup, key, values in filter(None, questions):
        asked.setdefault(key, (lookup, []))[1].append(values)
    for key, (lookup, many) in asked.items():
        lookup.foresee(key, many)
    return [question and question[0].peek(*question[1:]) for question in questions]


def _question(meta: ReuseOptions, given: Given) -> tuple[Lookup, Key, Any] | None:
    """Return what the call will ask for first."""
    decision = _decision(meta, given)
    with contextlib.suppress(StopIteration, Unknown, ReuseError):
        return None if decision is None else (decision.lookup, *next(decision.questions()))
    return None


def _decision(meta: ReuseOptions, given: Given) -> Decision | None:
    """Return the decision for a call, as far as nothing is to be evaluated for it."""
    with contextlib.suppress(Unknown, ReuseError):  # the call itself will say what is wrong
        return meta.decision(PlainCall(meta, given, _refuse))
    return None


def _refuse() -> Any:
    raise Unknown


def _passed_on(meta: ReuseOptions, given: Given, name: str) -> Given | None:
    """Return what a SubFactory passes on; ``None`` if that is not plain."""
    declared = meta.pre_declarations.declarations[name]
    context = {**declared._defaults, **meta.pre_declarations.contexts[name]}
    for passed, value in given.items():
        root, rest = DeclarationSet.split(passed)
        if root == name:
            context[rest] = value
    values = {field: _plain_value(meta, given, value) for field, value in context.items()}
    return None if any(value is MISSING for value in values.values()) else values


def _plain_value(meta: ReuseOptions, given: Given, value: Any) -> Any:
    """Return the value itself, or the one that it takes over from the call; else ``MISSING``."""
    if isinstance(value, SelfAttribute) and value.depth == _ONE_UP:
        own = meta.pre_declarations.declarations.get(value.attribute_name, MISSING)
        value = given.get(value.attribute_name, own)
    return MISSING if is_declaration(value) else value


#: ``SelfAttribute("..name")``, in what a SubFactory passes on, is the name of its own factory.
_ONE_UP: Final = 2


def _without(given: Given, name: str) -> dict[str, Any]:
    return {
        field: value for field, value in given.items() if DeclarationSet.split(field)[0] != name
    }
