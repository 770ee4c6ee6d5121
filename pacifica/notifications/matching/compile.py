"""Compiling a JSONPath to a plain Python function that tests whether an event has a match.

Every path becomes a `Walk`: it offers the values that jsonpath2 would yield, one by one and in
jsonpath2's order, to a function that accepts or refuses them, and stops at the first accepted.
So what comes after the first match is not looked at, and cannot raise.
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
from pacifica.notifications.matching.conditions import condition, exists
from pacifica.notifications.matching.grammar import MAX_LENGTH, syntax_tree
from pacifica.notifications.matching.trees import chain
from pacifica.notifications.matching.values import (
    ABSENT,
    FUNCTIONS,
    child,
    fetcher,
    only_step,
    slice_indices,
)
from pacifica.notifications.matching.work import (
    DEFAULT_BUDGET,
    Accept,
    Test,
    Walk,
    Work,
    comparison_steps,
)


def compile_jsonpath(text: str, max_length: int = MAX_LENGTH) -> Test:
    """Parse and compile a JSONPath; raise `ExpressionError` as `syntax_tree` does."""
    return compile_tree(syntax_tree(text, max_length))


def compile_tree(tree: RootNode) -> Test:
    """Compile a parsed JSONPath; raise `ExpressionError` where it is nested too deep."""
    try:
        return exists(tree, path_walk)
    except RecursionError as error:
        raise ExpressionError("the JSONPath is nested too deep") from error


def has_match(test: Test, event: Any, budget: int = DEFAULT_BUDGET) -> bool:
    """Return whether jsonpath2 would find at least one match in an event.

    The event is what `json.loads` returns. Raises `ExpressionError` where jsonpath2 would raise
    before its first match, and `BudgetExceeded` past `budget` steps.
    """
    try:
        return test(event, Work(event, budget))
    except RecursionError as error:
        raise ExpressionError("the JSONPath is nested too deep to be evaluated") from error


def path_walk(node: Node) -> Walk:
    """Compile a path from its `$` or `@` on."""
    walk = chain_walk(chain(node))
    if isinstance(node, RootNode):
        return lambda _value, work, accept: walk(work.root, work, accept)
    return walk


def chain_walk(nodes: Sequence[Node]) -> Walk:
    """Compile nodes that follow each other, from the last to the first.

    Without recursion along the chain, so that only brackets in brackets make it deep. Keys and
    indices in a row become one function.
    """
    follow: Walk = _offer
    steps: list[int | str] = []
    for node in reversed(nodes):
        step = only_step(node)
        if step is not None:
            steps.insert(0, step)
            continue
        follow = _select(node, _fetch(steps, follow))
        steps = []
    return _fetch(steps, follow)


def _offer(value: Any, _work: Work, accept: Accept) -> bool:
    return accept(value)


def _fetch(steps: Sequence[int | str], follow: Walk) -> Walk:
    if not steps:
        return follow
    fetch = fetcher(steps)
    cost = len(steps)

    def walk(value: Any, work: Work, accept: Accept) -> bool:
        work.spend(cost)
        found = fetch(value)
        return found is not ABSENT and follow(found, work, accept)

    return walk


def _select(node: Node, follow: Walk) -> Walk:
    if isinstance(node, RecursiveDescentNode):
        return _descent(follow)
    if not isinstance(node, SubscriptNode):
        raise ExpressionError(f"unknown kind of node: {type(node).__name__}")
    branches = [_subscript(subscript, follow) for subscript in node.subscripts]
    return branches[0] if len(branches) == 1 else _union(branches)


def _subscript(subscript: Subscript, follow: Walk) -> Walk:
    if isinstance(subscript, (ArrayIndexSubscript, ObjectIndexSubscript)):
        return _fetch([subscript.index], follow)
    if isinstance(subscript, WildcardSubscript):
        return _wildcard(follow)
    if isinstance(subscript, FilterSubscript):
        return _filter(condition(subscript.expression, path_walk), follow)
    if isinstance(subscript, ArraySliceSubscript):
        return _slice(subscript, follow)
    if isinstance(subscript, NodeSubscript):
        return _computed_step(path_walk(subscript.next_node), follow)
    if isinstance(subscript, CallableSubscript):
        return _call(subscript, follow)
    raise ExpressionError(f"unknown kind of subscript: {type(subscript).__name__}")


def _union(branches: Sequence[Walk]) -> Walk:
    def walk(value: Any, work: Work, accept: Accept) -> bool:
        for branch in branches:
            work.spend(1)
            if branch(value, work, accept):
                return True
        return False

    return walk


def _wildcard(follow: Walk) -> Walk:
    def walk(value: Any, work: Work, accept: Accept) -> bool:
        if isinstance(value, dict):
            value = value.values()
        elif not isinstance(value, list):
            return False
        for element in value:
            work.spend(1)
            if follow(element, work, accept):
                return True
        return False

    return walk


def _descent(follow: Walk) -> Walk:
    """Compile `..`: the value itself, then all inside it, depth first.

    A stack of iterators and no recursion: events may be nested deeper than Python recurses.
    """

    def walk(value: Any, work: Work, accept: Accept) -> bool:
        levels = [iter([value])]
        while levels:
            for element in levels[-1]:
                work.spend(1)
                if follow(element, work, accept):
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

    return walk


def _filter(holds: Test, follow: Walk) -> Walk:
    """Compile `?(…)`, which tests the value itself and not what is in it."""
    return lambda value, work, accept: holds(value, work) and follow(value, work, accept)


def _slice(subscript: ArraySliceSubscript, follow: Walk) -> Walk:
    start, end, step = subscript.start, subscript.end, subscript.step

    def walk(value: Any, work: Work, accept: Accept) -> bool:
        if not isinstance(value, list):
            return False
        for index in slice_indices(len(value), start, end, step):
            work.spend(1)
            if follow(value[index], work, accept):
                return True
        return False

    return walk


def _computed_step(path: Walk, follow: Walk) -> Walk:
    """Compile a path in brackets, `[@.name]`: its values are the keys or indices."""

    def walk(value: Any, work: Work, accept: Accept) -> bool:
        def leads_to_accepted(step: Any) -> bool:
            work.spend(comparison_steps(step))
            if not isinstance(step, (int, str)):
                return False
            found = child(value, step)
            return found is not ABSENT and follow(found, work, accept)

        work.spend(1)
        return path(value, work, leads_to_accepted)

    return walk


def _call(subscript: CallableSubscript, follow: Walk) -> Walk:
    """Compile a function such as `[substring(1)]`.

    jsonpath2 collects all values of all arguments before it looks at the value or at how many
    arguments there are; so an argument that raises does so in any case.
    """
    if type(subscript) not in FUNCTIONS:
        raise ExpressionError(f"unknown function: {type(subscript).__name__}")
    results = FUNCTIONS[type(subscript)]
    arguments = [_argument(argument) for argument in subscript.args]

    def walk(value: Any, work: Work, accept: Accept) -> bool:
        work.spend(1)
        values = [argument(value, work) for argument in arguments]
        return any(follow(result, work, accept) for result in results(value, values, work))

    return walk


def _argument(argument: Any) -> Callable[[Any, Work], list[int]]:
    """Compile an argument to a function that lists those of its values that are integers.

    No function of the grammar takes any other.
    """
    if not isinstance(argument, Node):
        literal = [argument] if isinstance(argument, int) else []
        return lambda _value, _work: literal
    path = path_walk(argument)

    def integers(value: Any, work: Work) -> list[int]:
        found: list[int] = []

        def collect(candidate: Any) -> bool:
            work.spend(1)
            if isinstance(candidate, int):
                found.append(candidate)
            return False

        path(value, work, collect)
        return found

    return integers
