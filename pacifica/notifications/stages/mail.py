"""Mails: a few threads of each worker process send what is due, so that nothing else waits."""

import logging
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from typing import Final
from uuid import UUID

from pacifica.notifications.clock import utcnow
from pacifica.notifications.delivery import Links, arrival, attempt, outcome, unsendable
from pacifica.notifications.errors import NotificationsError, PolicyUnavailable
from pacifica.notifications.events import Event
from pacifica.notifications.flow import Cause, Delivery, Standing
from pacifica.notifications.mail import (
    Listed,
    MailTransport,
    Sender,
    confirmation,
    digest_mail,
    hashed,
    next_due,
    notice_mail,
    unsubscribe_token,
)
from pacifica.notifications.metrics import MAILS, Tallies
from pacifica.notifications.settings import Settings
from pacifica.notifications.stages.owners import Owners
from pacifica.notifications.stages.record import Recorder
from pacifica.notifications.stages.visibility import Visibility
from pacifica.notifications.store import agreements, mailing, notices
from pacifica.notifications.store.agreements import NOT_AGREED, Agreed
from pacifica.notifications.store.deliveries import disable_unreadable
from pacifica.notifications.store.events import events_by_uuid
from pacifica.notifications.store.holding import drop_all, hold_for_disabled
from pacifica.notifications.store.mailing import Collected
from pacifica.notifications.store.revisions import read_subscriptions
from pacifica.notifications.subscriptions import Channel, Digest, Subscription, mailbox
from pacifica.notifications.transport import Request, Response, SendFailure, SendResult

_LOG = logging.getLogger(__name__)
_HOUR, _DAY = 3600.0, 86400.0
#: The longest time for which mails are counted (seconds).
MAX_PERIOD: Final = _DAY
# Seconds that a retry waits for others of its digest, and until Policy is asked again.
_GATHER, _POLICY_WAIT = 1.0, 30.0
# Seconds until a first mail that failed is tried again.
_ASK_AGAIN = 300.0
#: Why a subscription is disabled whose mails cannot be sent here at all.
OFF: Final = "this service sends no mail: [mail] smtp_url is not configured"


class Mailer:
    """Collects deliveries, and mails what is due in threads of its own; nobody waits for them."""

    def __init__(
        self, settings: Settings, visibility: Visibility, owners: Owners, tallies: Tallies
    ) -> None:
        self._all = settings
        self._settings = settings.mail
        self._visibility = visibility
        self._owners = owners
        self._tallies = tallies
        self.transport = MailTransport(settings.mail)
        self._links = Links(settings.mail.link, settings.mail.base_url)
        self._sender = Sender(settings.mail.sender, settings.mail.base_url, settings.mail.time_zone)
        self._recorder = Recorder()
        self._lock = threading.Lock()
        self._executor: ThreadPoolExecutor | None = None
        self._running = 0
        self._ending = False

    def collect(self, deliveries: Sequence[Delivery]) -> None:
        """Let claimed deliveries wait for the next mails; raises StoreUnavailable."""
        now = utcnow()
        mailing.collect(deliveries, lambda each: self._due(each, now))
        self.wake()

    def is_due(self) -> bool:
        """Tell whether there is anything to mail; raises StoreUnavailable."""
        return mailing.is_digest_due() or agreements.is_asked_due() or notices.is_notice_mail_due()

    def wake(self) -> None:
        """Have what is due mailed; does not wait."""
        with self._lock:
            if self._ending or self._running >= self._settings.connections:
                return
            if self._executor is None:
                self._executor = ThreadPoolExecutor(self._settings.connections, "mail")
            self._running += 1
            self._executor.submit(self._run)

    def close(self) -> None:
        """End what is being sent, and let outcomes be recorded, within a bound."""
        with self._lock:
            self._ending = True
            executor, self._executor = self._executor, None
        self.transport.close()
        if executor is not None:
            executor.shutdown(cancel_futures=True)
        self._recorder.close()

    def _listed(self, event: Event) -> Listed:
        """Return an event as mails list it."""
        told = arrival(event)
        why = self._links.why(event.uuid)
        link = self._links.of(event.uuid, told.transaction)
        return Listed(told.headline, event.received or utcnow(), link if link != why else "", why)

    def send_test(self, subscription: Subscription, event: Event, delivery: Delivery) -> SendResult:
        """Mail one event at once, to an address that has agreed; counts against the bounds."""
        agreed = self.agreed(subscription)
        if agreed is None:
            return SendFailure(NOT_AGREED, 0.0, refused=True)
        if self._take(subscription.user, agreed.address) is not None:
            return SendFailure("too many mails were sent this hour", 0.0, ours=True)
        return self.transport.send(
            self._mail(subscription, agreed, [delivery], {event.uuid: event})
        )

    def agreed(self, subscription: Subscription) -> Agreed | None:
        """Return the agreement under which a subscription may be mailed; None: there is none."""
        found = agreements.agreement(subscription.user, mailbox(subscription.target_url))
        return found if found is not None and found.standing is Standing.AGREED else None

    def _due(self, delivery: Delivery, now: datetime) -> datetime:
        """Return when a delivery is mailed: what is tried again, or asked for, does not wait."""
        if delivery.failing is not None:
            return now + timedelta(seconds=_GATHER)
        if delivery.probe or delivery.cause is Cause.RESEND:
            return now
        settings = self._settings
        return next_due(delivery.subscription.digest, now, settings.time_zone, settings.daily_at)

    def _run(self) -> None:
        """Mail whatever is due, one after the other, until nothing is."""
        try:
            while not self._ending and self._mail_one():
                pass
        except NotificationsError as error:
            _LOG.debug("what is left is mailed later: %s", error)
        except Exception:  # noqa: BLE001 the edge of a thread: what failed is due again by itself
            _LOG.exception("a mail was not sent; it is tried again later")
        finally:
            with self._lock:
                self._running -= 1

    def _mail_one(self) -> bool:
        lease = self._settings.lease
        if (asked := agreements.claim_asked(lease)) is not None:
            self._ask(*asked)
            return True
        if (notice := notices.claim_notice_mail(lease)) is not None:
            self._tell(notice)
            return True
        if (claimed := mailing.claim_digest(lease)) is not None:
            self._send_digest(*claimed)
            return True
        return False

    def _send_digest(self, uuid: UUID, claimed: datetime) -> None:
        stored = read_subscriptions([uuid]).get(uuid)
        subscription = None if stored is None else stored.value
        if stored is None or stored.deleted:
            drop_all(uuid)
        elif subscription is None:
            disable_unreadable(uuid)
        elif subscription.channel is not Channel.MAIL:
            mailing.send_otherwise(uuid)
        elif stored.disabled and stored.probe is None:
            hold_for_disabled([uuid])
        elif not self._settings.is_on:
            self._refuse(uuid, OFF)
        elif (agreed := self.agreed(subscription)) is None:
            address = mailbox(subscription.target_url)
            agreements.ask(subscription.user, address)
            self._refuse(uuid, f"{NOT_AGREED}: {address} was sent a mail with a link to agree")
        else:
            again = self._send_collected(subscription, agreed)
            if again is not None:
                mailing.postpone_digest(uuid, claimed, again)
                return
        mailing.finish_digest(uuid, claimed, utcnow() + timedelta(seconds=_GATHER))

    def _refuse(self, subscription: UUID, error: str) -> None:
        """Disable a subscription that may not be mailed; hold what waits, also its probe."""
        waiting = mailing.collected(subscription, self._settings.max_events)
        claimed = mailing.claim_collected([each.delivery for each in waiting], self._settings.lease)
        for each in claimed:
            self._recorder.put(replace(unsendable(each, error, utcnow()), error=error))

    def _send_collected(self, subscription: Subscription, agreed: Agreed) -> datetime | None:
        """Mail what waits for a subscription; return when to go on, None: all is mailed."""
        waiting = mailing.collected(subscription.uuid, self._settings.max_events)
        is_single = subscription.digest is Digest.EACH and len(waiting) <= self._settings.max_single
        for group in [[each] for each in waiting] if is_single else [waiting]:
            if not group:
                continue
            try:
                events = {each.event for each in group}
                allowed = self._visibility.allowed(subscription.user, events)
            except PolicyUnavailable:
                return utcnow() + timedelta(seconds=_POLICY_WAIT)
            denied = [each.delivery for each in group if each.event not in allowed]
            if denied:
                mailing.deny_collected(denied)
            left = [each for each in group if each.event in allowed]
            if left:
                again = self._take(subscription.user, agreed.address)
                if again is not None:
                    return again
                if not self._send_group(subscription, agreed, left):
                    # The others are held with it, or wait for the next attempt.
                    return utcnow() + timedelta(seconds=_GATHER)
        return None

    def _send_group(
        self, subscription: Subscription, agreed: Agreed, group: Sequence[Collected]
    ) -> bool:
        """Send one mail about some deliveries; return whether the server has taken it."""
        deliveries = mailing.claim_collected(
            [each.delivery for each in group], self._settings.lease
        )
        place = {each.delivery: number for number, each in enumerate(group)}
        deliveries = sorted(deliveries, key=lambda each: place[each.uuid])
        newest = [each.event for each in deliveries[: -self._settings.max_listed - 1 : -1]]
        events = events_by_uuid(newest)
        if not events:  # they are held or dropped, or were purged a moment ago
            return True
        message = self._mail(subscription, agreed, deliveries, events)
        result = self.transport.send(message)
        self._count(result)
        return self._record(deliveries, result, dict(message.items()))

    def _record(
        self, deliveries: Sequence[Delivery], result: SendResult, headers: dict[str, str]
    ) -> bool:
        """Have the same recorded of all deliveries of one mail, so that they stay together."""
        now = utcnow()
        first, subscription = deliveries[0], deliveries[0].subscription
        ruled = outcome(first, result, now, self._all.delivery, self._all.recovery)
        hidden = ("List-Unsubscribe", "Subject")  # who reads attempts may not see its event
        shown = tuple((name, value) for name, value in headers.items() if name not in hidden)
        request = Request("POST", subscription.target_url, shown)
        made = attempt(request, result, subscription, ruled.body, now)
        if not ruled.delivered:
            _LOG.warning(
                "mail of %d events to subscription %s: %s",
                len(deliveries),
                subscription.uuid,
                ruled.body,
            )
        for each in deliveries:
            self._recorder.put(replace(ruled, delivery=each, attempt=made if ruled.tried else None))
        return ruled.delivered

    def _mail(
        self,
        subscription: Subscription,
        agreed: Agreed,
        deliveries: Sequence[Delivery],
        events: Mapping[UUID, Event],
    ) -> EmailMessage:
        """Return the mail about claimed deliveries, oldest first, of which some are listed."""
        settings, now = self._settings, utcnow()
        name = mailing.names_of([subscription.uuid]).get(subscription.uuid, "")
        listed = [events[each.event] for each in reversed(deliveries) if each.event in events]
        expires = now.replace(tzinfo=UTC) + timedelta(seconds=settings.unsubscribe_age)
        token = unsubscribe_token(agreed.uuid, agreed.secret, int(expires.timestamp()))
        return digest_mail(
            self._sender,
            agreed.address,
            name,
            self._links.subscription(subscription.uuid),
            [self._listed(each) for each in listed],
            len(deliveries) - len(listed),
            f"{settings.base_url}/mail/unsubscribe?token={token}",
            deliveries[0].uuid,
            now,
        )

    def _ask(self, user: str, address: str) -> None:
        """Send a first mail, unless the address need not or must not be asked."""
        found = agreements.agreement(user, address)
        if found is None or found.standing is not Standing.ASKED:
            agreements.question_sent(user, address)
            return
        settings = self._settings
        limits = {
            hashed(f"asked address {address}"): settings.address_confirmations,
            hashed(f"asked user {user}"): settings.user_confirmations,
        }
        again = mailing.take_mails(limits, _DAY) or self._take(user, address)
        if again is not None or not settings.is_on:
            agreements.question_sent(user, address, again)
            return
        token = agreements.new_question(user, address, settings.confirmation_age)
        link = f"{settings.base_url}/mail/confirm?token={token}"
        now = utcnow()
        unique = f"{hashed(token)[:32]}.confirm"
        result = self.transport.send(confirmation(self._sender, address, user, link, unique, now))
        self._count(result)
        is_lasting = isinstance(result, Response) and not 400 <= result.status < 500
        agreements.question_sent(
            user, address, None if is_lasting else now + timedelta(seconds=_ASK_AGAIN)
        )

    def _tell(self, notice: notices.NoticeMail) -> None:
        """Mail a notice to the address that Metadata has of an owner."""
        address = self._owners.address(notice.user) if self._settings.is_on else ""
        if not address:
            notices.notice_mailed(notice)
            return
        found = agreements.agreement(notice.user, address)
        if found is not None and found.standing in (Standing.LEFT, Standing.BLOCKED):
            notices.notice_mailed(notice)
            return
        if self._take(notice.user, address) is not None:
            return
        result = self.transport.send(
            notice_mail(
                self._sender,
                address,
                notice.kind,
                notice.name,
                self._links.subscription(notice.subscription),
                notice.error,
                f"{notice.subscription}.{int(notice.told.replace(tzinfo=UTC).timestamp())}",
                utcnow(),
            )
        )
        self._count(result)
        if isinstance(result, Response) and not 400 <= result.status < 500:
            notices.notice_mailed(notice)

    def _take(self, user: str, address: str) -> datetime | None:
        """Count a mail within the bounds of an hour; return when it may be sent if not now."""
        settings = self._settings
        limits = {
            hashed("all"): settings.rate,
            hashed(f"user {user}"): settings.user_rate,
            hashed(f"address {address}"): settings.address_rate,
        }
        return mailing.take_mails(limits, _HOUR)

    def _count(self, result: SendResult) -> None:
        status = "none"
        if isinstance(result, Response):
            status = f"{min(max(result.status // 100, 2), 5)}xx"
        self._tallies.observe(MAILS, result.seconds, status)
