"""Rewrite a filter with constants to predicates on a record, in disjunctive normal form."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import chain, product
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
from jsonpath2.nodes.subscript import SubscriptNode
from jsonpath2.subscripts.wildcard import WildcardSubscript

from pacifica.notifications.matching.compiler import compile_nodes, compile_path
from pacifica.notifications.matching.conditions import compile_condition
from pacifica.notifications.matching.evaluation import Condition, EvaluationContext, Selector
from pacifica.notifications.matching.operations import ABSENT
from pacifica.notifications.matching.syntax_tree import (
    descendants,
    path_nodes,
    required_keys,
    required_keys_of_condition,
    singular_steps,
    text_of,
)
from pacifica.notifications.matching.template import Constant

_MAX_ALTERNATIVES = 16
# Each operator that compares numbers by their order, and the one that holds where it does not.
_NEGATED_ORDER = {"<": ">=", "<=": ">", ">": "<=", ">=": "<"}

_T = TypeVar("_T")


class NotIndexableError(Exception):
    """The JSONPaths of a template have no shape, and are evaluated one by one."""


@dataclass(frozen=True, slots=True)
class Path:
    """A path from a value to any number of others, with one text for all its spellings.

    `wildcard_steps` are the keys and indices of a path that is these and one `[*]` after them.
    `required_keys` are member names without which the path selects nothing.
    """

    text: str
    select: Selector = field(compare=False, repr=False)
    wildcard_steps: tuple[int | str, ...] | None
    required_keys: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Operand:
    """The left side of a comparison: keys and indices from the record, or from the event."""

    text: str
    steps: tuple[int | str, ...]
    from_root: bool

    @property
    def required_keys(self) -> list[str]:
        """Member names without which the operand has no value."""
        return [step for step in self.steps if isinstance(step, str)]


@dataclass(frozen=True, slots=True)
class Comparison:
    """A comparison with a constant that is not plain equality, so that no hash answers it.

    `order` is the operator if the order of numbers answers it. A negated comparison holds for what
    is not a number, too. `required_keys` are member names without which the comparison is false.
    """

    text: str
    operand: Operand
    holds: Callable[[Any, Constant], bool]
    order: str | None
    negated: bool
    required_keys: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class EqualityPredicate:
    """An operand equals a constant, which is given by its number in the template."""

    operand: Operand
    constant: int


@dataclass(frozen=True, slots=True)
class ComparisonPredicate:
    """A comparison with a constant holds, which is given by its number in the template."""

    comparison: Comparison
    constant: int


@dataclass(frozen=True, slots=True)
class ConditionPredicate:
    """A condition without constants holds."""

    text: str
    condition: Condition
    required_keys: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class AnyValuePredicate:
    """A predicate holds for at least one of the values that a path selects from the record."""

    path: Path
    predicate: EqualityPredicate | ComparisonPredicate


Predicate = EqualityPredicate | ComparisonPredicate | ConditionPredicate | AnyValuePredicate
#: Predicates that all have to hold.
Conjunction = Sequence[Predicate]


def has_constant(*trees: Any) -> bool:
    """Return whether there is a constant in subscripts or conditions."""
    return any(_constant_number(part) is not None for tree in trees for part in descendants(tree))


def disjunction(expression: Expression, *, negated: bool = False) -> list[Conjunction]:
    """Return the conjunctions of which one must hold for a condition or its negation.

    Raises `NotIndexableError` if the condition is not made of predicates, or if there are too
    many conjunctions.
    """
    if not has_constant(expression):
        return [[_condition_predicate(expression, negated=negated)]]
    if isinstance(expression, NotUnaryOperatorExpression):
        return disjunction(expression.expression, negated=not negated)
    if isinstance(expression, (AndVariadicOperatorExpression, OrVariadicOperatorExpression)):
        parts = [disjunction(part, negated=negated) for part in expression.expressions]
        # De Morgan: a negated `or` is an `and` of negated parts.
        if isinstance(expression, OrVariadicOperatorExpression) == negated:
            return conjoined(parts)
        return bounded(chain.from_iterable(parts))
    return [[_predicate(expression, negated=negated)]]


def conjoined(disjunctions: Sequence[list[Conjunction]]) -> list[Conjunction]:
    """Return the disjunction that holds if all these do."""
    return [list(chain.from_iterable(each)) for each in bounded(product(*disjunctions))]


def bounded(alternatives: Iterable[_T]) -> list[_T]:
    """Return all alternatives; raise `NotIndexableError` if there are more than 16.

    A few conditions can have millions.
    """
    kept = []
    for alternative in alternatives:
        kept.append(alternative)
        if len(kept) > _MAX_ALTERNATIVES:
            raise NotIndexableError
    return kept


def path_exists(nodes: Sequence[Node]) -> ConditionPredicate:
    """Return the predicate that a path selects at least one value."""
    select = compile_nodes(nodes)

    def condition(value: Any, context: EvaluationContext) -> bool:
        context.spend(1)
        return select(value, context, lambda _: True)

    return ConditionPredicate(f"@{text_of(nodes)}", condition, tuple(required_keys(nodes)))


def path_of(nodes: Sequence[Node]) -> Path:
    """Return the path that consecutive nodes make."""
    return Path(
        text_of(nodes), compile_nodes(nodes), _wildcard_steps(nodes), tuple(required_keys(nodes))
    )


def _wildcard_steps(nodes: Sequence[Node]) -> tuple[int | str, ...] | None:
    if not nodes or not isinstance(nodes[-1], SubscriptNode):
        return None
    last = nodes[-1].subscripts
    if len(last) != 1 or not isinstance(last[0], WildcardSubscript):
        return None
    return singular_steps(nodes[:-1])


def _constant_number(part: Any) -> int | None:
    """Return the number of a comparison's constant: a numbered template has it for a string."""
    if isinstance(part, BinaryOperatorExpression) and isinstance(part.right_node_or_value, str):
        return int(part.right_node_or_value)
    return None


def _condition_predicate(expression: Expression, *, negated: bool) -> ConditionPredicate:
    condition = compile_condition(expression, compile_path)
    text = "".join(expression.__jsonpath__())
    if not negated:
        return ConditionPredicate(text, condition, tuple(required_keys_of_condition(expression)))
    return ConditionPredicate(
        f"not ({text})", lambda value, context: not condition(value, context), ()
    )


def _predicate(expression: Expression, *, negated: bool) -> Predicate:
    constant = _constant_number(expression)
    if constant is None:
        raise NotIndexableError
    left = expression.left_node_or_value
    if not isinstance(left, Node) or has_constant(left):
        raise NotIndexableError
    nodes, from_root = path_nodes(left), isinstance(left, RootNode)
    steps = singular_steps(nodes)
    if steps is not None:
        operand = Operand("".join(left.__jsonpath__()), steps, from_root)
        return _comparison_predicate(expression, operand, constant, negated=negated)
    if from_root or negated:
        raise NotIndexableError
    itself = Operand("@", (), from_root=False)
    return AnyValuePredicate(
        path_of(nodes), _comparison_predicate(expression, itself, constant, negated=False)
    )


def _comparison_predicate(
    expression: BinaryOperatorExpression, operand: Operand, constant: int, *, negated: bool
) -> EqualityPredicate | ComparisonPredicate:
    if isinstance(expression, EqualBinaryOperatorExpression) and not negated:
        return EqualityPredicate(operand, constant)
    compare, operator = expression.callback, expression.token
    text = f"{operand.text} {operator}"
    if negated:
        holds, order = _absent_or_not(compare), _NEGATED_ORDER.get(operator)
        comparison = Comparison(f"not {text}", operand, holds, order, True, ())
    else:
        holds, order = _present_and(compare), operator if operator in _NEGATED_ORDER else None
        comparison = Comparison(text, operand, holds, order, False, tuple(operand.required_keys))
    return ComparisonPredicate(comparison, constant)


def _present_and(compare: Callable[[Any, Any], bool]) -> Callable[[Any, Constant], bool]:
    return lambda value, constant: value is not ABSENT and compare(value, constant)


def _absent_or_not(compare: Callable[[Any, Any], bool]) -> Callable[[Any, Constant], bool]:
    return lambda value, constant: value is ABSENT or not compare(value, constant)
