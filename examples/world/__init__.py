"""Reference data on demand: the countries, subdivisions and currencies of ISO, from pycountry.

- ``models``: the tables, with natural keys.
- ``factories``: name a key, and they look up the rest, parents first.
- ``seed``: all of it; ``python -m examples.world`` does so twice and shows that once was enough.
"""
