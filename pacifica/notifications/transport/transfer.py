"""One request in libcurl, its sockets, and the meaning of libcurl's error codes."""

import os
import re
import socket
import sys
import time
from math import inf
from pathlib import Path
from typing import Any

import pycurl

from pacifica.notifications.subscriptions.networks import Rules
from pacifica.notifications.transport.messages import (
    Limits,
    PendingRequest,
    Response,
    SendFailure,
    SendResult,
)

# Libcurl reads the first three digits of a longer number as the status.
_STATUS_LINE = re.compile(rb"HTTP/\d(?:\.\d)? [1-9]\d\d[ \r\n]")

# The size limit for headers, including those of interim responses.
_HEADER_BYTES = 65536

# How much of the headers of a response is kept.
_KEPT_HEADER_BYTES = 4096

# The progress of a transfer: bytes of the request, of the response's headers and of its body.
_PROGRESS = (pycurl.SIZE_UPLOAD_T, pycurl.HEADER_SIZE, pycurl.SIZE_DOWNLOAD_T)

# Not one of libcurl's codes: the server was silent for too long.
SILENT = -1

BAD_URL = "not a usable URL"
_NOT_HTTP = "not an HTTP answer"
_BROKEN_OFF = "connection broken off"
_FLOOD = "too many response headers"
_TLS = "TLS failure"
_REASONS = {
    pycurl.E_URL_MALFORMAT: BAD_URL,
    pycurl.E_COULDNT_RESOLVE_HOST: "host not found",
    pycurl.E_COULDNT_CONNECT: "no connection",
    # Libcurl reads data without a status line as HTTP/0.9, which is not allowed ("unsupported").
    pycurl.E_UNSUPPORTED_PROTOCOL: _NOT_HTTP,
    pycurl.E_FTP_WEIRD_SERVER_REPLY: _NOT_HTTP,
    100: _FLOOD,  # CURLE_TOO_LARGE, a header line over 100 KB; pycurl has no name for it
    pycurl.E_GOT_NOTHING: _BROKEN_OFF,
    pycurl.E_PARTIAL_FILE: _BROKEN_OFF,
    pycurl.E_RECV_ERROR: _BROKEN_OFF,
    pycurl.E_SEND_ERROR: _BROKEN_OFF,
    pycurl.E_PEER_FAILED_VERIFICATION: "TLS certificate not trusted",
    pycurl.E_SSL_CONNECT_ERROR: _TLS,
    pycurl.E_SSL_CACERT_BADFILE: _TLS,
    pycurl.E_SSL_CERTPROBLEM: _TLS,
    pycurl.E_SSL_CIPHER: _TLS,
}


class Transfer:
    """One libcurl handle, reused for one request after another, and its response."""

    def __init__(self, limits: Limits, rules: Rules, ca_file: str) -> None:
        self._limits = limits
        self._pending: PendingRequest
        self._opener = SocketOpener(rules)
        self.curl = curl = pycurl.Curl()
        curl.setopt(pycurl.NOSIGNAL, 1)
        curl.setopt(pycurl.PROTOCOLS, pycurl.PROTO_HTTP | pycurl.PROTO_HTTPS)
        curl.setopt(pycurl.HTTP_VERSION, pycurl.CURL_HTTP_VERSION_1_1)
        curl.setopt(pycurl.FOLLOWLOCATION, 0)
        curl.setopt(pycurl.NETRC, pycurl.NETRC_IGNORED)
        # An empty proxy also keeps libcurl from reading one from the environment.
        curl.setopt(pycurl.PROXY, "")
        curl.setopt(pycurl.USERAGENT, "")
        # In a URL of Policy, a user called ".." must stay a path segment.
        curl.setopt(pycurl.PATH_AS_IS, 1)
        if Path(ca_file).is_dir():
            curl.unsetopt(pycurl.CAINFO)
            curl.setopt(pycurl.CAPATH, ca_file)
        else:
            curl.setopt(pycurl.CAINFO, ca_file)
        # To libcurl, 0 would mean no time-out.
        curl.setopt(pycurl.CONNECTTIMEOUT_MS, max(1, round(limits.connect_timeout * 1000)))
        curl.setopt(pycurl.HEADERFUNCTION, self._take_header)
        curl.setopt(pycurl.WRITEFUNCTION, self._take_body)
        self._opener.attach(curl)

    def begin(self, pending: PendingRequest, addresses: tuple[str, ...]) -> None:
        """Set the handle up for a new request."""
        self._pending = pending
        self._header_bytes = 0
        self._headers = b""
        self._is_http = True
        self._retry_after: str | None = None
        self._allowed_origin: str | None = None
        self._body: list[bytes] = []
        self._body_left = self._limits.response_bytes
        self._truncated = False
        request, address, curl = pending.request, pending.address, self.curl
        self._total = min(self._limits.total_timeout, request.timeout or inf)
        self._began = self._moved = time.monotonic()
        self._progress: tuple[float, ...] = ()
        self._opener.begin()
        # To libcurl, 0 would mean no time-out.
        curl.setopt(pycurl.TIMEOUT_MS, max(1, round(self._total * 1000)))
        # A header without a value keeps libcurl from adding its own.
        headers = ["Expect:", "Content-Type:"]
        for name, value in request.headers:
            headers.append(f"{name}: {value}" if value.strip() else f"{name};")
        curl.setopt(pycurl.URL, address.url)
        # The plus lets the entry expire like libcurl's own lookups.
        known = [f"[{ip}]" if ":" in ip else ip for ip in addresses]
        found = [f"+{address.name}:{address.port}:{','.join(known)}"] if known else []
        curl.setopt(pycurl.RESOLVE, found)
        curl.setopt(pycurl.HTTPHEADER, headers)
        self._asks_options = request.method == "OPTIONS"
        if request.method == "POST":
            curl.setopt(pycurl.POST, 1)
            curl.setopt(pycurl.POSTFIELDS, request.body)
        else:
            curl.setopt(pycurl.HTTPGET, 1)
        if self._asks_options:
            curl.setopt(pycurl.CUSTOMREQUEST, request.method)
        else:
            curl.unsetopt(pycurl.CUSTOMREQUEST)

    def end(self, code: int) -> tuple[PendingRequest, SendResult]:
        """Return the request and its result; `code` is libcurl's result code."""
        seconds = time.monotonic() - self._began
        if code == pycurl.E_OK or self._truncated:
            status = self.curl.getinfo(pycurl.RESPONSE_CODE)
            body = b"".join(self._body)
            return self._pending, Response(
                status,
                body,
                self._truncated,
                self._retry_after,
                seconds,
                self._allowed_origin,
                self._headers,
                self._address(),
            )
        if (broken := self._opener.refusal) is not None:
            return self._pending, SendFailure(broken, seconds, refused=True)
        if code == pycurl.E_OPERATION_TIMEDOUT:
            reason = f"no answer within {self._total:g} s"
            if seconds < self._total:
                reason = f"no connection within {self._limits.connect_timeout:g} s"
        elif code == SILENT:
            reason = f"nothing came for {self._limits.read_timeout:g} s"
        elif self._header_bytes > _HEADER_BYTES:
            reason = _FLOOD
        elif not self._is_http:
            reason = _NOT_HTTP
        else:
            reason = _REASONS.get(code, "transfer failed")
        return self._pending, SendFailure(reason, seconds, address=self._address())

    def _address(self) -> str:
        """Return the address and port of the server; empty if no connection was made."""
        ip = self.curl.getinfo(pycurl.PRIMARY_IP)
        if not ip:
            return ""
        port = self.curl.getinfo(pycurl.PRIMARY_PORT)
        return f"[{ip}]:{port}" if ":" in ip else f"{ip}:{port}"

    def is_silent(self, now: float) -> bool:
        """Return whether no data has moved for too long since the connection opened."""
        progress = tuple(self.curl.getinfo(each) for each in _PROGRESS)
        if progress != self._progress or not self.curl.getinfo(pycurl.PRETRANSFER_TIME_T):
            self._progress, self._moved = progress, now
        return now - self._moved >= self._limits.read_timeout

    def _take_header(self, line: bytes) -> int:
        self._header_bytes += len(line)
        if self._header_bytes > _HEADER_BYTES:
            return -1
        if line.startswith(b"HTTP/"):
            self._is_http = _STATUS_LINE.match(line) is not None
            if not self._is_http:
                return -1
            self._retry_after = self._allowed_origin = None
            self._headers = b""
        elif line[:12].lower() == b"retry-after:":
            self._retry_after = line[12:].strip().decode("latin-1")
        elif self._asks_options and line[:23].lower() == b"webhook-allowed-origin:":
            self._allowed_origin = line[23:].strip().decode("latin-1")
        self._headers += line[: _KEPT_HEADER_BYTES - len(self._headers)]
        return len(line)

    def _take_body(self, chunk: bytes) -> int:
        self._body.append(chunk[: self._body_left])
        self._truncated = len(chunk) > self._body_left
        self._body_left -= len(self._body[-1])
        return -1 if self._truncated else len(chunk)


class SocketOpener:
    """Opens the sockets of a transfer, only to addresses that the rules permit.

    Libcurl requests a socket for each address that it tries. So no connection is opened to any
    other address, however a URL is written and whatever its name resolves to.
    """

    def __init__(self, rules: Rules) -> None:
        self._rules = rules
        self._opened = False
        self._broken: str | None = None

    def attach(self, curl: pycurl.Curl) -> None:
        """Register with a handle; without rules, libcurl opens its sockets itself."""
        if self._rules.refuse_addresses:
            curl.setopt(pycurl.OPENSOCKETFUNCTION, self._open)
            if sys.platform != "win32":
                curl.setopt(pycurl.SOCKOPTFUNCTION, _close_on_exec)

    def begin(self) -> None:
        """Reset for a new transfer."""
        self._opened, self._broken = False, None

    @property
    def refusal(self) -> str | None:
        """The rule that refused a transfer; None if any address was tried."""
        return None if self._opened else self._broken

    def _open(self, _purpose: int, address: Any) -> Any:
        self._broken = self._rules.refusal(address.addr[0])
        if self._broken is not None:
            return pycurl.SOCKET_BAD
        self._opened = True
        try:
            return _LentSocket(socket.socket(address.family, address.socktype, address.protocol))
        except OSError:
            return pycurl.SOCKET_BAD


class _LentSocket:
    """A socket that closes when pycurl releases it; libcurl has a duplicate of it."""

    def __init__(self, opened: socket.socket) -> None:
        self._opened = opened

    def fileno(self) -> int:
        return self._opened.fileno()

    def __del__(self) -> None:
        self._opened.close()


def _close_on_exec(descriptor: int, _purpose: int) -> int:
    # Programs that this process runs would inherit the duplicate.
    os.set_inheritable(descriptor, False)
    return 0
