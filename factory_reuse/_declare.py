"""From a class to its options: the decorator and the mixin."""

from __future__ import annotations

import sys
from inspect import iscoroutinefunction
from typing import Any, Callable, Final, Sequence, Type, TypeVar, Union, overload

from factory import enums
from factory.alchemy import SQLAlchemyModelFactory
from factory.base import BaseFactory, FactoryMetaClass, FactoryOptions
from sqlalchemy import inspect
from sqlalchemy.orm import Mapper
from typing_extensions import Literal

from . import _scope
from ._arguments import WAYS_IN
from ._batch import create_batch
from ._builders import OffBuilder
from ._direct import DirectCall
from ._mismatch import is_users
from ._options import ReuseOptions, reuse_options_class
from ._session import awaited
from .errors import ReuseError

F = TypeVar("F", bound="Type[BaseFactory[Any]]")

Key = Union[str, Sequence[str], Sequence[Sequence[str]], None]

#: The callable is named so that checkers know the parameter of a lambda.
Where = Union[Callable[[Any], Any], object]

#: No factory yet: ``@reuse_existing(...)`` gets it in a second call.
_LATER: Final = object()


@overload
def reuse_existing(
    factory: F,
    *,
    on: Key = ...,
    where: Where = ...,
    session: Any = ...,
    on_mismatch: Literal["keep", "warn", "raise", "update"] = ...,
    match: Literal["any", "explicit"] = ...,
    post_generation: Literal["explicit", "always", "never"] = ...,
    refresh: bool = ...,
    cache: bool = ...,
    savepoint: bool | None = ...,
) -> F: ...


@overload
def reuse_existing(
    *,
    on: Key = ...,
    where: Where = ...,
    session: Any = ...,
    on_mismatch: Literal["keep", "warn", "raise", "update"] = ...,
    match: Literal["any", "explicit"] = ...,
    post_generation: Literal["explicit", "always", "never"] = ...,
    refresh: bool = ...,
    cache: bool = ...,
    savepoint: bool | None = ...,
) -> Callable[[F], F]: ...


def reuse_existing(
    factory: Any = _LATER,
    *,
    on: Key = None,
    where: Where = None,
    session: Any = None,
    on_mismatch: Literal["keep", "warn", "raise", "update"] = "warn",
    match: Literal["any", "explicit"] = "any",
    post_generation: Literal["explicit", "always", "never"] = "explicit",
    refresh: bool = False,
    cache: bool = True,
    savepoint: bool | None = None,
) -> Any:
    """Make a factory reuse the row that is already there.

    Use it as ``@reuse_existing``, as ``@reuse_existing(on=...)``, or call it on a class that is
    defined elsewhere. Applied again, it replaces the options. An abstract factory passes reuse on
    to its subclasses, those that exist already included.

    Args:
        factory: any ``factory.Factory`` subclass.
        on: what makes a row the same: ``"name"`` or ``("name",)`` for one field, ``("a", "b")``
            for a composite key, ``[("a",), ("b", "c")]`` for alternatives, ``()`` for never.
            ``None`` infers it from the model's unique constraints and indexes. A name may be a
            column attribute, a relationship, a synonym or a hybrid.
        where: an SQL expression, or a callable from the model to one, that a row must also satisfy.
        session: where to look and write: a ``Session``, a ``scoped_session``, or a callable.
            Default: the factory's own, read at each call.
        on_mismatch: what to do when a reused row differs from a passed value that is not of the
            key: ``"keep"`` the row, ``"warn"``, ``"raise"``, or ``"update"`` the row with the
            passed values.
        match: ``"explicit"`` looks up only by keys of which the caller passed a value.
        post_generation: which post-generation declarations run on a reused row: ``"explicit"``,
            those the caller passed a value for; ``"always"``; ``"never"``.
        refresh: reload a reused row from the database.
        cache: answer a repeated key within one transaction without a query.
        savepoint: insert inside a SAVEPOINT. ``None``: yes, unless the factory is lazy
            (``sqlalchemy_session_persistence = None`` with factory_boy's own ``_create``).

    Returns:
        The same class object.

    Raises:
        ReuseError: an option has a value it cannot have, or ``factory`` is no factory.
        UniqueKeyError: ``on`` names what is not an attribute of the model.

    Example::

        @reuse_existing(on=("name",))
        class CategoryFactory(SQLAlchemyModelFactory):
            class Meta:
                model = Category
                sqlalchemy_session = session

            name = "Books"

        assert CategoryFactory() is CategoryFactory()
    """
    options = {
        "on": on,
        "where": where,
        "session": session,
        "on_mismatch": on_mismatch,
        "match": match,
        "post_generation": post_generation,
        "refresh": refresh,
        "cache": cache,
        "savepoint": savepoint,
    }

    def decorate(decorated: Any) -> Any:
        _check_factory(decorated)
        _declare(decorated, options)
        return decorated

    return decorate if factory is _LATER else decorate(factory)


class ReuseMixin:
    """The same as :func:`reuse_existing`, for a class statement.

    Give the options in ``class Meta`` with the prefix ``reuse_``. They are inherited as factory_boy
    inherits its own; ``reuse = False`` turns reuse off for a subclass. The mixin may stand before
    or after the factory's other bases.

    Raises:
        ReuseError: at the class statement, for an option value that cannot be.

    Example::

        class CategoryFactory(ReuseMixin, SQLAlchemyModelFactory):
            class Meta:
                model = Category
                sqlalchemy_session = session
                reuse_on = ("name",)

            name = "Books"
    """

    _is_reuse_mixin = True

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        # factory_boy has put the new options object on the class, and fills it after this.
        if isinstance(cls, FactoryMetaClass):
            _enable(cls)


def _check_factory(factory: Any) -> None:
    if not isinstance(factory, FactoryMetaClass):
        remedy = (
            "Decorate the factory, not its model."
            if isinstance(inspect(factory, raiseerr=False), Mapper)
            else "Options are keyword arguments: @reuse_existing(on=('name',))."
        )
        raise ReuseError(
            f"reuse_existing() takes a factory class, not {factory!r}. {remedy}",
            values={"factory": factory},
        )
    name, module = factory.__name__, factory.__module__
    # Not by the module's name alone: what make_factory() makes bears that of its maker.
    of_its_module: bool = getattr(sys.modules.get(module), name, None) is factory
    if module.partition(".")[0] == "factory" and of_its_module:
        raise ReuseError(
            f"{name} is factory_boy's own class, which other projects share. Decorate a base "
            "class of your own.",
            factory=name,
        )


def _declare(factory: Any, options: dict[str, Any]) -> None:
    meta = factory._meta
    before = type(meta), dict(vars(meta))
    replaced = {name: vars(factory).get(name) for name in _INSTALLED}
    try:
        _enable(factory)
        meta.replace_options(options)
    except ReuseError:
        # A refused declaration leaves the factory as it was.
        meta.__class__, attributes = before
        vars(meta).clear()
        vars(meta).update(attributes)
        for name, value in replaced.items():
            if value is not None:
                setattr(factory, name, value)
            elif name in vars(factory):
                delattr(factory, name)
        raise
    _hand_down(factory)


#: What a declaration puts on the class.
_INSTALLED: Final = ("_options_class", "_generate", "create_batch")


def _enable(factory: Any) -> None:
    """Give the factory, and with it its future subclasses, options that reuse.

    Only the class of the options object changes: what fixtures and tools hold on to stays.
    """
    if iscoroutinefunction(factory._generate):
        raise ReuseError(
            f"{factory.__name__} builds its objects in a coroutine of its own, which a lookup "
            "cannot be put into. Base it on factory.alchemy.SQLAlchemyModelFactory, and call it "
            "through factory_reuse.aio.",
            factory=factory.__name__,
        )
    meta = vars(factory)["_meta"]
    inherited = getattr(factory, "_options_class", FactoryOptions)
    factory._options_class = reuse_options_class(inherited)
    if iscoroutinefunction(factory.create):
        factory._generate = classmethod(_generate_later(factory))
    elif getattr(factory._generate, "__func__", None) in _STOCK:
        generate = _generate(factory)
        WAYS_IN.add(generate)
        factory._generate = classmethod(generate)
    if getattr(factory.create_batch, "__func__", None) in _STOCK:
        factory.create_batch = classmethod(_create_batch(factory))
    if isinstance(meta, ReuseOptions):
        return
    meta.__class__ = reuse_options_class(type(meta))
    meta.pre_declarations = meta.__dict__["pre_declarations"]
    meta.post_declarations = meta.__dict__["post_declarations"]


#: factory_boy's own ways into a build, which may be cut short; a project's own may not.
_STOCK: Final = (
    vars(BaseFactory)["_generate"].__func__,
    vars(SQLAlchemyModelFactory)["_generate"].__func__,
    vars(BaseFactory)["create_batch"].__func__,
)


def _generate(factory: Any) -> Any:
    """Return the ``_generate`` of a factory: only what has to be built goes to factory_boy.

    This is where each direct call passes, and not one of a SubFactory. A repeated call ends here;
    and what is not to create is built as if there were no reuse.
    """

    def generate(cls: Any, strategy: str, params: dict[str, Any]) -> Any:
        meta = cls._meta
        if not isinstance(meta, ReuseOptions) or meta.abstract:
            return super(factory, cls)._generate(strategy, params)
        if strategy != enums.CREATE_STRATEGY:
            return OffBuilder(meta, params, strategy).build()
        if not meta.reuse or _scope.current().off:
            return super(factory, cls)._generate(strategy, params)
        found = meta.answer(params)
        if found is None:
            return DirectCall(meta, params).object()
        meta.next_sequence()
        return found

    return generate


def _generate_later(factory: Any) -> Any:
    """Return the ``_generate`` of a factory whose ``create`` is awaited.

    Such a base (that of async-factory-boy, say) makes its objects in a task. Here the whole call
    is what is awaited, so that its lookups can be.
    """

    def generate(cls: Any, strategy: str, params: dict[str, Any]) -> Any:
        meta = cls._meta
        build = super(factory, cls)._generate
        if (
            not isinstance(meta, ReuseOptions)
            or meta.abstract
            or not meta.reuse
            or strategy != enums.CREATE_STRATEGY
            or _scope.current().off
        ):
            return build(strategy, params)
        from ._cancel import run  # not before it is needed: it imports asyncio

        frame: Any = sys._getframe(1)
        while frame.f_back is not None and not is_users(frame):
            frame = frame.f_back
        caller = _scope.Caller.of(frame)
        return run(meta.async_session(), lambda: awaited(build(strategy, params)), caller)

    return generate


def _create_batch(factory: Any) -> Any:
    """Return the ``create_batch`` of a factory, whose calls share their queries and flush."""

    def batch(cls: Any, size: int, **kwargs: Any) -> list[Any]:
        if isinstance(cls._meta, ReuseOptions):
            return create_batch(cls, (kwargs for _ in range(size)))
        made: list[Any] = super(factory, cls).create_batch(size, **kwargs)
        return made

    return batch


def _hand_down(factory: Any) -> None:
    """Enable the subclasses that were there before, where factory_boy inherits from the factory."""
    for subclass in factory.__subclasses__():
        first = next(base for base in subclass.__bases__ if hasattr(base, "_meta"))
        meta = subclass._meta
        if first is not factory or (isinstance(meta, ReuseOptions) and meta.declared):
            continue
        _enable(subclass)
        meta.inherit_options(factory._meta)
        _hand_down(subclass)
