"""The job queue: a Celery app whose one task runs whatever waits.

The ledger is the truth and a message only tells to look, so that none of them matters. The worker
reads what to run from the note in the work folder, which its environment names.
"""

import os
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

from celery import Celery
from kombu import Connection

from pacifica.notifications.consumer.errors import ConsumerError
from pacifica.notifications.consumer.runner import EntryPoint, Runner
from pacifica.notifications.consumer.workfolder import WorkFolder

#: The environment variable that names the work folder.
FOLDER = "PACIFICA_CONSUMER_FOLDER"
_EXPIRES = 60.0
_CONNECTS_WITHIN = 2.0
_POLL = 0.1

CONSUMER_QUEUE = Celery("pacifica.notifications.consumer")
CONSUMER_QUEUE.add_defaults(lambda: _celery_settings(_work()))


@CONSUMER_QUEUE.task(name=f"{__name__}.run_waiting", ignore_result=True)
def run_waiting() -> None:
    """Run what waits."""
    _runner().run_waiting()


def nudge() -> bool:
    """Tell a worker that something waits; False where the broker could not be told."""
    try:
        run_waiting.apply_async(ignore_result=True, retry=False, expires=_EXPIRES)
    except Exception:  # noqa: BLE001 an edge: kombu's transports raise what they like
        return False
    return True


def remove(broker: str, name: str) -> None:
    """Remove a queue from the server that has it; one that is not there, or away, is left."""
    # As with `nudge`, kombu's transports raise what they like.
    with suppress(Exception), Connection(broker, connect_timeout=_CONNECTS_WITHIN) as connection:
        connection.default_channel.queue_delete(name)


@cache
def _runner() -> Runner:
    work = _work()
    return Runner(work, EntryPoint(**work.noted()["entry"]))


def _work() -> WorkFolder:
    folder = os.environ.get(FOLDER)
    if not folder:
        raise ConsumerError(f"{FOLDER} does not name the work folder of a consumer")
    return WorkFolder(Path(folder))


def _celery_settings(work: WorkFolder) -> dict[str, Any]:
    noted = work.noted()
    once = {"max_retries": 1, "interval_start": 0, "interval_step": 0, "interval_max": 0}
    settings = {
        "task_default_queue": noted["queue"],
        "task_serializer": "json",
        "accept_content": ["json"],
        "task_ignore_result": True,
        "broker_connection_retry_on_startup": True,
        "broker_connection_timeout": _CONNECTS_WITHIN,
        "worker_prefetch_multiplier": 1,
        "worker_hijack_root_logger": True,
        # A run is a process of its own: threads wait for it, on every system.
        "worker_pool": "threads",
    }
    if noted["broker"]:
        return {
            **settings,
            "broker_url": noted["broker"],
            "broker_transport_options": {**once, "socket_connect_timeout": _CONNECTS_WITHIN},
        }
    folders = {"messages": work.queue / "messages", "control": work.queue / "control"}
    for folder in folders.values():
        folder.mkdir(parents=True, exist_ok=True)
    return {
        **settings,
        "broker_url": "filesystem://",
        "broker_transport": "pacifica.notifications.broker.embedded:Transport",
        "broker_transport_options": {
            **once,
            "data_folder_in": str(folders["messages"]),
            "data_folder_out": str(folders["messages"]),
            "control_folder": str(folders["control"]),
            "polling_interval": _POLL,
        },
        "worker_enable_remote_control": False,
    }
