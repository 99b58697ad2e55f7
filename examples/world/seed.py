"""Seed everything. What is there already, from an earlier run or as a parent, is reused."""

import pycountry

from factory_reuse import use_session

from .factories import CountryFactory, CurrencyFactory, SubdivisionFactory, local_code


def seed(session):
    """Make every country, subdivision and currency that ``session`` has no row for."""
    with use_session(session):
        for record in pycountry.countries:
            CountryFactory(code=record.alpha_2)
        for record in pycountry.subdivisions:
            SubdivisionFactory(country__code=record.country_code, code=local_code(record.code))
        for record in pycountry.currencies:
            CurrencyFactory(code=record.alpha_3)
