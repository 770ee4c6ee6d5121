"""Celery's remote control, with one line about a worker whose name is taken.

On RabbitMQ, a worker listens to commands on a queue that is named like the worker and open to one
connection only. Celery ends the second worker of a name with a traceback of the queue's failure.
"""

import logging
from typing import Any

from amqp.exceptions import ResourceLocked
from celery.app import control
from celery.exceptions import WorkerShutdown
from kombu import pidbox

_LOG = logging.getLogger(__name__)
_FAILED = 1


class _Node(pidbox.Node):
    def listen(self, *arguments: Any, **named: Any) -> Any:
        try:
            return super().listen(*arguments, **named)
        except ResourceLocked as error:
            _LOG.critical(
                "another worker of this broker is named %s: name each one by --hostname NAME@%%h",
                self.hostname,
            )
            raise WorkerShutdown(_FAILED) from error


class _Mailbox(control.Mailbox):
    node_cls = _Node


class Control(control.Control):
    """The remote control for a Celery application's `control_cls`."""

    Mailbox = _Mailbox
