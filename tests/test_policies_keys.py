"""The values of other keys, and `on_mismatch="update"`, which alone may assign them."""

import factory
import pytest
from keyed import current
from sqlalchemy import Column, ForeignKey, Integer, String, UniqueConstraint, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import declarative_base, relationship

from factory_reuse import MismatchError, reuse_existing
from shop import Scoped, ShopFactory, count, never

Base = declarative_base()

POLICIES = ["keep", "warn", "raise", "update"]


class Team(Base):
    __tablename__ = "team"
    id = Column(Integer, primary_key=True)
    name = Column(String(50), unique=True)


class User(Base):
    __tablename__ = "user_account"
    __table_args__ = (UniqueConstraint("team_id", "number"),)
    id = Column(Integer, primary_key=True)
    email = Column(String(50), unique=True)
    login = Column(String(50), unique=True)
    team_id = Column(ForeignKey("team.id"))
    team = relationship(Team)
    number = Column(Integer)
    city = Column(String(50))
    street = Column(String(50))


@reuse_existing
class TeamFactory(ShopFactory):
    class Meta:
        model = Team

    name = factory.Sequence("Team {}".format)


@reuse_existing
class UserFactory(ShopFactory):
    class Meta:
        model = User

    email = factory.Sequence("{}@x.org".format)
    login = factory.Sequence("user{}".format)
    team = factory.SubFactory(TeamFactory)
    number = factory.Sequence(lambda n: n)
    city = "Bonn"
    street = factory.Sequence("Street {}".format)


@pytest.fixture(autouse=True)
def _scoped(session):
    with current(session):
        yield


def with_policy(policy, **meta):
    """Return a subclass of the factory with another `on_mismatch`."""

    class PolicyFactory(UserFactory):
        Meta = type("Meta", (), {"reuse_on_mismatch": policy, **meta})

    return PolicyFactory


def stored(user):
    """Return what the database has."""
    columns = [User.email, User.login, User.city, User.number]
    return tuple(Scoped.execute(select(*columns).where(User.id == user.id)).one())


# Values of other keys


def test_a_key_that_finds_its_row_later():
    """A row found by the second key is the answer as long as the first finds none."""

    class AnnFactory(UserFactory):
        email = "ann@x.org"
        login = "ann"

    by_login = UserFactory(login="ann")
    for _ in range(3):
        assert AnnFactory() is by_login
    by_email = UserFactory(email="ann@x.org")
    assert AnnFactory() is by_email


@pytest.mark.parametrize("on", [None, [("team", "number"), ("email",)]], ids=str)
def test_a_parent_that_no_key_needs(on):
    """A key that needs no SubFactory goes first; where its row agrees, none is looked into."""

    class AnnFactory(UserFactory):
        email = "ann@x.org"
        team = factory.SubFactory(TeamFactory, name=factory.LazyFunction(never))

    ann = UserFactory(email="ann@x.org", number=7)
    assert reuse_existing(AnnFactory, on=on)(number=7) is ann


def _by_trait(factory_class):
    return {"external": True}


def _by_subfactory(factory_class):
    return {"team": factory.SubFactory(TeamFactory, name="ext")}


def _by_lazy_function(factory_class):
    return {"team__name": factory.LazyFunction(lambda: "ext")}


@pytest.mark.backends("sqlite")
@pytest.mark.parametrize("known", [False, True])
@pytest.mark.parametrize("passed", [_by_trait, _by_subfactory, _by_lazy_function])
def test_a_parent_passed_as_a_declaration(passed, known):
    """A declaration that gives another parent contradicts the row; no parent is made for it."""

    class TraitFactory(UserFactory):
        class Params:
            external = factory.Trait(team=factory.SubFactory(TeamFactory, name="ext"))

    user = TraitFactory(email="a@x.org", team__name="int")
    if known:
        TeamFactory(name="ext")
    teams = count(Team)
    with pytest.raises(MismatchError, match=r"team=<(Team id=2|a new one)>.* team=<Team id=1>"):
        TraitFactory(email="a@x.org", **passed(TraitFactory))
    assert count(Team) == teams
    TeamFactory(name="ext")
    other = TraitFactory(email="b@x.org", **passed(TraitFactory))
    assert other is not user
    assert TraitFactory(email="b@x.org", **passed(TraitFactory)) is other


@pytest.mark.backends("sqlite")
def test_a_parent_factory_gives_another_parent():
    """A declaration that a parent's SubFactory passes on counts as passed."""

    class MemoFactory(factory.DictFactory):
        owner = "int"
        user = factory.SubFactory(
            UserFactory, email="a@x.org", team__name=factory.SelfAttribute("...owner")
        )

    user = MemoFactory()["user"]
    assert MemoFactory()["user"] is user
    with pytest.raises(MismatchError, match="team=<a new one>"):
        MemoFactory(owner="ext")
    assert count(Team) == 1


@pytest.mark.backends("sqlite")
def test_update_makes_the_parent_passed_as_a_declaration():
    """With "update" the row gets the parent that the passed declaration makes, evaluated once."""
    declared = with_policy("update")
    user = declared(email="a@x.org", team__name="int")
    declared(email="a@x.org", team=factory.SubFactory(TeamFactory, name="ext"))
    assert user.team.name == "ext"
    assert count(Team) == 2


@pytest.mark.backends("sqlite")
def test_a_parent_of_a_factory_without_reuse():
    """What a factory without reuse would make says nothing of the row, and is not made."""

    class PlainTeamFactory(ShopFactory):
        class Meta:
            model = Team

        name = factory.Sequence("Plain {}".format)

    user = UserFactory(email="a@x.org")
    assert UserFactory(email="a@x.org", team=factory.SubFactory(PlainTeamFactory)) is user
    assert count(Team) == 1


@pytest.mark.backends("sqlite")
def test_a_contradicting_row_makes_no_parent():
    """Where a row contradicts the call, the keys that go through a parent only look for it."""
    UserFactory(email="a@x.org", team__name="int", number=1)
    with pytest.raises(MismatchError, match="team__name='ext'"):
        UserFactory(email="a@x.org", team__name="ext", number=1)
    assert count(Team) == 1


@pytest.mark.parametrize("policy", POLICIES[:3])
def test_a_value_of_another_key_must_agree(policy):
    """The row found by one key that contradicts another passed key is an error, never the row."""
    declared = with_policy(policy)
    ann = declared(email="ann@x.org", login="ann")
    with pytest.raises(
        MismatchError, match=r"login='bob'.*\(email='ann@x.org'\).*login='ann'"
    ) as caught:
        declared(email="ann@x.org", login="bob")
    assert caught.value.values == {"login": "bob"}
    assert caught.value.found == {"login": "ann"}
    assert caught.value.instance is ann
    with pytest.raises(
        MismatchError, match=r"email='bob@x.org'.*\(login='ann'\).*email='ann@x.org'"
    ):
        declared(email="bob@x.org", login="ann")
    assert declared(email="ann@x.org", login="ann") is ann
    assert stored(ann)[:2] == ("ann@x.org", "ann")
    assert count(User) == 1


@pytest.mark.backends("sqlite")
@pytest.mark.parametrize("policy", POLICIES[:3])
def test_two_keys_of_two_rows(policy):
    """Keys that name two different rows give neither of them."""
    declared = with_policy(policy)
    ann, bob = declared(email="ann@x.org", login="ann"), declared(email="bob@x.org", login="bob")
    with pytest.raises(MismatchError):
        declared(email="ann@x.org", login="bob")
    assert (stored(ann)[1], stored(bob)[1]) == ("ann", "bob")


@pytest.mark.backends("sqlite")
@pytest.mark.parametrize(
    "wrong", [{"id": 999}, {"number": 999}, {"team": None}, {"team__name": "ZZ"}], ids=str
)
def test_the_primary_key_and_parts_of_a_composite_key_must_agree(wrong):
    """So must a passed primary key, and each passed part of a composite key."""
    declared = with_policy("keep")
    declared(email="ann@x.org", number=1)
    with pytest.raises(MismatchError):
        declared(email="ann@x.org", login=factory.LazyFunction(str), **wrong)
    assert count(User) == 1


@pytest.mark.backends("sqlite")
def test_a_declaration_passed_for_another_key_must_agree():
    """A declaration passed for another key is evaluated, once, and must agree."""
    calls = []
    ann = UserFactory(email="ann@x.org", login="ann")
    right = factory.LazyFunction(lambda: calls.append(1) or "ann")
    assert UserFactory(email="ann@x.org", login=right) is ann
    assert calls == [1]
    with pytest.raises(MismatchError, match="login='bob'"):
        UserFactory(email="ann@x.org", login=factory.LazyFunction(lambda: "bob"))


@pytest.mark.backends("sqlite")
def test_a_declared_value_of_another_key_may_differ():
    """What nobody passed contradicts nothing."""
    ann = UserFactory(email="ann@x.org")
    assert UserFactory(email="ann@x.org") is ann
    assert UserFactory(team=ann.team, number=ann.number) is ann


@pytest.mark.backends("sqlite")
def test_a_failed_call_leaves_the_session_usable():
    """After a MismatchError the caller's work is in place, pending objects included."""
    ann = UserFactory(email="ann@x.org", login="ann")
    pending = Team(name="pending")
    Scoped.add(pending)
    ann.city = "Kiel"
    with pytest.raises(MismatchError):
        UserFactory(email="ann@x.org", login="bob")
    Scoped.commit()
    assert stored(ann) == ("ann@x.org", "ann", "Kiel", ann.number)
    assert TeamFactory(name="pending") is pending


# Update


@pytest.mark.single
def test_update_assigns_what_was_passed(statements):
    """Only passed values that differ are assigned, in one UPDATE inside a SAVEPOINT."""
    ann = UserFactory(email="ann@x.org", login="ann", number=1)
    street = ann.street
    with statements() as seen:
        again = with_policy("update")(email="ann@x.org", login="ann", city="Kiel", number=1)
    assert again is ann
    assert seen == ["SAVEPOINT", "UPDATE", "RELEASE"]
    assert "city" in seen.sql[1]
    assert "number" not in seen.sql[1]
    assert stored(ann) == ("ann@x.org", "ann", "Kiel", 1)
    assert ann.street == street


def test_update_without_a_difference_writes_nothing(statements):
    """Values that agree cost no statement."""
    ann = UserFactory(email="ann@x.org", city="Kiel")
    with statements() as seen:
        assert with_policy("update")(email="ann@x.org", city="Kiel") is ann
    assert seen == []


def test_update_may_assign_another_key():
    """The value of another key is assigned, and finds the row from then on, the old one no more."""
    declared = with_policy("update")
    ann = declared(email="ann@x.org", login="ann", team__name="A", number=1)
    assert declared(email="ann@x.org", login="anna", team__name="A", number=2) is ann
    assert stored(ann) == ("ann@x.org", "anna", "Bonn", 2)
    assert declared(login="anna") is ann
    assert declared(team__name="A", number=2) is ann
    assert declared(login="ann") is not ann


def test_update_rolls_back_with_the_caller(session):
    """What was assigned is gone after the caller's rollback."""
    ann = UserFactory(email="ann@x.org", login="ann")
    session.commit()
    with_policy("update")(email="ann@x.org", city="Kiel")
    session.rollback()
    assert stored(ann)[2] == "Bonn"
    assert ann.city == "Bonn"


def test_a_refused_update_is_undone_alone(session):
    """The error is the database's own; session, row and the caller's earlier work are usable."""
    declared = with_policy("update")
    ann, bob = declared(email="ann@x.org", login="ann"), declared(email="bob@x.org", login="bob")
    session.commit()
    session.add(Team(name="earlier"))
    bob.city = "Kiel"
    with pytest.raises(IntegrityError):
        declared(email="ann@x.org", login="bob", city="Ulm")
    assert session.is_active
    assert (ann.login, ann.city, bob.city) == ("ann", "Bonn", "Kiel")
    assert declared(email="ann@x.org") is ann
    assert declared(login="bob") is bob
    session.commit()
    assert (stored(ann)[1:3], stored(bob)[1:3]) == (("ann", "Bonn"), ("bob", "Kiel"))
    assert count(Team) == 3


def test_update_by_a_path_takes_the_row_of_that_name():
    """`team__name="ZZ"` gives the row the team of that name; its old team keeps its name."""
    declared = with_policy("update")
    ann = declared(email="ann@x.org", team__name="A")
    old = ann.team
    declared(email="ann@x.org", team__name="ZZ")
    assert (ann.team.name, old.name) == ("ZZ", "A")
    assert ann.team_id == ann.team.id
    assert count(Team) == 2


@pytest.mark.backends("sqlite")
def test_update_of_a_lazy_factory_stays_lazy(statements):
    """A factory that does not flush assigns, and leaves the UPDATE to the caller's flush."""
    ann = UserFactory(email="ann@x.org")
    declared = with_policy("update", sqlalchemy_session_persistence=None)
    with statements() as seen:
        assert declared(email="ann@x.org", city="Kiel") is ann
    assert seen == []
    assert (ann.city, ann in Scoped().dirty) == ("Kiel", True)


@pytest.mark.backends("sqlite")
def test_update_of_a_committing_factory_commits():
    """`sqlalchemy_session_persistence = "commit"`: what was assigned is committed, too."""
    declared = with_policy("update", sqlalchemy_session_persistence="commit")
    ann = declared(email="ann@x.org")
    declared(email="ann@x.org", city="Kiel")
    Scoped.rollback()
    assert stored(ann)[2] == "Kiel"


@pytest.mark.backends("sqlite")
@pytest.mark.parametrize("policy", POLICIES)
def test_a_parent_passed_by_its_path_that_the_row_does_not_have(policy):
    """A key's `team__name=` is held against the row even after the parent was looked up."""
    declared = with_policy(policy)
    user = declared(team__name="Red", number=1)
    blue = TeamFactory(name="Blue")
    if policy == "update":
        assert declared(login=user.login, team__name="Blue", number=2) is user
        assert (user.team, user.number) == (blue, 2)
        return
    with pytest.raises(MismatchError, match=r"team__name='Blue'.*team__name='Red'"):
        declared(login=user.login, team__name="Blue", number=1)
