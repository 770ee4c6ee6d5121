"""The directive `settings`: the table of one section's keys, from the list that the code reads."""

from collections.abc import Iterator
from typing import Any

from docutils import nodes
from docutils.statemachine import StringList
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from pacifica.notifications.settings import KEYS, Key

_HEAD = ("Key", "Environment variable", "Default", "Accepted", "Meaning")
_WIDTHS = "18 24 14 18 26"


def table(keys: list[Key]) -> list[str]:
    """Return the table of keys as lines of reStructuredText."""
    head = [".. list-table::", "   :header-rows: 1", f"   :widths: {_WIDTHS}", ""]
    rows = [_HEAD, *(_row(key) for key in keys)]
    return head + [line for row in rows for line in _lines(row)]


def keys_of(section: str) -> list[Key]:
    """Return the keys of a section; raises ValueError where there is none."""
    keys = [key for key in KEYS if key.section == section]
    if not keys:
        raise ValueError(f"no key is in the section {section}")
    return keys


class SettingsTable(SphinxDirective):
    """`.. settings:: SECTION` gives the table of that section's keys."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Parse the table where the directive stands."""
        try:
            keys = keys_of(self.arguments[0])
        except ValueError as error:
            raise self.error(str(error)) from error
        container = nodes.container()
        self.state.nested_parse(StringList(table(keys), "settings.py"), 0, container)
        return container.children


def setup(app: Sphinx) -> dict[str, Any]:
    """Add the directive."""
    app.add_directive("settings", SettingsTable)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def _row(key: Key) -> tuple[str, ...]:
    # Without a text, the marks alone would be the line below a title.
    default = f"``{key.default}``" if key.default else "nothing"
    literals = (f"``{key.name}``", f"``{key.environment}``", default)
    return (*literals, key.kind.accepts, key.meaning)


def _lines(cells: tuple[str, ...]) -> Iterator[str]:
    for number, cell in enumerate(cells):
        yield f"   {'*' if number == 0 else ' '} - {cell}"
