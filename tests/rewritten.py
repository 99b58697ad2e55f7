"""What the tests of `upgrade` share: a shop's models as source, and a source run."""

import itertools
import textwrap

MODELS = """\
Base = declarative_base()


class Category(Base):
    __tablename__ = "categories"

    id = Column(Integer, primary_key=True)
    name = Column(String(50), unique=True)
    slug = Column(String(50), unique=True)
    label = Column(String(50))


class Product(Base):
    __tablename__ = "products"
    __table_args__ = (UniqueConstraint("category_id", "title"),)

    id = Column(Integer, primary_key=True)
    title = Column(String(50))
    sku = Column(String(50), unique=True)
    category_id = Column(ForeignKey("categories.id"))
    category = relationship(Category)


engine = create_engine("sqlite://", future=True)
Base.metadata.create_all(engine)
session = scoped_session(sessionmaker(engine, future=True))


"""

BASE = """\
class BaseFactory(SQLAlchemyModelFactory):
    class Meta:
        abstract = True
        sqlalchemy_session = session
        sqlalchemy_session_persistence = "flush"


"""


def upgrader(directory):
    """Return a function from a source to what becomes of it, each in a project of its own.

    Its keyword arguments are the project's other files, `pytest_ini="..."`.
    """
    from factory_reuse._upgrade.files import upgrade  # which needs libcst

    numbers = itertools.count()

    def upgraded(source, **settings):
        project = directory / str(next(numbers))
        project.mkdir()
        for name, text in {"pytest_ini": "[pytest]\n", **settings}.items():
            (project / name.replace("_", ".")).write_text(text)
        path = project / "factories.py"
        path.write_bytes(source if isinstance(source, bytes) else source.encode())
        (result,) = upgrade([path])
        return result

    return upgraded


def run(source, script):
    """Run a script after a module's source, and return what it puts into `seen`."""
    names = {"__name__": "factories_of_a_test", "seen": []}
    exec(compile(source, "factories.py", "exec"), names)
    try:
        exec(compile(textwrap.dedent(script), "script.py", "exec"), names)
    finally:
        names["session"].remove()
        names["engine"].dispose()
    return names["seen"]
