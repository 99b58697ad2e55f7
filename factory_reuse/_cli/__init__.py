"""The command line: ``factory-reuse``, or ``python -m factory_reuse``.

- ``parser``: the commands and what they have in common.
- ``audit``, ``upgrade``, ``explain``, ``demo``: one command each.
- ``arguments``: ``key=value`` on the command line as values of the model.
- ``database``: what ``--db`` names.
- ``paper``: what text is written on: a terminal with colours, a plain one, or a pipe.
"""
