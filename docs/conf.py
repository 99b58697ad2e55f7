"""Sphinx: `tox -e docs` builds the pages into .tox/docs_out, a warning being an error."""

from importlib import metadata

project = "factory_reuse"
author = "The factory_reuse developers"
copyright = "2026, the factory_reuse developers"
release = metadata.version("factory_reuse")

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.graphviz",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
]
html_theme = "furo"
html_title = f"factory_reuse {release}"
exclude_patterns = ["_build"]

# Links to headings as GitHub makes them, so that a page reads the same in the repository.
myst_heading_anchors = 4
myst_enable_extensions = ["colon_fence", "deflist"]
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_preserve_defaults = True
nitpicky = True
nitpick_ignore_regex = [
    # factory_boy and SQLAlchemy are not looked up on the network.
    ("py:.*", r"(factory|sqlalchemy|typing|typing_extensions|collections|contextlib)\b.*"),
    ("py:.*", r"(pytest\..*|AnyAsyncSession|_FactoryOf|BaseFactory|(.*\.)?[FT])"),
]

graphviz_output_format = "svg"
