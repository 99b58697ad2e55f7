"""Seed everything. What is there already, from an earlier run or as a parent, is reused."""

import pycountry

from factory_reuse import create_many, use_session

from .factories import CountryFactory, CurrencyFactory, SubdivisionFactory, local_code


def seed(session, follow=lambda made, what, total: made):
    """Make every country, subdivision and currency that ``session`` has no row for.

    ``follow(objects, what, total)`` may show the progress of the objects that it passes on.
    """
    countries = [{"code": record.alpha_2} for record in pycountry.countries]
    subdivisions = [
        {"country__code": record.country_code, "code": local_code(record.code)}
        for record in pycountry.subdivisions
    ]
    currencies = [{"code": record.alpha_3} for record in pycountry.currencies]
    with use_session(session):
        for what, factory, rows in (
            ("countries", CountryFactory, countries),
            ("subdivisions", SubdivisionFactory, subdivisions),
            ("currencies", CurrencyFactory, currencies),
        ):
            for _ in follow(create_many(factory, rows), what, len(rows)):
                pass
