"""The configuration: three forms of every key, and one line for every value that cannot be used."""

import os
import socket
import stat
from contextlib import closing
from pathlib import Path
from typing import Any

import certifi
import peewee
import psycopg2
import pymysql
import pytest

from pacifica.notifications.__main__ import cmd, main
from pacifica.notifications.config import get_config, load_settings
from pacifica.notifications.errors import ConfigError
from pacifica.notifications.orm import open_database
from pacifica.notifications.settings import KEYS, SECTIONS, Key, Settings, keys, keys_of
from pacifica.notifications.settings.keys import without_credentials
from tests.support.certificates import own_certificate

KEY = "3Q5rM2bXQPBLFpUqQyO3Yc0R3V3W6dC2JtVd1mJ8q0s="
GOOD = {
    keys.TEXT: ("somebody", "somebody else", "nobody"),
    keys.NAME: ("X-User", "X-Forwarded-User", "Remote"),
    keys.HTTP_URL: ("https://a.example:8443/base", "http://[::1]", "http://127.0.0.1:1"),
    keys.BROKER_URL: ("redis://a/0", "amqp://u:p%2F%25@b//", "filesystem:///c"),
    keys.DATABASE_URL: (
        "sqlite:///a.db",
        "postgresql+pool://u:p%@h:1/b?max_connections=3",
        "mysql:///c",
    ),
    keys.SECONDS: ("0", "2.5", "1e3"),
    keys.COUNT: ("1", "7", "1000000"),
    keys.RATE: ("0", "2.5", "100"),
    keys.FLAG: ("yes", "Off", "1"),
    keys.NETWORKS: ("", "192.0.2.10", "10.0.0.0/8 fe80::/10  ::1"),
    keys.ORIGIN: ("", "notifications.example.org", "localhost"),
    keys.SECRET: ("", "hunter2", "a b % c"),
    keys.USERS: ("", "alice", "alice  José"),
    keys.TOKENS: ("", "one", "one two"),
    keys.FERNET_KEYS: ("", KEY, f"{KEY}  {KEY}"),
    keys.CERTIFICATES: (certifi.where(), "", ""),
    keys.WAITS: ("0", "30 300.5", "1 2 3"),
}
EXPECTED = {
    "policy_url": ("notifications", "POLICY_URL", "http://127.0.0.1:8181"),
    "user_header": ("notifications", "USER_HEADER", "Http-Remote-User"),
    "default_user": ("DEFAULT", "DEFAULT_USER", "default_user"),
    "broker_url": ("celery", "BROKER_URL", "pyamqp://"),
    "backend_url": ("celery", "BACKEND_URL", "rpc://"),
    "peewee_url": ("database", "PEEWEE_URL", "sqliteext:///db.sqlite3"),
    "connect_attempts": ("database", "DATABASE_CONNECT_ATTEMPTS", "10"),
    "connect_wait": ("database", "DATABASE_CONNECT_WAIT", "20"),
}
every_key = pytest.mark.parametrize("key", KEYS, ids=lambda key: f"{key.section}.{key.name}")


@pytest.fixture(autouse=True)
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Configure nothing, and return the file that would."""
    for key in KEYS:
        for variable in (key.environment, *key.other_variables):
            monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("NOTIFICATIONS_CONFIG", str(tmp_path / "config.ini"))
    monkeypatch.setenv("NOTIFICATIONS_CPCONFIG", str(tmp_path / "cpconfig.ini"))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "config.ini"


def setting(key: Key) -> Any:
    """Return the checked value of a key."""
    (section,) = (each for each in SECTIONS if key in keys_of(each).values())
    return getattr(getattr(load_settings(), section), key.name)


def refused() -> str:
    """Return the one line that the configuration is refused with."""
    with pytest.raises(ConfigError) as refusal:
        load_settings()
    (line,) = str(refusal.value).splitlines()
    return line


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


# The three forms.


@pytest.mark.parametrize("name", EXPECTED)
def test_key_has_the_documented_section_environment_and_default(name: str) -> None:
    (key,) = (key for key in KEYS if key.name == name)
    assert (key.section, key.environment, key.default) == EXPECTED[name]
    assert get_config().get(key.section, name) == key.default


@every_key
def test_default_is_beaten_by_environment_and_that_by_file(
    key: Key, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from_environment, from_file, _ = GOOD[key.kind]
    if (key.section, key.name) == ("celery", "lease"):  # which others bound from below
        from_environment, from_file = "21", "22.5"
    assert get_config().get(key.section, key.name) == key.default
    assert setting(key) == key.kind.read(key.default)
    monkeypatch.setenv(key.environment, from_environment)
    assert get_config().get(key.section, key.name) == from_environment
    assert setting(key) == key.kind.read(from_environment)
    file.write_text(f"[{key.section}]\n{key.name} = {from_file}\n")
    assert get_config().get(key.section, key.name) == from_file
    assert setting(key) == key.kind.read(from_file)


def test_keys_differ_in_all_their_forms() -> None:
    assert len({(key.section, key.name) for key in KEYS}) == len(KEYS)
    assert len({key.environment for key in KEYS}) == len(KEYS)


@pytest.mark.parametrize("kind", GOOD, ids=lambda kind: kind.accepts[:30])
def test_kind_accepts_good_values(kind: keys.Kind) -> None:
    for text in GOOD[kind]:
        kind.read(text)


def test_percent_is_plain_in_both_forms(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url = "amqp://u:%40%(x)s%%@h//"
    monkeypatch.setenv("BROKER_URL", url)
    assert load_settings().celery.broker_url == url
    monkeypatch.delenv("BROKER_URL")
    file.write_text(f"[celery]\nbroker_url = {url}\n")
    assert load_settings().celery.broker_url == url
    assert get_config().get("celery", "broker_url") == url


def test_file_may_begin_with_a_byte_order_mark_and_a_comment(file: Path) -> None:
    file.write_text("\ufeff; comment\n[DEFAULT]\n[celery]\n", encoding="utf-8")
    assert load_settings() == Settings()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[nosuch]\n", "there is no section [nosuch]"),
        ("[deliveries]\nattempts = 2\n", "[deliveries]: did you mean delivery?"),
        ("[delivery]\ntiemout = 3\n", "[delivery] has no key tiemout: did you mean timeout?"),
        ("[DEFAULT]\nown = 1\n", "[DEFAULT] has no key own"),
        (
            "[celery]\npolicy_url = http://a:canary@h\n",
            "[celery] has no key policy_url, but [notifications] has it",
        ),
    ],
)
def test_unknown_name_is_refused_with_the_nearest(text: str, said: str, file: Path) -> None:
    file.write_text(text)
    line = refused()
    assert str(file) in line
    assert said in line
    assert "canary" not in line


def test_all_unknown_names_are_said_at_once(file: Path) -> None:
    file.write_text("[one]\n[two]\n[web]\nthree = 3\nfour = 4\n")
    line = refused()
    assert all(name in line for name in ("[one]", "[two]", "three", "four"))


@pytest.mark.parametrize("section", ["notifications", "celery", "database"])
def test_key_that_0_5_2_took_everywhere_is_named_as_without_effect(
    section: str, file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file.write_text(f"[{section}]\ndefault_user = somebody\n")
    assert load_settings() == Settings()
    assert f"{file}: [{section}] default_user has no effect" in caplog.text


# Variables that other programs know, too.

CA_VARIABLES = ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"]


@pytest.mark.parametrize("variable", CA_VARIABLES)
def test_authorities_are_those_of_the_variables_of_other_programs(
    variable: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in CA_VARIABLES:
        monkeypatch.setenv(name, "")
    monkeypatch.setenv(variable, certifi.where())
    settings = load_settings()
    assert settings.delivery.ca_file == settings.policy.ca_file == certifi.where()
    monkeypatch.setenv("POLICY_CA_FILE", str(own_certificate(tmp_path)))
    settings = load_settings()
    assert settings.policy.ca_file == str(tmp_path / "certificate.pem")
    assert settings.delivery.ca_file == certifi.where()


def test_authorities_are_those_of_the_first_variable_that_is_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(own_certificate(tmp_path)))
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", certifi.where())
    assert load_settings().delivery.ca_file == certifi.where()


@pytest.mark.parametrize("variable", CA_VARIABLES)
@pytest.mark.parametrize("content", [None, "", "no certificate"], ids=str)
def test_unusable_authorities_are_one_line_and_exit_status_2(
    variable: str,
    content: str | None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    file = tmp_path / "authorities.pem"
    if content is not None:
        file.write_text(content)
    monkeypatch.setenv(variable, str(file))
    assert main("-p", "0") == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert f"environment variable {variable}: [policy] ca_file = '{file}': must be a file" in line


def test_folder_without_prepared_certificates_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DELIVERY_CA_FILE", str(tmp_path))
    assert "[delivery] ca_file" in refused()


def test_database_is_that_of_the_older_variable_when_the_newer_is_not_set(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PEEWEE_DATABASE_URL", "sqlite:///older.db")
    assert load_settings().database.peewee_url == "sqlite:///older.db"
    monkeypatch.setenv("PEEWEE_URL", "sqlite:///newer.db")
    assert load_settings().database.peewee_url == "sqlite:///newer.db"


# What is in force.


def test_config_prints_each_value_and_its_source(
    file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file.write_text("[delivery]\ntimeout = 7\n")
    monkeypatch.setenv("DELIVERY_ATTEMPTS", "9")
    assert cmd("config") == 0
    printed = capsys.readouterr().out
    assert f"; {file}\n" in printed
    assert "cpconfig.ini (does not exist)\n" in printed
    assert f"; {file}\ntimeout = 7\n" in printed
    assert "; environment variable DELIVERY_ATTEMPTS\nattempts = 9\n" in printed
    assert "; default\nmax_held = 10000\n" in printed
    for key in KEYS:
        assert f"\n{key.name} =" in printed


def test_config_prints_what_it_reads_again(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cmd("config") == 0
    file.write_text(capsys.readouterr().out)
    assert load_settings() == Settings()


def test_config_masks_what_may_be_secret(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for variable, value in {
        "PEEWEE_URL": "postgresql://u:canary@h/db?password=canary",
        "BROKER_URL": "amqp://u:canary@h//",
        "POLICY_URL": "http://u:canary@h",
        "NOTIFICATIONS_PROXY_SECRET": "canary",
        "RECEIVE_TOKEN": "canary",
        "SECURITY_KEY": KEY,
    }.items():
        monkeypatch.setenv(variable, value)
    assert cmd("config") == 0
    printed = capsys.readouterr().out
    assert "canary" not in printed
    assert KEY not in printed
    assert "peewee_url = postgresql://***@h/db?***\n" in printed
    assert "proxy_secret = ***\n" in printed


def test_config_says_a_bad_value_in_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DELIVERY_ATTEMPTS", "many")
    assert cmd("config") == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "DELIVERY_ATTEMPTS: [delivery] attempts = 'many'" in captured.err


def test_file_is_looked_up_anew_when_environment_changes(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file.write_text("[DEFAULT]\ndefault_user = one\n")
    assert load_settings().notifications.default_user == "one"
    other = tmp_path / "other.ini"
    other.write_text("[DEFAULT]\ndefault_user =\n")
    monkeypatch.setenv("NOTIFICATIONS_CONFIG", str(other))
    assert load_settings().notifications.default_user == ""


def test_shipped_file_says_the_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    defaults = load_settings()
    shipped = Path(__file__).parents[2] / "config.ini"
    monkeypatch.setenv("NOTIFICATIONS_CONFIG", str(shipped))
    assert load_settings() == defaults


# Values that cannot be used.

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


# Database URLs.


def opened(url: str, monkeypatch: pytest.MonkeyPatch) -> peewee.Database:
    monkeypatch.setenv("PEEWEE_URL", url)
    settings = load_settings()
    return open_database(settings.database, settings.security).engine


@pytest.mark.parametrize("scheme", ["sqlite", "sqliteext", "sqlite+pool", "sqliteext+pool"])
@pytest.mark.parametrize("query", ["", "?timeout=7"])
def test_database_url_opens_sqlite(
    scheme: str, query: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a%b.sqlite3"
    database = opened(f"{scheme}:///{path}{query}", monkeypatch)
    try:
        database.connect()
        database.execute_sql("CREATE TABLE t (a)")
        assert database.execute_sql("PRAGMA journal_mode").fetchone() == ("wal",)
    finally:
        database.close_all() if scheme.endswith("+pool") else database.close()
    assert path.exists()


@pytest.mark.parametrize("pool", ["", "+pool"])
@pytest.mark.parametrize(
    ("scheme", "kind", "refusal"),
    [
        ("postgres", peewee.PostgresqlDatabase, psycopg2.OperationalError),
        ("postgresql", peewee.PostgresqlDatabase, psycopg2.OperationalError),
        ("mysql", peewee.MySQLDatabase, pymysql.err.OperationalError),
    ],
)
def test_database_url_names_server_user_and_database(
    pool: str, scheme: str, kind: type, refusal: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        port = server.getsockname()[1]
    database = opened(f"{scheme}{pool}://somebody:sesame@127.0.0.1:{port}/name", monkeypatch)
    assert isinstance(database, kind)
    assert database.database == "name"
    parameters = database.connect_params
    assert (parameters["host"], parameters["port"]) == ("127.0.0.1", port)
    assert (parameters["user"], parameters["password"]) == ("somebody", "sesame")
    with pytest.raises(peewee.OperationalError) as error:
        database.connect()
    assert isinstance(error.value.__context__, refusal)
    assert "refused" in str(error.value)


@pytest.mark.skipif(os.name == "nt", reason="Windows has no modes")
@pytest.mark.parametrize("scheme", ["sqliteext", "sqlite+pool"])
def test_sqlite_files_are_private_when_they_are_created(
    scheme: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = opened(f"{scheme}:///{tmp_path / 'db.sqlite3'}", monkeypatch)
    database.connect()
    database.execute_sql("CREATE TABLE t (a)")
    modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in tmp_path.iterdir()}
    database.close()
    names = ("db.sqlite3", "db.sqlite3-shm", "db.sqlite3-wal")
    assert modes == dict.fromkeys(names, 0o600)


@pytest.mark.skipif(os.name == "nt", reason="Windows has no modes")
def test_sqlite_file_keeps_its_mode_when_it_exists(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "db.sqlite3"
    path.touch()
    path.chmod(0o660)
    database = opened(f"sqlite:///{path}", monkeypatch)
    database.connect()
    database.close()
    assert stat.S_IMODE(path.stat().st_mode) == 0o660
