"""The tables: a country and a currency have codes, a subdivision has one within its country."""

from sqlalchemy import Column, ForeignKey, Integer, String, UniqueConstraint
from sqlalchemy.orm import declarative_base, relationship

Base = declarative_base()


class Country(Base):
    __tablename__ = "countries"

    id = Column(Integer, primary_key=True)
    code = Column(String(2), nullable=False, unique=True)
    name = Column(String(100), nullable=False)


class Subdivision(Base):
    __tablename__ = "subdivisions"
    __table_args__ = (UniqueConstraint("country_id", "code"),)

    id = Column(Integer, primary_key=True)
    country_id = Column(ForeignKey("countries.id"), nullable=False)
    code = Column(String(3), nullable=False)
    name = Column(String(100), nullable=False)
    kind = Column(String(50), nullable=False)
    parent_id = Column(ForeignKey("subdivisions.id"))

    country = relationship("Country")
    parent = relationship("Subdivision", remote_side=[id])


class Currency(Base):
    __tablename__ = "currencies"

    id = Column(Integer, primary_key=True)
    code = Column(String(3), nullable=False, unique=True)
    name = Column(String(100), nullable=False)
    country_id = Column(ForeignKey("countries.id"))

    country = relationship("Country")
