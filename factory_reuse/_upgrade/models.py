"""What a model's class says to be unique, read and not run."""

from __future__ import annotations

import ast
from dataclasses import dataclass, field
from typing import Final, Iterator, Sequence

from typing_extensions import final

from .classes import Factory
from .project import Project
from .sources import Source, assignments, dotted

_COLUMNS: Final = ("Column", "mapped_column", "Field")


@final
@dataclass
class _Model:
    """Attributes that are columns, and what is unique among the columns.

    Attributes:
        columns: by attribute, the name in the database.
        alone: the columns that are unique alone.
        together: the sets of columns that are unique together.
        doubt: why no more can be said.
    """

    columns: dict[str, str] = field(default_factory=dict)
    foreign: set[str] = field(default_factory=set)
    primary: list[str] = field(default_factory=list)
    alone: set[str] = field(default_factory=set)
    together: list[frozenset[str]] = field(default_factory=list)
    has_args: bool = False
    doubt: str | None = None


def doubt(factory: Factory, fields: Sequence[str]) -> str | None:
    """Return why fields may not be one composite key of the factory's model; ``None`` if they are.

    They are where one constraint is over exactly these, and none of them is unique alone.
    """
    name, model = _model(factory)
    if model is None:
        return f"the model {name} was not found"
    if model.doubt is not None:
        return f"{name} {model.doubt}"
    columns = [_column(model, each) for each in fields]
    unknown = [each for each, column in zip(fields, columns) if column is None]
    if unknown:
        return f"{name} has no column for `{unknown[0]}` that was found"
    for each, column in zip(fields, columns):
        if column in model.alone:
            return f"`{each}` is unique alone in {name}"
    if frozenset(columns) not in model.together:
        return f"{name} has no unique constraint over exactly these"
    return None


def is_unique(factory: Factory, keys: Sequence[Sequence[str]]) -> bool:
    """Whether constraints are known to enforce the keys."""
    _, model = _model(factory)
    if model is None:
        return False
    unique = [*model.together, *(frozenset((name,)) for name in model.alone)]
    return all(frozenset(_column(model, each) for each in key) in unique for key in keys)


def is_primary(factory: Factory, name: str) -> bool:
    """Whether a field is known to be the primary key."""
    _, model = _model(factory)
    return model is not None and model.primary == [model.columns.get(name)]


def _model(factory: Factory) -> tuple[str, _Model | None]:
    option = factory.option("model")
    name = dotted(option.value) if option else None
    if option is None or name is None:
        return "of the factory", None
    found = factory.project.define(option.source, name, option.near, inside=True)
    if found is None or not isinstance(found[1], ast.ClassDef):
        return name, None
    source, node = found[0], found[1]
    model = _Model()
    for each_source, each in _bases(factory.project, source, node):
        _read(model, each_source, each)
    if any(_is_constraint(source, n.value) for n in source.tree.body if isinstance(n, ast.Expr)):
        model.doubt = model.doubt or "has an index outside of its class"
    if model.primary:
        columns = frozenset(model.primary)
        model.together.append(columns)
        model.alone |= columns if len(columns) == 1 else frozenset()
    return name, model


def _bases(
    project: Project, source: Source, node: ast.ClassDef
) -> Iterator[tuple[Source, ast.ClassDef]]:
    waiting = [(source, node)]
    for each_source, each in waiting:
        yield each_source, each
        for base in each.bases:
            found = project.define(each_source, dotted(base) or "?", each)
            if found and isinstance(found[1], ast.ClassDef) and len(waiting) < 30:
                waiting.append((found[0], found[1]))


def _read(model: _Model, source: Source, node: ast.ClassDef) -> None:
    for name, value in assignments(node.body):
        if name == "__table__":
            model.doubt = "has a `__table__`"
        elif name == "__table_args__":
            if not model.has_args:  # those of a base are replaced
                _read_table_args(model, source, value)
            model.has_args = True
        elif isinstance(value, ast.Call) and name not in model.columns:
            called = (dotted(value.func) or "").rpartition(".")[2]
            if called in _COLUMNS:
                _read_column(model, name, value)
    if any(isinstance(n, ast.FunctionDef) and n.name == "__table_args__" for n in node.body):
        model.doubt = "computes its `__table_args__`"


def _read_column(model: _Model, name: str, call: ast.Call) -> None:
    first = call.args[0] if call.args else None
    named = isinstance(first, ast.Constant) and isinstance(first.value, str)
    column = str(first.value) if named and isinstance(first, ast.Constant) else name
    model.columns[name] = column
    said = {keyword.arg: keyword.value for keyword in call.keywords}
    for option in ("unique", "primary_key"):
        value = said.get(option, ast.Constant(False))
        if not isinstance(value, ast.Constant):
            model.doubt = f"says `{option}` of `{name}` in a way that cannot be read"
        elif value.value and option == "unique":
            model.alone.add(column)
            model.together.append(frozenset((column,)))
        elif value.value:
            model.primary.append(column)
    arguments = [*call.args, *said.values()]
    if any("ForeignKey" in (dotted(a.func) or "") for a in arguments if isinstance(a, ast.Call)):
        model.foreign.add(column)
    if "foreign_key" in said:  # SQLModel's
        model.foreign.add(column)


def _read_table_args(model: _Model, source: Source, value: ast.expr) -> None:
    if not isinstance(value, (ast.Tuple, ast.Dict)):
        model.doubt = "has `__table_args__` that cannot be read"
        return
    for item in value.elts if isinstance(value, ast.Tuple) else ():
        if isinstance(item, ast.Dict):
            continue
        if not isinstance(item, ast.Call):
            model.doubt = "has `__table_args__` that cannot be read"
        elif _is_constraint(source, item):
            _read_constraint(model, item)


def _is_constraint(source: Source, node: ast.expr) -> bool:
    called = dotted(node.func) if isinstance(node, ast.Call) else None
    return (called or "").rpartition(".")[2] in (
        "UniqueConstraint",
        "Index",
        "PrimaryKeyConstraint",
    )


def _read_constraint(model: _Model, call: ast.Call) -> None:
    kind = (dotted(call.func) or "").rpartition(".")[2]
    said = {keyword.arg: keyword.value for keyword in call.keywords}
    arguments = call.args[1:] if kind == "Index" else call.args
    if kind == "Index" and not getattr(said.get("unique"), "value", False):
        return
    names = [_column_named(model, argument) for argument in arguments]
    if any(name is None for name in names) or any("where" in str(option) for option in said):
        model.doubt = "has a unique index with a condition or an expression"
        return
    columns = frozenset(name for name in names if name is not None)
    if len(columns) == 1:
        model.alone |= columns
    model.together.append(columns)


def _column_named(model: _Model, node: ast.expr) -> str | None:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    return model.columns.get(node.id) if isinstance(node, ast.Name) else None


def _column(model: _Model, name: str) -> str | None:
    """Return the column of a field; of a relationship that whose name says so."""
    if name in model.columns:
        return model.columns[name]
    foreign = model.columns.get(f"{name}_id")
    return foreign if foreign in model.foreign else None
