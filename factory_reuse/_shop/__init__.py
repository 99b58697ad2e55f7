"""A small shop and its factories, before and after.

- ``models``: the tables, with the unique keys a shop has.
- ``legacy``: the factories as people write them, with two home-made ways round a duplicate.
- ``decorated``: the same factories, reusing. Read it with ``diff legacy.py decorated.py``.
- ``scenario``: a day in the shop, run with either; ``python -m factory_reuse demo`` shows both.
"""
