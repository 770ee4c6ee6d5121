"""The stage that finds which subscriptions an event matches."""

from pacifica.notifications.matching.index import Entry, Fault, Matches, SubscriptionIndex
from pacifica.notifications.matching.work import DEFAULT_BUDGET

__all__ = ["DEFAULT_BUDGET", "Entry", "Fault", "Matches", "SubscriptionIndex"]
