"""What the screens of the page are given and what they answer."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

#: Stands for one segment of a path in a route.
ANY: Final = "*"


@dataclass(frozen=True)
class Visit:
    """A request for a screen: who asks, and the fields of its query and of its form."""

    user: str
    query: Mapping[str, str] = field(default_factory=dict)
    form: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Page:
    """A template with its values, and the status of the response."""

    template: str
    values: Mapping[str, Any]
    status: int = 200


@dataclass(frozen=True)
class Redirect:
    """Where to go after a change (303), relative to `/ui/`."""

    path: str


@dataclass(frozen=True)
class Route:
    """Which handler answers a method at a path below `/ui/`.

    `max_body` and `max_fields` bound the form that it takes.
    """

    method: str
    path: str
    handler: Callable[..., Page | Redirect]
    max_body: int = 64 * 2**10
    max_fields: int = 40

    def arguments(self, segments: tuple[str, ...]) -> tuple[str, ...] | None:
        """Return the segments that stand at ANY; None if the path is another."""
        parts = tuple(part for part in self.path.split("/") if part)
        if len(parts) != len(segments):
            return None
        pairs = list(zip(parts, segments, strict=True))
        if any(part not in (ANY, segment) for part, segment in pairs):
            return None
        return tuple(segment for part, segment in pairs if part == ANY)
