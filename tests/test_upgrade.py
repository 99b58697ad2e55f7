"""What `upgrade` rewrites: the same calls give the same rows before and after."""

import textwrap

import pytest

pytest.importorskip("libcst")

from rewritten import BASE, MODELS, run, upgrader

pytestmark = pytest.mark.single

IMPORTS = '''\
"""Factories of a shop."""

from __future__ import annotations

import factory
from factory.alchemy import SQLAlchemyModelFactory
from sqlalchemy import Column, ForeignKey, Integer, String, UniqueConstraint, create_engine
from sqlalchemy import and_, or_, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import declarative_base, relationship, scoped_session, sessionmaker
from sqlalchemy.orm.exc import NoResultFound

'''
TAIL = """\
SessionLocal = sessionmaker(engine)


def get_session():
    return session()


FIELDS = ("name",)
_MODULE_CACHE = {}


"""
HEAD = IMPORTS + MODELS + BASE + TAIL

FACTORY = """\
class CategoryFactory(BaseFactory):
    class Meta:
        model = Category

    name = "Books"
    slug = factory.LazyAttribute(lambda category: category.name)
    label = "a label"
{fields}
    @classmethod
    def _create(cls, model_class, *args, **kwargs):
{body}

class ProductFactory(BaseFactory):
    class Meta:
        model = Product

    title = factory.Sequence(lambda n: f"Product {{n}}")
    category = factory.SubFactory(CategoryFactory)
"""


def with_body(body, fields=""):
    body = textwrap.indent(textwrap.dedent(body).strip("\n"), " " * 8)
    fields = textwrap.indent(textwrap.dedent(fields), " " * 4)
    return HEAD + FACTORY.format(body=body, fields=fields)


@pytest.fixture
def upgraded(tmp_path):
    """Return what becomes of a source."""
    return upgrader(tmp_path)


BY_NAME = """\
for name in ("Books", "Games", "Books", "Games", "Poems"):
    seen.append(CategoryFactory(name=name).id)
seen.append(CategoryFactory().id)
seen.append(CategoryFactory(name="Games", label="a label").id)
for name in ("Books", "Plays", "Plays"):
    seen.append(ProductFactory(category__name=name).category_id)
seen.append(CategoryFactory.build(name="Books").id)
seen.append([(c.id, c.name, c.slug, c.label) for c in session.query(Category).order_by("id")])
seen.append(session.query(Product).count())
"""

#: Ways to look up by the name; in each the rows are the same as after the upgrade.
FORMS = {
    "first, or super": """
        found = session.query(model_class).filter_by(name=kwargs["name"]).first()
        return found or super()._create(model_class, *args, **kwargs)
    """,
    "the session of Meta": """
        session = cls._meta.sqlalchemy_session
        obj = session.query(model_class).filter_by(name=kwargs["name"]).one_or_none()
        if obj is not None:
            return obj
        return super()._create(model_class, *args, **kwargs)
    """,
    "else": """
        obj = session.query(Category).filter(Category.name == kwargs["name"]).first()
        if obj:
            return obj
        else:
            return super(CategoryFactory, cls)._create(model_class, *args, **kwargs)
    """,
    "not obj": """
        '''Reuse.'''
        name = kwargs.get("name")
        query = session.query(cls._meta.model)
        query = query.filter(model_class.name == name)
        obj = query.first()
        if not obj:
            obj = super()._create(model_class, *args, **kwargs)
        return obj
    """,
    "conditional expression": """
        obj = session.query(model_class).filter_by(name=kwargs["name"]).scalar()
        return obj if obj is not None else super()._create(model_class, *args, **kwargs)
    """,
    "walrus": """
        if (obj := session.query(model_class).filter_by(name=kwargs["name"]).first()) is None:
            obj = super()._create(model_class, *args, **kwargs)
        return obj
    """,
    "NoResultFound": """
        try:
            return session.query(model_class).filter_by(name=kwargs["name"]).one()
        except NoResultFound:
            return super()._create(model_class, *args, **kwargs)
    """,
    "NoResultFound, else": """
        try:
            obj = session.query(model_class).filter_by(name=kwargs["name"]).one()
        except NoResultFound:
            obj = super()._create(model_class, *args, **kwargs)
        return obj
    """,
    "select where": """
        statement = select(model_class).where(model_class.name == kwargs["name"])
        obj = session.execute(statement).scalar_one_or_none()
        return obj or super()._create(model_class, *args, **kwargs)
    """,
    "select filter_by scalars": """
        obj = session.scalars(select(Category).filter_by(name=kwargs["name"])).first()
        if obj is None:
            return super()._create(model_class, *args, **kwargs)
        return obj
    """,
    "execute scalars": """
        result = session.execute(select(Category).filter_by(name=kwargs["name"]))
        return result.scalars().first() or super()._create(model_class, *args, **kwargs)
    """,
    "session.scalar": """
        obj = session.scalar(select(Category).where(Category.name == kwargs["name"]).limit(1))
        return obj or super()._create(model_class, *args, **kwargs)
    """,
    "session called": """
        db = session()
        obj = db.query(model_class).filter_by(name=kwargs["name"]).first()
        return obj or super()._create(model_class, *args, **kwargs)
    """,
    "session from a function": """
        db = get_session()
        obj = db.query(model_class).filter_by(name=kwargs["name"]).first()
        return obj or super()._create(model_class, *args, **kwargs)
    """,
    "no session, an error": """
        db = cls._meta.sqlalchemy_session
        if db is None:
            raise RuntimeError("no session")
        with db.no_autoflush:
            obj = db.query(model_class).filter_by(name=kwargs["name"]).first()
        return obj or super()._create(model_class, *args, **kwargs)
    """,
    "add and flush": """
        obj = session.query(model_class).filter_by(name=kwargs["name"]).first()
        if obj is None:
            obj = model_class(*args, **kwargs)
            session.add(obj)
            session.flush()
        return obj
    """,
    "add and commit": """
        obj = session.query(model_class).filter_by(name=kwargs["name"]).first()
        if obj is None:
            obj = model_class(**kwargs)
            session.add(obj)
            session.commit()
            session.refresh(obj)
        return obj
    """,
    "super and commit": """
        obj = session.query(model_class).filter_by(name=kwargs["name"]).first()
        if obj is None:
            obj = super()._create(model_class, *args, **kwargs)
            session.commit()
        return obj
    """,
    "IntegrityError": """
        try:
            with session.begin_nested():
                return super()._create(model_class, *args, **kwargs)
        except IntegrityError:
            return session.query(model_class).filter_by(name=kwargs["name"]).one()
    """,
    "look up and IntegrityError": """
        obj = session.query(model_class).filter_by(name=kwargs["name"]).first()
        if obj:
            return obj
        try:
            return super()._create(model_class, *args, **kwargs)
        except IntegrityError:
            session.rollback()
            return session.query(model_class).filter_by(name=kwargs["name"]).one()
    """,
    "rolls back and raises": """
        obj = session.query(model_class).filter_by(name=kwargs["name"]).first()
        if obj:
            return obj
        try:
            obj = super()._create(model_class, *args, **kwargs)
        except Exception as error:
            session.rollback()
            raise error
        return obj
    """,
    "fields of a constant": """
        key = {field: kwargs[field] for field in FIELDS}
        obj = session.query(model_class).filter_by(**key).first()
        return obj or super()._create(model_class, *args, **kwargs)
    """,
    "getattr": """
        criteria = [getattr(model_class, field) == kwargs[field] for field in ("name",)]
        obj = session.query(model_class).filter(*criteria).first()
        return obj or super()._create(model_class, *args, **kwargs)
    """,
    "dict": """
        lookup = dict(name=kwargs["name"])
        obj = session.query(model_class).filter_by(**lookup).first()
        return obj or super()._create(model_class, *args, **kwargs)
    """,
    "only if given": """
        if kwargs.get("name") is not None:
            obj = session.query(model_class).filter_by(name=kwargs["name"]).first()
            if obj is not None:
                return obj
        return super()._create(model_class, *args, **kwargs)
    """,
    "only if it is there": """
        name = kwargs.get("name")
        if name:
            obj = session.query(model_class).filter_by(name=name).first()
            if obj:
                return obj
        return super()._create(model_class, *args, **kwargs)
    """,
    "module cache": """
        if kwargs["name"] not in _MODULE_CACHE:
            _MODULE_CACHE[kwargs["name"]] = super()._create(model_class, *args, **kwargs)
        return _MODULE_CACHE[kwargs["name"]]
    """,
    "module cache by get": """
        key = (kwargs["name"],)
        obj = _MODULE_CACHE.get(key)
        if obj is None:
            obj = super()._create(model_class, *args, **kwargs)
            _MODULE_CACHE[key] = obj
        return obj
    """,
    "module cache by KeyError": """
        try:
            return _MODULE_CACHE[kwargs["name"]]
        except KeyError:
            obj = super()._create(model_class, *args, **kwargs)
            _MODULE_CACHE[kwargs["name"]] = obj
            return obj
    """,
}

#: Those that need more in the class than their body.
FORMS_WITH_FIELDS = {
    "class cache": (
        "_cache = {}\n",
        """
        key = kwargs["name"]
        if key in cls._cache:
            return cls._cache[key]
        obj = super()._create(model_class, *args, **kwargs)
        cls._cache[key] = obj
        return obj
        """,
    ),
    "class cache and query": (
        "_known: dict = dict()\n",
        """
        name = kwargs["name"]
        if name not in CategoryFactory._known:
            obj = session.query(model_class).filter_by(name=name).first()
            if obj is None:
                obj = super()._create(model_class, *args, **kwargs)
            cls._known[name] = obj
        return cls._known[name]
        """,
    ),
    "an argument taken out and put back": (
        "",
        """
        name = kwargs.pop("name")
        obj = session.query(model_class).filter_by(name=name).first()
        return obj or super()._create(model_class, *args, name=name, **kwargs)
        """,
    ),
    "the arguments of some names": (
        "",
        """
        key = {k: v for k, v in kwargs.items() if k in FIELDS}
        obj = session.query(model_class).filter_by(**key).first()
        return obj or super()._create(model_class, *args, **kwargs)
        """,
    ),
    "the first in an order": (
        "",
        """
        query = session.query(model_class).filter_by(name=kwargs["name"])
        obj = query.order_by(model_class.id).first()
        return obj or super()._create(model_class, *args, **kwargs)
        """,
    ),
    "class constants": (
        '_unique_by = ("name",)\n_db = session\n',
        """
        lookup = {f: kwargs[f] for f in cls._unique_by}
        obj = cls._db.query(model_class).filter_by(**lookup).first()
        return obj or super()._create(model_class, *args, **kwargs)
        """,
    ),
}
ALL_FORMS = {name: ("", body) for name, body in FORMS.items()}
ALL_FORMS.update(FORMS_WITH_FIELDS)


@pytest.mark.parametrize("form", ALL_FORMS)
def test_a_hand_written_lookup_gives_the_same_rows_when_rewritten(form, upgraded):
    """Found, created and nested rows are those that `_create` gave; nothing is left of it."""
    fields, body = ALL_FORMS[form]
    before = with_body(body, fields)
    result = upgraded(before)
    after = result.after.decode()
    assert result.left == ()
    assert [rewrite.factory for rewrite in result.rewritten] == ["CategoryFactory"]
    assert '@reuse_existing(on=("name",)' in after
    assert "_create" not in after
    assert "rollback" not in after
    assert run(after, BY_NAME) == run(before, BY_NAME)


@pytest.mark.parametrize("form", ALL_FORMS)
def test_a_second_run_changes_nothing(form, upgraded):
    """What was rewritten is left alone from then on."""
    once = upgraded(with_body(*reversed(ALL_FORMS[form])))
    twice = upgraded(once.after)
    assert not twice.changed
    assert twice.rewritten == twice.left == ()


OTHER_KEYS = {
    "two fields": (
        '@reuse_existing(on=("name", "label"))',
        """
        query = session.query(model_class)
        obj = query.filter_by(name=kwargs["name"], label=kwargs["label"]).first()
        return obj or super()._create(model_class, *args, **kwargs)
        """,
    ),
    "two filters": (
        '@reuse_existing(on=("name", "label"))',
        """
        query = session.query(Category).filter(Category.name == kwargs["name"])
        obj = query.filter(Category.label == kwargs["label"]).first()
        return obj or super()._create(model_class, *args, **kwargs)
        """,
    ),
    "and": (
        '@reuse_existing(on=("name", "label"))',
        """
        both = and_(Category.name == kwargs["name"], Category.label == kwargs["label"])
        obj = session.query(Category).filter(both).first()
        return obj or super()._create(model_class, *args, **kwargs)
        """,
    ),
    "operator &": (
        '@reuse_existing(on=("name", "label"))',
        """
        both = (Category.name == kwargs["name"]) & (Category.label == kwargs["label"])
        obj = session.query(Category).filter(both).first()
        return obj or super()._create(model_class, *args, **kwargs)
        """,
    ),
    "or": (
        '@reuse_existing(on=[("name",), ("slug",)])',
        """
        either = or_(Category.name == kwargs["name"], Category.slug == kwargs["slug"])
        obj = session.query(Category).filter(either).first()
        return obj or super()._create(model_class, *args, **kwargs)
        """,
    ),
    "one after the other": (
        '@reuse_existing(on=[("slug",), ("name",)])',
        """
        query = session.query(Category)
        obj = query.filter_by(slug=kwargs["slug"]).first()
        obj = obj or query.filter_by(name=kwargs["name"]).first()
        return obj or super()._create(model_class, *args, **kwargs)
        """,
    ),
}

BY_MORE = """\
for name, slug in (("Books", "b"), ("Games", "g"), ("Books", "b"), ("Games", "g")):
    seen.append(CategoryFactory(name=name, slug=slug).id)
for name in ("Books", "Plays", "Plays"):
    seen.append(ProductFactory(category__name=name, category__slug=name[0].lower()).category_id)
seen.append([(c.id, c.name, c.slug, c.label) for c in session.query(Category).order_by("id")])
"""


@pytest.mark.parametrize("form", OTHER_KEYS)
def test_several_fields_become_a_composite_key_or_alternatives(form, upgraded):
    """What is compared with AND is one key, with OR alternatives."""
    decorator, body = OTHER_KEYS[form]
    before = with_body(body)
    result = upgraded(before)
    after = result.after.decode()
    assert result.left == ()
    assert decorator in after
    assert run(after, BY_MORE) == run(before, BY_MORE)
    assert not upgraded(result.after).changed


SUPER = "return super()._create(model_class, *args, **kwargs)"
FIRST = f"""
obj = session.query(model_class).filter_by(name=kwargs["name"]).first()
return obj or {SUPER[7:]}
"""

#: What stays, with a part of the reason.
LEFT = {
    "all arguments": (
        "looks up by all arguments",
        f"""
        obj = session.query(model_class).filter_by(**kwargs).first()
        return obj or {SUPER[7:]}
        """,
    ),
    "a loop over all arguments": (
        "has a loop",
        f"""
        query = session.query(model_class)
        for name, value in kwargs.items():
            query = query.filter(getattr(model_class, name) == value)
        return query.first() or {SUPER[7:]}
        """,
    ),
    "an argument is taken out": (
        "takes `slug` out of the arguments",
        f"""
        kwargs.pop("slug")
        {FIRST.strip().replace(chr(10), chr(10) + " " * 8)}
        """,
    ),
    "an argument is set": (
        'changes the argument `kwargs["slug"]`',
        f"""
        kwargs["slug"] = kwargs["name"]
        {FIRST.strip().replace(chr(10), chr(10) + " " * 8)}
        """,
    ),
    "logging": (
        "also has `print(kwargs)`",
        f"""
        print(kwargs)
        {FIRST.strip().replace(chr(10), chr(10) + " " * 8)}
        """,
    ),
    "an update": (
        "has a loop",
        f"""
        obj = session.query(model_class).filter_by(name=kwargs["name"]).first()
        if obj is None:
            {SUPER}
        for name, value in kwargs.items():
            setattr(obj, name, value)
        return obj
        """,
    ),
    "an assignment to what was found": (
        "assigns to `obj.label`",
        f"""
        obj = session.query(model_class).filter_by(name=kwargs["name"]).first()
        if obj is None:
            {SUPER}
        obj.label = kwargs["label"]
        return obj
        """,
    ),
    "a fixed value": (
        "looks only for rows with a certain `label`: say that with `where=`",
        f"""
        obj = session.query(model_class).filter_by(name=kwargs["name"], label="x").first()
        return obj or {SUPER[7:]}
        """,
    ),
    "a condition without an argument": (
        "looks only for rows with a certain `label`: say that with `where=`",
        f"""
        query = session.query(Category).filter(Category.label.is_(None))
        obj = query.filter_by(name=kwargs["name"]).first()
        return obj or {SUPER[7:]}
        """,
    ),
    "a computed value": (
        'computes `kwargs["name"].lower()`',
        f"""
        obj = session.query(model_class).filter_by(name=kwargs["name"].lower()).first()
        return obj or {SUPER[7:]}
        """,
    ),
    "another argument": (
        "compares `slug` with another value",
        f"""
        obj = session.query(model_class).filter_by(slug=kwargs["name"]).first()
        return obj or {SUPER[7:]}
        """,
    ),
    "an order": (
        "orders rows, and its key is not known to be unique",
        f"""
        query = session.query(Category).filter_by(label=kwargs["label"]).order_by(Category.id)
        return query.first() or {SUPER[7:]}
        """,
    ),
    "another model": (
        "queries for something else than the model",
        f"""
        obj = session.query(Product).filter_by(name=kwargs["name"]).first()
        return obj or {SUPER[7:]}
        """,
    ),
    "any row": (
        "takes any row",
        f"""
        obj = session.query(model_class).first()
        return obj or {SUPER[7:]}
        """,
    ),
    "another creation": (
        "creates from other arguments",
        """
        obj = session.query(model_class).filter_by(name=kwargs["name"]).first()
        return obj or super()._create(model_class, *args, label="x", **kwargs)
        """,
    ),
    "a commit of a row that was there": (
        "commits also where it returns a row",
        f"""
        obj = session.query(model_class).filter_by(name=kwargs["name"]).first()
        if obj is None:
            obj = {SUPER[7:]}
        session.commit()
        return obj
        """,
    ),
    "nothing is added": (
        "does not add the new object exactly once",
        """
        obj = session.query(model_class).filter_by(name=kwargs["name"]).first()
        return obj or model_class(*args, **kwargs)
        """,
    ),
    "nothing is created": (
        "returns something else",
        """
        return session.query(model_class).filter_by(name=kwargs["name"]).first()
        """,
    ),
    "another method": (
        "calls `cls._lookup`, another method",
        f"""
        obj = session.query(model_class).filter_by(name=cls._lookup(kwargs)).first()
        return obj or {SUPER[7:]}
        """,
    ),
    "a subclass's fields": (
        "reads `cls._unique_by`, which this class does not set",
        f"""
        lookup = {{f: kwargs[f] for f in cls._unique_by}}
        obj = session.query(model_class).filter_by(**lookup).first()
        return obj or {SUPER[7:]}
        """,
    ),
    "a session that is imported inside": (
        "imports its session, `session.scoped`, inside",
        f"""
        from database import session
        obj = session.scoped.query(model_class).filter_by(name=kwargs["name"]).first()
        return obj or {SUPER[7:]}
        """,
    ),
    "a choice of sessions": (
        "chooses between sessions",
        f"""
        db = cls._meta.sqlalchemy_session or session
        obj = db.query(model_class).filter_by(name=kwargs["name"]).first()
        return obj or {SUPER[7:]}
        """,
    ),
    "the model's query": (
        "uses the model's `query`",
        f"""
        obj = model_class.query.filter_by(name=kwargs["name"]).first()
        return obj or {SUPER[7:]}
        """,
    ),
    "a cache with another key": (
        "has a cache with another key",
        f"""
        if kwargs["slug"] in _MODULE_CACHE:
            return _MODULE_CACHE[kwargs["slug"]]
        obj = session.query(model_class).filter_by(name=kwargs["name"]).first()
        return obj or {SUPER[7:]}
        """,
    ),
    "a cache with a computed key": (
        "has a cache with a key that is computed",
        f"""
        if ("category", kwargs["name"]) in _MODULE_CACHE:
            return _MODULE_CACHE[kwargs["name"]]
        obj = session.query(model_class).filter_by(name=kwargs["name"]).first()
        return obj or {SUPER[7:]}
        """,
    ),
    "the first key only sometimes": (
        "looks up by some of its keys only in some cases",
        f"""
        obj = None
        if kwargs.get("name"):
            obj = session.query(model_class).filter_by(name=kwargs["name"]).first()
        elif kwargs.get("slug"):
            obj = session.query(model_class).filter_by(slug=kwargs["slug"]).first()
        return obj or {SUPER[7:]}
        """,
    ),
    "a function besides": (
        "also calls `get_session()`",
        f"""
        get_session()
        {FIRST.strip().replace(chr(10), chr(10) + " " * 8)}
        """,
    ),
    "another session": (
        "uses more than one session",
        f"""
        obj = engine.query(model_class).filter_by(name=kwargs["name"]).first()
        obj = obj or session.query(model_class).filter_by(name=kwargs["name"]).first()
        return obj or {SUPER[7:]}
        """,
    ),
    "a session of its own": (
        "looks up in a session of its own, `SessionLocal()`",
        f"""
        db = SessionLocal()
        obj = db.query(model_class).filter_by(name=kwargs["name"]).first()
        return obj or {SUPER[7:]}
        """,
    ),
    "a switch": (
        "depends on `engine`",
        f"""
        if engine:
            obj = session.query(model_class).filter_by(name=kwargs["name"]).first()
            if obj:
                return obj
        {SUPER}
        """,
    ),
    "a select of another kind": (
        "also has `get_session(model_class)`",
        f"""
        obj = session.scalars(get_session(model_class).filter_by(name=kwargs["name"])).first()
        return obj or {SUPER[7:]}
        """,
    ),
    "a finally": (
        "has a `finally`",
        f"""
        try:
            obj = session.query(model_class).filter_by(name=kwargs["name"]).first()
        finally:
            pass
        return obj or {SUPER[7:]}
        """,
    ),
    "a row of the result": (
        "takes a row of the result",
        f"""
        obj = session.execute(select(model_class).filter_by(name=kwargs["name"])).first()
        return obj or {SUPER[7:]}
        """,
    ),
}


@pytest.mark.parametrize("form", LEFT)
def test_what_is_not_understood_stays_and_says_why(form, upgraded):
    """Not a byte changes, and the reason names what stands in the way."""
    reason, body = LEFT[form]
    result = upgraded(with_body(body))
    assert not result.changed
    assert result.rewritten == ()
    (left,) = result.left
    assert left.factory == "CategoryFactory"
    assert reason in left.reason
    assert left.line > HEAD.count("\n")
