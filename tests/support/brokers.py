"""Brokers of a test's own: a place on each kind of server that no other program uses."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import kombu
import pytest
import redis
from kombu.exceptions import OperationalError

QUEUE = "pacifica-notifications"
SERVERS = {
    "redis": ("TEST_REDIS_URL", "redis://127.0.0.1:6379"),
    "amqp": ("TEST_AMQP_URL", "pyamqp://guest:guest@127.0.0.1:5672//"),
}
CONNECT_TIMEOUT = 5
#: The key by which a Redis database is claimed.
_CLAIM = f"{QUEUE}-tests"
#: Seconds after which the claim ends that a killed run of the tests left.
_CLAIMED = 3600


@contextmanager
def unused(kind: str, folder: Path) -> Iterator[str]:
    """Give the URL of a broker which no other program uses; `kind` may be `filesystem`.

    An absent broker skips the test; where CI is 'true' that is a failure.
    """
    if kind == "filesystem":
        yield f"filesystem://localhost{folder}/queue"
        return
    variable, default = SERVERS[kind]
    given = os.environ.get(variable, default)
    own = {"redis": _database, "amqp": _virtual_host}[kind]
    with ExitStack() as stack:
        try:
            url = stack.enter_context(own(given))
        except (redis.RedisError, OperationalError, OSError) as error:
            absent = f"{kind} ({variable}={given}) cannot be used: {error}"
            if os.environ.get("CI") == "true":
                pytest.fail(absent)
            pytest.skip(absent)
        yield url


def empty_queue(url: str) -> None:
    """Lose every message that a broker has for the service."""
    if url.startswith("filesystem"):
        for message in Path(urlsplit(url).path, "messages").glob("*.msg"):
            message.unlink(missing_ok=True)
        return
    if url.startswith("redis"):
        with _redis(url) as client:
            for key in client.scan_iter():
                if key != _CLAIM.encode():
                    client.delete(key)
        return
    with _amqp(url) as channel:
        channel.queue_declare(QUEUE, durable=True, auto_delete=False)
        channel.queue_purge(QUEUE)


def lose_everything(url: str) -> None:
    """Lose the messages and all that a broker knows of queues, as one that starts anew does."""
    if url.startswith("redis"):
        with _redis(url) as client, client.pipeline() as together:
            together.flushdb()
            together.set(_CLAIM, os.getpid(), ex=_CLAIMED)
            together.execute()
    elif url.startswith("filesystem"):
        empty_queue(url)
    else:
        with _amqp(url) as channel:
            channel.queue_delete(QUEUE)


@contextmanager
def _database(url: str) -> Iterator[str]:
    """Take one of a Redis server's numbered databases that is empty, the last first."""
    for number in range(15, 0, -1):
        own = urlsplit(url)._replace(path=f"/{number}").geturl()
        with _redis(own) as client:
            if not client.dbsize() and client.set(_CLAIM, os.getpid(), nx=True, ex=_CLAIMED):
                break
    else:
        raise redis.RedisError("none of its databases is empty")
    try:
        yield own
    finally:
        with _redis(own) as client:
            client.flushdb()


@contextmanager
def _virtual_host(url: str) -> Iterator[str]:
    """Make a virtual host of RabbitMQ where its server runs on this machine; else use the URL's.

    Any worker on a shared one would take the tests' messages.
    """
    with kombu.Connection(url, connect_timeout=CONNECT_TIMEOUT) as connection:
        connection.ensure_connection(max_retries=1)
    if shutil.which("rabbitmqctl") is None:
        empty_queue(url)
        yield url
        return
    name = f"notifications_test_{uuid4().hex}"
    _rabbitmqctl("add_vhost", name)
    try:
        _rabbitmqctl("set_permissions", "-p", name, urlsplit(url).username or "guest", *[".*"] * 3)
        yield urlsplit(url)._replace(path=f"/{name}").geturl()
    finally:
        _rabbitmqctl("delete_vhost", name)


def _rabbitmqctl(*arguments: str) -> None:
    command = ["rabbitmqctl", *arguments]
    subprocess.run(command, check=True, capture_output=True, timeout=30)


def _redis(url: str) -> closing[redis.Redis]:
    return closing(redis.Redis.from_url(url, socket_timeout=CONNECT_TIMEOUT))


@contextmanager
def _amqp(url: str) -> Iterator[Any]:
    with (
        kombu.Connection(url, connect_timeout=CONNECT_TIMEOUT) as connection,
        connection.channel() as channel,
    ):
        yield channel
