"""The configuration: three forms of every key, and what is in force."""

from pathlib import Path
from typing import Any

import certifi
import pytest

from pacifica.notifications.__main__ import cmd, main
from pacifica.notifications.config import get_config, load_settings
from pacifica.notifications.settings import KEYS, SECTIONS, Key, Settings, keys, keys_of, mail
from tests.support.certificates import own_certificate
from tests.unit.config.refusals import KEY, refused

GOOD = {
    keys.TEXT: ("somebody", "somebody else", "nobody"),
    keys.NAME: ("X-User", "X-Forwarded-User", "Remote"),
    keys.HTTP_URL_OR_NOTHING: ("", "https://a.example:8443/base", "http://127.0.0.1:1"),
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
    mail.SERVER: ("smtp://relay", "smtps://u%40x:p%25@[::1]:465", "smtp+starttls://u:p@relay"),
    mail.ADDRESS_OR_NOTHING: ("", "notifications@data.example", "a.b+c@localhost"),
    mail.DOMAINS: ("", "facility.example", "facility.example  Other.example"),
    mail.LINK: ("", "https://data.example/t/{transaction}", "http://x/?t={transaction}&a=1"),
    mail.ZONE: ("UTC", "Europe/Berlin", "America/Los_Angeles"),
    mail.TIME: ("00:00", "07:30", "23:59"),
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


def setting(key: Key) -> Any:
    """Return the checked value of a key."""
    ((section, field),) = (
        (section, field)
        for section in SECTIONS
        for field, each in keys_of(section).items()
        if each == key
    )
    return getattr(getattr(load_settings(), section), field)


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
    if (key.section, key.name) == ("mail", "smtp_url"):  # which needs others
        monkeypatch.setenv("MAIL_FROM", "notifications@data.example")
        monkeypatch.setenv("MAIL_BASE_URL", "https://notify.example")
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
    assert f"environment variable {variable}: [" in line
    assert f"] ca_file = '{file}': must be a file" in line


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
