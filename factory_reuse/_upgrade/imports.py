"""The imports of a file: ours comes in; those that nothing needs any more a linter removes."""

from __future__ import annotations

from typing import Final, Sequence, Union

import libcst as cst

PACKAGE: Final = "factory_reuse"
NAME: Final = "reuse_existing"

_Statement = Union[cst.SimpleStatementLine, cst.BaseCompoundStatement]


def our_name(body: Sequence[_Statement]) -> str | None:
    """Return what ``reuse_existing`` is called if one of these statements imports it."""
    for statement in body:
        for alias in _aliases(statement, PACKAGE):
            if alias.evaluated_name == NAME:
                return alias.evaluated_alias or NAME
    return None


def with_ours(module: cst.Module, before: int) -> cst.Module:
    """Return the file with our import, above the statement with a number."""
    body = list(module.body)
    for number, statement in enumerate(body[:before]):
        if _aliases(statement, PACKAGE) and not _has_comments(statement):
            body[number] = _merged(statement)
            return module.with_changes(body=body)
    _insert(body, _place(body[:before]), module)
    return module.with_changes(body=body)


def _from(statement: cst.CSTNode) -> cst.ImportFrom | None:
    if isinstance(statement, cst.SimpleStatementLine) and len(statement.body) == 1:
        inner = statement.body[0]
        return inner if isinstance(inner, cst.ImportFrom) else None
    return None


def _aliases(statement: cst.CSTNode, package: str) -> Sequence[cst.ImportAlias]:
    node = _from(statement)
    if node is None or node.relative or isinstance(node.names, cst.ImportStar):
        return ()
    return node.names if _name(node.module) == package else ()


def _name(node: cst.CSTNode | None) -> str:
    if isinstance(node, cst.Attribute):
        return f"{_name(node.value)}.{node.attr.value}"
    return node.value if isinstance(node, cst.Name) else ""


def _merged(statement: _Statement) -> _Statement:
    node = _from(statement)
    assert node is not None
    names = list(_aliases(statement, PACKAGE))
    place = sum(_isort_key(alias.evaluated_name) < _isort_key(NAME) for alias in names)
    comma = cst.Comma(whitespace_after=cst.SimpleWhitespace(" "))
    if node.lpar is not None and not node.lpar.whitespace_after.empty:
        comma = cst.Comma(whitespace_after=node.lpar.whitespace_after)  # one name a line
    new = cst.ImportAlias(cst.Name(NAME), comma=comma)
    if place == len(names):
        last = names[-1]
        new = new.with_changes(comma=last.comma)
        names[-1] = last.with_changes(comma=comma)
    names.insert(place, new)
    return statement.with_deep_changes(node, names=names)


def _has_comments(statement: _Statement) -> bool:
    """Whether there are comments between the names, which belong to one of them."""
    node = _from(statement)
    return node is not None and "#" in cst.Module([]).code_for_node(node)


def _isort_key(name: str) -> tuple[int, str]:
    """Constants, classes, functions, each by the alphabet."""
    kind = 0 if name.isupper() and len(name) > 1 else 1 if name[:1].isupper() else 2
    return kind, name


def _modules(statement: cst.CSTNode) -> list[str]:
    """Return the modules that an import names; relative ones begin with a dot."""
    if not isinstance(statement, cst.SimpleStatementLine):
        return []
    modules: list[str] = []
    for inner in statement.body:
        if isinstance(inner, cst.ImportFrom):
            modules.append("." * len(inner.relative) + _name(inner.module))
        elif isinstance(inner, cst.Import):
            modules += [_name(alias.name) for alias in inner.names]
    return modules


def _root(statement: cst.CSTNode) -> str:
    return (_modules(statement) or [""])[0].partition(".")[0]


def _place(body: Sequence[_Statement]) -> int:
    """Return where our import goes: behind factory_boy's, else behind the last that is absolute."""
    imports = [number for number, each in enumerate(body) if _modules(each)]
    absolute = [n for n in imports if _root(body[n]) not in ("", "__future__")]
    factory = [n for n in absolute if _root(body[n]) == "factory"]
    if not absolute:
        return _top(body)
    place = (factory or absolute)[-1] + 1
    while place < len(body) and factory and _goes_before(body[place]):
        place += 1
    return place


def _goes_before(statement: _Statement) -> bool:
    """Whether an import of the same block comes before ours, as isort has it."""
    modules = _modules(statement)
    if not modules or modules[0].startswith(".") or _has_blank(statement):
        return False
    return _from(statement) is None or modules[0] < PACKAGE


def _has_blank(statement: _Statement) -> bool:
    return any(line.comment is None for line in statement.leading_lines)


def _top(body: Sequence[_Statement]) -> int:
    """Return the place behind the docstring and what is imported from ``__future__``."""
    place = 0
    for number, statement in enumerate(body):
        inner = statement.body[0] if isinstance(statement, cst.SimpleStatementLine) else None
        value = inner.value if isinstance(inner, cst.Expr) else None
        if number == 0 and isinstance(value, (cst.SimpleString, cst.ConcatenatedString)):
            place = 1  # a docstring
        elif "__future__" in _modules(statement):
            place = number + 1
    return place


def _insert(body: list[_Statement], place: int, module: cst.Module) -> None:
    alone = place == 0 or not _modules(body[place - 1]) or _root(body[place - 1]) == "__future__"
    blank = [cst.EmptyLine(indent=False)] if alone and place > 0 else []
    ours = cst.SimpleStatementLine(
        [cst.ImportFrom(cst.Name(PACKAGE), [cst.ImportAlias(cst.Name(NAME))])], leading_lines=blank
    )
    body.insert(place, ours)
    follows = body[place + 1] if place + 1 < len(body) else None
    if follows is not None and alone and not _has_blank(follows):
        blank = [cst.EmptyLine(indent=False)] * (1 if _modules(follows) else 2)
        lines = [*blank, *follows.leading_lines]
        body[place + 1] = follows.with_changes(leading_lines=lines)
