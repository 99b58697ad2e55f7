"""A day in the shop, the same for the factories of ``legacy`` and ``decorated``."""

CATEGORIES = ("Books", "Games", "Toys")

# Number, customer and the two products of each order; in the last one Ann comes again.
ORDERS = (
    ("A-1", "ann@example.org", ("SKU-0", "SKU-1")),
    ("A-2", "ben@example.org", ("SKU-1", "SKU-2")),
    ("A-3", "cat@example.org", ("SKU-2", "SKU-3")),
    ("A-4", "dan@example.org", ("SKU-3", "SKU-4")),
    ("A-5", "eve@example.org", ("SKU-4", "SKU-5")),
    ("A-6", "ann@example.org", ("SKU-5", "SKU-6")),
)


def day(shop):
    """Run the day with the factories of the module ``shop``, and yield each product and order."""
    for n in range(10):
        category = CATEGORIES[n % len(CATEGORIES)]
        yield shop.ProductFactory(sku=f"SKU-{n}", category__name=category)
    for number, customer, (first, second) in ORDERS:
        order = shop.OrderFactory(number=number, user__email=customer, line__product__sku=first)
        shop.OrderLineFactory(order=order, product__sku=second)
        yield order
