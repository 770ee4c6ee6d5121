"""How the service connects to MariaDB: with TLS where there is some, at next to no cost."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import peewee
import pytest

from pacifica.notifications.config import load_settings
from pacifica.notifications.orm import open_database

pytestmark = [
    pytest.mark.server,
    pytest.mark.parametrize("engine", [pytest.param("mariadb", id="mariadb")], indirect=True),
]


def opened(url: str, monkeypatch: pytest.MonkeyPatch, options: str = "") -> peewee.Database:
    monkeypatch.setenv("PEEWEE_URL", url + options)
    settings = load_settings()
    return open_database(settings.database, settings.security).engine


@pytest.mark.parametrize("pool", ["", "+pool"])
def test_connections_share_a_tls_context_and_do_without_tls_when_the_server_has_none(
    empty_database: str, pool: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = empty_database.replace("mysql", f"mysql{pool}", 1)
    one = opened(url, monkeypatch)

    def context(database: Any) -> Any:
        connection = database.connection()
        try:
            assert connection.ssl
            assert database.execute_sql("SELECT 1").fetchone() == (1,)
            return connection.ctx
        finally:
            database.close_all() if pool else database.close()

    with ThreadPoolExecutor(1) as thread:
        assert context(one) is thread.submit(context, one).result(10)


@pytest.mark.parametrize("option", ["ssl_verify_cert=true", "ssl_verify_identity=true"])
def test_connection_is_refused_when_the_url_demands_a_certificate_that_there_is_not(
    empty_database: str, option: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(peewee.OperationalError, match=r"(?i)ssl|tls|certificate"):
        opened(empty_database, monkeypatch, f"?{option}").connect()


def test_connection_asks_for_no_tls_when_the_url_says_so(
    empty_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    database: Any = opened(empty_database, monkeypatch, "?ssl_disabled=true")
    assert not database.connection().ssl
    database.close()
