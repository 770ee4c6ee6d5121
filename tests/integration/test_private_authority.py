"""Targets and Policy whose certificates a private authority has signed."""

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from pacifica.notifications.app import App
from pacifica.notifications.config import load_settings
from pacifica.notifications.settings import KEYS
from pacifica.notifications.transport import Request, Response, SendFailure
from tests.support.certificates import encrypting_server, own_certificate
from tests.support.servers import RawServer

TIMEOUT = 10


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return own_certificate(tmp_path_factory.mktemp("certificate"))


@pytest.fixture(scope="module")
def folder(certificate: Path) -> Path:
    """Return a folder with the certificate, prepared as OpenSSL needs it."""
    folder = certificate.parent / "folder"
    folder.mkdir()
    shutil.copy(certificate, folder)
    subprocess.run(["openssl", "rehash", folder], check=True, timeout=TIMEOUT)  # noqa: S607
    return folder


@pytest.fixture(scope="module")
def server(certificate: Path) -> Iterator[RawServer]:
    with encrypting_server(certificate) as server:
        yield server


@pytest.fixture(autouse=True)
def _configure_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for key in KEYS:
        for variable in (key.environment, *key.other_variables):
            monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("NOTIFICATIONS_CONFIG", str(tmp_path / "config.ini"))
    monkeypatch.setenv("PEEWEE_URL", "sqlite:///:memory:")
    monkeypatch.setenv("BROKER_URL", "memory://")


def results(server: RawServer) -> dict[str, Response | SendFailure]:
    """Return what a server answers when it is a target, and when it is Policy."""
    request = Request("POST", server.url.replace("http:", "https:"), ())
    with closing(App(load_settings())) as app:
        sent = {"delivery": app.to_targets.submit(request), "policy": app.to_policy.submit(request)}
        return {name: future.result(TIMEOUT) for name, future in sent.items()}


def trusting(server: RawServer) -> set[str]:
    return {name for name, result in results(server).items() if isinstance(result, Response)}


def test_private_authority_is_not_trusted_by_default(server: RawServer) -> None:
    for result in results(server).values():
        assert isinstance(result, SendFailure)
        assert result.reason == "TLS certificate not trusted"


@pytest.mark.parametrize("variable", ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"])
def test_private_authority_is_trusted_when_a_variable_names_it(
    variable: str, server: RawServer, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, str(certificate))
    assert trusting(server) == {"delivery", "policy"}


def test_folder_of_authorities_is_trusted(
    server: RawServer, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(folder))
    assert trusting(server) == {"delivery", "policy"}


@pytest.mark.parametrize("section", ["delivery", "policy"])
def test_key_is_for_its_own_part_alone(
    section: str, server: RawServer, certificate: Path, tmp_path: Path
) -> None:
    (tmp_path / "config.ini").write_text(f"[{section}]\nca_file = {certificate}\n")
    assert trusting(server) == {section}
