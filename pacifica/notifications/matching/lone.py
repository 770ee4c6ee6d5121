"""JSONPaths that are evaluated one by one."""

from dataclasses import dataclass, field
from uuid import UUID

from pacifica.notifications.errors import ExpressionError
from pacifica.notifications.matching.candidates import Candidates
from pacifica.notifications.matching.compile import compile_tree, has_match
from pacifica.notifications.matching.findings import Findings
from pacifica.notifications.matching.grammar import syntax_tree
from pacifica.notifications.matching.needs import keys_for_path, rarest
from pacifica.notifications.matching.rows import Rows
from pacifica.notifications.matching.trees import can_raise, chain
from pacifica.notifications.matching.work import Test


@dataclass(frozen=True, slots=True, eq=False)
class Lone:
    """A JSONPath with the subscriptions that have it, compiled to a test."""

    name: str
    key: str | None
    test: Test
    members: set[UUID] = field(default_factory=set)

    def search(self, event: Rows, findings: Findings) -> None:
        """Find whether an event matches."""
        try:
            if has_match(self.test, event.values[0], event.budget):
                findings.matched.update(self.members)
        except ExpressionError as error:
            findings.errors.update(dict.fromkeys(self.members, error))


class LoneExpressions:
    """Those of the candidates that are one JSONPath, named by its text."""

    def __init__(self, candidates: Candidates) -> None:
        self._candidates = candidates

    def place(self, text: str, max_length: int) -> Lone:
        """Return where the subscriptions with a JSONPath are put.

        Raises `ExpressionError` as `syntax_tree` does.
        """
        lone: Lone | None = self._candidates.get(text)
        if lone is None:
            tree = syntax_tree(text, max_length)
            keys = [] if can_raise(tree) else keys_for_path(chain(tree))
            lone = Lone(text, rarest(keys), compile_tree(tree))
        return lone

    def put(self, lone: Lone, uuid: UUID) -> None:
        """Add a subscription in a place."""
        lone.members.add(uuid)
        self._candidates.add(lone)

    def remove(self, lone: Lone, uuid: UUID) -> None:
        """Take a subscription out of a place, and drop the JSONPath with its last one."""
        lone.members.discard(uuid)
        if not lone.members:
            self._candidates.drop(lone)
