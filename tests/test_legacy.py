"""Factories, sessions and models as people have them today, decorated bare."""

import contextlib
import inspect
import sys
import threading
import types

import factory
import pytest
from factory.alchemy import SQLAlchemyModelFactory
from sqlalchemy import Column, ForeignKey, Integer, String, UniqueConstraint, func, select
from sqlalchemy.orm import (
    Session,
    declarative_base,
    object_session,
    relationship,
    scoped_session,
    sessionmaker,
)

from factory_reuse import (
    MismatchWarning,
    ReuseMixin,
    SessionError,
    find,
    get_or_create,
    no_reuse,
    reuse_existing,
    use_session,
)

Base = declarative_base()

# What no database has a part in runs on one.
pytestmark = pytest.mark.backends("sqlite")
everywhere = pytest.mark.backends("sqlite", "sqlite-file", "postgresql", "mariadb")


class Category(Base):
    __tablename__ = "categories"

    id = Column(Integer, primary_key=True)
    name = Column(String(50), nullable=False, unique=True)
    label = Column(String(50))


class Product(Base):
    __tablename__ = "products"

    id = Column(Integer, primary_key=True)
    sku = Column(String(50), nullable=False, unique=True)
    category_id = Column(ForeignKey("categories.id"), nullable=False)

    category = relationship(Category)


class User(Base):
    __tablename__ = "users"
    __table_args__ = (UniqueConstraint("tenant", "email"),)

    id = Column(Integer, primary_key=True)
    tenant = Column(String(50), nullable=False)
    email = Column(String(50), nullable=False)
    login = Column(String(50), unique=True)

    profile = relationship("Profile", back_populates="user", uselist=False)


class Profile(Base):
    """One to one: each user has a single profile."""

    __tablename__ = "profiles"

    id = Column(Integer, primary_key=True)
    handle = Column(String(50), unique=True)
    bio = Column(String(50))
    user_id = Column(ForeignKey("users.id"), nullable=False, unique=True)

    user = relationship(User, back_populates="profile")


class Box(Base):
    """A model that is false when it is empty, and equal to every other box."""

    __tablename__ = "boxes"

    id = Column(Integer, primary_key=True)
    name = Column(String(50), nullable=False, unique=True)

    def __len__(self):
        return 0

    def __eq__(self, other):
        return isinstance(other, Box)

    __hash__ = None


class Flag(Base):
    __tablename__ = "flags"

    id = Column(Integer, primary_key=True)
    name = Column(String(50), nullable=False, unique=True)
    box_id = Column(ForeignKey("boxes.id"))

    box = relationship(Box)

    def __bool__(self):
        raise TypeError("a flag is neither true nor false")


MODELS = (Category, Product, User, Profile, Box, Flag)


def rows(session):
    """Count the rows of each table that has any."""
    session.flush()
    counts = {
        model.__name__: session.execute(select(func.count()).select_from(model)).scalar()
        for model in MODELS
    }
    return {name: count for name, count in counts.items() if count}


def assert_reused(session, factory_class, *keys, first=None):
    """Pass each key back: always the same object, no new row anywhere."""
    first = factory_class(**keys[0]) if first is None else first
    before = rows(session)
    for key in keys * 2:
        assert factory_class(**key) is first
        assert get_or_create(factory_class, **key) == (first, False) or isinstance(first, Box)
        assert find(factory_class, **key) is first
    assert rows(session) == before
    session.commit()
    for key in keys:
        assert factory_class(**key) is first
    assert rows(session) == before


@pytest.fixture
def scoped(engine):
    """A scoped session on the test's database, removed at the end."""
    scoped = scoped_session(sessionmaker(engine, future=True))
    yield scoped
    scoped.remove()


# The session: where a factory has it


def category_factory(**meta):
    class CategoryFactory(SQLAlchemyModelFactory):
        Meta = type("Meta", (), {"model": Category, "sqlalchemy_session": None, **meta})

        name = factory.Sequence("Category {}".format)

    return CategoryFactory


def test_a_session_in_meta(session):
    """The plain case: the session stands in Meta."""
    CategoryFactory = reuse_existing(category_factory(sqlalchemy_session=session))

    assert_reused(session, CategoryFactory, {"name": "Books"})
    assert rows(session) == {"Category": 1}


@everywhere
def test_a_scoped_session_in_meta(scoped):
    """A scoped session is asked for its session at each call."""
    CategoryFactory = reuse_existing(category_factory(sqlalchemy_session=scoped))

    assert_reused(scoped(), CategoryFactory, {"name": "Books"})

    first = CategoryFactory(name="Books")
    scoped.remove()
    second = CategoryFactory(name="Books")
    assert second is not first
    assert object_session(second) is scoped()
    assert rows(scoped()) == {"Category": 1}


def test_a_session_assigned_by_a_fixture(session, make_session):
    """`_meta.sqlalchemy_session` is read at each call, also after it was assigned anew."""
    CategoryFactory = reuse_existing(category_factory())

    CategoryFactory._meta.sqlalchemy_session = session
    assert CategoryFactory._meta.sqlalchemy_session is session
    assert_reused(session, CategoryFactory, {"name": "Books"})

    other = make_session()
    CategoryFactory._meta.sqlalchemy_session = other
    assert object_session(CategoryFactory(name="Books")) is other
    assert rows(other) == {"Category": 1}


def test_a_session_assigned_before_the_decoration(session):
    """What was assigned to `_meta` before the decoration is still there."""
    CategoryFactory = category_factory()
    CategoryFactory._meta.sqlalchemy_session = session

    assert_reused(session, reuse_existing(CategoryFactory), {"name": "Books"})


def test_a_session_assigned_to_a_child_is_the_childs(session, make_session):
    """A session assigned to one factory is not seen by another, related or not."""
    Parent = reuse_existing(category_factory())

    class Child(Parent):
        pass

    Parent._meta.sqlalchemy_session, Child._meta.sqlalchemy_session = session, make_session()

    assert object_session(Parent(name="Books")) is session
    assert object_session(Child(name="Games")) is not session


def test_a_session_is_set_with_monkeypatch(session, monkeypatch):
    """A session may be set and unset with monkeypatch, also where there was none."""

    @reuse_existing
    class PlainFactory(factory.Factory):
        class Meta:
            model = Category

        name = "Books"

        @classmethod
        def _create(cls, model_class, *args, **kwargs):
            obj = model_class(*args, **kwargs)
            cls._meta.sqlalchemy_session.add(obj)
            return obj

    CategoryFactory = reuse_existing(category_factory())

    with monkeypatch.context() as patch:
        patch.setattr(CategoryFactory._meta, "sqlalchemy_session", session)
        patch.setattr(PlainFactory._meta, "sqlalchemy_session", session, raising=False)
        first = CategoryFactory(name="Books")
        assert PlainFactory() is first

    for made in (CategoryFactory, PlainFactory):
        with pytest.raises(SessionError):
            made()


def test_a_module_of_factories_is_walked(session):
    """A fixture that walks a module and assigns the session finds the decorated classes."""
    module = types.ModuleType("legacy_factories")
    module.Plain = category_factory()
    module.Bare = reuse_existing(category_factory())
    module.Options = reuse_existing(on="name")(category_factory())
    module.Mixed = type(module.Plain)("Mixed", (ReuseMixin, category_factory()), {})
    reuse_existing(module.Plain)

    walked = [
        member
        for _, member in inspect.getmembers(module, inspect.isclass)
        if issubclass(member, SQLAlchemyModelFactory)
    ]
    for member in walked:
        member._meta.sqlalchemy_session = session

    assert len(walked) == 4
    first = module.Plain(name="Books")
    for member in walked:
        assert_reused(session, member, {"name": "Books"}, first=first)
    assert rows(session) == {"Category": 1}


@everywhere
def test_a_session_factory(engine):
    """`sqlalchemy_session_factory` may be a sessionmaker: a new session per call, one row."""
    maker = sessionmaker(engine, future=True, expire_on_commit=False)
    opened = []

    def open_session():
        opened.append(maker())
        return opened[-1]

    CategoryFactory = reuse_existing(
        category_factory(
            sqlalchemy_session_factory=open_session, sqlalchemy_session_persistence="commit"
        )
    )

    first = CategoryFactory(name="Books")
    second = CategoryFactory(name="Books")

    assert second.id == first.id
    assert [object_session(first), object_session(second)] == opened
    assert rows(opened[-1]) == {"Category": 1}
    for session in opened:
        session.close()


def test_a_scoped_session_factory(scoped):
    """`sqlalchemy_session_factory` may be a scoped session."""
    CategoryFactory = reuse_existing(category_factory(sqlalchemy_session_factory=scoped))

    assert_reused(scoped(), CategoryFactory, {"name": "Books"})
    scoped.remove()


def test_hooks_see_the_session_that_the_session_factory_gave(session):
    """As factory_boy does, a call leaves its session in `_meta.sqlalchemy_session`."""

    class CategoryFactory(SQLAlchemyModelFactory):
        class Meta:
            model = Category
            sqlalchemy_session = None  # or factory_boy 3.3.0 refuses the next line
            sqlalchemy_session_factory = lambda: session  # noqa: E731

        name = factory.Sequence("Category {}".format)

        @factory.post_generation
        def saved(obj, create, extracted, **kwargs):
            seen.append(CategoryFactory._meta.sqlalchemy_session)

    seen = []
    reuse_existing(CategoryFactory)
    CategoryFactory(name="Books")

    assert seen == [session]


def global_factory(current, **meta):
    """A factory whose `_create` alone knows the session, through a module global."""

    class CategoryFactory(SQLAlchemyModelFactory):
        Meta = type("Meta", (), {"model": Category, **meta})

        name = factory.Sequence("Category {}".format)

        @classmethod
        def _create(cls, model_class, *args, **kwargs):
            obj = model_class(*args, **kwargs)
            current.session.add(obj)
            current.session.flush()
            return obj

    return CategoryFactory


@everywhere
@pytest.mark.parametrize("meta", [{}, {"sqlalchemy_session": "dummy"}], ids=["none", "dummy"])
@pytest.mark.parametrize("shape", ["session", "callable", "scoped_session", "use_session"])
def test_a_session_that_only_create_knows(session, meta, shape):
    """`session=` or `use_session` tells where to look, whatever dummy stands in Meta."""
    current = types.SimpleNamespace(session=session)
    CategoryFactory = global_factory(current, **meta)

    if shape == "use_session":
        reuse_existing(CategoryFactory)
        with use_session(session):
            assert_reused(session, CategoryFactory, {"name": "Books"})
    else:
        scoped = scoped_session(lambda: session)
        given = {"session": session, "callable": lambda: current.session, "scoped_session": scoped}
        reuse_existing(CategoryFactory, session=given[shape])
        assert_reused(session, CategoryFactory, {"name": "Books"})
    assert rows(session) == {"Category": 1}


@pytest.mark.parametrize("strategy", ["create", "find", "get_or_create"])
@pytest.mark.parametrize("dummy", [None, "dummy", object()], ids=["none", "string", "object"])
def test_no_usable_session_is_an_error_that_says_what_to_write(session, dummy, strategy):
    """The error names factory, model and what was found, and every way to give a session."""
    meta = {} if dummy is None else {"sqlalchemy_session": dummy}
    CategoryFactory = reuse_existing(global_factory(types.SimpleNamespace(session=session), **meta))
    call = {
        "create": CategoryFactory,
        "find": lambda **key: find(CategoryFactory, **key),
        "get_or_create": lambda **key: get_or_create(CategoryFactory, **key),
    }[strategy]

    with pytest.raises(SessionError) as raised:
        call(name="Books")

    message = str(raised.value)
    assert "CategoryFactory (Category)" in message
    assert repr(dummy) in message or "no session" in message
    assert "Meta.sqlalchemy_session" in message
    assert "reuse_existing(session=...)" in message
    assert "use_session(session)" in message
    assert (raised.value.factory, raised.value.model) == ("CategoryFactory", "Category")
    assert rows(session) == {}


def test_a_dummy_does_no_harm_where_reuse_is_off(session):
    """Inside `no_reuse()` and in `build` a factory without a usable session works as ever."""
    CategoryFactory = reuse_existing(
        global_factory(types.SimpleNamespace(session=session), sqlalchemy_session="dummy")
    )

    assert CategoryFactory.build(name="Books").name == "Books"
    with no_reuse():
        assert CategoryFactory(name="Books").name == "Books"
    assert rows(session) == {"Category": 1}


@pytest.mark.parametrize("shape", ["meta", "factory", "session=", "use_session", "scoped"])
def test_an_async_session_without_await(session, shape):
    """An AsyncSession gets an error that says how to call the factory."""
    pytest.importorskip("greenlet")
    from sqlalchemy.ext.asyncio import AsyncSession, async_scoped_session

    unusable = AsyncSession()
    if shape == "scoped":
        unusable = async_scoped_session(AsyncSession, scopefunc=lambda: 1)
    meta = {
        "factory": {"sqlalchemy_session_factory": lambda: unusable},
        "meta": {"sqlalchemy_session": unusable},
        "scoped": {"sqlalchemy_session": unusable},
    }
    CategoryFactory = reuse_existing(
        category_factory(**meta.get(shape, {})), session=unusable if shape == "session=" else None
    )

    block = use_session(unusable) if shape == "use_session" else contextlib.nullcontext()
    with pytest.raises(SessionError, match=r"without await.*await aio\.create\("), block:
        CategoryFactory(name="Books")


@pytest.mark.parametrize("where", ["meta", "factory", "session="])
def test_flask_sqlalchemys_session(where):
    """`db.session` is found wherever it stands, within an application context."""
    flask = pytest.importorskip("flask")
    flask_sqlalchemy = pytest.importorskip("flask_sqlalchemy")
    app = flask.Flask(__name__)
    app.config["SQLALCHEMY_DATABASE_URI"] = "sqlite://"
    db = flask_sqlalchemy.SQLAlchemy(app, session_options={"future": True})

    class Thing(db.Model):
        id = db.Column(db.Integer, primary_key=True)
        name = db.Column(db.String(50), unique=True)

    meta = {
        "meta": {"sqlalchemy_session": db.session},
        "factory": {"sqlalchemy_session_factory": lambda: db.session},
        "session=": {},
    }[where]
    ThingFactory = reuse_existing(
        category_factory(**{**meta, "model": Thing}),
        session=db.session if where == "session=" else None,
    )

    with app.app_context():
        db.create_all()
        first = ThingFactory(name="Books")
        assert ThingFactory(name="Books") is first
        db.session.commit()
        assert ThingFactory(name="Books") is first
        assert object_session(first) is db.session()
        assert db.session.execute(select(func.count()).select_from(Thing)).scalar() == 1
        db.session.remove()
        db.engine.dispose()


@everywhere
def test_threads_have_their_own_sessions(scoped):
    """Each thread gets the row through its own scoped session, never another thread's object."""
    CategoryFactory = reuse_existing(category_factory(sqlalchemy_session=scoped))
    CategoryFactory(name="Books")
    scoped.commit()
    barrier, results, errors = threading.Barrier(4, timeout=20), [], []

    def work():
        try:
            barrier.wait()
            first = CategoryFactory(name="Books")
            barrier.wait()
            again = CategoryFactory(name="Books")
            assert again is first
            assert object_session(first) is scoped()
            results.append(first)
            barrier.wait()  # or an object's id could be another's later
        except BaseException as error:
            errors.append(error)
            barrier.abort()
        finally:
            scoped.remove()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert errors == []
    assert len({id(found) for found in results}) == 4
    assert rows(scoped()) == {"Category": 1}


def test_a_block_of_one_thread_is_not_seen_by_another(session, make_session):
    """`use_session` and `no_reuse` hold in the thread that entered them."""
    CategoryFactory = reuse_existing(category_factory(sqlalchemy_session=session))
    first = CategoryFactory(name="Books")
    found = []

    with use_session(make_session()), no_reuse():
        thread = threading.Thread(target=lambda: found.append(CategoryFactory(name="Books")))
        thread.start()
        thread.join()

    assert found[0] is first


# use_session and no_reuse


@everywhere
def test_use_session_goes_before_every_other_session(session, make_session):
    """Inside the block lookup and insert go through the session given, and nothing else."""
    current = types.SimpleNamespace(session=session)
    factories = [
        reuse_existing(category_factory()),
        reuse_existing(category_factory(sqlalchemy_session=current.session)),
        reuse_existing(category_factory(sqlalchemy_session_factory=lambda: current.session)),
        reuse_existing(category_factory(), session=lambda: current.session),
        reuse_existing(category_factory(sqlalchemy_session="dummy"), session=current.session),
    ]
    other = make_session()

    with use_session(other):
        first = factories[0](name="Books")
        assert all(made(name="Books") is first for made in factories)
    assert object_session(first) is other
    assert rows(other) == {"Category": 1}
    assert list(session.new) == []
    assert not session.in_transaction()


def test_use_session_nests_and_is_restored(session, make_session):
    """The inner block counts; on the way out, by an error too, the outer one does again."""
    outer, inner = make_session(), make_session()
    CategoryFactory = reuse_existing(category_factory(sqlalchemy_session=session))

    def where():
        return CategoryFactory._meta.sqlalchemy_session

    with use_session(outer):
        assert where() is outer
        with contextlib.suppress(ZeroDivisionError), use_session(lambda: inner):
            assert where() is inner
            raise ZeroDivisionError
        assert where() is outer
        assert object_session(CategoryFactory(name="Books")) is outer
    assert where() is session


def test_use_session_serves_nested_factories(session):
    """Under an undecorated parent too, a decorated SubFactory goes through the block's session."""
    CategoryFactory = reuse_existing(category_factory(sqlalchemy_session="dummy"))

    class ProductFactory(SQLAlchemyModelFactory):
        class Meta:
            model = Product
            sqlalchemy_session = session

        sku = factory.Sequence("SKU-{}".format)
        category = factory.SubFactory(CategoryFactory, name="Books")

    with use_session(session):
        assert ProductFactory().category is ProductFactory().category
    assert rows(session) == {"Category": 1, "Product": 2}


def test_a_factory_made_inside_use_session_does_not_keep_it(session, make_session):
    """A class statement inside the block inherits the session of its parent, not the block's."""
    Parent = reuse_existing(category_factory(sqlalchemy_session=session))

    with use_session(make_session()):

        class Child(Parent):
            pass

    assert object_session(Child(name="Books")) is session


def test_no_reuse_inserts_at_every_depth(session):
    """Inside the block SubFactories insert as well, and nested blocks end one by one."""

    class CategoryFactory(category_factory(sqlalchemy_session=session)):
        class Meta:
            sqlalchemy_session_persistence = "flush"

    class ProductFactory(SQLAlchemyModelFactory):
        class Meta:
            model = Product
            sqlalchemy_session = session
            sqlalchemy_session_persistence = "flush"

        sku = factory.Sequence("SKU-{}".format)
        category = factory.SubFactory(CategoryFactory)

    reuse_existing(CategoryFactory)
    reuse_existing(ProductFactory)
    ProductFactory(sku="A", category__name="Books")

    with no_reuse():
        with no_reuse():
            pass
        ProductFactory(sku="B")
    ProductFactory(sku="A", category__name="Books")

    assert rows(session) == {"Category": 2, "Product": 2}


# _create and _save in every shape


@everywhere
def test_create_with_side_effects_runs_once_per_row(session):
    """A `_create` that notes, mails or counts does so for new rows only."""
    created = []

    @reuse_existing
    class CategoryFactory(category_factory(sqlalchemy_session=session)):
        @classmethod
        def _create(cls, model_class, *args, **kwargs):
            obj = super()._create(model_class, *args, **kwargs)
            created.append(obj.name)
            return obj

    assert_reused(session, CategoryFactory, {"name": "Books"})
    assert created == ["Books"]


def test_create_that_pops_keyword_arguments(session):
    """What `_create` takes out of its arguments before the model sees them may be passed."""
    noted = []

    @reuse_existing
    class CategoryFactory(category_factory(sqlalchemy_session=session)):
        note = None

        @classmethod
        def _create(cls, model_class, *args, **kwargs):
            noted.append(kwargs.pop("note"))
            return super()._create(model_class, *args, **kwargs)

    first = CategoryFactory(name="Books", note="new")

    assert_reused(
        session, CategoryFactory, {"name": "Books"}, {"name": "Books", "note": "old"}, first=first
    )
    assert noted == ["new"]


@everywhere
def test_create_that_looks_up_by_hand(session, statements):
    """A hand-written lookup in `_create` still works, and is asked for new rows only."""

    @reuse_existing
    class CategoryFactory(category_factory(sqlalchemy_session=session)):
        @classmethod
        def _create(cls, model_class, *args, **kwargs):
            found = session.query(model_class).filter_by(name=kwargs["name"]).first()
            return found or super()._create(model_class, *args, **kwargs)

    with statements() as seen:
        CategoryFactory(name="Books")
    assert seen == ["SELECT", "SAVEPOINT", "SELECT", "INSERT", "RELEASE"]
    with statements() as seen:
        CategoryFactory(name="Books")
    assert seen == []
    assert_reused(session, CategoryFactory, {"name": "Books"})


@everywhere
def test_create_that_commits(session):
    """A `_create` that commits by itself is survived."""

    @reuse_existing
    class CategoryFactory(category_factory(sqlalchemy_session=session)):
        @classmethod
        def _create(cls, model_class, *args, **kwargs):
            obj = super()._create(model_class, *args, **kwargs)
            session.commit()
            return obj

    first = CategoryFactory(name="Books")
    CategoryFactory(name="Games")
    session.rollback()

    assert_reused(session, CategoryFactory, {"name": "Books"}, first=first)
    assert rows(session) == {"Category": 2}


def test_create_that_calls_its_scoped_session(scoped):
    """Code in `_create` finds in `_meta.sqlalchemy_session` what was put there."""

    @reuse_existing
    class CategoryFactory(category_factory(sqlalchemy_session=scoped)):
        @classmethod
        def _create(cls, model_class, *args, **kwargs):
            session = cls._meta.sqlalchemy_session()
            obj = model_class(*args, **kwargs)
            session.add(obj)
            return obj

    assert_reused(scoped(), CategoryFactory, {"name": "Books"})


def test_create_that_calls_another_factory(session):
    """A factory called by hand inside `_create` is a call of its own."""
    CategoryFactory = reuse_existing(category_factory(sqlalchemy_session=session))

    @reuse_existing
    class ProductFactory(SQLAlchemyModelFactory):
        class Meta:
            model = Product
            sqlalchemy_session = session

        sku = factory.Sequence("SKU-{}".format)

        @classmethod
        def _create(cls, model_class, *args, **kwargs):
            kwargs["category"] = CategoryFactory(name="Books")
            return super()._create(model_class, *args, **kwargs)

    first, created = get_or_create(ProductFactory, sku="A")
    assert created
    assert get_or_create(ProductFactory, sku="B")[1]
    assert_reused(session, ProductFactory, {"sku": "A"}, first=first)
    assert rows(session) == {"Category": 1, "Product": 2}


@everywhere
def test_adjust_kwargs_that_changes_the_key(session):
    """Where `_adjust_kwargs` rewrites a key, both spellings are the same row."""

    @reuse_existing
    class CategoryFactory(category_factory(sqlalchemy_session=session)):
        class Meta:
            sqlalchemy_session_persistence = "flush"

        @classmethod
        def _adjust_kwargs(cls, **kwargs):
            kwargs["name"] = kwargs["name"].strip()
            return kwargs

    first = CategoryFactory(name=" Books ")

    assert CategoryFactory(name="Books") is first
    assert CategoryFactory(name=" Books ") is first
    assert rows(session) == {"Category": 1}


@everywhere
@pytest.mark.parametrize("signature", ["old", "new"])
def test_save_with_either_signature(session, signature):
    """`_save` in the style of factory_boy 3.1 and of today both go on working."""
    saved = []

    class OldFactory(category_factory(sqlalchemy_session=session)):
        @classmethod
        def _create(cls, model_class, *args, **kwargs):
            return cls._save(model_class, cls._meta.sqlalchemy_session, *args, **kwargs)

        @classmethod
        def _save(cls, model_class, session, *args, **kwargs):
            saved.append(kwargs["name"])
            obj = model_class(*args, **kwargs)
            session.add(obj)
            return obj

    class NewFactory(category_factory(sqlalchemy_session=session)):
        @classmethod
        def _save(cls, model_class, session, args, kwargs):
            saved.append(kwargs["name"])
            return super()._save(model_class, session, args, kwargs)

    made = reuse_existing(OldFactory if signature == "old" else NewFactory)

    assert_reused(session, made, {"name": "Books"})
    assert saved == ["Books"]


def test_generate_that_is_overridden(session):
    """A `_generate` that wraps every call, as some projects have it, still wraps it."""
    wrapped = []

    @reuse_existing
    class CategoryFactory(category_factory(sqlalchemy_session=session)):
        @classmethod
        def _generate(cls, strategy, params):
            wrapped.append(strategy)
            return super()._generate(strategy, params)

    first = CategoryFactory(name="Books")

    assert CategoryFactory(name="Books") is first
    assert wrapped == ["create", "create"]


def test_factories_without_a_class_statement(session):
    """Factories made in a loop by `make_factory` reuse like written ones."""
    made = {
        model: factory.make_factory(
            model,
            FACTORY_CLASS=SQLAlchemyModelFactory,
            name=factory.Sequence("made {}".format),
        )
        for model in (Category, Flag)
    }
    for each in made.values():
        each._meta.sqlalchemy_session = session
        reuse_existing(each)

    assert_reused(session, made[Category], {"name": "Books"})
    assert_reused(session, made[Flag], {"name": "Books"})
    assert rows(session) == {"Category": 1, "Flag": 1}


# 1:1 parents


class OneUserFactory(SQLAlchemyModelFactory):
    class Meta:
        model = User
        sqlalchemy_session_persistence = "flush"

    tenant = "acme"
    email = factory.Sequence("user{}@example.org".format)
    profile = factory.RelatedFactory(
        __name__ + ".OneProfileFactory", factory_related_name="user", bio="made by the user"
    )


class OneProfileFactory(SQLAlchemyModelFactory):
    class Meta:
        model = Profile
        sqlalchemy_session_persistence = "flush"

    handle = factory.Sequence("handle{}".format)
    user = factory.SubFactory(OneUserFactory)


@everywhere
def test_the_related_factory_has_already_made_the_row(session):
    """A profile whose user comes with a profile is that profile: one row of each."""
    for each in (OneUserFactory, OneProfileFactory):
        each._meta.sqlalchemy_session = session
        reuse_existing(each)

    profile = OneProfileFactory()

    assert profile.bio == "made by the user"
    assert rows(session) == {"User": 1, "Profile": 1}
    assert_reused(
        session,
        OneProfileFactory,
        {"user": profile.user},
        {"user__tenant": "acme", "user__email": profile.user.email},
        {"handle": profile.handle},
        first=profile,
    )
    assert_reused(session, OneUserFactory, {"email": profile.user.email}, first=profile.user)
    assert rows(session) == {"User": 1, "Profile": 1}


@everywhere
def test_reusing_a_one_to_one_parent_keeps_its_child(session):
    """Passing the parent again neither unlinks its child nor makes another."""

    @reuse_existing
    class UserFactory(SQLAlchemyModelFactory):
        class Meta:
            model = User
            sqlalchemy_session = session

        tenant = "acme"
        email = factory.Sequence("user{}@example.org".format)

    @reuse_existing
    class ProfileFactory(SQLAlchemyModelFactory):
        class Meta:
            model = Profile
            sqlalchemy_session = session

        user = factory.SubFactory(UserFactory)

    profile = ProfileFactory(user__email="ann@example.org", bio="first")
    session.commit()

    with pytest.warns(MismatchWarning, match="bio"):
        assert ProfileFactory(user__email="ann@example.org", bio="second") is profile
    session.commit()

    assert profile.user.profile is profile
    assert profile.bio == "first"
    assert rows(session) == {"User": 1, "Profile": 1}


def test_a_related_factory_is_not_run_again(session):
    """On a hit a RelatedFactory runs only for what the caller passed it, not for its defaults."""
    ran = []

    @reuse_existing
    class ProfileFactory(SQLAlchemyModelFactory):
        class Meta:
            model = Profile
            sqlalchemy_session = session

        bio = factory.LazyFunction(lambda: ran.append("profile") or "bio")

    @reuse_existing
    class UserFactory(SQLAlchemyModelFactory):
        class Meta:
            model = User
            sqlalchemy_session = session

        tenant = "acme"
        profile = factory.RelatedFactory(ProfileFactory, "user", handle="given there")
        profile__handle = "given in the class"

        @factory.post_generation
        def tags(obj, create, extracted, **kwargs):
            ran.append("tags")

    user = UserFactory(email="ann@example.org")
    assert ran == ["profile", "tags"]
    assert UserFactory(email="ann@example.org") is user
    assert ran == ["profile", "tags"]
    assert rows(session) == {"User": 1, "Profile": 1}


# Models that answer oddly


@everywhere
@pytest.mark.parametrize("persistence", [None, "flush", "commit"])
def test_a_model_that_is_false_and_equal_to_all(session, persistence):
    """`__len__`, `__bool__` and `__eq__` of a model play no part in whether it is there."""

    @reuse_existing
    class BoxFactory(SQLAlchemyModelFactory):
        class Meta:
            model = Box
            sqlalchemy_session = session
            sqlalchemy_session_persistence = persistence

        name = factory.Sequence("Box {}".format)

    @reuse_existing
    class FlagFactory(SQLAlchemyModelFactory):
        class Meta:
            model = Flag
            sqlalchemy_session = session
            sqlalchemy_session_persistence = persistence

        name = factory.Sequence("Flag {}".format)
        box = factory.SubFactory(BoxFactory)

    flag = FlagFactory(name="red", box__name="small")
    small, large = flag.box, BoxFactory(name="large")

    assert small is not large
    assert_reused(session, BoxFactory, {"name": "small"}, first=small)
    assert_reused(session, BoxFactory, {"name": "large"}, first=large)
    assert_reused(session, FlagFactory, {"name": "red"}, {"name": "red", "box": small}, first=flag)
    with pytest.warns(MismatchWarning, match="box"):
        FlagFactory(name="red", box=large)
    assert rows(session) == {"Box": 2, "Flag": 1}


# What factory_boy does between the call and the model


def user_factory(session, base=SQLAlchemyModelFactory, **attributes):
    meta = {"model": User, "sqlalchemy_session": session, **attributes.pop("meta", {})}
    attributes = {
        "tenant": "acme",
        "email": factory.Sequence("user{}@example.org".format),
        **attributes,
        "Meta": type("Meta", (), meta),
        "__module__": __name__,
    }
    return reuse_existing(type(base)("UserFactory", (base,), attributes))


def test_excluded_fields(session):
    """A field in `exclude` is no value of the model, but other fields may use it."""
    UserFactory = user_factory(
        session,
        meta={"exclude": ("name", "login")},
        name="ann",
        login="never reaches the model",
        email=factory.LazyAttribute(lambda o: f"{o.name}@example.org"),
    )

    ann = UserFactory()

    assert ann.login is None
    assert_reused(
        session,
        UserFactory,
        {},
        {"name": "ann"},
        {"email": "ann@example.org"},
        {"email": "ann@example.org", "name": "ben"},
        {"login": "passed in vain"},
        first=ann,
    )
    assert UserFactory(name="ben") is not ann
    assert rows(session) == {"User": 2}


def test_renamed_fields(session):
    """A renamed field is a key under the model's name, and passed under the factory's."""

    class Renaming(SQLAlchemyModelFactory):
        class Meta:
            model = User
            sqlalchemy_session = session
            rename = {"address": "email", "nick": "login"}

        tenant = "acme"
        address = factory.Sequence("user{}@example.org".format)
        nick = factory.LazyAttribute(lambda o: o.address.split("@")[0])

    reuse_existing(Renaming)

    ann = Renaming(address="ann@example.org")

    assert (ann.email, ann.login) == ("ann@example.org", "ann")
    assert_reused(
        session,
        Renaming,
        {"address": "ann@example.org"},
        {"address": "ann@example.org", "nick": "ann"},
        {"nick": "ann"},
        first=ann,
    )


def test_inline_arguments(session):
    """Fields that go to the constructor by position are keys like others."""

    class Positional(SQLAlchemyModelFactory):
        class Meta:
            model = User
            sqlalchemy_session = session
            inline_args = ("tenant", "email")

        tenant = "acme"
        email = factory.Sequence("user{}@example.org".format)

        @classmethod
        def _create(cls, model_class, *args, **kwargs):
            tenant, email = args
            return super()._create(model_class, tenant=tenant, email=email, **kwargs)

    reuse_existing(Positional)

    ann = Positional(email="ann@example.org")

    assert_reused(session, Positional, {"email": "ann@example.org"}, first=ann)
    assert Positional(tenant="bell", email="ann@example.org") is not ann
    assert rows(session) == {"User": 2}


@everywhere
def test_transformed_fields(session):
    """A Transformer's value, passed or declared, is looked up as it is stored."""
    UserFactory = user_factory(
        session, email=factory.Transformer("Default@Example.org", transform=str.lower)
    )

    default = UserFactory()
    ann = UserFactory(email="ANN@example.org")

    assert (default.email, ann.email) == ("default@example.org", "ann@example.org")
    assert_reused(session, UserFactory, {}, {"email": "DEFAULT@example.org"}, first=default)
    assert_reused(
        session,
        UserFactory,
        {"email": "ann@example.org"},
        {"email": "Ann@Example.Org"},
        {"email": factory.Transformer.Force("ann@example.org")},
        first=ann,
    )
    assert rows(session) == {"User": 2}


@everywhere
def test_traits_and_params(session):
    """Keys that depend on Traits and Params are what factory_boy makes of them."""

    class UserFactory(SQLAlchemyModelFactory):
        class Meta:
            model = User
            sqlalchemy_session = session

        class Params:
            name = "user"
            guest = factory.Trait(tenant="guests", name="guest")
            admin = factory.Trait(guest=False, email="root@example.org")

        tenant = "acme"
        email = factory.LazyAttribute(lambda o: f"{o.name}@example.org")

    reuse_existing(UserFactory)

    user, guest, admin = UserFactory(), UserFactory(guest=True), UserFactory(admin=True)

    assert [(made.tenant, made.email) for made in (user, guest, admin)] == [
        ("acme", "user@example.org"),
        ("guests", "guest@example.org"),
        ("acme", "root@example.org"),
    ]
    assert_reused(session, UserFactory, {}, {"name": "user"}, {"guest": False}, first=user)
    assert_reused(
        session,
        UserFactory,
        {"guest": True},
        {"tenant": "guests", "name": "guest"},
        {"guest": True, "email": "guest@example.org"},
        first=guest,
    )
    assert_reused(session, UserFactory, {"admin": True}, {"email": "root@example.org"}, first=admin)
    assert rows(session) == {"User": 3}


def test_iterators_and_dictionaries_in_the_key(session):
    """Stateful declarations advance once per call, hit or miss."""

    @reuse_existing
    class CategoryFactory(SQLAlchemyModelFactory):
        class Meta:
            model = Category
            sqlalchemy_session = session

        name = factory.Iterator(["Books", "Games", "Toys"])
        label = factory.LazyAttributeSequence(lambda o, n: f"{o.name} {n}")

    made = [CategoryFactory() for _ in range(7)]

    assert [category.name for category in made[:4]] == ["Books", "Games", "Toys", "Books"]
    assert [category.label for category in made[:3]] == ["Books 0", "Games 1", "Toys 2"]
    assert made[3] is made[6] is made[0]
    assert rows(session) == {"Category": 3}


# The core scenario


def shop(session, persistence):
    """A base, its factories with nested parents, and a subclass, as a project has them."""

    class BaseFactory(SQLAlchemyModelFactory):
        class Meta:
            abstract = True
            sqlalchemy_session = session
            sqlalchemy_session_persistence = persistence

    class CategoryFactory(BaseFactory):
        class Meta:
            model = Category

        name = factory.Sequence("Category {}".format)
        label = factory.Faker("word")

    class ProductFactory(BaseFactory):
        class Meta:
            model = Product

        sku = factory.Sequence("SKU-{}".format)
        category = factory.SubFactory(CategoryFactory)

    class BookFactory(ProductFactory):
        category = factory.SubFactory(CategoryFactory, name="Books")

    class UserFactory(BaseFactory):
        class Meta:
            model = User

        tenant = "acme"
        email = factory.Faker("email")
        login = factory.LazyAttribute(lambda o: o.email.partition("@")[0])

    class ProfileFactory(BaseFactory):
        class Meta:
            model = Profile

        handle = factory.SelfAttribute("user.login")
        user = factory.SubFactory(UserFactory)

    return [CategoryFactory, ProductFactory, BookFactory, UserFactory, ProfileFactory]


def unique_keys(obj):
    """Each unique key of an object's model, with the object's values."""
    return {
        Category: lambda: [{"name": obj.name}],
        Product: lambda: [{"sku": obj.sku}],
        User: lambda: [{"tenant": obj.tenant, "email": obj.email}, {"login": obj.login}],
        Profile: lambda: [
            {"handle": obj.handle},
            {"user": obj.user},
            {"user__login": obj.user.login},
        ],
    }[type(obj)]()


@everywhere
@pytest.mark.parametrize("persistence", [None, "flush", "commit"])
def test_each_unique_key_passed_back_is_the_same_row(session, persistence):
    """Decorated bare, a factory given any unique key of a row it made returns that row."""
    factories = shop(session, persistence)
    for each in factories:
        reuse_existing(each)

    for made in factories:
        first = made()
        session.flush()
        assert_reused(session, made, *unique_keys(first), {"id": first.id}, first=first)
        another = made()
        assert another is not first
        assert_reused(session, made, *unique_keys(another), first=another)


def test_a_foreign_key_passed_back_is_the_same_row(session):
    """A factory that declares the foreign key's column, not the relationship, reuses by either."""
    UserFactory = user_factory(session, meta={"sqlalchemy_session_persistence": "flush"})

    @reuse_existing
    class ProfileFactory(SQLAlchemyModelFactory):
        class Meta:
            model = Profile
            sqlalchemy_session = session

        user_id = factory.LazyFunction(lambda: UserFactory().id)

    first = ProfileFactory()
    session.flush()

    assert_reused(
        session, ProfileFactory, {"user_id": first.user_id}, {"user": first.user}, first=first
    )
    assert rows(session) == {"User": 1, "Profile": 1}


@pytest.mark.parametrize("decorated", [0, 1, 3, 4])
def test_defaults_that_differ_make_different_rows(session, decorated):
    """With one factory decorated, or another, calls without a key insert what they did before."""
    category, product, _, user, profile = factories = shop(session, "flush")
    reuse_existing(factories[decorated])

    for each in (category, product, user, profile):
        assert each() is not each()

    assert rows(session) == {"Category": 4, "Product": 2, "User": 4, "Profile": 2}


def test_the_module_of_a_decorated_factory_is_its_own(session):
    """Tools that find factories by module and name find them where they were written."""
    CategoryFactory = reuse_existing(category_factory(sqlalchemy_session=session))

    assert sys.modules[CategoryFactory.__module__] is sys.modules[__name__]
    assert str(CategoryFactory) == f"<CategoryFactory for {Category}>"
    assert isinstance(CategoryFactory._meta.sqlalchemy_session, Session)
