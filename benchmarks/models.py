"""Tables and factories as people write them: a small shop, and a tree of places."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import factory
from advanced_alchemy.mixins import UniqueMixin
from factory.alchemy import SQLAlchemyModelFactory
from sqlalchemy import ForeignKey, String, cast, insert, join, literal, select, true
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement, Connection
    from sqlalchemy.orm import Session


class Base(DeclarativeBase):
    """What all tables share."""

    type_annotation_map = {str: String(200)}  # noqa: RUF012  # as the manual writes it


class Named(UniqueMixin):
    """A unique name, and what ``as_unique_sync`` asks a model for."""

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)

    @classmethod
    def unique_hash(cls, name: str, **others: Any) -> str:
        """Return what the row is known by."""
        return name

    @classmethod
    def unique_filter(cls, name: str, **others: Any) -> ColumnElement[bool]:
        """Return what finds the row."""
        return cls.name == name


class Category(Named, Base):
    """What most calls are about: a row that many others refer to."""

    __tablename__ = "category"

    description: Mapped[str]
    color: Mapped[str]


class Product(Base):
    """A row that has no unique key, and refers to one that has."""

    __tablename__ = "product"

    id: Mapped[int] = mapped_column(primary_key=True)
    title: Mapped[str]
    cents: Mapped[int]
    category_id: Mapped[int | None] = mapped_column(ForeignKey("category.id"))
    category: Mapped[Category | None] = relationship()


class Country(Named, Base):
    """The top of the tree."""

    __tablename__ = "country"

    currency: Mapped[str]


class Region(Named, Base):
    """Its middle."""

    __tablename__ = "region"

    governor: Mapped[str]
    country_id: Mapped[int] = mapped_column(ForeignKey("country.id"))
    country: Mapped[Country] = relationship()


class City(Named, Base):
    """Its leaves."""

    __tablename__ = "city"

    mayor: Mapped[str]
    region_id: Mapped[int] = mapped_column(ForeignKey("region.id"))
    region: Mapped[Region] = relationship()


#: A column that refers to another table; a row that none refers to is an orphan.
REFERENCES = (Product.category_id, Region.country_id, City.region_id)


class Factories(NamedTuple):
    """One factory for each table."""

    category: Any
    country: Any
    region: Any
    city: Any
    product: Any

    @property
    def keyed(self) -> tuple[Any, ...]:
        """Those whose rows have a unique name."""
        return self[:-1]


def declare(
    session: Session, base: Any = SQLAlchemyModelFactory, persistence: str | None = "flush"
) -> Factories:
    """Declare the factories anew, those with a key below ``base``, which says how to get a row."""

    class CategoryFactory(base):
        class Meta:
            model = Category
            sqlalchemy_session = session
            sqlalchemy_session_persistence = persistence

        name = factory.Sequence("Category {}".format)
        description = factory.Faker("sentence")
        color = factory.Faker("color_name")

    class CountryFactory(base):
        class Meta:
            model = Country
            sqlalchemy_session = session
            sqlalchemy_session_persistence = persistence

        name = factory.Sequence("Country {}".format)
        currency = factory.Faker("currency_code")

    class RegionFactory(base):
        class Meta:
            model = Region
            sqlalchemy_session = session
            sqlalchemy_session_persistence = persistence

        name = factory.Sequence("Region {}".format)
        governor = factory.Faker("name")
        country = factory.SubFactory(CountryFactory)

    class CityFactory(base):
        class Meta:
            model = City
            sqlalchemy_session = session
            sqlalchemy_session_persistence = persistence

        name = factory.Sequence("City {}".format)
        mayor = factory.Faker("name")
        region = factory.SubFactory(RegionFactory)

    class ProductFactory(SQLAlchemyModelFactory):
        class Meta:
            model = Product
            sqlalchemy_session = session
            sqlalchemy_session_persistence = persistence

        title = factory.Faker("word")
        cents = factory.Faker("pyint", min_value=100, max_value=9999)
        category = factory.SubFactory(CategoryFactory)

    return Factories(CategoryFactory, CountryFactory, RegionFactory, CityFactory, ProductFactory)


#: How many branches the tree has when a database is new.
BRANCHES = 1_000


def old_name(number: int) -> str:
    """Return the name of a category that is there from the beginning."""
    return f"Old {number}"


def old_city(number: int) -> str:
    """Return the name of a city that is there from the beginning."""
    return f"City of Region of Land {number}"


def fill(connection: Connection, rows: int) -> None:
    """Fill new tables: ``rows`` categories, the first with a product each, and a tree of places."""
    numbers = _numbers(rows)
    category = [literal("Old ") + cast(numbers.c.n, String(20)), literal("…"), literal("red")]
    country = [literal("Land ") + cast(numbers.c.n, String(20)), literal("EUR")]
    region = [literal("Region of ") + Country.name, literal("Ann"), Country.id]
    city = [literal("City of ") + Region.name, literal("Bob"), Region.id]
    few = numbers.c.n < BRANCHES
    product = (
        select(literal("pen"), literal(100), Category.id).order_by(Category.id).limit(BRANCHES)
    )
    for model, columns, source in (
        (Category, ("name", "description", "color"), select(*category).order_by(numbers.c.n)),
        (Country, ("name", "currency"), select(*country).where(few).order_by(numbers.c.n)),
        (Region, ("name", "governor", "country_id"), select(*region)),
        (City, ("name", "mayor", "region_id"), select(*city)),
        (Product, ("title", "cents", "category_id"), product),
    ):
        connection.execute(insert(model).from_select(columns, source))
    # Else the planners know nothing of so many rows.
    words = "ANALYZE TABLE" if connection.dialect.name in ("mysql", "mariadb") else "ANALYZE"
    for table in Base.metadata.tables:
        connection.exec_driver_sql(f"{words} {table}")


def _numbers(count: int) -> Any:
    # A thousand steps, and a join of the result with itself: MariaDB stops a recursion after that.
    steps = select(literal(0).label("n")).cte(recursive=True)
    steps = steps.union_all(select(steps.c.n + 1).where(steps.c.n < 999))
    thousands, ones = steps.alias(), steps.alias()
    number = thousands.c.n * 1000 + ones.c.n
    both = select(number.label("n")).select_from(join(thousands, ones, true()))
    return both.where(number < count).subquery()
