"""One evaluation of a compiled JSONPath on one event, and the budget of steps it may spend."""

from collections.abc import Callable
from typing import Any

from pacifica.notifications.errors import BudgetExceeded

#: Steps that one evaluation may take. A step is a visited value, a produced index, a compared
#: element or an evaluated condition, and takes some tenths of a microsecond.
DEFAULT_BUDGET = 500_000

#: Characters that are copied or compared for one step.
_CHARACTERS_PER_STEP = 256


class Work:
    """One evaluation under way: the event that `$` stands for, and the steps left.

    Not frozen, for it counts; one evaluation makes it and drops it.
    """

    __slots__ = ("budget", "left", "root")

    def __init__(self, root: Any, budget: int) -> None:
        self.root = root
        self.budget = budget
        self.left = budget

    def spend(self, steps: int) -> None:
        """Take `steps` from the budget, or raise `BudgetExceeded` where it has too few."""
        self.left -= steps
        if self.left < 0:
            raise exceeded(self.budget)


def exceeded(budget: int) -> BudgetExceeded:
    """Return the error that more steps are needed than there are."""
    return BudgetExceeded(f"needs more than {budget} steps on this event")


#: Whether a value is what a walk looks for.
Accept = Callable[[Any], bool]
#: Offers the values of a path, starting at a value; returns whether one was accepted.
Walk = Callable[[Any, Work, Accept], bool]
#: Whether a condition holds for a value; of a whole JSONPath, whether it has a match.
Test = Callable[[Any, Work], bool]


def comparison_steps(value: Any) -> int:
    """Return what it costs to compare or copy a value, its elements apart."""
    return 1 + len(value) // _CHARACTERS_PER_STEP if isinstance(value, str) else 1
