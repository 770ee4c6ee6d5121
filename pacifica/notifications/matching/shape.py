"""Derive the shape of a template: how the constants of all its JSONPaths are looked up at once.

A template is rewritten to alternatives, of which one must match. An alternative is a series of
levels. A level is a path from the records of the level above to records, and predicates that one
of them must meet. Equality to a constant is the key of a hash index, so an event is scanned once
for all JSONPaths of a shape.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from operator import itemgetter
from typing import Any

from jsonpath2.expression import Expression
from jsonpath2.node import Node
from jsonpath2.nodes.root import RootNode
from jsonpath2.nodes.subscript import SubscriptNode
from jsonpath2.subscripts.filter import FilterSubscript

from pacifica.notifications.matching.evaluation import Condition
from pacifica.notifications.matching.predicates import (
    AnyValuePredicate,
    Comparison,
    ComparisonPredicate,
    ConditionPredicate,
    Conjunction,
    EqualityPredicate,
    NotIndexableError,
    Operand,
    Path,
    bounded,
    conjoined,
    disjunction,
    has_constant,
    path_exists,
    path_of,
)
from pacifica.notifications.matching.syntax_tree import can_raise, path_nodes
from pacifica.notifications.matching.template import Constant

_MAX_FILTERS = 3  # each may spend a budget of its own
_MAX_NODES = 100  # evaluating a longer path could reach Python's recursion limit

#: Picks, from the constants of a JSONPath, those that are one key of its hash index.
KeyExtractor = Callable[[tuple[Constant, ...]], Any]


@dataclass(frozen=True, slots=True)
class Level:
    """The records at the end of a path, and the predicates that one of them must meet.

    Operands are looked up first, then conditions without constants are evaluated, and then
    comparisons. Levels of equal text are equal in all. `required_keys` are member names without
    which no record meets the predicates.
    """

    text: str
    required_keys: tuple[str, ...]
    path: Path
    operands: tuple[Operand, ...]
    conditions: tuple[Condition, ...]
    comparisons: tuple[Comparison, ...]


@dataclass(frozen=True, slots=True)
class Alternative:
    """A series of levels, and which constants are the keys of its hash index."""

    levels: tuple[Level, ...]
    key_extractors: tuple[KeyExtractor, ...]

    def keys(self, constants: tuple[Constant, ...]) -> list[Any]:
        """Return the keys under which the subscriptions with these constants are."""
        return [extract(constants) for extract in self.key_extractors]


def shape_of(tree: RootNode) -> tuple[Alternative, ...] | None:
    """Return the alternatives of a template, whose tree has numbers for constants.

    Returns `None` if its JSONPaths have to be evaluated one by one. Those that can raise are
    among these: it depends on their constants what is found before they raise.
    """
    nodes = path_nodes(tree)
    if len(nodes) > _MAX_NODES or can_raise(tree):
        return None
    try:
        filters = _filters(nodes)
        if not 0 < len(filters) <= _MAX_FILTERS:
            return None
        paths = [each.path for each in filters]
        return tuple(
            _alternative(paths, conjunctions)
            for conjunctions in bounded(product(*(each.conjunctions for each in filters)))
        )
    except (NotIndexableError, RecursionError):
        return None


@dataclass(slots=True)
class _Filter:
    """The path to a filter, and the conjunctions of which one must hold there."""

    path: Path
    conjunctions: list[Conjunction]


def _filters(nodes: Sequence[Node]) -> list[_Filter]:
    """Divide a path at the filters that have constants."""
    filters: list[_Filter] = []
    before: list[Node] = []
    for node in nodes:
        expression = _filter_with_constants(node)
        if expression is None:
            before.append(node)
        elif before or not filters:
            filters.append(_Filter(path_of(before), disjunction(expression)))
            before = []
        else:  # two consecutive filters test the same values
            filters[-1].conjunctions = conjoined(
                [filters[-1].conjunctions, disjunction(expression)]
            )
    if before and filters:
        filters[-1].conjunctions = conjoined([filters[-1].conjunctions, [[path_exists(before)]]])
    return filters


def _filter_with_constants(node: Node) -> Expression | None:
    if not isinstance(node, SubscriptNode) or not has_constant(*node.subscripts):
        return None
    if len(node.subscripts) > 1 or not isinstance(node.subscripts[0], FilterSubscript):
        raise NotIndexableError
    return node.subscripts[0].expression


def _alternative(paths: Sequence[Path], conjunctions: Sequence[Conjunction]) -> Alternative:
    levels: list[Level] = []
    extractors: list[KeyExtractor] = []
    for number, (path, conjunction) in enumerate(zip(paths, conjunctions, strict=True), start=1):
        _add_levels(levels, extractors, path, conjunction)
        any_value = [each for each in conjunction if isinstance(each, AnyValuePredicate)]
        # A further level would start at the values of this predicate, and not at the record.
        if len(any_value) > 1 or (any_value and number < len(paths)):
            raise NotIndexableError
        for each in any_value:
            _add_levels(levels, extractors, each.path, [each.predicate])
    return Alternative(tuple(levels), tuple(extractors))


def _add_levels(
    levels: list[Level], extractors: list[KeyExtractor], path: Path, conjunction: Conjunction
) -> None:
    """Add one or two levels for a conjunction.

    The first of several equalities is a level of its own. It usually is the most general one,
    such as the kind of a record. So the records are grouped by it once for all hash indexes that
    begin with it.
    """
    equal = [each for each in conjunction if isinstance(each, EqualityPredicate)]
    if len(equal) > 1:
        levels.append(_level(path, equal[:1], [], []))
        extractors.append(_operand_key(equal[:1]))
        path, equal = path_of([]), equal[1:]
    # Sorted, so that a conjunction is the same level in whatever order it is written.
    equal.sort(key=lambda each: each.operand.text)
    conditions = [each for each in conjunction if isinstance(each, ConditionPredicate)]
    conditions.sort(key=lambda each: each.text)
    compared = [each for each in conjunction if isinstance(each, ComparisonPredicate)]
    compared.sort(key=lambda each: each.comparison.text)
    levels.append(_level(path, equal, conditions, [each.comparison for each in compared]))
    extractors.append(_operand_key(equal))
    if compared:
        extractors.append(_comparison_key(compared))


def _level(
    path: Path,
    equal: Sequence[EqualityPredicate],
    conditions: Sequence[ConditionPredicate],
    comparisons: Sequence[Comparison],
) -> Level:
    operands = tuple(each.operand for each in equal)
    parts = (conditions, comparisons, operands)
    text = (
        path.text,
        [operand.text for operand in operands],
        [condition.text for condition in conditions],
        [comparison.text for comparison in comparisons],
    )
    keys = (
        *path.required_keys,
        *(key for part in parts for each in part for key in each.required_keys),
    )
    return Level(
        repr(text),
        keys,
        path,
        operands,
        tuple(each.condition for each in conditions),
        tuple(comparisons),
    )


def _operand_key(equal: Sequence[EqualityPredicate]) -> KeyExtractor:
    """Return what picks the key of a record, as `Records.matching_keys` has it."""
    numbers = [each.constant for each in equal]
    return itemgetter(*numbers) if numbers else lambda _constants: ()


def _comparison_key(compared: Sequence[ComparisonPredicate]) -> KeyExtractor:
    numbers = [each.constant for each in compared]
    return lambda constants: tuple(constants[number] for number in numbers)
