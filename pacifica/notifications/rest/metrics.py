"""`/metrics`: the state of the whole service, in Prometheus' text format.

It is read from the database, so that every web server tells the same.
"""

import platform
from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from importlib.metadata import version
from ipaddress import ip_network
from typing import Any

import cherrypy
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.registry import Collector

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
_LOOPBACK = (ip_network("127.0.0.0/8"), ip_network("::1/128"))
# A proxy adds one of these: then the address of the connection is not that of the client.
_FORWARDED = ("Forwarded", "Via", "X-Forwarded-For", "X-Real-Ip")


class Metrics:
    """Show metrics to permitted addresses."""

    exposed = True

    def __init__(self, shared: Context | None = None) -> None:
        self._cp_config = {
            KEY: shared or Context(),
            "hooks.before_handler": partial(require_known, {1: ("GET", "HEAD")}),
            "tools.response_headers.on": False,  # they would replace the content type
        }
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(ServiceCollector())

    def GET(self) -> bytes:  # noqa: N802 CherryPy dispatches on it
        """Return the metrics; an outage of the database is one of them."""
        _require_address()
        context().app.reporter.keep_reporting(threaded=cherrypy.request.multithread)
        cherrypy.response.headers["Content-Type"] = CONTENT_TYPE_PLAIN_0_0_4
        return generate_latest(self._registry)


class ServiceCollector(Collector):
    """Reads the metrics from the database at each scrape."""

    def describe(self) -> Iterable[Metric]:
        """Return nothing: names are checked at each scrape."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """Give all metrics; without the database only those that need none."""
        try:
            found = snapshot()
        except StoreUnavailable as error:
            cherrypy.log(f"metrics without the database: {error}", traceback=False)
            found = None
        yield from metrics_of(found)


def metrics_of(found: Snapshot | None) -> Iterator[Metric]:
    """Give the metrics of a state of the service; None: the database does not answer."""
    yield _build_info()
    yield _gauge("database_up", "Whether the database answers (0 or 1).", int(found is not None))
    if found is not None:
        yield from _gauges(found)
        yield from _totals(found.totals)
        yield from _durations(found.totals)


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


def _gauge(name: str, meaning: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(PREFIX + name, meaning, value=value)


def _labelled(name: str, meaning: str, label: str, values: Mapping[str, float]) -> Metric:
    gauge = GaugeMetricFamily(PREFIX + name, meaning, labels=[label])
    for value, number in values.items():
        gauge.add_metric([value], number)
    return gauge


def _build_info() -> Metric:
    labels = {
        "version": version("pacifica-notifications"),
        "schema": f"{SCHEMA_MAJOR}.{SCHEMA_MINOR}",
        "python": platform.python_version(),
    }
    info = GaugeMetricFamily(
        f"{PREFIX}build_info", "The versions of this web server; always 1.", labels=list(labels)
    )
    info.add_metric(list(labels.values()), 1)
    return info


def _gauges(found: Snapshot) -> Iterator[Metric]:
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
    turn, owner = found.events_deferred
    yield _labelled(
        "events_deferred",
        "Events that wait to be matched with JSONPaths of a user, for a turn or for their owner.",
        "waits_for",
        {"turn": turn, "owner": owner},
    )
    yield _labelled(
        "deliveries_waiting",
        "Deliveries that wait: for Policy (matched), their target (allowed), or are held.",
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
    yield _gauge("workers", "Workers that live.", found.workers.workers)
    yield _gauge("worker_processes", "Worker processes that live.", found.workers.processes)
    yield _gauge(
        "newest_worker_process_seconds",
        "For how long the worker process that started last has lived; 0 if there is none.",
        found.workers.newest,
    )


def _totals(stored: Mapping[str, int]) -> Iterator[Metric]:
    for total in TOTALS:
        labels = [total.label] if total.label else []
        counter = CounterMetricFamily(PREFIX + total.name, total.meaning, labels=labels)
        for value in total.values:
            counter.add_metric([value] if labels else [], stored.get(total.key(value), 0))
        yield counter


def _durations(stored: Mapping[str, int]) -> Iterator[Metric]:
    for each in DURATIONS:
        labels = [each.label] if each.label else []
        histogram: Any = HistogramMetricFamily(PREFIX + each.name, each.meaning, labels=labels)
        for value in each.values:
            buckets, seconds = each.buckets(stored, value)
            histogram.add_metric([value] if labels else [], buckets, seconds)
        yield histogram
