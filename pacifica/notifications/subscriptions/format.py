"""What is sent to a target, and how often mails are."""

from enum import StrEnum


class Format(StrEnum):
    """What a webhook is sent."""

    EVENT = "event"  # the event itself, in the version and the mode that the subscription asks for
    TEXT = "text"  # one line for people, as Slack and others take it
    DISCORD = "discord"
    TEAMS = "teams"  # for workflows of Microsoft Teams


class Digest(StrEnum):
    """How many events come in one mail."""

    EACH = "each"
    HOURLY = "hourly"
    DAILY = "daily"
