"""Compile the conditions of a filter, `?(…)`, to functions that test one value."""

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
from pacifica.notifications.matching.evaluation import (
    Accept,
    Condition,
    EvaluationContext,
    Selector,
    comparison_steps,
)
from pacifica.notifications.matching.operations import ABSENT, equal, step_follower
from pacifica.notifications.matching.syntax_tree import path_nodes, singular_steps

#: Compiles a path; `compiler.compile_path`, which itself needs this module.
PathCompiler = Callable[[Node], Selector]


def compile_condition(expression: Expression, compile_path: PathCompiler) -> Condition:
    """Compile the condition between the parentheses of a filter."""
    if isinstance(expression, SomeExpression):
        return compile_exists(expression.next_node_or_value, compile_path)
    if isinstance(expression, BinaryOperatorExpression):
        return _comparison(expression, compile_path)
    if isinstance(expression, NotUnaryOperatorExpression):
        return _negation(compile_condition(expression.expression, compile_path))
    if isinstance(expression, AndVariadicOperatorExpression):
        return _conjunction(
            [compile_condition(part, compile_path) for part in expression.expressions]
        )
    if isinstance(expression, OrVariadicOperatorExpression):
        return _disjunction(
            [compile_condition(part, compile_path) for part in expression.expressions]
        )
    raise ExpressionError(f"unknown kind of condition: {type(expression).__name__}")


def compile_exists(operand: Any, compile_path: PathCompiler) -> Condition:
    """Compile the test whether a path selects a value, or whether a plain value is true."""
    if isinstance(operand, Node):
        return _any_value(operand, compile_path, lambda _: True)
    return _constant(bool(operand))


def _constant(result: bool) -> Condition:
    def test(_value: Any, context: EvaluationContext) -> bool:
        context.spend(1)
        return result

    return test


def _negation(operand: Condition) -> Condition:
    return lambda value, context: not operand(value, context)


def _conjunction(operands: Sequence[Condition]) -> Condition:
    def test(value: Any, context: EvaluationContext) -> bool:
        for operand in operands:  # noqa: SIM110 - all() and a generator take twice as long
            if not operand(value, context):
                return False
        return True

    return test


def _disjunction(operands: Sequence[Condition]) -> Condition:
    def test(value: Any, context: EvaluationContext) -> bool:
        for operand in operands:  # noqa: SIM110 - any() and a generator take twice as long
            if operand(value, context):
                return True
        return False

    return test


def _comparison(expression: BinaryOperatorExpression, compile_path: PathCompiler) -> Condition:
    left, right = expression.left_node_or_value, expression.right_node_or_value
    if isinstance(left, Node) and _is_cheap(right):
        return _any_value(
            left, compile_path, _compared_to(right, expression, literal_is_left=False)
        )
    if isinstance(right, Node) and _is_cheap(left):
        return _any_value(right, compile_path, _compared_to(left, expression, literal_is_left=True))
    if isinstance(left, Node) or isinstance(right, Node):
        return _any_pair(expression, compile_path)
    return _constant(expression.callback(left, right))


def _is_cheap(operand: Any) -> bool:
    """Return whether comparing an operand costs one step, whatever it is compared to."""
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


def _any_value(node: Node, compile_path: PathCompiler, accept: Accept) -> Condition:
    """Compile the test whether `accept` accepts a value of a path."""
    steps = singular_steps(path_nodes(node))
    if steps is None:
        select = compile_path(node)

        def test(value: Any, context: EvaluationContext) -> bool:
            context.spend(1)
            return select(value, context, accept)

        return test

    follow = step_follower(steps)
    cost = 1 + len(steps)
    from_root = isinstance(node, RootNode)

    def follow_and_accept(value: Any, context: EvaluationContext) -> bool:
        context.spend(cost)
        found = follow(context.root if from_root else value)
        return found is not ABSENT and accept(found)

    return follow_and_accept


def _any_pair(expression: BinaryOperatorExpression, compile_path: PathCompiler) -> Condition:
    """Compile a comparison of two paths, or of a path and a value that takes many steps.

    jsonpath2 gets the values of a path on the right from one generator, and the first value on
    the left exhausts it. So the further values on the left are compared to nothing. They are
    evaluated all the same, which may raise. A plain value on the right is compared to each.
    """
    select_left = _operand(expression.left_node_or_value, compile_path)
    select_right = _operand(expression.right_node_or_value, compile_path)
    right_is_generator = isinstance(expression.right_node_or_value, Node)
    holds = _counted_comparison(expression)

    def test(value: Any, context: EvaluationContext) -> bool:
        exhausted = False

        def matches_right(left: Any) -> bool:
            nonlocal exhausted
            if exhausted:
                return False
            exhausted = right_is_generator
            return select_right(value, context, lambda right: holds(left, right, context))

        context.spend(1)
        return select_left(value, context, matches_right)

    return test


def _operand(operand: Any, compile_path: PathCompiler) -> Selector:
    if isinstance(operand, Node):
        return compile_path(operand)
    return lambda _value, _context, accept: accept(operand)


def _counted_comparison(
    expression: BinaryOperatorExpression,
) -> Callable[[Any, Any, EvaluationContext], bool]:
    if isinstance(expression, EqualBinaryOperatorExpression):
        return equal
    if isinstance(expression, NotEqualBinaryOperatorExpression):
        return lambda left, right, context: not equal(left, right, context)

    def ordered(left: Any, right: Any, context: EvaluationContext) -> bool:
        context.spend(1)
        return expression.callback(left, right)

    return ordered
