"""What a filter with constants says of a row, in disjunctive normal form."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import chain as joined
from itertools import product
from typing import Any, TypeVar

from jsonpath2.expression import Expression
from jsonpath2.expressions.operator import (
    AndVariadicOperatorExpression,
    BinaryOperatorExpression,
    EqualBinaryOperatorExpression,
    NotUnaryOperatorExpression,
    OrVariadicOperatorExpression,
)
from jsonpath2.node import Node
from jsonpath2.nodes.root import RootNode

from pacifica.notifications.matching.compile import chain_walk, path_walk
from pacifica.notifications.matching.conditions import condition
from pacifica.notifications.matching.needs import keys_for_condition, keys_for_path
from pacifica.notifications.matching.paths import (
    ITSELF,
    Operand,
    Path,
    operand_of,
    path_of,
    text_of,
)
from pacifica.notifications.matching.templates import Constant
from pacifica.notifications.matching.trees import chain, parts
from pacifica.notifications.matching.values import ABSENT
from pacifica.notifications.matching.work import Test, Work

_MOST_WAYS = 16
_ORDERS = ("<", "<=", ">", ">=")

_T = TypeVar("_T")


class OutsideShapesError(Exception):
    """A template whose JSONPaths have to be evaluated one by one."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """A comparison with a constant that is not plain equality, so that no dictionary answers it.

    `order` is its operator where the order of numbers answers it, `needs` are member names
    without which it is false.
    """

    text: str
    operand: Operand
    holds: Callable[[Any, Constant], bool]
    order: str | None
    needs: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Equal:
    """What an operand has is a constant, given by its number."""

    operand: Operand
    constant: int


@dataclass(frozen=True, slots=True)
class Compared:
    """What an operand has compares to a constant in some other way."""

    comparison: Comparison
    constant: int


@dataclass(frozen=True, slots=True)
class Holds:
    """A condition that has no constant holds."""

    text: str
    test: Test
    needs: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Some:
    """Of the values that a path has from the row on, a claim holds for one itself."""

    path: Path
    claim: Equal | Compared


Claim = Equal | Compared | Holds | Some
#: A way for a filter to hold: claims that all have to hold.
Way = Sequence[Claim]


def has_constant(*trees: Any) -> bool:
    """Tell whether there is a constant in subscripts or conditions."""
    return any(_constant(part) is not None for tree in trees for part in parts(tree))


def ways(expression: Expression, *, positive: bool = True) -> list[Way]:
    """Return the ways in which a condition holds or, not `positive`, in which it does not.

    Raises `OutsideShapesError` where they are not made of claims, or too many.
    """
    if not has_constant(expression):
        return [[_holds(expression, positive=positive)]]
    if isinstance(expression, NotUnaryOperatorExpression):
        return ways(expression.expression, positive=not positive)
    if isinstance(expression, (AndVariadicOperatorExpression, OrVariadicOperatorExpression)):
        each = [ways(part, positive=positive) for part in expression.expressions]
        if isinstance(expression, AndVariadicOperatorExpression) == positive:
            return all_of(each)
        return limited(joined.from_iterable(each))
    return [[_claim(expression, positive=positive)]]


def all_of(each: Sequence[list[Way]]) -> list[Way]:
    """Return the ways in which several conditions hold at once."""
    return [list(joined.from_iterable(together)) for together in limited(product(*each))]


def limited(ways: Iterable[_T]) -> list[_T]:
    """Return all ways, or raise `OutsideShapesError`: a few conditions can have millions."""
    kept = []
    for way in ways:
        kept.append(way)
        if len(kept) > _MOST_WAYS:
            raise OutsideShapesError
    return kept


def exists(nodes: Sequence[Node]) -> Holds:
    """Return the claim that a path leads somewhere."""
    walk = chain_walk(nodes)

    def test(value: Any, work: Work) -> bool:
        work.spend(1)
        return walk(value, work, lambda _: True)

    return Holds(f"@{text_of(nodes)}", test, tuple(keys_for_path(nodes)))


def _constant(part: Any) -> int | None:
    """Return the number of the constant of a comparison: it is what it has for a string."""
    if isinstance(part, BinaryOperatorExpression) and isinstance(part.right_node_or_value, str):
        return int(part.right_node_or_value)
    return None


def _holds(expression: Expression, *, positive: bool) -> Holds:
    test = condition(expression, path_walk)
    text = "".join(expression.__jsonpath__())
    if positive:
        return Holds(text, test, tuple(keys_for_condition(expression)))
    return Holds(f"not ({text})", lambda value, work: not test(value, work), ())


def _claim(expression: Expression, *, positive: bool) -> Claim:
    constant = _constant(expression)
    if constant is None:
        raise OutsideShapesError
    left = expression.left_node_or_value
    if not isinstance(left, Node) or has_constant(left):
        raise OutsideShapesError
    operand = operand_of(left)
    if operand is not None:
        return _compared(expression, operand, constant, positive=positive)
    if isinstance(left, RootNode) or not positive:
        raise OutsideShapesError
    return Some(path_of(chain(left)), _compared(expression, ITSELF, constant, positive=True))


def _compared(
    expression: BinaryOperatorExpression, operand: Operand, constant: int, *, positive: bool
) -> Equal | Compared:
    """Return what a comparison claims, which is false where its operand has nothing."""
    if positive and isinstance(expression, EqualBinaryOperatorExpression):
        return Equal(operand, constant)
    compare, order = expression.callback, expression.token
    text = f"{operand.text} {order}"
    if not positive:
        comparison = Comparison(f"not {text}", operand, _unless(compare), None, ())
    else:
        sorted_by = order if order in _ORDERS else None
        comparison = Comparison(text, operand, _if(compare), sorted_by, tuple(operand.needs))
    return Compared(comparison, constant)


def _if(compare: Callable[[Any, Any], bool]) -> Callable[[Any, Constant], bool]:
    return lambda value, constant: value is not ABSENT and compare(value, constant)


def _unless(compare: Callable[[Any, Any], bool]) -> Callable[[Any, Constant], bool]:
    return lambda value, constant: value is ABSENT or not compare(value, constant)
