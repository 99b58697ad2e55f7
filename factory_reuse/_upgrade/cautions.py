"""What a rewrite may change in a test, each in a short sentence whose wording stays."""

from __future__ import annotations

from typing import Final

NULL: Final = "A None in the key now creates a row; it was compared with NULL before."
EMPTY: Final = "An empty value in the key is looked up now; it created a row before."
MISMATCH: Final = (
    "A passed value that differs from the reused row is a MismatchWarning now; the row is kept, "
    "as before."
)
KEPT: Final = (
    'on_mismatch="keep" keeps in silence a row that differs from a passed value, as before: the '
    "project's tests turn warnings into errors."
)
SUBFACTORY: Final = (
    "SubFactories outside of the key no longer run for a row that is there, so the rows that they "
    "left behind are no longer made."
)
DECLARATIONS: Final = (
    "Declarations outside of the key are not evaluated for a row that is there: an Iterator stays "
    "where it is, and a function is not called."
)
UNKNOWN: Final = "A base was not found: what it adds or overrides was not read."
ELSEWHERE: Final = "Subclasses in files that were not searched inherit reuse."
RANDOM: Final = (
    "Random values are no longer drawn for a row that is there, so a seeded run gives others."
)
POST_GENERATION: Final = (
    'post_generation="always" runs post-generation declarations on a reused row, too, as before.'
)
INHERITED_POST_GENERATION: Final = (
    "Subclasses elsewhere that have post-generation declarations run them on a reused row only "
    'where one is passed; post_generation="always" runs them as before.'
)
SEVERAL_ROWS: Final = (
    "Several rows with one key are an AmbiguousMatchError now; before, that was no error."
)
SEVERAL_KEYS: Final = (
    "A row that contradicts a passed value of another key is a MismatchError now; it was taken "
    "before."
)
KEY_ORDER: Final = "Of several keys the one with the most passed values is looked up first now."
MISSING: Final = "A call that has no value for a field of the key creates a row."
FOREIGN: Final = "A relationship that is passed counts for its foreign key in the key."
RELOADED: Final = "A new row is no longer reloaded after its INSERT."
RETURNS_NONE: Final = (
    "An INSERT that is refused for something else than the key raises now; it gave None before."
)
NO_AUTOFLUSH: Final = "Rows that are still pending are found, too; the lookup's query did not."
INSERTS_FIRST: Final = (
    "The key is looked up before the INSERT now, so a row is reused also where no constraint "
    "refuses a second one."
)
ROLLBACK: Final = "A refused INSERT no longer rolls back the whole transaction, only itself."
CACHE: Final = (
    "Rows are kept for one transaction now; the dictionary kept them after a rollback, and for "
    "other sessions."
)
CACHE_STAYS: Final = "The dictionary stays where it is, and is empty now."
NO_QUERY: Final = "The database is asked now; before, only a row from the dictionary was reused."
SESSION: Final = "New rows are written through the session that session= gives, too."
LAZY: Final = (
    "Rows that are still pending are found without a flush now; the lookup's query flushed them."
)
PENDING: Final = "Other rows that are pending are not flushed by a lookup that the cache answers."
PERSISTENCE: Final = "sqlalchemy_session_persistence now says what _create did after adding."
GET_OR_CREATE: Final = (
    "After a refused INSERT factory_boy rolled back the whole transaction; only that INSERT is "
    "undone now."
)
TURNED_OFF: Final = "reuse = False keeps this subclass creating a row each time."
