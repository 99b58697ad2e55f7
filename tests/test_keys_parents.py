"""Foreign keys in a key: by the relationship or by its column, in each state of the parent."""

import factory
import pytest
from keyed import BaseFactory, assert_reused, current, persisting, rows
from sqlalchemy import Column, ForeignKey, Integer, String, UniqueConstraint
from sqlalchemy.orm import backref, declarative_base, relationship

from factory_reuse import MismatchError, find, reuse_existing

Base = declarative_base()


@pytest.fixture(autouse=True)
def _current(session):
    with current(session):
        yield


class Org(Base):
    __tablename__ = "org"

    id = Column(Integer, primary_key=True)
    slug = Column(String(20), unique=True, nullable=False)


class Team(Base):
    __tablename__ = "team"
    __table_args__ = (UniqueConstraint("org_id", "name"),)

    id = Column(Integer, primary_key=True)
    org_id = Column(Integer, ForeignKey("org.id"))
    org = relationship(Org)
    name = Column(String(20))


class Site(Base):
    """Refers to its parent's unique column, not to its primary key; and has no relationship."""

    __tablename__ = "site"
    __table_args__ = (UniqueConstraint("org_slug", "team_id"),)

    id = Column(Integer, primary_key=True)
    org_slug = Column(String(20), ForeignKey("org.slug"))
    org = relationship(Org)
    team_id = Column(Integer, ForeignKey("team.id"))


class Badge(Base):
    """One for one: the foreign key is the whole key."""

    __tablename__ = "badge"

    id = Column(Integer, primary_key=True)
    team_id = Column("team", Integer, ForeignKey("team.id"), unique=True)
    team = relationship(Team, backref=backref("badge", uselist=False))


@reuse_existing
class OrgFactory(BaseFactory):
    class Meta:
        model = Org

    slug = "acme"


@reuse_existing
class TeamFactory(BaseFactory):
    class Meta:
        model = Team

    org = factory.SubFactory(OrgFactory)
    name = "core"


@reuse_existing
class PlainTeamFactory(BaseFactory):
    """Declares nothing of the parent."""

    class Meta:
        model = Team

    name = "core"


@reuse_existing
class SiteFactory(BaseFactory):
    class Meta:
        model = Site

    org = factory.SubFactory(OrgFactory)


@reuse_existing
class BadgeFactory(BaseFactory):
    class Meta:
        model = Badge

    team = factory.SubFactory(TeamFactory)


@pytest.fixture
def org(session):
    org = OrgFactory()
    session.commit()
    return org


@pytest.fixture
def other(session):
    other = OrgFactory(slug="other")
    session.commit()
    return other


# Given by the relationship, or by the column


def test_by_subfactory(session):
    """A SubFactory gives the foreign key; parent and child are there once."""
    made = TeamFactory()
    assert_reused(made, TeamFactory)
    other = TeamFactory(org__slug="other")
    assert other is not made
    assert_reused(other, TeamFactory, org__slug="other")
    assert (rows(Org), rows(Team)) == (2, 2)


def test_column_and_relationship_are_one_field(org):
    """A row is found by `org` and by `org_id`, whichever made it."""
    by_relationship = TeamFactory(org=org)
    assert_reused(by_relationship, PlainTeamFactory, org_id=org.id)
    assert_reused(by_relationship, PlainTeamFactory, org_id=str(org.id))
    by_column = PlainTeamFactory(org_id=org.id, name="new")
    assert_reused(by_column, TeamFactory, name="new")
    assert_reused(by_column, PlainTeamFactory, org=org, name="new")
    assert (rows(Org), rows(Team)) == (1, 2)


def test_both_passed_and_agreed(org):
    """Passing both the parent and its key says the same thing twice."""
    made = TeamFactory(org=org, org_id=org.id)
    assert_reused(made, TeamFactory, org=org, org_id=org.id)
    assert_reused(made, TeamFactory, org_id=str(org.id), org=org)
    assert rows(Team) == 1


def test_both_passed_and_not_agreed(org, other):
    """Passing a parent and another one's key is an error, whether there is a row or not."""
    made = TeamFactory(org=org)
    for name in ("core", "new"):
        with pytest.raises(MismatchError, match=r"org_id gives .* and org gives") as caught:
            TeamFactory(org=org, org_id=other.id, name=name)
        assert caught.value.factory == "TeamFactory"
        assert caught.value.model == "Team"
        assert caught.value.values["org_id"] == other.id
    assert_reused(made, TeamFactory, org=org)
    assert (rows(Org), rows(Team)) == (2, 1)


def test_no_parent_and_a_key_do_not_agree(org):
    """Passing no parent and the key of one is an error too: the flush would write NULL."""
    with pytest.raises(MismatchError, match=f"org_id gives {org.id} and org gives None"):
        TeamFactory(org=None, org_id=org.id)
    assert (rows(Org), rows(Team)) == (1, 0)


@pytest.mark.parametrize("persistence", [None, "flush"])
def test_passed_relationship_before_declared_column(org, other, persistence):
    """A passed parent goes before a declared foreign key: it is what the flush writes."""

    @reuse_existing
    class BothFactory(BaseFactory):
        class Meta:
            model = Team

        org_id = org.id
        name = "core"

    both = persisting(BothFactory, persistence)
    first, second = both(), both(org=other)
    assert first is not second
    assert_reused(second, both, org=other)
    assert_reused(first, both)
    assert (second.org_id, rows(Team)) == (other.id, 2)


def test_declared_relationship_before_column(org, other):
    """Of a declared parent and a declared foreign key, the row is the parent's."""

    @reuse_existing
    class BothFactory(BaseFactory):
        class Meta:
            model = Team

        org = factory.SubFactory(OrgFactory)
        org_id = other.id
        name = "core"

    made = BothFactory()
    assert_reused(made, BothFactory)
    assert (made.org_id, rows(Org), rows(Team)) == (org.id, 2, 1)


def test_no_row_that_contradicts_the_passed_column(session, org, other):
    """Where a SubFactory outdoes a passed `org_id`, no row of another parent is returned."""
    teams = persisting(TeamFactory, "flush")
    team = teams(org=org)
    with pytest.raises(MismatchError, match=f"org_id={other.id}"):
        teams(org_id=other.id)
    assert (rows(Org), rows(Team)) == (2, 1)
    assert teams(org_id=org.id) is team


def test_other_column_of_the_parent(session, org):
    """A foreign key may refer to a unique column of the parent."""
    team = TeamFactory()
    session.flush()
    made = SiteFactory(org=org, team_id=team.id)
    assert_reused(made, SiteFactory, org=org, team_id=team.id)
    assert_reused(made, SiteFactory, org__slug="acme", team_id=team.id)
    assert SiteFactory(org__slug="other", team_id=team.id) is not made
    assert (rows(Org), rows(Site)) == (2, 2)


# States of the parent


def test_transient_parent(session, org):
    """A parent that is in no session has no child yet: a child is made, and the parent with it."""
    made = TeamFactory(org=org)
    first, second = TeamFactory(org=Org(slug="a")), TeamFactory(org=Org(slug="b"))
    assert len({made, first, second}) == 3
    assert_reused(first, TeamFactory, org=first.org)
    assert_reused(second, TeamFactory, org__slug="b")
    assert (rows(Org), rows(Team)) == (3, 3)


@pytest.mark.parametrize("autoflush", [True, False], ids=["autoflush", "no autoflush"])
@pytest.mark.backends("sqlite", "postgresql")
def test_pending_parent(make_session, autoflush):
    """A child of a pending parent is found among the pending, and the lookup flushes neither."""
    with current(make_session(autoflush=autoflush)) as session:
        first, second = Org(slug="a"), Org(slug="b")
        session.add_all([first, second])
        made = PlainTeamFactory(org=first)
        assert PlainTeamFactory(org=second) is not made
        assert PlainTeamFactory(org=first) is made
        assert (first.id, made.id) == (None, None)
        assert_reused(made, PlainTeamFactory, org=first)
        assert (rows(Org), rows(Team)) == (2, 2)


@pytest.mark.backends("sqlite", "postgresql")
def test_pending_parent_of_a_flushing_factory(make_session):
    """A factory that flushes finds the child of a parent that it flushed itself."""
    flushing = persisting(PlainTeamFactory, "flush")
    with current(make_session(autoflush=False)) as session:
        parent = Org(slug="a")
        session.add(parent)
        made = flushing(org=parent)
        assert made.org_id == parent.id
        assert_reused(made, flushing, org=parent)
        assert_reused(made, flushing, org_id=parent.id)
        assert (rows(Org), rows(Team)) == (1, 1)


def test_expired_parent(session, org):
    """An expired parent is known by its identity."""
    made = TeamFactory(org=org)
    session.commit()
    session.expire(org)
    assert PlainTeamFactory(org=org) is made
    session.expire_all()
    assert PlainTeamFactory(org=org) is made
    assert rows(Team) == 1


def test_detached_parent(session, org):
    """A parent that left the session still has its row."""
    made = TeamFactory(org=org)
    session.commit()
    org_id, team_id = org.id, made.id
    session.expunge_all()
    found = PlainTeamFactory(org=org)
    assert (found.id, found.org_id) == (team_id, org_id)
    assert (rows(Org), rows(Team)) == (1, 1)


def test_no_parent(org):
    """Without a parent the foreign key is NULL, and so no key."""
    first, second = TeamFactory(org=None), TeamFactory(org=None)
    third = PlainTeamFactory(org_id=None)
    assert len({first, second, third}) == 3
    assert rows(Team) == 3


@pytest.mark.backends("sqlite", "postgresql")
@pytest.mark.parametrize("persistence", [None, "flush"])
def test_moved_to_another_parent(make_session, persistence):
    """With autoflush off, a child is found under its new parent, and not under the old."""
    teams = persisting(TeamFactory, persistence)
    with current(make_session(autoflush=False)) as session:
        old, new = OrgFactory(slug="old"), OrgFactory(slug="new")
        made = teams(org=old)
        session.commit()
        made.org = new
        assert teams(org=new) is made
        session.flush()
        assert teams(org=new) is made
        assert teams(org=old) is not made
        assert rows(Team) == 2


# Other shapes


def test_one_to_one():
    """A one-to-one child is found by its parent, and stays linked."""
    made = BadgeFactory()
    assert_reused(made, BadgeFactory)
    assert_reused(made, BadgeFactory, team=made.team)
    assert made.team.badge is made
    other = BadgeFactory(team__name="other")
    assert other is not made
    assert (rows(Org), rows(Team), rows(Badge)) == (1, 2, 2)


def test_find_with_parents():
    """A parent in the key is looked up too: no parent, no child; and nothing is inserted."""
    assert find(BadgeFactory) is None
    assert (rows(Org), rows(Team), rows(Badge)) == (0, 0, 0)
    made = BadgeFactory()
    assert find(BadgeFactory) is made
    assert find(BadgeFactory, team__org__slug="other") is None
    assert (rows(Org), rows(Team), rows(Badge)) == (1, 1, 1)


def test_unsaved_parent_with_a_known_value(session, org):
    """A parent without a row may have the value already; the same one passed is no other."""
    team = TeamFactory()
    session.flush()
    new = Org(slug="new")
    site = SiteFactory(org=new, org_slug="new", team_id=team.id)
    assert site.org is new
    with pytest.raises(MismatchError, match="disagree on org_slug"):
        SiteFactory(org=Org(slug="other"), org_slug="new", team_id=team.id)


def test_a_parent_that_is_flushed_on_the_way(session):
    """A pending parent may get its row while the rest of the key is evaluated."""

    class QueryFactory(TeamFactory):
        name = factory.LazyAttribute(lambda o: f"team {session.query(Team).count() * 0}")

    parent = Org(slug="pending")
    session.add(parent)
    made = QueryFactory(org=parent, name="team 0")
    assert made in session.new
    assert QueryFactory(org=parent) is made
    session.flush()
    assert QueryFactory(org=parent) is made


def test_a_parent_known_by_text(session):
    """A primary key given as text agrees with the number that it is."""
    org = Org(id="5", slug="five")
    session.add(org)
    session.flush()
    made = TeamFactory(org=org, org_id=5)
    assert TeamFactory(org=org, org_id="5") is made
