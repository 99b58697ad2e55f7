"""Tests of the shop, as a user would write them. All of them use the same few rows."""

import random
import time

import pytest
from sqlalchemy import func, select

from conftest import CATEGORIES, COUNTRIES, EMAILS
from factory_reuse import create_many, find, get_or_create
from factory_reuse._shop import decorated as shop
from factory_reuse._shop import models

pytestmark = pytest.mark.parametrize("turn", range(8))


@pytest.fixture(autouse=True)
def busy():
    """Let the tests of the workers overlap."""
    yield
    time.sleep(0.02)


def shuffled(names):
    return random.sample(names, len(names))


def count(session, model):
    return session.execute(select(func.count()).select_from(model)).scalar()


def test_countries(turn, session):
    """Each country is there, once."""
    countries = [shop.CountryFactory(code=code) for code in shuffled(COUNTRIES)]
    assert len({country.id for country in countries}) == count(session, models.Country)


def test_categories(turn, session):
    """However they are asked for, the categories are those that are there."""
    names = shuffled(CATEGORIES)
    categories = list(create_many(shop.CategoryFactory, [{"name": name} for name in names]))
    assert [category.name for category in categories] == names
    assert [shop.CategoryFactory(name=name) for name in names] == categories
    assert count(session, models.Category) == len(CATEGORIES)


def test_products(turn, session):
    """A product finds its category, and is seen by this test alone."""
    made = [shop.ProductFactory(category__name=name) for name in shuffled(CATEGORIES)]
    assert {product.category.name for product in made} == set(CATEGORIES)
    assert count(session, models.Product) == len(made)


def test_order(turn, session):
    """An order makes neither its user nor its categories again."""
    for email, name in zip(shuffled(EMAILS), shuffled(CATEGORIES)):
        order = shop.OrderFactory(user__email=email, line__product__category__name=name)
        assert order.user.email == email
        (line,) = order.lines
        assert line.product.category.name == name
    assert count(session, models.User) == len(EMAILS)
    assert count(session, models.Category) == len(CATEGORIES)


def test_new_user(turn, session):
    """A user of the test's own lives in a country that all share."""
    user, created = get_or_create(shop.UserFactory, address__country__code="FR")
    assert created
    assert user.address.country is find(shop.CountryFactory, code="FR")
    assert count(session, models.User) == len(EMAILS) + 1


def test_commit(turn, session):
    """What the code under test commits is rolled back, too, and stays known until then."""
    order = shop.OrderFactory(user__email=EMAILS[turn % 3], line__product__category__name="Toys")
    session.commit()
    assert shop.OrderFactory(number=order.number) is order
    assert count(session, models.Order) == 1
