"""Hold the subscriptions of each shape in a hash index, under their constants."""

import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple
from uuid import UUID

from pacifica.notifications.errors import BudgetExceeded, ExpressionError
from pacifica.notifications.matching.candidates import (
    Candidates,
    MatchCollector,
    SearchCost,
    most_selective,
)
from pacifica.notifications.matching.evaluation import too_deep_to_evaluate
from pacifica.notifications.matching.parser import syntax_tree
from pacifica.notifications.matching.record_scan import (
    Records,
    satisfied,
    satisfied_with_records,
)
from pacifica.notifications.matching.shape import Alternative, Level, shape_of
from pacifica.notifications.matching.template import Constant, Template, split_template

#: The subscriptions under one series of keys. Usually it is one, for which a set would be large.
Subscriptions = UUID | set[UUID]
#: A dictionary of a hash index, or the subscriptions at the end of them.
Node = dict[Any, Any] | Subscriptions


@dataclass(slots=True, eq=False)
class IndexedTemplate:
    """A template with the hash indexes of its alternatives, and its number of subscriptions."""

    template: Template
    indexes: tuple[tuple[Alternative, "HashIndex"], ...]
    subscriptions: int = 0


class IndexPosition(NamedTuple):
    """Where the subscriptions with a JSONPath are: under its constants, in each hash index.

    The text of the JSONPath is not kept, because this says as much.
    """

    template: IndexedTemplate
    constants: tuple[Constant, ...]

    def index_keys(self) -> Iterator[tuple["HashIndex", list[Any]]]:
        """Yield the hash indexes, each with the keys of the position in it."""
        for alternative, index in self.template.indexes:
            yield index, alternative.keys(self.constants)


class HashIndexes:
    """The hash indexes of all shapes, each of which is a candidate.

    Templates that mean the same share their hash indexes, however they are written.
    """

    def __init__(self, candidates: Candidates) -> None:
        self._candidates = candidates
        self._templates: dict[Template, IndexedTemplate] = {}

    def has_template_of(self, text: str) -> bool:
        """Return whether subscriptions with a JSONPath can be added without parsing it."""
        template, constants = split_template(text)
        return bool(constants) and template in self._templates

    def position(self, text: str) -> IndexPosition | None:
        """Return where the subscriptions with a JSONPath belong.

        Returns `None` if it has no shape, or does not parse.
        """
        template, constants = split_template(text)
        if not constants:
            return None
        indexed = self._templates.get(template) or self._indexed(template)
        return IndexPosition(indexed, constants) if indexed.indexes else None

    def add(self, position: IndexPosition, uuid: UUID) -> None:
        """Add a subscription at a position."""
        indexed = position.template
        indexed.subscriptions += 1
        self._templates[indexed.template] = indexed
        for index, keys in position.index_keys():
            index.add(keys, uuid)
            self._candidates.add(index)

    def remove(self, position: IndexPosition, uuid: UUID) -> None:
        """Remove a subscription from a position, and what is empty without it."""
        for index, keys in position.index_keys():
            index.remove(keys, uuid)
            if index.is_empty:
                self._candidates.remove(index)
        indexed = position.template
        indexed.subscriptions -= 1
        if not indexed.subscriptions:
            del self._templates[indexed.template]

    def _indexed(self, template: Template) -> IndexedTemplate:
        try:
            shape = shape_of(syntax_tree(template.numbered_text(), max_length=sys.maxsize))
        except ExpressionError:
            shape = None
        return IndexedTemplate(template, tuple(self._with_indexes(shape or ())))

    def _with_indexes(
        self, shape: Iterable[Alternative]
    ) -> Iterator[tuple[Alternative, "HashIndex"]]:
        new: dict[tuple[str, ...], HashIndex] = {}
        for alternative in shape:
            index = HashIndex(alternative.levels)
            yield (
                alternative,
                self._candidates.get(index.name) or new.setdefault(index.name, index),
            )


class HashIndex:
    """The subscriptions whose JSONPaths have the same levels; the texts of these are its name.

    It consists of nested dictionaries. Each level has one whose keys are what its operands have
    to equal and, if the level has comparisons, one inside it with the constants of these.
    """

    def __init__(self, levels: Sequence[Level]) -> None:
        self.name = tuple(level.text for level in levels)
        self.required_key = most_selective([key for level in levels for key in level.required_keys])
        self.cost = SearchCost()
        self._levels = levels
        self._top: dict[Any, Any] = {}
        self.size = 0

    @property
    def is_empty(self) -> bool:
        """Whether there is no subscription in it."""
        return not self._top

    def subscriptions(self) -> Iterator[UUID]:
        """Yield the subscriptions."""
        return _subscriptions_in(self._top)

    def add(self, keys: Sequence[Any], uuid: UUID) -> None:
        """Add a subscription under a series of keys."""
        self.size += 1
        node = self._top
        for key in keys[:-1]:
            node = node.setdefault(key, {})
        found = node.get(keys[-1])
        if found is None or found == uuid:
            node[keys[-1]] = uuid
        elif isinstance(found, set):
            found.add(uuid)
        else:
            node[keys[-1]] = {found, uuid}

    def remove(self, keys: Sequence[Any], uuid: UUID) -> None:
        """Remove a subscription, if it is there, and the dictionaries that are empty without it."""
        nodes = [self._top]
        for key in keys[:-1]:
            if key not in nodes[-1]:
                return
            nodes.append(nodes[-1][key])
        self.size -= 1
        found = nodes[-1].get(keys[-1])
        if isinstance(found, set):
            found.discard(uuid)
        if not found or found == uuid:
            for node, key in zip(reversed(nodes), reversed(keys), strict=True):
                node.pop(key, None)
                if node:
                    break

    def search(self, event: Records, collector: MatchCollector) -> None:
        """Find the subscriptions that an event, the only record, matches.

        If a budget is exceeded before all records are listed, the search goes on with those that
        are. It is unfinished for the subscriptions that the missing records could match.
        """
        search = _Search(collector.matched)
        try:
            search.search(self._top, self._levels, event)
        except RecursionError:
            collector.errors.update(dict.fromkeys(self.subscriptions(), too_deep_to_evaluate()))
            return
        for node in search.unfinished:
            collector.unfinished.update(_subscriptions_in(node))


class _Search:
    """A search in progress: what it found, and which nodes it could not search completely."""

    def __init__(self, matched: set[UUID]) -> None:
        self.matched = matched
        self.unfinished: list[Node] = []

    def search(self, index: dict[Any, Any], levels: Sequence[Level], above: Records) -> None:
        """Search the dictionary of the first of these levels, given the records above it."""
        level, further = levels[0], levels[1:]
        records = above.select(level.path)
        if not records.complete:
            self.unfinished.append(index)
        keys = records.matching_keys(index, level.operands)
        if not keys:
            return
        if not (level.conditions or level.comparisons or further):
            for key in keys:
                self._found(index[key])
            return
        for key in keys:
            some = records.with_key(key, level.operands)
            passing = _passing(some, level, first_only=not (level.comparisons or further))
            if not passing.complete:
                self.unfinished.append(index[key])
            if passing.values:
                self._compare(index[key], level, further, passing)

    def _compare(
        self, node: Node, level: Level, further: Sequence[Level], records: Records
    ) -> None:
        """Continue with the nodes below for whose constants the comparisons hold."""
        try:
            if not (level.comparisons and isinstance(node, dict)):
                self._descend(node, further, records)
            elif further:
                for below, some in satisfied_with_records(node, level.comparisons, records):
                    self._descend(below, further, some)
            else:
                for subscriptions in satisfied(node, level.comparisons, records):
                    self._found(subscriptions)
        except BudgetExceeded:
            self.unfinished.append(node)

    def _descend(self, node: Node, further: Sequence[Level], records: Records) -> None:
        if isinstance(node, dict):
            self.search(node, further, records)
        else:
            self._found(node)

    def _found(self, subscriptions: Subscriptions) -> None:
        if isinstance(subscriptions, set):
            self.matched |= subscriptions
        else:
            self.matched.add(subscriptions)


def _passing(records: Records, level: Level, *, first_only: bool) -> Records:
    """Return the records for which the conditions hold, as far as the budget lasts."""
    if not level.conditions:
        return records
    context = records.new_context()
    values = []
    try:
        for value in records.values:
            if all(condition(value, context) for condition in level.conditions):
                values.append(value)
                if first_only:
                    break
    except BudgetExceeded:
        return records.subset(values, complete=False)
    return records.subset(values)


def _subscriptions_in(node: Node) -> Iterator[UUID]:
    """Yield the subscriptions of a node, at any depth."""
    if isinstance(node, UUID):
        yield node
    elif isinstance(node, set):
        yield from node
    else:
        for each in node.values():
            yield from _subscriptions_in(each)
