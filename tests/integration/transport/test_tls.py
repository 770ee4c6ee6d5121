"""TLS: which certificates a transport trusts."""

import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from pacifica.notifications.transport import Transport
from tests.support import servers
from tests.support.servers import RawServer, RecordingServer
from tests.support.transports import answer, no_answer, post


@pytest.fixture
def tls_server(certificate: Path) -> Iterator[RawServer]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)

    def encrypted(connection: socket.socket, over: threading.Event) -> None:
        del over
        with context.wrap_socket(connection, server_side=True) as stream:
            while servers.read_request(stream):
                stream.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    with RawServer(encrypted) as server:
        yield server


def test_submit_gives_not_trusted_when_the_certificate_is_self_signed(
    transport: Transport, tls_server: RawServer
) -> None:
    url = tls_server.url.replace("http:", "https:")
    assert no_answer(transport, post(url)).reason == "TLS certificate not trusted"


def test_submit_gives_not_trusted_when_the_certificate_is_for_another_name(
    tls_server: RawServer, certificate: Path, slow_names: list[str]
) -> None:
    with Transport(ca_file=str(certificate)) as transport:
        url = f"https://target.test:{tls_server.port}"
        assert no_answer(transport, post(url)).reason == "TLS certificate not trusted"
    assert slow_names == ["target.test"]


def test_submit_is_answered_when_the_certificate_is_in_the_given_file(
    tls_server: RawServer, certificate: Path
) -> None:
    with Transport(ca_file=str(certificate)) as transport:
        for _ in range(2):
            url = tls_server.url.replace("http:", "https:")
            assert answer(transport, post(url)).body == b"ok"
    assert tls_server.connections == 1


def test_submit_gives_tls_failure_when_the_server_speaks_plain_http(
    transport: Transport, target: RecordingServer
) -> None:
    url = target.url.replace("http:", "https:")
    assert no_answer(transport, post(url)).reason == "TLS failure"
