"""Every configuration key: its three forms, its default, its meaning and what it accepts."""

import re
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Any, TypeAlias
from urllib.parse import urlsplit

Network: TypeAlias = IPv4Network | IPv6Network


@dataclass(frozen=True)
class Kind:
    """What a value must be: `accepts` says it in words, `read` converts or raises ValueError.

    A `secret` value is not repeated in errors.
    """

    accepts: str
    read: Callable[[str], Any]
    secret: bool = False


@dataclass(frozen=True)
class Key:
    """One configuration key in its three forms."""

    section: str
    name: str
    environment: str
    default: str
    kind: Kind
    meaning: str


def _database_url(text: str) -> str:
    parts = urlsplit(text)
    engine = parts.scheme.removesuffix("+pool")
    # With two slashes, a file's name would be a host's.
    misplaced = engine in ("sqlite", "sqliteext") and parts.netloc
    if engine not in _ENGINES or misplaced or not parts.path.strip("/"):
        raise ValueError(text)
    _ = parts.port  # raises ValueError for what is not one
    return text


def _http_url(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(text)
    _ = parts.port  # raises ValueError past 65535
    return text.rstrip("/")


def _at_least(convert: Callable[[str], Any], lowest: float) -> Callable[[str], Any]:
    def read(text: str) -> Any:
        value = convert(text)
        if not lowest <= value < float("inf"):
            raise ValueError(text)
        return value

    return read


def _waits(text: str) -> tuple[float, ...]:
    waits = tuple(_at_least(float, 0)(word) for word in text.split())
    if not waits:
        raise ValueError(text)
    return waits


def _flag(text: str) -> bool:
    value = _FLAGS.get(text.lower())
    if value is None:
        raise ValueError(text)
    return value


def _networks(text: str) -> tuple[Network, ...]:
    return tuple(ip_network(word) for word in text.split())


def _words(text: str) -> tuple[str, ...]:
    if not text.isascii():
        raise ValueError(text)
    return tuple(text.split())


def _fernet_keys(text: str) -> tuple[str, ...]:
    if not all(re.fullmatch("[A-Za-z0-9_-]{43}=", word) for word in text.split()):
        raise ValueError(text)
    return tuple(text.split())


def _broker_url(text: str) -> str:
    if not text:
        raise ValueError(text)
    for each in text.split(";"):  # Celery takes several, of which it uses one that works
        _ = urlsplit(each).port  # what is not one may be a password; kombu would repeat it
    return text


def _origin(text: str) -> str:
    if not re.fullmatch("[0-9A-Za-z._-]{0,253}", text):
        raise ValueError(text)
    return text


def _header_name(text: str) -> str:
    # WSGI cannot tell an underscore from a hyphen, so the web server drops headers that have one.
    if not re.fullmatch("[0-9A-Za-z-]+", text):
        raise ValueError(text)
    return text


_FLAGS = {"yes": True, "true": True, "on": True, "1": True} | {
    "no": False,
    "false": False,
    "off": False,
    "0": False,
}
_ENGINES = ("sqlite", "sqliteext", "postgres", "postgresql", "mysql")


TEXT = Kind("any text, or nothing", str)
NAME = Kind("a header name of letters, digits and hyphens", _header_name)
ORIGIN = Kind("a DNS name of letters, digits, hyphens and dots, or nothing", _origin)
HTTP_URL = Kind("an http or https URL with a host", _http_url)
BROKER_URL = Kind(
    "a URL that Celery knows, such as amqp://, redis:// or filesystem://", _broker_url
)
DATABASE_URL = Kind(
    f"a {', '.join(_ENGINES[:-1])} or {_ENGINES[-1]} URL (also with +pool) with a database's name, "
    "such as sqliteext:///db.sqlite3 or postgresql://user@host/name",
    _database_url,
)
SECONDS = Kind("a number of seconds, 0 or more", _at_least(float, 0))
COUNT = Kind("a whole number, 1 or more", _at_least(int, 1))
RATE = Kind("a number, 0 or more", _at_least(float, 0))
FLAG = Kind("yes or no", _flag)
NETWORKS = Kind(
    "addresses and networks such as 192.0.2.10, 10.0.0.0/8 or fe80::/10, with blanks between them, "
    "or nothing",
    _networks,
)
SECRET = Kind("any text, or nothing", str, secret=True)
TOKENS = Kind("ASCII words with blanks between them, or nothing", _words, secret=True)
FERNET_KEYS = Kind(
    "keys of 32 bytes in URL-safe Base64, with blanks between them, or nothing",
    _fernet_keys,
    secret=True,
)
WAITS = Kind("numbers of seconds, each 0 or more, with blanks between them", _waits)


def _key(
    section: str, name: str, default: object, kind: Kind, meaning: str, environment: str = ""
) -> Any:
    variable = environment or f"{section}_{name}".upper()
    key = Key(section, name, variable, str(default), kind, meaning)
    shows_secrets = kind.secret or kind in (BROKER_URL, DATABASE_URL)
    return field(metadata={"key": key}, repr=not shows_secrets)


@dataclass(frozen=True)
class Settings:
    """Every setting as a checked value; times are seconds, sizes are bytes."""

    default_user: str = _key(
        "DEFAULT",
        "default_user",
        "default_user",
        TEXT,
        "Who is calling when a request has no user header; empty: such a request is refused (401).",
        environment="DEFAULT_USER",
    )
    policy_url: str = _key(
        "notifications",
        "policy_url",
        "http://127.0.0.1:8181",
        HTTP_URL,
        "Base URL of the Pacifica Policy service.",
        environment="POLICY_URL",
    )
    user_header: str = _key(
        "notifications",
        "user_header",
        "Http-Remote-User",
        NAME,
        "Request header in which the authenticating proxy names the caller.",
        environment="USER_HEADER",
    )
    trusted_proxies: tuple[Network, ...] = _key(
        "notifications",
        "trusted_proxies",
        "",
        NETWORKS,
        "From where requests for /eventmatch may come: the addresses of the authenticating proxy; "
        "nothing: from anywhere.",
    )
    proxy_secret: str = _key(
        "notifications",
        "proxy_secret",
        "",
        SECRET,
        "What the proxy must send in proxy_secret_header for its user header to count; nothing: no "
        "such header is needed.",
    )
    proxy_secret_header: str = _key(
        "notifications",
        "proxy_secret_header",
        "Pacifica-Proxy-Secret",
        NAME,
        "Request header in which the proxy sends proxy_secret.",
    )
    security_key: tuple[str, ...] = _key(
        "security",
        "key",
        "",
        FERNET_KEYS,
        "Keys by which the auth of subscriptions is encrypted in the database: the first encrypts, "
        "all decrypt; nothing: it is stored as it is.",
    )
    mask_auth: bool = _key(
        "security",
        "mask_auth",
        "no",
        FLAG,
        "Whether owners read asterisks in place of the secrets in the auth of their subscriptions.",
    )
    web_header_timeout: float = _key(
        "web",
        "header_timeout",
        10,
        SECONDS,
        "How long the head of a request may take to arrive (seconds).",
    )
    web_body_timeout: float = _key(
        "web",
        "body_timeout",
        60,
        SECONDS,
        "How long the body of a request may take to arrive after its head, and a client to take "
        "its answer (seconds).",
    )
    web_gathered_bytes: int = _key(
        "web",
        "gathered_bytes",
        2**20,
        COUNT,
        "Largest body that is gathered before a thread takes its request (bytes); a thread waits "
        "for one that is larger.",
    )
    web_connections: int = _key(
        "web",
        "connections",
        1000,
        COUNT,
        "Most connections whose request is still arriving; past them the one that has waited "
        "longest is closed.",
    )
    web_held_bytes: int = _key(
        "web",
        "held_bytes",
        256 * 2**20,
        COUNT,
        "Most bytes of requests that are arriving and of answers that their clients have not taken "
        "yet, together; past them the connection that has waited longest is closed.",
    )
    broker_url: str = _key(
        "celery",
        "broker_url",
        "pyamqp://",
        BROKER_URL,
        "Celery's message broker; `filesystem:///some/folder` needs no server.",
        environment="BROKER_URL",
    )
    backend_url: str = _key(
        "celery",
        "backend_url",
        "rpc://",
        BROKER_URL,
        "Celery's result backend; no task of this service stores a result.",
        environment="BACKEND_URL",
    )
    publish_timeout: float = _key(
        "celery",
        "publish_timeout",
        1,
        SECONDS,
        "How long handing a message to the broker may take (seconds).",
    )
    publish_pause: float = _key(
        "celery",
        "publish_pause",
        5,
        SECONDS,
        "After a failed hand-over, how long the broker is left alone (seconds); the sweep makes "
        "good what was not handed over.",
    )
    publish_gather: float = _key(
        "celery",
        "publish_gather",
        0.02,
        SECONDS,
        "After each message about new events, how long a web server's process gathers others for "
        "the next one (seconds); `event_batch` of them go at once.",
    )
    publish_waiting: int = _key(
        "celery",
        "publish_waiting",
        10_000,
        COUNT,
        "Most new events that wait in a web server's process for their message; the sweep makes "
        "good others.",
    )
    publish_flush: float = _key(
        "celery",
        "publish_flush",
        2,
        SECONDS,
        "When a web server ends, how long it may take to hand over the messages that are left "
        "(seconds).",
    )
    sweep_interval: float = _key(
        "celery",
        "sweep_interval",
        1,
        SECONDS,
        "How often a worker looks for work that is due: retries, and what lost messages or killed "
        "workers left behind (seconds).",
    )
    sweep_limit: int = _key(
        "celery",
        "sweep_limit",
        1000,
        COUNT,
        "Most events, and most deliveries, that one sweep hands out.",
    )
    event_batch: int = _key(
        "celery", "event_batch", 50, COUNT, "Most events that one task matches or authorises."
    )
    event_batch_bytes: int = _key(
        "celery",
        "event_batch_bytes",
        16 * 2**20,
        COUNT,
        "Most bytes of the events that one task matches, unless it has only one.",
    )
    lease: float = _key(
        "celery",
        "lease",
        60,
        SECONDS,
        "How long work that was taken belongs to its worker (seconds); after that, another one "
        "may take it. Must be longer than the time-outs of [policy] and [delivery] together.",
    )
    longest_lease: float = _key(
        "celery",
        "longest_lease",
        600,
        SECONDS,
        "The longest lease of an event whose dispatch keeps ending with its worker: it doubles "
        "each time (seconds).",
    )
    peewee_url: str = _key(
        "database",
        "peewee_url",
        "sqliteext:///db.sqlite3",
        DATABASE_URL,
        "The database, as a peewee URL.",
        environment="PEEWEE_URL",
    )
    connect_attempts: int = _key(
        "database",
        "connect_attempts",
        10,
        COUNT,
        "How often a starting program tries to reach the database.",
    )
    connect_wait: float = _key(
        "database",
        "connect_wait",
        20,
        SECONDS,
        "How long it waits between two tries (seconds).",
    )
    connect_timeout: int = _key(
        "database",
        "connect_timeout",
        3,
        COUNT,
        "How long one try to connect to a database server may take (seconds).",
    )
    statement_timeout: int = _key(
        "database",
        "statement_timeout",
        4,
        COUNT,
        "How long one SQL statement may take (seconds); migrations are exempt.",
    )
    busy_timeout: float = _key(
        "database",
        "busy_timeout",
        4,
        SECONDS,
        "SQLite: how long a writer waits for another one (seconds).",
    )
    receive_max_body: int = _key(
        "receive", "max_body", 64 * 2**20, COUNT, "Largest body that /receive reads (bytes)."
    )
    receive_max_depth: int = _key(
        "receive", "max_depth", 100, COUNT, "How deep the JSON of an event may be nested."
    )
    receive_max_hops: int = _key(
        "receive",
        "max_hops",
        3,
        COUNT,
        "How many services like this one an event may have come through; past them /receive "
        "answers 508, which ends loops.",
    )
    receive_max_batch: int = _key("receive", "max_batch", 1000, COUNT, "Most events of one batch.")
    receive_deduplicate: float = _key(
        "receive",
        "deduplicate",
        0,
        SECONDS,
        "How long after an event another one of the same source and id is taken for the same and "
        "not stored again (seconds); 0: never.",
    )
    receive_token: tuple[str, ...] = _key(
        "receive",
        "token",
        "",
        TOKENS,
        "Bearer tokens with any of which events may be sent from anywhere; nothing: there are "
        "none.",
    )
    receive_allow_addresses: tuple[Network, ...] = _key(
        "receive",
        "allow_addresses",
        "",
        NETWORKS,
        "From where events may be sent without a token; nothing: from anywhere where there is no "
        "token, from nowhere where there is one.",
    )
    receive_group: int = _key(
        "receive",
        "group",
        100,
        COUNT,
        "Most events that one transaction stores of those that come in at the same time.",
    )
    receive_group_bytes: int = _key(
        "receive",
        "group_bytes",
        128 * 2**10,
        COUNT,
        "How large they may be together (bytes); a larger event has a transaction of its own.",
    )
    receive_group_wait: float = _key(
        "receive",
        "group_wait",
        0.25,
        SECONDS,
        "How long an event waits while others are being stored (seconds); then it is stored beside "
        "them.",
    )
    eventmatch_max_body: int = _key(
        "eventmatch", "max_body", 256 * 2**10, COUNT, "Largest body that /eventmatch reads (bytes)."
    )
    eventmatch_max_depth: int = _key(
        "eventmatch", "max_depth", 32, COUNT, "How deep the JSON of a subscription may be nested."
    )
    jsonpath_max_length: int = _key(
        "eventmatch", "jsonpath_max_length", 4096, COUNT, "Longest JSONPath (characters)."
    )
    eventmatch_most: int = _key(
        "eventmatch",
        "most",
        100_000,
        COUNT,
        "Most subscriptions that one user may have; past them creating one is answered with 403.",
    )
    eventmatch_rate: float = _key(
        "eventmatch",
        "rate",
        0,
        RATE,
        "How many requests for /eventmatch one user may send each second to one web server "
        "process; past them 429 is answered. 0: any number.",
    )
    eventmatch_burst: int = _key(
        "eventmatch",
        "burst",
        50,
        COUNT,
        "How many requests a user who sent none for a while may send at once, where there is a "
        "rate.",
    )
    eventmatch_rate_users: int = _key(
        "eventmatch",
        "rate_users",
        10_000,
        COUNT,
        "Of how many users a web server process remembers how much they sent.",
    )
    matching_known: int = _key(
        "matching",
        "known",
        10_000,
        COUNT,
        "Most subscriptions whose owner, target and credentials a worker process keeps at hand.",
    )
    matching_budget: int = _key(
        "matching",
        "budget",
        500_000,
        COUNT,
        "Steps that one JSONPath may take on one event; past them its subscription is disabled.",
    )
    policy_connect_timeout: float = _key(
        "policy", "connect_timeout", 3, SECONDS, "How long connecting to Policy may take (seconds)."
    )
    policy_read_timeout: float = _key(
        "policy", "read_timeout", 10, SECONDS, "How long nothing may come from Policy (seconds)."
    )
    policy_timeout: float = _key(
        "policy", "timeout", 10, SECONDS, "How long one answer of Policy may take in all (seconds)."
    )
    policy_retry_first: float = _key(
        "policy",
        "retry_first",
        1,
        SECONDS,
        "When Policy gives no verdict: the longest wait before it is asked again (seconds); "
        "doubles each time.",
    )
    policy_retry_most: float = _key(
        "policy", "retry_most", 60, SECONDS, "The bound of such waits (seconds)."
    )
    policy_horizon: float = _key(
        "policy",
        "horizon",
        86400,
        SECONDS,
        "How long Policy is asked again before deliveries are held and it is asked about one of "
        "them on the schedule of [recovery] (seconds).",
    )
    delivery_connect_timeout: float = _key(
        "delivery",
        "connect_timeout",
        3,
        SECONDS,
        "How long connecting to a target may take (seconds).",
    )
    delivery_read_timeout: float = _key(
        "delivery",
        "read_timeout",
        10,
        SECONDS,
        "How long nothing may come from a target that has the event (seconds); of use where it is "
        "less than timeout.",
    )
    delivery_timeout: float = _key(
        "delivery", "timeout", 10, SECONDS, "How long one delivery may take in all (seconds)."
    )
    delivery_retry_timeout: float = _key(
        "delivery",
        "retry_timeout",
        1,
        SECONDS,
        "How long a delivery that is tried again may take at least, though less is left of "
        "horizon (seconds).",
    )
    delivery_response_bytes: int = _key(
        "delivery",
        "response_bytes",
        16 * 2**10,
        COUNT,
        "How much of a target's or Policy's answer is read and kept (bytes).",
    )
    delivery_attempts: int = _key(
        "delivery",
        "attempts",
        4,
        COUNT,
        "How often a delivery is tried before its subscription is disabled.",
    )
    delivery_retry_first: float = _key(
        "delivery",
        "retry_first",
        0.5,
        SECONDS,
        "The longest wait before a delivery is tried a second time (seconds); doubles each time.",
    )
    delivery_retry_most: float = _key(
        "delivery", "retry_most", 60, SECONDS, "The bound of such waits (seconds)."
    )
    delivery_horizon: float = _key(
        "delivery",
        "horizon",
        5,
        SECONDS,
        "How long after its first failure a delivery is tried again (seconds): a later try takes "
        "no more than what is left. Waits that a target asked for do not count.",
    )
    delivery_retry_after_most: float = _key(
        "delivery",
        "retry_after_most",
        300,
        SECONDS,
        "The longest Retry-After of a target that a delivery waits for; a longer one disables its "
        "subscription until then (seconds).",
    )
    delivery_batch: int = _key(
        "delivery", "batch", 50, COUNT, "Most deliveries that one task sends."
    )
    delivery_batch_budget: float = _key(
        "delivery",
        "batch_budget",
        0.5,
        SECONDS,
        "How long a task waits for room when too much is under way (seconds).",
    )
    delivery_unfinished: int = _key(
        "delivery",
        "unfinished",
        10_000,
        COUNT,
        "Most deliveries that one worker process has under way, those included that wait to be "
        "sent.",
    )
    delivery_busy_wait: float = _key(
        "delivery",
        "busy_wait",
        2,
        SECONDS,
        "When a delivery that could not be sent, as too much was under way, is taken up again "
        "(seconds).",
    )
    delivery_unfinished_bytes: int = _key(
        "delivery",
        "unfinished_bytes",
        256 * 2**20,
        COUNT,
        "How large the bodies of these may be together (bytes).",
    )
    delivery_connections: int = _key(
        "delivery",
        "connections",
        1024,
        COUNT,
        "Most requests that one worker process has in flight; never more than half of the files "
        "that it may have open, for which it raises its soft limit as far as it may.",
    )
    delivery_connections_per_host: int = _key(
        "delivery",
        "connections_per_host",
        512,
        COUNT,
        "Most requests that one worker process has in flight to one host, which its subscriptions "
        "share.",
    )
    delivery_connections_per_subscription: int = _key(
        "delivery",
        "connections_per_subscription",
        16,
        COUNT,
        "Most requests that one worker process has in flight for one subscription; one that is "
        "new, or whose target gave no answer, starts with one.",
    )
    delivery_allow_networks: tuple[Network, ...] = _key(
        "delivery",
        "allow_networks",
        "",
        NETWORKS,
        "Addresses to which events may be sent although deny_networks, or strict, has them.",
    )
    delivery_deny_networks: tuple[Network, ...] = _key(
        "delivery",
        "deny_networks",
        "0.0.0.0/8 169.254.0.0/16 224.0.0.0/4 255.255.255.255/32 100.100.100.200/32 "
        "168.63.129.16/32 192.0.0.192/32 ::/128 fe80::/10 ff00::/8 fd00:ec2::254/128 "
        "fd20:ce::254/128",
        NETWORKS,
        "Addresses to which no event is sent. The default has those that are unspecified, "
        "link-local, multicast or broadcast, and those where clouds answer their machines.",
    )
    delivery_strict: bool = _key(
        "delivery",
        "strict",
        "no",
        FLAG,
        "Whether events are sent by https only, and to no address that is private, loopback, "
        "shared (CGNAT) or otherwise not of the public internet.",
    )
    delivery_handshake: bool = _key(
        "delivery",
        "handshake",
        "no",
        FLAG,
        "Whether a target is asked by OPTIONS to agree before a subscription may name it.",
    )
    delivery_origin: str = _key(
        "delivery",
        "origin",
        "",
        ORIGIN,
        "As whom the service asks then, and sends events: a DNS name; nothing: the name of its "
        "machine.",
    )
    delivery_pauses: int = _key(
        "delivery",
        "pauses",
        10_000,
        COUNT,
        "Of how many subscriptions a worker process remembers until when their target asked it to "
        "wait.",
    )
    recovery_waits: tuple[float, ...] = _key(
        "recovery",
        "waits",
        "30 300 1800 7200 21600",
        WAITS,
        "When an outage disabled a subscription: the waits before its oldest held delivery is "
        "tried again (seconds); the last one repeats.",
    )
    recovery_horizon: float = _key(
        "recovery",
        "horizon",
        7 * 86400,
        SECONDS,
        "How long after it was disabled that goes on (seconds); then its owner must enable it.",
    )
    release_batch: int = _key(
        "holding",
        "release_batch",
        500,
        COUNT,
        "Most held deliveries of one subscription that one sweep releases.",
    )
    holding_most: int = _key(
        "holding",
        "most",
        10_000,
        COUNT,
        "Most deliveries that are held for one subscription; past them the oldest expire.",
    )
    holding_age: float = _key(
        "holding",
        "age",
        30 * 86400,
        SECONDS,
        "How long a delivery may be held, from its match on (seconds); then it expires.",
    )
    holding_check: float = _key(
        "holding",
        "check",
        60,
        SECONDS,
        "How often the bounds on holding are enforced (seconds).",
    )


# Where Policy hangs, questions wait for those before them: not for longer than so many time-outs.
POLICY_TURNS = 2

KEYS: tuple[Key, ...] = tuple(item.metadata["key"] for item in fields(Settings))
