"""The configuration: one line for every value that cannot be used."""

from pathlib import Path
from typing import Any

import pytest

from pacifica.notifications.__main__ import cmd, main
from pacifica.notifications.config import load_settings
from pacifica.notifications.settings import KEYS
from pacifica.notifications.settings.keys import without_credentials
from tests.unit.config.refusals import KEY, refused


@pytest.mark.parametrize(
    ("lease", "others"),
    [
        ("20", {}),
        ("13", {"POLICY_TIMEOUT": "1"}),
        ("2", {"POLICY_TIMEOUT": "1", "DELIVERY_TIMEOUT": "0.5", "DELIVERY_CONNECT_TIMEOUT": "1"}),
    ],
)
def test_lease_is_refused_when_it_may_end_before_its_work(
    lease: str, others: dict[str, str], file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    del file
    for name, value in {"CELERY_LEASE": lease, **others}.items():
        monkeypatch.setenv(name, value)
    line = refused()
    assert f"CELERY_LEASE: [celery] lease = '{lease}': must be more than {lease}" in line
    monkeypatch.setenv("CELERY_LEASE", f"{lease}.1")
    assert load_settings().celery.lease == float(f"{lease}.1")


BAD = [
    *(("policy_url", url) for url in ("", "nonsense", "ftp://h", "http://", "http://h:99999")),
    ("policy_url", "http://[::1"),
    *(("user_header", name) for name in ("", "Http Remote User", "Http_Remote_User", "X:", "é")),
    ("broker_url", ""),
    *(("peewee_url", url) for url in ("", "db.sqlite3", "oracle://h/db", "http://h/db")),
    *(("peewee_url", url) for url in ("sqlite://db.sqlite3", "sqliteext:///", "mysql://h")),
    ("peewee_url", "sqlite://folder/db.sqlite3"),
    *(("peewee_url", url) for url in ("postgres://h:99999/db", "mysql+pool://h:port/db")),
    *(("peewee_url", url) for url in ("postgres:db", "postgres:/db", "mysql://u:1/2@h/db")),
    *(("connect_attempts", text) for text in ("", "0", "-1", "1.5", "many", "inf")),
    *(("connect_wait", text) for text in ("", "-1", "nan", "inf", "20 s")),
    *(("max_body", text) for text in ("0", "64 MB")),
    *(("waits", text) for text in ("", "30, 60", "-1 2", "soon")),
    *(("rate", text) for text in ("", "-1", "inf")),
    *(("strict", text) for text in ("", "2", "perhaps")),
    *(("deny_networks", text) for text in ("10.0.0.1/8", "localhost", "10.0.0.0/8, ::1")),
    *(("origin", text) for text in ("a b", "*", "https://a.example", "é", "a" * 254)),
]
BAD_SECRETS = [
    *(("key", text) for text in ("canary", KEY[:-4], f"{KEY},{KEY}", f"{KEY} canary")),
    ("token", "canär"),
]


@pytest.mark.parametrize(("name", "text"), BAD)
@pytest.mark.parametrize("source", ["file", "environment"])
def test_bad_value_is_refused_in_one_line_that_says_all(
    name: str, text: str, source: str, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = next(key for key in KEYS if key.name == name)
    if source == "file":
        file.write_text(f"[{key.section}]\n{name} = {text}\n", encoding="utf-8")
        monkeypatch.setenv(key.environment, key.default)
    else:
        monkeypatch.setenv(key.environment, text)
    line = refused()
    named = str(file) if source == "file" else key.environment
    for part in (named, f"[{key.section}]", key.name, repr(key.kind.show(text)), key.kind.accepts):
        assert part in line


@pytest.mark.parametrize(("name", "text"), BAD_SECRETS)
def test_bad_secret_is_refused_without_being_repeated(name: str, text: str, file: Path) -> None:
    key = next(key for key in KEYS if key.name == name)
    file.write_text(f"[{key.section}]\n{name} = {text}\n", encoding="utf-8")
    line = refused()
    for part in (str(file), f"[{key.section}]", key.name, key.kind.accepts):
        assert part in line
    assert not any(word in line for word in text.split())


@pytest.mark.parametrize(
    "content",
    [
        b"policy_url = http://h",
        b"[notifications",
        b"[notifications]\n[notifications]",
        b"[database]\nconnect_wait = 1\nconnect_wait = 2",
        b"[database]\npeewee_url: postgres://u:sesame@h/db\nsesame",
        b"\xff\xfe",
        b"[DEFAULT]\ndefault_user = \xe9",
        b"\x00\x01",
        b"{}",
    ],
)
def test_file_is_refused_in_one_line_when_it_cannot_be_parsed(file: Path, content: bytes) -> None:
    file.write_bytes(content)
    line = refused()
    assert str(file) in line
    assert "sesame" not in line


def test_file_is_refused_in_one_line_when_it_cannot_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for path in (tmp_path, tmp_path / ("x" * 300)):
        monkeypatch.setenv("NOTIFICATIONS_CONFIG", str(path))
        assert str(path) in refused()


@pytest.mark.parametrize("command", [main, lambda: cmd("dbchk"), lambda: cmd("dbsync")])
@pytest.mark.parametrize("content", ["[database]\npeewee_url = oracle://u:sesame@h/db\n", "x"])
def test_both_commands_end_in_one_line_when_configuration_is_bad(
    command: Any,
    content: str,
    file: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("sys.argv", ["/usr/bin/program"])
    file.write_text(content)
    assert command() == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    (line,) = captured.err.splitlines()
    assert line.startswith(f"program: {file}")
    assert "sesame" not in line


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgres://h:5432/db", "postgres://h:5432/db"),
        ("sqlite:////srv/notifications/db.sqlite3", "sqlite:////srv/notifications/db.sqlite3"),
        ("http://[::1]:80/policy", "http://[::1]:80/policy"),
        ("pyamqp://", "pyamqp://"),
        ("", ""),
        ("postgres://u:p@h/db", "postgres://***@h/db"),
        ("redis://:p@h/0", "redis://***@h/0"),
        ("http://p@h", "http://***@h"),
        ("mysql://h/db?Password=p", "mysql://h/db?***"),
        ("mysql://h/db?any=p", "mysql://h/db?***"),
    ],
)
def test_url_is_shown_without_what_may_be_secret(url: str, shown: str) -> None:
    assert without_credentials(url) == shown


CREDENTIALS = [
    "postgres:u:sesame@h/db",
    "postgres:u:sesame/db",
    "redis::sesame",
    "u:sesame@h/db",
    "sesame",
    "host=h user=u password=sesame dbname=db",
    "postgres://host=h password=sesame",
    "postgres://h/db;password=sesame",
    "postgres://h/db#sesame",
    "postgres://h/db?password=x@sesame",
    "postgres://h/db?%70assword=sesame",
    "postgres://u:x@y/sesame@h/db",
    "postgres://u:x/sesame@h/db",
    "postgres://u:x?sesame@h/db",
    "postgres://u:sesame",
    "redis://:sesame",
    "amqp://u:x@h//;amqp://u:sesame@h//",
    "amqp://h//;amqp:u:sesame",
    "amqp://u:x@h//;redis://:sesame",
]


@pytest.mark.parametrize("url", CREDENTIALS)
def test_credentials_are_not_shown_when_a_url_has_another_form(url: str) -> None:
    assert "sesame" not in without_credentials(url)


@pytest.mark.parametrize("name", ["peewee_url", "broker_url", "backend_url", "policy_url"])
@pytest.mark.parametrize("url", CREDENTIALS)
def test_credentials_are_not_repeated_when_a_url_cannot_be_used(
    name: str, url: str, file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (key,) = (key for key in KEYS if key.name == name)
    file.write_text(
        f"[database]\nconnect_attempts = 1\nconnect_timeout = 1\n[{key.section}]\n{name} = {url}\n"
    )
    cmd("dbchk")
    assert "sesame" not in "".join(capsys.readouterr())


@pytest.mark.parametrize(
    ("name", "url", "mistake"),
    [
        ("peewee_url", "sqlite:///db.sqlite3?bogus=1", "'bogus'"),
        ("peewee_url", "sqlite+pool:///db.sqlite3?max_connections=many", "options"),
        ("peewee_url", "postgresql://u:sesame@h/db?bogus=1", '"bogus"'),
        ("peewee_url", "mysql+pool://u:sesame@h/db?bogus=1", "'bogus'"),
        ("peewee_url", "mysql://u:sesame@h/db?ssl_ca=/none.pem", "No such file"),
        ("broker_url", "bogus://u:sesame@h", "bogus://***"),
        ("broker_url", "redis://h;bogus://u:sesame@h", "bogus://***"),
        ("backend_url", "bogus://u:sesame@h", "bogus://***"),
        ("backend_url", "sesame", "***"),
    ],
)
@pytest.mark.parametrize("command", [main, lambda: cmd("dbsync")], ids=["web", "dbsync"])
def test_command_ends_in_one_line_when_a_url_has_what_its_library_does_not_know(
    command: Any,
    name: str,
    url: str,
    mistake: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("sys.argv", ["program"])
    monkeypatch.setenv(name.upper(), url)
    assert command() == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("program: [")
    assert name in line
    assert mistake in line
    assert "sesame" not in line


# Mail.


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("smtp_url", "http://relay"),
        ("smtp_url", "smtp://"),
        ("smtp_url", "smtp://relay:99999"),
        ("smtp_url", "smtp://user:canary@relay"),
        ("smtp_url", "smtps://user:canary@relay/folder"),
        ("from", "somebody"),
        ("from", "a@b.example\tc"),
        ("from", "Notifications <a@b.example>"),
        ("link", "https://data.example/transactions"),
        ("link", "javascript:alert({transaction})"),
        ("link", 'https://data.example/"{transaction}'),
        ("time_zone", "Mars/Olympus"),
        ("time_zone", "../../etc/passwd"),
        ("daily_at", "7"),
        ("daily_at", "25:00"),
        ("trusted_domains", "@facility.example"),
        ("rate", "0"),
    ],
)
def test_value_for_mails_is_refused_by_name(name: str, value: str, file: Path) -> None:
    file.write_text(f"[mail]\n{name} = {value}\n")
    line = refused()
    assert f"[mail] {name} = " in line
    assert "canary" not in line


@pytest.mark.parametrize("name", ["from", "base_url"])
def test_mail_server_without_what_mails_need_is_refused(name: str, file: Path) -> None:
    values = {"from": "n@data.example", "base_url": "https://notify.example"}
    del values[name]
    given = "".join(f"{each} = {value}\n" for each, value in values.items())
    file.write_text(f"[mail]\nsmtp_url = smtp://relay\n{given}")
    assert f"[mail] smtp_url: needs [mail] {name} as well" in refused()
