"""Parse the JSONPath expressions of subscriptions, and test events with them."""

from dataclasses import dataclass, field
from typing import Any

from pacifica.notifications.matching import (
    DEFAULT_BUDGET,
    MAX_LENGTH,
    Condition,
    compile_jsonpath,
    has_match,
)

__all__ = ["DEFAULT_BUDGET", "MAX_LENGTH", "Expression", "find", "parse"]


@dataclass(frozen=True, slots=True)
class Expression:
    """A parsed JSONPath: its text, and a compiled test for a match."""

    text: str
    test: Condition = field(repr=False, compare=False)


def parse(jsonpath_str: str, max_length: int = MAX_LENGTH) -> Expression:
    """Parse a jsonpath2 expression; without a leading `$`, it starts at the root.

    So `data` is `$.data`, `data[0]` is `$.data[0]`, and `[0]` is `$[0]`. It is thread-safe. Raises
    `ExpressionError`, with a message of one line, if the expression is not a string, is empty, is
    longer than `max_length` characters, is nested too deep, starts with `@`, or is not in
    jsonpath2's grammar.
    """
    return Expression(jsonpath_str, compile_jsonpath(jsonpath_str, max_length))


def find(expr: Expression, data: Any, budget: int = DEFAULT_BUDGET) -> bool:
    """Return whether jsonpath2 would find at least one match in `data`.

    `data` is a value from `json.loads`. The search ends at the first match. Raises
    `ExpressionError` if jsonpath2 would raise before the first match (a slice with step 0), and its
    subclass `BudgetExceeded` if more than `budget` steps are needed.
    """
    return has_match(expr.test, data, budget)
