"""Trace a JSONPath on one event: what each of its steps and conditions let through.

The values that a step selects are found for all values of the step before, in the order in which
jsonpath2 comes to them. So what is found in the end is what jsonpath2 finds.
"""

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, NamedTuple, Self

from jsonpath2.expression import Expression
from jsonpath2.expressions.operator import (
    AndVariadicOperatorExpression,
    NotUnaryOperatorExpression,
    OrVariadicOperatorExpression,
)
from jsonpath2.node import Node
from jsonpath2.nodes.recursivedescent import RecursiveDescentNode
from jsonpath2.subscript import Subscript
from jsonpath2.subscripts.arrayindex import ArrayIndexSubscript
from jsonpath2.subscripts.arrayslice import ArraySliceSubscript
from jsonpath2.subscripts.filter import FilterSubscript
from jsonpath2.subscripts.node import NodeSubscript
from jsonpath2.subscripts.objectindex import ObjectIndexSubscript
from jsonpath2.subscripts.wildcard import WildcardSubscript

from pacifica.notifications.errors import BudgetExceeded, ExpressionError
from pacifica.notifications.matching.compiler import compile_nodes, compile_path, compile_tree
from pacifica.notifications.matching.conditions import compile_condition
from pacifica.notifications.matching.evaluation import (
    DEFAULT_BUDGET,
    EvaluationContext,
    too_deep_to_evaluate,
)
from pacifica.notifications.matching.hints import condition_hint, step_hint
from pacifica.notifications.matching.operations import ABSENT, child, slice_indices
from pacifica.notifications.matching.parser import MAX_LENGTH, syntax_tree
from pacifica.notifications.matching.shape import shape_of
from pacifica.notifications.matching.syntax_tree import path_nodes, text_of
from pacifica.notifications.matching.template import split_template

#: How many of the found values a trace names.
MAX_FOUND = 20
# Of the values that a condition refuses, so many are looked at for a hint.
_MAX_REFUSED = 1000


class TraceResult(StrEnum):
    """Whether an event matches."""

    MATCH = "match"
    NO_MATCH = "no match"
    ERROR = "error"
    OVER_BUDGET = "over budget"


@dataclass(frozen=True)
class ConditionTrace:
    """A condition of a filter: for how many values it was tested, and for how many it held.

    `parts` are the conditions that it consists of; one is tested only where those before it leave
    the result open. `hint` says why it held for none, as far as can be told.
    """

    text: str
    tested: int
    held: int
    parts: tuple[Self, ...] = ()
    hint: str | None = None


@dataclass(frozen=True)
class StepTrace:
    """A step of a path: from how many values it started, and how many it selected."""

    text: str
    entered: int
    selected: int
    conditions: tuple[ConditionTrace, ...] = ()
    hint: str | None = None


class Found(NamedTuple):
    """A value that a JSONPath selects, with its path from the root."""

    path: str
    value: Any


@dataclass(frozen=True)
class Trace:
    """What became of a JSONPath on an event.

    `spent` is how many steps of the budget the match took. `found` are the first of `count` values.
    `is_complete` is false if the budget ended before the trace.
    """

    result: TraceResult
    steps: tuple[StepTrace, ...]
    found: tuple[Found, ...]
    count: int
    spent: int
    is_complete: bool = True
    error: str | None = None


def trace_jsonpath(
    text: str, event: Any, budget: int = DEFAULT_BUDGET, max_length: int = MAX_LENGTH
) -> Trace:
    """Trace a JSONPath on an event, which is what `json.loads` returns.

    Raises ExpressionError if the JSONPath does not parse.
    """
    tree = syntax_tree(text, max_length)
    context = EvaluationContext(event, budget)
    result, error = _result(compile_tree(tree), event, context)
    try:
        tracer = _Tracer([_Step(node) for node in path_nodes(tree)])
        tracer.run(event, EvaluationContext(event, budget))
        steps = tuple(step.result() for step in tracer.steps if step.is_reached)
    except RecursionError as failure:
        raise too_deep_to_evaluate() from failure
    return Trace(
        result,
        steps,
        tuple(Found(each.path(), each.value) for each in tracer.found[:MAX_FOUND]),
        len(tracer.found),
        budget - max(context.remaining, 0),
        tracer.is_complete,
        error,
    )


def is_indexed(text: str) -> bool:
    """Return whether a JSONPath is looked up with many others at once, and not evaluated alone."""
    template, constants = split_template(text)
    if not constants:
        return False
    return shape_of(syntax_tree(template.numbered_text(), sys.maxsize)) is not None


def _result(
    condition: Callable[[Any, EvaluationContext], bool], event: Any, context: EvaluationContext
) -> tuple[TraceResult, str | None]:
    try:
        matches = condition(event, context)
    except BudgetExceeded as error:
        return TraceResult.OVER_BUDGET, str(error)
    except ExpressionError as error:
        return TraceResult.ERROR, str(error)
    except RecursionError:
        return TraceResult.ERROR, str(too_deep_to_evaluate())
    return (TraceResult.MATCH if matches else TraceResult.NO_MATCH), None


class _Selected(NamedTuple):
    """A value, and the step that led to it from another."""

    value: Any
    step: str = "$"
    parent: Any = None

    def path(self) -> str:
        steps = []
        each: _Selected | None = self
        while each is not None:
            steps.append(each.step)
            each = each.parent
        return "".join(reversed(steps))


class _Tracer:
    """Follows the steps, all values of one before the next."""

    def __init__(self, steps: Sequence["_Step"]) -> None:
        self.steps = steps
        self.found: list[_Selected] = []
        self.is_complete = True

    def run(self, event: Any, context: EvaluationContext) -> None:
        selected = [_Selected(event)]
        for step in self.steps:
            try:
                selected = step.follow(selected, context)
            except BudgetExceeded:
                self.is_complete = False
                return
        self.found = selected


class _Step:
    """One step, and what it has selected."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self.is_reached = self._raised = False
        self._entered: list[_Selected] = []
        self._selected = 0
        self._filters: list[_TracedCondition] = []
        self._branches = (
            [_descend]
            if isinstance(node, RecursiveDescentNode)
            else [self._branch(subscript) for subscript in node.subscripts]
        )

    def follow(self, values: list[_Selected], context: EvaluationContext) -> list[_Selected]:
        """Return what the step selects from values.

        If it raises, nothing further is looked at, as jsonpath2 raises there. What was selected
        before counts.
        """
        self.is_reached = True
        self._entered = values
        selected: list[_Selected] = []
        try:
            for value in values:
                for branch in self._branches:
                    for each in branch(value, context):
                        context.spend(1)
                        selected.append(each)
                        self._selected += 1
        except BudgetExceeded:
            raise
        except ExpressionError:
            self._raised = True
        return selected

    def result(self) -> StepTrace:
        """Return what was counted, with hints."""
        is_dead_end = self._entered and not self._selected and not self._raised
        return StepTrace(
            text_of([self._node]),
            len(self._entered),
            self._selected,
            tuple(each.result() for each in self._filters),
            step_hint(self._node, [each.value for each in self._entered]) if is_dead_end else None,
        )

    def _branch(self, subscript: Subscript) -> "_Branch":
        if isinstance(subscript, (ArrayIndexSubscript, ObjectIndexSubscript)):
            return lambda value, _context: _children(value, [subscript.index])
        if isinstance(subscript, WildcardSubscript):
            return lambda value, _context: _children(value, _all_steps(value.value))
        if isinstance(subscript, ArraySliceSubscript):
            return lambda value, _context: _children(value, _sliced(subscript, value.value))
        if isinstance(subscript, NodeSubscript):
            return _Computed(subscript)
        if isinstance(subscript, FilterSubscript):
            condition = _TracedCondition(subscript.expression)
            self._filters.append(condition)
            return condition.filter
        return _Call(self._node, subscript)


_Branch = Callable[[_Selected, EvaluationContext], Iterator[_Selected]]


def _children(parent: _Selected, steps: Any) -> Iterator[_Selected]:
    for step in steps:
        found = child(parent.value, step)
        if found is not ABSENT:
            index = step + len(parent.value) if isinstance(step, int) and step < 0 else step
            yield _Selected(found, f"[{json.dumps(index)}]", parent)


def _all_steps(value: Any) -> Any:
    if isinstance(value, list):
        return range(len(value))
    return value if isinstance(value, dict) else ()


def _sliced(subscript: ArraySliceSubscript, value: Any) -> Any:
    if not isinstance(value, list):
        return ()
    return slice_indices(len(value), subscript.start, subscript.end, subscript.step)


def _descend(top: _Selected, _context: EvaluationContext) -> Iterator[_Selected]:
    levels = [iter([top])]
    while levels:
        selected = next(levels[-1], None)
        if selected is None:
            levels.pop()
            continue
        yield selected
        levels.append(_children(selected, _all_steps(selected.value)))


class _Computed:
    """A step such as `[@.name]`, whose values are keys or indices."""

    def __init__(self, subscript: NodeSubscript) -> None:
        self._select = compile_path(subscript.next_node)

    def __call__(self, value: _Selected, context: EvaluationContext) -> Iterator[_Selected]:
        steps: list[int | str] = []

        def collect(step: Any) -> bool:
            context.spend(1)
            if isinstance(step, (int, str)):
                steps.append(step)
            return False

        self._select(value.value, context, collect)
        return _children(value, steps)


class _Call:
    """A function such as `[length()]`."""

    def __init__(self, node: Node, subscript: Subscript) -> None:
        self._text = f"[{''.join(subscript.__jsonpath__())}]"
        alone = type(node)(None, [subscript])
        self._select = compile_nodes([alone])

    def __call__(self, value: _Selected, context: EvaluationContext) -> Iterator[_Selected]:
        results: list[Any] = []

        def collect(result: Any) -> bool:
            results.append(result)
            return False

        self._select(value.value, context, collect)
        return (_Selected(result, self._text, value) for result in results)


class _TracedCondition:
    """A condition that counts; it tests what the compiled one would, in the same order."""

    def __init__(self, expression: Expression) -> None:
        self._expression = expression
        self._parts: list[_TracedCondition] = []
        self._tested = self._held = 0
        self._refused: list[Any] = []
        self._root: Any = None
        if isinstance(expression, NotUnaryOperatorExpression):
            self._parts = [_TracedCondition(expression.expression)]
        elif isinstance(expression, (AndVariadicOperatorExpression, OrVariadicOperatorExpression)):
            self._parts = [_TracedCondition(part) for part in expression.expressions]
        else:
            self._holds = compile_condition(expression, compile_path)

    def filter(self, value: _Selected, context: EvaluationContext) -> Iterator[_Selected]:
        """Yield the value if the condition holds for it."""
        if self.test(value.value, context):
            yield value

    def test(self, value: Any, context: EvaluationContext) -> bool:
        self._tested += 1
        holds = self._test(value, context)
        self._held += holds
        if not holds and len(self._refused) < _MAX_REFUSED:
            self._refused.append(value)
            self._root = context.root
        return holds

    def result(self) -> ConditionTrace:
        is_dead_end = self._tested and not self._held
        return ConditionTrace(
            "".join(self._expression.__jsonpath__()),
            self._tested,
            self._held,
            tuple(each.result() for each in self._parts),
            condition_hint(self._expression, self._refused, self._root) if is_dead_end else None,
        )

    def _test(self, value: Any, context: EvaluationContext) -> bool:
        if isinstance(self._expression, AndVariadicOperatorExpression):
            return all(part.test(value, context) for part in self._parts)
        if isinstance(self._expression, OrVariadicOperatorExpression):
            return any(part.test(value, context) for part in self._parts)
        if self._parts:
            return not self._parts[0].test(value, context)
        return self._holds(value, context)
