"""Who may read what of whose subscription: its owner, and operators."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from pacifica.notifications.rest.admission import get_remote_user
from pacifica.notifications.rest.context import context
from pacifica.notifications.rest.errors import ApiError
from pacifica.notifications.rest.segments import uuid_of
from pacifica.notifications.store import audit, subscriptions


@dataclass(frozen=True)
class Access:
    """What the caller may do with a subscription: read all of it as its owner, or its states.

    `subscription` is as its owner reads it.
    """

    caller: str
    subscription: dict[str, Any]

    @property
    def uuid(self) -> UUID:
        """The id of the subscription."""
        return UUID(self.subscription["uuid"])

    @property
    def owner(self) -> str:
        """The user whose subscription it is."""
        return str(self.subscription["user"])

    @property
    def is_owner(self) -> bool:
        """Whether the caller owns the subscription."""
        return self.caller == self.owner

    def allowed(self, events: Collection[UUID]) -> set[UUID]:
        """Return those of the events whose content the caller may see now.

        Raises PolicyUnavailable.
        """
        return context().app.visibility.allowed(self.caller, events)


def is_operator(user: str) -> bool:
    """Return whether a user is one of the operators."""
    return user in context().settings.web.operators


def require_operator() -> str:
    """Return the caller, who must be an operator (403)."""
    user = get_remote_user()
    if not is_operator(user):
        raise not_found()
    return user


def require_owned(segment: str) -> Access:
    """Return the caller's access to their own subscription; refuse any other (403)."""
    user, uuid = get_remote_user(), uuid_of(segment)
    stored = subscriptions.one_of_user(user, uuid)
    if stored is None:
        raise not_found()
    return Access(user, stored)


def require_readable(segment: str, action: str) -> Access:
    """Return the caller's access to their own subscription, or to any as an operator.

    What an operator looks at is in the audit log as `action`. Refuses all others (403).
    """
    user, uuid = get_remote_user(), uuid_of(segment)
    stored = subscriptions.one_of_user(user, uuid)
    if stored is None and is_operator(user):
        stored = subscriptions.one_of_anybody(uuid)
        if stored is not None:
            audit.record(user, action, stored["user"], uuid)
    if stored is None:
        raise not_found()
    return Access(user, stored)


def not_found() -> ApiError:
    """Return the refusal (403) of what is unknown, deleted, denied or another user's alike."""
    return ApiError(403, "there is nothing of yours here")
