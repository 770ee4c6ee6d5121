"""A load during which faults strike, and the account of it."""

from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from tests.support.faults import Fault, linger
from tests.support.load import Posted, Tally
from tests.support.rig import Rig

#: Seconds that /receive may take, whatever is away (the producer waits inside a user's request).
BOUND = 5


@dataclass(frozen=True)
class Run:
    """What became of a load, and what its producers were answered."""

    faults: tuple[Fault, ...]
    tally: Tally
    posted: tuple[Posted, ...]

    @property
    def doubles(self) -> int:
        """How many deliveries these faults may have doubled."""
        return sum(fault.doubles for fault in self.faults)

    def __str__(self) -> str:
        return f"{', '.join(fault.name for fault in self.faults)}: {self.tally}"


def struck(
    rig: Rig, random: Random, *faults: Fault, after_each: Callable[[], object] = bool
) -> Run:
    """Let faults strike a deployment at any moments of a load, one after another.

    The load goes on for a while after the last one, and then everything may settle.
    """
    with rig.load() as load:
        for fault in faults:
            linger(random, 0.2, 0.8)
            fault.strike(rig, random)
            after_each()
        linger(random, 0.2, 0.8)
    run = Run(faults, rig.settle(load), tuple(load.posted))
    print(run)
    return run
