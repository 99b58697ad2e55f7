"""Projects for the audit: each is a module of its own, written to a file and imported."""

import itertools
import textwrap
from typing import Any

from factory_reuse._audit.run import Audit, audit
from factory_reuse._audit.settings import Settings

HEADER = """\
import factory
import factory.fuzzy
from factory.alchemy import SQLAlchemyModelFactory
from sqlalchemy import Column, ForeignKey, Index, Integer, String, UniqueConstraint, func
from sqlalchemy.ext.hybrid import hybrid_property
from sqlalchemy.orm import declarative_base, relationship
from factory_reuse import ReuseMixin, reuse_existing

Base = declarative_base()


class Of(SQLAlchemyModelFactory):
    class Meta:
        abstract = True
        sqlalchemy_session_persistence = "flush"


class Category(Base):
    __tablename__ = "category"
    id = Column(Integer, primary_key=True)
    name = Column(String(50), unique=True)
    color = Column(String(50))
"""

DEFAULT = Settings()

_numbers = itertools.count()


class Project:
    """A directory of modules, first on the path."""

    def __init__(self, directory: Any) -> None:
        self.directory = directory

    def write(self, source: str, name: str = "") -> str:
        """Write a module below the header, and return its name, which no other module has."""
        name = name or f"audited_{next(_numbers)}"
        text = HEADER + "\n\n" + textwrap.dedent(source)
        (self.directory / f"{name}.py").write_text(text, "utf-8")
        return name

    def audit(self, source: str, settings: Settings = DEFAULT, **options: Any) -> Audit:
        """Audit a module below the header."""
        found = audit([self.write(source)], settings, **options)
        assert not found.failed, found.failed
        return found

    def codes(self, source: str, settings: Settings = DEFAULT) -> "list[tuple[str, str]]":
        """Return the code and the factory's name of each finding, in order."""
        found = self.audit(source, settings)
        return [(each.code, each.factory.rpartition(".")[2]) for each in found.findings]
