"""The factories of the shop, as people write them."""

import factory
from factory.alchemy import SQLAlchemyModelFactory

from . import models


class BaseFactory(SQLAlchemyModelFactory):
    class Meta:
        abstract = True
        sqlalchemy_session = models.Session
        sqlalchemy_session_persistence = "flush"


class CountryFactory(BaseFactory):
    class Meta:
        model = models.Country

    code = factory.Iterator(["AT", "CH", "DE", "FR", "IT", "NL", "PL"])
    name = factory.Faker("country")


# No unique key: one address may be entered twice.
class AddressFactory(BaseFactory):
    class Meta:
        model = models.Address

    street = factory.Faker("street_address")
    city = factory.Faker("city")
    country = factory.SubFactory(CountryFactory)


class TenantFactory(BaseFactory):
    class Meta:
        abstract = True

    tenant = "acme"


class UserFactory(TenantFactory):
    class Meta:
        model = models.User

    email = factory.Sequence("user{}@example.org".format)
    name = factory.Faker("name")
    address = factory.SubFactory(AddressFactory)

    @factory.post_generation
    def password(self, create, extracted, **kwargs):
        self.password = "hash of " + (extracted or "secret")


class CatalogueFactory(BaseFactory):
    class Meta:
        abstract = True

    class Params:
        discontinued = factory.Trait(active=False)

    active = True


class CategoryFactory(CatalogueFactory):
    class Meta:
        model = models.Category
        sqlalchemy_get_or_create = ("name",)

    name = factory.Sequence("Category {}".format)


class ProductFactory(CatalogueFactory):
    class Meta:
        model = models.Product

    sku = factory.Sequence("SKU-{:04}".format)
    name = factory.Faker("word")
    cents = factory.Faker("pyint", min_value=100, max_value=9999)
    category = factory.SubFactory(CategoryFactory)

    @classmethod
    def _create(cls, model_class, *args, **kwargs):
        found = models.Session.query(model_class).filter_by(sku=kwargs["sku"]).first()
        return found or super()._create(model_class, *args, **kwargs)


class OrderFactory(BaseFactory):
    class Meta:
        model = models.Order

    number = factory.Sequence("ORDER-{:04}".format)
    user = factory.SubFactory(UserFactory)
    line = factory.RelatedFactory(__name__ + ".OrderLineFactory", factory_related_name="order")


class OrderLineFactory(BaseFactory):
    class Meta:
        model = models.OrderLine

    order = factory.SubFactory(OrderFactory, line=None)
    product = factory.SubFactory(ProductFactory)
    quantity = factory.Faker("pyint", min_value=1, max_value=9)
