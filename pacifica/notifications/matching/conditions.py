"""Compiling the conditions of a filter, `?(…)`, to functions that test one value."""

from collections.abc import Callable, Sequence
from functools import partial
from operator import eq, ne
from typing import Any

from jsonpath2.expression import Expression
from jsonpath2.expressions.operator import (
    AndVariadicOperatorExpression,
    BinaryOperatorExpression,
    EqualBinaryOperatorExpression,
    NotEqualBinaryOperatorExpression,
    NotUnaryOperatorExpression,
    OrVariadicOperatorExpression,
)
from jsonpath2.expressions.some import SomeExpression
from jsonpath2.node import Node
from jsonpath2.nodes.root import RootNode

from pacifica.notifications.errors import ExpressionError
from pacifica.notifications.matching.trees import chain
from pacifica.notifications.matching.values import ABSENT, equal, fetcher, only_step
from pacifica.notifications.matching.work import Accept, Test, Walk, Work, comparison_steps

#: Compiles the path that a root or a current node starts.
Paths = Callable[[Node], Walk]


def condition(expression: Expression, paths: Paths) -> Test:
    """Compile what stands between the parentheses of a filter."""
    if isinstance(expression, SomeExpression):
        return exists(expression.next_node_or_value, paths)
    if isinstance(expression, BinaryOperatorExpression):
        return _comparison(expression, paths)
    if isinstance(expression, NotUnaryOperatorExpression):
        return _negation(condition(expression.expression, paths))
    if isinstance(expression, AndVariadicOperatorExpression):
        return _conjunction([condition(part, paths) for part in expression.expressions])
    if isinstance(expression, OrVariadicOperatorExpression):
        return _disjunction([condition(part, paths) for part in expression.expressions])
    raise ExpressionError(f"unknown kind of condition: {type(expression).__name__}")


def exists(operand: Any, paths: Paths) -> Test:
    """Compile the test whether a path has a match; a plain value is one if Python takes it so."""
    if isinstance(operand, Node):
        return _any_value(operand, paths, lambda _: True)
    return _constant(bool(operand))


def _constant(outcome: bool) -> Test:
    def test(_value: Any, work: Work) -> bool:
        work.spend(1)
        return outcome

    return test


def _negation(operand: Test) -> Test:
    return lambda value, work: not operand(value, work)


def _conjunction(operands: Sequence[Test]) -> Test:
    def test(value: Any, work: Work) -> bool:
        for operand in operands:  # noqa: SIM110 - all() and a generator take twice as long
            if not operand(value, work):
                return False
        return True

    return test


def _disjunction(operands: Sequence[Test]) -> Test:
    def test(value: Any, work: Work) -> bool:
        for operand in operands:  # noqa: SIM110 - any() and a generator take twice as long
            if operand(value, work):
                return True
        return False

    return test


def _comparison(expression: BinaryOperatorExpression, paths: Paths) -> Test:
    left, right = expression.left_node_or_value, expression.right_node_or_value
    if isinstance(left, Node) and _is_cheap(right):
        return _any_value(left, paths, _compared_to(right, expression, literal_is_left=False))
    if isinstance(right, Node) and _is_cheap(left):
        return _any_value(right, paths, _compared_to(left, expression, literal_is_left=True))
    if isinstance(left, Node) or isinstance(right, Node):
        return _any_pair(expression, paths)
    return _constant(expression.callback(left, right))


def _is_cheap(operand: Any) -> bool:
    """Tell a value that is compared in one step, whatever it is compared to."""
    return not isinstance(operand, (Node, dict, list)) and comparison_steps(operand) == 1


def _compared_to(
    literal: Any, expression: BinaryOperatorExpression, *, literal_is_left: bool
) -> Accept:
    if isinstance(expression, EqualBinaryOperatorExpression):
        return partial(eq, literal)
    if isinstance(expression, NotEqualBinaryOperatorExpression):
        return partial(ne, literal)
    holds = expression.callback
    if literal_is_left:
        return partial(holds, literal)
    return lambda value: holds(value, literal)


def _any_value(node: Node, paths: Paths, accept: Accept) -> Test:
    """Compile the test whether a path has a value that `accept` takes."""
    steps = definite_steps(node)
    if steps is None:
        walk = paths(node)

        def test(value: Any, work: Work) -> bool:
            work.spend(1)
            return walk(value, work, accept)

        return test

    fetch = fetcher(steps)
    cost = 1 + len(steps)
    from_root = isinstance(node, RootNode)

    def fetch_and_test(value: Any, work: Work) -> bool:
        work.spend(cost)
        found = fetch(work.root if from_root else value)
        return found is not ABSENT and accept(found)

    return fetch_and_test


def definite_steps(node: Node) -> list[int | str] | None:
    """Return the steps of a path that is only keys and indices: it has one value at most."""
    steps = [only_step(each) for each in chain(node)]
    found = [step for step in steps if step is not None]
    return found if len(found) == len(steps) else None


def _any_pair(expression: BinaryOperatorExpression, paths: Paths) -> Test:
    """Compile a comparison of two paths, or of a path and a value that takes many steps.

    jsonpath2 gets the values of a path on the right from one generator, which the first value
    on the left uses up: the others find nothing left to be compared to. Yet they are produced,
    and that may raise. A plain value on the right is there for each.
    """
    left_walk = _operand(expression.left_node_or_value, paths)
    right_walk = _operand(expression.right_node_or_value, paths)
    right_runs_out = isinstance(expression.right_node_or_value, Node)
    holds = _counted(expression)

    def test(value: Any, work: Work) -> bool:
        ran_out = False

        def is_half_of_a_pair(left: Any) -> bool:
            nonlocal ran_out
            if ran_out:
                return False
            ran_out = right_runs_out
            return right_walk(value, work, lambda right: holds(left, right, work))

        work.spend(1)
        return left_walk(value, work, is_half_of_a_pair)

    return test


def _operand(operand: Any, paths: Paths) -> Walk:
    if isinstance(operand, Node):
        return paths(operand)
    return lambda _value, _work, accept: accept(operand)


def _counted(expression: BinaryOperatorExpression) -> Callable[[Any, Any, Work], bool]:
    if isinstance(expression, EqualBinaryOperatorExpression):
        return equal
    if isinstance(expression, NotEqualBinaryOperatorExpression):
        return lambda left, right, work: not equal(left, right, work)

    def ordered(left: Any, right: Any, work: Work) -> bool:
        work.spend(1)
        return expression.callback(left, right)

    return ordered
