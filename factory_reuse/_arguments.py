"""A mistyped keyword argument is the same error on a hit as on a miss."""

from __future__ import annotations

import weakref
from typing import Any, Final, Iterable

from factory.alchemy import SQLAlchemyModelFactory
from factory.base import BaseFactory
from factory.builder import DeclarationSet
from factory.declarations import SubFactory
from sqlalchemy import inspect
from sqlalchemy.orm import Mapper, decl_base

from ._call import is_subfactory


def check_arguments(factory: Any, mapper: Mapper[Any], names: Iterable[str]) -> None:
    """Refuse passed names that the model's constructor would refuse, were the row not there.

    A constructor or a hook of the project's own may take any name, so there nothing is refused.

    Raises:
        TypeError: as SQLAlchemy's default constructor raises it.
    """
    unknown = [name for name in names if not hasattr(mapper.class_, name)]
    if (
        unknown
        and mapper.class_manager.original_init is decl_base._declarative_constructor
        and has_stock(factory, "_adjust_kwargs", "_create", "_save")
    ):
        raise TypeError(
            f"{unknown[0]!r} is an invalid keyword argument for {mapper.class_.__name__}"
        )


def check_path(factory: Any, path: str) -> None:
    """Refuse a passed name that a SubFactory, or one below it, would hand on to its model.

    Raises:
        TypeError: as that model's constructor would raise it.
    """
    root, rest = DeclarationSet.split(path)
    meta = factory._meta
    declared = meta.pre_declarations.declarations.get(root)
    if rest and isinstance(declared, SubFactory) and is_subfactory(declared):
        check_path(declared.get_factory(), rest)
        return
    mapper = inspect(meta.get_model_class(), raiseerr=False)
    known = meta.pre_declarations, meta.post_declarations, meta.parameters, meta.exclude
    if isinstance(mapper, Mapper) and not any(root in names for names in known):
        check_arguments(factory, mapper, [meta.rename.get(root, root)])


def has_stock(factory: Any, *hooks: str) -> bool:
    """Whether the factory has factory_boy's own methods of these names."""
    return all(
        getattr(getattr(factory, hook, None), "__func__", None)
        is getattr(SQLAlchemyModelFactory, hook).__func__
        for hook in hooks
    )


#: Factory methods that let a call through to its build step unseen: factory_boy's, and our own.
WAYS_IN: Final[weakref.WeakSet[Any]] = weakref.WeakSet(
    (
        vars(BaseFactory)["create"].__func__,
        vars(BaseFactory)["_generate"].__func__,
        vars(SQLAlchemyModelFactory)["_generate"].__func__,
    )
)


def comes_in_as_usual(factory: Any) -> bool:
    """Whether no method of the project's own sees a call before the build step does."""
    methods = factory.create, factory._generate
    return all(getattr(method, "__func__", method) in WAYS_IN for method in methods)
