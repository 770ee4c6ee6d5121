"""What matching an event comes to."""

from dataclasses import dataclass, field
from uuid import UUID

from pacifica.notifications.errors import ExpressionError


@dataclass(frozen=True, slots=True)
class Findings:
    """Who matches an event, and for whom a search failed; filled by one search after another.

    A subscription can be among both: where one search for it failed and another one found it.
    """

    matched: set[UUID] = field(default_factory=set)
    errors: dict[UUID, ExpressionError] = field(default_factory=dict)
