"""Shapes of factories as public repositories have them, each rewritten or left with a reason."""

import textwrap

import pytest

pytest.importorskip("libcst")

from factory_reuse._upgrade.files import upgrade

pytestmark = pytest.mark.single

HEAD = """\
import uuid

import factory
from factory.alchemy import SQLAlchemyModelFactory
from sqlalchemy import select

from app.models import db, Role, User


"""

#: Each with the decorator; or with a part of the reason; or with None where there is nothing to do.
SHAPES = {
    # sqlalchemy_get_or_create
    "one field in a list": (
        """
        class RoleFactory(SQLAlchemyModelFactory):
            class Meta:
                model = Role
                sqlalchemy_session = db.session
                sqlalchemy_get_or_create = ["name"]
        """,
        '@reuse_existing(on=("name",))',
    ),
    "the primary key": (
        """
        class RoleFactory(SQLAlchemyModelFactory):
            id = factory.Sequence(lambda n: n)

            class Meta:
                model = Role
                sqlalchemy_session_factory = lambda: db.session
                sqlalchemy_get_or_create = ("id",)
        """,
        '@reuse_existing(on=("id",))',
    ),
    "several fields of a model that is not there": (
        """
        class UserFactory(SQLAlchemyModelFactory):
            class Meta:
                model = User
                sqlalchemy_get_or_create = ("sub", "iss",)
        """,
        "@reuse_existing\n",
    ),
    "foreign keys read off SubFactories that are excluded": (
        """
        class UserRoleFactory(SQLAlchemyModelFactory):
            role_id = factory.SelfAttribute("role.id")
            user_id = factory.SelfAttribute("user.id")
            role = factory.SubFactory("tests.RoleFactory")
            user = factory.SubFactory("tests.UserFactory")

            class Meta:
                model = UserRole
                exclude = ("role", "user")
                sqlalchemy_get_or_create = ("user_id", "role_id")
        """,
        "@reuse_existing\n",
    ),
    "a key that is None unless it is passed": (
        """
        class ProviderFactory(SQLAlchemyModelFactory):
            class Meta:
                model = Provider
                sqlalchemy_get_or_create = ["local_class", "api_url"]

            local_class = factory.Sequence("Provider {}".format)
            api_url = None
        """,
        "`api_url`, of its key, is None in `ProviderFactory` unless it is passed",
    ),
    "a meta that is shared": (
        """
        class BaseMeta:
            sqlalchemy_session = db.session

        class TagFactory(SQLAlchemyModelFactory):
            class Meta(BaseMeta):
                model = Tag
                sqlalchemy_get_or_create = ('name',)

            id = factory.LazyFunction(uuid.uuid4)
        """,
        '@reuse_existing(on=("name",))',
    ),
    "register of pytest-factoryboy": (
        """
        @register
        class TagFactory(SQLAlchemyModelFactory):
            class Meta:
                model = Tag
                sqlalchemy_get_or_create = ("slug",)
        """,
        '@register\n@reuse_existing(on=("slug",))\nclass TagFactory',
    ),
    "arguments changed in a create of its own": (
        """
        class ProFactory(SQLAlchemyModelFactory):
            class Meta:
                model = User
                sqlalchemy_get_or_create = ["email"]

            @classmethod
            def _create(cls, model_class, *args, **kwargs):
                kwargs["password"] = hashed(kwargs.get("password", "secret"))
                return super()._create(model_class, *args, **kwargs)
        """,
        "Its `_create` is its own, and would not run for a row that is there (line 16)",
    ),
    "a docstring and nothing else": (
        '''
        class UserFactory(SQLAlchemyModelFactory):
            class Meta:
                model = User
                sqlalchemy_get_or_create = ("email",)

            @classmethod
            def _create(cls, model_class, *args, **kwargs):
                """Reset nothing."""
                return super()._create(model_class, *args, **kwargs)
        ''',
        '@reuse_existing(on=("email",))',
    ),
    "a session that a base injects": (
        """
        class BaseFactory(SQLAlchemyModelFactory):
            @classmethod
            def _save(cls, model_class, session, *args, **kwargs):
                from app.models import db
                return super()._save(model_class, db.session, *args, **kwargs)

        class RoleFactory(BaseFactory):
            class Meta:
                model = Role
                sqlalchemy_get_or_create = ("name",)
        """,
        "The `_save` of its base `BaseFactory` is its own",
    ),
    "an asynchronous base": (
        """
        from async_factory_boy.factory.sqlalchemy import AsyncSQLAlchemyFactory

        class RoleFactory(AsyncSQLAlchemyFactory):
            class Meta:
                model = Role
                sqlalchemy_get_or_create = ("name",)
        """,
        '@reuse_existing(on=("name",))',
    ),
    # _create without a lookup
    "a session of its own": (
        """
        class BaseFactory(SQLAlchemyModelFactory):
            class Meta:
                abstract = True

            @classmethod
            def _create(cls, model_class, *args, **kwargs):
                session = db.session
                session.begin(nested=True)
                obj = model_class(*args, **kwargs)
                session.add(obj)
                session.commit()
                return obj
        """,
        None,
    ),
    "an argument taken out": (
        """
        class UserFactory(SQLAlchemyModelFactory):
            @classmethod
            def _create(cls, model_class: type, *args: object, **kwargs: object) -> User:
                kwargs.pop("password", None)
                kwargs["email"] = normalised(str(kwargs.get("email", "")))
                return super()._create(model_class, *args, **kwargs)
        """,
        None,
    ),
    "rows besides": (
        """
        class UserFactory(SQLAlchemyModelFactory):
            @classmethod
            def _create(cls, model_class, *args, **kwargs):
                session = cls._meta.sqlalchemy_session
                if session is None:
                    raise RuntimeError("No session provided.")
                if "game" in kwargs:
                    session.add(Play(game=kwargs.pop("game")))
                return super()._create(model_class, *args, **kwargs)
        """,
        None,
    ),
    "a session from the settings": (
        """
        class BaseFactory(SQLAlchemyModelFactory):
            @classmethod
            def _create(cls, model_class, *args, **kwargs):
                if cls._meta.sqlalchemy_session is None:
                    cls._meta.sqlalchemy_session = settings.SessionLocal()
                return super()._create(model_class, *args, **kwargs)
        """,
        None,
    ),
    "a coroutine": (
        """
        class BaseFactory(SQLAlchemyModelFactory):
            @classmethod
            async def _create(cls, model_class, *args, **kwargs):
                instance = super()._create(model_class, *args, **kwargs)
                async with cls._meta.sqlalchemy_session as session:
                    await session.commit()
                return instance
        """,
        None,
    ),
    "an API instead": (
        """
        class UserFactory(SQLAlchemyModelFactory):
            @classmethod
            def _create(cls, model_class, *args, **kwargs):
                if args:
                    assert False, "no positional arguments"
                return call_action("user_create", **kwargs)
        """,
        None,
    ),
    "another manager": (
        """
        class UserFactory(factory.django.DjangoModelFactory):
            @classmethod
            def _create(cls, model_class, *args, **kwargs):
                found = model_class.objects.filter(email=kwargs["email"]).first()
                return found or model_class.objects.create_user(**kwargs)
        """,
        None,
    ),
    "a rollback": (
        """
        class BaseFactory(SQLAlchemyModelFactory):
            @classmethod
            def _create(cls, model_class, *args, **kwargs):
                try:
                    return super()._create(model_class, *args, **kwargs)
                except Exception as error:
                    cls._meta.sqlalchemy_session.rollback()
                    raise error
        """,
        None,
    ),
    # _create with a lookup
    "all arguments in a loop": (
        """
        class UserFactory(SQLAlchemyModelFactory):
            class Meta:
                model = User

            @classmethod
            def _create(cls, model_class, *args, **kwargs):
                q = cls._meta.sqlalchemy_session.query(model_class)
                for key, value in kwargs.items():
                    q = q.filter(getattr(model_class, key) == value)
                obj = q.first()
                if obj is None:
                    return super(UserFactory, cls)._create(model_class, *args, **kwargs)
                else:
                    return obj
        """,
        "has a loop",
    ),
    "the unique columns of the mapper": (
        """
        class ModelFactory(SQLAlchemyModelFactory):
            @classmethod
            def _create(cls, model_class, *args, **kwargs):
                filters = {}
                for col in model_class.__mapper__.columns:
                    if col.name in kwargs and (col.primary_key or col.unique):
                        filters[col.name] = kwargs[col.name]
                found = model_class.query.filter_by(**filters).one_or_none()
                return found or super()._create(model_class, *args, **kwargs)
        """,
        "has a loop",
    ),
    "a seeded row by a private helper": (
        """
        class SettingFactory(SQLAlchemyModelFactory):
            @classmethod
            def _create(cls, model_class, *args, **kwargs):
                found = cls._find_by_code(kwargs["code"])
                if found:
                    return found
                return super()._create(model_class, *args, **kwargs)

            @classmethod
            def _find_by_code(cls, code):
                return db.session.query(Setting).filter(Setting.code == code).first()
        """,
        None,
    ),
    "a lookup by email, then a password that is hashed": (
        """
        class UserFactory(SQLAlchemyModelFactory):
            class Meta:
                model = User

            @classmethod
            def _create(cls, model_class, *args, **kwargs):
                password = kwargs.pop("password", "x")
                user = db.session.query(User).filter_by(email=kwargs["email"]).first()
                if user:
                    return user
                user = super()._create(model_class, *args, **kwargs)
                user.set_password(password)
                return user
        """,
        "changes the arguments",
    ),
    "Flask-SQLAlchemy's query": (
        """
        class RoleFactory(SQLAlchemyModelFactory):
            class Meta:
                model = Role
                sqlalchemy_session = db.session

            @classmethod
            def _create(cls, model_class, *args, **kwargs):
                role = model_class.query.filter_by(name=kwargs.get("name")).first()
                if role is None:
                    role = super()._create(model_class, *args, **kwargs)
                return role
        """,
        '@reuse_existing(on=("name",))',
    ),
    "annotated, with a type comment": (
        """
        class RoleFactory(SQLAlchemyModelFactory):
            class Meta:
                model = Role
                sqlalchemy_session = db.session

            @classmethod
            def _create(cls, model_class: type[Role], *args: object, **kwargs: object) -> Role:
                session = cls._meta.sqlalchemy_session  # type: ignore[attr-defined]
                existing: Role | None = session.query(model_class).filter(
                    model_class.name == kwargs["name"]
                ).one_or_none()
                if existing is not None:
                    return existing
                return super()._create(model_class, *args, **kwargs)
        """,
        '@reuse_existing(on=("name",))',
    ),
    "keyword arguments only": (
        """
        class RoleFactory(SQLAlchemyModelFactory):
            class Meta:
                model = Role

            @classmethod
            def _create(cls, model_class, **kwargs):
                found = db.session.scalars(select(Role).where(Role.name == kwargs["name"])).first()
                return found or super()._create(model_class, **kwargs)
        """,
        '@reuse_existing(on=("name",), session=lambda: db.session)',
    ),
    "commits by itself": (
        """
        class RoleFactory(SQLAlchemyModelFactory):
            class Meta:
                model = Role
                sqlalchemy_session = db.session

            @classmethod
            def _create(cls, target_class, *args, **kwargs):
                instance = db.session.query(target_class).filter_by(name=kwargs["name"]).first()
                if instance:
                    return instance
                instance = target_class(*args, **kwargs)
                db.session.add(instance)
                db.session.commit()
                return instance
        """,
        'sqlalchemy_session_persistence = "commit"',
    ),
    "a race": (
        """
        class RoleFactory(SQLAlchemyModelFactory):
            class Meta:
                model = Role
                sqlalchemy_session = db.session

            @classmethod
            def _create(cls, model_class, *args, **kwargs):
                try:
                    instance = model_class(*args, **kwargs)
                    db.session.add(instance)
                    db.session.flush()
                    return instance
                except IntegrityError:
                    db.session.rollback()
                    return db.session.query(model_class).filter_by(name=kwargs["name"]).one()
        """,
        '@reuse_existing(on=("name",))',
    ),
    "a soft delete": (
        """
        class RoleFactory(SQLAlchemyModelFactory):
            class Meta:
                model = Role

            @classmethod
            def _create(cls, model_class, *args, **kwargs):
                found = db.session.query(Role).filter(
                    Role.name == kwargs["name"], Role.deleted_at.is_(None)
                ).first()
                return found or super()._create(model_class, *args, **kwargs)
        """,
        "say that with `where=`",
    ),
    "an id of another argument": (
        """
        class MemberFactory(SQLAlchemyModelFactory):
            class Meta:
                model = Member

            @classmethod
            def _create(cls, model_class, *args, **kwargs):
                found = db.session.query(Member).filter_by(user_id=kwargs["user"].id).first()
                return found or super()._create(model_class, *args, **kwargs)
        """,
        'looks into `kwargs["user"].id`',
    ),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_a_real_shape_is_rewritten_or_left_with_a_reason(shape, tmp_path):
    """Nothing is rewritten by half."""
    source, expected = SHAPES[shape]
    path = tmp_path / "factories.py"
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    path.write_text(HEAD + textwrap.dedent(source).lstrip("\n"))
    (result,) = upgrade([path])
    after = result.after.decode()
    if expected is None:
        assert (result.changed, result.left) == (False, ())
    elif result.changed:
        assert result.left == ()
        assert expected in after
        if "def _create" in after:
            assert "sqlalchemy_get_or_create" in source
        path.write_bytes(result.after)
        (again,) = upgrade([path])
        assert (again.changed, again.left) == (False, ())
    else:
        (left,) = result.left
        assert expected in left.reason
