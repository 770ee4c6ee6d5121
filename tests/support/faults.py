"""What can happen to a deployment: each fault strikes it once and is over when it returns."""

import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from tests.support import brokers
from tests.support.links import Link
from tests.support.processes import is_alive
from tests.support.rig import LEASE, LINKED, POOL, UNFINISHED, Rig, came_true

#: Deliveries that may be made twice because a worker was killed or cut off between sending and
#: recording: what its processes have under way, and the bulk that each is recording.
IN_FLIGHT = POOL * 2 * UNFINISHED
#: Seconds that a worker which had hung has for its end; it takes two or three of them.
STOPS = 15


@dataclass(frozen=True)
class Fault:
    """One kind of fault, and how many deliveries may be made twice by it."""

    name: str
    strike: Callable[[Rig, Random], None]
    doubles: int = 0
    needs: str = ""

    def applies_to(self, rig: Rig) -> bool:
        """Tell whether a deployment has what this fault breaks."""
        return not self.needs or getattr(rig, self.needs) is not None


def kill_worker(rig: Rig, _random: Random) -> None:
    """Kill the worker and its pool at once."""
    rig.worker.replace()


def kill_pool_process(rig: Rig, random: Random) -> None:
    """Kill one process of the pool, which the worker replaces by itself.

    A pool of threads has none but the worker itself.
    """
    if pool := rig.pool():
        os.kill(random.choice(pool), signal.SIGKILL)
    else:
        kill_worker(rig, random)


def kill_worker_main(rig: Rig, _random: Random) -> None:
    """Kill the worker's main process only, and leave its pool to itself."""
    rig.worker.program.signal(signal.SIGKILL)
    rig.worker.start_another()


def kill_web(rig: Rig, _random: Random) -> None:
    rig.web.replace()


def stop_worker(rig: Rig, _random: Random) -> None:
    """Restart the worker as an operator does, who waits for its end."""
    assert rig.worker.stop() == 0, rig.worker.program.output
    rig.worker.start_another()


def stop_web(rig: Rig, _random: Random) -> None:
    assert rig.web.stop() == 0, rig.web.program.output
    rig.web.start_another()


def hang_worker(rig: Rig, random: Random) -> None:
    """Stop a worker past its lease, while another one takes over, let it go on, and end it.

    A test before may have killed a process of its pool. Where that had replaced another one, Celery
    notices only when it looks after its pool, every five seconds; a worker that was told to end
    before has been seen to wait for ever. Hence it is ended as systemd ends it (`KillMode=mixed`
    and `TimeoutStopSec` in docs/deploying/), and nothing may be lost by that either.
    """
    group = rig.worker.program.pid
    os.killpg(group, signal.SIGSTOP)
    try:
        hung = rig.worker.start_another()
        linger(random, LEASE, LEASE + 0.5)
    finally:
        os.killpg(group, signal.SIGCONT)
    hung.signal(signal.SIGTERM)
    if not came_true(lambda: not is_alive(hung.pid), STOPS):
        print(f"the worker that hung is killed {STOPS} s after SIGTERM:", *hung.lines[-20:])
        hung.kill_group()
    hung.wait()


def cut(link: Link, random: Random) -> None:
    link.cut()
    linger(random)
    link.restore()


def freeze(link: Link, random: Random) -> None:
    link.freeze()
    linger(random)
    link.restore()


def cut_broker(rig: Rig, random: Random) -> None:
    cut(_present(rig.to_broker), random)


def freeze_broker(rig: Rig, random: Random) -> None:
    freeze(_present(rig.to_broker), random)


def empty_broker(rig: Rig, _random: Random) -> None:
    """Lose every message that waits."""
    brokers.empty_queue(rig.broker)


def cut_database(rig: Rig, random: Random) -> None:
    cut(_present(rig.to_database), random)


def freeze_database(rig: Rig, random: Random) -> None:
    freeze(_present(rig.to_database), random)


def refuse_deliveries(rig: Rig, _random: Random) -> None:
    """Have a target answer 503 until its subscription is disabled."""
    rig.target.down = frozenset({LINKED})
    assert came_true(lambda: LINKED in rig.disabled(), 15)
    rig.target.down = frozenset()


def cut_target(rig: Rig, random: Random) -> None:
    cut(rig.to_target, random)


def fail_policy(rig: Rig, random: Random) -> None:
    """Have Policy answer 500, as it does without its Metadata."""
    _policy_answers(rig, 500, b'{"message": "Metadata is away"}', random)


def replace_policy(rig: Rig, random: Random) -> None:
    """Have a proxy answer in Policy's place, with a page."""
    _policy_answers(rig, 502, b"<html><title>Bad Gateway</title></html>", random)


def cut_policy(rig: Rig, random: Random) -> None:
    cut(rig.to_policy, random)


def freeze_policy(rig: Rig, random: Random) -> None:
    freeze(rig.to_policy, random)


def linger(random: Random, least: float = 0.5, most: float = 1.5) -> None:
    """Let a fault last, or the load go on, for a while."""
    time.sleep(random.uniform(least, most))


def _policy_answers(rig: Rig, status: int, body: bytes, random: Random) -> None:
    before = rig.policy.answer
    rig.policy.answer = lambda _received: (status, {}, body)
    linger(random)
    rig.policy.answer = before


def _present(link: Link | None) -> Link:
    assert link is not None
    return link


KILL_WORKER = Fault("worker killed", kill_worker, IN_FLIGHT)
KILL_POOL_PROCESS = Fault("pool process killed", kill_pool_process, IN_FLIGHT)
KILL_WORKER_MAIN = Fault("worker's main process killed", kill_worker_main, IN_FLIGHT)
KILL_WEB = Fault("web server killed", kill_web)
STOP_WORKER = Fault("worker stopped", stop_worker)
STOP_WEB = Fault("web server stopped", stop_web)
HANG_WORKER = Fault("worker hung", hang_worker, IN_FLIGHT)
CUT_BROKER = Fault("broker cut", cut_broker, needs="to_broker")
FREEZE_BROKER = Fault("broker frozen", freeze_broker, needs="to_broker")
EMPTY_BROKER = Fault("queue emptied", empty_broker)
CUT_DATABASE = Fault("database cut", cut_database, IN_FLIGHT, needs="to_database")
FREEZE_DATABASE = Fault("database frozen", freeze_database, IN_FLIGHT, needs="to_database")
REFUSE_DELIVERIES = Fault("target down", refuse_deliveries)
CUT_TARGET = Fault("target cut", cut_target, IN_FLIGHT)
FAIL_POLICY = Fault("Policy fails", fail_policy)
REPLACE_POLICY = Fault("Policy replaced", replace_policy)
CUT_POLICY = Fault("Policy cut", cut_policy)
FREEZE_POLICY = Fault("Policy frozen", freeze_policy)

FAULTS = tuple(each for each in list(globals().values()) if isinstance(each, Fault))
