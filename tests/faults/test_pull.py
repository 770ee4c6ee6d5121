"""Eight processes fetch from one subscription while they, workers and web servers are killed."""

import json
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import Any

import pytest

from tests.support import databases, faults
from tests.support.deployments import deployments
from tests.support.faults import linger
from tests.support.fetcher import LOCK
from tests.support.rig import Rig, came_true

pytestmark = pytest.mark.parametrize(
    "rig", deployments("sqlite-filesystem", "postgresql-redis", "mariadb-redis"), indirect=True
)

FETCHERS = 8
# Seconds until all is fetched after the last fault: what the last killed fetcher had is locked.
SETTLES = 4 * LOCK
ROOT = Path(__file__).parents[2]


class Fetchers:
    """Programs that fetch from one subscription, each with a file of what it was handed."""

    def __init__(self, rig: Rig, subscription: str, folder: Path) -> None:
        self._command = [sys.executable, "-m", "tests.support.fetcher", str(rig.service.port)]
        self._command.append(subscription)
        self._folder = folder
        self._running: list[subprocess.Popen[bytes]] = []
        for _ in range(FETCHERS):
            self._start()

    def _start(self) -> None:
        file = self._folder / f"{len(list(self._folder.iterdir()))}.jsonl"
        file.touch()
        self._running.append(subprocess.Popen([*self._command, str(file)], cwd=ROOT))

    def replace(self, random: Random) -> None:
        """Kill one of them, whatever it is doing, and start another one."""
        killed = self._running.pop(random.randrange(FETCHERS))
        killed.kill()
        killed.wait()
        self._start()

    def end(self) -> None:
        for each in self._running:
            each.kill()
            each.wait()

    def lines(self) -> list[dict[str, Any]]:
        """Return what they wrote; a line of which a killed one wrote a part is none."""
        found = []
        for file in self._folder.iterdir():
            for line in file.read_text().splitlines(keepends=True):
                if line.endswith("\n"):
                    found.append(json.loads(line))
        return found


@contextmanager
def fetching(rig: Rig, folder: Path) -> Iterator[Fetchers]:
    subscription = rig.service.subscribe("pull:")
    fetchers = Fetchers(rig, subscription, folder)
    try:
        yield fetchers
    finally:
        fetchers.end()
        rig.service.call("DELETE", f"/eventmatch/{subscription}")


def unfetched(rig: Rig) -> int:
    """Count the deliveries that nobody has acknowledged."""
    counted = "SELECT COUNT(*) FROM eventlogmatch WHERE state = 'available'"
    return int(databases.execute(rig.database, counted)[0][0])


def test_nothing_is_lost_or_handed_to_two_at_a_time(
    rig: Rig, random: Random, tmp_path: Path
) -> None:
    with fetching(rig, tmp_path) as fetchers:
        with rig.load() as load:
            for fault in (faults.KILL_WORKER, faults.KILL_WEB, faults.KILL_POOL_PROCESS):
                linger(random, 0.2, 0.8)
                fetchers.replace(random)
                fault.strike(rig, random)
                fetchers.replace(random)
            linger(random, 0.2, 0.8)
        accepted = load.accepted

        def is_over() -> bool:
            handed_out = {each.get("number") for each in fetchers.lines()}
            return accepted <= handed_out and not (unfetched(rig) or rig.under_way())

        # Only what was handed out is acknowledged, though a killed server may not have said so.
        assert came_true(is_over, SETTLES), (len(accepted), unfetched(rig))
    of_delivery = defaultdict(list)
    for line in fetchers.lines():
        if "delivery" in line:
            of_delivery[line["delivery"]].append(line)
    assert accepted
    for lines in of_delivery.values():
        lines.sort(key=lambda each: each["at"])
        for before, after in pairwise(lines):
            # A lock begins after it was asked for, and what runs out alone is handed out again.
            assert after["at"] >= before["asked"] + LOCK, lines
    assert rig.settle(load).lost == 0
