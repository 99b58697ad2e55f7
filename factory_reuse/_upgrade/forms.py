"""The ``_create`` of a class: whether it looks up, passes on, or does something else."""

from __future__ import annotations

import ast

from .calls import LOOKING_UP, is_super
from .classes import Factory
from .machine import Method
from .paths import GetOrCreate, get_or_create
from .sources import FUNCTIONS, dotted
from .values import Stop


def form_of(factory: Factory, method: ast.AST | None) -> GetOrCreate | None:
    """Return what the ``_create`` of a class comes to, if that is a get-or-create.

    Raises:
        Stop: it looks up, and is not understood.
    """
    if not isinstance(method, FUNCTIONS) or passes_on(method):
        return None
    if len(factory.bindings(method.name)) > 1 or method not in factory.node.body:
        if looks_up(method):
            raise Stop(method, "`_create` is not a plain method of the class.")
        return None
    if not any(dotted(each) == "classmethod" for each in method.decorator_list):
        return None  # not factory_boy's
    try:
        return _followed(factory, method)
    except Stop:
        if looks_up(method):
            raise
        return None
    except RecursionError:
        raise Stop(method, "`_create` is nested too deeply to be read.") from None


def _followed(factory: Factory, method: ast.AST) -> GetOrCreate | None:
    if not isinstance(method, ast.FunctionDef):
        raise Stop(method, "`_create` is a coroutine.")
    decorators = [(dotted(each) or "?").rpartition(".")[2] for each in method.decorator_list]
    if set(decorators) - {"classmethod", "override"}:
        raise Stop(method, "`_create` has another decorator than `@classmethod`.")
    followed = Method(factory, method)
    if followed.parameters is None:
        raise Stop(
            method, "`_create` has other parameters than `cls, model_class, *args, **kwargs`."
        )
    return get_or_create(followed)


def looks_up(method: ast.AST) -> bool:
    """Whether a method has anything of a lookup, understood or not."""
    for node in ast.walk(method):
        name = getattr(node, "attr", None) or getattr(node, "id", None)
        if name == "objects":  # Django's
            return False
    return any(
        (getattr(node, "attr", None) or getattr(node, "id", None)) in LOOKING_UP
        or (isinstance(node, ast.Attribute) and "cache" in node.attr.lower())
        for node in ast.walk(method)
    )


def passes_on(method: ast.AST) -> bool:
    """Whether a method does nothing but call the one that it overrides."""
    body = [
        node
        for node in getattr(method, "body", [])
        if not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))
    ]
    call = body[0].value if len(body) == 1 and isinstance(body[0], ast.Return) else None
    function = call.func if isinstance(call, ast.Call) else None
    return (
        isinstance(method, ast.FunctionDef)
        and isinstance(call, ast.Call)
        and isinstance(function, ast.Attribute)
        and function.attr == method.name
        and is_super(function.value)
        and all(isinstance(_bare(each), ast.Name) for each in call.args)
        and all(k.arg is None and isinstance(k.value, ast.Name) for k in call.keywords)
    )


def _bare(node: ast.expr) -> ast.expr:
    return node.value if isinstance(node, ast.Starred) else node
