"""Deliveries: the request to a target, what its response means, and when to try again.

`request` builds the request from an event and a subscription, with authorization or a signature;
`chat` is what people read instead, with what `arrival` says of the event.
`outcome` decides from the response, with the waits in `retries`, what becomes of the delivery and
its subscription. `redaction` judges whether the response may be kept. `handshake` asks a target,
before it gets events, whether it agrees to them. `attempt` is what is kept of one request.
"""

from pacifica.notifications.delivery.arrival import Arrival, arrival, name_of, size_words
from pacifica.notifications.delivery.attempt import MASK, attempt, without_secrets
from pacifica.notifications.delivery.handshake import objection, origin, permission_request
from pacifica.notifications.delivery.links import NO_LINKS, Links
from pacifica.notifications.delivery.outcome import (
    OWN_DELIVERY,
    given_up,
    outcome,
    postponed,
    recorded_response,
    single_line,
    unsendable,
    without_wait,
)
from pacifica.notifications.delivery.redaction import may_repeat_credentials
from pacifica.notifications.delivery.request import (
    ATTEMPT_HEADER,
    DELIVERY_HEADER,
    TRIGGER_HEADER,
    authorization,
    delivery_request,
)
from pacifica.notifications.delivery.retries import jittered_wait, next_probe

__all__ = [
    "ATTEMPT_HEADER",
    "DELIVERY_HEADER",
    "MASK",
    "NO_LINKS",
    "OWN_DELIVERY",
    "TRIGGER_HEADER",
    "Arrival",
    "Links",
    "arrival",
    "attempt",
    "authorization",
    "delivery_request",
    "given_up",
    "jittered_wait",
    "may_repeat_credentials",
    "name_of",
    "next_probe",
    "objection",
    "origin",
    "outcome",
    "permission_request",
    "postponed",
    "recorded_response",
    "single_line",
    "size_words",
    "unsendable",
    "without_secrets",
    "without_wait",
]
