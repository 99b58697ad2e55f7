"""The factories: a key is enough, whatever else a row needs comes from its ISO record.

``SubdivisionFactory(country__code="GB", code="ABC")`` makes the district, the province it is in
and the country, and reuses those that are there. A record is looked up only for a row that is new.
"""

import factory
import pycountry
from factory.alchemy import SQLAlchemyModelFactory

from factory_reuse import reuse_existing

from . import models


# No session here: whoever uses the factories says which, with ``use_session``.
class BaseFactory(SQLAlchemyModelFactory):
    class Meta:
        abstract = True
        sqlalchemy_session_persistence = "flush"


@reuse_existing(on="code")
class CountryFactory(BaseFactory):
    class Meta:
        model = models.Country

    name = factory.LazyAttribute(lambda o: pycountry.countries.get(alpha_2=o.code).name)


@reuse_existing(on=("country", "code"))
class SubdivisionFactory(BaseFactory):
    class Meta:
        model = models.Subdivision

    class Params:
        record = factory.LazyAttribute(
            lambda o: pycountry.subdivisions.get(code=f"{o.country.code}-{o.code}")
        )
        parent_code = factory.LazyAttribute(lambda o: local_code(o.record.parent_code))

    country = factory.SubFactory(CountryFactory)
    name = factory.SelfAttribute("record.name")
    kind = factory.SelfAttribute("record.type")
    parent = factory.Maybe(
        "parent_code",
        factory.SubFactory(
            __name__ + ".SubdivisionFactory",
            country=factory.SelfAttribute("..country"),
            code=factory.SelfAttribute("..parent_code"),
        ),
    )


@reuse_existing(on="code")
class CurrencyFactory(BaseFactory):
    class Meta:
        model = models.Currency

    class Params:
        country_code = factory.LazyAttribute(lambda o: issuer(o.code))

    name = factory.LazyAttribute(lambda o: pycountry.currencies.get(alpha_3=o.code).name)
    country = factory.Maybe(
        "country_code",
        factory.SubFactory(CountryFactory, code=factory.SelfAttribute("..country_code")),
    )


def local_code(code):
    """Return what follows the country: ``"ENG"`` of ``"GB-ENG"``."""
    return code and code.partition("-")[2]


def issuer(code):
    """Return the country that a currency's code begins with, or ``None``: ``"EUR"`` has none."""
    country = pycountry.countries.get(alpha_2=code[:2])
    return country and country.alpha_2
