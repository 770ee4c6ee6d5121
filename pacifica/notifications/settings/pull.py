"""The settings for subscriptions whose events are fetched."""

from dataclasses import dataclass

from pacifica.notifications.settings.keys import COUNT, setting


@dataclass(frozen=True)
class PullSettings:
    """`[pull]`: how events are fetched from subscriptions whose target_url is `pull:`."""

    attempts: int = setting(
        COUNT,
        10,
        "How often a delivery is handed out. After that it is held for its owner.",
    )
    waiting: int = setting(
        COUNT,
        4,
        "How many requests of one web server process may wait for events; never more than half of "
        "its threads. All others are answered at once, with the time after which to ask again.",
    )
    #: How many deliveries one request fetches, and how many bytes their events have together; one
    #: event alone may have more.
    max_batch: int = 100
    max_bytes: int = 8 * 2**20
    #: How long a lock lasts (seconds), if the request does not say, at least, and at most. A
    #: delivery may be released for as long at most.
    lock: int = 60
    min_lock: int = 10
    max_lock: int = 3600
    #: How long a request may wait (seconds), and how often it is looked for those that wait.
    max_wait: int = 20
    look_interval: float = 0.25
    #: A process asks those who fetch in vain to come back after so many seconds, or later, so that
    #: no more than `empty_rate` come each second.
    retry_after: float = 2.0
    max_retry_after: float = 60.0
    empty_rate: float = 100.0
