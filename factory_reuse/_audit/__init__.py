"""The audit: what key each factory has, and what is wrong with it.

- ``findings``: the codes, and what a finding says.
- ``modules``: from the names on the command line to imported modules and their factories.
- ``places``: the file and line of a factory and of what it declares, and the comments there.
- ``variety``: whether two calls get the same value from a declaration.
- ``subjects``: one factory as the rules see it; ``suite``: all of them together.
- ``rules``: one module for each hundred of codes.
- ``settings``: what a project says in its configuration, and its baseline.
- ``run``: all of it, from names to findings.
- ``formats``: the findings as JSON and as annotations of GitHub; the tables are the command's.
"""
