"""The rules: one module for each hundred of codes, each with a ``check`` that yields findings."""
