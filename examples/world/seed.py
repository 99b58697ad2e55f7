"""Seed everything. What is there already, from an earlier run or as a parent, is reused."""

import pycountry

from factory_reuse import create_many, use_session

from .factories import CountryFactory, CurrencyFactory, SubdivisionFactory, local_code


def seed(session):
    """Make every country, subdivision and currency that ``session`` has no row for."""
    with use_session(session):
        for factory, rows in (
            (CountryFactory, ({"code": record.alpha_2} for record in pycountry.countries)),
            (
                SubdivisionFactory,
                (
                    {"country__code": record.country_code, "code": local_code(record.code)}
                    for record in pycountry.subdivisions
                ),
            ),
            (CurrencyFactory, ({"code": record.alpha_3} for record in pycountry.currencies)),
        ):
            for _ in create_many(factory, rows):
                pass
