"""A call that no SubFactory makes: it is decided first, and built only if that is called for."""

from __future__ import annotations

from typing import Any, Mapping

from factory import enums
from factory.builder import BuildStep, Resolver, StepBuilder, parse_declarations
from factory.declarations import LazyAttribute, LazyAttributeSequence, SelfAttribute
from typing_extensions import final

from . import _scope
from ._call import PlainCall, StepCall, Unknown, is_subfactory
from ._lookahead import GATE, MARK, Run
from ._lookup import Found
from ._options import ReuseOptions
from ._resolve import Decision
from ._scope import Mark
from ._values import MISSING, NoParent


@final
class DirectCall:
    """A call to create, from its first question to its object.

    Attributes:
        decision: the decision, once there is one; ``None`` if reuse has no concern in the call.
        question: the key and values that are asked for now, if any.
        obj: the object, once it is made.
        mark: where the call began, if what becomes of it is taken down.
    """

    # Fewer objects for a chunk's garbage collections to look through, before Python 3.11.
    __slots__ = (
        "_builder",
        "_evaluated",
        "_found",
        "_questions",
        "_sequence",
        "decision",
        "given",
        "mark",
        "meta",
        "obj",
        "question",
    )

    def __init__(self, meta: ReuseOptions, given: Mapping[str, Any]) -> None:
        self.meta = meta
        self.given = given
        self.decision: Any = None
        self.question: Any = None
        self.obj: Any = MISSING
        self.mark: Mark | None = None
        forced = given.get("__sequence") is not None
        self._sequence: int = 0 if forced else meta.next_sequence()
        self._questions: Any = None
        self._found: Found | None = None
        self._builder: DirectBuilder | None = None
        self._evaluated: set[str] | None = None

    def object(self) -> Any:
        """Return the object: the row that is there, or a new one."""
        recorder = _scope.current().recorder
        if recorder is not None and self.mark is None:
            self.mark = recorder.begin()
        try:
            if self.obj is MISSING:
                found = self._find()
                if found is not None and self._builder is None and self.meta.reuses_unheard:
                    return self.meta.reused(self.decision, found, self.mark)
                self._build(found)
            self._begun().finish(self.obj, self.mark)
            return self.obj
        finally:
            # These refer to each other, and would keep the row until a garbage collection.
            self.decision = self._questions = self._builder = None

    def _find(self) -> Found | None:
        self.ask()
        while self.question is not None:
            self.answer(self.decision.lookup.find(*self.question))
        if self._found is None and _scope.current().finding:
            raise NoParent
        return self._found

    def ask(self, like: Decision | None = None) -> None:
        """See to it that the first question is there, if there is one.

        Args:
            like: the decision of another call that looks in the same place.
        """
        if self._questions is None:
            try:
                call: Any = PlainCall(self.meta, self.given, self._step_call)
            except Unknown:
                call = self._step_call()
            self.decision = self.meta.decision(call, like)
            self.ask_again()

    def ask_again(self) -> None:
        """Forget the answers, and have the first question again."""
        self._questions = None  # where a question fails, there are none
        questions = iter(()) if self.decision is None else self.decision.questions()
        self.question = next(questions, None)
        self._questions = questions

    def answer(self, found: Found | None) -> None:
        """Take the answer, and have the next question, or none when it is decided."""
        questions, self._questions = self._questions, None
        try:
            self.question = questions.send(found)
        except StopIteration as decided:
            self.question = None
            self._found = decided.value
        self._questions = questions

    def begin_again(self) -> None:
        """Forget the answers, and what was evaluated of the object as it was then."""
        self._questions = self.question = None
        if self._builder is not None:
            self._builder.forget((LazyAttribute, LazyAttributeSequence, SelfAttribute))

    def make_parents(self) -> None:
        """Run the SubFactories."""
        self._begun().make_parents()

    def make(self) -> None:
        """Make the object of a call that found none; whoever calls sees to the flush."""
        builder = self._begun()
        self._evaluated = builder.evaluated()
        args, kwargs = builder.arguments(Run(self.decision, None))
        with _scope.within(together=self.meta):
            self.obj = self.meta.make(builder.step, args, kwargs)

    def unmake(self, *, forget: bool) -> None:
        """Forget the object made, which is undone, and maybe what was evaluated for it."""
        self.obj = MISSING
        if forget and self._evaluated is not None:
            self._begun().forget_all_but(self._evaluated)

    def _build(self, found: Found | None) -> None:
        builder = self._begun()
        run = None if self.decision is None else Run(self.decision, found)
        args, kwargs = builder.arguments(run)
        self.obj = self.meta.instantiate(builder.step, args, kwargs)

    def _step_call(self) -> StepCall:
        return self._begun().call

    def _begun(self) -> DirectBuilder:
        if self._builder is None:
            builder = DirectBuilder(self.meta, dict(self.given), enums.CREATE_STRATEGY)
            builder.begin(self._sequence)
            self._builder = builder
        return self._builder


@final
class DirectBuilder(StepBuilder):
    """A build in parts, after its decision."""

    def begin(self, sequence: int) -> None:
        """Make the build step; nothing is evaluated."""
        meta = self.factory_meta
        declarations: Any = parse_declarations(
            self.extras, base_pre=meta.pre_declarations, base_post=meta.post_declarations
        )
        self._pre, self._post = declarations
        if self.force_init_sequence is not None:
            sequence = self.force_init_sequence
        self.step = BuildStep(builder=self, sequence=sequence)
        self.step.stub = self._stub = Resolver(self._pre, self.step, sequence)

    @property
    def call(self) -> StepCall:
        """What the step gives."""
        return StepCall(self.step, self._stub, self._pre)

    def evaluated(self) -> set[str]:
        """Return the names of the declarations that are evaluated."""
        return set(vars(self._stub)["_Resolver__values"])

    def forget_all_but(self, names: set[str]) -> None:
        """Evaluate the other declarations anew, when they are asked for."""
        values = vars(self._stub)["_Resolver__values"]
        for name in set(values).difference(names):
            del values[name]

    def forget(self, kinds: tuple[type, ...]) -> None:
        """Evaluate declarations of these kinds anew, when they are asked for."""
        values = vars(self._stub)["_Resolver__values"]
        for name, declared in self._pre.declarations.items():
            if isinstance(declared, kinds):
                values.pop(name, None)

    def make_parents(self) -> None:
        """Evaluate the SubFactories."""
        for name in self._pre.own_names():
            if is_subfactory(self._pre.declarations[name]):
                getattr(self._stub, name)

    def arguments(self, run: Run | None) -> tuple[Any, dict[str, Any]]:
        """Return what the model gets, the rest evaluated unless the run has found a row."""
        self.step.attributes = {GATE: run}
        for name in self._pre.own_names() if run is None or run.found is None else ():
            self.step.attributes[name] = getattr(self._stub, name)
        arguments: tuple[Any, dict[str, Any]] = self.factory_meta.prepare_arguments(
            self.step.attributes
        )
        return arguments

    def finish(self, instance: Any, mark: Mark | None) -> None:
        """Run the post-generation declarations."""
        vars(self.step)[MARK] = mark
        results = {}
        for name in self._post.sorted():
            declared = self._post[name]
            results[name] = declared.declaration.evaluate_post(
                instance=instance, step=self.step, overrides=declared.context
            )
        self.factory_meta.use_postgeneration_results(
            instance=instance, step=self.step, results=results
        )

    def recurse(self, factory_meta: Any, extras: dict[str, Any]) -> StepBuilder:
        """Build a SubFactory's object in one go."""
        return StepBuilder(factory_meta, extras, strategy=self.strategy)
