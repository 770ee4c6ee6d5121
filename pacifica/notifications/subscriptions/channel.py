"""How a subscription gets its events, which the scheme of its target URL says."""

from enum import StrEnum
from typing import Final

#: The target URL of a subscription whose events are fetched.
PULL_URL: Final = "pull:"


class Channel(StrEnum):
    """The way on which a subscription's events go to its owner."""

    WEBHOOK = "webhook"  # they are POSTed to its http or https URL
    PULL = "pull"  # its owner fetches them; the URL is `pull:`
    MAIL = "mail"  # they are sent to the address of its `mailto:` URL

    @classmethod
    def of(cls, target_url: str) -> "Channel":
        """Return the channel of a target URL, which need not be valid."""
        scheme = target_url.partition(":")[0].lower()
        return _BY_SCHEME.get(scheme, cls.WEBHOOK)


_BY_SCHEME = {"pull": Channel.PULL, "mailto": Channel.MAIL}
