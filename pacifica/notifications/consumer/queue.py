"""The job queue of a consumer: a Celery app whose task runs the waiting entries.

A message only says that something may be waiting, so a lost message loses no run. The worker reads
what to run from the note in the work folder, which its environment names.
"""

import os
from contextlib import suppress
from pathlib import Path
from typing import Any

from celery import Celery
from kombu import Connection
from kombu.utils.objects import cached_property

from pacifica.notifications.broker.settings import (
    BrokerSettings,
    celery_settings,
    embedded_url,
    require_known,
)
from pacifica.notifications.consumer.jobs import EntryPoint, Runner
from pacifica.notifications.consumer.workfolder import WorkFolder
from pacifica.notifications.errors import ConsumerError

#: The environment variable that names the work folder.
FOLDER = "PACIFICA_CONSUMER_FOLDER"
_EXPIRES = 60.0
_CONNECT_TIMEOUT = 2.0
_VISIBILITY_TIMEOUT = 60.0


class _CeleryApp(Celery):
    """A Celery application with one runner for all threads of its process.

    The threads share it, because it must know the programs of all of them.
    """

    @cached_property
    def runner(self) -> Runner:
        """Return the runner of the consumer that the note in the work folder describes."""
        work = _work()
        return Runner(work, EntryPoint(**work.noted()["entry"]))


CONSUMER_QUEUE = _CeleryApp("pacifica.notifications.consumer")
CONSUMER_QUEUE.add_defaults(lambda: _celery_settings(_work()))


@CONSUMER_QUEUE.task(name=f"{__name__}.run_waiting", ignore_result=True)
def run_waiting() -> None:
    """Run the waiting notifications."""
    CONSUMER_QUEUE.runner.run_waiting()


def nudge() -> bool:
    """Tell a worker that something waits; return False if the broker fails."""
    try:
        run_waiting.apply_async(ignore_result=True, retry=False, expires=_EXPIRES)
    except Exception:  # noqa: BLE001 an edge: kombu's transports may raise anything
        return False
    return True


def remove(broker: str, name: str) -> None:
    """Delete a queue from its broker; ignore an absent queue or broker."""
    # As in `nudge`, kombu's transports may raise anything.
    with suppress(Exception), Connection(broker, connect_timeout=_CONNECT_TIMEOUT) as connection:
        connection.default_channel.queue_delete(name)


def _work() -> WorkFolder:
    folder = os.environ.get(FOLDER)
    if not folder:
        raise ConsumerError(f"{FOLDER} does not name the work folder of a consumer")
    return WorkFolder(Path(folder))


def _celery_settings(work: WorkFolder) -> dict[str, Any]:
    """Return the service's Celery settings, adapted to runs that may take hours."""
    noted = work.noted()
    broker = BrokerSettings(
        broker_url=noted["broker"] or embedded_url(work.queue),
        backend_url="rpc://",
        publish_timeout=_CONNECT_TIMEOUT,
        visibility_timeout=_VISIBILITY_TIMEOUT,
    )
    require_known(broker)
    return {
        **celery_settings(broker),
        "task_default_queue": noted["queue"],
        # Each run is its own process, and a thread waits for it, on every platform.
        "worker_pool": "threads",
        # RabbitMQ closes the connection of a worker that acknowledges nothing for half an hour. A
        # message may be lost with its worker, because it only says to check the ledger.
        "task_acks_late": False,
    }
