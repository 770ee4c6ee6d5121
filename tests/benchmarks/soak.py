"""Whether anything is lost when fault follows fault for as long as you like.

`python -m tests.benchmarks.soak --minutes 10` runs each deployment for its share of the time, with
real processes and events that come in throughout, and breaks something again and again at random:
processes, broker, database, target, Policy. At the end everything must have arrived. A server that
is absent leaves its deployments out. `--seed` repeats the faults of a run and their moments.
"""

import argparse
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import pytest

from tests.support.deployments import DEPLOYMENTS, Deployment
from tests.support.faults import FAULTS, linger
from tests.support.load import Tally
from tests.support.rig import moments, running, seed

#: Seconds of load after which everything may settle and is counted.
STRETCH = 20
SETTLES = 60


@dataclass
class Account:
    """What a deployment has been through, and what became of its events."""

    tally: Tally = field(default_factory=Tally)
    faults: Counter[str] = field(default_factory=Counter)


def main() -> int:
    """Run the deployments and print a table; 1 when anything was lost."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    names = [each.name for each in DEPLOYMENTS]
    parser.add_argument("--minutes", type=float, default=10, help="in all (default: 10)")
    parser.add_argument("--deployment", nargs="+", choices=names, default=names)
    parser.add_argument("--seed", type=int, default=None, help="repeats a run's faults")
    args = parser.parse_args()
    chosen = seed() if args.seed is None else args.seed
    say(f"seed {chosen}; each event goes to three subscriptions, and counts three times")
    seconds = 60 * args.minutes / len(args.deployment)
    accounts = {}
    for deployment in DEPLOYMENTS:
        if deployment.name in args.deployment:
            try:
                accounts[deployment.name] = soaked(deployment, moments(chosen), seconds)
            except pytest.skip.Exception as absent:
                say(f"{deployment.name} is left out: {absent}")
    print_table(accounts)
    return int(any(account.tally.lost for account in accounts.values()))


def soaked(deployment: Deployment, random: Random, seconds: float) -> Account:
    """Let faults strike a deployment for so long, counting what arrived every now and then."""
    account = Account()
    ends = time.monotonic() + seconds
    with (
        tempfile.TemporaryDirectory(prefix="soak-") as folder,
        running(deployment, Path(folder)) as rig,
    ):
        possible = [fault for fault in FAULTS if fault.applies_to(rig)]
        while time.monotonic() < ends:
            pause = min(ends, time.monotonic() + STRETCH)
            struck: list[str] = []
            with rig.load() as load:
                while time.monotonic() < pause:
                    linger(random, 0.2, 2)
                    fault = random.choice(possible)
                    struck.append(fault.name)
                    fault.strike(rig, random)
            tally = rig.settle(load, SETTLES)
            account.faults.update(struck)
            account.tally += tally
            say(f"{deployment.name}: {', '.join(struck)}: {tally}")
            if tally.lost:  # what stands still would be counted as lost again
                break
    return account


def print_table(accounts: dict[str, Account]) -> None:
    """Print what became of the events, and then what happened and what producers were answered."""
    heads = ("accepted", "delivered", "lost", "doubled", "slowest s")
    say("\n" + row("deployment", heads))
    for name, account in accounts.items():
        tally = account.tally
        figures = (tally.accepted, tally.delivered, tally.lost, tally.doubled)
        say(row(name, [*map(str, figures), f"{tally.slowest:.2f}"]))
    for name, account in accounts.items():
        say(f"\n{name}: {counted(account.faults)}")
        say(f"  /receive answered {counted(account.tally.statuses)}")


def row(name: str, cells: Sequence[str]) -> str:
    return f"{name:<20}" + "".join(f"{cell:>11}" for cell in cells)


def counted(kinds: Counter[str]) -> str:
    return ", ".join(f"{count} x {kind}" for kind, count in kinds.most_common()) or "nothing"


def say(line: str) -> None:
    """Print a line at once, also into a pipe."""
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main())
