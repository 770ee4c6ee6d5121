"""Evaluate a compiled JSONPath on one event, within a work budget."""

from collections.abc import Callable
from typing import Any

from pacifica.notifications.errors import BudgetExceeded, ExpressionError

#: Steps that one evaluation may take. A step is a visited value, a produced index, a compared
#: element or an evaluated condition, and takes some tenths of a microsecond.
DEFAULT_BUDGET = 500_000
_STEPS_PER_VALUE = 8
_CHARACTERS_PER_STEP = 256  # that are copied or compared


class EvaluationContext:
    """The event that `$` stands for, and the steps that its evaluation may still take.

    It is mutable, because it counts. Each evaluation has its own.
    """

    __slots__ = ("budget", "remaining", "root")

    def __init__(self, root: Any, budget: int) -> None:
        self.root = root
        self.budget = budget
        self.remaining = budget

    def spend(self, steps: int) -> None:
        """Take `steps` from the budget; raise `BudgetExceeded` if fewer remain."""
        self.remaining -= steps
        if self.remaining < 0:
            raise BudgetExceeded(f"needs more than {self.budget} steps on this event")


#: Whether a value is one that a selector is searched for.
Accept = Callable[[Any], bool]
#: A compiled path. It passes the values that it selects, starting at the given value, to
#: `Accept`, until one is accepted; it returns whether one was.
Selector = Callable[[Any, EvaluationContext, Accept], bool]
#: A compiled condition: whether it holds for a value. For a whole JSONPath: whether it matches.
Condition = Callable[[Any, EvaluationContext], bool]


def budget_for(budget: int, values: int) -> int:
    """Return the budget for an event with so many values: at least 8 steps for each of them.

    An expression that looks at each value a few times needs fewer, so that no event is too large
    for it.
    """
    return max(budget, _STEPS_PER_VALUE * values)


def has_match(condition: Condition, event: Any, budget: int = DEFAULT_BUDGET) -> bool:
    """Return whether jsonpath2 would find at least one match in an event.

    The event is what `json.loads` returns. Raises `ExpressionError` where jsonpath2 would raise
    before its first match, and `BudgetExceeded` if more than `budget` steps are needed.
    """
    try:
        return condition(event, EvaluationContext(event, budget))
    except RecursionError as error:
        raise too_deep_to_evaluate() from error


def too_deep_to_evaluate() -> ExpressionError:
    """Return the error that an evaluation reached Python's recursion limit."""
    return ExpressionError("the JSONPath is nested too deep to be evaluated")


def comparison_steps(value: Any) -> int:
    """Return the steps that comparing or copying a value costs, without its elements."""
    return 1 + len(value) // _CHARACTERS_PER_STEP if isinstance(value, str) else 1
