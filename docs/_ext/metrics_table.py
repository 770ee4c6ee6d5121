"""The directive `metrics`: the table of all metrics, from the code that shows them."""

from collections.abc import Iterator
from typing import Any

from docutils import nodes
from docutils.statemachine import StringList
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from pacifica.notifications.rest.metrics import Family, metrics_of
from pacifica.notifications.store.monitoring import Snapshot

_HEAD = ("Metric", "Type", "Labels", "Meaning")
_WIDTHS = "34 10 16 40"


def table() -> list[str]:
    """Return the table as lines of reStructuredText."""
    head = [".. list-table::", "   :header-rows: 1", f"   :widths: {_WIDTHS}", ""]
    return head + [line for row in (_HEAD, *_rows()) for line in _lines(row)]


class MetricsTable(SphinxDirective):
    """`.. metrics::` gives the table."""

    def run(self) -> list[nodes.Node]:
        """Parse the table where the directive stands."""
        container = nodes.container()
        self.state.nested_parse(StringList(table(), "metrics.py"), 0, container)
        return container.children


def setup(app: Sphinx) -> dict[str, Any]:
    """Add the directive."""
    app.add_directive("metrics", MetricsTable)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def _rows() -> Iterator[tuple[str, ...]]:
    for family in metrics_of(Snapshot()):
        suffix = "_total" if family.kind == "counter" else ""
        labels = "; ".join(_label(family, number) for number in range(len(family.labels)))
        yield f"``{family.name}{suffix}``", family.kind, labels, family.meaning


def _label(family: Family, number: int) -> str:
    # Versions differ from one machine to the next.
    values = [] if family.name == "build_info" else [each[number] for each in family.samples]
    return f"``{family.labels[number]}``" + (": " if values else "") + ", ".join(values)


def _lines(cells: tuple[str, ...]) -> Iterator[str]:
    for number, cell in enumerate(cells):
        yield f"   {'*' if number == 0 else ' '} - {cell}"
