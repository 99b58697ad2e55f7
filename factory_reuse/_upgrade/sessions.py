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
    head = source.partition(".")[0].partition("(")[0]
    if (
        head not in factory.source.imports
        and head not in factory.source.assigned
        and not any(getattr(each, "name", None) == head for each in factory.source.tree.body)
    ):
        raise Stop(node, f"`_create` uses the session `{source}`, which is not of this module.")
    name = source[:-2] if source.endswith("()") else source
    if name != source and _makes_new(factory, name):
        raise Stop(node, f"`_create` looks up in a session of its own, `{source}`.")
    return name if _is_settled(factory, name) else f"lambda: {source}"


def _makes_new(factory: Factory, name: str) -> bool:
    """Whether a call most likely makes another session each time: that of a ``sessionmaker``."""
    found = factory.project.define(factory.source, name)
    value = found[1] if found is not None else None
    if isinstance(value, ast.Call):
        return (dotted(value.func) or "").rpartition(".")[2] != "scoped_session"
    return name.rpartition(".")[2][:1].isupper()


def _is_settled(factory: Factory, name: str) -> bool:
    """Whether a name means at the decorator what it means in a call."""
    source, head = factory.source, name.partition(".")[0]
    if "(" in name:
        return False
    found = factory.project.define(source, name)
    if found is not None and isinstance(found[1], ast.Constant):  # None, which a fixture replaces
        return False
    if head in source.imports:
        return True
    values: list[ast.AST] = list(source.assigned.get(head, ()))
    values += [each for each in source.tree.body if getattr(each, "name", None) == head]
    return len(values) == 1 and getattr(values[0], "lineno", 0) < factory.node.lineno


def _called(session: Outside) -> str:
    return session.source or ""


def _is_own(factory: Factory, session: Outside) -> bool:
    """Whether a session is the one that ``class Meta`` gives, called or not."""
    for name in ("sqlalchemy_session", "sqlalchemy_session_factory"):
        option = factory.option(name)
        own = dotted(option.value) if option else None
        said = (session.source or "").replace("()", "")
        if option is not None and own is not None and _is_same(factory, said, option.source, own):
            return True
    return False


def _is_same(factory: Factory, said: str, source: Source, own: str) -> bool:
    """Whether a name in the factory's file and one in another stand for the same."""
    if source is factory.source:
        return said == own
    here, there = _identity(factory, factory.source, said), _identity(factory, source, own)
    return here is not None and here == there


def _identity(factory: Factory, source: Source, name: str) -> tuple[object, str] | None:
    """Return what tells a dotted name: where its whole or its first part is defined, and the rest.

    Of what cannot be found it is the absolute name by which it is imported.
    """
    head, _, rest = name.partition(".")
    for part, left in ((name, ""), (head, rest)):
        found = factory.project.define(source, part)
        if found is not None:
            return found[1], left
    imported = source.imports.get(head)
    return ("", source.full_name(name)) if imported and not imported.level else None
