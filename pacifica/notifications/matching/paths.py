"""Paths and operands as tables know them: with one text for all spellings, and what they need."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from jsonpath2.node import Node
from jsonpath2.nodes.recursivedescent import RecursiveDescentNode
from jsonpath2.nodes.root import RootNode
from jsonpath2.nodes.subscript import SubscriptNode
from jsonpath2.subscripts.wildcard import WildcardSubscript

from pacifica.notifications.matching.compile import chain_walk
from pacifica.notifications.matching.conditions import definite_steps
from pacifica.notifications.matching.needs import keys_for_path
from pacifica.notifications.matching.values import only_step
from pacifica.notifications.matching.work import Walk


@dataclass(frozen=True, slots=True)
class Path:
    """Steps from a value to any number of others.

    `each_of` are keys and indices where the path is nothing but these and one `[*]` after them.
    `needs` are member names without which it leads nowhere.
    """

    text: str
    walk: Walk = field(compare=False, repr=False)
    each_of: tuple[int | str, ...] | None
    needs: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Operand:
    """What of a row is compared: the end of keys and indices from it, or from the event."""

    text: str
    steps: tuple[int | str, ...]
    from_root: bool

    @property
    def needs(self) -> list[str]:
        """Member names without which nothing is there."""
        return [step for step in self.steps if isinstance(step, str)]


#: The row itself.
ITSELF = Operand("@", (), from_root=False)


def path_of(nodes: Sequence[Node]) -> Path:
    """Return the path of nodes that follow each other."""
    return Path(text_of(nodes), chain_walk(nodes), _each_of(nodes), tuple(keys_for_path(nodes)))


def operand_of(node: Node) -> Operand | None:
    """Return the operand that a path from its `$` or `@` on is, if it has one value at most."""
    steps = definite_steps(node)
    if steps is None:
        return None
    text = "".join(node.__jsonpath__())
    return Operand(text, tuple(steps), from_root=isinstance(node, RootNode))


def text_of(nodes: Sequence[Node]) -> str:
    """Return nodes that follow each other as text."""
    return "".join(_one(node) for node in nodes)


def _one(node: Node) -> str:
    if isinstance(node, RecursiveDescentNode):
        return ".."
    return f"[{','.join(''.join(each.__jsonpath__()) for each in node.subscripts)}]"


def _each_of(nodes: Sequence[Node]) -> tuple[int | str, ...] | None:
    if not nodes or not isinstance(nodes[-1], SubscriptNode):
        return None
    last = nodes[-1].subscripts
    steps = [step for step in map(only_step, nodes[:-1]) if step is not None]
    if len(steps) < len(nodes) - 1 or len(last) != 1 or not isinstance(last[0], WildcardSubscript):
        return None
    return tuple(steps)
