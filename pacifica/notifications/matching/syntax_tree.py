"""Answer questions about a jsonpath2 syntax tree without evaluating it."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from jsonpath2.expression import Expression
from jsonpath2.expressions.operator import (
    AndVariadicOperatorExpression,
    BinaryOperatorExpression,
)
from jsonpath2.expressions.some import SomeExpression
from jsonpath2.node import Node
from jsonpath2.nodes.recursivedescent import RecursiveDescentNode
from jsonpath2.nodes.subscript import SubscriptNode
from jsonpath2.nodes.terminal import TerminalNode
from jsonpath2.subscript import Subscript
from jsonpath2.subscripts.arrayindex import ArrayIndexSubscript
from jsonpath2.subscripts.arrayslice import ArraySliceSubscript
from jsonpath2.subscripts.filter import FilterSubscript
from jsonpath2.subscripts.objectindex import ObjectIndexSubscript

# The attributes in which jsonpath2's classes keep their parts.
_ATTRIBUTES = (
    "next_node",
    "next_node_or_value",
    "left_node_or_value",
    "right_node_or_value",
    "expression",
)
_LISTS = ("subscripts", "expressions", "args")


def path_nodes(start: Node) -> list[Node]:
    """Return the nodes that follow the `$` or `@` of a path, one for each step."""
    nodes = []
    node = start.next_node
    while not isinstance(node, TerminalNode):
        nodes.append(node)
        node = node.next_node
    return nodes


def descendants(tree: Any) -> Iterator[Any]:
    """Yield a node, subscript or condition, and all of these inside it."""
    pending = [tree]
    while pending:
        part = pending.pop()
        yield part
        inner = [getattr(part, name, None) for name in _ATTRIBUTES]
        for name in _LISTS:
            inner += getattr(part, name, ())
        pending += [each for each in inner if isinstance(each, (Node, Subscript, Expression))]


def can_raise(tree: Any) -> bool:
    """Return whether an evaluation could raise: only a slice whose step is 0 does."""
    return any(
        isinstance(part, ArraySliceSubscript) and part.step == 0 for part in descendants(tree)
    )


def single_step(node: Node) -> int | str | None:
    """Return the key or index of a node that selects by exactly one, else `None`."""
    if isinstance(node, SubscriptNode) and len(node.subscripts) == 1:
        subscript = node.subscripts[0]
        if isinstance(subscript, (ArrayIndexSubscript, ObjectIndexSubscript)):
            return subscript.index
    return None


def singular_steps(nodes: Sequence[Node]) -> tuple[int | str, ...] | None:
    """Return the steps of a path of keys and indices alone, else `None`.

    Such a path selects one value at most (a singular query in RFC 9535, section 2.3.5.1).
    """
    steps = [step for step in map(single_step, nodes) if step is not None]
    return tuple(steps) if len(steps) == len(nodes) else None


def text_of(nodes: Iterable[Node]) -> str:
    """Return the text of consecutive nodes, which is the same for all spellings."""
    return "".join(_node_text(node) for node in nodes)


def _node_text(node: Node) -> str:
    if isinstance(node, RecursiveDescentNode):
        return ".."
    return f"[{','.join(''.join(each.__jsonpath__()) for each in node.subscripts)}]"


def required_keys(nodes: Iterable[Node]) -> list[str]:
    """Return member names without which a path selects nothing."""
    keys = []
    for node in nodes:
        if not isinstance(node, SubscriptNode) or len(node.subscripts) != 1:
            continue
        subscript = node.subscripts[0]
        if isinstance(subscript, ObjectIndexSubscript):
            keys.append(subscript.index)
        elif isinstance(subscript, FilterSubscript):
            keys += required_keys_of_condition(subscript.expression)
    return keys


def required_keys_of_condition(expression: Expression) -> list[str]:
    """Return member names without which a condition does not hold."""
    if isinstance(expression, AndVariadicOperatorExpression):
        return [key for part in expression.expressions for key in required_keys_of_condition(part)]
    if isinstance(expression, SomeExpression):
        operands = [expression.next_node_or_value]
    elif isinstance(expression, BinaryOperatorExpression):
        operands = [expression.left_node_or_value, expression.right_node_or_value]
    else:
        return []
    paths = [operand for operand in operands if isinstance(operand, Node)]
    return [key for path in paths for key in required_keys(path_nodes(path))]
