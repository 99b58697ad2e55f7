"""What a class, its bases and its subclasses have to be like for a lookup to be replaced."""

from __future__ import annotations

import ast
from typing import Final, Iterable

from .classes import ADJUSTING, SAVING, Factory
from .forms import looks_up, passes_on
from .machine import Method
from .paths import GetOrCreate
from .sources import dotted
from .values import OWN, Stop

GET_OR_CREATE: Final = "sqlalchemy_get_or_create"
PERSISTENCE: Final = "sqlalchemy_session_persistence"
SESSION: Final = "sqlalchemy_session"


def check_class(factory: Factory) -> None:
    """See to it that the class can be decorated, and that its subclasses may inherit that."""
    node, name = factory.node, factory.node.name
    if factory.is_mixin:
        raise Stop(node, f"`{factory.name}` is a mixin: decorate the factories that use it.")
    if factory.is_plain:
        raise Stop(node, "It is a plain `factory.Factory`, whose own `_create` is what saves.")
    names_of_bases = (dotted(base) for each in factory.source.classes for base in each.bases)
    if factory.source.named(name) is None and name in names_of_bases:
        raise Stop(node, f"`{name}` is bound more than once in this file, and is a base.")
    for each in (factory, *factory.descendants):
        _check_methods(factory, each)


def _check_methods(factory: Factory, each: Factory) -> None:
    heir = each.node is not factory.node
    for of, node in each.methods(*SAVING, *ADJUSTING):
        name = getattr(node, "name", "")
        if passes_on(node):
            continue
        if name in ADJUSTING:
            raise Stop(
                factory.node,
                f"`{name}` may change the key after a row was looked up by it "
                f"(`{of.name}`, line {node.lineno}).",
            )
        if heir and of.node is each.node:
            raise Stop(
                factory.node,
                f"Its subclass `{each.name}` overrides `{name}`, and would inherit reuse "
                f"(line {node.lineno}).",
            )


def check_given(factory: Factory, fields: Iterable[str]) -> None:
    """See to it that no field of the key is ``None`` unless it is passed.

    By that a row would have been found whose column is NULL; now one is created.
    """
    heirs = [each for each in factory.descendants if each.own_option(GET_OR_CREATE) is None]
    for field in fields:
        for each in (factory, *heirs):
            value = each.declaration(field)
            if isinstance(value, ast.Constant) and value.value is None:
                raise Stop(
                    factory.node,
                    f"`{field}`, of its key, is None in `{each.name}` unless it is passed, and a "
                    "None in the key creates a row.",
                )


def check_bases(factory: Factory, method: ast.stmt, form: GetOrCreate) -> None:
    """See to it that what comes after a ``_create`` is what came after it."""
    for of, node in factory.methods(*SAVING):
        name = getattr(node, "name", "")
        if node is method or passes_on(node):
            continue
        if not form.by_super:
            raise Stop(method, f"`_create` goes past the `{name}` of `{of.name}`.")
        if looks_up(node):
            raise Stop(method, f"The `{name}` of its base `{of.name}` looks up, too.")
    if any(base.option(GET_OR_CREATE) for base in factory.lineage[1:]):
        raise Stop(method, f"A base has `{GET_OR_CREATE}`, which `super()._create` looks up by.")
    if not form.by_super and not factory.is_known:
        names = ", ".join(f"`{root}`" for root in factory.roots)
        raise Stop(method, f"`_create` adds the object itself, and its base {names} was not found.")


def check_heirs(factory: Factory, method: ast.stmt, form: GetOrCreate) -> None:
    """See to it that what subclasses say for themselves makes no difference that it did not."""
    counting = [GET_OR_CREATE]
    counting += [] if form.by_super else [PERSISTENCE]
    counting += [] if set(form.sessions) <= {OWN} else [SESSION, SESSION + "_factory"]
    if _names_model(factory, method):
        counting.append("model")
    for each in factory.descendants:
        for name in counting:
            if each.own_option(name) is not None:
                raise Stop(method, f"Its subclass `{each.name}` has a `{name}` of its own.")


def _names_model(factory: Factory, method: ast.stmt) -> bool:
    names = Method(factory, method).models if isinstance(method, ast.FunctionDef) else ()
    text = factory.source.segment(method)
    return not factory.is_abstract and any(name in text for name in names)


def persistence(factory: Factory, form: GetOrCreate, method: ast.stmt) -> str | None:
    """Return what ``class Meta`` has to say, if it does not say so already."""
    if form.by_super and form.written is None:
        return None  # what it says is what happened
    option = factory.option(PERSISTENCE)
    if option is not None and _persistence_said(option.value) is ...:
        raise Stop(method, f"`{PERSISTENCE}` is computed, and `_create` does not go by it.")
    wanted = "None" if form.written is None else f'"{form.written}"'
    if option is None:
        if form.by_super and form.written == "flush" and not factory.is_known:
            raise Stop(method, "`_create` flushes, and a base that was not found may commit.")
        return None if form.written is None and factory.is_known else wanted
    said = _persistence_said(option.value)
    if form.by_super and form.written == "flush" and said == "commit":
        return None  # which is more
    return None if said == form.written else wanted


def _persistence_said(node: ast.expr) -> object:
    """Return the value of the option; factory_boy has constants for it."""
    name = (dotted(node) or "").rpartition(".")[2]
    if name.startswith("SESSION_PERSISTENCE_"):
        return name.rpartition("_")[2].lower()
    return node.value if isinstance(node, ast.Constant) else ...
