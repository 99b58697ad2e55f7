"""`post_generation`: what runs on a reused row after it was found."""

import factory
import pytest
from keyed import current
from sqlalchemy import Column, ForeignKey, Integer, String, UniqueConstraint, func, select
from sqlalchemy.orm import declarative_base, relationship

from factory_reuse import reuse_existing
from shop import Scoped, ShopFactory

Base = declarative_base()


class User(Base):
    __tablename__ = "user_account"
    id = Column(Integer, primary_key=True)
    name = Column(String(50), unique=True)
    password = Column(String(50))

    groups = ()

    def set_password(self, value, salt=""):
        self.password = value + salt
        return self.password


class Post(Base):
    __tablename__ = "post"
    __table_args__ = (UniqueConstraint("user_id", "title"),)
    id = Column(Integer, primary_key=True)
    title = Column(String(50))
    user_id = Column(ForeignKey("user_account.id"))
    user = relationship(User, backref="posts")


class PlainPostFactory(ShopFactory):
    class Meta:
        model = Post

    title = factory.Sequence("Post {}".format)


@reuse_existing
class PostFactory(PlainPostFactory):
    pass


class UserFactory(ShopFactory):
    """Not decorated; each test decorates a subclass."""

    class Meta:
        model = User

    name = "Ann"
    password = factory.PostGenerationMethodCall("set_password", "default")
    post = factory.RelatedFactory(PlainPostFactory, "user", title="First")

    @factory.post_generation
    def groups(self, create, extracted, **kwargs):
        self.groups = (*self.groups, (create, extracted, kwargs))
        return len(self.groups)

    @classmethod
    def _after_postgeneration(cls, instance, create, results=None):
        after.append((instance, create, dict(results)))


after = []


@pytest.fixture(autouse=True)
def _scoped(session):
    after.clear()
    with current(session):
        yield


def users(body=None, **options):
    """Return the factory of users, with these options and declarations."""
    body = {"__module__": __name__, **(body or {})}
    return reuse_existing(type("UserFactory", (UserFactory,), body), **options)


def titles(user):
    Scoped.expire(user, ["posts"])
    return sorted(post.title for post in user.posts)


def test_on_a_miss_all_of_it_runs():
    """Under each setting a new row is completed as ever."""
    for when in ("explicit", "always", "never"):
        user = users(post_generation=when)(name=when, groups=1)
        assert (user.password, user.groups) == ("default", ((True, 1, {}),))
        assert titles(user) == ["First"]


def test_explicit_runs_nothing_that_nobody_passed(statements):
    """`explicit`, the default: a hit without such arguments is only a hit."""
    declared = users()
    user = declared()
    user.password = "changed"
    Scoped.flush()
    with statements() as seen:
        assert declared() is user
    assert seen in ([], ["SELECT"])
    assert (user.password, user.groups) == ("changed", ((True, None, {}),))
    assert titles(user) == ["First"]


@pytest.mark.backends("sqlite")
def test_explicit_runs_what_got_a_value():
    """`explicit`: a passed value, or a deeper argument, runs that one declaration."""
    declared = users()
    user = declared()
    declared(password="new")
    assert (user.password, len(user.groups)) == ("new", 1)
    declared(password__salt="!")
    assert (user.password, len(user.groups)) == ("default!", 1)
    declared(groups=["a"], groups__deep=True)
    assert user.groups[1:] == ((True, ["a"], {"deep": True}),)
    assert titles(user) == ["First"]
    declared(post__title="Second")
    assert titles(user) == ["First", "Second"]


@pytest.mark.backends("sqlite")
def test_explicit_runs_what_got_a_false_value():
    """`explicit`: None, False and empty values are values."""
    declared = users()
    user = declared()
    for value in (None, False, [], 0):
        declared(groups=value)
    assert [extracted for _, extracted, _ in user.groups] == [None, None, False, [], 0]


@pytest.mark.backends("sqlite")
def test_explicit_takes_a_passed_object_in_place_of_a_related_one():
    """`explicit`: a passed object stands in the results, and nothing is made."""
    declared = users()
    user = declared()
    other = PlainPostFactory(title="Other", user=user)
    declared(post=other)
    assert after[-1] == (user, True, {"post": other})
    assert titles(user) == ["First", "Other"]


@pytest.mark.backends("sqlite")
def test_explicit_ignores_what_the_factory_declares():
    """`explicit`: a deeper argument that the class declares is not one that the caller passed."""
    declared = users({"post__title": "Declared", "groups__deep": True})
    user = declared()
    assert titles(user) == ["Declared"]
    assert declared() is user
    assert len(user.groups) == 1
    assert titles(user) == ["Declared"]


@pytest.mark.backends("sqlite")
def test_explicit_runs_a_declaration_passed_in_the_call():
    """`explicit`: a post-generation declaration that is passed itself runs."""
    declared = users()
    user = declared()
    declared(post=factory.RelatedFactory(PlainPostFactory, "user", title="Passed"))
    assert titles(user) == ["First", "Passed"]


@pytest.mark.backends("sqlite")
def test_explicit_runs_what_an_enabled_trait_sets():
    """`explicit`: an enabled Trait passes its post-generation values; one that is off, none."""

    class Params:
        strong = factory.Trait(password__salt="!!")
        busy = factory.Trait(
            more=factory.RelatedFactory(PostFactory, "user", title="More"),
        )

    declared = users({"Params": Params})
    user = declared()
    assert (user.password, titles(user)) == ("default", ["First"])
    user.password = "changed"
    declared(strong=False, busy=False)
    assert (user.password, titles(user)) == ("changed", ["First"])
    declared(busy=True)
    assert titles(user) == ["First", "More"]
    declared(strong=True)
    assert user.password == "default!!"


@pytest.mark.backends("sqlite")
def test_explicit_knows_what_a_parent_passes():
    """`explicit`: a parent's SubFactory passes values to post-generation declarations too."""
    declared = users()
    user = declared()

    class UserPostFactory(PostFactory):
        user = factory.SubFactory(declared, password="from parent")

    post = UserPostFactory()
    assert post.user is user
    assert user.password == "from parent"
    UserPostFactory(user__password="from call")
    assert user.password == "from call"


@pytest.mark.backends("sqlite")
def test_always_runs_all_of_it():
    """`always`: a hit is completed as a new row is; undecorated related factories make rows."""
    declared = users({"post": factory.RelatedFactory(PlainPostFactory, "user")})
    declared = reuse_existing(declared, post_generation="always")
    user = declared()
    assert declared(password="new") is user
    assert (user.password, len(user.groups)) == ("new", 2)
    assert declared() is user
    assert (user.password, len(user.groups)) == ("default", 3)
    assert len(titles(user)) == 3


@pytest.mark.backends("sqlite")
def test_always_with_related_factories_that_reuse():
    """`always`: related rows of a reuse-enabled factory are found again, not made again."""
    related = factory.RelatedFactory(PostFactory, "user", title="First")
    several = factory.RelatedFactoryList(PostFactory, "user", size=2, title="Several")
    declared = users({"post": related, "posts_": several}, post_generation="always")
    user = declared()
    assert titles(user) == ["First", "Several"]
    assert declared() is user
    assert titles(user) == ["First", "Several"]


@pytest.mark.backends("sqlite")
def test_never_runs_nothing():
    """`never`: not even what the caller passed."""
    declared = users(post_generation="never")
    user = declared()
    assert declared(password="new", groups=1, post__title="Second") is user
    assert (user.password, len(user.groups)) == ("default", 1)
    assert titles(user) == ["First"]


@pytest.mark.backends("sqlite")
@pytest.mark.parametrize(
    ("when", "results"),
    [
        ("explicit", {"groups": 2}),
        ("always", {"password": "default", "groups": 2, "post": "First"}),
        ("never", {}),
    ],
)
def test_after_postgeneration_gets_the_results(when, results):
    """`_after_postgeneration` runs on every call, with the results of what ran, by name."""
    related = factory.RelatedFactory(PostFactory, "user", title="First")
    declared = users({"post": related}, post_generation=when)
    user = declared()
    declared(groups="x")
    for _, _, found in after:
        if "post" in found:
            found["post"] = found["post"].title
    everything = {"password": "default", "groups": 1, "post": "First"}
    assert after == [(user, True, everything), (user, True, results)]


@pytest.mark.backends("sqlite")
def test_after_postgeneration_of_a_build():
    """A build runs everything, and `_after_postgeneration` knows that nothing was created."""
    built = users().build(groups=1, post=None)
    assert after == [(built, False, {"password": "default", "groups": 1, "post": None})]
    assert built.groups == ((False, 1, {}),)


@pytest.mark.backends("sqlite")
def test_post_generation_values_are_not_compared():
    """A value for a post-generation declaration is its argument, not a value of the row."""
    declared = users(on_mismatch="raise", post_generation="never")
    user = declared()
    assert declared(password="other", groups="x", post__title="y") is user
    assert user.password == "default"


def test_what_runs_after_a_hit_can_be_rolled_back(session):
    """A post-generation change of a reused row is the caller's to commit or roll back."""
    declared = users()
    user = declared()
    session.commit()
    declared(password="new", post__title="Second")
    session.rollback()
    assert user.password == "default"
    assert Scoped.execute(select(func.count()).select_from(Post)).scalar() == 1
