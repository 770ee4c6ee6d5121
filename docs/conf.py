"""How Sphinx builds the documentation: `python -m sphinx -W -n -b html docs docs/_build/html`."""

import sys
from importlib.metadata import version as installed_version
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "_ext"))

project = "pacifica-notifications"
author = "Pacifica"
release = version = installed_version("pacifica-notifications")

extensions = [
    "sphinx.ext.autodoc",
    "manual_pages",
    "metrics_table",
    "openapi_description",
    "reasons_table",
    "settings_table",
]
exclude_patterns = ["_build"]
default_role = "literal"  # the docstrings mark code by single backticks
nitpicky = True
# Types of the standard library and of other packages: resolving them would need their inventories
# from the network, and the build must work without one.
nitpick_ignore_regex = [("py:.*", r"(?!pacifica\.).*")]

autodoc_member_order = "bysource"
autodoc_typehints = "signature"

html_theme = "alabaster"
html_theme_options = {
    "description": "Delivers Pacifica Metadata's events to those who subscribed to them",
    "page_width": "1200px",
    "fixed_sidebar": True,
}
html_copy_source = False
