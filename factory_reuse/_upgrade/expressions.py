"""What the expressions of a ``_create`` stand for: conditions, names and literals."""

from __future__ import annotations

import ast
from typing import Iterator

from .calls import Calls
from .machine import NO_KEY, Raised
from .sources import Source, dotted, is_value
from .values import (
    NOTHING,
    OWN,
    Block,
    Cache,
    Column,
    Constant,
    Criterion,
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


class Expressions(Calls):
    """A way through a method, as far as expressions are concerned."""

    def value(self, node: ast.expr) -> Value:
        """Return what an expression stands for."""
        handler = getattr(self, "_" + type(node).__name__, None)
        if handler is None:
            raise self.not_followed(node)
        value: Value = handler(node)
        return value

    # Conditions ------------------------------------------------------------------------------

    def is_true(self, node: ast.expr) -> bool:
        """Return how a condition comes out here."""
        return self._truth(self.value(node), node)

    def _truth(self, value: Value, node: ast.expr) -> bool:
        if isinstance(value, Constant):
            return bool(value.value)
        if isinstance(value, (Found, Made)) or value is OWN:
            return True
        if isinstance(value, Passed):
            self.notes.append("empty")
            return self.given(value.field)
        raise self.stop(node, f"depends on `{self.source_of(node)}`")

    def _UnaryOp(self, node: ast.UnaryOp) -> Value:
        if not isinstance(node.op, ast.Not):
            raise self.not_followed(node)
        return Constant(not self.is_true(node.operand))

    def _BoolOp(self, node: ast.BoolOp) -> Value:
        stopping = isinstance(node.op, ast.Or)
        value: Value = NOTHING
        for operand in node.values:
            value = self.value(operand)
            if isinstance(value, Outside):
                raise self.stop(operand, f"chooses between sessions: `{self.source_of(node)}`")
            if self._truth(value, operand) is stopping:
                break
        return value

    def _IfExp(self, node: ast.IfExp) -> Value:
        return self.value(node.body if self.is_true(node.test) else node.orelse)

    def _NamedExpr(self, node: ast.NamedExpr) -> Value:
        value = self.value(node.value)
        self.names[node.target.id] = value
        return value

    def _Compare(self, node: ast.Compare) -> Value:
        if len(node.ops) != 1:
            raise self.not_followed(node)
        operator, right = node.ops[0], node.comparators[0]
        if isinstance(operator, (ast.In, ast.NotIn)):
            return Constant(self._is_in(node, right) is isinstance(operator, ast.In))
        return self._compared(node, self.value(node.left), operator, self.value(right))

    def _is_in(self, node: ast.Compare, right: ast.expr) -> bool:
        holder = self.value(right)
        if isinstance(holder, Cache):
            return self.cached(holder, node.left) is not None
        key = self.value(node.left)
        if holder is Given.KWARGS and isinstance(key, Constant):
            if key.value in self.popped:
                raise self.stop(node, f"takes `{key.value}` out of the arguments")
            return self.given(key.value, "in")
        raise self.stop(node, f"depends on `{self.source_of(node)}`")

    def _compared(self, node: ast.Compare, left: Value, operator: ast.cmpop, right: Value) -> Value:
        positive = isinstance(operator, (ast.Is, ast.Eq))
        if not positive and not isinstance(operator, (ast.IsNot, ast.NotEq)):
            raise self.not_followed(node)
        if right == NOTHING and isinstance(left, Passed):
            return Constant(self.given(left.field) is not positive)
        known = isinstance(left, (Constant, Found, Made)) or left is OWN
        if right == NOTHING and known:
            return Constant((left == NOTHING) is positive)
        if isinstance(operator, ast.Eq):
            return self.equal(left, right, node)
        raise self.stop(node, f"depends on `{self.source_of(node)}`")

    def _BinOp(self, node: ast.BinOp) -> Value:
        left, right = self.value(node.left), self.value(node.right)
        if isinstance(left, Criterion) and isinstance(right, Criterion):
            if isinstance(node.op, ast.BitAnd):
                return left.both(right)
            if isinstance(node.op, ast.BitOr):
                return left.either(right)
        raise self.not_followed(node)

    # Names and literals ----------------------------------------------------------------------

    def _Constant(self, node: ast.Constant) -> Value:
        return Constant(node.value)

    def _Tuple(self, node: ast.Tuple | ast.List | ast.Set) -> Value:
        return Items(tuple(self.value(each) for each in node.elts))

    _List = _Set = _Tuple

    def _Dict(self, node: ast.Dict) -> Value:
        pairs: list[tuple[str, Value]] = []
        for key, value in zip(node.keys, node.values):
            name = self.value(key) if key is not None else NOTHING
            if not isinstance(name, Constant) or not isinstance(name.value, str):
                raise self.not_followed(node)
            pairs.append((name.value, self.value(value)))
        return Named(tuple(pairs))

    def _DictComp(self, node: ast.DictComp) -> Value:
        pairs: list[tuple[str, Value]] = self._chosen(node)
        for _ in () if pairs else self._each(node, node.generators):
            name = self.value(node.key)
            if not isinstance(name, Constant):
                raise self.not_followed(node)
            pairs.append((str(name.value), self.value(node.value)))
        return Named(tuple(pairs))

    def _chosen(self, node: ast.DictComp) -> list[tuple[str, Value]]:
        """Return ``{k: v for k, v in kwargs.items() if k in FIELDS}``, all of which are given."""
        (first, *others) = node.generators
        target, test = first.target, first.ifs[0] if len(first.ifs) == 1 else None
        items = first.iter if isinstance(first.iter, ast.Call) and not first.iter.args else None
        names = [dotted(each) for each in target.elts] if isinstance(target, ast.Tuple) else []
        if (
            others
            or items is None
            or not isinstance(items.func, ast.Attribute)
            or items.func.attr != "items"
            or self.value(items.func.value) is not Given.KWARGS
            or not isinstance(test, ast.Compare)
            or [type(each) for each in test.ops] != [ast.In]
            or names != [dotted(node.key), dotted(node.value)]
            or dotted(test.left) != names[0]
            or None in names
        ):
            return []
        fields = self.value(test.comparators[0])
        found: list[tuple[str, Value]] = []
        for field in fields.values if isinstance(fields, Items) else ():
            name = str(field.value) if isinstance(field, Constant) else ""
            if not self.method.factory.declaration(name):
                raise self.stop(node, f"looks up by `{name}` only where it is given")
            found.append((name, Passed(name)))
        return found

    def _ListComp(self, node: ast.ListComp | ast.GeneratorExp) -> Value:
        return Items(tuple(self.value(node.elt) for _ in self._each(node, node.generators)))

    _GeneratorExp = _ListComp

    def _each(self, node: ast.expr, generators: list[ast.comprehension]) -> Iterator[None]:
        (first, *others) = generators
        items = self.value(first.iter)
        if others or first.ifs or not isinstance(items, Items):
            raise self.stop(node, f"looks up by fields that vary: `{self.source_of(node)}`")
        if not isinstance(first.target, ast.Name):
            raise self.not_followed(node)
        for value in items.values:
            self.names[first.target.id] = value
            yield

    def _Subscript(self, node: ast.Subscript) -> Value:
        holder = self.value(node.value)
        if isinstance(holder, Cache):
            held = self.cached(holder, index(node))
            if held is None:
                raise Raised(NO_KEY, node)
            return held
        key = self.value(index(node))
        if holder is Given.KWARGS and isinstance(key, Constant) and key.value not in self.popped:
            return Passed(str(key.value))
        if isinstance(holder, Named) and isinstance(key, Constant):
            return dict(holder.values).get(str(key.value), NOTHING)
        raise self.not_followed(node)

    def _Name(self, node: ast.Name) -> Value:
        if node.id in self.names:
            return self.names[node.id]
        if self.is_model(node.id):
            return Given.MODEL
        if node.id == self.method.factory.node.name:
            return Given.CLS
        factory = self.method.factory
        found = factory.source.binding(node.id, factory.node, inside=True)
        if node.id in self.method.local:
            raise self.not_followed(node)
        if is_value(found) and isinstance(found, ast.expr):
            if _is_empty(found):
                return Cache(node.id, of_class=False)
            if is_fixed(factory.source, node.id, found):
                return self.value(found)
        return Outside(node.id)

    def _Attribute(self, node: ast.Attribute) -> Value:
        name = dotted(node)
        if name and name.partition(".")[0] not in self.names and self.is_model(name):
            return Given.MODEL
        holder = self.value(node.value)
        if holder is Given.CLS:
            return Given.META if node.attr == "_meta" else self._of_class(node)
        if holder is Given.META:
            return self._of_meta(node)
        if holder is Given.MODEL:
            return self._of_model(node)
        if holder is OWN and node.attr == "session_factory":
            raise self.not_followed(node)
        if isinstance(holder, Outside):
            if node.attr == "no_autoflush":
                self.notes.append("no_autoflush")
                return Block()
            if holder.source is not None:
                return Outside(f"{holder.source}.{node.attr}", holder.local)
        if isinstance(holder, (Found, Made, Passed)):
            raise self.stop(node, f"looks into `{self.source_of(node)}`")
        raise self.not_followed(node)

    def _of_class(self, node: ast.Attribute) -> Value:
        factory = self.method.factory
        own, said = factory.bindings(node.attr), self.source_of(node)
        for other in factory.descendants:
            if other.bindings(node.attr):
                raise self.stop(node, f"reads `{said}`, which differs in `{other.name}`")
        if len(own) != 1 or not isinstance(own[0], ast.expr) or not is_value(own[0]):
            raise self.stop(node, f"reads `{said}`, which this class does not set")
        if any(_sets(mention.node) for mention in factory.mentions(node.attr)):
            raise self.stop(node, f"reads `{said}`, which is set elsewhere")
        if _is_empty(own[0]):
            return Cache(node.attr, of_class=True)
        return self.value(own[0])

    def _of_meta(self, node: ast.Attribute) -> Value:
        if node.attr == "model":
            return Given.MODEL
        if node.attr in ("sqlalchemy_session", "sqlalchemy_session_factory"):
            return OWN
        option = self.method.factory.option(node.attr)
        value = option.value if option else None
        if node.attr == "sqlalchemy_get_or_create" and value and _is_literal(value):
            return self.value(value)
        raise self.stop(node, f"reads `{self.source_of(node)}`")

    def _of_model(self, node: ast.Attribute) -> Value:
        if node.attr == "query":
            session = self.method.factory.option("sqlalchemy_session")
            name = dotted(session.value) if session else None
            if name and name.endswith(".session"):  # Flask-SQLAlchemy's, which the query is of
                return Query(Criterion(((),)), OWN)
            raise self.stop(node, "uses the model's `query`, which does not tell its session")
        if node.attr.startswith("__"):
            raise self.not_followed(node)
        return Column(node.attr)


def index(node: ast.Subscript) -> ast.expr:
    """Return what is between the brackets, which Python 3.8 wraps."""
    inner = node.slice
    return getattr(inner, "value", inner) if type(inner).__name__ == "Index" else inner


def _is_empty(node: ast.expr) -> bool:
    if isinstance(node, ast.Dict):
        return not node.keys
    name = dotted(node.func) if isinstance(node, ast.Call) else None
    empty = isinstance(node, ast.Call) and not node.args and not node.keywords
    return empty and (name or "").rpartition(".")[2] in ("dict", "WeakValueDictionary")


def _sets(node: ast.AST) -> bool:
    return not isinstance(node, ast.Attribute) or not isinstance(node.ctx, ast.Load)


def is_fixed(source: Source, name: str, value: ast.AST) -> bool:
    """Whether an assigned value is a literal that stays as it is."""
    if not _is_literal(value):
        return False
    changing = isinstance(value, (ast.List, ast.Set)) and any(
        dotted(mention.node.value) == name
        for mentions in source.mentions.values()
        for mention in mentions
        if isinstance(mention.node, ast.Attribute)
    )
    return not changing


def _is_literal(node: ast.AST) -> bool:
    if isinstance(node, ast.Constant):
        return isinstance(node.value, str)
    return isinstance(node, (ast.Tuple, ast.List, ast.Set)) and all(map(_is_literal, node.elts))
