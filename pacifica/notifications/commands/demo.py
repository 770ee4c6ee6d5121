"""`demo`: shows one delivery with processes that it starts and stops."""

import json
import os
import socket
import tempfile
import time
from argparse import ArgumentParser, Namespace
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any
from urllib.request import Request, urlopen

from pacifica.notifications.commands.serve import (
    START_TIMEOUT,
    embedded_environment,
    page_url,
    prepare_database,
    web_and_worker,
)
from pacifica.notifications.commands.stand_ins import LOOPBACK, allowing_policy, catching_target
from pacifica.notifications.errors import NotificationsError
from pacifica.notifications.settings import KEYS

# Seconds for one response of the service, and for the delivery.
_ANSWER_TIMEOUT = 10.0
_DELIVERY_TIMEOUT = 60.0
_USER = "dmlb2001"
_SUBSCRIPTION = {
    "name": "text files of any transaction",
    "jsonpath": '$["data"][*][?(@["destinationTable"] = "Files" and @["mimetype"] = "text/plain")]',
}
_EVENT: dict[str, Any] = {
    "cloudEventsVersion": "0.1",
    "eventType": "org.pacifica.metadata.ingest",
    "source": "http://metadata.pacifica.org/transactions?_id=1234",
    "eventID": "metadata.ingest.1234",
    "eventTime": "2026-01-31T12:00:00",
    "extensions": {},
    "contentType": "application/json",
    "data": [
        {"destinationTable": "Transactions._id", "value": 1234},
        {"destinationTable": "Transactions.submitter", "value": 10},
        {"destinationTable": "Transactions.project", "value": "1236"},
        {"destinationTable": "Transactions.instrument", "value": 54},
        {
            "destinationTable": "Files",
            "_id": 103,
            "name": "results.txt",
            "subdir": "data/",
            "size": 128,
            "mimetype": "text/plain",
            "hashtype": "sha1",
            "hashsum": "f1d2d2f924e986ac86fdf7b36c94bcdf32beec15",
        },
    ],
}


def add_options(parser: ArgumentParser) -> None:
    """Add the options of `demo`."""
    parser.add_argument("--verbose", action="store_true", help="also show the processes' output")


def demo(args: Namespace) -> int:
    """Show one delivery; return 0 when it arrived."""
    log: list[str] = []
    caught: SimpleQueue[bytes] = SimpleQueue()
    with (
        # The worker may delete its last files while the folder is being removed.
        tempfile.TemporaryDirectory(prefix="notifications-", ignore_cleanup_errors=True) as folder,
        allowing_policy() as policy,
        catching_target(caught) as target,
    ):
        _use_only(Path(folder), policy)
        prepare_database()
        port = _free_port()
        _say(f"policy        a stand-in at {policy} that lets everybody see everything")
        try:
            with web_and_worker(
                LOOPBACK, port, _say if args.verbose else log.append, START_TIMEOUT
            ) as _children:
                _say(f"service       web server and worker at http://{LOOPBACK}:{port}")
                _say(f"page          {page_url(LOOPBACK, port)} while this runs")
                return _deliver(f"http://{LOOPBACK}:{port}", target, caught)
        except NotificationsError:
            _say("\n".join(log))
            raise


def _deliver(service: str, target: str, caught: SimpleQueue[bytes]) -> int:
    subscription = _post(f"{service}/eventmatch", {**_SUBSCRIPTION, "target_url": target})
    _say(f"subscription  {json.dumps(subscription)}")
    started = time.perf_counter()
    event = _post(f"{service}/receive", _EVENT)
    _say(f"event         {event}")
    try:
        received = json.loads(caught.get(timeout=_DELIVERY_TIMEOUT))
    except Empty:
        raise NotificationsError(f"nothing was delivered in {_DELIVERY_TIMEOUT:g} s") from None
    took = time.perf_counter() - started
    if received != _EVENT:
        raise NotificationsError("the delivered event is not the one that was sent")
    _say(f"delivered     {json.dumps(received)}")
    _say(f"took          {took * 1000:.0f} ms from /receive to the target")
    return 0


def _use_only(folder: Path, policy: str) -> None:
    """Configure the demonstration, and ignore any other configuration of the machine."""
    for key in KEYS:
        for variable in (key.environment, *key.other_variables):
            os.environ.pop(variable, None)
    os.environ["NOTIFICATIONS_CONFIG"] = str(folder / "none.ini")
    os.environ["NOTIFICATIONS_CPCONFIG"] = str(folder / "none.conf")
    os.environ["POLICY_URL"] = policy
    os.environ.update(embedded_environment(folder))


def _post(url: str, body: Any) -> Any:
    headers = {"Content-Type": "application/json", "Http-Remote-User": _USER}
    request = Request(url, json.dumps(body).encode(), headers)  # noqa: S310 our own http URL
    with urlopen(request, timeout=_ANSWER_TIMEOUT) as answer:  # noqa: S310
        text = answer.read().decode()
    return json.loads(text) if text[:1] in '{["' else text


def _free_port() -> int:
    with socket.create_server((LOOPBACK, 0)) as listening:
        return listening.getsockname()[1]


def _say(line: str) -> None:
    print(f"{line}\n", end="", flush=True)  # noqa: T201
