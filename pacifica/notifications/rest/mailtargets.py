"""Checks addresses that are to get mails: nobody is sent any who has not agreed."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from pacifica.notifications.clock import utcnow
from pacifica.notifications.delivery import attempt, recorded_response
from pacifica.notifications.errors import InvalidInput
from pacifica.notifications.events import Event
from pacifica.notifications.flow import Attempt, Delivery, Standing
from pacifica.notifications.rest.context import context
from pacifica.notifications.store import agreements, subscriptions
from pacifica.notifications.store.agreements import NOT_AGREED
from pacifica.notifications.store.holding import disable
from pacifica.notifications.subscriptions import Subscription, mailbox
from pacifica.notifications.transport import Request


def require(url: str, auth: Any, user: str) -> bool:
    """Refuse an address that cannot be mailed; return whether it may be mailed now.

    That is so if it has agreed, if it is the one that Metadata has of the user, or if the operator
    trusts its domain; not if it has unsubscribed since. Raises InvalidInput.
    """
    settings = context().settings.mail
    if not settings.is_on:
        raise InvalidInput(
            ("target_url", "this service sends no mail: [mail] smtp_url is not configured")
        )
    if auth:
        raise InvalidInput(("auth", "is for webhooks; a mailto: target has none"))
    address = mailbox(url)
    found = agreements.agreement(user, address)
    if found is not None and found.standing is Standing.BLOCKED:
        raise InvalidInput(("target_url", "this address wants no mail of this service"))
    if found is not None and found.standing is not Standing.ASKED:
        return found.standing is Standing.AGREED
    is_trusted = address.rpartition("@")[2] in settings.trusted_domains
    if not is_trusted and not _is_own(user, address):
        return False
    agreements.agree_unasked(user, address)
    return True


def wait_for_address(subscription: Mapping[str, Any]) -> dict[str, Any]:
    """Ask the address of a subscription, which is disabled until it agrees; return it as it is."""
    user, address = subscription["user"], mailbox(subscription["target_url"])
    uuid = UUID(subscription["uuid"])
    agreements.ask(user, address)
    error = f"{NOT_AGREED} yet: {address} is sent a mail with a link to agree"
    disable(uuid, error, tell_owner=False)
    context().app.publisher.nudge_mails()
    return subscriptions.one_of_user(user, uuid) or dict(subscription)


def send_test(caller: str, subscription: Subscription, event: Event, delivery: Delivery) -> Attempt:
    """Mail one event to the address of a subscription, and return the attempt; it waits for it.

    Raises InvalidInput if the address has not agreed, and ApiError where too many others wait.
    """
    mailer = context().app.mailer
    if mailer.agreed(subscription) is None:
        raise InvalidInput(("target_url", NOT_AGREED))
    with context().targets.place_of(caller):
        result = mailer.send_test(subscription, event, delivery)
    _status, body = recorded_response(result)
    return attempt(
        Request("POST", subscription.target_url, ()), result, subscription, body, utcnow()
    )


def _is_own(user: str, address: str) -> bool:
    """Tell whether Metadata has an address for a user; it is asked while the caller waits."""
    with context().targets.place_of(user):
        return context().app.owners.address(user).lower() == address.lower()
