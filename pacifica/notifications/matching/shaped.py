"""JSONPaths that have a shape, in the tables of their shapes."""

import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple
from uuid import UUID

from pacifica.notifications.errors import ExpressionError
from pacifica.notifications.matching.candidates import Candidates
from pacifica.notifications.matching.grammar import syntax_tree
from pacifica.notifications.matching.shapes import Alternative, alternatives
from pacifica.notifications.matching.tables import Table
from pacifica.notifications.matching.templates import Constant, Template, split


@dataclass(slots=True, eq=False)
class Form:
    """A template as the index holds it: its tables, and how many subscriptions have it."""

    template: Template
    ways: tuple[tuple[Alternative, Table], ...]
    users: int = 0


class Shaped(NamedTuple):
    """Where a JSONPath has its subscriptions: its constants lead through the tables of its form.

    The text is not kept: this is all that it says.
    """

    form: Form
    constants: tuple[Constant, ...]

    def places(self) -> Iterator[tuple[Table, list[Any]]]:
        """Yield the tables, and the keys that lead through them."""
        for way, table in self.form.ways:
            yield table, way.keys(self.constants)


class ShapedExpressions:
    """Those of the candidates that are tables.

    Templates that mean the same share their tables, however they are written.
    """

    def __init__(self, candidates: Candidates) -> None:
        self._candidates = candidates
        self._forms: dict[Template, Form] = {}

    def place(self, text: str) -> Shaped | None:
        """Return where the subscriptions with a JSONPath are put, or `None` where it has no shape.

        It has none where it does not parse, either.
        """
        template, constants = split(text)
        if not constants:
            return None
        form = self._forms.get(template) or self._form(template)
        return Shaped(form, constants) if form.ways else None

    def put(self, place: Shaped, uuid: UUID) -> None:
        """Add a subscription in a place."""
        place.form.users += 1
        self._forms[place.form.template] = place.form
        for table, keys in place.places():
            table.put(keys, uuid)
            self._candidates.add(table)

    def remove(self, place: Shaped, uuid: UUID) -> None:
        """Take a subscription out of a place; what is empty then goes, too."""
        for table, keys in place.places():
            table.remove(keys, uuid)
            if table.is_empty:
                self._candidates.drop(table)
        place.form.users -= 1
        if not place.form.users:
            del self._forms[place.form.template]

    def _form(self, template: Template) -> Form:
        try:
            ways = alternatives(syntax_tree(template.with_numbers(), max_length=sys.maxsize))
        except ExpressionError:
            ways = None
        return Form(template, tuple(self._with_tables(ways or ())))

    def _with_tables(self, ways: Iterable[Alternative]) -> Iterator[tuple[Alternative, Table]]:
        new: dict[tuple[str, ...], Table] = {}
        for way in ways:
            table = Table(way.tiers)
            yield way, self._candidates.get(table.name) or new.setdefault(table.name, table)
