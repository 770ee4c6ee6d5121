"""All settings of the service, by the sections of its INI file.

A field made by `setting` is a configuration key, which the INI file or an environment variable
sets. A field with a plain default is a constant, which only code can replace.
"""

from dataclasses import dataclass, field, fields

from pacifica.notifications.settings.deliveries import (
    DeliverySettings,
    HoldingSettings,
    MatchingSettings,
    PolicySettings,
    RecoverySettings,
    RetentionSettings,
)
from pacifica.notifications.settings.keys import Key, Network
from pacifica.notifications.settings.mail import MailServer, MailSettings
from pacifica.notifications.settings.pull import PullSettings
from pacifica.notifications.settings.requests import (
    EventMatchSettings,
    NotificationsSettings,
    ReceiveSettings,
    SecuritySettings,
    WebSettings,
)
from pacifica.notifications.settings.servers import (
    CelerySettings,
    DatabaseSettings,
    LoggingSettings,
)
from pacifica.notifications.settings.settle import SettleSettings

__all__ = [
    "KEYS",
    "POLICY_TURNS",
    "SECTIONS",
    "CelerySettings",
    "DatabaseSettings",
    "DeliverySettings",
    "EventMatchSettings",
    "HoldingSettings",
    "Key",
    "LoggingSettings",
    "MailServer",
    "MailSettings",
    "MatchingSettings",
    "Network",
    "NotificationsSettings",
    "PolicySettings",
    "PullSettings",
    "ReceiveSettings",
    "RecoverySettings",
    "RetentionSettings",
    "SecuritySettings",
    "Settings",
    "SettleSettings",
    "WebSettings",
    "keys_of",
]


@dataclass(frozen=True)
class Settings:
    """The settings as checked values; times are seconds, sizes are bytes."""

    notifications: NotificationsSettings = field(default_factory=NotificationsSettings)
    security: SecuritySettings = field(default_factory=SecuritySettings)
    web: WebSettings = field(default_factory=WebSettings)
    logging: LoggingSettings = field(default_factory=LoggingSettings)
    celery: CelerySettings = field(default_factory=CelerySettings)
    database: DatabaseSettings = field(default_factory=DatabaseSettings)
    receive: ReceiveSettings = field(default_factory=ReceiveSettings)
    eventmatch: EventMatchSettings = field(default_factory=EventMatchSettings)
    settle: SettleSettings = field(default_factory=SettleSettings)
    matching: MatchingSettings = field(default_factory=MatchingSettings)
    policy: PolicySettings = field(default_factory=PolicySettings)
    delivery: DeliverySettings = field(default_factory=DeliverySettings)
    pull: PullSettings = field(default_factory=PullSettings)
    recovery: RecoverySettings = field(default_factory=RecoverySettings)
    holding: HoldingSettings = field(default_factory=HoldingSettings)
    retention: RetentionSettings = field(default_factory=RetentionSettings)
    mail: MailSettings = field(default_factory=MailSettings)

    @property
    def max_wait(self) -> float:
        """The longest wait of an event or delivery that is not held."""
        return max(
            self.celery.lease,
            self.celery.max_lease,
            self.policy.retry_max,
            self.delivery.retry_max,
            self.delivery.max_retry_after,
        )


# If Policy hangs, requests queue behind each other, for at most this many time-outs.
POLICY_TURNS = 2


def keys_of(section: str) -> dict[str, Key]:
    """Return the configuration keys of one field of Settings, by the names of its fields."""
    kind = type(getattr(Settings(), section))
    return {
        item.name: Key(
            form.section or section,
            form.name or item.name,
            form.environment or f"{section}_{form.name or item.name}".upper(),
            form.default,
            form.kind,
            form.meaning,
            form.other_variables,
        )
        for item in fields(kind)
        if (form := item.metadata.get("form")) is not None
    }


SECTIONS: tuple[str, ...] = tuple(item.name for item in fields(Settings))
KEYS: tuple[Key, ...] = tuple(key for section in SECTIONS for key in keys_of(section).values())
