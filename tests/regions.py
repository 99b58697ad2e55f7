"""What the tests of inserts and of the cache share: a region, factories without a session."""

from factory.alchemy import SQLAlchemyModelFactory
from sqlalchemy import Column, Integer, String, event
from sqlalchemy.orm import declarative_base

from factory_reuse import reuse_existing

Base = declarative_base()


class Region(Base):
    __tablename__ = "region"

    id = Column(Integer, primary_key=True)
    name = Column(String(50), unique=True)
    label = Column(String(50), nullable=False)


class BaseFactory(SQLAlchemyModelFactory):
    """For the models of any module; the session is the one of `use_session`."""

    class Meta:
        abstract = True
        sqlalchemy_session_persistence = "flush"


@reuse_existing(on="name")
class RegionFactory(BaseFactory):
    class Meta:
        model = Region

    name = "North"
    label = "region"


def keep_foreign_keys(engine):
    """Make SQLite keep foreign keys: it is asked to on each connection."""
    if engine.dialect.name == "sqlite":

        @event.listens_for(engine, "connect")
        def ask(connection, record):
            connection.execute("PRAGMA foreign_keys=ON")
