"""The settings of requests: callers, body sizes and time-outs."""

from dataclasses import dataclass

from pacifica.notifications.settings.keys import (
    COUNT,
    FERNET_KEYS,
    FLAG,
    HTTP_URL,
    NAME,
    NETWORKS,
    RATE,
    SECONDS,
    SECRET,
    TEXT,
    TOKENS,
    USERS,
    Network,
    setting,
)


@dataclass(frozen=True)
class NotificationsSettings:
    """`[notifications]`: how callers are identified, and where Policy is."""

    default_user: str = setting(
        TEXT,
        "default_user",
        "The caller of a request without a user header. Empty: such a request is refused (401).",
        environment="DEFAULT_USER",
        section="DEFAULT",
    )
    policy_url: str = setting(
        HTTP_URL,
        "http://127.0.0.1:8181",
        "The base URL of the Pacifica Policy service.",
        environment="POLICY_URL",
    )
    user_header: str = setting(
        NAME,
        "Http-Remote-User",
        "The request header in which the authenticating proxy names the caller.",
        environment="USER_HEADER",
    )
    trusted_proxies: tuple[Network, ...] = setting(
        NETWORKS,
        "",
        "The addresses of the authenticating proxy: requests for /eventmatch from elsewhere are "
        "refused. Empty: they may come from anywhere.",
    )
    proxy_secret: str = setting(
        SECRET,
        "",
        "What the proxy must send in the header Pacifica-Proxy-Secret for its user header to "
        "count. Empty: no such header is needed.",
    )
    #: The request header in which the proxy sends `proxy_secret`.
    proxy_secret_header: str = "Pacifica-Proxy-Secret"  # noqa: S105 the name of a header


@dataclass(frozen=True)
class SecuritySettings:
    """`[security]`: how the credentials of subscriptions are protected."""

    key: tuple[str, ...] = setting(
        FERNET_KEYS,
        "",
        "The keys that encrypt the auth of subscriptions in the database. The first one encrypts, "
        "all of them decrypt. Empty: auth is stored in plain text.",
    )
    mask_auth: bool = setting(
        FLAG,
        "no",
        "Whether answers show asterisks in place of the secrets in the auth of subscriptions.",
    )


@dataclass(frozen=True)
class WebSettings:
    """`[web]`: the time-outs and limits of the web server."""

    header_timeout: float = setting(
        SECONDS, 10, "How long the head of a request may take to arrive (seconds)."
    )
    body_timeout: float = setting(
        SECONDS,
        60,
        "How long the body of a request may take to arrive after its head, and a client to take "
        "its answer (seconds).",
    )
    connections: int = setting(
        COUNT,
        1000,
        "Most connections; past them the one that has waited longest is closed.",
    )
    held_bytes: int = setting(
        COUNT,
        256 * 2**20,
        "Most bytes of requests that are arriving and of answers that their clients have not taken "
        "yet, together; past them the connection that has sent or taken least for its time is "
        "closed.",
    )
    metrics_addresses: tuple[Network, ...] = setting(
        NETWORKS,
        "",
        "The addresses that may read /metrics, unless a proxy passed the request on. Empty: those "
        "of this machine (loopback) that are not in trusted_proxies.",
    )
    operators: tuple[str, ...] = setting(
        USERS,
        "",
        "Users, as the user header names them, who see all subscriptions with their states, counts "
        "and errors, and the audit log. They see the content of an event only where Policy allows "
        "them to.",
    )


@dataclass(frozen=True)
class ReceiveSettings:
    """`[receive]`: which events are accepted, and from whom."""

    # Metadata sends 2.8 MB for 10,000 files.
    max_body: int = setting(
        COUNT, 8 * 2**20, "The largest body that /receive takes, also once inflated (bytes)."
    )
    max_hops: int = setting(
        COUNT,
        3,
        "How many services like this one an event may have come through. Past them /receive "
        "answers 508, which ends loops.",
    )
    max_batch: int = setting(COUNT, 1000, "The largest number of events in one batch.")
    deduplicate: float = setting(
        SECONDS,
        0,
        "For how long an event with the source and id of an earlier one counts as a duplicate and "
        "is not stored (seconds). 0: never.",
    )
    token: tuple[str, ...] = setting(
        TOKENS,
        "",
        "Bearer tokens: a sender with one of them may send events from anywhere. Empty: there are "
        "none.",
    )
    allow_addresses: tuple[Network, ...] = setting(
        NETWORKS,
        "",
        "The addresses that may send events without a token. Empty: all of them where there is no "
        "token, and none where there is one.",
    )
    #: A body of more decompressed bytes or more values is large: a process decompresses and parses
    #: one large body at a time. At most `parse_waiting` threads wait for that, each for
    #: `parse_wait` seconds; further requests are refused (503).
    small_body: int = 2**18
    small_values: int = 5000
    parse_waiting: int = 4
    parse_wait: float = 2
    #: How deep the JSON of an event may be nested.
    max_depth: int = 100
    #: How many events, of how many bytes together, one transaction stores. A larger event has its
    #: own transaction.
    group: int = 100
    group_bytes: int = 128 * 2**10
    #: How many seconds an event waits for the transaction before it; then it is stored in parallel.
    group_wait: float = 0.25


@dataclass(frozen=True)
class EventMatchSettings:
    """`[eventmatch]`: the limits of one user."""

    max_subscriptions: int = setting(
        COUNT,
        100_000,
        "How many subscriptions one user may have. Past them creating one is refused (403).",
    )
    rate: float = setting(
        RATE,
        0,
        "How many requests for /eventmatch one user may send each second to one web server "
        "process. Past them the answer is 429. 0: any number.",
    )
    burst: int = setting(
        COUNT,
        50,
        "How many requests a user who sent none for a while may send at once, where there is a "
        "rate.",
    )
    #: How many bytes a body of /eventmatch may have, and how deep it may be nested.
    max_body: int = 256 * 2**10
    max_depth: int = 32
    #: How many characters a JSONPath may have.
    jsonpath_max_length: int = 4096
    #: How many users a web server process counts requests for.
    rate_users: int = 10_000
