"""Celery's configuration for each kind of broker, shared by the service and its consumers."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit
from urllib.request import url2pathname

from celery.app import backends
from celery.exceptions import ImproperlyConfigured
from kombu import Connection

from pacifica.notifications.errors import ConfigError

QUEUE = "pacifica-notifications"
_TRANSPORTS = {
    "filesystem": "pacifica.notifications.broker.embedded:Transport",
    "redis": "pacifica.notifications.broker.redis:Transport",
    "rediss": "pacifica.notifications.broker.redis:Transport",
}
_EMBEDDED_POLL = 0.05
_REDIS_POLL = 1.0
_PRIVATE = 0o700


@dataclass(frozen=True)
class BrokerSettings:
    """Which broker and result backend Celery uses, and how long it may wait (seconds).

    `publish_timeout` bounds the time to connect to the broker and to send one message. A broker
    without acknowledgements of its own (Redis) redelivers a message that no worker has acknowledged
    after `visibility_timeout`.
    """

    broker_url: str
    backend_url: str
    publish_timeout: float
    visibility_timeout: float


def require_known(settings: BrokerSettings) -> None:
    """Raise ConfigError unless Celery knows the broker and the result backend.

    Connect to neither. The message shows only the scheme of a URL, because the rest may be secret.
    """
    for url in settings.broker_url.split(";"):
        try:
            _ = Connection(url, transport=_TRANSPORTS.get(urlsplit(url).scheme)).transport
        # A transport whose library is not installed raises NameError, too.
        except (KeyError, ImportError, NameError, ValueError) as error:
            raise ConfigError(_unknown("broker_url", url)) from error
    try:
        backends.by_url(settings.backend_url)
    except (ImportError, ImproperlyConfigured, ValueError) as error:
        raise ConfigError(_unknown("backend_url", settings.backend_url)) from error


def celery_settings(settings: BrokerSettings) -> dict[str, Any]:
    """Return Celery's configuration; for an embedded broker, create its folder.

    A message is acknowledged when its task has ended, so that the messages of a killed worker are
    redelivered. No result is stored, because nobody reads one.
    """
    embedded = is_embedded(settings.broker_url)
    return {
        "broker_url": settings.broker_url,
        "broker_transport": _TRANSPORTS.get(urlsplit(settings.broker_url).scheme),
        "broker_connection_retry_on_startup": True,
        "broker_connection_max_retries": None,  # a worker waits for its broker, however long
        "broker_connection_timeout": settings.publish_timeout,
        "broker_transport_options": _transport_options(settings),
        "result_backend": settings.backend_url,
        "task_ignore_result": True,
        "task_default_queue": QUEUE,
        "task_serializer": "json",
        "accept_content": ["json"],
        "task_acks_late": True,
        "task_reject_on_worker_lost": True,
        "worker_prefetch_multiplier": 1,
        # With the embedded broker, Celery's processes would share one queue under one lock. A
        # process that is killed while it holds the lock would leave the others waiting for ever.
        "worker_pool": "threads" if embedded else "prefork",
        # The embedded broker has no server that could broadcast a command to the workers.
        "worker_enable_remote_control": not embedded,
        "worker_hijack_root_logger": True,
    }


def is_embedded(broker_url: str) -> bool:
    """Return whether a broker is the embedded one: a folder that needs no server."""
    return urlsplit(broker_url).scheme == "filesystem"


def embedded_folder(broker_url: str) -> Path:
    """Return the folder of an embedded broker, such as `queue` of `filesystem:///var/lib/queue`.

    Three slashes and a drive (`filesystem:///C:/queue`) name a Windows folder.
    """
    parts = urlsplit(broker_url)
    return Path(url2pathname(parts.path) if parts.path else unquote(parts.netloc) or "queue")


def embedded_url(folder: Path) -> str:
    """Return the URL of an embedded broker in a folder."""
    return folder.absolute().as_uri().replace("file://", "filesystem://localhost", 1)


def _unknown(key: str, url: str) -> str:
    scheme, separator, _ = url.partition("://")
    shown = f"{scheme}{separator}***" if separator else "***"
    return f"[celery] {key} = {shown!r}: Celery does not know it, or its library is not installed"


def _transport_options(settings: BrokerSettings) -> dict[str, Any]:
    # One attempt: an unreachable broker must not delay a request, and the sweep tries again.
    once = {"max_retries": 1, "interval_start": 0, "interval_step": 0, "interval_max": 0}
    return once | _options_of(settings)


def _options_of(settings: BrokerSettings) -> dict[str, Any]:
    scheme = urlsplit(settings.broker_url).scheme.partition("+")[0]
    if scheme == "filesystem":
        folder = embedded_folder(settings.broker_url)
        messages, control = folder / "messages", folder / "control"
        for each in (folder, messages, control):
            each.mkdir(_PRIVATE, parents=True, exist_ok=True)
        return {
            "data_folder_in": str(messages),
            "data_folder_out": str(messages),
            "control_folder": str(control),
            "polling_interval": _EMBEDDED_POLL,
        }
    if scheme in ("redis", "rediss"):
        return {
            # A message whose worker was killed is redelivered after this time, and looked for
            # every second; kombu's defaults are an hour and a hundred seconds.
            "visibility_timeout": settings.visibility_timeout,
            "unacked_restore_interval": 1,
            "unacked_restore_throttle": 1,
            "socket_connect_timeout": settings.publish_timeout,
            # A read of a worker may wait a second for a message, so this time-out is longer.
            "socket_timeout": _REDIS_POLL + settings.publish_timeout,
            "socket_keepalive": True,
        }
    if scheme in ("amqp", "pyamqp", "amqps"):
        # The read time-out also bounds closing after a failure, which waits for the server.
        return {"confirm_publish": True, "read_timeout": settings.publish_timeout}
    return {}
