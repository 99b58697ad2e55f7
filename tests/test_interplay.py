"""What else an application has on its models, sessions and connections."""

import contextlib

import factory
import pytest
import sqlalchemy
from factory.alchemy import SQLAlchemyModelFactory
from sqlalchemy import (
    Boolean,
    Column,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    event,
    func,
    select,
    text,
    update,
)
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.orm import Session, declarative_base, relationship, with_loader_criteria
from sqlalchemy.orm.exc import StaleDataError

from factory_reuse import (
    MismatchWarning,
    create_many,
    find,
    get_or_create,
    reuse_existing,
    use_session,
)

Base = declarative_base()

OLD = sqlalchemy.__version__.startswith("1.4.")


class Audit(Base):
    """What the listeners write."""

    __tablename__ = "audit"
    id = Column(Integer, primary_key=True)
    note = Column(String(50))


class Team(Base):
    __tablename__ = "team"
    id = Column(Integer, primary_key=True)
    name = Column(String(50), unique=True)
    title = Column(String(50), nullable=False)
    version = Column(Integer, nullable=False)
    __mapper_args__ = {"version_id_col": version}


class Player(Base):
    __tablename__ = "player"
    id = Column(Integer, primary_key=True)
    name = Column(String(50), unique=True)
    team_id = Column(ForeignKey("team.id"), nullable=False)
    team = relationship(Team)


class BaseFactory(SQLAlchemyModelFactory):
    class Meta:
        abstract = True
        sqlalchemy_session_persistence = "flush"


@reuse_existing
class TeamFactory(BaseFactory):
    class Meta:
        model = Team

    name = "red"
    title = "Reds"


@reuse_existing
class PlayerFactory(BaseFactory):
    class Meta:
        model = Player

    name = "Ann"
    team = factory.SubFactory(TeamFactory)


@pytest.fixture
def used(session):
    with use_session(session):
        yield session


def count(session, model):
    return session.execute(select(func.count()).select_from(model)).scalar()


@contextlib.contextmanager
def listening(target, name, listener):
    event.listen(target, name, listener)
    try:
        yield
    finally:
        event.remove(target, name, listener)


# Listeners


class VetoError(Exception):
    pass


def veto(*args):
    raise VetoError


def hearers(session):
    return {
        "before_insert": Team,
        "after_insert": Team,
        "before_flush": session,
        "after_flush": session,
        "after_flush_postexec": session,
        "before_attach": session,
    }


@pytest.mark.parametrize("name", list(hearers(None)))
def test_listener_that_raises(name, used):
    """Its error arrives as it is; the insert alone is undone, and nothing is remembered of it."""
    used.add(Audit(note="own"))
    used.flush()
    with listening(hearers(used)[name], name, veto):
        with pytest.raises(VetoError):
            TeamFactory()
        with pytest.raises(VetoError):
            PlayerFactory()
    assert find(TeamFactory) is None
    assert (count(used, Audit), count(used, Team), count(used, Player)) == (1, 0, 0)
    team, created = get_or_create(TeamFactory)
    assert created
    assert PlayerFactory().team is team
    used.commit()
    assert (count(used, Audit), count(used, Team), count(used, Player)) == (1, 1, 1)


def _insert(mapper, connection, target):
    connection.execute(Audit.__table__.insert().values(note=target.name))


def _add(session, context, instances=None):
    for obj in session.new:
        if isinstance(obj, Team):
            session.add(Audit(note=obj.name))


def _execute(session, context):
    if any(isinstance(obj, Team) for obj in session.new):
        session.execute(Audit.__table__.insert().values(note="flushed"))


writing = pytest.mark.parametrize(
    ("name", "write"),
    [
        ("before_insert", _insert),
        ("after_insert", _insert),
        ("before_flush", _add),
        ("after_flush", _execute),
    ],
)


@writing
def test_listener_that_writes(name, write, used):
    """What it writes beside a row is written once a row, and goes with a rollback."""
    with listening(hearers(used)[name], name, write):
        team = TeamFactory()
        assert TeamFactory() is team
        assert PlayerFactory().team is team
        assert count(used, Audit) == 1
        list(create_many(TeamFactory, [{"name": each} for each in ("red", "blue", "blue")]))
        assert count(used, Audit) == 2
        used.rollback()
        assert (count(used, Audit), count(used, Team)) == (0, 0)


@writing
def test_listener_that_writes_beside_a_refused_row(name, write, used):
    """What it wrote beside a row that the database refused is undone with that row."""
    with listening(hearers(used)[name], name, write):
        with pytest.raises(IntegrityError):
            PlayerFactory(name="Bob", team=None)
        TeamFactory()
        with pytest.raises(IntegrityError):
            TeamFactory(name="other", title=None)
    assert used.execute(select(Audit.note)).scalar() in ("red", "flushed")
    assert (count(used, Audit), count(used, Team), count(used, Player)) == (1, 1, 0)


def test_listener_that_makes_what_is_being_made(used):
    """A listener that inserts the very row first is one who wins a race."""

    def insert(mapper, connection, target):
        connection.execute(
            Team.__table__.insert().values(name=target.name, title="theirs", version=1)
        )

    made = TeamFactory(name="blue")
    with listening(Team, "before_insert", insert), pytest.raises(IntegrityError):
        # Its row goes with the SAVEPOINT, so that the refusal is all there is.
        TeamFactory()
    assert used.execute(select(Team)).scalars().all() == [made]


# Rows with a version


@pytest.mark.parametrize("policy", ["keep", "update"])
def test_version(policy, used):
    """A hit leaves a row's version alone; an update counts it up, once."""

    @reuse_existing(on="name", on_mismatch=policy)
    class Declared(TeamFactory):
        pass

    team = Declared()
    used.commit()
    for _ in range(2):
        assert Declared(title="Others") is team
        used.flush()
    assert (team.version, team.title) == ((2, "Others") if policy == "update" else (1, "Reds"))


@pytest.mark.backends("postgresql", "mariadb")
def test_version_that_another_changed(make_session):
    """An update of a row that was changed meanwhile is refused, and nothing of ours stays."""

    @reuse_existing(on="name", on_mismatch="update")
    class Declared(TeamFactory):
        pass

    session, other = make_session(), make_session()
    with use_session(session):
        team = Declared()
        session.commit()
        assert Declared() is team
        other.execute(update(Team).values(version=7, title="theirs"))
        other.commit()
        with pytest.raises(StaleDataError):
            Declared(title="ours")
        session.rollback()
        assert (Declared().title, team.version) == ("theirs", 7)


# Criteria on every query


class Page(Base):
    __tablename__ = "page"
    id = Column(Integer, primary_key=True)
    slug = Column(String(50), unique=True)
    path = Column(String(50))
    deleted = Column(Boolean, default=False, nullable=False)
    __table_args__ = (
        Index(
            "page_path",
            "path",
            unique=True,
            postgresql_where=deleted == sqlalchemy.false(),
            sqlite_where=deleted == sqlalchemy.false(),
        ),
    )


class PageFactory(BaseFactory):
    class Meta:
        model = Page

    path = "/"


@pytest.fixture
def soft(used):
    """A session whose queries see no deleted page."""

    def hide(execution):
        if execution.is_select and not execution.is_column_load:
            criteria = with_loader_criteria(Page, Page.deleted == sqlalchemy.false())
            execution.statement = execution.statement.options(criteria)

    event.listen(used, "do_orm_execute", hide)
    return used


@pytest.mark.backends("sqlite", "sqlite-file", "postgresql")
def test_hidden_rows_of_a_partial_index(soft):
    """Under an index of what is not deleted, a deleted row is passed by, and a new one is made."""
    declared = reuse_existing(PageFactory, on="path")
    deleted = declared()
    deleted.deleted = True
    soft.commit()
    again, created = get_or_create(declared)
    assert created
    assert again is not deleted
    assert declared() is again


def test_a_hidden_row_that_holds_the_key(soft):
    """A row that the session's criteria hide is not given out: the refusal arrives as it is."""

    @reuse_existing(on="slug")
    class Declared(PageFactory):
        slug = "home"
        path = factory.Sequence("/{}".format)

    page = Declared()
    page.deleted = True
    soft.commit()
    soft.expunge_all()
    soft.add(Audit(note="own"))
    assert find(Declared) is None
    with pytest.raises(IntegrityError):
        Declared()
    soft.commit()
    assert count(soft, Audit) == 1


# Several schemas and databases


Tenants = declarative_base(metadata=MetaData(schema="tenant"))


class Tag(Tenants):
    __tablename__ = "tag"
    id = Column(Integer, primary_key=True)
    name = Column(String(50), unique=True)
    label = Column(String(50), nullable=False)


@reuse_existing
class TagFactory(BaseFactory):
    class Meta:
        model = Tag

    name = "new"
    label = "tag"


def _schema_of(engine):
    """The name by which the engine's own tables are reached when a schema is asked for."""
    if engine.dialect.name == "sqlite":
        return "main"
    with engine.connect() as connection:
        return connection.execute(
            text(
                "SELECT "
                + {"postgresql": "current_schema()"}.get(engine.dialect.name, "DATABASE()")
            )
        ).scalar()


def _translated(engine):
    return engine.execution_options(schema_translate_map={"tenant": _schema_of(engine)})


def test_schema_translate_map(new_database, statements, engine):
    """The schema that a connection's map names is where rows are looked for and made."""
    with new_database() as second:
        tenants = [_translated(each) for each in (engine, second)]
        made = []
        for tenant in tenants:
            Tag.metadata.create_all(tenant)
            with Session(tenant, future=True) as session, use_session(session):
                tag, created = get_or_create(TagFactory)
                assert created
                assert TagFactory() is tag
                with pytest.raises(IntegrityError):
                    TagFactory(name="other", label=None)
                made += create_many(TagFactory, [{"name": "a"}, {"name": "new"}, {"name": "a"}])
                assert made[-2:] == [tag, made[-3]]
                session.commit()
        for tenant in tenants:
            with Session(tenant, future=True) as session, use_session(session):
                assert not get_or_create(TagFactory)[1]
                assert count(session, Tag) == 2


@pytest.fixture
def apart(engine, new_database):
    """A session that has its players in one database, and the audit in another."""
    with new_database() as second:
        Base.metadata.create_all(second)
        binds = {Audit: second, Team: engine, Player: engine}
        with Session(binds=binds, future=True) as session, use_session(session):
            yield session


class AuditFactory(BaseFactory):
    class Meta:
        model = Audit

    note = factory.LazyAttribute(lambda o: TeamFactory(name="in a declaration").name)


@reuse_existing(on="note")
class ReusedAuditFactory(AuditFactory):
    pass


def test_several_binds(apart):
    """Each row is looked for and made in its own database; one rollback undoes all of them."""
    apart.add(Audit(note="own"))
    team = TeamFactory()
    audit = ReusedAuditFactory()
    assert ReusedAuditFactory() is audit
    with pytest.raises(IntegrityError):
        PlayerFactory(team=None)
    assert PlayerFactory().team is team
    assert [count(apart, model) for model in (Audit, Team, Player)] == [2, 2, 1]
    apart.rollback()
    assert [count(apart, model) for model in (Audit, Team, Player)] == [0, 0, 0]


def test_several_binds_and_a_row_that_differs(apart):
    """A reused row is compared, and a refused one explained, by its own database."""
    team = TeamFactory()
    with pytest.warns(MismatchWarning, match="title"):
        assert TeamFactory(title="Blues") is team
    by_title = reuse_existing(type("ByTitle", (TeamFactory,), {}), on="title")
    with pytest.raises(IntegrityError):
        by_title(title="Blues")
    assert by_title() is team


# Transactions of every kind


@pytest.fixture
def outer(engine):
    """A connection in a transaction, as the usual fixture of a test suite has it."""
    if engine.dialect.name == "sqlite":  # SQLAlchemy's recipe: SAVEPOINTs that are ones
        event.listen(engine, "connect", lambda raw, record: setattr(raw, "isolation_level", None))
        event.listen(engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN"))
    with engine.connect() as connection:
        transaction = connection.begin()
        yield connection
        if transaction.is_active:  # no rollback of a session has ended it
            transaction.rollback()
    with engine.connect() as after:
        assert after.execute(select(func.count()).select_from(Team)).scalar() == 0


@pytest.mark.skipif(OLD, reason="SQLAlchemy 1.4 has no join_transaction_mode")
@pytest.mark.parametrize(
    "mode", ["conditional_savepoint", "rollback_only", "create_savepoint", "control_fully"]
)
def test_join_transaction_mode(mode, outer):
    """In each mode, a refused insert undoes itself alone, and a rollback what the mode says."""
    for kept in (True, False):
        with Session(outer, join_transaction_mode=mode) as session, use_session(session):
            team, created = get_or_create(TeamFactory)
            assert created is kept
            with pytest.raises(IntegrityError):
                TeamFactory(name="other", title=None)
            assert TeamFactory() is team
            if mode == "control_fully":
                return  # whose commit or rollback would end the fixture's transaction
            session.commit()
    with Session(outer, join_transaction_mode=mode) as session, use_session(session):
        assert get_or_create(TeamFactory, name="blue")[1]
        session.rollback()
        left = ["red"] if mode == "create_savepoint" else []
        assert session.execute(select(Team.name)).scalars().all() == left


@pytest.mark.skipif(OLD, reason="SQLAlchemy 1.4 has no join_transaction_mode")
@pytest.mark.parametrize("end", ["commit", "rollback"])
def test_a_session_that_controls_its_connections_transaction(end, engine):
    """Its commit keeps the rows, its rollback undoes them."""
    with engine.connect() as connection:
        connection.begin()
        with Session(connection, join_transaction_mode="control_fully") as session:
            with use_session(session):
                TeamFactory()
            getattr(session, end)()
    with Session(engine) as after:
        assert count(after, Team) == (end == "commit")


@pytest.mark.skipif(not OLD, reason="SQLAlchemy 2.0 dropped subtransactions")
@pytest.mark.filterwarnings("ignore:Deprecated API features detected")
@pytest.mark.parametrize("end", ["commit", "rollback"])
def test_subtransactions(end, engine):
    """Rows made inside a subtransaction are the outer transaction's."""
    with Session(engine, future=False) as session, use_session(session):
        session.begin(subtransactions=True)
        session.begin(subtransactions=True)
        team = TeamFactory()
        with pytest.raises(IntegrityError):
            TeamFactory(name="other", title=None)
        session.commit()
        assert TeamFactory() is team
        getattr(session, end)()
        if end == "commit":
            session.commit()
        session.rollback()
        assert count(session, Team) == (end == "commit")


def _two_phase(engine):
    if engine.dialect.name == "postgresql":
        with engine.connect() as connection:
            if connection.execute(text("SHOW max_prepared_transactions")).scalar() == "0":
                return False
    return engine.dialect.name != "sqlite"


@pytest.mark.backends("postgresql", "mariadb")
@pytest.mark.parametrize("end", ["commit", "rollback"])
def test_two_phase(end, engine):
    """SAVEPOINTs work inside of a two-phase transaction, whose end is that of the rows."""
    with Session(engine, twophase=True, future=True) as session, use_session(session):
        team = TeamFactory()
        assert TeamFactory() is team
        with pytest.raises(IntegrityError):
            TeamFactory(name="other", title=None)
        if end == "commit" and not _two_phase(engine):
            # PostgreSQL prepares no transaction by default; all before that is shown.
            with pytest.raises(DBAPIError, match="prepared transactions are disabled"):
                session.commit()
            end = "rollback"
            session.rollback()
        else:
            getattr(session, end)()
    with Session(engine, future=True) as after:
        assert count(after, Team) == (end == "commit")


# Connections that may not write


@contextlib.contextmanager
def read_only(engine):
    """A session of whose connection the database accepts no writing."""
    with engine.connect() as connection:
        if engine.dialect.name == "sqlite":
            connection.exec_driver_sql("PRAGMA query_only = ON")
        elif engine.dialect.name == "postgresql":
            connection = connection.execution_options(postgresql_readonly=True)
        else:
            connection.exec_driver_sql("SET SESSION TRANSACTION READ ONLY")
            connection.commit() if hasattr(connection, "commit") else None
        try:
            with Session(connection, future=True) as session, use_session(session):
                yield session
        finally:
            if engine.dialect.name == "sqlite":
                connection.exec_driver_sql("PRAGMA query_only = OFF")
            connection.invalidate()


def test_read_only(engine, used):
    """A hit needs no right to write; a miss raises the database's own error, and no more."""
    PlayerFactory()
    used.commit()
    with read_only(engine) as session:
        player = PlayerFactory()
        assert player.team is TeamFactory()
        (again,) = create_many(PlayerFactory, [{}])
        assert again is player
        assert find(TeamFactory, name="blue") is None
        with pytest.raises(DBAPIError, match=r"(?i)read.?only"):
            TeamFactory(name="blue")
        assert PlayerFactory() is player
        session.commit()
        assert PlayerFactory() is player
