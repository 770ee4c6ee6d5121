"""Compile a JSONPath to a Python function that tells whether an event matches.

Each path becomes a `Selector`, which passes the values that jsonpath2 would yield, one by one and
in jsonpath2's order, to a function that accepts or refuses them. It stops at the first accepted
value. So what follows the first match is not evaluated, and cannot raise.
"""

from collections.abc import Callable, Sequence
from typing import Any

from jsonpath2.node import Node
from jsonpath2.nodes.recursivedescent import RecursiveDescentNode
from jsonpath2.nodes.root import RootNode
from jsonpath2.nodes.subscript import SubscriptNode
from jsonpath2.subscript import Subscript
from jsonpath2.subscripts.arrayindex import ArrayIndexSubscript
from jsonpath2.subscripts.arrayslice import ArraySliceSubscript
from jsonpath2.subscripts.callable import CallableSubscript
from jsonpath2.subscripts.filter import FilterSubscript
from jsonpath2.subscripts.node import NodeSubscript
from jsonpath2.subscripts.objectindex import ObjectIndexSubscript
from jsonpath2.subscripts.wildcard import WildcardSubscript

from pacifica.notifications.errors import ExpressionError
from pacifica.notifications.matching.conditions import compile_condition, compile_exists
from pacifica.notifications.matching.evaluation import (
    Accept,
    Condition,
    EvaluationContext,
    Selector,
    comparison_steps,
)
from pacifica.notifications.matching.operations import (
    ABSENT,
    FUNCTIONS,
    child,
    slice_indices,
    step_follower,
)
from pacifica.notifications.matching.parser import MAX_LENGTH, syntax_tree
from pacifica.notifications.matching.syntax_tree import path_nodes, single_step


def compile_jsonpath(text: str, max_length: int = MAX_LENGTH) -> Condition:
    """Parse and compile a JSONPath; raise `ExpressionError` if `syntax_tree` does."""
    return compile_tree(syntax_tree(text, max_length))


def compile_tree(tree: RootNode) -> Condition:
    """Compile a parsed JSONPath; raise `ExpressionError` if it is nested too deep."""
    try:
        return compile_exists(tree, compile_path)
    except RecursionError as error:
        raise ExpressionError("the JSONPath is nested too deep") from error


def compile_path(node: Node) -> Selector:
    """Compile a path that begins with `$` or `@`."""
    select = compile_nodes(path_nodes(node))
    if isinstance(node, RootNode):
        return lambda _value, context, accept: select(context.root, context, accept)
    return select


def compile_nodes(nodes: Sequence[Node]) -> Selector:
    """Compile consecutive nodes of a path, from the last to the first.

    It does not recurse along the path, so only nested brackets make it deep. Consecutive keys
    and indices become one function.
    """
    then: Selector = _accept_value
    steps: list[int | str] = []
    for node in reversed(nodes):
        step = single_step(node)
        if step is not None:
            steps.insert(0, step)
            continue
        then = _compile_node(node, _follow_steps(steps, then))
        steps = []
    return _follow_steps(steps, then)


def _accept_value(value: Any, _context: EvaluationContext, accept: Accept) -> bool:
    return accept(value)


def _follow_steps(steps: Sequence[int | str], then: Selector) -> Selector:
    if not steps:
        return then
    follow = step_follower(steps)
    cost = len(steps)

    def select(value: Any, context: EvaluationContext, accept: Accept) -> bool:
        context.spend(cost)
        found = follow(value)
        return found is not ABSENT and then(found, context, accept)

    return select


def _compile_node(node: Node, then: Selector) -> Selector:
    if isinstance(node, RecursiveDescentNode):
        return _descent(then)
    if not isinstance(node, SubscriptNode):
        raise ExpressionError(f"unknown kind of node: {type(node).__name__}")
    branches = [_compile_subscript(subscript, then) for subscript in node.subscripts]
    return branches[0] if len(branches) == 1 else _union(branches)


def _compile_subscript(subscript: Subscript, then: Selector) -> Selector:
    if isinstance(subscript, (ArrayIndexSubscript, ObjectIndexSubscript)):
        return _follow_steps([subscript.index], then)
    if isinstance(subscript, WildcardSubscript):
        return _wildcard(then)
    if isinstance(subscript, FilterSubscript):
        return _filter(compile_condition(subscript.expression, compile_path), then)
    if isinstance(subscript, ArraySliceSubscript):
        return _slice(subscript, then)
    if isinstance(subscript, NodeSubscript):
        return _computed_step(compile_path(subscript.next_node), then)
    if isinstance(subscript, CallableSubscript):
        return _call(subscript, then)
    raise ExpressionError(f"unknown kind of subscript: {type(subscript).__name__}")


def _union(branches: Sequence[Selector]) -> Selector:
    def select(value: Any, context: EvaluationContext, accept: Accept) -> bool:
        for branch in branches:
            context.spend(1)
            if branch(value, context, accept):
                return True
        return False

    return select


def _wildcard(then: Selector) -> Selector:
    def select(value: Any, context: EvaluationContext, accept: Accept) -> bool:
        if isinstance(value, dict):
            value = value.values()
        elif not isinstance(value, list):
            return False
        for element in value:
            context.spend(1)
            if then(element, context, accept):
                return True
        return False

    return select


def _descent(then: Selector) -> Selector:
    """Compile `..`, which selects the value and then everything inside it, depth first.

    It uses a stack of iterators, because events may be nested deeper than Python recurses.
    """

    def select(value: Any, context: EvaluationContext, accept: Accept) -> bool:
        levels = [iter([value])]
        while levels:
            for element in levels[-1]:
                context.spend(1)
                if then(element, context, accept):
                    return True
                if isinstance(element, dict):
                    levels.append(iter(element.values()))
                    break
                if isinstance(element, list):
                    levels.append(iter(element))
                    break
            else:
                levels.pop()
        return False

    return select


def _filter(holds: Condition, then: Selector) -> Selector:
    """Compile `?(…)`, which in jsonpath2 tests the value itself and not its elements."""
    return lambda value, context, accept: holds(value, context) and then(value, context, accept)


def _slice(subscript: ArraySliceSubscript, then: Selector) -> Selector:
    start, end, step = subscript.start, subscript.end, subscript.step

    def select(value: Any, context: EvaluationContext, accept: Accept) -> bool:
        if not isinstance(value, list):
            return False
        for index in slice_indices(len(value), start, end, step):
            context.spend(1)
            if then(value[index], context, accept):
                return True
        return False

    return select


def _computed_step(path: Selector, then: Selector) -> Selector:
    """Compile a path in brackets, `[@.name]`, whose values are used as keys or indices."""

    def select(value: Any, context: EvaluationContext, accept: Accept) -> bool:
        def is_accepted(step: Any) -> bool:
            context.spend(comparison_steps(step))
            if not isinstance(step, (int, str)):
                return False
            found = child(value, step)
            return found is not ABSENT and then(found, context, accept)

        context.spend(1)
        return path(value, context, is_accepted)

    return select


def _call(subscript: CallableSubscript, then: Selector) -> Selector:
    """Compile a function such as `[substring(1)]`.

    jsonpath2 evaluates all arguments before it checks the value and the number of arguments, so
    an argument that raises always does.
    """
    if type(subscript) not in FUNCTIONS:
        raise ExpressionError(f"unknown function: {type(subscript).__name__}")
    results = FUNCTIONS[type(subscript)]
    arguments = [_argument(argument) for argument in subscript.args]

    def select(value: Any, context: EvaluationContext, accept: Accept) -> bool:
        context.spend(1)
        values = [argument(value, context) for argument in arguments]
        return any(then(result, context, accept) for result in results(value, values, context))

    return select


def _argument(argument: Any) -> Callable[[Any, EvaluationContext], list[int]]:
    """Compile an argument to a function that lists its integer values.

    No function of the grammar accepts other values.
    """
    if not isinstance(argument, Node):
        literal = [argument] if isinstance(argument, int) else []
        return lambda _value, _context: literal
    select = compile_path(argument)

    def integers(value: Any, context: EvaluationContext) -> list[int]:
        found: list[int] = []

        def collect(candidate: Any) -> bool:
            context.spend(1)
            if isinstance(candidate, int):
                found.append(candidate)
            return False

        select(value, context, collect)
        return found

    return integers
