"""Subscriptions: which events an owner wants, their target and their format.

`subscription` validates a request body by the JSON schemas in `schemas`, and returns the columns of
a row. Deliveries read a stored row as a `Subscription`. `masking` hides the secrets of its auth,
and `networks` has the rules about the addresses of targets. `channel` tells a webhook from what is
pulled or mailed, and `format` what is sent.
"""

from pacifica.notifications.subscriptions.channel import PULL_URL, Channel
from pacifica.notifications.subscriptions.format import Digest, Format
from pacifica.notifications.subscriptions.mailbox import mailbox
from pacifica.notifications.subscriptions.masking import MASK, masked, unmasked
from pacifica.notifications.subscriptions.networks import (
    NO_RULES,
    Rules,
    delivery_rules,
    literal_address,
)
from pacifica.notifications.subscriptions.schemas import DELIVERY_FORMAT_SCHEMA, SUBSCRIPTION_SCHEMA
from pacifica.notifications.subscriptions.subscription import (
    REQUIRED_FIELDS,
    SUBSCRIPTION_VERSION,
    Subscription,
    check_extensions,
    delivery_format_changes,
    new_subscription,
    subscription_changes,
)

__all__ = [
    "DELIVERY_FORMAT_SCHEMA",
    "MASK",
    "NO_RULES",
    "PULL_URL",
    "REQUIRED_FIELDS",
    "SUBSCRIPTION_SCHEMA",
    "SUBSCRIPTION_VERSION",
    "Channel",
    "Digest",
    "Format",
    "Rules",
    "Subscription",
    "check_extensions",
    "delivery_format_changes",
    "delivery_rules",
    "literal_address",
    "mailbox",
    "masked",
    "new_subscription",
    "subscription_changes",
    "unmasked",
]
