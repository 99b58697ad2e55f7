"""Each option's bad values, and what the errors say and carry."""

import copy
import pickle

import factory
import pytest
from factory.alchemy import SQLAlchemyModelFactory
from factory.errors import FactoryError
from sqlalchemy import Column, ForeignKey, Integer, String, create_engine, func, select
from sqlalchemy.exc import MultipleResultsFound
from sqlalchemy.orm import declarative_base, relationship, scoped_session, sessionmaker

import factory_reuse
from factory_reuse import (
    AmbiguousMatchError,
    MismatchError,
    MismatchWarning,
    RaceLostError,
    ReuseError,
    ReuseMixin,
    SessionError,
    UniqueKeyError,
    find,
    get_or_create,
    reuse_existing,
    use_session,
)

Base = declarative_base()


class Category(Base):
    __tablename__ = "categories"

    id = Column(Integer, primary_key=True)
    name = Column(String(50), nullable=False, unique=True)
    label = Column(String(50))
    parent_id = Column(ForeignKey("categories.id"))

    parent = relationship("Category", remote_side=id, back_populates="children")
    children = relationship("Category", back_populates="parent")

    def shout(self):
        return self.name.upper()


class LegacyFactory(SQLAlchemyModelFactory):
    class Meta:
        model = Category
        sqlalchemy_session_persistence = "flush"

    name = factory.Sequence("Category {}".format)


def by_decorator(**options):
    class CategoryFactory(LegacyFactory):
        pass

    return reuse_existing(CategoryFactory, **options)


def by_meta(**options):
    attributes = {f"reuse_{name}": value for name, value in options.items()}

    class CategoryFactory(ReuseMixin, LegacyFactory):
        Meta = type("Meta", (), attributes)

    return CategoryFactory


@pytest.fixture(params=[by_decorator, by_meta], ids=["decorator", "Meta"])
def declare(request):
    """Declare a factory with the given options, on the decorator or in Meta."""
    return request.param


# Bad values

KEYS = "'name', ('name',), a composite key ('a', 'b')"
SQL = "; it takes an SQL expression, or a callable from the model to one."
SESSION = "; it takes a Session, a scoped_session or a callable."
ONCE = "; it takes a key that names each field once."

BAD = {
    "on": [
        (1, KEYS),
        (True, KEYS),
        (b"name", KEYS),
        ({"name"}, KEYS),
        ({"name": "label"}, KEYS),
        (Category.name, "the attribute's name: on='name'"),
        ("", KEYS),
        ("first name", KEYS),
        ("name,label", KEYS),
        ("parent__name", "no path, but the relationship: on='parent'"),
        ([], "on=() is for a factory that never looks up"),
        (("name", None), KEYS),
        (("name", 1), KEYS),
        (["name", ("label",)], KEYS),
        ([()], KEYS),
        ([("name",), ()], KEYS),
        ([[("name",)]], KEYS),
        (("name", "name"), ONCE),
        ([("label",), ("name", "name")], ONCE),
    ],
    "where": [
        ("label IS NULL", SQL),
        (1, SQL),
        (True, SQL),
        (False, SQL),
        ({"label": None}, SQL),
        ((), SQL),
    ],
    "session": [
        ("session", SESSION),
        (sessionmaker(), "scoped_session(...) of it: it makes a new session each time"),
        (1, SESSION),
        (False, SESSION),
        (object(), SESSION),
        (create_engine("sqlite://"), SESSION),
    ],
    "on_mismatch": [
        (None, "'keep', 'warn', 'raise', 'update'"),
        (True, "'keep', 'warn', 'raise', 'update'"),
        ("ignore", "'keep', 'warn', 'raise', 'update'"),
        ("WARN", "'keep', 'warn', 'raise', 'update'"),
        (("keep",), "'keep', 'warn', 'raise', 'update'"),
    ],
    "match": [
        (None, "'any', 'explicit'"),
        (False, "'any', 'explicit'"),
        ("all", "'any', 'explicit'"),
        ("name", "'any', 'explicit'"),
        (Category.name, "'any', 'explicit'"),
    ],
    "post_generation": [
        (None, "'explicit', 'always', 'never'"),
        (True, "'explicit', 'always', 'never'"),
        (False, "'explicit', 'always', 'never'"),
        ("once", "'explicit', 'always', 'never'"),
    ],
    "refresh": [(None, "True, False"), (1, "True, False"), ("label", "True, False")],
    "cache": [(None, "True, False"), (0, "True, False"), (0.0, "True, False"), (60, "True, False")],
    "savepoint": [
        (0, "None, True, False"),
        (1.0, "None, True, False"),
        ("auto", "None, True, False"),
    ],
}
BAD_CASES = [
    pytest.param(option, value, remedy, id=f"{option}-{number}")
    for option, cases in BAD.items()
    for number, (value, remedy) in enumerate(cases)
]


@pytest.mark.parametrize(("option", "value", "remedy"), BAD_CASES)
def test_a_bad_value_is_refused_at_declaration(declare, option, value, remedy):
    """The message names the factory, the option, the value, and what may stand there."""
    with pytest.raises(ReuseError) as raised:
        declare(**{option: value})

    message = str(raised.value)
    assert message.startswith("CategoryFactory: ")
    assert f"{option}=" in message
    # An attribute of a model has no repr that tells it.
    assert (str(value) if hasattr(value, "class_") and option == "on" else repr(value)) in message
    assert remedy in message
    assert raised.value.factory == "CategoryFactory"
    assert list(raised.value.values) == [option]


@pytest.mark.parametrize("value", [None, 0, 1, "no", "explicit"])
def test_a_bad_meta_reuse_is_refused_at_declaration(value):
    """`Meta.reuse` takes True or False, and the message says so."""
    with pytest.raises(ReuseError) as raised:

        class CategoryFactory(ReuseMixin, LegacyFactory):
            class Meta:
                reuse = value

    message = str(raised.value)
    assert f"CategoryFactory: Meta.reuse={value!r}" in message
    assert "True or False" in message
    assert raised.value.values == {"reuse": value}


@pytest.mark.parametrize("value", [1, "first name", ("name", "name"), {"name"}])
def test_bad_unique_fields_are_refused_at_declaration(value):
    """`Params.unique_fields` takes what `on` takes."""
    with pytest.raises(ReuseError) as raised:

        class CategoryFactory(ReuseMixin, LegacyFactory):
            class Params:
                unique_fields = value

    message = str(raised.value)
    assert message.startswith("CategoryFactory: ")
    assert repr(value) in message


GOOD = {
    "on": [None, "name", ("name",), ["name"], ("name", "label"), [("name",), ("label",)], ()],
    "where": [None, Category.label.is_(None), Category.label, lambda model: model.label.is_(None)],
    "session": [None, scoped_session(sessionmaker()), sessionmaker()()],
    "on_mismatch": ["keep", "warn", "raise", "update"],
    "match": ["any", "explicit"],
    "post_generation": ["explicit", "always", "never"],
    "refresh": [True, False],
    "cache": [True, False],
    "savepoint": [None, True, False],
}


@pytest.mark.parametrize(
    ("option", "value"),
    [
        pytest.param(option, value, id=f"{option}-{number}")
        for option, values in GOOD.items()
        for number, value in enumerate(values)
    ],
)
@pytest.mark.backends("sqlite")
def test_a_good_value_is_accepted(engine, session, declare, option, value):
    """Each value that an option can have is taken, and the factory still creates."""
    made = declare(**{option: value})

    if option == "session":
        assert made.build().name
    else:
        with use_session(session):
            assert made(name="Books").name == "Books"


@pytest.mark.parametrize("name", ["On", "onn", "key", "reuse_on", "reuse", "unique_fields"])
def test_an_unknown_option_of_the_decorator_is_refused(name):
    """The decorator takes its own options alone, by keyword."""
    with pytest.raises(TypeError, match=rf"'?{name}'?"):
        reuse_existing(**{name: "name"})


def test_options_of_the_decorator_are_keywords():
    """An option passed by position is refused."""
    with pytest.raises(TypeError, match="positional"):
        reuse_existing(LegacyFactory, "name")


@pytest.mark.parametrize("name", ["reuse_onn", "reuse_key", "reuse_reuse", "reused", "on"])
def test_an_unknown_option_in_meta_is_refused(name):
    """As factory_boy does for its own, the error names the factory and the option."""
    with pytest.raises(TypeError, match=rf"CategoryFactory.*\b{name}\b"):

        class CategoryFactory(ReuseMixin, LegacyFactory):
            Meta = type("Meta", (), {name: "name"})


@pytest.mark.parametrize(
    ("name", "reason", "remedy"),
    [
        ("nam", "Category.nam is not an attribute", "Did you mean 'name'?"),
        ("labl", "Category.labl is not an attribute", "Did you mean 'label'?"),
        ("parrent", "Category.parrent is not an attribute", "Did you mean 'parent'?"),
        ("xyzzy", "Category.xyzzy is not an attribute", "Its attributes: "),
        ("shout", "Category.shout is not an attribute", "Its attributes: "),
        ("children", "Category.children is not a many-to-one relationship", "Its attributes: "),
    ],
)
@pytest.mark.backends("sqlite")
def test_a_key_the_model_does_not_have_is_refused(session, declare, name, reason, remedy):
    """The message names factory, model and field, and suggests what was meant."""
    with pytest.raises(UniqueKeyError) as raised, use_session(session):
        declare(on=("name", name))(name="Books")

    message = str(raised.value)
    assert message.startswith("CategoryFactory: ")
    assert f"on={name!r}" in message
    assert reason in message
    assert remedy in message
    assert (raised.value.factory, raised.value.model) == ("CategoryFactory", "Category")
    assert raised.value.values == {"on": name}


# Bad values that only a call can see


@pytest.mark.parametrize("value", [None, True, "label IS NULL", 1, Category])
@pytest.mark.backends("sqlite")
def test_a_where_that_gives_no_sql_is_refused_at_the_call(session, declare, value):
    """The message names factory, model, option and value; the session stays usable."""
    made = declare(where=lambda model: value)

    with pytest.raises(ReuseError) as raised, use_session(session):
        made(name="Books")

    message = str(raised.value)
    assert "CategoryFactory" in message
    assert "where=" in message
    assert repr(value) in message
    assert "must be an SQL expression, such as Model.deleted_at.is_(None)." in message
    assert (raised.value.factory, raised.value.model) == ("CategoryFactory", "Category")
    assert raised.value.values == {"where": value}
    assert session.execute(select(func.count()).select_from(Category)).scalar() == 0


@pytest.mark.parametrize("value", [None, "session", 1, create_engine("sqlite://")])
def test_a_session_that_is_none_is_refused_at_the_call(declare, value):
    """A callable that returns no session is an error that says what to write."""
    made = declare(session=lambda: value)

    with pytest.raises(SessionError) as raised:
        made(name="Books")

    message = str(raised.value)
    assert "CategoryFactory (Category)" in message
    assert "reuse_existing(session=...)" in message
    assert "use_session(session)" in message
    assert (raised.value.factory, raised.value.model) == ("CategoryFactory", "Category")


@pytest.mark.parametrize("value", [None, "session", 1, create_engine("sqlite://")])
def test_a_bad_argument_of_use_session_is_refused(value):
    """`use_session` refuses at once what is no session."""
    with pytest.raises(SessionError, match=r"use_session\(\)"), use_session(value):
        raise AssertionError("the block ran")


# What is decorated


@pytest.mark.parametrize(
    "value",
    [None, "name", ("name",), Category, Category(), LegacyFactory._meta, lambda: None, int],
    ids=lambda value: type(value).__name__,
)
def test_decorating_what_is_no_factory_is_refused(value):
    """The message shows the value, and how options are given or what is to be decorated."""
    with pytest.raises(ReuseError) as raised:
        reuse_existing(value)

    assert repr(value) in str(raised.value)
    remedy = (
        "Decorate the factory, not its model."
        if value is Category
        else "@reuse_existing(on=('name',))"
    )
    assert remedy in str(raised.value)


@pytest.mark.parametrize(
    "shared", [SQLAlchemyModelFactory, factory.Factory, factory.DictFactory], ids=str
)
def test_decorating_factory_boys_own_class_is_refused(shared):
    """A class that other projects share is not changed; the message says what to decorate."""
    before = type(shared._meta)

    with pytest.raises(ReuseError, match=f"{shared.__name__}.*Decorate a base class of your own"):
        reuse_existing(shared)

    assert type(shared._meta) is before


@pytest.mark.parametrize("call", [get_or_create, find])
@pytest.mark.parametrize("value", [Category, None, "CategoryFactory"], ids=repr)
def test_asking_what_is_no_factory_is_refused(call, value):
    """`get_or_create` and `find` show what they were given, and say what to decorate."""
    shown = getattr(value, "__name__", repr(value))

    with pytest.raises(ReuseError, match=f"{shown}.*@reuse_existing"):
        call(value, name="Books")


@pytest.mark.parametrize("call", [get_or_create, find])
def test_asking_an_undecorated_factory_is_refused(call):
    """`get_or_create` and `find` name the factory, and say how it would reuse."""
    with pytest.raises(ReuseError, match=r"LegacyFactory.*reuse.*@reuse_existing"):
        call(LegacyFactory, name="Books")


# Errors as objects

ERRORS = [
    UniqueKeyError,
    SessionError,
    MismatchError,
    AmbiguousMatchError,
    RaceLostError,
]


@pytest.mark.parametrize("error", [ReuseError, *ERRORS])
def test_every_error_has_the_one_base_class(error):
    """One `except` catches all of ours, and one for factory_boy's catches ours too."""
    assert issubclass(error, ReuseError)
    assert issubclass(error, FactoryError)
    assert error.__name__ in factory_reuse.__all__


def test_no_error_is_another_one():
    """Catching one kind of error never catches another."""
    for error in ERRORS:
        assert [other for other in ERRORS if issubclass(error, other)] == [error]
    assert issubclass(MismatchWarning, UserWarning)
    assert not issubclass(MismatchWarning, ReuseError)


def test_errors_are_what_factory_boy_raises_too():
    """A suite that catches the error of a missing session, or of several rows, still does."""
    assert issubclass(SessionError, RuntimeError)
    assert issubclass(AmbiguousMatchError, MultipleResultsFound)
    assert AmbiguousMatchError("two rows").message == "two rows"


DATA = {
    MismatchError: {"found": {"name": "Games"}, "instance": None},
    AmbiguousMatchError: {"count": 2},
}


@pytest.mark.parametrize("error", [ReuseError, *ERRORS])
@pytest.mark.parametrize(
    "duplicate", [copy.copy, copy.deepcopy, lambda error: pickle.loads(pickle.dumps(error))]
)
def test_an_error_survives_pickling_and_copying(error, duplicate):
    """The message and all data come out as they went in, as between processes."""
    data = {"factory": "F", "model": "M", "values": {"name": "Books"}, **DATA.get(error, {})}

    again = duplicate(error("Write this instead.", **data))

    assert type(again) is error
    assert again.message == "Write this instead."
    assert {name: getattr(again, name) for name in data} == data


@pytest.mark.parametrize("error", [ReuseError, *ERRORS])
def test_an_error_without_data_has_empty_data(error):
    """Every attribute is there even when there is nothing to say."""
    bare = error("Write this instead.")

    assert (bare.factory, bare.model, bare.values) == (None, None, {})
    if error is MismatchError:
        assert (bare.found, bare.instance) == ({}, None)
    if error is AmbiguousMatchError:
        assert bare.count == 0


@pytest.mark.backends("sqlite")
def test_a_raised_error_can_be_pickled(session):
    """A mismatch met in a call goes through pickle with the row it is about."""
    made = by_decorator(on="name", on_mismatch="raise")
    with use_session(session):
        made(name="Books", label="books")
        with pytest.raises(MismatchError) as raised:
            made(name="Books", label="games")

    again = pickle.loads(pickle.dumps(raised.value))

    assert (again.factory, again.model) == ("CategoryFactory", "Category")
    assert again.values == {"label": "games"}
    assert again.found == {"label": "books"}
    assert again.instance.name == "Books"
