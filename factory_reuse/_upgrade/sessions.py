"""Which session a ``_create`` uses: the factory's own, or one that has to be said."""

from __future__ import annotations

import ast
from typing import Sequence

from .classes import Factory
from .sources import Source, dotted
from .values import OWN, Outside, Stop


def session_option(factory: Factory, used: Sequence[Outside], node: ast.AST) -> str | None:
    """Return the expression for ``session=``, or ``None`` where it is the factory's own.

    Raises:
        Stop: there are several, or it cannot be said at the decorator.
    """
    others = {_called(each) for each in used if each is not OWN and not _is_own(factory, each)}
    if not others:
        return None
    if len(others) > 1 or len(used) > 1:
        raise Stop(node, "`_create` uses more than one session.")
    (source,) = others
    name = source[:-2] if source.endswith("()") else source
    if name != source and _makes_new(factory, name):
        raise Stop(node, f"`_create` looks up in a session of its own, `{source}`.")
    return name if _is_settled(factory, name) else f"lambda: {source}"


def _makes_new(factory: Factory, name: str) -> bool:
    """Whether a call most likely makes another session each time: that of a ``sessionmaker``."""
    found = factory.project.define(factory.source, name, factory.node, inside=True)
    value = found[1] if found is not None else None
    if isinstance(value, ast.Call):
        return (dotted(value.func) or "").rpartition(".")[2] != "scoped_session"
    return name.rpartition(".")[2][:1].isupper()


def _is_settled(factory: Factory, name: str) -> bool:
    """Whether a name means at the decorator what it means in a call."""
    bound = factory.source.binding(name, factory.node, inside=True)
    if bound is None or "." in name or "(" in name:
        return False
    found = factory.project.define(factory.source, name, factory.node, inside=True)
    if found is not None and isinstance(found[1], ast.Constant):  # None, which a fixture replaces
        return False
    return getattr(bound, "lineno", 0) < factory.node.lineno


def _called(session: Outside) -> str:
    return session.source or ""


def _is_own(factory: Factory, session: Outside) -> bool:
    """Whether a session is the one that ``class Meta`` gives, called or not."""
    said = _identity(
        factory, factory.source, (session.source or "").replace("()", ""), factory.node
    )
    for name in ("sqlalchemy_session", "sqlalchemy_session_factory"):
        option = factory.option(name)
        own = dotted(option.value) if option else None
        if said is None or option is None or own is None:
            continue
        if any(_sets(mention.node) for mention in factory.mentions(name)):
            continue  # a fixture gives another
        if said == _identity(factory, option.source, own, option.near):
            return True
    return False


def _sets(node: ast.AST) -> bool:
    return isinstance(node, ast.Attribute) and not isinstance(node.ctx, ast.Load)


def _identity(
    factory: Factory, source: Source, name: str, near: ast.ClassDef | None
) -> tuple[object, str] | None:
    """Return what tells a dotted name that means the same whenever it is evaluated.

    That is where its whole or its first part is defined, and the rest; of what is imported from
    elsewhere its absolute name.
    """
    head, _, rest = name.partition(".")
    bound = source.binding(head, near, inside=True)
    found = factory.project.define(source, name, near, inside=True)
    if bound is None or (found is not None and isinstance(found[1], ast.Constant)):
        return None
    if found is not None:
        return found[1], ""
    if factory.project.is_foreign(source, name, near):
        imported = source.imports.get(head)
        return ("", source.full_name(name)) if imported and not imported.level else (bound, rest)
    if not rest:
        return bound, ""
    holder = factory.project.define(source, head, near, inside=True)
    value = holder[1] if holder is not None else None
    called = dotted(value.func) if isinstance(value, ast.Call) else None
    return (value, rest) if called and called.endswith("SQLAlchemy") else None  # Flask's
