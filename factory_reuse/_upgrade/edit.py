"""Apply what was recognised to a file, and leave every other character as it is."""

from __future__ import annotations

import ast
import re
import warnings
from pathlib import Path
from typing import Any, Final, Mapping, Sequence

import libcst as cst
from libcst.metadata import MetadataWrapper, PositionProvider

from . import imports
from .checks import GET_OR_CREATE, PERSISTENCE
from .recognise import Lookup
from .sources import SCOPES, Source

_Body = Sequence[cst.BaseStatement]

#: Comments that are for tools, about the very line that goes.
_PRAGMA: Final = re.compile(
    r"#\s*(noqa\b|type:\s*ignore|nosec\b|(pragma|pylint|mypy|pyright|fmt|ruff|isort):)"
)


class Unchangeable(Exception):
    """The file can be read but not be changed; the message says why."""


def edited(content: bytes, lookups: Mapping[int, Lookup]) -> bytes:
    """Return a file with lookups replaced.

    Args:
        content: the file.
        lookups: by the line of the class statement.

    Raises:
        Unchangeable: it cannot be written back as it is.
    """
    try:
        module = cst.parse_module(content)
    except cst.ParserSyntaxError as error:
        raise Unchangeable(f"libcst cannot parse it: {error.message}.") from error
    if module.bytes != content:
        raise Unchangeable("libcst would change more of it than what is meant.")
    wrapper = MetadataWrapper(module, unsafe_skip_copy=True)
    before = _first_statement(wrapper, lookups)
    name = imports.our_name(module.body[:before])
    editor = _Editor(lookups, name or imports.NAME)
    changed = wrapper.visit(editor)
    if set(editor.applied) != set(lookups):
        raise Unchangeable("libcst counts its lines in another way.")
    if any(not lookup.turned_off for lookup in lookups.values()):
        if _binds(Source.of(Path(), content), name or imports.NAME):
            raise Unchangeable(f"The name `{imports.NAME}` means something else in this file.")
        changed = changed if name else imports.with_ours(changed, before)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        compile(changed.bytes, "<upgraded>", "exec", dont_inherit=True)
    return changed.bytes


def _first_statement(wrapper: MetadataWrapper, lookups: Mapping[int, Lookup]) -> int:
    """Return the number of the first statement of the module that has one of the classes."""
    positions = wrapper.resolve(PositionProvider)
    for number, statement in enumerate(wrapper.module.body):
        place: Any = positions[statement]
        if any(place.start.line <= line <= place.end.line for line in lookups):
            return number
    return 0


def _binds(source: Source, name: str) -> bool:
    """Whether a file gives our name another meaning somewhere, in whatever scope."""
    scopes = [node for node in ast.walk(source.tree) if isinstance(node, SCOPES)]
    for scope in scopes:
        for node in source.bindings(scope).get(name, []):
            if not (
                scope is source.tree
                and isinstance(node, ast.ImportFrom)
                and node.module == imports.PACKAGE
                and all((a.asname or a.name) != name or a.name == imports.NAME for a in node.names)
            ):
                return True
    return False


class _Editor(cst.CSTTransformer):
    METADATA_DEPENDENCIES = (PositionProvider,)

    def __init__(self, lookups: Mapping[int, Lookup], name: str) -> None:
        super().__init__()
        self.lookups = lookups
        self.name = name
        self.applied: list[int] = []

    def leave_ClassDef(
        self, original_node: cst.ClassDef, updated_node: cst.ClassDef
    ) -> cst.BaseStatement:
        position: Any = self.get_metadata(PositionProvider, original_node.name)
        line = position.start.line
        lookup = self.lookups.get(line)
        if lookup is None or lookup.factory.rpartition(".")[2] != original_node.name.value:
            return updated_node
        if not isinstance(updated_node.body, cst.IndentedBlock):
            return updated_node  # on one line there is no _create, and no Meta
        self.applied.append(line)
        body, comments = _rewritten(updated_node.body.body, lookup)
        changed = updated_node.with_changes(
            body=updated_node.body.with_changes(body=body or [_pass()]),
            leading_lines=[*updated_node.leading_lines, *comments],
        )
        return changed if lookup.turned_off else self._decorate(changed, lookup)

    def _decorate(self, node: cst.ClassDef, lookup: Lookup) -> cst.ClassDef:
        expression = cst.parse_expression(self.name + lookup.arguments)
        ours = cst.Decorator(expression)
        if node.decorators:  # what stands between them and the class comes below all of them
            return node.with_changes(decorators=[*node.decorators, ours])
        return node.with_changes(decorators=[ours])


def _pass() -> cst.SimpleStatementLine:
    return cst.SimpleStatementLine([cst.Pass()])


def _rewritten(body: _Body, lookup: Lookup) -> tuple[list[cst.BaseStatement], list[cst.EmptyLine]]:
    """Return the body of a class, with the comments that it loses."""
    kept: list[cst.BaseStatement] = []
    comments: list[cst.EmptyLine] = []
    removed = False
    has_meta = any(_is_class(statement, "Meta") for statement in body)
    for statement in body:
        if _is_class(statement, "Meta") and isinstance(statement, cst.ClassDef):
            meta, lost = _meta(statement, lookup)
            comments += lost
            if meta is None:
                removed = True
                continue
            statement = meta
        elif lookup.method and _is_function(statement, "_create"):
            comments += _comments(statement)
            removed = True
            continue
        kept.append(_first(statement) if not kept and removed else statement)
    if not has_meta and lookup.persistence is not None:
        place = _behind_docstring(kept)
        kept[place:] = [_new_meta(lookup.persistence), *_set_off(kept[place:])]
    return kept, comments


def _first(statement: cst.BaseStatement) -> cst.BaseStatement:
    """Return a statement without the blank lines above it: nothing stands there any more."""
    lines = list(getattr(statement, "leading_lines", ()))
    while lines and lines[0].comment is None:
        del lines[0]
    return statement.with_changes(leading_lines=lines)


def _set_off(body: Sequence[cst.BaseStatement]) -> list[cst.BaseStatement]:
    """Return statements with a blank line above the first."""
    lines = list(getattr(body[0], "leading_lines", ())) if body else []
    if not body or any(line.comment is None for line in lines):
        return list(body)
    first = body[0].with_changes(leading_lines=[cst.EmptyLine(indent=False), *lines])
    return [first, *body[1:]]


def _behind_docstring(body: Sequence[cst.BaseStatement]) -> int:
    first = body[0] if body else None
    inner = first.body[0] if isinstance(first, cst.SimpleStatementLine) else None
    return int(isinstance(inner, cst.Expr) and isinstance(inner.value, cst.SimpleString))


def _new_meta(persistence: str) -> cst.ClassDef:
    block = cst.IndentedBlock([_says(PERSISTENCE, persistence)])
    return cst.ClassDef(cst.Name("Meta"), block, leading_lines=[])


def _says(name: str, value: str) -> cst.SimpleStatementLine:
    target = cst.AssignTarget(cst.Name(name))
    return cst.SimpleStatementLine([cst.Assign([target], cst.parse_expression(value))])


def _is_class(statement: cst.CSTNode, name: str) -> bool:
    return isinstance(statement, cst.ClassDef) and statement.name.value == name


def _is_function(statement: cst.CSTNode, name: str) -> bool:
    return isinstance(statement, cst.FunctionDef) and statement.name.value == name


def _target(inner: cst.CSTNode) -> str | None:
    if isinstance(inner, cst.Assign) and len(inner.targets) == 1:
        target: cst.CSTNode = inner.targets[0].target
    elif isinstance(inner, cst.AnnAssign):
        target = inner.target
    else:
        return None
    return target.value if isinstance(target, cst.Name) else None


def _meta(meta: cst.ClassDef, lookup: Lookup) -> tuple[cst.ClassDef | None, list[cst.EmptyLine]]:
    """Return ``class Meta`` as it is to be; ``None`` if nothing of it is left."""
    replaced = {GET_OR_CREATE: None} if lookup.option else {}
    said: dict[str, str | None] = {**replaced}
    if lookup.turned_off:
        said[GET_OR_CREATE] = "reuse = False"
    if lookup.persistence is not None:
        said[PERSISTENCE] = f"{PERSISTENCE} = {lookup.persistence}"
    if not said:
        return meta, []
    if not isinstance(meta.body, cst.IndentedBlock):  # class Meta: model = A; ...
        return _one_line_meta(meta, said)
    body, lost = _meta_body(list(meta.body.body), said)
    if body:
        return meta.with_changes(body=meta.body.with_changes(body=body)), lost
    if meta.bases or lost or meta.body.footer or meta.body.header.comment:
        block = meta.body.with_changes(body=[_pass()])
        return meta.with_changes(body=block), lost
    return None, _comments(meta)


def _meta_body(
    body: list[cst.BaseStatement], said: Mapping[str, str | None]
) -> tuple[list[cst.BaseStatement], list[cst.EmptyLine]]:
    kept: list[cst.BaseStatement] = []
    lost: list[cst.EmptyLine] = []
    written: set[str] = set()
    for statement in body:
        if isinstance(statement, cst.SimpleStatementLine):
            changed, dropped = _replaced(statement, said, written)
            lost += dropped
            if changed is None:
                continue
            statement = changed
        kept.append(_first(statement) if not kept and lost != [] else statement)
    for name, text in said.items():
        if text is not None and name not in written:
            kept.append(_line(text))
    return kept, lost


def _line(text: str) -> cst.SimpleStatementLine:
    statement = cst.parse_statement(text + "\n")
    assert isinstance(statement, cst.SimpleStatementLine)
    return statement.with_changes(trailing_whitespace=cst.TrailingWhitespace())


def _replaced(
    statement: cst.SimpleStatementLine, said: Mapping[str, str | None], written: set[str]
) -> tuple[cst.SimpleStatementLine | None, list[cst.EmptyLine]]:
    """Return a line of ``class Meta`` as it is to be, and the comments that it loses."""
    kept: list[cst.BaseSmallStatement] = []
    lost: list[cst.EmptyLine] = []
    for inner in statement.body:
        name = _target(inner)
        if name is None or name not in said:
            kept.append(inner)
            continue
        text = said[name]
        lost += _comments(inner)
        if text is not None:
            written.add(name)
            kept.append(_line(text).body[0].with_changes(semicolon=inner.semicolon))
    if not kept:
        return None, _comments(statement)
    kept[-1] = kept[-1].with_changes(semicolon=statement.body[-1].semicolon)
    return statement.with_changes(body=kept), lost


def _one_line_meta(
    meta: cst.ClassDef, said: Mapping[str, str | None]
) -> tuple[cst.ClassDef | None, list[cst.EmptyLine]]:
    assert isinstance(meta.body, cst.SimpleStatementSuite)
    line = cst.SimpleStatementLine(meta.body.body)
    written: set[str] = set()
    changed, lost = _replaced(line, said, written)
    body = list(changed.body) if changed is not None else []
    for name, text in said.items():
        if text is not None and name not in written:
            if body:
                semicolon = cst.Semicolon(whitespace_after=cst.SimpleWhitespace(" "))
                body[-1] = body[-1].with_changes(semicolon=semicolon)
            body.append(_line(text).body[0])
    if not body:
        return None, _comments(meta)
    return meta.with_changes(body=meta.body.with_changes(body=body)), lost


def _comments(node: cst.CSTNode) -> list[cst.EmptyLine]:
    """Return the comments in a node, those for tools left out, as lines of their own."""
    found: list[cst.Comment] = []

    class Comments(cst.CSTVisitor):
        def visit_Comment(self, node: cst.Comment) -> None:
            if not _PRAGMA.match(node.value):
                found.append(node)

    node.visit(Comments())
    return [cst.EmptyLine(comment=comment) for comment in found]
