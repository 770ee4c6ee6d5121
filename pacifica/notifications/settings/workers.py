"""The settings of workers: the broker, the database, matching, Policy and deliveries."""

from dataclasses import dataclass

from pacifica.notifications.settings.keys import (
    BROKER_URL,
    COUNT,
    DATABASE_URL,
    FLAG,
    NETWORKS,
    ORIGIN,
    SECONDS,
    WAITS,
    Network,
    setting,
)

# The link-local, multicast, broadcast and unspecified addresses, and those where clouds answer
# their machines.
_DENIED = (
    "0.0.0.0/8 169.254.0.0/16 224.0.0.0/4 255.255.255.255/32 100.100.100.200/32 168.63.129.16/32 "
    "192.0.0.192/32 ::/128 fe80::/10 ff00::/8 fd00:ec2::254/128 fd20:ce::254/128"
)


@dataclass(frozen=True)
class CelerySettings:
    """`[celery]`: the message broker, and how workers share their work."""

    broker_url: str = setting(
        BROKER_URL,
        "pyamqp://",
        "Celery's message broker; `filesystem:///some/folder` needs no server.",
        environment="BROKER_URL",
    )
    backend_url: str = setting(
        BROKER_URL,
        "rpc://",
        "Celery's result backend; no task of this service stores a result.",
        environment="BACKEND_URL",
    )
    publish_timeout: float = setting(
        SECONDS, 1, "How long sending a message to the broker may take (seconds)."
    )
    publish_pause: float = setting(
        SECONDS,
        5,
        "How long no message is sent after the broker has failed (seconds). The sweep finds what "
        "was not sent.",
    )
    sweep_interval: float = setting(
        SECONDS,
        1,
        "How often a worker looks for work that is due: retries, and what lost messages or killed "
        "workers left behind (seconds).",
    )
    lease: float = setting(
        SECONDS,
        60,
        "How long work belongs to the worker that took it (seconds). After that, another worker "
        "may take it. It must be longer than the time-outs of [policy] and [delivery] together.",
    )
    max_lease: float = setting(
        SECONDS,
        600,
        "The longest lease of an event whose dispatch keeps ending with its worker (seconds). Its "
        "lease doubles each time.",
    )
    #: After a message about new events, the next one collects events for so many seconds.
    publish_gather: float = 0.02
    #: So many new events of a web server's process wait for their message; the sweep finds others.
    publish_queue: int = 10_000
    #: A web server that ends takes so many seconds to send the messages that are left.
    publish_flush: float = 2.0
    #: One sweep nudges so many events, and so many deliveries.
    sweep_limit: int = 1000
    #: One task matches or authorises so many events, of so many bytes together.
    event_batch: int = 50
    event_batch_bytes: int = 16 * 2**20


@dataclass(frozen=True)
class DatabaseSettings:
    """`[database]`: where the database is, and how long it may take."""

    peewee_url: str = setting(
        DATABASE_URL,
        "sqliteext:///db.sqlite3",
        "The database, as a peewee URL.",
        environment="PEEWEE_URL",
    )
    connect_attempts: int = setting(
        COUNT, 10, "How often a program that starts tries to reach the database."
    )
    connect_wait: float = setting(SECONDS, 20, "How long it waits between two tries (seconds).")
    connect_timeout: int = setting(
        COUNT, 3, "How long one try to connect to a database server may take (seconds)."
    )
    statement_timeout: int = setting(
        COUNT, 4, "How long one SQL statement may take (seconds). Migrations are exempt."
    )
    busy_timeout: float = setting(
        SECONDS, 4, "SQLite: how long a writer waits for another one (seconds)."
    )


@dataclass(frozen=True)
class MatchingSettings:
    """`[matching]`: how much work one JSONPath may be."""

    budget: int = setting(
        COUNT,
        500_000,
        "How many steps one JSONPath may take on one event. Past them its subscription is "
        "disabled.",
    )
    #: A worker process remembers owner, target and credentials of so many subscriptions.
    max_cached: int = 10_000


@dataclass(frozen=True)
class PolicySettings:
    """`[policy]`: how Pacifica Policy is asked."""

    connect_timeout: float = setting(
        SECONDS, 3, "How long connecting to Policy may take (seconds)."
    )
    read_timeout: float = setting(SECONDS, 10, "How long Policy may be silent (seconds).")
    timeout: float = setting(
        SECONDS, 10, "How long one answer of Policy may take in all (seconds)."
    )
    retry_first: float = setting(
        SECONDS,
        1,
        "The longest first wait before Policy is asked again (seconds). It doubles each time.",
    )
    retry_max: float = setting(SECONDS, 60, "The longest of these waits (seconds).")
    horizon: float = setting(
        SECONDS,
        86400,
        "How long Policy is asked again (seconds). After that the deliveries are held, and Policy "
        "is asked about one of them on the schedule of [recovery].",
    )


@dataclass(frozen=True)
class DeliverySettings:
    """`[delivery]`: how events are sent to targets, and where they may go."""

    connect_timeout: float = setting(
        SECONDS, 3, "How long connecting to a target may take (seconds)."
    )
    read_timeout: float = setting(
        SECONDS,
        10,
        "How long a target that has the event may be silent (seconds). It matters where it is "
        "less than timeout.",
    )
    timeout: float = setting(SECONDS, 10, "How long one delivery may take in all (seconds).")
    response_bytes: int = setting(
        COUNT,
        16 * 2**10,
        "How much of an answer of a target or of Policy is read and kept (bytes).",
    )
    attempts: int = setting(
        COUNT, 4, "How often a delivery is tried before its subscription is disabled."
    )
    retry_first: float = setting(
        SECONDS,
        0.5,
        "The longest first wait before a delivery is tried again (seconds). It doubles each time.",
    )
    retry_max: float = setting(SECONDS, 60, "The longest of these waits (seconds).")
    horizon: float = setting(
        SECONDS,
        5,
        "How long after its first failure a delivery is tried again (seconds). A later attempt "
        "takes no more than what is left. Waits that a target asked for do not count.",
    )
    max_retry_after: float = setting(
        SECONDS,
        300,
        "The longest Retry-After of a target that a delivery waits for (seconds). A longer one "
        "disables its subscription until then.",
    )
    unfinished: int = setting(
        COUNT,
        10_000,
        "How many deliveries one worker process has under way, those included that wait for "
        "their target.",
    )
    unfinished_bytes: int = setting(
        COUNT, 256 * 2**20, "How large the bodies of these may be together (bytes)."
    )
    connections: int = setting(
        COUNT,
        1024,
        "How many requests one worker process has in flight; never more than half of the files "
        "that it may have open. It raises its soft limit of open files for them.",
    )
    connections_per_host: int = setting(
        COUNT,
        512,
        "How many requests one worker process has in flight to one host. Its subscriptions share "
        "them.",
    )
    connections_per_subscription: int = setting(
        COUNT,
        16,
        "How many requests one worker process has in flight for one subscription; one that is new, "
        "or whose target gave no answer, starts with one.",
    )
    allow_networks: tuple[Network, ...] = setting(
        NETWORKS,
        "",
        "Addresses to which events may be sent although deny_networks or strict excludes them.",
    )
    deny_networks: tuple[Network, ...] = setting(
        NETWORKS,
        _DENIED,
        "Addresses to which no event is sent. The default has those that are unspecified, "
        "link-local, multicast or broadcast, and those where clouds answer their machines.",
    )
    strict: bool = setting(
        FLAG,
        "no",
        "Whether events are sent by https only, and to no address that is private, loopback, "
        "shared (CGNAT) or otherwise not of the public internet.",
    )
    handshake: bool = setting(
        FLAG,
        "no",
        "Whether a target is asked by OPTIONS to agree before a subscription may name it.",
    )
    origin: str = setting(
        ORIGIN,
        "",
        "The DNS name under which the service asks targets to agree, and sends events. Empty: the "
        "name of its machine.",
    )
    #: A retry may take so many seconds at least, though less is left of the horizon.
    retry_timeout: float = 1.0
    #: One task sends so many deliveries, and waits so many seconds when too much is under way.
    batch: int = 50
    batch_wait: float = 0.5
    #: A delivery that could not be sent, as too much was under way, is taken up again after so
    #: many seconds.
    busy_wait: float = 2.0
    #: A worker process remembers the Retry-After of so many subscriptions.
    max_pauses: int = 10_000


@dataclass(frozen=True)
class RecoverySettings:
    """`[recovery]`: when a subscription that an outage disabled is tried again."""

    waits: tuple[float, ...] = setting(
        WAITS,
        "30 300 1800 7200 21600",
        "The waits before the oldest held delivery of a subscription that an outage disabled is "
        "tried again (seconds). The last one repeats.",
    )
    horizon: float = setting(
        SECONDS,
        7 * 86400,
        "How long after it was disabled that goes on (seconds). Then its owner must enable it.",
    )


@dataclass(frozen=True)
class HoldingSettings:
    """`[holding]`: how much is kept for a disabled subscription."""

    max_held: int = setting(
        COUNT,
        10_000,
        "How many deliveries are held for one subscription. Past them the oldest expire.",
    )
    max_age: float = setting(
        SECONDS,
        30 * 86400,
        "How long a delivery may be held, counted from its match (seconds). Then it expires.",
    )
    #: One sweep releases so many held deliveries of one subscription.
    release_batch: int = 500
    #: The bounds on holding are enforced every so many seconds.
    check_interval: float = 60.0
