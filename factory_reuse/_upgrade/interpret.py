"""Follow a ``_create`` symbolically: one way through it, and all of them one after the other."""

from __future__ import annotations

import ast
import contextlib
from typing import Final, Iterator, Sequence

from .expressions import Expressions, index
from .machine import CATCHES, Method, Raised, Returned
from .sources import dotted
from .values import NOTHING, Block, Cache, Found, Given, Made, Outside, Value

#: More ways than any lookup has.
_MANY: Final = 64


def ways(method: Method) -> Iterator[tuple[Run, Value | str]]:
    """Yield every way through a method, with what it returns, or raises.

    Raises:
        Stop: it does something that is not understood.
    """
    waiting: list[Sequence[bool]] = [()]
    for number, chosen in enumerate(waiting):
        run = Run(method, chosen, dict(method.parameters or {}))
        yield run, run.follow()
        if number > _MANY:
            raise run.stop(method.node, "branches too often to be followed")
        outcomes = list(run.decisions.values())
        waiting += [(*outcomes[:n], True) for n in range(len(chosen), len(outcomes))]


class Run(Expressions):
    """One way through a method: its statements, one after the other."""

    def follow(self) -> Value | str:
        """Return what the method returns, or the name of what it raises."""
        try:
            self._statements(self.method.node.body)
        except Returned as returned:
            return returned.value
        except Raised as raised:
            return raised.kind
        return NOTHING

    # Statements ------------------------------------------------------------------------------

    def _statements(self, body: Sequence[ast.stmt]) -> None:
        for node in body:
            handler = getattr(self, "_do_" + type(node).__name__, None)
            if handler is None:
                raise self.stop(node, _WHY_NOT.get(type(node), "does more than look up and create"))
            handler(node)

    def _do_Expr(self, node: ast.Expr) -> None:
        if not isinstance(node.value, ast.Constant):  # a docstring, or ...
            self.value(node.value)

    def _do_Pass(self, node: ast.Pass) -> None:
        pass

    def _do_Return(self, node: ast.Return) -> None:
        raise Returned(NOTHING if node.value is None else self.value(node.value))

    def _do_Raise(self, node: ast.Raise) -> None:
        if node.exc is None:
            raise Raised(self._caught or "RuntimeError", node)
        name = dotted(node.exc.func if isinstance(node.exc, ast.Call) else node.exc) or "?"
        raise Raised(self._caught if name == self._caught_as else name.rpartition(".")[2], node)

    def _do_Assert(self, node: ast.Assert) -> None:
        if not self.is_true(node.test):
            raise Raised("AssertionError", node)

    def _do_If(self, node: ast.If) -> None:
        self._statements(node.body if self.is_true(node.test) else node.orelse)

    def _do_Assign(self, node: ast.Assign) -> None:
        value = self.value(node.value)
        for target in node.targets:
            self._assign(target, value)

    def _do_AnnAssign(self, node: ast.AnnAssign) -> None:
        if node.value is not None:
            self._assign(node.target, self.value(node.value))

    def _assign(self, target: ast.expr, value: Value) -> None:
        if isinstance(target, ast.Name):
            if self.names.get(target.id) is Given.CLS:
                raise self.stop(target, f"assigns to `{target.id}`")
            self.names[target.id] = value
            return
        if isinstance(target, ast.Subscript):
            holder = self.value(target.value)
            if isinstance(holder, Cache) and isinstance(value, (Made, Found)):
                self.note_cache(holder)
                self.stored[self.key(index(target))] = value
                return
            if holder is Given.KWARGS:
                raise self.stop(target, f"changes the argument `{self.source_of(target)}`")
        raise self.stop(target, f"assigns to `{self.source_of(target)}`")

    def _do_Import(self, node: ast.Import) -> None:
        for alias in node.names:
            name = alias.asname or alias.name.partition(".")[0]
            self.names[name] = Outside(name, local=True)

    def _do_ImportFrom(self, node: ast.ImportFrom) -> None:
        for alias in node.names:
            name = alias.asname or alias.name
            if self.is_model(name):
                self.names[name] = Given.MODEL
            elif not (node.module or "").startswith(("sqlalchemy", "sqlmodel")):
                self.names[name] = Outside(name, local=True)

    def _do_With(self, node: ast.With) -> None:
        blocks = [self.value(item.context_expr) for item in node.items]
        for item, block in zip(node.items, blocks):
            if not isinstance(block, Block) or item.optional_vars:
                raise self.stop(item.context_expr, f"uses `{self.source_of(item.context_expr)}`")
        flushes = any(isinstance(block, Block) and block.flushes for block in blocks)
        try:
            self._statements(node.body)
        except Returned:
            if flushes:
                self._flush(node)
            raise
        if flushes:
            self._flush(node)

    def _flush(self, node: ast.With) -> None:
        if "made" in self.events:
            self.events.append("flush")
            self.insert(node)

    _caught = ""
    _caught_as = ""

    def _do_Try(self, node: ast.Try) -> None:
        if node.finalbody:
            raise self.stop(node, "has a `finally`")
        names = [name for handler in node.handlers for name in self._caught_names(handler)]
        try:
            with self._handled(names):
                self._statements(node.body)
        except Raised as raised:
            self._handle(node, raised)
        else:
            self._statements(node.orelse)

    @contextlib.contextmanager
    def _handled(self, names: Sequence[str]) -> Iterator[None]:
        self.handlers.extend(names)
        try:
            yield
        finally:
            del self.handlers[len(self.handlers) - len(names) :]

    def _handle(self, node: ast.Try, raised: Raised) -> None:
        for handler in node.handlers:
            caught = self._caught_names(handler)
            if any(raised.kind in CATCHES[name] for name in caught):
                before = self._caught, self._caught_as
                self._caught, self._caught_as = raised.kind, handler.name or ""
                self._statements(handler.body)
                self._caught, self._caught_as = before
                return
        raise raised

    def _caught_names(self, handler: ast.ExceptHandler) -> list[str]:
        types = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
        names = [(dotted(each) or "Exception").rpartition(".")[2] for each in types]
        for name in names:
            if name not in CATCHES:
                raise self.stop(handler, f"handles `{name}`")
        return names


_WHY_NOT: Final[dict[type[ast.stmt], str]] = {
    ast.For: "has a loop",
    ast.While: "has a loop",
    ast.Delete: "deletes something, an argument perhaps",
    ast.AugAssign: "changes something",
    ast.Global: "sets a global",
    ast.FunctionDef: "has a function inside",
}
