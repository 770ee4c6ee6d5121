"""The settings of the servers that the service uses: the broker and the database."""

from dataclasses import dataclass

from pacifica.notifications.settings.keys import (
    BROKER_URL,
    COUNT,
    DATABASE_URL,
    FLAG,
    SECONDS,
    setting,
)


@dataclass(frozen=True)
class LoggingSettings:
    """`[logging]`: how web servers and workers write their logs."""

    json: bool = setting(
        FLAG, "no", "Whether each line of the logs is a JSON object, for programs that read them."
    )


@dataclass(frozen=True)
class CelerySettings:
    """`[celery]`: the message broker, and how workers share work."""

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
    #: Seconds for which events are collected after a message, to be sent in the next one.
    publish_gather: float = 0.02
    #: How many new events of a web server process may wait for a message; the sweep finds others.
    publish_queue: int = 10_000
    #: Seconds that an ending web server may take to send the remaining messages.
    publish_flush: float = 2.0
    #: How many events, and how many deliveries, one sweep nudges.
    sweep_limit: int = 1000
    #: How many events, of how many bytes together, one task matches or authorises.
    event_batch: int = 50
    event_batch_bytes: int = 16 * 2**20


@dataclass(frozen=True)
class DatabaseSettings:
    """`[database]`: where the database is, and its time-outs."""

    peewee_url: str = setting(
        DATABASE_URL,
        "sqliteext:///db.sqlite3",
        "The database, as a peewee URL. PEEWEE_DATABASE_URL counts where PEEWEE_URL is not set.",
        environment="PEEWEE_URL",
        other_variables=("PEEWEE_DATABASE_URL",),
    )
    connect_attempts: int = setting(
        COUNT, 10, "How often a program that starts tries to reach the database."
    )
    connect_wait: float = setting(SECONDS, 20, "How long it waits between two tries (seconds).")
    connect_timeout: int = setting(
        COUNT, 3, "How long one try to connect to a database server may take (seconds)."
    )
    statement_timeout: int = setting(
        COUNT,
        4,
        "How long one SQL statement may take, and in SQLite how long a writer waits for another "
        "one (seconds). Migrations are exempt.",
    )
