"""The settings for processing an event: matching, Policy, deliveries and holding."""

from dataclasses import dataclass

from pacifica.notifications.settings.keys import (
    CA_DEFAULT,
    CA_VARIABLES,
    CERTIFICATES,
    COUNT,
    FLAG,
    NETWORKS,
    ORIGIN,
    SECONDS,
    WAITS,
    Network,
    setting,
)

# The link-local, multicast, broadcast and unspecified addresses, and those of the metadata services
# of clouds.
_DENIED = (
    "0.0.0.0/8 169.254.0.0/16 224.0.0.0/4 255.255.255.255/32 100.100.100.200/32 168.63.129.16/32 "
    "192.0.0.192/32 ::/128 fe80::/10 ff00::/8 fd00:ec2::254/128 fd20:ce::254/128"
)


@dataclass(frozen=True)
class MatchingSettings:
    """`[matching]`: the limit on the work for one JSONPath."""

    budget: int = setting(
        COUNT,
        500_000,
        "How many steps one JSONPath may take on one event, unless 8 for each value of the event "
        "are more. Past them its subscription is disabled. On an event with more than 20,000 "
        "values, only that delivery is given up.",
    )
    #: How many subscriptions' owners, targets and credentials a worker process caches.
    max_cached: int = 10_000


@dataclass(frozen=True)
class PolicySettings:
    """`[policy]`: how the service sends requests to Pacifica Policy."""

    connect_timeout: float = setting(
        SECONDS, 3, "How long connecting to Policy may take (seconds)."
    )
    timeout: float = setting(
        SECONDS, 10, "How long one answer of Policy may take in all (seconds)."
    )
    read_timeout: float = setting(SECONDS, 10, "How long Policy may be silent (seconds).")
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
    ca_file: str = setting(
        CERTIFICATES,
        "",
        "The authorities whose certificates Policy may have, in place of the public ones. "
        f"{CA_DEFAULT}",
        other_variables=CA_VARIABLES,
    )


@dataclass(frozen=True)
class DeliverySettings:
    """`[delivery]`: how events are sent to targets, and where they may go."""

    connect_timeout: float = setting(
        SECONDS, 3, "How long connecting to a target may take (seconds)."
    )
    timeout: float = setting(SECONDS, 10, "How long one delivery may take in all (seconds).")
    read_timeout: float = setting(
        SECONDS,
        10,
        "How long a target that has the event may be silent (seconds). It matters where it is "
        "less than timeout.",
    )
    attempts: int = setting(
        COUNT, 4, "How often a delivery is tried before its subscription is disabled."
    )
    retry_first: float = setting(
        SECONDS,
        0.5,
        "The longest first wait before a delivery is tried again (seconds). It doubles each time, "
        "up to a minute.",
    )
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
    ca_file: str = setting(
        CERTIFICATES,
        "",
        "The authorities whose certificates targets may have, in place of the public ones. "
        f"{CA_DEFAULT}",
        other_variables=CA_VARIABLES,
    )
    #: How many bytes of a response of a target or of Policy are read, and at most kept.
    response_bytes: int = 16 * 2**10
    #: The longest wait before a retry (seconds).
    retry_max: float = 60.0
    #: A retry may take at least this long (seconds), even if less is left of the horizon.
    retry_timeout: float = 1.0
    #: How many deliveries one task sends, and how long it waits if too many are unfinished.
    batch: int = 50
    batch_wait: float = 0.5
    #: A delivery that was not sent because too many were unfinished is retried after this many
    #: seconds.
    busy_wait: float = 2.0
    #: How many subscriptions' Retry-After a worker process remembers.
    max_pauses: int = 10_000


@dataclass(frozen=True)
class RecoverySettings:
    """`[recovery]`: when to probe a subscription that an outage disabled."""

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
    """`[holding]`: how many deliveries are held for a subscription, and how long."""

    max_held: int = setting(
        COUNT,
        10_000,
        "How many deliveries are held for one subscription. Past them the oldest expire.",
    )
    max_age: float = setting(
        SECONDS,
        30 * 86400,
        "How long a delivery may be held, counted from its match (seconds). Then it expires. "
        "Events wait as long for a JSONPath that its owner must correct.",
    )
    #: How many held deliveries of one subscription one sweep releases.
    release_batch: int = 500
    #: Seconds between two checks of the limits on holding.
    check_interval: float = 60.0


@dataclass(frozen=True)
class RetentionSettings:
    """`[retention]`: how long finished events are kept."""

    max_age: float = setting(
        SECONDS,
        400 * 86400,
        "How long events are kept with their deliveries (seconds). After that they are deleted, a "
        "few at a time, but none that has something left to do. 0: they are kept for ever. "
        "Revisions of subscriptions and the audit log are kept as long.",
    )
    attempts: float = setting(
        SECONDS,
        90 * 86400,
        "How long the headers and bodies of attempts are kept (seconds). After that only their "
        "times and statuses are left. 0: as long as the delivery.",
    )
