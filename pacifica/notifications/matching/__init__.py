"""Find the subscriptions whose JSONPath matches an event.

An expression takes this way, and the modules follow it:

1. `template` divides the text of a JSONPath into its constants and the rest, its template.
2. `parser` parses a template once, with jsonpath2's grammar; `syntax_tree` reads the result.
3. `shape` rewrites the tree to alternatives of `predicates`, which a hash index can look up.
4. `hash_index` holds the subscriptions of one shape under their constants, and `record_scan`
   lists the values of an event that these are compared to.
5. `compiler` turns what has no shape into a function, from `conditions` and `operations`. An
   `evaluation` calls it for each event, within a work budget.
6. `index` holds all subscriptions. For each event, `candidates` picks the hash indexes and
   functions that could match it.

`trace` explains a single JSONPath on a single event, with `hints` for its author.

What a JSONPath means is what jsonpath2 says, in all of them.
"""

from pacifica.notifications.matching.compiler import compile_jsonpath
from pacifica.notifications.matching.evaluation import (
    DEFAULT_BUDGET,
    Condition,
    budget_for,
    has_match,
)
from pacifica.notifications.matching.index import MatchFailure, MatchResult, SubscriptionIndex
from pacifica.notifications.matching.parser import MAX_LENGTH
from pacifica.notifications.matching.trace import (
    ConditionTrace,
    Found,
    StepTrace,
    Trace,
    TraceResult,
    is_indexed,
    trace_jsonpath,
)

__all__ = [
    "DEFAULT_BUDGET",
    "MAX_LENGTH",
    "Condition",
    "ConditionTrace",
    "Found",
    "MatchFailure",
    "MatchResult",
    "StepTrace",
    "SubscriptionIndex",
    "Trace",
    "TraceResult",
    "budget_for",
    "compile_jsonpath",
    "has_match",
    "is_indexed",
    "trace_jsonpath",
]
