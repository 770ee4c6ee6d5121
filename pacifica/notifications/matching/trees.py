"""What can be told of a jsonpath2 syntax tree without evaluating it."""

from collections.abc import Iterator
from typing import Any

from jsonpath2.expression import Expression
from jsonpath2.node import Node
from jsonpath2.nodes.terminal import TerminalNode
from jsonpath2.subscript import Subscript
from jsonpath2.subscripts.arrayslice import ArraySliceSubscript

# Where the classes of jsonpath2 keep what they are made of.
_ATTRIBUTES = (
    "next_node",
    "next_node_or_value",
    "left_node_or_value",
    "right_node_or_value",
    "expression",
)
_LISTS = ("subscripts", "expressions", "args")


def chain(node: Node) -> list[Node]:
    """Return what follows the `$` or `@` of a path, one node for each step."""
    nodes = []
    node = node.next_node
    while not isinstance(node, TerminalNode):
        nodes.append(node)
        node = node.next_node
    return nodes


def parts(tree: Any) -> Iterator[Any]:
    """Yield a node, subscript or condition and all of these that it is made of."""
    waiting = [tree]
    while waiting:
        part = waiting.pop()
        yield part
        inner = [getattr(part, name, None) for name in _ATTRIBUTES]
        for name in _LISTS:
            inner += getattr(part, name, ())
        waiting += [each for each in inner if isinstance(each, (Node, Subscript, Expression))]


def can_raise(tree: Any) -> bool:
    """Tell whether an evaluation could raise: for a slice whose step is 0."""
    return any(isinstance(part, ArraySliceSubscript) and part.step == 0 for part in parts(tree))
