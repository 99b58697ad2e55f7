"""What many tests share: a small shop, factories of it, and what is asked of both."""

import factory
from factory.alchemy import SQLAlchemyModelFactory
from keyed import Session as Scoped
from sqlalchemy import JSON, Column, Float, ForeignKey, Integer, String, func, select
from sqlalchemy.orm import declarative_base, relationship

from factory_reuse import reuse_existing

Base = declarative_base()


class Category(Base):
    __tablename__ = "category"
    id = Column(Integer, primary_key=True)
    name = Column(String(50), unique=True)
    color = Column(String(50))
    extra = Column(JSON)


class Product(Base):
    __tablename__ = "product"
    id = Column(Integer, primary_key=True)
    sku = Column(String(50), unique=True)
    title = Column(String(50))
    stock = Column(Integer)
    weight = Column(Float)
    category_id = Column(ForeignKey("category.id"))
    category = relationship(Category)
    tags = relationship("Tag", backref="product")

    notes = ()


class Tag(Base):
    __tablename__ = "tag"
    id = Column(Integer, primary_key=True)
    label = Column(String(50), unique=True)
    product_id = Column(ForeignKey("product.id"))


class Line(Base):
    __tablename__ = "line"
    id = Column(Integer, primary_key=True)
    number = Column(Integer, unique=True)
    product_id = Column(ForeignKey("product.id"))
    product = relationship(Product)


class ShopFactory(SQLAlchemyModelFactory):
    """For the models of any module, not only of this one."""

    class Meta:
        abstract = True
        sqlalchemy_session = Scoped
        sqlalchemy_session_persistence = "flush"


@reuse_existing
class CategoryFactory(ShopFactory):
    class Meta:
        model = Category

    name = factory.Sequence("Category {}".format)
    color = "grey"


@reuse_existing
class ProductFactory(ShopFactory):
    class Meta:
        model = Product

    class Params:
        featured = factory.Trait(title="Featured")

    sku = factory.Sequence("sku-{}".format)
    title = "A product"
    category = factory.SubFactory(CategoryFactory)


def with_policy(declared, policy, **declarations):
    """Return a subclass of the factory with another `on_mismatch`."""
    meta = type("Meta", (), {"reuse_on_mismatch": policy})
    body = {"Meta": meta, "__module__": __name__, **declarations}
    return type(declared.__name__, (declared,), body)


def count(model):
    """Return how many rows the model has."""
    return Scoped.execute(select(func.count()).select_from(model)).scalar()


def rows(*models):
    """Return how many rows each of the models has."""
    return [count(model) for model in models]


def never(*args):
    raise AssertionError(f"evaluated, with {args}")
