"""The tables of the shop, in a style that SQLAlchemy 1.4, 2.0 and 2.1 all take."""

from sqlalchemy import Boolean, Column, ForeignKey, Integer, String, UniqueConstraint
from sqlalchemy.orm import declarative_base, relationship, scoped_session, sessionmaker

# "future" is what SQLAlchemy 2 does anyway; on 1.4 it spares us its warning about backrefs.
Session = scoped_session(sessionmaker(future=True))
Base = declarative_base()


class Country(Base):
    __tablename__ = "countries"

    id = Column(Integer, primary_key=True)
    code = Column(String(2), nullable=False, unique=True)
    name = Column(String(100), nullable=False)


class Address(Base):
    __tablename__ = "addresses"

    id = Column(Integer, primary_key=True)
    street = Column(String(100), nullable=False)
    city = Column(String(100), nullable=False)
    country_id = Column(ForeignKey("countries.id"), nullable=False)

    country = relationship("Country")


class User(Base):
    __tablename__ = "users"
    __table_args__ = (UniqueConstraint("tenant", "email"),)

    id = Column(Integer, primary_key=True)
    tenant = Column(String(20), nullable=False)
    email = Column(String(100), nullable=False)
    name = Column(String(100), nullable=False)
    password = Column(String(100))
    address_id = Column(ForeignKey("addresses.id"), nullable=False)

    address = relationship("Address")


class Category(Base):
    __tablename__ = "categories"

    id = Column(Integer, primary_key=True)
    name = Column(String(50), nullable=False, unique=True)
    active = Column(Boolean, nullable=False)

    products = relationship("Product", back_populates="category")


class Product(Base):
    __tablename__ = "products"

    id = Column(Integer, primary_key=True)
    sku = Column(String(20), nullable=False, unique=True)
    name = Column(String(100), nullable=False)
    cents = Column(Integer, nullable=False)
    active = Column(Boolean, nullable=False)
    category_id = Column(ForeignKey("categories.id"), nullable=False)

    category = relationship("Category", back_populates="products")


class Order(Base):
    __tablename__ = "orders"

    id = Column(Integer, primary_key=True)
    number = Column(String(20), nullable=False, unique=True)
    user_id = Column(ForeignKey("users.id"), nullable=False)

    user = relationship("User")
    lines = relationship("OrderLine", back_populates="order")


class OrderLine(Base):
    __tablename__ = "order_lines"
    __table_args__ = (UniqueConstraint("order_id", "product_id"),)

    id = Column(Integer, primary_key=True)
    order_id = Column(ForeignKey("orders.id"), nullable=False)
    product_id = Column(ForeignKey("products.id"), nullable=False)
    quantity = Column(Integer, nullable=False)

    order = relationship("Order", back_populates="lines")
    product = relationship("Product")
