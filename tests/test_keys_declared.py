"""Keys that `on` names: columns, relationships, synonyms, hybrids, and several of them."""

import factory
import pytest
from keyed import BaseFactory, assert_reused, current, persisting, rows
from sqlalchemy import Column, ForeignKey, Integer, String, Table, func, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.hybrid import hybrid_property
from sqlalchemy.orm import declarative_base, relationship, synonym

from factory_reuse import (
    AmbiguousMatchError,
    MismatchError,
    MismatchWarning,
    UniqueKeyError,
    find,
    get_or_create,
    reuse_existing,
)

Base = declarative_base()


@pytest.fixture(autouse=True)
def _current(session):
    with current(session):
        yield


class Artist(Base):
    """Nothing but its code is unique to the database; what else identifies one, `on` says."""

    __tablename__ = "artist"

    id = Column(Integer, primary_key=True)
    name = Column("full_name", String(20))
    born = Column(Integer)
    code = Column(String(20), unique=True)
    _alias = Column("alias", String(20))
    moniker = synonym("name")

    @property
    def alias(self):
        return self._alias

    @alias.setter
    def alias(self, alias):
        self._alias = alias.strip()

    @hybrid_property
    def born_in(self):
        return self.born

    @born_in.setter
    def born_in(self, year):
        self.born = year

    @hybrid_property
    def century(self):
        return None if self.born is None else self.born // 100

    @century.setter
    def century(self, century):
        self.born = century * 100

    @century.expression
    def century(cls):
        return (cls.born - cls.born % 100) / 100

    @hybrid_property
    def folded(self):
        return None if self.name is None else self.name.lower()

    @folded.setter
    def folded(self, name):
        self.name = name

    @folded.expression
    def folded(cls):
        return func.lower(cls.name)


class Album(Base):
    __tablename__ = "album"

    id = Column(Integer, primary_key=True)
    artist_id = Column(Integer, ForeignKey("artist.id"))
    artist = relationship(Artist, backref="albums")
    title = Column(String(20))
    year = Column(Integer)


class ArtistFactory(BaseFactory):
    class Meta:
        model = Artist


class AlbumFactory(BaseFactory):
    class Meta:
        model = Album

    artist = factory.SubFactory(reuse_existing(ArtistFactory, on="name"), name="Bach")
    title = "Suites"


def declare(base, on, persistence=None, **options):
    """Return a subclass of the factory that reuses on the key."""
    return reuse_existing(persisting(base, persistence), on=on, **options)


@pytest.fixture(params=[None, "flush"])
def persistence(request):
    return request.param


# One key


@pytest.mark.parametrize("on", ["name", ("name",), ["name"], [("name",)]], ids=str)
def test_one_field(on, persistence):
    """One field, in each spelling; it need not be unique to the database."""
    artists = declare(ArtistFactory, on, persistence)
    made = artists(name="Bach", born=1685)
    assert_reused(made, artists, name="Bach")
    assert artists(name="Händel") is not made
    assert rows(Artist) == 2


@pytest.mark.parametrize(
    ("on", "first", "same", "other"),
    [
        ("moniker", {"moniker": "Bach"}, {"name": "Bach"}, {"moniker": "Biber"}),
        ("name", {"name": "Bach"}, {"moniker": "Bach"}, {"moniker": "Biber"}),
        ("born_in", {"born_in": 1685}, {"born": 1685}, {"born_in": 1644}),
        ("born", {"born": 1685}, {"born_in": 1685}, {"born_in": 1644}),
        ("alias", {"alias": "JSB"}, {"alias": " JSB "}, {"alias": "HIF"}),
        ("_alias", {"alias": "JSB"}, {"_alias": "JSB"}, {"alias": "HIF"}),
        ("century", {"century": 16}, {"century": 16}, {"century": 17}),
        ("folded", {"folded": "bach"}, {"folded": "bach"}, {"folded": "biber"}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_other_names(on, first, same, other, persistence):
    """A synonym, a hybrid or a private attribute's public name is a field as a column is."""
    artists = declare(ArtistFactory, on, persistence)
    made = artists(**first)
    assert_reused(made, artists, **first)
    assert_reused(made, artists, **same)
    assert artists(**other) is not made
    assert rows(Artist) == 2


def test_hybrid_expression_finds_by_sql(session, persistence):
    """A hybrid with an expression of its own finds rows that were not made through it."""
    made = Artist(name="Bach", born=1685)
    session.add(made)
    assert_reused(made, declare(ArtistFactory, "century", persistence), century=16)
    assert_reused(made, declare(ArtistFactory, "folded", persistence), folded="bach")
    assert rows(Artist) == 1


def test_hybrid_of_a_pending_object(make_session):
    """An object that no SELECT can see yet is found by the hybrid too."""
    artists = declare(ArtistFactory, "folded")
    with current(make_session(autoflush=False)) as session:
        made = Artist(name="Bach")
        session.add(made)
        assert artists(folded="bach") is made
        session.commit()
        made.name = "Biber"
        assert artists(folded="biber") is made
        assert artists(folded="bach") is not made
        assert rows(Artist) == 2


def test_hybrid_beside_the_key(make_session):
    """A passed hybrid is compared at each call: what it reads may have changed unflushed."""
    artists = declare(ArtistFactory, "code", "flush")
    with current(make_session(autoflush=False)):
        bach = artists(code="JSB", century=16)
        for _ in range(3):
            assert artists(code="JSB", century=16) is bach
        bach.born = 1714
        with pytest.warns(MismatchWarning, match="century=16"):
            artists(code="JSB", century=16)


def test_composite(persistence):
    """Two names in one tuple are one key: both must be the same."""
    artists = declare(ArtistFactory, ("name", "born"), persistence)
    made = artists(name="Bach", born=1685)
    assert artists(name="Bach", born=1714) is not made
    assert_reused(made, artists, name="Bach", born=1685)
    assert rows(Artist) == 2


@pytest.mark.parametrize("key", [{"name": None}, {}], ids=str)
def test_none_means_create(key, persistence):
    """None, or no value at all, for a field of the key means a new row each time."""
    artists = declare(ArtistFactory, "name", persistence)
    assert artists(**key) is not artists(**key)
    assert rows(Artist) == 2


def test_no_key():
    """`on=()` never looks up."""
    artists = declare(ArtistFactory, ())
    assert artists(code=None, id=None) is not artists(code=None, id=None)
    assert rows(Artist) == 2


def test_ambiguous(session):
    """Two rows for a declared key are an error that names factory, key, values and count."""
    session.add_all([Artist(name="Bach", born=year) for year in (1685, 1714, 1735)])
    session.commit()
    artists = declare(ArtistFactory, "name")
    with pytest.raises(AmbiguousMatchError) as caught:
        artists(name="Bach")
    assert caught.value.message == (
        "ArtistFactory: 3 rows of Artist have name='Bach'. Name fields in on= that identify one "
        "row, or narrow it with where=."
    )
    assert (caught.value.factory, caught.value.model) == ("ArtistFactory", "Artist")
    assert (caught.value.count, caught.value.values) == (3, {"name": "Bach"})
    assert rows(Artist) == 3


def test_on_is_all_that_counts(session):
    """A unique column that `on` leaves out is no key: to the database, it is a duplicate."""
    artists = declare(ArtistFactory, "name", "flush")
    made = artists(name="Bach", code="JSB")
    with pytest.raises(IntegrityError):
        artists(name="Biber", code="JSB")
    assert_reused(made, artists, name="Bach")
    assert rows(Artist) == 1


# Relationships


@pytest.mark.parametrize("on", ["artist", "artist_id"])
def test_relationship_alone(on, persistence):
    """A relationship is a field, and the same one as its column."""
    albums = declare(AlbumFactory, on, persistence)
    made = albums()
    assert_reused(made, albums)
    assert_reused(made, albums, artist=made.artist)
    assert albums(artist__name="Biber") is not made
    assert (rows(Artist), rows(Album)) == (2, 2)


@pytest.mark.parametrize("on", [("artist", "title"), ("title", "artist_id")], ids=str)
def test_relationship_and_column(on, persistence):
    """A relationship and a column make one key."""
    albums = declare(AlbumFactory, on, persistence)
    made = albums()
    other = albums(title="Partitas")
    assert other is not made
    assert_reused(made, albums)
    assert_reused(other, albums, artist__name="Bach", title="Partitas")
    assert albums(artist__name="Biber").artist is not made.artist
    assert (rows(Artist), rows(Album)) == (2, 3)


def test_parents_without_a_row(make_session):
    """A transient parent has no row; a pending one is matched among the pending."""
    albums = declare(AlbumFactory, ("artist", "title"))
    with current(make_session(autoflush=False)) as session:
        pending = Artist(name="Bach")
        session.add(pending)
        made = albums(artist=pending)
        assert albums(artist=pending) is made
        assert albums(artist=Artist(name="Bach")) is not made
        assert_reused(made, albums, artist=pending)
        assert (rows(Artist), rows(Album)) == (2, 2)


def test_no_parent_means_create(persistence):
    """None for a relationship of the key means a new row each time."""
    albums = declare(AlbumFactory, ("artist", "title"), persistence)
    assert albums(artist=None) is not albums(artist=None)
    assert (rows(Artist), rows(Album)) == (0, 2)


def test_relationship_and_its_column_disagree(session):
    """Passing a parent and another one's key is an error."""
    albums = declare(AlbumFactory, ("artist", "title"))
    made = albums()
    session.flush()
    with pytest.raises(MismatchError, match=r"artist_id gives .* and artist gives"):
        albums(artist=made.artist, artist_id=made.artist.id + 1)
    assert_reused(made, albums)
    assert (rows(Artist), rows(Album)) == (1, 1)


@pytest.mark.backends("sqlite")
def test_fields_met_in_sql_first(engine):
    """A column first met inside an SQL expression has all its names when it is a field later."""
    base = declarative_base()

    class Song(base):
        __tablename__ = "song"

        id = Column(Integer, primary_key=True)
        year = Column(Integer)
        cover_id = Column(Integer, ForeignKey("song.id"))
        cover_of = relationship("Song", remote_side=id)

        @hybrid_property
        def since(self):
            return self.year

        @since.setter
        def since(self, year):
            self.year = year

    class SongFactory(BaseFactory):
        class Meta:
            model = Song

    base.metadata.create_all(engine)
    filtered = declare(SongFactory, "id", where=lambda model: model.cover_id + model.year > 0)
    original = filtered(id=1)
    made = declare(SongFactory, "year")(year=1999, cover_of=original)
    assert_reused(made, declare(SongFactory, "year"), since=1999)
    assert_reused(made, declare(SongFactory, "cover_id"), cover_of=original)
    assert_reused(made, declare(SongFactory, "cover_of"), cover_of=original)
    assert rows(Song) == 2


# Several keys


def test_alternatives(persistence):
    """A list of tuples: any of them finds the row."""
    artists = declare(ArtistFactory, [("code",), ("name", "born")], persistence)
    made = artists(code="JSB", name="Bach", born=1685)
    assert_reused(made, artists, code="JSB")
    assert_reused(made, artists, name="Bach", born=1685)
    uncoded = artists(code=None, name="Bach", born=1714)
    assert_reused(uncoded, artists, code=None, name="Bach", born=1714)
    with pytest.raises(MismatchError, match="code=None"):
        artists(code=None, name="Bach", born=1685)
    assert rows(Artist) == 2


def test_alternatives_in_their_order(session):
    """With as much passed for each, the first one listed decides; passed ones must agree."""
    coded, named = Artist(code="JSB", name="x"), Artist(code="x", name="Bach")
    session.add_all([coded, named])
    session.commit()

    class BothFactory(ArtistFactory):
        code = "JSB"
        name = "Bach"

    assert_reused(coded, declare(BothFactory, [("code",), ("name",)]))
    assert_reused(named, declare(BothFactory, [("name",), ("code",)]))
    assert_reused(named, declare(BothFactory, [("code",), ("name",)]), name="Bach")
    with pytest.raises(MismatchError):
        declare(BothFactory, [("code",), ("name",)])(name="Bach", code="JSB")
    assert rows(Artist) == 2


def test_alternatives_none_of_which_is_there():
    """Where no key finds a row, one is made."""
    artists = declare(ArtistFactory, [("code",), ("name", "born")])
    _, created = get_or_create(artists, code="JSB", name="Bach", born=1685)
    assert created
    assert find(artists, code="GFH", name="Bach", born=1714) is None
    assert rows(Artist) == 1


# What is no field


@pytest.mark.parametrize(
    ("on", "message"),
    [
        ("nmae", r"Artist\.nmae is not an attribute of the model\. Did you mean 'name'\?"),
        (("name", "borm"), r"Artist\.borm is not an attribute .* Did you mean 'born'\?"),
        ([("code",), ("mame",)], r"Artist\.mame is not an attribute .* Did you mean 'name'\?"),
        ("full_name", r"Artist\.full_name is not an attribute of the model"),
        ("zzz", r"Artist\.zzz is not an attribute of the model\. Its attributes: .*\bcode\b"),
        ("albums", r"Artist\.albums is not a many-to-one relationship"),
    ],
    ids=str,
)
def test_no_such_field(on, message):
    """A name that no row can be found by is an error with a suggestion, at the latest when used."""
    with pytest.raises(UniqueKeyError, match=message) as caught:
        declare(ArtistFactory, on)(name="Bach")
    assert str(caught.value).startswith("ArtistFactory: on=")
    assert (caught.value.factory, caught.value.model) == ("ArtistFactory", "Artist")
    assert rows(Artist) == 0


class Unsearchable(Base):
    """Has names that no row can be found by, each in another way."""

    __table__ = Table(
        "unsearchable",
        Base.metadata,
        Column("id", Integer, primary_key=True),
        Column("name", String(20)),
        Column("artist_id", Integer, ForeignKey("artist.id")),
    )
    artist = relationship(Artist)
    __mapper_args__ = {"exclude_properties": ["artist_id"]}

    @hybrid_property
    def broken(self):
        return self.name.lower()  # of a column that is no text

    @hybrid_property
    def constant(self):
        return 7

    @constant.expression
    def constant(cls):
        return text("7")


class UnsearchableFactory(BaseFactory):
    class Meta:
        model = Unsearchable


@pytest.mark.parametrize(
    ("on", "message"),
    [
        ("broken", r"Unsearchable\.broken has no SQL expression\. "),
        ("constant", r"Unsearchable\.constant is not a single SQL expression\. "),
        ("artist", r"Unsearchable\.artist has a foreign key that is not mapped\. "),
    ],
)
def test_no_searchable_field(on, message):
    """Neither is one by what has no SQL, or a foreign key that the model does not map."""
    with pytest.raises(
        UniqueKeyError, match=rf"^UnsearchableFactory: on='{on}' .*{message}"
    ) as caught:
        declare(UnsearchableFactory, on)(name="Bach")
    assert (caught.value.factory, caught.value.model) == ("UnsearchableFactory", "Unsearchable")
    assert caught.value.values == {"on": on}


def test_key_in_messages(persistence):
    """A message has all fields of the key, each by its name."""
    artists = declare(ArtistFactory, ("name", "born"), persistence, on_mismatch="raise")
    artists(name="Bach", born=1685, code="B")
    with pytest.raises(MismatchError, match=r"has the key \(name='Bach', born=1685\)"):
        artists(name="Bach", born=1685, code="C")


def test_hybrid_in_messages(persistence):
    """The value of a hybrid is shown as it was passed."""
    artists = declare(ArtistFactory, "folded", persistence, on_mismatch="raise")
    artists(folded="Bach", code="B")
    with pytest.raises(MismatchError, match=r"has the key \(folded='bach'\)"):
        artists(folded="bach", code="C")
