"""What tests share whose keys go through a parent: products known by category and title."""

import factory
from sqlalchemy import JSON, Column, ForeignKey, Integer, String, UniqueConstraint
from sqlalchemy.orm import declarative_base, relationship

from factory_reuse import reuse_existing
from shop import ShopFactory

Base = declarative_base()


class Category(Base):
    __tablename__ = "category"
    id = Column(Integer, primary_key=True)
    name = Column(String(50), unique=True)
    code = Column(String(50), unique=True)
    color = Column(String(50))
    extra = Column(JSON)
    parent_id = Column(ForeignKey("category.id"))
    parent = relationship("Category", remote_side=id)


class Product(Base):
    __tablename__ = "product"
    __table_args__ = (UniqueConstraint("category_id", "title"),)
    id = Column(Integer, primary_key=True)
    title = Column(String(50))
    category_id = Column(ForeignKey("category.id"))
    category = relationship(Category, backref="products")


class Country(Base):
    """Takes its key by position only."""

    __tablename__ = "country"
    id = Column(Integer, primary_key=True)
    code = Column(String(2), unique=True)
    title = Column(String(50))

    def __init__(self, code, /, title=None):
        self.code = code
        self.title = title


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

    title = factory.Sequence("Product {}".format)
    category = factory.SubFactory(CategoryFactory)
