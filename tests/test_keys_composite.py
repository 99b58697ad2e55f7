"""Composite foreign keys in a key, and foreign keys in a primary key."""

import factory
import pytest
from keyed import BaseFactory, assert_reused, current, persisting, rows
from sqlalchemy import Column, ForeignKey, ForeignKeyConstraint, Integer, String, UniqueConstraint
from sqlalchemy.orm import declarative_base, foreign, relationship

from factory_reuse import MismatchError, UniqueKeyError, find, reuse_existing, watch

Base = declarative_base()


@pytest.fixture(autouse=True)
def _current(session):
    with current(session):
        yield


class Region(Base):
    __tablename__ = "region"

    country = Column(String(2), primary_key=True)
    code = Column("region_code", String(5), primary_key=True)


class City(Base):
    __tablename__ = "city"
    __table_args__ = (
        ForeignKeyConstraint(["country", "region"], ["region.country", "region.region_code"]),
        UniqueConstraint("country", "region", "name"),
    )

    id = Column(Integer, primary_key=True)
    country = Column(String(2))
    region_code = Column("region", String(5))
    region = relationship(Region)
    name = Column(String(20))


class Twinning(Base):
    """The primary key is two foreign keys."""

    __tablename__ = "twinning"

    left_id = Column(ForeignKey("city.id"), primary_key=True)
    right_id = Column(ForeignKey("city.id"), primary_key=True)
    left = relationship(City, foreign_keys=left_id)
    right = relationship(City, foreign_keys=right_id)
    since = Column(Integer)


@reuse_existing
class RegionFactory(BaseFactory):
    class Meta:
        model = Region

    country = "FR"
    code = "BRE"


@reuse_existing
class CityFactory(BaseFactory):
    class Meta:
        model = City

    region = factory.SubFactory(RegionFactory)
    name = "Brest"


@reuse_existing
class PlainCityFactory(BaseFactory):
    class Meta:
        model = City

    name = "Brest"


@reuse_existing
class TwinningFactory(BaseFactory):
    class Meta:
        model = Twinning

    left = factory.SubFactory(CityFactory)
    right = factory.SubFactory(CityFactory, name="Kiel", region__country="DE", region__code="SH")


@pytest.mark.single
def test_pending_below_a_stored_parent():
    """A pending row is held, too, while its parent is yet to write the foreign key."""
    region = persisting(RegionFactory, "flush")()
    with watch() as report:
        city = CityFactory(region=region)
        assert CityFactory(region=region) is city
    assert [outcome.source for outcome in report.outcomes] == ["created", "cache"]


def test_pending_that_moved():
    """A pending row that is given another parent is found below that one."""
    regions = persisting(RegionFactory, "flush")
    left, right = regions(), regions(code="IDF")
    city = CityFactory(region=left)
    city.region = right
    assert CityFactory(region=right) is city
    assert CityFactory(region=left) is not city
    assert rows(City) == 2


def test_by_relationship():
    """One relationship gives both columns of the key."""
    made = CityFactory()
    assert_reused(made, CityFactory)
    assert_reused(made, CityFactory, region__code="BRE")
    assert CityFactory(region__code="NOR") is not made
    assert CityFactory(region__country="BY") is not made
    assert (rows(Region), rows(City)) == (3, 3)


def test_by_columns(session):
    """The two columns are the same key as the relationship over them."""
    made = CityFactory()
    session.flush()
    assert_reused(made, PlainCityFactory, country="FR", region_code="BRE")
    assert_reused(made, PlainCityFactory, region=made.region)
    assert_reused(made, CityFactory, region=made.region, country="FR", region_code="BRE")
    assert (rows(Region), rows(City)) == (1, 1)


@pytest.mark.parametrize("passed", [{"country": "BY"}, {"region_code": "NOR"}], ids=str)
def test_one_column_disagrees(session, passed):
    """Passing a parent, and another one's value for either column, is an error."""
    made = CityFactory()
    session.flush()
    with pytest.raises(MismatchError, match=rf"{next(iter(passed))} gives .* and region gives"):
        CityFactory(region=made.region, **passed)
    assert_reused(made, CityFactory)
    assert (rows(Region), rows(City)) == (1, 1)


@pytest.mark.backends("sqlite", "postgresql")
@pytest.mark.parametrize("persistence", [None, "flush"])
def test_pending_parent(make_session, persistence):
    """A parent whose whole key was assigned, but not flushed, has its children found."""
    cities = persisting(PlainCityFactory, persistence)
    with current(make_session(autoflush=False)) as session:
        region, other = Region(country="FR", code="BRE"), Region(country="FR", code="NOR")
        session.add_all([region, other])
        made = cities(region=region)
        assert cities(region=region) is made
        assert cities(region=other) is not made
        assert_reused(made, cities, region=region)
        assert (rows(Region), rows(City)) == (2, 2)


def test_transient_parent():
    """A parent that is in no session has no child yet."""
    first = CityFactory(region=Region(country="FR", code="BRE"))
    second = CityFactory(region=Region(country="FR", code="NOR"))
    assert first is not second
    assert_reused(first, CityFactory, region=first.region)
    assert_reused(second, CityFactory, region__code="NOR")
    assert (rows(Region), rows(City)) == (2, 2)


def test_half_a_parent():
    """With one of the columns NULL, the key can identify no row."""
    first = PlainCityFactory(country="FR", region_code=None)
    second = PlainCityFactory(country="FR", region_code=None)
    assert first is not second
    assert rows(City) == 2


def test_primary_key_of_parents(session):
    """A primary key of foreign keys is given by the relationships over them."""
    made = TwinningFactory()
    assert_reused(made, TwinningFactory)
    assert_reused(made, TwinningFactory, left=made.left, right=made.right)
    assert_reused(made, TwinningFactory, left_id=made.left.id, left=made.left)
    reverse = TwinningFactory(left=made.right, right=made.left)
    assert reverse is not made
    assert_reused(reverse, TwinningFactory, left=made.right, right=made.left)
    assert (rows(Region), rows(City), rows(Twinning)) == (2, 2, 2)


def test_primary_key_of_parents_by_columns(session):
    """The same primary key is given by its columns."""
    made = TwinningFactory()
    session.flush()

    @reuse_existing
    class ByColumnsFactory(BaseFactory):
        class Meta:
            model = Twinning

    assert_reused(made, ByColumnsFactory, left_id=made.left.id, right_id=made.right.id)
    assert_reused(made, ByColumnsFactory, left=made.left, right_id=str(made.right.id))
    with pytest.raises(UniqueKeyError):
        ByColumnsFactory(left=made.left)
    assert rows(Twinning) == 1


def test_find_stops_at_the_first_missing_parent():
    """Without the parents there is no child, and looking makes none of them."""
    assert find(TwinningFactory) is None
    assert (rows(Region), rows(City), rows(Twinning)) == (0, 0, 0)
    made = TwinningFactory()
    assert find(TwinningFactory) is made
    assert find(TwinningFactory, right__name="Bonn") is None
    assert rows(City) == 2


def test_the_whole_foreign_key_is_passed(session):
    """Passed columns of a composite foreign key find the row that has all of them."""
    session.add_all([Region(country="FR", code="OCC"), Region(country="ES", code="BRE")])
    session.flush()
    cities = persisting(CityFactory, "flush")
    made = [
        cities(region=region, name="Albi")
        for region in session.query(Region).order_by(Region.country, Region.code)
    ]
    for city in made:
        key = {"country": city.country, "region_code": city.region_code, "name": "Albi"}
        assert_reused(city, cities, **key)
    assert find(cities, country="XX", region_code="BRE", name="Albi") is None


def test_a_part_of_the_foreign_key_is_passed():
    """A part must agree with the parent that the rest comes from."""
    cities = persisting(CityFactory, "flush")
    made = cities(country="FR")
    assert cities(country="FR") is made
    with pytest.raises(MismatchError, match="country gives 'ES' and region gives 'FR'"):
        cities(country="ES")


class Course(Base):
    __tablename__ = "course"
    __table_args__ = (
        ForeignKeyConstraint(["country", "region"], ["region.country", "region.region_code"]),
    )

    id = Column(Integer, primary_key=True)
    country = Column(String(2))
    region = Column(String(5))
    of = relationship(Region)


class Lesson(Base):
    """Two foreign keys share a column."""

    __tablename__ = "lesson"
    __table_args__ = (
        ForeignKeyConstraint(["country", "region"], ["region.country", "region.region_code"]),
        UniqueConstraint("country", "name"),
    )

    id = Column(Integer, primary_key=True)
    country = Column(String(2))
    region = Column(String(5))
    where = relationship(Region)
    course_id = Column(ForeignKey("course.id"))
    course = relationship(
        Course,
        primaryjoin=lambda: (
            (Lesson.course_id == Course.id) & (foreign(Lesson.country) == Course.country)
        ),
        overlaps="where",
    )
    name = Column(String(20))


@pytest.mark.parametrize("saved", [False, True])
def test_unsaved_parent_that_shares_a_column(session, saved):
    """An unsaved parent agrees with another whose key it refers to itself."""

    class LessonFactory(BaseFactory):
        class Meta:
            model = Lesson

        name = factory.Sequence("lesson {}".format)

    lessons = reuse_existing(LessonFactory)
    region = Region(country="FR", code="BRE")
    session.add(region)
    if saved:
        session.flush()
    course = Course(of=region)
    session.add(course)
    lesson = lessons(where=region, course=course, name="first")
    assert lessons(where=region, course=course, name="first") is lesson
    session.flush()
    assert lesson.country == course.country == "FR"
