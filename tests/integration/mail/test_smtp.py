"""Handing mails over: STARTTLS, TLS, logins, and servers that fail, on a real SMTP server."""

import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from pacifica.notifications.mail import MailTransport, Sender, confirmation
from pacifica.notifications.settings import MailServer as Server
from pacifica.notifications.settings import MailSettings
from pacifica.notifications.transport import Response, SendFailure, SendResult
from tests.support.mailserver import PASSWORD, USER, MailServer
from tests.support.servers import eventually, free_port

# Of the test's own server, which asks for a login inside of TLS from the start.
pytestmark = pytest.mark.filterwarnings("ignore:Requiring AUTH while not requiring TLS:UserWarning")

SENDER = Sender("notifications@data.example", "https://notify.example", ZoneInfo("UTC"))
MAIL = confirmation(
    SENDER, "dml@facility.example", "alice", "https://x.example", "1", datetime(2026, 1, 31)
)


def send(server: Server, **settings: Any) -> SendResult:
    """Hand over one mail."""
    transport = MailTransport(MailSettings(smtp_url=server, timeout=2.0, **settings))
    try:
        return transport.send(MAIL)
    finally:
        transport.close()


def context_of(certificate: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context


@pytest.mark.parametrize("starttls", [True, False])
def test_mail_is_handed_over_with_tls_and_a_login(certificate: Path, starttls: bool) -> None:
    with MailServer(context_of(certificate), starttls=starttls) as server:
        place = Server(
            "localhost", server.port, not starttls, starttls, user=USER, password=PASSWORD
        )
        result = send(place, ca_file=str(certificate))
        assert isinstance(result, Response), result
        assert (result.status, result.body) == (250, b"250 OK")
        assert len(server.mails) == 1


@pytest.mark.parametrize("starttls", [True, False])
def test_login_that_is_refused_says_nothing_of_the_mail(certificate: Path, starttls: bool) -> None:
    with MailServer(context_of(certificate), starttls=starttls) as server:
        place = Server("localhost", server.port, not starttls, starttls, user=USER, password=USER)
        result = send(place, ca_file=str(certificate))
    assert isinstance(result, SendFailure)
    assert result.reason == "the mail server: it refuses this service with 535"


@pytest.mark.parametrize("starttls", [True, False])
def test_certificate_that_nobody_vouches_for_is_refused(certificate: Path, starttls: bool) -> None:
    with MailServer(context_of(certificate), starttls=starttls) as server:
        place = Server(
            "localhost", server.port, not starttls, starttls, user=USER, password=PASSWORD
        )
        result = send(place)
        assert isinstance(result, SendFailure)
        assert "TLS failed" in result.reason
        assert not server.mails


def test_password_is_not_sent_where_the_server_offers_no_tls() -> None:
    with MailServer() as server:
        result = send(Server("localhost", server.port, starttls=True, user=USER, password=PASSWORD))
        assert isinstance(result, SendFailure)
        assert "does not offer" in result.reason
        assert PASSWORD not in result.reason


@contextmanager
def saying(*lines: bytes, pause: float = 0.0) -> Iterator[int]:
    """Run a server that says lines whatever it is told, with a pause before each byte."""
    over = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            try:
                connection, _ = listening.accept()
            except OSError:
                return
            with connection:
                try:
                    for line in lines:
                        for byte in line:
                            if pause and over.wait(pause):
                                return
                            connection.sendall(bytes([byte]))
                        connection.recv(4096)
                except OSError:
                    pass

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield listening.getsockname()[1]
        finally:
            over.set()
            listening.shutdown(socket.SHUT_RDWR)
            thread.join()


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ([b"421 busy\r\n"], "it refuses this service with 421"),
        ([b"554 no\r\n"], "it refuses this service with 554"),
        ([b"220 hi\r\n", b"250 hi\r\n", b"550 not you\r\n"], "it refuses this service with 550"),
        ([b"220 hi\r\n", b"250 hi\r\n"], "closed the connection"),
        ([b"HTTP/1.1 400 Bad Request\r\n\r\n"], ""),
        ([b""], ""),
    ],
    ids=["busy", "never", "sender", "closes", "other", "silent"],
)
def test_server_that_takes_no_mail_may_take_one_later(lines: list[bytes], said: str) -> None:
    with saying(*lines) as port:
        result = send(Server("127.0.0.1", port))
    assert isinstance(result, SendFailure)
    assert not result.refused
    assert said in result.reason


def test_server_that_is_absent_is_said_so() -> None:
    result = send(Server("127.0.0.1", free_port()))
    assert isinstance(result, SendFailure)
    assert "no connection" in result.reason


def test_server_that_trickles_takes_no_longer_than_the_timeout() -> None:
    with saying(b"220-" + b"x" * 1000 + b"\r\n", pause=0.05) as port:
        began = time.monotonic()
        result = send(Server("127.0.0.1", port))
        assert isinstance(result, SendFailure)
        assert "took too long" in result.reason
        assert time.monotonic() - began < 3


def test_closing_ends_what_is_being_sent() -> None:
    with saying(b"220 hi\r\n", b"250 hi\r\n", b"", b"") as port:
        transport = MailTransport(MailSettings(smtp_url=Server("127.0.0.1", port), timeout=30.0))
        results: list[SendResult] = []
        thread = threading.Thread(target=lambda: results.append(transport.send(MAIL)))
        thread.start()
        eventually(lambda: any(each.address for each in transport._open))
        transport.close()
        thread.join(5)
        assert isinstance(results[0], SendFailure)


def test_large_answer_is_cut() -> None:
    with MailServer() as server:
        server.answer = lambda _mail: "554 " + "x" * 400
        result = send(Server("127.0.0.1", server.port))
        assert isinstance(result, Response)
        assert (result.status, result.truncated) == (554, False)
