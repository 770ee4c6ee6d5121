"""Mails on a real SMTP server: sent one by one or as digests, held, refused, and bounded."""

import json
import re
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from pacifica.notifications.clock import utcnow
from pacifica.notifications.flow import State
from pacifica.notifications.orm import Digest, EventLogMatch, MailCount, reading, writing
from pacifica.notifications.orm import Notice as NoticeRow
from pacifica.notifications.settings import MailServer as Server
from pacifica.notifications.store import agreements, history, mailing, notices, subscriptions
from pacifica.notifications.store.deliveries import due_allowed, due_matched
from tests.integration.stages.flow import EVENT, Flow, row
from tests.integration.stages.test_recovery import make_held_due
from tests.support.mailserver import MailServer, html_of, text_of
from tests.support.servers import RecordingServer, eventually, free_port
from tests.support.stored import release_or_probe

pytestmark = pytest.mark.parametrize("engine", ["sqlite"], indirect=True)

ADDRESS = "dml@facility.example"
BASE = "https://notify.example"


@pytest.fixture
def server() -> Iterator[MailServer]:
    with MailServer() as running:
        yield running


@pytest.fixture
def mailing_flow(make_flow: Callable[..., Flow], server: MailServer) -> Flow:
    return make_flow(**mail_settings(server.settings))


def mail_settings(server: Server, **changes: Any) -> dict[str, Any]:
    return {
        "mail_smtp_url": server,
        "mail_sender": "notifications@data.example",
        "mail_base_url": BASE,
        "mail_timeout": 10.0,
        **changes,
    }


def subscribe(
    flow: Flow, *, digest: str = "each", agreed: bool = True, user: str = "alice"
) -> UUID:
    """Subscribe an address that has agreed to the mails of a user."""
    if agreed:
        agreements.agree_unasked(user, ADDRESS)
    subscription = flow.subscribe(user, target_url=f"mailto:{ADDRESS}", name="My <b>data</b>")
    subscriptions.change_delivery_format(user, subscription, {"digest": digest})
    return subscription


def ingest(number: int = 1234, **values: Any) -> dict[str, Any]:
    said = {"_id": number, "project": "1234a", "instrument": 54, **values}
    records: list[dict[str, Any]] = [
        {"destinationTable": f"Transactions.{name}", "value": value} for name, value in said.items()
    ]
    return {**EVENT, "data": [*records, {"destinationTable": "Files", "size": 1500}]}


def send(flow: Flow, document: dict[str, Any]) -> UUID:
    """Receive an event and take it all the way, but for mails."""
    event = flow.receive(document)
    flow.run()
    return event


def mail_what_is_due(flow: Flow) -> None:
    """Do as the sweep does, until nothing is due."""
    while flow.app.mailer.is_due():
        flow.app.mailer.wake()
        eventually(lambda: not flow.app.mailer._running)


def states(subscription: UUID) -> list[str]:
    @reading
    def read() -> list[str]:
        rows = EventLogMatch.select().where(EventLogMatch.event_match == subscription)
        return [each.state for each in rows.order_by(EventLogMatch.created)]

    return read()


def all_are(state: State, subscription: UUID) -> Callable[[], bool]:
    return lambda: set(states(subscription)) == {state}


@writing
def let_digests_be_due() -> None:
    Digest.update(due=utcnow()).execute()


def test_event_is_mailed_with_what_arrived_and_where_it_is(
    mailing_flow: Flow, server: MailServer
) -> None:
    subscription = subscribe(mailing_flow)
    event = send(mailing_flow, ingest())
    (mail,) = server.wait_for(1)
    line = "Transaction 1234 of project 1234a on instrument 54: 1 file, 1.5 kB"
    assert mail["Subject"] == line
    assert (mail["From"], mail["To"]) == ("notifications@data.example", ADDRESS)
    assert mail["Auto-Submitted"] == "auto-generated"
    assert mail["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    assert re.fullmatch(rf"<{BASE}/mail/unsubscribe\?token=\S+>", mail["List-Unsubscribe"])
    for content in (text_of(mail), html_of(mail)):
        assert line in content
        assert f"{BASE}/ui/why?event={event}" in content
        assert f"{BASE}/ui/subscriptions/{subscription}/deliveries" in content
    assert "subscription My <b>data</b>:" in text_of(mail)
    assert "My &lt;b&gt;data&lt;/b&gt;" in html_of(mail)
    eventually(all_are(State.DELIVERED, subscription))


def test_mail_is_on_record_as_an_attempt_without_its_secrets(
    mailing_flow: Flow, server: MailServer
) -> None:
    subscription = subscribe(mailing_flow)
    send(mailing_flow, ingest())
    (mail,) = server.wait_for(1)
    eventually(all_are(State.DELIVERED, subscription))
    page = history.page_of_deliveries(subscription, history.DeliveryFilter(), 10, None, list)
    (delivery,) = page.deliveries
    assert mail["Message-ID"] == f"<{delivery.uuid}.1@data.example>"
    (made,) = history.attempts_of(delivery.uuid)
    assert (made.status, made.url, made.body) == (250, f"mailto:{ADDRESS}", "250 OK")
    assert made.address == "127.0.0.1"
    assert ["To", ADDRESS] in json.loads(made.request)
    assert "token=" not in made.request


def test_several_mails_come_over_few_connections(mailing_flow: Flow, server: MailServer) -> None:
    subscribe(mailing_flow)
    for number in range(8):
        send(mailing_flow, ingest(number))
    server.wait_for(8)
    assert server.connections <= mailing_flow.settings.mail.connections


def test_mail_is_sent_over_a_new_connection_when_the_server_has_closed_the_old_one(
    make_flow: Callable[..., Flow], server: MailServer
) -> None:
    flow = make_flow(**mail_settings(server.settings, mail_connections=1))
    subscribe(flow)
    send(flow, ingest(1))
    server.wait_for(1)
    (kept,) = flow.app.mailer.transport._open
    kept.abort()
    send(flow, ingest(2))
    server.wait_for(2)
    assert server.connections == 2


def test_digest_tells_a_thousand_events_in_one_mail_newest_first(
    mailing_flow: Flow, server: MailServer
) -> None:
    subscription = subscribe(mailing_flow, digest="hourly")
    for number in range(1000):
        mailing_flow.receive(ingest(number))
    while "collected" not in set(states(subscription)) or len(states(subscription)) < 1000:
        mailing_flow.run()
    eventually(all_are(State.COLLECTED, subscription))
    assert not server.mails
    let_digests_be_due()
    mail_what_is_due(mailing_flow)
    (mail,) = server.wait_for(1)
    assert mail["Subject"] == "1000 events for My <b>data</b>"
    text = text_of(mail)
    listed = [int(each) for each in re.findall(r"^- Transaction (\d+) of", text, re.MULTILINE)]
    assert listed == list(range(999, 899, -1))
    assert "... and 900 more: https://" in text
    assert html_of(mail).count("<li>") == 101
    eventually(all_are(State.DELIVERED, subscription))
    assert len(server.mails) == 1


@pytest.mark.parametrize("digest", ["hourly", "daily"])
def test_digest_waits_for_its_time(mailing_flow: Flow, server: MailServer, digest: str) -> None:
    subscription = subscribe(mailing_flow, digest=digest)
    send(mailing_flow, ingest())
    eventually(all_are(State.COLLECTED, subscription))
    mail_what_is_due(mailing_flow)
    assert not server.mails

    @reading
    def due() -> Any:
        return Digest.get().due

    assert utcnow() < due() <= utcnow() + timedelta(hours=1 if digest == "hourly" else 24)


def test_policy_is_asked_when_the_digest_is_sent(mailing_flow: Flow, server: MailServer) -> None:
    subscription = subscribe(mailing_flow, digest="hourly")
    send(mailing_flow, ingest(1))
    send(mailing_flow, ingest(2))
    eventually(all_are(State.COLLECTED, subscription))
    mailing_flow.policy.answer = lambda asked: (
        200 if b'"value": 1}' in asked.body else 412,
        {},
        b"",
    )
    let_digests_be_due()
    mail_what_is_due(mailing_flow)
    (mail,) = server.wait_for(1)
    assert mail["Subject"].startswith("Transaction 1 ")
    eventually(lambda: sorted(states(subscription)) == ["delivered", "denied"])


def test_nothing_is_mailed_while_policy_is_away(mailing_flow: Flow, server: MailServer) -> None:
    subscription = subscribe(mailing_flow, digest="hourly")
    send(mailing_flow, ingest())
    eventually(all_are(State.COLLECTED, subscription))
    mailing_flow.policy.answer = lambda _asked: (500, {}, b"")
    let_digests_be_due()
    mail_what_is_due(mailing_flow)
    assert not server.mails
    assert states(subscription) == ["collected"]


@pytest.mark.parametrize("fault", ["deferred", "hanging", "absent"])
def test_mail_is_tried_again_and_then_held_when_the_server_may_recover(
    make_flow: Callable[..., Flow], server: MailServer, fault: str
) -> None:
    place = Server("127.0.0.1", free_port()) if fault == "absent" else server.settings
    seconds = 0.5 if fault == "hanging" else 10.0
    flow = make_flow(**mail_settings(place, mail_timeout=seconds), delivery_attempts=1)
    said = {"deferred": "451 ", "hanging": "it took too long", "absent": "no connection"}[fault]
    server.answer = lambda _mail: "451 try later" if fault == "deferred" else "250 OK"
    server.hang = fault == "hanging"
    subscription = subscribe(flow)
    send(flow, ingest())
    eventually(lambda: row(subscription).disabled is not None)
    stored = row(subscription)
    assert f"mail to {ADDRESS} about event" in stored.error
    assert said in stored.error
    assert stored.held_due is not None  # it is probed
    eventually(all_are(State.HELD, subscription))
    if fault != "absent":
        server.answer, server.hang = lambda _mail: "250 OK", False
        probe(flow, subscription)
        server.wait_for(1)
        eventually(lambda: row(subscription).disabled is None)
        eventually(all_are(State.DELIVERED, subscription))


def authorise_again(flow: Flow) -> None:
    """Ask Policy about what was released, and have it sent or mailed."""
    flow.pipeline.deliverer.deliver(flow.pipeline.authoriser.authorise(due_matched(100)))
    mail_what_is_due(flow)


def probe(flow: Flow, subscription: UUID) -> None:
    """Have the probe of a disabled subscription sent, as the sweeps do."""
    make_held_due()
    release_or_probe(subscription, flow.settings)
    authorise_again(flow)


@pytest.mark.parametrize("where", ["recipient", "content"])
def test_mail_that_is_refused_disables_for_good(
    mailing_flow: Flow, server: MailServer, where: str
) -> None:
    if where == "recipient":
        server.rcpt = "550 5.1.1 no such user"
    else:
        server.answer = lambda _mail: "554 5.7.1 not wanted"
    subscription = subscribe(mailing_flow)
    send(mailing_flow, ingest())
    eventually(lambda: row(subscription).disabled is not None)
    stored = row(subscription)
    assert stored.held_due is None
    assert ("550 5.1.1" if where == "recipient" else "554 5.7.1") in stored.error
    eventually(all_are(State.HELD, subscription))


def test_webhooks_do_not_wait_for_a_mail_server_that_hangs(
    mailing_flow: Flow, server: MailServer
) -> None:
    server.hang = True
    for number in range(20):
        subscribe(mailing_flow, user=f"user-{number}")
    mailing_flow.subscribe("bob")
    send(mailing_flow, ingest())
    eventually(lambda: len(mailing_flow.target.requests) == 1, 5)


def test_nothing_is_mailed_to_an_address_that_has_not_agreed(
    mailing_flow: Flow, server: MailServer
) -> None:
    subscription = subscribe(mailing_flow, agreed=False)
    send(mailing_flow, ingest())
    eventually(lambda: row(subscription).disabled is not None)
    assert row(subscription).error.startswith("the address has not agreed to get mails")
    mail_what_is_due(mailing_flow)
    (mail,) = server.wait_for(1)
    assert mail["Subject"] == "Do you want mails about new data?"
    assert "1234" not in text_of(mail)
    eventually(all_are(State.HELD, subscription))
    (token,) = re.findall(rf"{BASE}/mail/confirm\?token=(\S+)", text_of(mail))
    assert agreements.agree("x" * 43) is None
    assert agreements.agree(token) is not None
    assert agreements.agree(token) is None  # it was used
    assert row(subscription).disabled is None
    release_or_probe(subscription, mailing_flow.settings)
    authorise_again(mailing_flow)
    server.wait_for(2)
    eventually(all_are(State.DELIVERED, subscription))


def test_few_first_mails_are_sent_to_one_address(mailing_flow: Flow, server: MailServer) -> None:
    most = mailing_flow.settings.mail.address_confirmations
    for number in range(most + 3):
        agreements.ask(f"user-{number}", ADDRESS)
    mail_what_is_due(mailing_flow)
    assert len(server.wait_for(most)) == most


def test_address_that_is_blocked_is_asked_by_nobody(mailing_flow: Flow, server: MailServer) -> None:
    agreements.ask("alice", ADDRESS)
    mail_what_is_due(mailing_flow)
    (mail,) = server.wait_for(1)
    (token,) = re.findall(r"token=(\S+)", text_of(mail))
    assert agreements.block(token) is not None
    agreements.ask("bob", ADDRESS)
    agreements.agree_unasked("carol", ADDRESS)
    mail_what_is_due(mailing_flow)
    subscription = subscribe(mailing_flow, agreed=False, user="carol")
    send(mailing_flow, ingest())
    eventually(lambda: row(subscription).disabled is not None)
    mail_what_is_due(mailing_flow)
    assert len(server.mails) == 1


@pytest.mark.parametrize("bound", ["user_rate", "address_rate", "rate"])
def test_what_comes_past_a_bound_waits_and_is_sent_together(
    make_flow: Callable[..., Flow], server: MailServer, bound: str
) -> None:
    flow = make_flow(**mail_settings(server.settings), **{f"mail_{bound}": 2})
    subscription = subscribe(flow)
    for number in range(2):
        send(flow, ingest(number))
        server.wait_for(number + 1)
    for number in range(2, 22):
        send(flow, ingest(number))
    eventually(lambda: states(subscription).count("collected") == 20)
    mail_what_is_due(flow)
    assert len(server.mails) == 2

    @writing
    def let_an_hour_pass() -> None:
        MailCount.update(began=utcnow() - timedelta(hours=1, seconds=1)).execute()

    let_an_hour_pass()
    let_digests_be_due()
    mail_what_is_due(flow)
    assert server.wait_for(3)[2]["Subject"].startswith("20 events")


def test_what_waits_is_mailed_when_its_digest_was_lost(
    mailing_flow: Flow, server: MailServer
) -> None:
    subscription = subscribe(mailing_flow, digest="daily")
    send(mailing_flow, ingest())
    eventually(all_are(State.COLLECTED, subscription))

    @writing
    def lose() -> None:
        Digest.delete().execute()

    lose()
    assert mailing.schedule_forgotten() == 1
    assert mailing.schedule_forgotten() == 0
    mail_what_is_due(mailing_flow)
    server.wait_for(1)


def test_what_waits_is_posted_when_the_target_is_changed_to_a_webhook(
    mailing_flow: Flow, server: MailServer
) -> None:
    subscription = subscribe(mailing_flow, digest="daily")
    send(mailing_flow, ingest())
    eventually(all_are(State.COLLECTED, subscription))
    target = {"target_url": mailing_flow.target.url}
    subscriptions.update("alice", subscription, lambda _stored: target)
    let_digests_be_due()
    mail_what_is_due(mailing_flow)
    mailing_flow.pipeline.deliverer.deliver(due_allowed(100))
    eventually(all_are(State.DELIVERED, subscription))
    assert (len(mailing_flow.target.requests), len(server.mails)) == (1, 0)


def test_what_waits_is_dropped_when_its_subscription_is_deleted(mailing_flow: Flow) -> None:
    subscription = subscribe(mailing_flow, digest="daily")
    send(mailing_flow, ingest())
    eventually(all_are(State.COLLECTED, subscription))
    subscriptions.delete("alice", subscription)
    assert states(subscription) == ["dropped"]


def test_probe_to_an_address_that_has_left_meanwhile_is_held(
    make_flow: Callable[..., Flow], server: MailServer
) -> None:
    flow = make_flow(**mail_settings(server.settings), delivery_attempts=1)
    server.answer = lambda _mail: "451 try later"
    subscription = subscribe(flow)
    send(flow, ingest())
    eventually(all_are(State.HELD, subscription))
    found = agreements.agreement("alice", ADDRESS)
    assert found is not None
    agreements.leave(found.uuid)
    probe(flow, subscription)
    eventually(lambda: row(subscription).held_due is None)
    eventually(all_are(State.HELD, subscription))
    assert row(subscription).error.startswith("the address has not agreed")


HOSTILE = (
    "a\r\nBcc: everybody@facility.example\r\n\r\nowned",
    "\u202egnp.exe \u2066\u200f",
    "<script>alert(1)</script><img src=x onerror=alert(1)>",
    "=?utf-8?q?=0d=0aBcc:=20x?= \ud800",
    "\u05e4\u05e8\u05d5\u05d9\u05e7\u05d8 \U0001f4e6 Häuslein",
    "x" * 100_000,
)


@pytest.mark.parametrize(
    "name", HOSTILE, ids=["header", "bidi", "markup", "encoded", "rtl", "long"]
)
def test_names_in_an_event_add_neither_headers_nor_markup(
    mailing_flow: Flow, server: MailServer, name: str
) -> None:
    subscribe(mailing_flow)
    send(mailing_flow, ingest(1, project=name, instrument=name))
    (mail,) = server.wait_for(1)
    assert mail["Bcc"] is None
    assert mail["To"] == ADDRESS
    assert set(mail.keys()) == {
        *("From", "To", "Subject", "Date", "Message-ID", "Auto-Submitted", "MIME-Version"),
        *("List-Unsubscribe", "List-Unsubscribe-Post", "Content-Type"),
    }
    assert len(mail["Subject"]) <= 150
    assert "<script" not in html_of(mail)
    assert "<img" not in html_of(mail)
    for bad in "\u202e\u200f\u2066":
        assert bad not in text_of(mail)
        assert bad not in html_of(mail)


def test_owner_is_told_of_a_failure_by_mail(
    make_flow: Callable[..., Flow], server: MailServer
) -> None:
    users = json.dumps([{"network_id": "alice", "email_address": "alice@facility.example"}])
    with RecordingServer(lambda _asked: (200, {}, users.encode())) as metadata:
        flow = make_flow(**mail_settings(server.settings), settle_metadata_url=metadata.url)
        silent = flow.subscribe("alice", name="silent")
        subscriptions.change_delivery_format("alice", silent, {"tell_owner": False})
        told = flow.subscribe("alice", name="important")
        others = flow.subscribe("bob")
        flow.target.answer = lambda _asked: (404, {}, b"gone")
        send(flow, ingest())
        eventually(lambda: all(row(each).disabled for each in (silent, told, others)))
        assert len(notices.tell_due(mail=True)) == 3
        mail_what_is_due(flow)
        (mail,) = server.wait_for(1)
        assert (mail["To"], mail["Subject"]) == (
            "alice@facility.example",
            "Subscription stopped: important",
        )
        assert "status 404" in text_of(mail)
        assert f"{BASE}/ui/subscriptions/{told}/deliveries" in html_of(mail)

        @reading
        def waiting() -> int:
            return NoticeRow.select().where(NoticeRow.mail_due.is_null(False)).count()

        assert waiting() == 0
        asked = {each.path for each in metadata.requests}
        assert "/users?network_id=bob&recursion_depth=0" in asked


def test_service_without_a_mail_server_disables_what_was_mailed(flow: Flow) -> None:
    subscription = subscribe(flow)
    send(flow, ingest())
    eventually(lambda: row(subscription).disabled is not None)
    assert "[mail] smtp_url is not configured" in row(subscription).error
    eventually(all_are(State.HELD, subscription))
