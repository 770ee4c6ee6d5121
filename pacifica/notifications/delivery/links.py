"""Where a person looks at what an event tells of: the facility's portal, or this service's page."""

from dataclasses import dataclass
from uuid import UUID


@dataclass(frozen=True)
class Links:
    """Addresses to link to; empty where the operator has configured none.

    `portal` is the facility's, with `{transaction}` in it. `base_url` is that of this service as
    people reach it.
    """

    portal: str = ""
    base_url: str = ""

    def of(self, event: UUID, transaction: int | None) -> str:
        """Return where an event is looked at: in the portal if it has a transaction, or Why."""
        if self.portal and transaction is not None:
            return self.portal.replace("{transaction}", str(transaction))
        return self.why(event)

    def why(self, event: UUID) -> str:
        """Return the page that says why an event came; empty without a base URL."""
        return f"{self.base_url}/ui/why?event={event}" if self.base_url else ""

    def subscription(self, subscription: UUID) -> str:
        """Return the page of a subscription's deliveries; empty without a base URL."""
        page = f"{self.base_url}/ui/subscriptions/{subscription}/deliveries"
        return page if self.base_url else ""


NO_LINKS = Links()
