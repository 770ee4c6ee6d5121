"""Keys as operators use them: `dbsync`, `reencrypt`, and programs that lack one."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.fernet import Fernet

from pacifica.notifications.__main__ import cmd
from pacifica.notifications.orm import DB, EventMatch, OrmSync
from pacifica.notifications.orm.secrets import Keyring
from tests.support import databases
from tests.support.layouts import contents, install
from tests.support.processes import BIN, Program

OLD, NEW = (Fernet.generate_key().decode() for _ in range(2))
SQLITE = pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
CANARY = "canary-in-the-database"
AUTH = {"type": "header", "header": {"type": "Bearer", "credentials": CANARY}}
Configure = Callable[..., None]


@pytest.fixture(autouse=True)
def configure(monkeypatch: pytest.MonkeyPatch) -> Iterator[Configure]:
    """Configure keys, as a process has them that starts now."""

    def keys(*configured: str) -> None:
        monkeypatch.setenv("SECURITY_KEY", " ".join(configured))
        DB.unbind()

    keys()
    yield keys
    DB.unbind()


def subscribe(count: int = 1, auth: Any = AUTH) -> None:
    for _ in range(count):
        EventMatch.create(
            name="n", jsonpath="$", user="alice", target_url="http://h", auth=json.dumps(auth)
        )


def stored(url: str) -> list[str]:
    return [auth for (auth,) in databases.execute(url, "SELECT auth FROM eventmatch")]


def prefix(key: str) -> str:
    return Keyring([key]).prefix or "?"


@pytest.mark.parametrize("version", ["1.0", "2.0", "3.0"])
def test_dbsync_encrypts_what_an_old_database_has_in_plain_when_there_is_a_key(
    engine: str, empty_database: str, configure: Configure, version: str
) -> None:
    install(empty_database, engine, version)
    before = [row.get("auth") or "{}" for row in contents(DB.bound())["eventmatch"]]
    configure(NEW)
    assert cmd("dbsync") == 0
    assert [row.auth for row in EventMatch.select().order_by(EventMatch.uuid)] == before
    for text in stored(empty_database):
        assert text.startswith(prefix(NEW)) or text in ("", "{}", "null")


@pytest.mark.usefixtures("engine")
def test_dbsync_leaves_plain_what_is_when_there_is_no_key(database: str) -> None:
    subscribe()
    assert cmd("dbsync") == 0
    assert json.loads(stored(database)[0]) == AUTH


@pytest.mark.parametrize("count", [1, 300])
@SQLITE
def test_file_has_nothing_in_plain_when_dbsync_has_encrypted_it(
    database: str, configure: Configure, count: int
) -> None:
    subscribe(count)
    DB.unbind()
    folder = Path(database.removeprefix("sqliteext:///")).parent

    def has_canary() -> bool:
        return any(CANARY.encode() in file.read_bytes() for file in folder.iterdir())

    assert has_canary()
    configure(NEW)
    OrmSync.update_tables()
    assert not has_canary()
    assert json.loads(EventMatch.get().auth) == AUTH


@SQLITE
def test_reencrypt_says_how_many_it_has_rewritten(
    database: str, configure: Configure, capsys: pytest.CaptureFixture[str]
) -> None:
    configure(OLD)
    subscribe(3)
    subscribe(2, {})
    configure(NEW, OLD)
    for expected in ("3 subscriptions rewritten\n", "0 subscriptions rewritten\n"):
        assert cmd("reencrypt") == 0
        assert capsys.readouterr().out == expected
    assert sum(text.startswith(prefix(NEW)) for text in stored(database)) == 3
    configure(NEW)
    assert cmd("reencrypt", "--plain") == 0
    assert capsys.readouterr().out == "3 subscriptions rewritten\n"
    assert [json.loads(text) for text in stored(database)].count(AUTH) == 3


@SQLITE
def test_reencrypt_fails_and_names_the_subscription_when_its_auth_is_corrupt(
    database: str, configure: Configure, capsys: pytest.CaptureFixture[str]
) -> None:
    configure(OLD)
    subscribe(2)
    uuid = EventMatch.get().uuid
    databases.execute(
        database,
        f"UPDATE eventmatch SET auth = substr(auth, 1, 60) WHERE uuid = '{uuid.hex}'",  # noqa: S608
    )
    configure(NEW, OLD)
    assert cmd("reencrypt") == 1
    captured = capsys.readouterr()
    assert captured.out == "1 subscriptions rewritten\n"
    (line,) = captured.err.splitlines()
    assert f"the auth of {uuid} is corrupt" in line


@SQLITE
@pytest.mark.usefixtures("database")
def test_reencrypt_is_refused_when_there_is_no_key(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in ((), ("--plain",)):
        assert cmd("reencrypt", *arguments) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert "[security] key is empty" in line


@SQLITE
@pytest.mark.parametrize(
    ("program", "status"),
    [
        ("pacifica-notifications", 1),
        ("pacifica-notifications-cmd reencrypt", 1),
        ("celery -A pacifica.notifications.tasks worker --pool solo", 1),
    ],
)
@pytest.mark.parametrize("keys", ["", NEW], ids=["no key", "another key"])
def test_program_refuses_to_start_in_one_line_when_it_lacks_a_key(
    database: str, tmp_path: Path, configure: Configure, program: str, status: int, keys: str
) -> None:
    configure(OLD)
    subscribe()
    environment = {
        "NOTIFICATIONS_CONFIG": str(tmp_path / "absent.ini"),
        "NOTIFICATIONS_CPCONFIG": str(tmp_path / "absent.conf"),
        "PEEWEE_URL": database,
        "BROKER_URL": f"filesystem://localhost{tmp_path / 'queue'}",
        "SECURITY_KEY": keys,
    }
    if not keys and program.endswith("reencrypt"):
        status = 2
    (command, *arguments) = program.split()
    with Program([BIN / command, *arguments], environment, tmp_path) as running:
        assert running.wait() == status
        (line,) = (line for line in running.lines if "[security] key" in line)
        assert status == 2 or prefix(OLD).split(":")[1] in line
        assert "Traceback" not in running.output
