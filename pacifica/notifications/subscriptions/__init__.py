"""Subscriptions: their fields, where they may send, and in which format."""

from pacifica.notifications.subscriptions.subscription import (
    REQUIRED,
    VERSION,
    Subscription,
    changes_to,
    delivery_changes,
    new_subscription,
    require_extensions,
)

__all__ = [
    "REQUIRED",
    "VERSION",
    "Subscription",
    "changes_to",
    "delivery_changes",
    "new_subscription",
    "require_extensions",
]
