"""Hands mails to the mail server over a connection that each thread keeps."""

import smtplib
import socket
import ssl
import threading
import time
from contextlib import suppress
from email.message import EmailMessage
from email.policy import SMTP
from pathlib import Path

import certifi

from pacifica.notifications.settings import MailServer, MailSettings
from pacifica.notifications.transport import Response, SendFailure, SendResult

# Characters of an answer that are kept.
_MAX_ANSWER = 2000


class MailTransport:
    """Sends mails; each thread that does has a connection of its own, which it keeps for a while.

    Handing over one mail takes no longer than `[mail] timeout`, however slow the server is.
    """

    def __init__(self, settings: MailSettings) -> None:
        self._settings = settings
        self._local = threading.local()
        self._lock = threading.Lock()
        self._open: set[_Connection] = set()
        self._closed = False
        self._tls: ssl.SSLContext | None = None

    def send(self, message: EmailMessage) -> SendResult:
        """Hand over a mail and return what the server answered; never raises.

        A status from 500 on refuses this mail. One from 400 on may not last, as a SendFailure: that
        is also what a server gets that refuses this service, and not the mail.
        """
        began = time.monotonic()
        server = self._settings.smtp_url
        if server is None or self._closed:
            return SendFailure("no mail is sent: the service ends, or mail is off", 0.0, ours=True)
        content = message.as_bytes(policy=SMTP)
        sender, to = str(message["From"]), str(message["To"])
        deadline = began + self._settings.timeout
        connection = self._kept()
        if connection is not None:
            try:
                connection.begin(sender, deadline)
            except (smtplib.SMTPException, OSError, ValueError):
                pass  # it was closed meanwhile
            else:
                return self._finish(connection, to, content, began, deadline)
        self._drop()
        return self._send_anew(server, sender, to, content, began, deadline)

    def close(self) -> None:
        """Close all connections; what is being sent fails."""
        self._closed = True
        with self._lock:
            still_open, self._open = self._open, set()
        for each in still_open:
            each.close()

    def _send_anew(
        self,
        server: MailServer,
        sender: str,
        to: str,
        content: bytes,
        began: float,
        deadline: float,
    ) -> SendResult:
        try:
            connection = _Connection(server, self._context())
            self._keep(connection)
            connection.open(deadline)
            connection.begin(sender, deadline)
            return self._finish(connection, to, content, began, deadline)
        except (smtplib.SMTPException, OSError, ValueError) as error:
            self._drop()
            return SendFailure(f"the mail server: {_reason(error)}", time.monotonic() - began)

    def _finish(
        self, connection: "_Connection", to: str, content: bytes, began: float, deadline: float
    ) -> SendResult:
        """Send a mail whose sender the server has taken; from here on, it is not sent twice."""
        try:
            code, text = connection.send(to, content, deadline)
        except smtplib.SMTPResponseException as error:
            self._drop()
            return _answered(error.smtp_code, error.smtp_error, began, connection.address)
        except (smtplib.SMTPException, OSError, ValueError) as error:
            self._drop()
            return SendFailure(
                f"the mail server: {_reason(error)}",
                time.monotonic() - began,
                address=connection.address,
            )
        return _answered(code, text, began, connection.address)

    def _context(self) -> ssl.SSLContext | None:
        """Return what TLS needs; to make it takes long, so that it is kept."""
        server = self._settings.smtp_url
        if server is None or not (server.tls or server.starttls):
            return None
        with self._lock:
            if self._tls is None:
                self._tls = _context_of(self._settings.ca_file)
            return self._tls

    def _kept(self) -> "_Connection | None":
        connection: _Connection | None = getattr(self._local, "connection", None)
        if connection is None:
            return None
        is_fresh = time.monotonic() - connection.used < self._settings.max_idle
        return connection if is_fresh else None

    def _keep(self, connection: "_Connection") -> None:
        self._local.connection = connection
        with self._lock:
            self._open.add(connection)

    def _drop(self) -> None:
        connection: _Connection | None = getattr(self._local, "connection", None)
        self._local.connection = None
        if connection is not None:
            with self._lock:
                self._open.discard(connection)
            connection.close()


class _Connection:
    """A session with the mail server; a timer ends what takes too long in all."""

    def __init__(self, server: MailServer, context: ssl.SSLContext | None) -> None:
        self._server = server
        self._context = context
        self._smtp: smtplib.SMTP | None = None
        self.address = ""
        self.used = 0.0

    def open(self, deadline: float) -> None:
        """Connect, and log in where that is configured."""
        server = self._server
        left = max(deadline - time.monotonic(), 0.1)
        if server.tls:
            self._smtp = smtplib.SMTP_SSL(timeout=left, context=self._context)
        else:
            self._smtp = smtplib.SMTP(timeout=left)
        self._smtp._host = server.host  # type: ignore[attr-defined] # for the name in TLS
        with self._watched(deadline):
            code, text = self._smtp.connect(server.host, server.port)
            if code != 220:
                raise smtplib.SMTPConnectError(code, text)
            if self._smtp.sock is not None:
                self.address = str(self._smtp.sock.getpeername()[0])
            self._smtp.ehlo_or_helo_if_needed()
            if server.starttls:
                self._smtp.starttls(context=self._context)
                self._smtp.ehlo_or_helo_if_needed()
            if server.user:
                self._smtp.login(server.user, server.password)

    def begin(self, sender: str, deadline: float) -> None:
        """Begin a mail; a connection that was closed meanwhile shows here."""
        smtp = self._session()
        with self._watched(deadline):
            code, text = smtp.mail(sender)
            if code != 250:
                raise smtplib.SMTPSenderRefused(code, text, sender)

    def send(self, to: str, content: bytes, deadline: float) -> tuple[int, bytes]:
        """Send the rest of a mail and return the answer, also that to a refused recipient."""
        smtp = self._session()
        with self._watched(deadline):
            code, text = smtp.rcpt(to)
            if code not in (250, 251):
                smtp.rset()
            else:
                try:
                    code, text = smtp.data(content)
                except smtplib.SMTPDataError as error:
                    code, text = error.smtp_code, _bytes(error.smtp_error)
                if code != 250:
                    smtp.rset()
        self.used = time.monotonic()
        return code, text

    def abort(self) -> None:
        """End the connection at once, also while another thread waits for an answer."""
        sock = self._smtp.sock if self._smtp is not None else None
        if sock is not None:
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """End the connection, and give back what it has open."""
        self.abort()
        if self._smtp is not None:
            with suppress(OSError):
                self._smtp.close()

    def _session(self) -> smtplib.SMTP:
        if self._smtp is None or self._smtp.sock is None:
            raise smtplib.SMTPServerDisconnected("it is closed")
        return self._smtp

    def _watched(self, deadline: float) -> "_Watch":
        return _Watch(self, deadline)


class _Watch:
    """Ends what a connection does when its time is over, and says so."""

    def __init__(self, connection: _Connection, deadline: float) -> None:
        left = max(deadline - time.monotonic(), 0.0)
        self._expired = threading.Event()
        self._connection = connection
        self._timer = threading.Timer(left, self._end)
        self._timer.daemon = True

    def _end(self) -> None:
        self._expired.set()
        self._connection.abort()

    def __enter__(self) -> None:
        self._timer.start()

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        self._timer.cancel()
        if error is not None and self._expired.is_set():
            raise _TooSlow("it took too long") from error


class _TooSlow(smtplib.SMTPException):
    """The server did not answer in time."""


def _context_of(ca_file: str) -> ssl.SSLContext:
    is_folder = bool(ca_file) and Path(ca_file).is_dir()
    return ssl.create_default_context(
        cafile=None if is_folder else ca_file or certifi.where(),
        capath=ca_file if is_folder else None,
    )


def _answered(code: int, text: object, began: float, address: str = "") -> SendResult:
    answer = _bytes(text)
    seconds = time.monotonic() - began
    if not 200 <= code < 600:  # no answer of SMTP
        return SendFailure("the mail server: its answer is none of SMTP", seconds, address=address)
    body = f"{code} ".encode() + answer
    return Response(
        code, body[:_MAX_ANSWER], len(body) > _MAX_ANSWER, None, seconds, address=address
    )


def _bytes(text: object) -> bytes:
    return text if isinstance(text, bytes) else str(text).encode()


def _reason(error: Exception) -> str:
    """Say why there was no answer, without what could be secret."""
    if isinstance(error, _TooSlow | TimeoutError):
        return "it took too long"
    if isinstance(error, smtplib.SMTPServerDisconnected):
        # smtplib says so, too, of a socket whose time is over.
        return "it took too long" if "timed out" in str(error) else "it closed the connection"
    if isinstance(error, smtplib.SMTPNotSupportedError):
        return "it does not offer what smtp_url asks for"
    if isinstance(error, smtplib.SMTPResponseException):  # to a login, or to the sender
        return f"it refuses this service with {error.smtp_code}"
    if isinstance(error, ssl.SSLError):
        return f"TLS failed: {error.reason or 'no certificate that is trusted'}"
    if isinstance(error, socket.gaierror):
        return "its name cannot be looked up"
    if isinstance(error, OSError):
        return f"no connection: {error.strerror or 'failed'}"
    return "it did not answer as SMTP does"
