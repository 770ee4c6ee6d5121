"""JSONPath expressions as subscriptions use them: parsed once, tested on any number of events."""

from dataclasses import dataclass, field
from typing import Any

from pacifica.notifications.matching.compile import compile_jsonpath, has_match
from pacifica.notifications.matching.grammar import MAX_LENGTH
from pacifica.notifications.matching.work import DEFAULT_BUDGET, Test

__all__ = ["DEFAULT_BUDGET", "MAX_LENGTH", "Expression", "find", "parse"]


@dataclass(frozen=True, slots=True)
class Expression:
    """A parsed JSONPath: its text as given, and the compiled test whether it has a match."""

    text: str
    test: Test = field(repr=False, compare=False)


def parse(jsonpath_str: str, max_length: int = MAX_LENGTH) -> Expression:
    """Parse a jsonpath2 expression; what does not start with `$` is relative to the root.

    So `data` is `$.data`, `data[0]` is `$.data[0]`, and `[0]` is `$[0]`. Any number of threads
    may parse at once. Raises `ExpressionError`, with a message of one line, for what is not a
    string, is empty, is longer than `max_length` characters, is nested too deep, starts with
    `@` or is not in jsonpath2's grammar.
    """
    return Expression(jsonpath_str, compile_jsonpath(jsonpath_str, max_length))


def find(expr: Expression, data: Any, budget: int = DEFAULT_BUDGET) -> bool:
    """Return whether jsonpath2 would find at least one match in `data`.

    `data` is what `json.loads` returns. The first match decides. Raises `ExpressionError` where
    jsonpath2 would raise before it (a slice with step 0), and `BudgetExceeded`, which is one,
    where it takes more than `budget` steps to tell.
    """
    return has_match(expr.test, data, budget)
