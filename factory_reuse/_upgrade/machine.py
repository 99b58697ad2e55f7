"""What one way through a ``_create`` remembers: names, decisions, and what happened."""

from __future__ import annotations

import ast
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final, Hashable, Sequence

from typing_extensions import final

from .classes import Factory
from .sources import dotted
from .values import Fields, Found, Given, Outside, Stop, Value

INTEGRITY: Final = "IntegrityError"
NO_RESULT: Final = "NoResultFound"
NO_KEY: Final = "KeyError"

#: What an ``except`` of the name catches, of the exceptions that are followed.
CATCHES: Final = {
    INTEGRITY: (INTEGRITY,),
    NO_RESULT: (NO_RESULT,),
    NO_KEY: (NO_KEY,),
    "LookupError": (NO_KEY,),
    "SQLAlchemyError": (INTEGRITY, NO_RESULT),
    "Exception": (INTEGRITY, NO_RESULT, NO_KEY),
}

Decision = Hashable


class Raised(Exception):
    """The method raises, in the way that is followed."""

    def __init__(self, kind: str, node: ast.AST) -> None:
        super().__init__(kind)
        self.kind = kind
        self.line: int = getattr(node, "lineno", 0)


class Returned(Exception):
    """The method returns."""

    def __init__(self, value: Value) -> None:
        super().__init__()
        self.value = value


@final
@dataclass(frozen=True, eq=False)
class Method:
    """A ``_create`` to be followed."""

    factory: Factory
    node: ast.FunctionDef

    @cached_property
    def parameters(self) -> dict[str, Value] | None:
        """What its parameters stand for, if they are factory_boy's."""
        spec = self.node.args
        names = [argument.arg for argument in spec.args]
        if len(names) != 2 or spec.kwarg is None or spec.kwonlyargs or spec.defaults:
            return None
        given: dict[str, Value] = {names[0]: Given.CLS, names[1]: Given.MODEL}
        given[spec.kwarg.arg] = Given.KWARGS
        if spec.vararg is not None:
            given[spec.vararg.arg] = Given.ARGS
        return given

    @property
    def all_arguments(self) -> str:
        """The name of the keyword arguments."""
        return self.node.args.kwarg.arg if self.node.args.kwarg is not None else ""

    @cached_property
    def local(self) -> frozenset[str]:
        """The names that are bound inside."""
        return frozenset(self.factory.source.bindings(self.node))

    @cached_property
    def models(self) -> tuple[str, ...]:
        """The names of the model: that in ``class Meta``."""
        option = self.factory.option("model")
        name = dotted(option.value) if option else None
        head, factory = (name or "").partition(".")[0], self.factory
        bound = factory.source.bound(head, factory.node, inside=True)
        if name is None or (bound and not factory.source.binding(head, factory.node, inside=True)):
            return ()
        return (name,)


@dataclass
class Machine(ABC):
    """A way through a method.

    Attributes:
        chosen: the outcomes of its first decisions.
        decisions: all decisions so far, with their outcomes. Each begins as the less eventful one.
        events: what it did to a session or a cache, in order.
        tried: the fields that it has looked up by, in order.
        sessions: those that it used.
        called: the functions of which nothing is known but that they take no arguments.
        caches: the dictionaries that it used, each with whether it is the class's.
        popped: the arguments that it took out.
        stored: what it put there, by the fields of the key.
        handlers: what is caught where it is.
        notes: what the caller should know about it.
    """

    method: Method
    chosen: Sequence[bool] = ()
    names: dict[str, Value] = field(default_factory=dict)
    decisions: dict[Decision, bool] = field(default_factory=dict)
    events: list[str] = field(default_factory=list)
    tried: list[Fields] = field(default_factory=list)
    sessions: list[Outside] = field(default_factory=list)
    called: list[str] = field(default_factory=list)
    caches: list[tuple[str, bool]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    popped: list[str] = field(default_factory=list)
    stored: dict[Fields, Value] = field(default_factory=dict)
    handlers: list[str] = field(default_factory=list)

    @abstractmethod
    def value(self, node: ast.expr) -> Value:
        """Return what an expression stands for."""

    def decide(self, decision: Decision) -> bool:
        """Return how a question comes out here, the same each time it is asked."""
        if decision not in self.decisions:
            number = len(self.decisions)
            self.decisions[decision] = number < len(self.chosen) and self.chosen[number]
        return self.decisions[decision]

    def given(self, field: object, how: str = "given") -> bool:
        """Return whether an argument is given: one that is not ``None``, or any at all (``in``)."""
        if how == "given" and self.decisions.get(("in", field)) is False:
            return False
        if how == "in" and self.decisions.get(("given", field)):
            return True
        return self.decide((how, field))

    def full_name(self, node: ast.AST) -> str:
        """Return what a function is called, as imported, if it is nothing local."""
        name = dotted(node) or "?"
        head = name.partition(".")[0]
        factory = self.method.factory
        bound = factory.source.bound(head, factory.node, inside=True)
        imported = all(isinstance(each, (ast.Import, ast.ImportFrom)) for each in bound)
        local = head in self.names or not imported
        return f"?.{name}" if local else factory.source.full_name(name)

    def find(self, fields: Fields, how: str) -> Found | None:
        """Look up; a row is there, or none."""
        if fields not in self.tried:
            self.tried.append(fields)
        refused = self.decisions.get("refused", False)
        return Found(fields) if self.decide((how, fields, refused)) else None

    def use(self, session: Value, node: ast.AST) -> Outside:
        """Take note of a session that is used."""
        if not isinstance(session, Outside):
            raise self.stop(node, "uses something as a session that is none")
        if session.local:
            raise Stop(node, f"`_create` imports its session, `{session.source}`, inside itself.")
        if session not in self.sessions:
            self.sessions.append(session)
        return session

    def insert(self, node: ast.AST) -> None:
        """Insert; where that is provided for, it may be refused."""
        if any(INTEGRITY in CATCHES[name] for name in self.handlers) and self.decide("refused"):
            raise Raised(INTEGRITY, node)

    def is_model(self, name: str) -> bool:
        """Whether a dotted name is the model's."""
        return name in self.method.models

    def source_of(self, node: ast.AST) -> str:
        """Return an expression's source, shortened."""
        text = self.method.factory.source.segment(node)
        return text if len(text) <= 60 else text[:57] + "..."

    def stop(self, node: ast.AST, what: str) -> Stop:
        """Return the end of understanding, in one sentence."""
        return Stop(node, f"`_create` {what} (line {getattr(node, 'lineno', 0)}).")

    def not_followed(self, node: ast.AST) -> Stop:
        """Return the end of understanding for code of which nothing more is known."""
        return self.stop(node, f"also has `{self.source_of(node)}`, which is no plain lookup")
