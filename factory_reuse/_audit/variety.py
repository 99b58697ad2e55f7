"""Whether two calls get the same value from a declaration."""

from __future__ import annotations

import inspect
from enum import EnumMeta
from typing import Any, Collection, Final, Iterable, NamedTuple

import factory.random
from factory import fuzzy
from factory.declarations import (
    SKIP,
    Iterator,
    LazyAttributeSequence,
    Maybe,
    SelfAttribute,
    Sequence,
    Transformer,
)
from factory.faker import Faker
from typing_extensions import final

from factory_reuse._call import is_declaration, is_subfactory
from factory_reuse._values import described

#: A constant: the same in each call.
SAME: Final = "same"
#: One of a few, in turn.
CYCLES: Final = "cycles"
#: Drawn from so few that they repeat.
CHANCE: Final = "chance"
#: Another in each call.
COUNTS: Final = "counts"
#: Drawn from so many that none is likely to come twice.
WIDE: Final = "wide"
#: The object of another factory.
PARENT: Final = "parent"
#: Nothing, or None: no row can be found by it.
ABSENT: Final = "absent"
#: Only the project's own code tells.
UNKNOWN: Final = "unknown"

#: How many values are drawn to see whether they repeat. With as few as one repetition there are
#: some 500,000 to draw from ("birthday problem"); with none, far more.
DRAWN: Final = 1000


@final
class Variety(NamedTuple):
    """How the values of a declaration vary.

    Attributes:
        kind: one of the constants above.
        words: the declaration in words.
        repeated: of :data:`DRAWN` values drawn at random, how many had come before.
    """

    kind: str
    words: str
    repeated: int = 0


def variety_of(declaration: Any) -> Variety:
    """Return how the values vary; only factory_boy's own declarations are evaluated.

    >>> variety_of("Books").kind
    'same'
    """
    words = in_words(declaration)
    if isinstance(declaration, Transformer):
        return variety_of(declaration.default)._replace(words=words)
    if is_subfactory(declaration):
        return Variety(PARENT, words)
    if isinstance(declaration, Maybe):
        return _worst(variety_of(declaration.yes), variety_of(declaration.no))
    if isinstance(declaration, (Sequence, LazyAttributeSequence)):
        return Variety(COUNTS, words)
    if isinstance(declaration, Iterator):
        return Variety(CYCLES if _comes_again(declaration) else UNKNOWN, words)
    if type(declaration) is Faker or isinstance(declaration, fuzzy.BaseFuzzyAttribute):
        repeated = _repeated([declaration])
        if repeated is None:
            return Variety(UNKNOWN, words)
        return Variety(CHANCE if repeated else WIDE, words, repeated)
    if is_declaration(declaration):
        return Variety(UNKNOWN, words)
    return Variety(ABSENT if declaration is None or declaration is SKIP else SAME, words)


def drawn_together(declarations: Iterable[Any]) -> Variety:
    """Return how values vary of which some are drawn at random, and none is another each time."""
    random = [each for each in declarations if variety_of(each).kind == CHANCE]
    words = " and ".join(map(in_words, random))
    repeated = _repeated(map(_drawn, random))
    return Variety(CHANCE if repeated else WIDE, words, repeated or 0)


def in_words(declaration: Any) -> str:
    """Return a declaration as it may have been written, without what it is given.

    >>> in_words(Faker("name"))
    "Faker('name')"
    """
    name = type(declaration).__name__
    if isinstance(declaration, Faker):
        return f"Faker({declaration.provider!r})"
    if isinstance(declaration, Maybe):
        yes, no = in_words(declaration.yes), in_words(declaration.no)
        return f"{yes} if {_decider(declaration.decider)} else {no}"
    if isinstance(declaration, SelfAttribute):
        return f"SelfAttribute({'.' * declaration.depth + declaration.attribute_name!r})"
    if is_subfactory(declaration):
        try:
            return f"{name}({declaration.get_factory().__name__})"
        except Exception:  # it leads nowhere, which has a code of its own
            return name
    if not is_declaration(declaration):
        text = described(declaration)
        return text if len(text) <= 60 else text[:57] + "..."
    return name


def _comes_again(declaration: Iterator) -> bool:
    """Whether an Iterator goes round a collection; what a generator yields, nobody can tell."""
    make: Any = declaration.iterator_builder
    pool = inspect.getclosurevars(make).nonlocals.get("iterator")
    return "cycle" in make.__code__.co_names and isinstance(pool, (Collection, EnumMeta))


def _decider(decider: Any) -> str:
    named = isinstance(decider, SelfAttribute)
    name: str = decider.attribute_name if named else in_words(decider)
    return name


def _worst(one: Variety, other: Variety) -> Variety:
    """Return the one of which less can be said."""
    if one.kind == other.kind or UNKNOWN in (one.kind, other.kind):
        return one if one.kind == UNKNOWN or one.kind == other.kind else other
    return Variety(UNKNOWN, one.words)


def _repeated(declarations: Iterable[Any]) -> int | None:
    """Return how many of the values drawn had come before; ``None`` if that cannot be told."""
    draws = [_drawing(declaration) for declaration in declarations]
    state = factory.random.get_random_state()
    try:
        factory.random.reseed_random("factory_reuse audit")  # the same finding each time
        return DRAWN - len({tuple(draw() for draw in draws) for _ in range(DRAWN)})
    except Exception:  # an unknown provider, arguments that are declarations, unhashable values
        return None
    finally:
        factory.random.set_random_state(state)


def _drawn(declaration: Any) -> Any:
    return _drawn(declaration.default) if isinstance(declaration, Transformer) else declaration


def _drawing(declaration: Any) -> Any:
    """Return what draws one value, and leaves the declaration as it is."""
    if isinstance(declaration, Faker):
        own = dict(declaration._defaults)
        return lambda: declaration.evaluate(None, None, dict(own))
    if isinstance(declaration, fuzzy.FuzzyChoice):
        choices: Any = declaration.choices
        if choices is None and isinstance(declaration.choices_generator, (list, tuple, set, str)):
            choices = declaration.choices_generator
        if declaration.getter is not None or choices is None:
            return None  # the project's code, or what can be read but once
        return fuzzy.FuzzyChoice(list(choices)).fuzz
    # A fuzzer of the project's own may do anything.
    own_code = isinstance(declaration, fuzzy.FuzzyAttribute)
    return None if own_code or type(declaration).__module__ != "factory.fuzzy" else declaration.fuzz
