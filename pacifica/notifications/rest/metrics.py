"""`/metrics`: the state of the whole service, in Prometheus' text format.

It is read from the database, so that every web server tells the same.
"""

import platform
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from ipaddress import ip_network
from types import SimpleNamespace
from typing import Any

import cherrypy

from pacifica.notifications.errors import StoreUnavailable
from pacifica.notifications.metrics import DURATIONS, TOTALS
from pacifica.notifications.orm import SCHEMA_MAJOR, SCHEMA_MINOR
from pacifica.notifications.rest.admission import comes_from
from pacifica.notifications.rest.context import KEY, Context, context
from pacifica.notifications.rest.errors import ApiError
from pacifica.notifications.rest.request import require_known
from pacifica.notifications.settings import NotificationsSettings
from pacifica.notifications.store.monitoring import Snapshot, snapshot
from pacifica.notifications.store.statistics import NEAR_BOUND

#: The beginning of every metric's name.
PREFIX = "pacifica_notifications_"
_CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_LOOPBACK = (ip_network("127.0.0.0/8"), ip_network("::1/128"))
# A proxy adds one of these: then the address of the connection is not that of the client.
_FORWARDED = ("Forwarded", "Via", "X-Forwarded-For", "X-Real-Ip")


@dataclass(frozen=True)
class Family:
    """One metric: `kind` is gauge, counter or histogram.

    `samples` are by the values of the labels: numbers, and for a histogram its buckets and sum.
    """

    name: str
    kind: str
    meaning: str
    samples: Mapping[tuple[str, ...], Any]
    labels: tuple[str, ...] = ()


class Metrics:
    """Show metrics to permitted addresses."""

    exposed = True

    def __init__(self, shared: Context | None = None) -> None:
        self._cp_config = {
            KEY: shared or Context(),
            "hooks.before_handler": partial(require_known, {1: ("GET", "HEAD")}),
            "tools.response_headers.on": False,  # they would replace the content type
        }

    def GET(self) -> bytes:  # noqa: N802 CherryPy dispatches on it
        """Return the metrics; an outage of the database is one of them."""
        _require_address()
        context().app.reporter.keep_reporting(threaded=cherrypy.request.multithread)
        cherrypy.response.headers["Content-Type"] = _CONTENT_TYPE
        return scrape()


def scrape() -> bytes:
    """Return the metrics of this moment as text; without the database, those that need none."""
    try:
        found = snapshot()
    except StoreUnavailable:
        found = None
    return text_of(metrics_of(found))


def metrics_of(found: Snapshot | None) -> Iterator[Family]:
    """Give the metrics of a state of the service; None: the database does not answer."""
    yield _build_info()
    yield _gauge("database_up", "Whether the database answers (0 or 1).", int(found is not None))
    if found is not None:
        yield from _gauges(found)
        yield from _totals(found.totals)
        yield from _durations(found.totals)


def text_of(families: Iterable[Family]) -> bytes:
    """Return metrics in Prometheus' text format."""
    # Imported here, because this package reads the whole environment when it is imported.
    from prometheus_client import core, generate_latest

    kinds: dict[str, Any] = {
        "gauge": core.GaugeMetricFamily,
        "counter": core.CounterMetricFamily,
        "histogram": core.HistogramMetricFamily,
    }
    written = []
    for family in families:
        metric = kinds[family.kind](PREFIX + family.name, family.meaning, labels=family.labels)
        for values, sample in family.samples.items():
            metric.add_metric(values, *(sample if family.kind == "histogram" else (sample,)))
        written.append(metric)
    collector: Any = SimpleNamespace(collect=lambda: written)
    return generate_latest(collector)


def _require_address() -> None:
    """Refuse a request from an address that may not read metrics, or through a proxy (403)."""
    settings, environ = context().settings, cherrypy.request.wsgi_environ
    caller, permitted = settings.notifications, settings.web.metrics_addresses
    if permitted:
        is_permitted = comes_from(permitted, environ)
    else:
        is_permitted = comes_from(_LOOPBACK, environ) and not comes_from(
            caller.trusted_proxies, environ
        )
    if not is_permitted or _is_forwarded(caller, cherrypy.request.headers):
        raise ApiError(403, "this address may not read metrics")


def _is_forwarded(caller: NotificationsSettings, headers: Mapping[str, str]) -> bool:
    own = (caller.user_header, caller.proxy_secret_header)
    return any(headers.get(name) is not None for name in (*_FORWARDED, *own))


def _gauge(name: str, meaning: str, value: float) -> Family:
    return Family(name, "gauge", meaning, {(): value})


def _labelled(name: str, meaning: str, label: str, values: Mapping[str, float]) -> Family:
    return Family(name, "gauge", meaning, {(each,): values[each] for each in values}, (label,))


def _build_info() -> Family:
    labels = {
        "version": version("pacifica-notifications"),
        "schema": f"{SCHEMA_MAJOR}.{SCHEMA_MINOR}",
        "python": platform.python_version(),
    }
    meaning = "The versions of this web server; always 1."
    return Family("build_info", "gauge", meaning, {tuple(labels.values()): 1}, tuple(labels))


def _gauges(found: Snapshot) -> Iterator[Family]:
    yield _gauge("events_waiting", "Events that wait to be dispatched.", found.events_waiting)
    yield _gauge(
        "events_failing",
        "Events whose dispatch was begun several times and not finished.",
        found.events_failing,
    )
    yield _gauge(
        "oldest_due_event_seconds",
        "For how long the event that is due first has been due.",
        found.oldest_event,
    )
    yield _gauge(
        "oldest_due_delivery_seconds",
        "For how long the delivery that is due first has been due.",
        found.oldest_delivery,
    )
    yield _labelled(
        "events_settling",
        "Events that wait until Metadata shows what they tell of: it is asked soon (settling), or "
        "each hour, as it has not shown it in time (unsettled).",
        "state",
        found.events_settling,
    )
    turn, owner = found.events_deferred
    yield _labelled(
        "events_deferred",
        "Events that wait to be matched with JSONPaths of a user, for a turn or for their owner.",
        "waits_for",
        {"turn": turn, "owner": owner},
    )
    yield _labelled(
        "deliveries_waiting",
        "Deliveries that wait: for Policy (matched), their target (allowed), or who fetches them "
        "(available), or are held.",
        "state",
        {str(state): number for state, number in found.deliveries_waiting.items()},
    )
    yield _labelled(
        "subscriptions",
        "Subscriptions: enabled, or disabled by their owner, by an outage of their target that is "
        "probed (recovering), by another error (failed), or by their JSONPath.",
        "state",
        found.subscriptions,
    )
    yield _gauge(
        NEAR_BOUND,
        "Subscriptions for which 9 tenths of what [holding] allows are held, in number or time.",
        found.totals.get(NEAR_BOUND, 0),
    )
    yield _labelled(
        "jobs",
        "Backtests and replays that run.",
        "kind",
        {str(kind): number for kind, number in found.jobs.items()},
    )
    yield _gauge("workers", "Workers that live.", found.workers.workers)
    yield _gauge("worker_processes", "Worker processes that live.", found.workers.processes)
    yield _gauge(
        "newest_worker_process_seconds",
        "For how long the worker process that started last has lived; 0 if there is none.",
        found.workers.newest,
    )


def _totals(stored: Mapping[str, int]) -> Iterator[Family]:
    for total in TOTALS:
        labels = (total.label,) if total.label else ()
        samples: dict[tuple[str, ...], Any] = {
            (value,) if labels else (): stored.get(total.key(value), 0) for value in total.values
        }
        yield Family(total.name, "counter", total.meaning, samples, labels)


def _durations(stored: Mapping[str, int]) -> Iterator[Family]:
    for each in DURATIONS:
        labels = (each.label,) if each.label else ()
        samples: dict[tuple[str, ...], Any] = {
            (value,) if labels else (): each.buckets(stored, value) for value in each.values
        }
        yield Family(each.name, "histogram", each.meaning, samples, labels)
