"""Addresses agree and unsubscribe by the links in mails, over HTTP; nobody else can for them."""

import re
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

import pytest
import requests

from pacifica.notifications import globals as locations
from pacifica.notifications.app import App
from pacifica.notifications.config import load_settings
from pacifica.notifications.mail import unsubscribe_token
from pacifica.notifications.orm import Notice, reading
from pacifica.notifications.store import agreements
from tests.integration.webservice import Service, assert_error, running
from tests.support.mailserver import MailServer, text_of
from tests.support.servers import RecordingServer, eventually

ADDRESS = "dml@facility.example"
TARGET = f"mailto:{ADDRESS}"
FORM = {"Content-Type": "application/x-www-form-urlencoded"}


@dataclass(frozen=True)
class Mailing(Service):
    """A web server that may send mails, and an App on its database, which sends them."""

    app: App = field(repr=False)


@pytest.fixture(scope="module")
def server() -> Iterator[MailServer]:
    with MailServer() as server:
        yield server


@pytest.fixture(scope="module")
def metadata() -> Iterator[RecordingServer]:
    users = b'[{"network_id": "%s", "email_address": "%s@own.example"}]'
    with RecordingServer() as server:
        server.answer = lambda asked: (200, {}, users % ((user_in(asked.path),) * 2))
        yield server


def user_in(path: str) -> bytes:
    found = re.search(r"network_id=([^&]+)", path)
    return found[1].encode() if found else b""


@pytest.fixture(scope="module")
def mailing(
    tmp_path_factory: pytest.TempPathFactory,
    environment_in: Callable[[Path], dict[str, str]],
    migrated: Path,
    server: MailServer,
    metadata: RecordingServer,
) -> Iterator["Mailing"]:
    """Run a web server that may send mails, on a database that this process uses as well."""
    folder = tmp_path_factory.mktemp("mailing")
    environment = {
        **environment_in(folder),
        "MAIL_SMTP_URL": f"smtp://127.0.0.1:{server.port}",
        "MAIL_FROM": "notifications@data.example",
        "MAIL_BASE_URL": "https://notify.example",
        "MAIL_TRUSTED_DOMAINS": "trusted.example",
        "SETTLE_METADATA_URL": metadata.url,
    }
    (folder / "db.sqlite3").write_bytes(migrated.read_bytes())
    with running(environment, folder) as service, pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        patch.setattr(locations, "CONFIG_FILE", environment["NOTIFICATIONS_CONFIG"])
        app = App(load_settings())
        try:
            yield Mailing(**vars(service), app=app)
        finally:
            app.close()


def first_mail(mailing: Mailing, server: MailServer, user: str) -> str:
    """Have first mails sent; return the token in that for a user."""
    tokens: list[str] = []

    def came() -> bool:
        mailing.app.mailer.wake()
        tokens[:] = [
            found[1]
            for mail in list(server.mails)
            if f"The user {user} " in " ".join(text_of(mail).split())
            and (found := re.search(r"token=(\S+)", text_of(mail)))
        ]
        return bool(tokens)

    eventually(came, 20)
    return tokens[-1]


def address_of(user: str) -> str:
    return f"{user}@facility.example"


def subscribe(mailing: Mailing, user: str, **changed: Any) -> dict[str, Any]:
    return mailing.create(user, **{"target_url": f"mailto:{address_of(user)}", **changed})


def link(mailing: Mailing, method: str, kind: str, token: str, body: str = "") -> requests.Response:
    """Open a link, or post to it, as somebody without any user."""
    headers = FORM if body else {}
    return mailing.call(
        method, f"/mail/{kind}?token={token}", body=body.encode() or None, headers=headers
    )


def read(mailing: Mailing, user: str, subscription: dict[str, Any]) -> dict[str, Any]:
    return mailing.call("GET", f"/eventmatch/{subscription['uuid']}", user).json()


@reading
def is_noted(subscription: dict[str, Any]) -> bool:
    """Tell whether the owner of a subscription is told of it."""
    return Notice.select().where(Notice.subscription == UUID(subscription["uuid"])).exists()


def unsubscribing(user: str) -> tuple[UUID, str]:
    """Return the agreement of a user's address, and a valid token to end it."""
    found = agreements.agreement(user, address_of(user))
    assert found is not None
    return found.uuid, unsubscribe_token(found.uuid, found.secret, 4_000_000_000)


def test_address_is_400_where_the_service_sends_no_mail(service: Service, user: str) -> None:
    body = {"name": "n", "jsonpath": "$.data", "target_url": TARGET}
    answer = service.call("POST", "/eventmatch", user, body)
    assert_error(answer, 400, "target_url", "[mail] smtp_url is not configured")


@pytest.mark.parametrize(
    "target",
    [
        "mailto:",
        "mailto:dml",
        "mailto:a@b.example,c@d.example",
        "mailto:a@b.example?bcc=c@d.example",
        "mailto:a%0d@b.example",
        "mailto:Some Body <a@b.example>",
        "mailto:a@b.example ",
        'mailto:"a b"@b.example',
        "MAILTO:a@b.example",
        f"mailto:{'a' * 250}@b.example",
    ],
)
def test_target_that_is_not_one_address_is_400(mailing: Mailing, user: str, target: str) -> None:
    body = {"name": "n", "jsonpath": "$.data", "target_url": target}
    assert_error(mailing.call("POST", "/eventmatch", user, body), 400, "target_url")


def test_auth_for_an_address_is_400(mailing: Mailing, user: str) -> None:
    auth = {"type": "basic", "basic": {"username": "a", "password": "b"}}
    body = {"name": "n", "jsonpath": "$.data", "target_url": TARGET, "auth": auth}
    assert_error(mailing.call("POST", "/eventmatch", user, body), 400, "auth")


def test_subscription_waits_until_its_address_agrees(
    mailing: Mailing, server: MailServer, user: str
) -> None:
    created = subscribe(mailing, user)
    assert created["disabled"] is not None
    assert created["error"].startswith("the address has not agreed to get mails yet")
    assert not is_noted(created)  # its owner knows
    token = first_mail(mailing, server, user)
    shown = link(mailing, "GET", "confirm", token)
    assert shown.status_code == 200
    assert shown.headers["Content-Type"] == "text/html;charset=utf-8"
    assert (shown.headers["Referrer-Policy"], shown.headers["Cache-Control"]) == (
        "no-referrer",
        "no-store",
    )
    assert "default-src 'none'" in shown.headers["Content-Security-Policy"]
    assert user in shown.text
    assert read(mailing, user, created)["disabled"] is not None  # reading it changes nothing
    assert link(mailing, "POST", "confirm", token, "answer=agree").status_code == 200
    assert read(mailing, user, created)["disabled"] is None
    for method, body in (("GET", ""), ("POST", "answer=agree")):
        assert link(mailing, method, "confirm", token, body).status_code == 404  # it was used
    assert subscribe(mailing, user)["disabled"] is None


def test_owner_cannot_enable_it_instead(mailing: Mailing, server: MailServer, user: str) -> None:
    created = subscribe(mailing, user)
    enabled = mailing.call("PUT", f"/eventmatch/{created['uuid']}", user, {"disabled": None})
    assert enabled.status_code == 200
    assert enabled.json()["disabled"] is not None
    webhook = mailing.create(user)
    body = {"target_url": created["target_url"]}
    changed = mailing.call("PUT", f"/eventmatch/{webhook['uuid']}", user, body)
    assert changed.json()["disabled"] is not None
    first_mail(mailing, server, user)


def test_address_that_never_wants_mails_is_refused_for_everybody(
    mailing: Mailing, server: MailServer, user: str
) -> None:
    created = subscribe(mailing, user)
    token = first_mail(mailing, server, user)
    assert link(mailing, "POST", "confirm", token, "answer=never").status_code == 200
    assert read(mailing, user, created)["disabled"] is not None
    other = {"name": "n", "jsonpath": "$.data", "target_url": created["target_url"]}
    answer = mailing.call("POST", "/eventmatch", f"{user}-other", other)
    assert_error(answer, 400, "this address wants no mail of this service")


def test_address_of_metadata_and_of_trusted_domains_need_not_agree(
    mailing: Mailing, user: str
) -> None:
    for address in (f"{user}@own.example", "anybody@trusted.example", "x@Trusted.Example"):
        assert subscribe(mailing, user, target_url=f"mailto:{address}")["disabled"] is None
    for address in (f"{user}x@own.example", "x@sub.trusted.example", "x@trusted.example.org"):
        assert subscribe(mailing, user, target_url=f"mailto:{address}")["disabled"] is not None


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        ("List-Unsubscribe=One-Click", "application/x-www-form-urlencoded"),
        (
            '--b\r\nContent-Disposition: form-data; name="List-Unsubscribe"\r\n\r\nOne-Click\r\n'
            "--b--\r\n",
            "multipart/form-data; boundary=b",
        ),
    ],
    ids=["form", "multipart"],
)
def test_address_unsubscribes_with_one_click(
    mailing: Mailing, user: str, body: str, kind: str
) -> None:
    agreements.agree_unasked(user, address_of(user))
    created = subscribe(mailing, user)
    assert created["disabled"] is None
    _agreement, token = unsubscribing(user)
    assert link(mailing, "GET", "unsubscribe", token).status_code == 200
    assert read(mailing, user, created)["disabled"] is None
    clicked = mailing.call(
        "POST",
        f"/mail/unsubscribe?token={token}",
        body=body.encode(),
        headers={"Content-Type": kind},
    )
    assert clicked.status_code == 200
    after = read(mailing, user, created)
    assert after["error"].endswith(f"{address_of(user)} has unsubscribed")
    assert subscribe(mailing, user)["disabled"] is not None  # also another one


def test_link_serves_one_purpose_and_expires(
    mailing: Mailing, server: MailServer, user: str
) -> None:
    subscribe(mailing, user)
    confirming = first_mail(mailing, server, user)
    uuid, token = unsubscribing(user)
    found = agreements.agreement_by_uuid(uuid)
    assert found is not None
    old = unsubscribe_token(uuid, found.secret, 1_700_000_000)
    forged = unsubscribe_token(uuid, "guessed", 4_000_000_000)
    for kind, wrong, body in (
        ("confirm", token, "answer=agree"),
        ("confirm", "", "answer=agree"),
        ("confirm", "x" * 5000, "answer=agree"),
        ("unsubscribe", confirming, "List-Unsubscribe=One-Click"),
        ("unsubscribe", old, "List-Unsubscribe=One-Click"),
        ("unsubscribe", forged, "List-Unsubscribe=One-Click"),
        ("unsubscribe", "%00%ff", "List-Unsubscribe=One-Click"),
    ):
        assert link(mailing, "GET", kind, wrong).status_code == 404
        assert link(mailing, "POST", kind, wrong, body).status_code == 404


@pytest.mark.parametrize(
    ("kind", "body"), [("confirm", "answer=other"), ("unsubscribe", "a=b"), ("confirm", "x" * 9000)]
)
def test_body_that_is_not_of_the_page_is_refused(
    mailing: Mailing, server: MailServer, user: str, kind: str, body: str
) -> None:
    subscribe(mailing, user)
    token = first_mail(mailing, server, user)
    if kind == "unsubscribe":
        _uuid, token = unsubscribing(user)
    answer = link(mailing, "POST", kind, token, body)
    assert_error(answer, 413 if len(body) > 4096 else 400)


def test_zeros_before_the_length_of_a_body_are_no_way_past_its_bound(mailing: Mailing) -> None:
    headers = {**FORM, "Content-Length": f"{5000:015}"}
    with closing(HTTPConnection(urlsplit(mailing.url).netloc, timeout=10)) as connection:
        connection.request("POST", "/mail/confirm", b"x" * 5000, headers)
        assert connection.getresponse().status == 413


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "OPTIONS"])
def test_other_methods_are_405(mailing: Mailing, method: str) -> None:
    answer = mailing.call(method, "/mail/confirm?token=x")
    assert (answer.status_code, answer.headers["Allow"]) == (405, "GET, HEAD, POST")


def test_names_on_a_page_are_no_markup(mailing: Mailing, server: MailServer, user: str) -> None:
    name = f"<b>{user}</b>".replace("/", "")
    agreements.ask(name, ADDRESS.replace("dml", user))
    seen = len(server.mails)
    mailing.app.mailer.wake()
    mail = server.wait_for(seen + 1)[-1]
    found = re.search(r"token=(\S+)", text_of(mail))
    assert found is not None
    shown = link(mailing, "GET", "confirm", found[1]).text
    assert "<b>" not in shown
    assert f"&lt;b&gt;{user}" in shown


def test_tokens_are_not_in_the_access_log(mailing: Mailing) -> None:
    link(mailing, "GET", "confirm", "a-secret-token")

    def lines() -> list[str]:
        return [each for each in mailing.program.lines if "/mail/confirm" in each]

    eventually(lambda: bool(lines()))
    assert not [each for each in mailing.program.lines if "a-secret-token" in each]


def test_test_of_a_target_mails_one_event(mailing: Mailing, server: MailServer, user: str) -> None:
    created = subscribe(mailing, user)
    path = f"/eventmatch/{created['uuid']}/test"
    assert_error(mailing.call("POST", path, user), 400, "has not agreed")
    agreements.agree_unasked(user, address_of(user))
    seen = len(server.mails)
    answer = mailing.call("POST", path, user)
    assert (answer.status_code, answer.json()["status"]) == (200, 250)
    assert server.wait_for(seen + 1)[-1]["To"] == address_of(user)
