"""What queries and caches compare and give."""

from __future__ import annotations

import ast
from typing import Final

from .machine import NO_RESULT, Machine, Raised
from .values import (
    EVERY_ROW,
    NOTHING,
    OWN,
    Cache,
    Column,
    Constant,
    Criterion,
    Given,
    Items,
    Named,
    Outside,
    Passed,
    Query,
    Stop,
    Value,
)

#: What gives one object: of a query, of a result with rows of one, and of one with the objects.
_ENDS: Final = ("first", "one_or_none", "one", "scalar")
_ENDS_ROWS: Final = ("scalar", "scalar_one", "scalar_one_or_none")
_ENDS_SCALARS: Final = ("first", "one_or_none", "one")
_ONE: Final = ("one", "scalar_one")


class Queries(Machine):
    """A way through a method, as far as its queries and caches are concerned."""

    def argument(self, node: ast.expr) -> Value:
        """Return what an argument stands for, with or without its star."""
        return self.value(node.value if isinstance(node, ast.Starred) else node)

    def of_query(self, node: ast.Call, name: str, query: Query) -> Value:
        """Return what a method of a query, or of its result, gives."""
        if name == "get" and len(node.args) == 1:
            return self.get(node, query.session, node.args[0])
        if query.ran and name == "scalars" and not query.scalars:
            return Query(query.criterion, query.session, ran=True, scalars=True)
        if query.ran and name == "unique":
            return query
        if not query.ran and name in ("filter_by", "filter", "where"):
            narrowed = query.criterion.both(self.criterion(node))
            return Query(narrowed, query.session, query.ran, query.scalars, query.primary)
        one_row = name == "limit" and [self.value(each) for each in node.args] == [Constant(1)]
        if not query.ran and one_row:
            self.notes.append("first")
            return query
        if not query.ran and name == "order_by":
            self.notes.append("ordered")
            return query
        ends = (_ENDS_SCALARS if query.scalars else _ENDS_ROWS) if query.ran else _ENDS
        if name in ends and not node.args and query.session is not None:
            return self.run(node, query, one=name in _ONE)
        if name in _ENDS_SCALARS and query.ran:
            raise self.stop(node, "takes a row of the result for the model's object")
        raise self.stop(node, f"asks for more than a key: `{self.source_of(node)}`")

    def run(self, node: ast.AST, query: Query, *, one: bool) -> Value:
        """Run a query for one row."""
        self.use(query.session or OWN, node)
        if not all(query.criterion.fields):
            raise self.stop(node, "takes any row, not that of a key")
        if query.primary:
            self.notes.append("primary")
        found = self.find(query.criterion.fields, "found")
        if "MultipleResultsFound" in self.handlers or "Exception" in self.handlers:
            self.notes.append("several")
        if found is None and one:
            raise Raised(NO_RESULT, node)
        return found or NOTHING

    def get(self, node: ast.AST, session: Outside | None, key: ast.expr) -> Value:
        """Look up by the primary key."""
        passed = self.value(key)
        if not isinstance(passed, Passed):
            raise self.stop(node, "looks up by a computed primary key")
        criterion = Criterion(((passed.field,),))
        return self.run(node, Query(criterion, session, primary=True), one=False)

    def criterion(self, node: ast.Call) -> Criterion:
        """Return what the arguments of ``filter`` or ``filter_by`` compare."""
        by_name = isinstance(node.func, ast.Attribute) and node.func.attr == "filter_by"
        if node.args if by_name else node.keywords:
            raise self.not_followed(node)
        criterion = EVERY_ROW
        for argument in node.args:
            for part in self.parts(argument):
                criterion = criterion.both(part)
        for keyword in node.keywords:
            value = self.value(keyword.value)
            if keyword.arg is not None:
                value = Named(((keyword.arg, value),))
            if value is Given.KWARGS:
                raise self.stop(node, "looks up by all arguments, not by a key")
            if not isinstance(value, Named):
                raise self.not_followed(keyword.value)
            for field, given in value.values:
                criterion = criterion.both(self.equal(Column(field), given, node))
        return criterion

    def parts(self, argument: ast.expr) -> list[Criterion]:
        """Return the criteria that one argument stands for."""
        value = self.argument(argument)
        parts = value.values if isinstance(value, Items) else (value,)
        criteria = [part for part in parts if isinstance(part, Criterion)]
        if len(criteria) < len(parts):
            raise self.stop(
                argument, f"compares more than fields with arguments: `{self.source_of(argument)}`"
            )
        return criteria

    def equal(self, left: Value, right: Value, node: ast.AST) -> Criterion:
        """Return the criterion that a column equals what is passed for it."""
        column, passed = (left, right) if isinstance(left, Column) else (right, left)
        if not isinstance(column, Column):
            raise self.not_followed(node)
        if isinstance(passed, (Constant, Outside)):
            raise self.fixed(node, column)
        if not isinstance(passed, Passed) or passed.field != column.field:
            raise self.stop(
                node, f"compares `{column.field}` with another value than the one passed for it"
            )
        return Criterion(((column.field,),))

    def fixed(self, node: ast.AST, column: Column) -> Stop:
        """Return the end of understanding at a condition that no argument has a part in."""
        return self.stop(
            node, f"looks only for rows with a certain `{column.field}`: say that with `where=`"
        )

    def cached(self, cache: Cache, key: ast.expr) -> Value | None:
        """Return what a cache holds for a key."""
        fields = self.key(key)
        if fields in self.stored:
            return self.stored[fields]
        self.note_cache(cache)
        return self.find(fields, "cached")

    def note_cache(self, cache: Cache) -> None:
        """Take note of a cache that is used."""
        entry = cache.name, cache.of_class
        if entry not in self.caches:
            self.caches.append(entry)

    def key(self, node: ast.expr) -> tuple[tuple[str, ...], ...]:
        """Return the fields of a cache's key."""
        value = self.value(node)
        parts = value.values if isinstance(value, Items) else (value,)
        fields = tuple(part.field for part in parts if isinstance(part, Passed))
        if not fields or len(fields) < len(parts):
            raise self.stop(node, "has a cache with a key that is computed")
        return (fields,)
