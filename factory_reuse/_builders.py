"""Builders beside factory_boy's own: one that only finds, one for which there is no reuse."""

from __future__ import annotations

from typing import Any

from factory.builder import StepBuilder
from sqlalchemy import inspect
from sqlalchemy.orm import Mapper
from typing_extensions import final

from . import _scope
from ._values import NoParent


class NoReuse(NoParent):
    """A SubFactory's factory does not reuse, so it would make a row in any case."""


@final
class OffBuilder(StepBuilder):
    """Builds or stubs as if there were no reuse, at the price of that, SubFactories included."""

    def __init__(self, factory_meta: Any, extras: dict[str, Any], strategy: str) -> None:
        super().__init__(getattr(factory_meta, "without_reuse", factory_meta), extras, strategy)


@final
class FindBuilder(StepBuilder):
    """Looks a row up as a create would, SubFactories included, and makes nothing.

    Raises:
        NoParent: a create would insert here.
    """

    def build(self, parent_step: Any = None, force_sequence: Any = None) -> Any:
        meta = self.factory_meta
        if not hasattr(meta, "look_ahead") and isinstance(
            inspect(meta.get_model_class(), raiseerr=False), Mapper
        ):
            raise NoReuse
        if force_sequence is None and self.force_init_sequence is None:
            meta._initialize_counter()
            force_sequence = meta._counter.seq  # the next create's number, not used up
        with _scope.within(finding=True):
            return super().build(parent_step=parent_step, force_sequence=force_sequence)
