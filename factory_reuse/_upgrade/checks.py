"""What a class, its bases and its subclasses have to be like for a lookup to be replaced."""

from __future__ import annotations

import ast
from typing import Final, Iterable

from .calls import is_super
from .classes import ADJUSTING, SAVING, Factory, Option
from .expressions import is_fixed
from .forms import looks_up, passes_on
from .machine import Method
from .paths import GetOrCreate
from .project import Project
from .sources import dotted
from .values import OWN, Stop

GET_OR_CREATE: Final = "sqlalchemy_get_or_create"
PERSISTENCE: Final = "sqlalchemy_session_persistence"
SESSION: Final = "sqlalchemy_session"


def check_class(factory: Factory) -> None:
    """See to it that the class can be decorated, and that its subclasses may inherit that."""
    node, name = factory.node, factory.node.name
    _check_statements(factory, factory)
    if factory.is_mixin:
        raise Stop(node, f"`{factory.name}` is a mixin: decorate the factories that use it.")
    if factory.is_plain:
        raise Stop(node, "It is a plain `factory.Factory`, whose own `_create` is what saves.")
    if node in factory.project.refused:
        raise Stop(node, factory.project.refused[node])
    names_of_bases = (dotted(base) for each in factory.source.classes for base in each.bases)
    if len(factory.source.bound(name, node)) != 1 and name in names_of_bases:
        raise Stop(node, f"`{name}` is bound more than once in this file, and is a base.")
    for each in factory.family:
        _check_statements(factory, each)
        _check_methods(factory, each)
        _check_turned_off(factory, each)
    _check_mentions(factory)


def _check_statements(factory: Factory, each: Factory) -> None:
    for of in each.lineage:
        if None in of.bases:
            raise Stop(factory.node, f"A base of `{of.name}` is bound more than once.")
        metas = of.bindings("Meta")
        if len(metas) > 1 or (metas and metas[0] is not of.meta):
            raise Stop(factory.node, f"The `class Meta` of `{of.name}` is not a plain one.")


def _check_methods(factory: Factory, each: Factory) -> None:
    own = {of.node for of in factory.lineage}
    for of, name, node in each.methods(*SAVING, *ADJUSTING):
        if passes_on(node):
            continue
        line = getattr(node, "lineno", 0)
        if name in ADJUSTING:
            raise Stop(
                factory.node,
                f"`{name}` may change the key after a row was looked up by it "
                f"(`{of.name}`, line {line}).",
            )
        if of.node not in own:
            through = "" if of.node is each.node else f", by `{of.name}`"
            raise Stop(
                factory.node,
                f"Its subclass `{each.name}` overrides `{name}`{through}, and would inherit reuse "
                f"(line {line}).",
            )


def _check_turned_off(factory: Factory, each: Factory) -> None:
    """See to it that a subclass that looks up by nothing can be kept from reuse."""
    option = each.own_option(GET_OR_CREATE) if each.node is not factory.node else None
    if option is None:
        return
    said = fields_of(factory.project, option)
    if said is None and not isinstance(option.value, ast.Constant):
        raise Stop(
            factory.node,
            f"Its subclass `{each.name}` has a `{GET_OR_CREATE}` that cannot be read.",
        )
    rewritable = not factory.project.given or each.source.path in factory.project.given
    if said == () and not (rewritable and option.own and each.node not in factory.project.refused):
        raise Stop(
            factory.node,
            f"Its subclass `{each.name}` looks up by nothing, would inherit reuse, and "
            f"{'cannot be rewritten' if rewritable else 'is in a file that is not given'}.",
        )


def _check_mentions(factory: Factory) -> None:
    """See to it that nothing else uses or replaces what goes, or is put out of action."""
    for name in (*SAVING, *ADJUSTING, GET_OR_CREATE):
        for mention in factory.mentions(name):
            node, function = mention.node, mention.function
            sets = isinstance(node, ast.Attribute) and not isinstance(node.ctx, ast.Load)
            if function == "_create" and name == GET_OR_CREATE and mention.of is factory.node:
                continue
            by_super = isinstance(node, ast.Attribute) and is_super(node.value)
            if sets or not (function == name and by_super):
                raise Stop(
                    factory.node,
                    f"`{name}` is {'set' if sets else 'used'} elsewhere (line {node.lineno}).",
                )


def fields_of(project: Project, option: Option) -> tuple[str, ...] | None:
    """Return the fields that an option names, or ``None`` if they are computed."""
    value: ast.AST | None = option.value
    name = dotted(value)
    if name is not None:
        found = project.define(option.source, name, option.near, inside=True)
        value = found[1] if found is not None and is_fixed(found[0], name, found[1]) else None
    if isinstance(value, ast.Constant) and not value.value:
        return ()
    if not isinstance(value, (ast.Tuple, ast.List, ast.Set)):
        return None
    values = [getattr(each, "value", None) for each in value.elts]
    fields = tuple(value for value in values if isinstance(value, str))
    return tuple(dict.fromkeys(fields)) if len(fields) == len(values) else None


def check_given(factory: Factory, fields: Iterable[str]) -> None:
    """See to it that no field of the key is ``None`` unless it is passed.

    By that a row would have been found whose column is NULL; now one is created.
    """
    heirs = [each for each in factory.descendants if each.own_option(GET_OR_CREATE) is None]
    for field in fields:
        for each in (factory, *heirs):
            value = each.declaration(field)
            excluded = each.option("exclude")
            if excluded is not None and field in (fields_of(each.project, excluded) or ()):
                raise Stop(factory.node, f"`{field}`, of its key, is excluded in `{each.name}`.")
            if isinstance(value, ast.Constant) and value.value is None:
                raise Stop(
                    factory.node,
                    f"`{field}`, of its key, is None in `{each.name}` unless it is passed, and a "
                    "None in the key creates a row.",
                )


def check_bases(factory: Factory, method: ast.AST, form: GetOrCreate) -> None:
    """See to it that what comes after a ``_create`` is what came after it."""
    for of, name, node in factory.methods(*SAVING):
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


def check_heirs(factory: Factory, method: ast.AST, form: GetOrCreate) -> None:
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


def _names_model(factory: Factory, method: ast.AST) -> bool:
    names = Method(factory, method).models if isinstance(method, ast.FunctionDef) else ()
    text = factory.source.segment(method)
    return not factory.is_abstract and any(name in text for name in names)


def persistence(factory: Factory, form: GetOrCreate, method: ast.AST) -> str | None:
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


def _persistence_said(node: ast.expr | None) -> object:
    """Return the value of the option; factory_boy has constants for it."""
    name = (dotted(node) or "").rpartition(".")[2]
    if name.startswith("SESSION_PERSISTENCE_"):
        return name.rpartition("_")[2].lower()
    return node.value if isinstance(node, ast.Constant) else ...
