"""What a reused row costs, beside the other ways to get it.

``python -m benchmarks`` prints a table for each database, ``python -m benchmarks goals`` what the
library set out to reach and what it reaches.

- ``models``: tables and factories as people write them.
- ``competitors``: the ways to get a row; ``operations``: the calls that each of them has.
- ``cases``: the states that the calls are made in.
- ``play``: how a case is played; ``conflict``: the one in which somebody else is faster.
- ``measure``: rounds that take turns, and what is counted.
- ``growth``, ``goals``, ``footprint``: what needs a set-up of its own.
- ``backends``: the databases; ``tables``: all cases on one; ``show``: how tables look.
- ``instructions``: a program of its own, which counts instructions instead of time.
"""
