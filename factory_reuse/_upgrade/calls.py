"""What the calls in a ``_create`` do: those of a session, a query, a cache, and a few functions."""

from __future__ import annotations

import ast
from typing import Callable, Final

from .classes import SAVING
from .queries import Queries
from .sources import dotted
from .values import (
    EVERY_ROW,
    NOTHING,
    OWN,
    Block,
    Cache,
    Column,
    Constant,
    Found,
    Given,
    Items,
    Made,
    Named,
    Outside,
    Passed,
    Query,
    Value,
)

Handler = Callable[["Calls", ast.Call, Value], Value]


class Calls(Queries):
    """A way through a method, as far as calls are concerned."""

    def _Call(self, node: ast.Call) -> Value:
        function = node.func
        if isinstance(function, ast.Attribute):
            return self._method(node, function)
        name = self.full_name(function)
        known = _BUILTINS.get(name) or (_is_sql(name) and _SQL.get(name.rpartition(".")[2]))
        if known:
            return known(self, node)
        return self._call_value(node, self.value(function))

    def _call_value(self, node: ast.Call, called: Value) -> Value:
        if called is Given.MODEL:
            return self._make(node, by_super=False)
        if called is OWN:
            return OWN
        if isinstance(called, Outside) and not node.args and not node.keywords and called.source:
            self.called.append(called.source + "()")
            return Outside(called.source + "()", called.local)
        raise self.not_followed(node)

    def _make(self, node: ast.Call, *, by_super: bool) -> Value:
        given = [self.argument(argument) for argument in node.args]
        given += [self.value(k.value) for k in node.keywords if k.arg is None]
        back = {k.arg: self.value(k.value) for k in node.keywords if k.arg is not None}
        for field in self.popped:
            if back.pop(field, None) != Passed(field):
                raise self.stop(node, f"takes `{field}` out of the arguments")
        wanted: list[Value] = [Given.MODEL] if by_super else []
        usual = [*wanted, Given.ARGS, Given.KWARGS], [*wanted, Given.KWARGS]
        if back or given not in usual:
            raise self.stop(node, "creates from other arguments than it is called with")
        self.events.append("made")
        if by_super:
            self.events.append("added")
            self.notes.append("made_by_super")
            self.insert(node)
        return Made(by_super)

    def _method(self, node: ast.Call, function: ast.Attribute) -> Value:
        full = self.full_name(function)
        if _is_sql(full) and function.attr in _SQL:
            return _SQL[function.attr](self, node)
        if is_super(function.value):
            return self._super(node, function)
        receiver = self.value(function.value)
        if function.attr == "query" and receiver is Given.MODEL:
            raise self.stop(node, "calls the model's `query`")
        if receiver is Given.CLS:
            raise self.stop(node, f"calls `{self.source_of(function)}`, another method")
        if receiver is Given.KWARGS:
            return self._of_kwargs(node, function.attr)
        if isinstance(receiver, Cache) and function.attr == "get" and len(node.args) == 1:
            return self.cached(receiver, node.args[0]) or NOTHING
        if isinstance(receiver, Column):
            raise self.fixed(node, receiver)
        if isinstance(receiver, (Passed, Found, Made)):
            raise self.stop(node, f"computes `{self.source_of(node)}`")
        if isinstance(receiver, Query):
            return self.of_query(node, function.attr, receiver)
        if receiver is Given.META and function.attr.startswith("sqlalchemy_session"):
            return OWN
        if isinstance(receiver, Outside) and function.attr in _OF_SESSION:
            return _OF_SESSION[function.attr](self, node, receiver)
        if isinstance(receiver, Outside) and not node.args and not node.keywords:
            return self._call_value(node, self.value(function))
        raise self.not_followed(node)

    def _super(self, node: ast.Call, function: ast.Attribute) -> Value:
        called = function.value
        given = called.args if isinstance(called, ast.Call) else []
        own = [dotted(each) == "__class__" or self.value(each) is Given.CLS for each in given]
        if function.attr != "_create" or own not in ([], [True, True]):
            raise self.stop(node, f"calls `{self.source_of(function)}`")
        return self._make(node, by_super=True)

    def _of_kwargs(self, node: ast.Call, name: str) -> Value:
        key = self.value(node.args[0]) if node.args else NOTHING
        field = key.value if isinstance(key, Constant) else None
        if field in self.popped:
            raise self.stop(node, f"takes `{field}` out of the arguments")
        own = node.func.value if isinstance(node.func, ast.Attribute) else node
        itself = isinstance(own, ast.Name) and own.id == self.method.all_arguments
        if name == "pop" and isinstance(field, str) and itself and len(node.args) == 1:
            self.popped.append(field)
            return Passed(field)
        if name == "get" and isinstance(field, str):
            if len(node.args) > 1 and self.value(node.args[1]) != NOTHING:
                raise self.stop(node, f"has a default of its own for `{field}`")
            return Passed(field)
        if name == "copy":
            return Given.KWARGS
        if name in ("pop", "setdefault", "update"):
            raise self.stop(node, f"changes the arguments: `{self.source_of(node)}`")
        raise self.not_followed(node)


def _is_sql(name: str) -> bool:
    return name.startswith(("sqlalchemy.", "sqlmodel."))


def is_super(node: ast.expr) -> bool:
    """Whether an expression is ``super()``, with or without arguments."""
    return isinstance(node, ast.Call) and dotted(node.func) == "super"


# What a session does -----------------------------------------------------------------------------


def _query(run: Calls, node: ast.Call, session: Value) -> Value:
    if [run.value(argument) for argument in node.args] != [Given.MODEL]:
        raise run.stop(node, "queries for something else than the model")
    return Query(EVERY_ROW, run.use(session, node))


def _execute(run: Calls, node: ast.Call, session: Value, *, scalars: bool = False) -> Query:
    statement = run.value(node.args[0]) if len(node.args) == 1 else NOTHING
    if not isinstance(statement, Query) or statement.ran:
        raise run.not_followed(node)
    return Query(statement.criterion, run.use(session, node), ran=True, scalars=scalars)


def _scalars(run: Calls, node: ast.Call, session: Value) -> Value:
    return _execute(run, node, session, scalars=True)


def _scalar(run: Calls, node: ast.Call, session: Value) -> Value:
    return run.run(node, _execute(run, node, session), one=False)


def _get(run: Calls, node: ast.Call, session: Value) -> Value:
    if len(node.args) != 2 or run.value(node.args[0]) is not Given.MODEL:
        raise run.not_followed(node)
    return run.get(node, run.use(session, node), node.args[1])


def _add(run: Calls, node: ast.Call, session: Value) -> Value:
    run.use(session, node)
    added = [run.value(argument) for argument in node.args]
    added = list(added[0].values) if len(added) == 1 and isinstance(added[0], Items) else added
    if len(added) != 1 or not isinstance(added[0], Made):
        raise run.stop(node, "adds something else than the new object")
    run.events.append("added")
    return NOTHING


def _write(run: Calls, node: ast.Call, session: Value) -> Value:
    run.use(session, node)
    if node.args or node.keywords:
        raise run.not_followed(node)
    event = node.func.attr if isinstance(node.func, ast.Attribute) else ""
    run.events.append(event)
    if event != "rollback":
        run.insert(node)
    return NOTHING


def _refresh(run: Calls, node: ast.Call, session: Value) -> Value:
    run.use(session, node)
    if len(node.args) != 1 or not isinstance(run.value(node.args[0]), Made):
        raise run.stop(node, "reloads something else than the new object")
    if "commit" not in run.events:  # which expires it
        run.notes.append("reloaded")
    return NOTHING


def _block(run: Calls, node: ast.Call, session: Value) -> Value:
    run.use(session, node)
    return Block(flushes=True)


_OF_SESSION: Final[dict[str, Handler]] = {
    "query": _query,
    "execute": _execute,
    "scalars": _scalars,
    "exec": _scalars,
    "scalar": _scalar,
    "get": _get,
    "add": _add,
    "add_all": _add,
    "flush": _write,
    "commit": _write,
    "rollback": _write,
    "refresh": _refresh,
    "begin_nested": _block,
}


# Functions ---------------------------------------------------------------------------------------


def _select(run: Calls, node: ast.Call) -> Value:
    if [run.value(argument) for argument in node.args] != [Given.MODEL]:
        raise run.stop(node, "queries for something else than the model")
    return Query(EVERY_ROW, scalars=False)


def _and(run: Calls, node: ast.Call) -> Value:
    return run.criterion(node)


def _or(run: Calls, node: ast.Call) -> Value:
    criteria = [part for argument in node.args for part in run.parts(argument)]
    if not criteria:
        raise run.not_followed(node)
    either = criteria[0]
    for criterion in criteria[1:]:
        either = either.either(criterion)
    return either


def _getattr(run: Calls, node: ast.Call) -> Value:
    values = [run.value(argument) for argument in node.args]
    if len(values) != 2 or values[0] is not Given.MODEL or not isinstance(values[1], Constant):
        raise run.not_followed(node)
    return Column(str(values[1].value))


def _dict(run: Calls, node: ast.Call) -> Value:
    given = [run.value(argument) for argument in node.args]
    if given == [Given.KWARGS] and not node.keywords:
        return Given.KWARGS
    if given or any(keyword.arg is None for keyword in node.keywords):
        raise run.not_followed(node)
    return Named(tuple((str(k.arg), run.value(k.value)) for k in node.keywords))


def _tuple(run: Calls, node: ast.Call) -> Value:
    value = run.value(node.args[0]) if len(node.args) == 1 else NOTHING
    if not isinstance(value, Items):
        raise run.not_followed(node)
    return value


_Function = Callable[[Calls, ast.Call], Value]

_SQL: Final[dict[str, _Function]] = {"select": _select, "and_": _and, "or_": _or}

_BUILTINS: Final[dict[str, _Function]] = {
    "getattr": _getattr,
    "dict": _dict,
    "tuple": _tuple,
    "list": _tuple,
}

#: What makes a ``_create`` one that looks up, understood or not.
LOOKING_UP: Final = frozenset(
    ("query", "select", "filter_by", "get_or_create", "scalar_one_or_none", "one_or_none")
) | frozenset(SAVING[2:])
