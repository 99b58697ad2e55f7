"""A project's models and factories, some of which reuse; `test_pytest_plugin*.py` run its tests."""

import factory
from factory.alchemy import SQLAlchemyModelFactory
from sqlalchemy import Column, ForeignKey, Integer, String, create_engine
from sqlalchemy.orm import declarative_base, relationship, scoped_session, sessionmaker
from sqlalchemy.pool import StaticPool

from factory_reuse import reuse_existing

Base = declarative_base()
Session = scoped_session(sessionmaker(future=True))
engine = create_engine(
    "sqlite://", future=True, poolclass=StaticPool, connect_args={"check_same_thread": False}
)


class Country(Base):
    __tablename__ = "country"

    id = Column(Integer, primary_key=True)
    code = Column(String(2), unique=True)
    name = Column(String(50))


class User(Base):
    __tablename__ = "user"

    id = Column(Integer, primary_key=True)
    email = Column(String(50), unique=True)
    country_id = Column(ForeignKey("country.id"))
    country = relationship(Country)


class Note(Base):
    __tablename__ = "note"

    id = Column(Integer, primary_key=True)
    text = Column(String(50))
    user_id = Column(ForeignKey("user.id"))
    user = relationship(User)


class BaseFactory(SQLAlchemyModelFactory):
    class Meta:
        abstract = True
        sqlalchemy_session = Session
        sqlalchemy_session_persistence = "flush"


@reuse_existing
class CountryFactory(BaseFactory):
    class Meta:
        model = Country

    code = "AT"


@reuse_existing
class UserFactory(BaseFactory):
    class Meta:
        model = User

    email = factory.Sequence("user{}@example.org".format)
    country = factory.SubFactory(CountryFactory)


class NoteFactory(BaseFactory):
    class Meta:
        model = Note

    text = "Hello"
    user = factory.SubFactory(UserFactory, email="ann@example.org")
