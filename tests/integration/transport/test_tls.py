"""TLS: which certificates a transport trusts."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from pacifica.notifications.transport import Transport
from tests.support.certificates import encrypting_server
from tests.support.servers import RawServer, RecordingServer
from tests.support.transports import answer, no_answer, post


@pytest.fixture
def tls_server(certificate: Path) -> Iterator[RawServer]:
    with encrypting_server(certificate) as server:
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
