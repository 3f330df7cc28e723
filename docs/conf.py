"""Sphinx configuration; the pages made from the code and the results are in `pages`."""

from __future__ import annotations

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

import pages  # noqa: E402  (found through the line above)

from astrid import __version__  # noqa: E402

project = "AstrID"
author = "The AstrID developers"
copyright = "2026, the AstrID developers"
version = release = __version__

extensions = [
    "myst_parser",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.mathjax",
]
exclude_patterns = ["_build", *(f"_generated/{name}" for name in pages.INCLUDED)]
default_role = "py:obj"
myst_enable_extensions = ["colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3
suppress_warnings = ["myst.header"]  # generated sections begin below the page's own heading

autosummary_generate = True
autodoc_typehints = "none"  # numpydoc's type lines say more: shapes and units
autodoc_member_order = "bysource"
numpydoc_show_class_members = False
numpydoc_class_members_toctree = False

html_theme = "pydata_sphinx_theme"
html_title = "AstrID"
html_static_path = ["_static"]
html_show_sourcelink = False
html_theme_options = {
    "show_prev_next": False,
    "navigation_with_keys": False,
    "secondary_sidebar_items": ["page-toc"],
    "footer_start": ["copyright"],
    "footer_end": [],
}


def setup(app: object) -> None:
    """Write the generated pages before Sphinx looks for its sources."""
    app.connect("config-inited", lambda app, config: pages.write(HERE / "_generated"))
