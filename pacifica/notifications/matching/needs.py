"""What an event must have to match a JSONPath at all: the cheap question before the exact one."""

from collections.abc import Iterable, Sequence
from typing import Any

from jsonpath2.expression import Expression
from jsonpath2.expressions.operator import (
    AndVariadicOperatorExpression,
    BinaryOperatorExpression,
)
from jsonpath2.expressions.some import SomeExpression
from jsonpath2.node import Node
from jsonpath2.nodes.subscript import SubscriptNode
from jsonpath2.subscripts.filter import FilterSubscript
from jsonpath2.subscripts.objectindex import ObjectIndexSubscript

from pacifica.notifications.matching.trees import chain


def keys_for_path(nodes: Iterable[Node]) -> list[str]:
    """Return member names without which a path leads nowhere."""
    keys = []
    for node in nodes:
        if not isinstance(node, SubscriptNode) or len(node.subscripts) != 1:
            continue
        subscript = node.subscripts[0]
        if isinstance(subscript, ObjectIndexSubscript):
            keys.append(subscript.index)
        elif isinstance(subscript, FilterSubscript):
            keys += keys_for_condition(subscript.expression)
    return keys


def keys_for_condition(expression: Expression) -> list[str]:
    """Return member names without which a condition does not hold."""
    if isinstance(expression, AndVariadicOperatorExpression):
        return [key for part in expression.expressions for key in keys_for_condition(part)]
    if isinstance(expression, SomeExpression):
        operands = [expression.next_node_or_value]
    elif isinstance(expression, BinaryOperatorExpression):
        operands = [expression.left_node_or_value, expression.right_node_or_value]
    else:
        return []
    paths = [operand for operand in operands if isinstance(operand, Node)]
    return [key for path in paths for key in keys_for_path(chain(path))]


def rarest(keys: Sequence[str]) -> str | None:
    """Return the key that the fewest events have, for all that can be told: the last."""
    return keys[-1] if keys else None


def keys_in(event: Any) -> set[str]:
    """Return all member names of an event, however deep it is."""
    keys: set[str] = set()
    waiting = [event]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            keys.update(value)
            value = value.values()
        elif not isinstance(value, list):
            continue
        waiting += [each for each in value if isinstance(each, (dict, list))]
    return keys
