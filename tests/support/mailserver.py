"""A real SMTP server on this machine, which tests tell how to behave."""

import asyncio
import ssl
import threading
from collections.abc import Callable
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from pacifica.notifications.settings import MailServer as Settings
from tests.support.servers import free_port

USER, PASSWORD = "notifications", "se:cret@1"


class MailServer:
    """Takes mails for the block; `answer` says what to, and `rcpt` whom, if not all.

    While `over` is not set, `hang` keeps every mail waiting.
    """

    def __init__(self, context: ssl.SSLContext | None = None, *, starttls: bool = False) -> None:
        self.mails: list[EmailMessage] = []
        self.answer: Callable[[EmailMessage], str] = lambda _mail: "250 OK"
        self.rcpt = "250 OK"
        self.hang = False
        self.over = threading.Event()
        self.connections = 0
        self._changed = threading.Condition()
        self.port = free_port()
        options: dict[str, Any] = {}
        if context is not None or starttls:
            options |= {
                "authenticator": self._authenticate,
                "auth_required": True,
                "auth_require_tls": starttls,
            }
        if starttls:
            options |= {"tls_context": context, "require_starttls": True}
        self._controller = Controller(
            self,
            hostname="127.0.0.1",
            port=self.port,
            ssl_context=None if starttls else context,
            **options,
        )

    def __enter__(self) -> "MailServer":
        self._controller.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self.over.set()
        self._controller.stop()

    @property
    def settings(self) -> Settings:
        return Settings("127.0.0.1", self.port)

    def wait_for(self, count: int, timeout: float = 15.0) -> list[EmailMessage]:
        """Wait until so many mails have come, and return all of them."""
        with self._changed:
            enough = self._changed.wait_for(lambda: len(self.mails) >= count, timeout)
            assert enough, f"{len(self.mails)} mails came, not {count}"
            return list(self.mails)

    async def handle_EHLO(  # noqa: N802
        self, _server: SMTP, session: Session, _envelope: Envelope, host: str, responses: list[str]
    ) -> list[str]:
        session.host_name = host
        self.connections += 1
        return responses

    async def handle_RCPT(  # noqa: N802
        self,
        _server: SMTP,
        _session: Session,
        envelope: Envelope,
        address: str,
        _options: list[str],
    ) -> str:
        if self.rcpt.startswith("250"):
            envelope.rcpt_tos.append(address)
        return self.rcpt

    async def handle_DATA(self, _server: SMTP, _session: Session, envelope: Envelope) -> str:  # noqa: N802
        while self.hang and not self.over.is_set():
            await asyncio.sleep(0.05)
        content = envelope.content
        assert isinstance(content, bytes)
        mail = message_from_bytes(content, policy=default)
        assert isinstance(mail, EmailMessage)
        assert envelope.rcpt_tos == [mail["To"]]
        answer = self.answer(mail)
        if answer.startswith("250"):
            with self._changed:
                self.mails.append(mail)
                self._changed.notify_all()
        return answer

    @staticmethod
    def _authenticate(
        _server: SMTP, _session: Session, _envelope: Envelope, _mechanism: str, data: Any
    ) -> AuthResult:
        expected = LoginPassword(USER.encode(), PASSWORD.encode())
        return AuthResult(success=data == expected, handled=False)


def text_of(mail: EmailMessage) -> str:
    """Return the plain text of a mail."""
    part = mail.get_body(("plain",))
    assert part is not None
    return part.get_content()


def html_of(mail: EmailMessage) -> str:
    """Return the HTML of a mail."""
    part = mail.get_body(("html",))
    assert part is not None
    return part.get_content()
