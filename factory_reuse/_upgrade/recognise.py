"""What a factory class does to reuse rows, and what ``@reuse_existing`` is to say instead.

Needs the standard library alone, so that the audit can ask it too.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass
from typing import Union

from typing_extensions import final

from . import cautions, consequences, models
from .checks import (
    GET_OR_CREATE,
    check_bases,
    check_class,
    check_given,
    check_heirs,
    fields_of,
    persistence,
)
from .classes import SAVING, Factory, Option, factory_of
from .forms import form_of, looks_up, passes_on
from .paths import GetOrCreate
from .project import Project
from .sessions import session_option
from .sources import Source
from .values import Fields, Stop


@final
@dataclass(frozen=True)
class Lookup:
    """A get-or-create that ``@reuse_existing`` can take over.

    Attributes:
        line: of the class statement.
        factory: its name, with what it is nested in.
        what: what is done, in a few words.
        keys: for ``on=``; none for a bare ``@reuse_existing``.
        session: the expression for ``session=``.
        on_mismatch: the value for ``on_mismatch=``.
        post_generation: the value for ``post_generation=``.
        persistence: the expression that ``class Meta`` has to have as persistence.
        method: whether ``_create`` goes.
        option: whether ``sqlalchemy_get_or_create`` goes.
        turned_off: whether nothing is declared, but inherited reuse turned off.
        cautions: what a test may see of it.
    """

    line: int
    factory: str
    what: str
    keys: Fields = ()
    session: str | None = None
    on_mismatch: str | None = None
    post_generation: str | None = None
    persistence: str | None = None
    method: bool = False
    option: bool = False
    turned_off: bool = False
    cautions: tuple[str, ...] = ()

    @property
    def arguments(self) -> str:
        """The decorator's arguments as source, with the brackets, or nothing."""
        keys = [f"({', '.join(map(_quoted, key))}{',' * (len(key) == 1)})" for key in self.keys]
        said = {
            "on": keys[0] if len(keys) == 1 else f"[{', '.join(keys)}]" if keys else None,
            "session": self.session,
            "on_mismatch": self.on_mismatch and _quoted(self.on_mismatch),
            "post_generation": self.post_generation and _quoted(self.post_generation),
        }
        arguments = ", ".join(f"{name}={value}" for name, value in said.items() if value)
        return f"({arguments})" if arguments else ""


@final
@dataclass(frozen=True)
class NotUnderstood:
    """A get-or-create that stays, and why."""

    line: int
    factory: str
    reason: str


Recognised = Union[Lookup, NotUnderstood, None]


def recognise(
    project: Project, source: Source, node: ast.ClassDef, *, even_if_it_reuses: bool = False
) -> Recognised:
    """Return what a class does to reuse rows; ``None`` if that is nothing.

    Args:
        even_if_it_reuses: what there is beside a declared reuse, too. Else that is ``None``.
    """
    factory = factory_of(project, source, node)
    option, method = factory.own_option(GET_OR_CREATE), factory.own_create
    if (factory.reuses and not even_if_it_reuses) or factory.is_of_another_orm:
        return None
    try:
        form = form_of(factory, method)
        if form is not None and method is not None:
            return _of_method(factory, method, form, option)
        if option is not None:
            return _of_option(factory, option)
        _check_others(factory)
        return None
    except Stop as stop:
        return NotUnderstood(stop.line or node.lineno, factory.name, stop.reason)


def _check_others(factory: Factory) -> None:
    """See to it that no other method looks up than ``_create``: it is not followed."""
    for of, name, node in factory.methods("create", *SAVING[1:]):
        own = of.node is factory.node and not passes_on(node)
        if own and (factory.is_known or factory.meta) and looks_up(node):
            raise Stop(node, f"Its `{name}` looks up, where a lookup is not followed.")


def _quoted(text: str) -> str:
    return f'"{text}"'


# A `_create` -------------------------------------------------------------------------------------


def _of_method(
    factory: Factory, method: ast.AST, form: GetOrCreate, option: Option | None
) -> Lookup:
    check_class(factory)
    check_bases(factory, method, form)
    check_given(factory, (name for key in form.keys for name in key if name in form.unguarded))
    check_heirs(factory, method, form)
    said_twice = option is not None and (
        not option.own
        or not isinstance(option.value, (ast.Tuple, ast.List, ast.Set))
        or fields_of(factory.project, option) not in form.keys[:1]
    )
    if said_twice:
        raise Stop(method, f"`_create` looks up, and `{GET_OR_CREATE}` does so once more.")
    if "primary" in form.notes and not all(
        len(key) == 1 and models.is_primary(factory, key[0]) for key in form.keys
    ):
        raise Stop(
            method,
            "`_create` gets by the primary key, and the model does not tell that it is that.",
        )
    if "ordered" in form.notes and not models.is_unique(factory, form.keys):
        raise Stop(
            method, "`_create` orders rows, and its key is not known to be unique: one is chosen."
        )
    session = session_option(factory, form.sessions, method)
    persisted = persistence(factory, form, method)
    found = list(
        consequences.of_class(
            factory,
            form.keys,
            unguarded=form.unguarded,
            pending=consequences.of_pending(factory, form, persisted),
        )
    )
    found += consequences.of_form(factory, form, session, persisted)
    return Lookup(
        factory.node.lineno,
        factory.name,
        "in place of its `_create`",
        form.keys,
        session=session,
        on_mismatch=consequences.on_mismatch(factory),
        post_generation=consequences.post_generation(factory),
        persistence=persisted,
        method=True,
        option=option is not None,
        cautions=tuple(found),
    )


# sqlalchemy_get_or_create ------------------------------------------------------------------------


def _of_option(factory: Factory, option: Option) -> Lookup | None:
    fields = fields_of(factory.project, option)
    if fields == ():
        return _turned_off(factory, option)
    value = option.value
    if isinstance(value, ast.Constant) and isinstance(value.value, str):
        raise Stop(value, f"`{GET_OR_CREATE}` is a string, of which factory_boy takes each letter.")
    if fields is None:
        line = factory.node if value is None or option.source is not factory.source else value
        raise Stop(line, f"`{GET_OR_CREATE}` is computed, or said more than once.")
    check_class(factory)
    for of, name, node in factory.methods(*SAVING):
        if not passes_on(node):
            whose = (
                f"The `{name}` of its base `{of.name}`"
                if of.node is not factory.node
                else f"Its `{name}`"
            )
            raise Stop(
                node if of.source is factory.source else factory.node,
                f"{whose} is its own, and would not run for a row that is there "
                f"(line {getattr(node, 'lineno', 0)}).",
            )
    check_given(factory, fields)
    doubt = _doubt(factory, option, fields)
    return Lookup(
        factory.node.lineno,
        factory.name,
        f"in place of `{GET_OR_CREATE}`"
        if doubt is None
        else f"beside `{GET_OR_CREATE}`, which stays and names the key: {doubt}",
        (fields,) if doubt is None else (),
        on_mismatch=consequences.on_mismatch(factory),
        post_generation=consequences.post_generation(factory),
        option=doubt is None,
        cautions=(
            *consequences.of_class(
                factory, (fields,), unguarded=fields, pending=consequences.of_pending(factory)
            ),
            cautions.GET_OR_CREATE,
        ),
    )


def _doubt(factory: Factory, option: Option, fields: tuple[str, ...]) -> str | None:
    if not isinstance(option.value, (ast.Tuple, ast.List, ast.Set)):
        return "its fields are named elsewhere"
    if not option.own:
        return "`class Meta` inherits it"
    return None if len(fields) == 1 else models.doubt(factory, fields)


def _turned_off(factory: Factory, option: Option) -> Lookup | None:
    """Return how a subclass stays without, if it takes itself out of what is rewritten."""
    if not option.own or factory.node in factory.project.refused:
        return None
    if not any(
        isinstance(recognise(base.project, base.source, base.node), Lookup)
        and (base.source is factory.source or base.source.path in factory.project.given)
        for base in factory.lineage[1:]
    ):
        return None
    return Lookup(
        factory.node.lineno,
        factory.name,
        f"turned off, in place of an empty `{GET_OR_CREATE}`",
        option=True,
        turned_off=True,
        cautions=(cautions.TURNED_OFF,),
    )
