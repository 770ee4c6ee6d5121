"""The directive `reasons`: the table of all reasons, from the code that gives them."""

from typing import Any

from docutils import nodes
from docutils.statemachine import StringList
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from pacifica.notifications.reasons import MEANINGS

_HEAD = ("Reason", "Meaning", "What the owner of the subscription can do")
_WIDTHS = "22 39 39"


def table() -> list[str]:
    """Return the table as lines of reStructuredText."""
    lines = [".. list-table::", "   :header-rows: 1", f"   :widths: {_WIDTHS}", ""]
    rows = [
        (f"``{reason}``", meaning.meaning, meaning.action) for reason, meaning in MEANINGS.items()
    ]
    for row in (_HEAD, *rows):
        for number, cell in enumerate(row):
            lines.append(f"   {'*' if number == 0 else ' '} - {cell}")
    return lines


class ReasonsTable(SphinxDirective):
    """`.. reasons::` gives the table."""

    def run(self) -> list[nodes.Node]:
        """Parse the table where the directive stands."""
        container = nodes.container()
        self.state.nested_parse(StringList(table(), "reasons.py"), 0, container)
        return container.children


def setup(app: Sphinx) -> dict[str, Any]:
    """Add the directive."""
    app.add_directive("reasons", ReasonsTable)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
