"""Any metadata: what `find` says of a new row is what the database says of its INSERT."""

import contextlib
import warnings
from typing import Any, Dict, List, NamedTuple, Tuple

import factory
import pytest
from factory.alchemy import SQLAlchemyModelFactory
from hypothesis import given, note, settings
from hypothesis import strategies as st
from sqlalchemy import and_, func, inspect, literal_column, not_, select, text, true
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

import metadata
from factory_reuse import (
    MismatchError,
    MismatchWarning,
    UniqueKeyError,
    find,
    get_or_create,
    reuse_existing,
)
from metadata import PARENTS, Description, Models, Values

pytestmark = [
    pytest.mark.backends("sqlite", "postgresql"),
    pytest.mark.filterwarnings("ignore:Dialect sqlite.pysqlite does:sqlalchemy.exc.SAWarning"),
]


class Case(NamedTuple):
    """A model, rows that it may have, and the calls made then.

    Attributes:
        rows: the class and the values of each; some refuse each other.
        state: of the rows, as the calls begin: `"stored"`, `"loaded"` or `"pending"`.
    """

    description: Description
    rows: List[Tuple[str, Values]]
    calls: List[Values]
    state: str
    persistence: Any
    autoflush: bool


@st.composite
def cases(draw: Any, backend: str) -> Case:
    description = draw(metadata.descriptions(backend))
    names = ["Thing", "Sub", "Sibling"] if description.inheritance else ["Thing"]
    row = st.sampled_from([description.of, *names]).flatmap(
        lambda name: st.tuples(st.just(name), metadata.values(description, name))
    )
    call = metadata.values(description, description.of, call=True)
    # To what a column rounds a pending object's value, only the database knows.
    rounded = any(field.kind == "rounded" for field in description.fields)
    return Case(
        description,
        draw(st.lists(row, min_size=1, max_size=3)),
        draw(st.lists(call, min_size=1, max_size=4)),
        draw(st.sampled_from(["stored", "loaded", *([] if rounded else ["pending"])])),
        draw(st.sampled_from(["flush", *([] if rounded else [None])])),
        draw(st.booleans()),
    )


def test_find_is_what_the_database_refuses(engine, backend):
    """`find` gives exactly the row that refuses the INSERT, and a call that row or a new one."""

    @settings(max_examples=settings.default.max_examples // 10, report_multiple_bugs=False)
    @given(cases(backend))
    def run(case: Case) -> None:
        models = metadata.build(case.description)
        try:
            with in_transaction(engine, case.autoflush) as session:
                models.base.metadata.create_all(session.connection())
                Check(case, models, session).run()
        finally:
            models.dispose()

    run()


@contextlib.contextmanager
def in_transaction(engine: Any, autoflush: bool) -> Any:
    """Yield a session of whose work, the tables that it made included, nothing is left."""
    with Session(engine, autoflush=autoflush, future=True) as session:
        if engine.dialect.name == "sqlite":  # or its driver begins with the first INSERT
            session.connection().exec_driver_sql("BEGIN")
        yield session
        session.rollback()


#: Defaults whose value nobody knows before the INSERT.
UNKNOWN = ("server", "callable")


class Verdict(NamedTuple):
    """What the database says of a row that is new.

    Attributes:
        new: its raw values as they would be stored.
        refusing: those of the rows that refuse it, each by the row's number.
    """

    new: Values
    refusing: Dict[int, Values]


class Check:
    def __init__(self, case: Case, models: Models, session: Session) -> None:
        self.case = case
        self.description = case.description
        self.models = models
        self.session = session
        self.model = models.classes[case.description.of]
        self.keys = case.description.keys_of(case.description.of)
        fields = case.description.fields_of(case.description.of)
        self.columns = {field.attribute: field for field in fields}
        self.rows: List[Any] = []
        #: Whether a row had to be refused before it was known to be there.
        self.surprised = False

    def run(self) -> None:
        if self.description.parent:
            above = [self._key_of_parent(number) for number in range(len(PARENTS))]
            for number, key in enumerate(above):
                self.session.add(self.models.classes["Parent"](**key, code=f"p{number}"))
        self.session.flush()
        with self._undone():
            rows, verdicts = self._ask_the_database()
        note(f"accepted: {rows}; verdicts: {verdicts}")
        self._make(rows)
        self._call(verdicts)
        self.session.flush()
        assert self._count("Thing") == len(self.rows)
        if self.description.parent:
            wanted = any(values.get("parent") == "a new one" for values in self.values)
            assert wanted or self.surprised or self._count("Parent") == len(PARENTS)

    def _count(self, name: str) -> int:
        table = self.models.classes[name].__table__
        return self.session.execute(select(func.count()).select_from(table)).scalar_one()

    # What the database says, of plain objects

    def _ask_the_database(self) -> Tuple[List[Tuple[str, Values]], List[Verdict]]:
        rows = []
        for name, values in self.case.rows:
            if self._insert(name, values):
                rows.append((name, values))
        return rows, [self._verdict(call) for call in self.case.calls]

    def _insert(self, name: str, values: Values) -> bool:
        nested = self.session.begin_nested()
        obj = self.models.classes[name](**self._arguments(values))
        self.session.add(obj)
        try:
            self.session.flush()
            self._check_deferred()
        except IntegrityError:
            nested.rollback()
            return False
        nested.commit()
        self.rows.append(inspect(obj).identity)
        return True

    def _check_deferred(self) -> None:
        if any(key.deferred for key in self.description.keys):
            self.session.execute(text("SET CONSTRAINTS ALL IMMEDIATE"))
            self.session.execute(text("SET CONSTRAINTS ALL DEFERRED"))

    def _verdict(self, call: Values) -> Verdict:
        values = {**self.description.declared, **call}
        if self.description.parent == "subfactory" and "parent" not in values and self._foreign():
            values["parent"] = 0
        refusing = {}
        with self._undone():
            self._keep_only(None)
            assert self._insert(self.description.of, values)
            new = self._stored(self.rows.pop())
        if not self._insert(self.description.of, values):
            for number, identity in enumerate(self.rows):
                with self._undone():
                    self._keep_only(identity)
                    if not self._insert(self.description.of, values):
                        refusing[number] = self._stored(identity)
                    else:
                        self.rows.pop()
            assert refusing
        return Verdict(new, refusing)

    def _keep_only(self, identity: Any) -> None:
        for table in self._tables():
            others = true() if identity is None else not_(self._is(table, identity))
            self.session.execute(table.delete().where(others))

    def _stored(self, identity: Any) -> Values:
        stored: Values = {}
        for table in self._tables():
            raw = select(literal_column("*")).select_from(table)  # as SQLite has it: not rounded
            row = self.session.execute(raw.where(self._is(table, identity))).first()
            stored.update(dict(row._mapping) if row else {})
        return stored

    def _is(self, table: Any, identity: Any) -> Any:
        return and_(*(column == value for column, value in zip(table.primary_key, identity)))

    def _tables(self) -> List[Any]:
        tables = self.models.base.metadata.sorted_tables
        return [table for table in reversed(tables) if table.name != "parent"]

    @contextlib.contextmanager
    def _undone(self) -> Any:
        nested, known = self.session.begin_nested(), list(self.rows)
        yield
        nested.rollback()
        self.session.expunge_all()
        self.rows[:] = known

    def _arguments(self, values: Values) -> Values:
        """Return the values as the model takes them."""
        arguments = dict(values)
        if values.get("parent") == "a new one":
            parent = self.models.classes["Parent"]
            known = self.session.execute(select(parent).where(parent.code == "new")).scalar()
            arguments["parent"] = known or parent(code="new")
        elif values.get("parent") is not None:
            key = self._key_of_parent(arguments.pop("parent"))
            if self.description.parent == "column":
                arguments.update({f"parent_{name}": value for name, value in key.items()})
            else:
                arguments["parent"] = self._parent(key)
        elif "parent" in values and self.description.parent == "column":
            arguments.update(dict.fromkeys(self._foreign(), arguments.pop("parent")))
        return arguments

    def _key_of_parent(self, number: int) -> Values:
        key = {"id": PARENTS[number]}
        return {**key, "part": 1} if self.description.composite else key

    def _parent(self, key: Values) -> Any:
        return self.session.get(self.models.classes["Parent"], tuple(key.values()))

    def _foreign(self) -> List[str]:
        return [name for name, field in self.columns.items() if field.kind == "parent"]

    # What the library says

    def _make(self, rows: List[Tuple[str, Values]]) -> None:
        made = [self.models.classes[name](**self._arguments(values)) for name, values in rows]
        self.session.add_all(made)
        self.rows, self.values = made, [values for _, values in rows]
        if self.case.state != "pending":
            self.session.flush()
        if self.case.state == "stored":
            self.rows = [inspect(obj).key for obj in made]
            self.session.expunge_all()

    def _call(self, verdicts: List[Verdict]) -> None:
        self.factory = self._declare()
        for call, verdict in zip(self.case.calls, verdicts):
            passed = self._passed(call)
            found, _, _ = self._outcome(find, passed)
            self._check(call, verdict, found)
            unforeseen = self._is_unforeseen(call, verdict)
            self.surprised = self.surprised or unforeseen
            if isinstance(found, UniqueKeyError) or (unforeseen and not self.case.persistence):
                return  # the rows are not what they were when the database was asked
            obj, created, warned = self._outcome(get_or_create, passed)
            if verdict.refusing:
                assert not created
                self._check(call, verdict, obj)
                self._check_warning(call, verdict, obj, warned)
            else:
                assert created
                assert isinstance(obj, self.model)
                assert obj in self.session
                self.rows.append(obj)
                self.values.append({**self.description.declared, **call})

    def _declare(self) -> Any:
        session = {
            "sqlalchemy_session": self.session,
            "sqlalchemy_session_persistence": self.case.persistence,
        }
        declared = dict(self.description.declared)
        if self.description.parent == "subfactory" and "parent" in self.model.__mapper__.attrs:
            parent = self.models.classes["Parent"]
            declared["parent"] = factory.SubFactory(_factory(parent, session, code="p0"))
        return _factory(self.model, session, **declared)

    def _passed(self, call: Values) -> Values:
        if self.description.parent == "subfactory" and call.get("parent") is not None:
            code = "new" if call["parent"] == "a new one" else f"p{call['parent']}"
            return {**{k: v for k, v in call.items() if k != "parent"}, "parent__code": code}
        return self._arguments(call)

    def _outcome(self, function: Any, passed: Values) -> Tuple[Any, bool, bool]:
        """Return what comes of it: an object, None or an error; whether it was created; warned."""
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", MismatchWarning)
            try:
                result = function(self.factory, **passed)
            except (MismatchError, UniqueKeyError, IntegrityError) as error:
                return error, False, False
        obj, created = result if function is get_or_create else (result, False)
        return obj, created, bool(caught)

    def _check(self, call: Values, verdict: Verdict, outcome: Any) -> None:
        note(f"{call}: {outcome!r}")
        if isinstance(outcome, UniqueKeyError):
            given = self._columns_of({**self.description.declared, **call})
            assert not any(given.issuperset(key.columns) for key in self.keys)
        elif isinstance(outcome, MismatchError):
            number = self._number(outcome.instance)
            assert number in verdict.refusing
            # A parent is compared as a whole, also where a key has but a part of its own key.
            among = self._key_columns().union(self._foreign())
            differing = self._differing(call, verdict, number, among) or self._untold(number)
            assert differing or not isinstance(outcome.instance, self.model)
        elif outcome is None or isinstance(outcome, IntegrityError):
            assert not verdict.refusing or self._is_unforeseen(call, verdict)
        else:
            assert isinstance(outcome, self.model)
            number = self._number(outcome)
            assert number in verdict.refusing
            differing = self._differing(call, verdict, number, self._key_columns())
            assert not differing or any(
                differing.issubset(key.columns) for key in self.keys if not key.plain
            )

    def _check_warning(self, call: Values, verdict: Verdict, obj: Any, warned: bool) -> None:
        if not isinstance(obj, Exception):
            number = self._number(obj)
            differing = self._differing(call, verdict, number, set(verdict.new))
            assert warned or not differing - self._key_columns() - self._untold(number)

    def _untold(self, number: int) -> Any:
        """Return the columns of a pending row that only its INSERT fills."""
        return {
            field.column
            for field in self.columns.values()
            if field.default in UNKNOWN
            and self.case.state == "pending"
            and self.values[number].get(field.attribute) is None
        }

    def _number(self, obj: Any) -> int:
        (number,) = [
            number for number, row in enumerate(self.rows) if row is obj or row == inspect(obj).key
        ]
        return number

    def _differing(self, call: Values, verdict: Verdict, number: int, among: Any) -> Any:
        """Return the passed columns, of those given, in which the new row is not the row.

        What a default makes of a passed None may be known to the default alone.
        """
        row = verdict.refusing[number]
        told = {
            name: value
            for name, value in call.items()
            if value is not None or name == "parent" or self.columns[name].default not in UNKNOWN
        }
        return {
            column
            for column in self._columns_of(told)
            if column in among and verdict.new[column] != row.get(column)
        }

    def _columns_of(self, call: Values) -> Any:
        names = {name: field.column for name, field in self.columns.items()}
        columns = {names.get(name, name) for name in call if name != "parent"}
        return columns.union(self._foreign() if "parent" in call else ())

    def _key_columns(self) -> Any:
        return {column for key in self.keys for column in key.columns}

    def _is_unforeseen(self, call: Values, verdict: Verdict) -> bool:
        """Whether no lookup could know the key that the database refuses the new row by.

        The server or a function fills it: docs/explanation/keys.md, "cannot be known before the
        INSERT". It has a column of a subclass in the same table, which the class does not map.
        The call gives none of it, so that it is the key of no call. Or its predicate reads the
        foreign key of a parent that is yet to be made.
        """
        unflushed = [{**self.description.declared, **call}]
        given = self._columns_of(unflushed[0]).union(
            ["kind"],
            (f.column for f in self.columns.values() if f.default == "python"),
        )
        if self.case.state == "pending" or not self.case.persistence:
            unflushed += [self.values[number] for number in verdict.refusing]
        # What a key makes of a server's default in an expression, the lookup can ask the server.
        filled = {
            how: {
                field.column
                for field in self.columns.values()
                for values in unflushed
                if field.default == how and values.get(field.attribute) is None
            }
            for how in UNKNOWN
        }
        to_be_made = {
            field.column
            for field in self.columns.values()
            if field.kind == "parent" and call.get("parent") == "a new one"
        }
        shared = self.description.inheritance == "single"
        keys = self.description.keys_of("Sub") if shared else self.keys
        return any(
            filled["server"].intersection(key.plain_columns)
            or filled["callable"].intersection(key.read)
            or to_be_made.intersection(key.read)
            or key not in self.keys
            or not given.intersection(key.columns)
            for key in keys
            for number in verdict.refusing
            if self._may_share(key, verdict, number)
        )

    def _may_share(self, key: Any, verdict: Verdict, number: int) -> bool:
        row = verdict.refusing[number]
        return not key.plain or all(verdict.new[name] == row.get(name) for name in key.columns)


def _factory(model: Any, session: Values, **declared: Any) -> Any:
    meta = type("Meta", (), {"model": model, **session})
    name = f"{model.__name__}Factory"
    return reuse_existing(type(name, (SQLAlchemyModelFactory,), {"Meta": meta, **declared}))
