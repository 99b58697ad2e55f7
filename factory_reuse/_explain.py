"""A dry run of one call, in words: ``factory-reuse explain``.

It goes the way of a call that only finds (see :class:`._builders.FindBuilder`), one question of the
decision after the other, and says what a create would do with the answer. Nothing is inserted.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import Any, Iterator, Mapping, NamedTuple

from factory import enums
from factory.alchemy import SQLAlchemyModelFactory
from factory.builder import BuildStep, DeclarationSet, Resolver, parse_declarations
from sqlalchemy import event, inspect
from sqlalchemy.exc import UnboundExecutionError
from sqlalchemy.orm import Mapper
from typing_extensions import final

from . import _scope
from ._arguments import check_arguments, has_stock
from ._audit.variety import in_words
from ._builders import FindBuilder
from ._call import StepCall, is_declaration, is_subfactory
from ._declared import authored
from ._keys import Key, inferred_keys
from ._lookup import Found
from ._options import ReuseOptions
from ._resolve import Decision
from ._values import described
from .errors import ReuseError


@final
class Line(NamedTuple):
    """One line of the explanation.

    Attributes:
        depth: how far it is indented.
        kind: ``"heading"``, ``"sql"``, ``"hit"``, ``"miss"``, ``"problem"`` or ``"text"``.
    """

    depth: int
    kind: str
    text: str


def explain(
    factory: Any, given: Mapping[str, Any], depth: int = 0, above: BuildStep | None = None
) -> Iterator[Line]:
    """Yield what ``factory.create(**given)`` would do, line by line.

    Args:
        factory: any factory; of one that does not reuse it is said so.
        given: the keyword arguments.
        depth: of the first line.
        above: the step of the factory whose SubFactory led here.

    Example::

        for line in explain(CategoryFactory, {"name": "Books"}):
            print("  " * line.depth + line.text)
    """
    arguments = ", ".join(f"{name}={_shown(value)}" for name, value in given.items())
    yield Line(depth, "heading", f"{authored(factory).__name__}({arguments})")
    depth += 1
    meta = factory._meta
    if [each.builder.factory_meta for each in _chain(above)].count(meta) > 1:
        yield Line(depth, "problem", "and so on: its SubFactories lead back to it.")
        return
    if meta.abstract:
        yield Line(depth, "problem", "It is abstract: a call raises FactoryError.")
        return
    try:
        call = _Call(meta, given, above)
        if not isinstance(meta, ReuseOptions) or not meta.reuse:
            yield Line(depth, "text", _without_reuse(factory))
            yield from call.insert(depth)
        else:
            yield from call.look(depth)
    except Exception as error:  # that of a declaration, of the session, of the database
        said = error.message if isinstance(error, ReuseError) else str(error).partition("\n")[0]
        if isinstance(error, UnboundExecutionError):
            said += ". Name a database: --db URL."
        yield Line(depth, "problem", f"It would raise {type(error).__name__}: {said}")


def _without_reuse(factory: Any) -> str:
    fields = vars(factory._meta).get("sqlalchemy_get_or_create")
    if fields:
        return (
            f"It does not reuse; sqlalchemy_get_or_create would look up by ({', '.join(fields)}) "
            "when all of this has run, and insert if there is no row."
        )
    if issubclass(factory, SQLAlchemyModelFactory) and not has_stock(factory, "_create", "_save"):
        return "It does not reuse; its own _create decides when all of this has run."
    return "It does not reuse, so it would insert in any case."


def _chain(step: BuildStep | None) -> Iterator[BuildStep]:
    while step is not None:
        yield step
        step = step.parent_step


@final
class _Call:
    """One call, its declarations behind a builder that only finds."""

    def __init__(self, meta: Any, given: Mapping[str, Any], above: BuildStep | None) -> None:
        self._meta = meta
        self._builder = FindBuilder(meta, dict(given), enums.CREATE_STRATEGY)
        declarations: Any = parse_declarations(
            self._builder.extras,
            base_pre=meta.pre_declarations,
            base_post=meta.post_declarations,
        )
        self._pre, self._post = declarations
        meta._initialize_counter()
        sequence = meta._counter.seq  # the next create's number, not used up
        if self._builder.force_init_sequence is not None:
            sequence = self._builder.force_init_sequence
        self._step = BuildStep(builder=self._builder, sequence=sequence, parent_step=above)
        self._step.stub = self._stub = Resolver(self._pre, self._step, sequence)

    def look(self, depth: int) -> Iterator[Line]:
        """Yield the keys considered, one after the other, and what follows."""
        call = StepCall(self._step, self._stub, self._pre)
        decision = self._meta.decision(call)
        if decision is None:
            yield Line(depth, "text", "There is no key to look up by, so it would insert.")
            yield from self.insert(depth)
            return
        check_arguments(self._meta.factory, decision.plan.mapper, call.undeclared())
        yield from self._policy(decision, depth)
        found: list[Found] = []
        yield from self._asked(decision, depth, found)
        if found:
            yield from self._hit(decision, found[0], depth)
        else:
            yield Line(depth, "miss", "No row was found, so it would insert.")
            yield from self._refusals(decision, depth)
            yield from self.insert(depth)

    def insert(self, depth: int) -> Iterator[Line]:
        """Yield the declarations that would run, and what they would give the model."""
        model = getattr(self._meta.get_model_class(), "__name__", "its model")
        mapper = inspect(self._meta.get_model_class(), raiseerr=False)
        known = {*self._meta.pre_declarations, *self._post, *self._meta.parameters}
        roots = {DeclarationSet.split(name)[0] for name in self._builder.extras}
        if isinstance(mapper, Mapper):
            check_arguments(self._meta.factory, mapper, roots - known)
        yield Line(depth, "text", f"Insert into {model}:")
        for name in self._names():
            yield from self._declaration(name, depth + 1)
        hooks = [name for name in self._post.sorted() if "__" not in name]
        if hooks:
            yield Line(depth, "text", f"Then run after it: {', '.join(hooks)}.")

    def _policy(self, decision: Decision, depth: int) -> Iterator[Line]:
        keys = decision.plan.keys
        how = "inferred from the model" if self._meta.policy.on is None else "declared"
        listed = "; ".join(f"({key.label})" for key in keys) or "none"
        yield Line(depth, "text", f"Keys, {how}: {listed}.")
        if decision.lookup.where is not None:
            yield Line(depth, "text", f"A row must also satisfy where: {decision.lookup.where}.")

    def _asked(self, decision: Decision, depth: int, found: list[Found]) -> Iterator[Line]:
        """Yield each question and its answer; put the row that was found into ``found``."""
        asked: list[Key] = []
        call: Any = decision.call
        with _scope.within(finding=True):
            questions = decision.questions()
            answer: Any = None
            while True:
                statements: list[str] = []
                try:
                    with _statements(decision, statements):  # of the parents in the key
                        key, values = questions.send(answer)
                except StopIteration as decided:
                    found += [decided.value] if decided.value is not None else []
                    break
                asked.append(key)
                shown = ", ".join(f"{n}={_shown(v)}" for n, v in key.shown(values).items())
                yield Line(depth, "text", f"By ({key.label}): {shown}")
                try:
                    with _statements(decision, statements):
                        answer = decision.lookup.find(key, values)
                finally:
                    for statement in statements:
                        yield Line(depth + 1, "sql", statement)
                yield Line(depth + 1, "text", "no row" if answer is None else _row(answer.obj))
                if answer is None and self._is_hidden(decision, key, values):
                    yield Line(
                        depth + 1,
                        "problem",
                        "A row has the key and does not satisfy where, so an INSERT is refused.",
                    )
        for key in decision.plan.keys:
            leaves_alone = key.primary and not key.available(call)
            if key not in asked and not found and not leaves_alone:
                yield Line(depth, "text", f"Not by ({key.label}): {self._why_not(decision, key)}.")

    def _refusals(self, decision: Decision, depth: int) -> Iterator[Line]:
        """Yield the unique keys that the factory does not look up by, and that a row has."""
        mapper, queries = decision.plan.mapper, decision.lookup.queries
        for key in inferred_keys(mapper, queries.dialect.name):
            others = all(key.compared != each.compared for each in decision.plan.keys)
            if not others or not key.available(decision.call) or not self._is_plain(key):
                continue
            values = key.given(decision.call)
            if values is not None and queries.exists(key, values):
                shown = ", ".join(f"{n}={_shown(v)}" for n, v in key.shown(values).items())
                text = f"A row has {shown}, by which the factory does not look up: the INSERT is "
                yield Line(depth, "problem", text + "refused.")

    def _is_plain(self, key: Key) -> bool:
        """Whether a call evaluates nothing for the key."""
        declared = self._pre.declarations
        return not any(is_declaration(declared[name]) for name in key.names if name in declared)

    def _is_hidden(self, decision: Decision, key: Key, values: Any) -> bool:
        lookup = decision.lookup
        return lookup.where is not None and key.unique and lookup.queries.exists(key, values)

    def _why_not(self, decision: Decision, key: Key) -> str:
        call: Any = decision.call
        if not key.available(call):
            missing = [
                part.label
                for part in key.parts
                if part.label in key.names and not part.available(call)
            ]
            return f"nothing gives {', '.join(missing) or 'its fields'}"
        if not decision.plan.counts(key, call):
            return 'match="explicit", and the call passes none of it'
        return "a value is NULL or only known after the INSERT, or a parent has no row yet"

    def _hit(self, decision: Decision, found: Found, depth: int) -> Iterator[Line]:
        contradictions, others = decision.differences_of(found)
        policy = decision.plan.policy.on_mismatch
        refused = (contradictions and policy != "update") or (others and policy == "raise")
        row = _row(found.obj)
        yield Line(depth, "hit", f"{row} has the key." if refused else f"It would reuse {row}.")
        for each in contradictions + others:
            name = "__".join(each.passed.path)
            of_another_key = each in contradictions and policy != "update"
            what = _CONSEQUENCES["raise" if of_another_key else policy]
            yield Line(
                depth,
                "problem",
                f"{name} is {_shown(each.found)} there, and {_shown(each.passed.value)} was "
                f"passed: it {what}.",
            )
        run = self._meta.policy.post_generation
        hooks = [
            name
            for name in self._post.sorted()
            if run == "always" or (run == "explicit" and decision.call.passes(name))
        ]
        skipped = [name for name in self._names() if not self._is_evaluated(name)]
        skipped += [name for name in self._post.sorted() if name not in hooks]
        if hooks:
            yield Line(depth, "text", f"Would run: {', '.join(hooks)}.")
        if skipped:
            yield Line(depth, "text", f"Would not run: {', '.join(skipped)}.")

    def _declaration(self, name: str, depth: int) -> Iterator[Line]:
        declared = self._pre.declarations[name]
        if not is_declaration(declared):
            yield Line(depth, "text", f"{name} = {_shown(declared)}")
        elif self._is_evaluated(name):
            value = vars(self._stub)["_Resolver__values"][name]
            yield Line(depth, "text", f"{name} = {_shown(value)}, from {in_words(declared)}")
        elif is_subfactory(declared) and hasattr(declared, "get_factory"):
            yield Line(depth, "text", f"{name} = {in_words(declared)}, that is:")
            passed = {**declared._defaults, **self._pre.contexts.get(name, {})}
            yield from explain(declared.get_factory(), passed, depth + 1, self._step)
        else:
            yield Line(depth, "text", f"{name} from {in_words(declared)}")

    def _names(self) -> list[str]:
        own = getattr(self._pre, "own_names", None)
        return [
            name
            for name in (own() if own is not None else self._pre.declarations)
            if name not in self._meta.exclude and name not in self._meta.parameters
        ]

    def _is_evaluated(self, name: str) -> bool:
        values: Mapping[str, Any] = vars(self._stub)["_Resolver__values"]
        return name in values or not is_declaration(self._pre.declarations[name])


_CONSEQUENCES = {
    "keep": "keeps the row as it is",
    "warn": "keeps the row and warns (MismatchWarning)",
    "raise": "would raise MismatchError",
    "update": "would update the row",
}


@contextmanager
def _statements(decision: Decision, found: list[str]) -> Iterator[None]:
    """Collect what the decision's session sends."""
    engine: Any = decision.session.get_bind(decision.plan.mapper)

    def listen(
        conn: Any, cursor: Any, statement: str, parameters: Any, context: Any, many: bool
    ) -> None:
        found.append(f"{' '.join(statement.split())}  -- {parameters!r}")

    event.listen(engine, "before_cursor_execute", listen)
    try:
        yield
    finally:
        event.remove(engine, "before_cursor_execute", listen)


def _row(obj: Any) -> str:
    state = inspect(obj)
    identity = ", ".join(map(str, state.identity or ()))
    return f"{type(obj).__name__} {identity}" if identity else f"a pending {type(obj).__name__}"


def _shown(value: Any) -> str:
    if is_declaration(value):
        return in_words(value)
    state = inspect(value, raiseerr=False)
    return _row(value) if hasattr(state, "identity") else described(value)
