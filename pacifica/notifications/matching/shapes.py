"""The shape of a JSONPath template: how the constants of all its JSONPaths are looked up at once.

A template is rewritten to alternatives, of which one is enough. Each is a series of tiers: a
path from the rows above to rows, and what must hold for one of them. Equality to a constant is
the key of a dictionary. So an event is walked once for all JSONPaths of a shape.
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

from pacifica.notifications.matching.claims import (
    Compared,
    Comparison,
    Equal,
    Holds,
    OutsideShapesError,
    Some,
    Way,
    all_of,
    exists,
    has_constant,
    limited,
    ways,
)
from pacifica.notifications.matching.paths import Operand, Path, path_of
from pacifica.notifications.matching.templates import Constant
from pacifica.notifications.matching.trees import can_raise, chain
from pacifica.notifications.matching.work import Test

_MOST_LEVELS = 3  # each may spend a budget of its own
_LONGEST_CHAIN = 100  # longer ones could make Python recurse too deep

#: Picks, from the constants of a JSONPath, those that are the key of one dictionary.
Picker = Callable[[tuple[Constant, ...]], Any]


@dataclass(frozen=True, slots=True)
class Tier:
    """What one level of rows must have: keys, then conditions without constants, then comparisons.

    Tiers of equal text are equal in all. `needs` are member names without which nothing has it.
    """

    text: str
    needs: tuple[str, ...]
    path: Path
    operands: tuple[Operand, ...]
    conditions: tuple[Test, ...]
    comparisons: tuple[Comparison, ...]


@dataclass(frozen=True, slots=True)
class Alternative:
    """Tiers, and which constants stand in which of their dictionaries."""

    tiers: tuple[Tier, ...]
    pickers: tuple[Picker, ...]

    def keys(self, constants: tuple[Constant, ...]) -> list[Any]:
        """Return the keys that lead through the tiers' dictionaries to a JSONPath's place."""
        return [pick(constants) for pick in self.pickers]


def alternatives(tree: RootNode) -> tuple[Alternative, ...] | None:
    """Return how to look up the JSONPaths of a template, given the one with numbers for constants.

    `None` where they have to be evaluated one by one. Among these are those that can raise: what
    an evaluation comes to before it raises depends on its constants.
    """
    nodes = chain(tree)
    if len(nodes) > _LONGEST_CHAIN or can_raise(tree):
        return None
    try:
        levels = _levels(nodes)
        if not 0 < len(levels) <= _MOST_LEVELS:
            return None
        paths = [level.path for level in levels]
        return tuple(
            _alternative(paths, way) for way in limited(product(*(level.ways for level in levels)))
        )
    except (OutsideShapesError, RecursionError):
        return None


@dataclass(slots=True)
class _Level:
    path: Path
    ways: list[Way]


def _levels(nodes: Sequence[Node]) -> list[_Level]:
    """Divide a chain at the filters that have constants."""
    levels: list[_Level] = []
    before: list[Node] = []
    for node in nodes:
        expression = _filter_with_constants(node)
        if expression is None:
            before.append(node)
        elif before or not levels:
            levels.append(_Level(path_of(before), ways(expression)))
            before = []
        else:  # two filters in a row test the same values
            levels[-1].ways = all_of([levels[-1].ways, ways(expression)])
    if before and levels:
        levels[-1].ways = all_of([levels[-1].ways, [[exists(before)]]])
    return levels


def _filter_with_constants(node: Node) -> Expression | None:
    if not isinstance(node, SubscriptNode) or not has_constant(*node.subscripts):
        return None
    if len(node.subscripts) > 1 or not isinstance(node.subscripts[0], FilterSubscript):
        raise OutsideShapesError
    return node.subscripts[0].expression


def _alternative(paths: Sequence[Path], ways: Sequence[Way]) -> Alternative:
    tiers: list[Tier] = []
    pickers: list[Picker] = []
    for number, (path, way) in enumerate(zip(paths, ways, strict=True), start=1):
        _add_tiers(tiers, pickers, path, way)
        some = [claim for claim in way if isinstance(claim, Some)]
        # What follows would go on from the values of the claim, and not from the row.
        if len(some) > 1 or (some and number < len(paths)):
            raise OutsideShapesError
        for claim in some:
            _add_tiers(tiers, pickers, claim.path, [claim.claim])
    return Alternative(tuple(tiers), tuple(pickers))


def _add_tiers(tiers: list[Tier], pickers: list[Picker], path: Path, way: Way) -> None:
    """Make one or two tiers of claims.

    The first of several equalities is a tier of its own: mostly it is the most general one, such
    as the kind of record. So the rows are divided by it once for all tables that begin with it.
    """
    equal = [claim for claim in way if isinstance(claim, Equal)]
    if len(equal) > 1:
        tiers.append(_tier(path, equal[:1], [], []))
        pickers.append(_key_picker(equal[:1]))
        path, equal = path_of([]), equal[1:]
    # In an order of their own, so that what is written in another one is the same tier.
    equal.sort(key=lambda claim: claim.operand.text)
    held = sorted((claim for claim in way if isinstance(claim, Holds)), key=lambda each: each.text)
    compared = [claim for claim in way if isinstance(claim, Compared)]
    compared.sort(key=lambda claim: claim.comparison.text)
    tiers.append(_tier(path, equal, held, [claim.comparison for claim in compared]))
    pickers.append(_key_picker(equal))
    if compared:
        pickers.append(_tuple_picker(compared))


def _tier(
    path: Path, equal: Sequence[Equal], held: Sequence[Holds], comparisons: Sequence[Comparison]
) -> Tier:
    operands = tuple(claim.operand for claim in equal)
    text = (
        path.text,
        [operand.text for operand in operands],
        [claim.text for claim in held],
        [comparison.text for comparison in comparisons],
    )
    needs = (
        *path.needs,
        *(key for claim in held for key in claim.needs),
        *(key for comparison in comparisons for key in comparison.needs),
        *(key for operand in operands for key in operand.needs),
    )
    conditions = tuple(claim.test for claim in held)
    return Tier(repr(text), needs, path, operands, conditions, tuple(comparisons))


def _key_picker(equal: Sequence[Equal]) -> Picker:
    """Return what picks the key of a row, as `Rows.hits` has it."""
    numbers = [claim.constant for claim in equal]
    return itemgetter(*numbers) if numbers else lambda _constants: ()


def _tuple_picker(compared: Sequence[Compared]) -> Picker:
    numbers = [claim.constant for claim in compared]
    return lambda constants: tuple(constants[number] for number in numbers)
