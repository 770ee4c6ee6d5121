"""The settings for waiting until Pacifica Metadata has committed what its events tell of."""

from dataclasses import dataclass

from pacifica.notifications.settings.keys import (
    CA_DEFAULT,
    CA_VARIABLES,
    CERTIFICATES,
    HTTP_URL_OR_NOTHING,
    SECONDS,
    setting,
)


@dataclass(frozen=True)
class SettleSettings:
    """`[settle]`: whether events of Pacifica Metadata wait until it shows what they tell of."""

    metadata_url: str = setting(
        HTTP_URL_OR_NOTHING,
        "",
        "The base URL of Pacifica Metadata. Its events are dispatched once it shows what they tell "
        "of. Empty: they are dispatched at once.",
    )
    timeout: float = setting(
        SECONDS,
        2,
        "How long the answers of Metadata to one batch of questions may take (seconds).",
    )
    max_wait: float = setting(
        SECONDS,
        60,
        "How long after it was received an event may be unknown to Metadata (seconds). After that "
        "it is unsettled: it is not dispatched, and Metadata is asked each hour, for a day.",
    )
    delay: float = setting(
        SECONDS,
        1,
        "How long the events wait about which Metadata cannot be asked, such as updates (seconds).",
    )
    ca_file: str = setting(
        CERTIFICATES,
        "",
        "The authorities whose certificates Metadata may have, in place of the public ones. "
        f"{CA_DEFAULT}",
        other_variables=CA_VARIABLES,
    )
    #: Seconds until Metadata is first asked about an event.
    first_wait: float = 0.05
    #: The waits between two questions about an event (seconds); the last one repeats.
    waits: tuple[float, ...] = (0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0)
    #: An event goes on without an answer once Metadata is away for this long (seconds).
    away_after: float = 1.0
    #: Seconds for which a process asks nothing after no question of a batch was answered.
    away_pause: float = 5.0
    #: Seconds between two questions about an unsettled event, and until it expires.
    unsettled_interval: float = 3600.0
    unsettled_horizon: float = 86400.0
    #: How many events one task asks about, and how many requests a process has in flight.
    batch: int = 200
    connections: int = 8
    #: How many bytes of an answer are read: whether there is anything in it.
    response_bytes: int = 4096

    @property
    def is_on(self) -> bool:
        """Whether events wait for Metadata at all."""
        return bool(self.metadata_url)

    @property
    def lease(self) -> float:
        """How long events belong to the worker that asks about them (seconds)."""
        return self.timeout + 5.0
