"""Candidates for the next request, ordered by priority."""

from collections import OrderedDict
from collections.abc import Hashable
from enum import IntEnum
from typing import Generic, TypeVar


class Priority(IntEnum):
    """How much a candidate might harm others, judged by its past; the least first."""

    PROMPT = 0  # has nothing in flight, and its last request ended soon
    FIRST = 1  # nothing is known of it, and its user has nothing in flight at this host
    NEW = 2  # nothing is known of it
    SLOW = 3  # has nothing in flight, and its last request took long
    SERVED = 4  # has something in flight already


_PRIORITIES = tuple(Priority)

Member = TypeVar("Member", bound=Hashable)


class Candidates(Generic[Member]):
    """Members by priority; members of equal priority take turns."""

    def __init__(self) -> None:
        self._lines: tuple[OrderedDict[Member, None], ...] = tuple(
            OrderedDict() for _ in _PRIORITIES
        )
        self._listed: dict[Member, Priority] = {}

    @property
    def best(self) -> Priority | None:
        """The best priority of any member; None without members."""
        for priority in _PRIORITIES:
            if self._lines[priority]:
                return priority
        return None

    @property
    def next(self) -> Member:
        """The next member, whose priority is the best; there must be one."""
        return next(iter(next(line for line in self._lines if line)))

    def pop(self) -> Member:
        """Remove and return the next member."""
        line = next(line for line in self._lines if line)
        member, _ = line.popitem(last=False)
        del self._listed[member]
        return member

    def put(self, member: Member, priority: Priority | None) -> None:
        """List a member last in a priority, unless it is there; None removes it."""
        listed = self._listed.get(member)
        if listed is priority:
            return
        if listed is not None:
            del self._lines[listed][member]
        if priority is None:
            del self._listed[member]
        else:
            self._lines[priority][member] = None
            self._listed[member] = priority
