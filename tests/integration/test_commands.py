"""The administrative commands: as installed, and as `cmd()`, which the rest of the cases use."""

import json
import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from cryptography.fernet import Fernet

from pacifica.notifications.__main__ import cmd, main
from pacifica.notifications.clock import utcnow
from pacifica.notifications.commands.progress import Progress
from pacifica.notifications.orm import DB, EventLog, EventLogMatch, EventMatch, OrmSync
from tests.support import databases
from tests.support.servers import free_port

COMMAND = "pacifica-notifications-cmd"
SQLITE = pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
UNKNOWN = "3f2b8a04-6b1f-4c0e-9a57-5d0c7e9d41aa"


@pytest.fixture
def url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Configure the service for an SQLite database that is not there yet."""
    with databases.configured(f"sqlite:///{tmp_path / 'db.sqlite3'}", monkeypatch):
        yield f"sqlite:///{tmp_path / 'db.sqlite3'}"


def log_event(age: timedelta = timedelta(0), text: str = '{"a": 1}') -> UUID:
    event = EventLog.create(jsondata=text, created=utcnow() - age)
    return event.uuid


def log_match(event: UUID, **answers: str) -> UUID:
    subscription = EventMatch.create(name="mine", jsonpath="$", user="alice", target_url="http://h")
    match = EventLogMatch.create(
        event_log=event, event_match=subscription, state="delivered", **answers
    )
    return match.uuid


def printed(capsys: pytest.CaptureFixture[str]) -> list[str]:
    """Return the ids of the events that were printed, in that order."""
    return re.findall(r"^event ([0-9a-f-]{36}) ", capsys.readouterr().out, re.MULTILINE)


def mistake(capsys: pytest.CaptureFixture[str]) -> str:
    """Return the one line that a mistake is answered with."""
    captured = capsys.readouterr()
    assert captured.out == ""
    (line,) = captured.err.splitlines()
    return line


# dbsync, dbchk.


def test_dbsync_and_dbchk_exit_as_documented_when_run_as_installed(
    tmp_path: Path, environment_in: Callable[[Path], dict[str, str]], run: Callable[..., Any]
) -> None:
    environment = environment_in(tmp_path)
    for arguments, status in (
        (["dbchk"], 255),
        (["dbsync"], 0),
        (["dbchk", "--equal"], 0),
        (["dbsync"], 0),
    ):
        done = run(environment, COMMAND, *arguments)
        assert (done.returncode, done.stdout, done.stderr) == (status, "", "")


@pytest.mark.usefixtures("url")
def test_dbsync_changes_nothing_when_it_is_done_already() -> None:
    assert cmd("dbsync") == 0
    event = log_event()
    assert cmd("dbsync") == 0
    assert EventLog.get().uuid == event


@pytest.mark.parametrize(
    ("version", "safe", "equal"),
    [
        ((4, 0), 0, 0),
        ((4, 1), 0, 255),
        ((3, 0), 255, 255),
        ((5, 0), 255, 255),
        (None, 255, 255),
    ],
    ids=str,
)
def test_dbchk_tells_whether_schema_fits(
    url: str, version: tuple[int, int] | None, safe: int, equal: int
) -> None:
    OrmSync.update_tables()
    if version is None:
        databases.execute(url, "DROP TABLE notificationsystem")
    else:
        for part, value in zip(("major", "minor"), version, strict=True):
            databases.execute(
                url,
                f"UPDATE notificationsystem SET value = {value} WHERE part = '{part}'",  # noqa: S608
            )
    assert cmd("dbchk") == safe
    assert cmd("dbchk", "--equal") == equal


def test_dbsync_fails_in_one_line_when_database_is_newer(
    url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    OrmSync.update_tables()
    databases.execute(url, "UPDATE notificationsystem SET value = 5 WHERE part = 'major'")
    assert cmd("dbsync") == 1
    line = mistake(capsys)
    assert "5.0" in line
    assert "upgrade" in line


@pytest.mark.usefixtures("url")
def test_command_fails_in_one_line_when_there_are_no_tables(
    capsys: pytest.CaptureFixture[str],
) -> None:
    for arguments in (["eventget"], ["eventpurge"], ["eventget", UNKNOWN]):
        assert cmd(*arguments) == 1
        assert "dbsync" in mistake(capsys)


@SQLITE
@pytest.mark.usefixtures("empty_database")
def test_commands_that_may_take_long_tell_how_far_they_are(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    reached: list[tuple[object, ...]] = []
    monkeypatch.setattr(Progress, "reached", lambda _self, *values: reached.append(values))
    assert cmd("dbsync") == 0
    assert reached[0] == (0, 4, "migrating from 0.0 to 1.0")
    assert reached[-1] == (3, 4, "migrating from 3.0 to 4.0")

    EventMatch.create(name="n", jsonpath="$", user="u", target_url="http://h", auth='{"a": 1}')
    monkeypatch.setenv("SECURITY_KEY", Fernet.generate_key().decode())
    for command in (["dbsync"], ["reencrypt", "--plain"], ["reencrypt"]):
        reached.clear()
        assert cmd(*command) == 0
        assert reached == [(1, 1, "rewriting auth")]

    log_event(timedelta(days=2))
    reached.clear()
    assert cmd("eventpurge") == 0
    assert reached == [(1,)]


# -c.


@pytest.mark.usefixtures("url")
def test_configuration_file_takes_effect_when_it_is_given(tmp_path: Path) -> None:
    file = tmp_path / "other.ini"
    file.write_text(f"[database]\npeewee_url = sqlite:///{tmp_path / 'other.sqlite3'}\n")
    for option in ("-c", "--config"):
        (tmp_path / "other.sqlite3").unlink(missing_ok=True)
        assert cmd(option, str(file), "dbsync") == 0
        DB.unbind()
        assert (tmp_path / "other.sqlite3").exists()
    assert not (tmp_path / "db.sqlite3").exists()


@pytest.mark.parametrize("name", ["absent.ini", "."])
@pytest.mark.usefixtures("url")
def test_command_is_refused_when_its_configuration_file_is_absent(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    path = str(tmp_path / name)
    assert cmd("-c", path, "dbchk") == 2
    assert path in mistake(capsys)
    assert main("-c", path) == 2
    assert path in mistake(capsys)


# eventget.


@pytest.mark.usefixtures("database")
def test_eventget_prints_event_and_what_policy_and_target_answered(
    capsys: pytest.CaptureFixture[str],
) -> None:
    event = log_event(text='{"eventID": "n\\u00e9", "data": [1]}')
    match = log_match(
        event,
        policy_status_code="200",
        policy_resp_body="seen",
        target_status_code="404",
        target_resp_body="no such\nhook",
    )
    assert cmd("eventget", str(event)) == 0
    out = capsys.readouterr().out
    for part in (str(event), '"eventID": "né"', str(match), "mine", "alice", "200 seen", "404 no"):
        assert part in out


@SQLITE
@pytest.mark.usefixtures("database")
def test_eventget_prints_latest_events_newest_first_up_to_limit(
    capsys: pytest.CaptureFixture[str],
) -> None:
    events = [str(log_event(timedelta(hours=hours))) for hours in range(12)]
    assert cmd("eventget") == 0
    assert printed(capsys) == events[:10]
    assert cmd("eventget", "--limit", "2") == 0
    assert printed(capsys) == events[:2]
    assert cmd("eventget", "--limit", "100") == 0
    assert printed(capsys) == events
    assert cmd("eventget", *events) == 0
    assert printed(capsys) == events


@pytest.mark.usefixtures("database")
def test_eventget_prints_events_between_dates(capsys: pytest.CaptureFixture[str]) -> None:
    new, middle, old = (str(log_event(timedelta(days=days))) for days in (0, 2, 4))

    def ago(days: int, date_format: str = "%Y-%m-%d %H:%M:%S") -> str:
        return (datetime.now(UTC) - timedelta(days=days)).strftime(date_format)

    for arguments, expected in (
        (["--start-date", ago(3)], [new, middle]),
        (["--end-date", ago(1)], [middle, old]),
        (["--start-date", ago(3), "--end-date", ago(1)], [middle]),
        (["--start-date", ago(1, "%d/%m/%Y"), "--date-format", "%d/%m/%Y"], [new]),
        (["--start-date", ago(3, "%Y%m%d%H +0000"), "--date-format", "%Y%m%d%H %z"], [new, middle]),
        (["--start-date", ago(3), old], []),
    ):
        assert cmd("eventget", *arguments) == 0
        assert printed(capsys) == expected


@SQLITE
@pytest.mark.usefixtures("database")
def test_eventget_prints_what_it_knows_and_exits_1_when_uuid_is_unknown(
    capsys: pytest.CaptureFixture[str],
) -> None:
    event = str(log_event())
    assert cmd("eventget", event, UNKNOWN) == 1
    captured = capsys.readouterr()
    assert event in captured.out
    (line,) = captured.err.splitlines()
    assert UNKNOWN in line
    assert event not in line


@SQLITE
@pytest.mark.usefixtures("database")
def test_eventget_prints_escapes_when_output_cannot_show_a_character(
    capsys: pytest.CaptureFixture[str],
) -> None:
    event = log_event(text=r'{"a": "\ud800 \u0000 \u001b[2J"}')
    assert cmd("eventget", str(event)) == 0
    assert r'"\ud800 \u0000 \u001b[2J"' in capsys.readouterr().out


# eventpurge.


def left() -> set[UUID]:
    return {row.uuid for row in EventLog.select()}


@pytest.mark.usefixtures("database")
def test_eventpurge_deletes_events_with_matches_when_they_are_older_than_a_day() -> None:
    new, old = log_event(timedelta(hours=23)), log_event(timedelta(hours=25))
    kept, _ = log_match(new), log_match(old)
    assert cmd("eventpurge") == 0
    assert left() == {new}
    assert [match.uuid for match in EventLogMatch.select()] == [kept]
    assert EventMatch.select().count() == 2


@SQLITE
@pytest.mark.usefixtures("database")
def test_eventpurge_deletes_named_events_whatever_their_age() -> None:
    events = [log_event(timedelta(days=days)) for days in (0, 0, 5)]
    assert cmd("eventpurge", str(events[0]), UNKNOWN) == 0
    assert left() == set(events[1:])


@SQLITE
@pytest.mark.usefixtures("database")
def test_eventpurge_deletes_events_when_they_are_older_than_date() -> None:
    events = [log_event(timedelta(days=days)) for days in (0, 3, 5)]
    date = (datetime.now(UTC) - timedelta(days=4)).strftime("%d.%m.%Y")
    assert cmd("eventpurge", "--older-than-date", date, "--date-format", "%d.%m.%Y") == 0
    assert left() == set(events[:2])
    both = ["--older-than-date", "2000-01-01 00:00:00", str(events[0])]
    assert cmd("eventpurge", *both) == 0
    assert left() == set(events[:2])


@SQLITE
@pytest.mark.usefixtures("database")
@pytest.mark.parametrize("state", ["matched", "allowed", "held"])
def test_eventpurge_keeps_events_with_something_left_to_do(
    capsys: pytest.CaptureFixture[str], state: str
) -> None:
    kept, gone = log_event(timedelta(days=3)), log_event(timedelta(days=3))
    log_match(gone)
    EventLogMatch.update(state=state).where(EventLogMatch.uuid == log_match(kept)).execute()
    for arguments in ([], ["--older-than", "2d"], [str(kept)]):
        assert cmd("eventpurge", *arguments) == 0
        assert left() == {kept}
        assert "1 events kept" in capsys.readouterr().out
    assert cmd("eventpurge", "--force", str(kept)) == 0
    assert left() == set()
    assert capsys.readouterr().out == "1 events deleted\n"


@SQLITE
@pytest.mark.usefixtures("database")
def test_eventpurge_only_counts_when_it_is_a_dry_run(capsys: pytest.CaptureFixture[str]) -> None:
    events = {log_event(timedelta(days=days)) for days in (0, 3, 5)}
    assert cmd("eventpurge", "--dry-run") == 0
    assert capsys.readouterr().out == "2 events would be deleted\n"
    assert cmd("eventpurge", "--dry-run", "--older-than", "4d") == 0
    assert capsys.readouterr().out == "1 events would be deleted\n"
    assert left() == events


@SQLITE
@pytest.mark.usefixtures("database")
@pytest.mark.parametrize(
    ("age", "kept"), [("30d", 4), ("4w", 3), ("49h", 2), ("3600m", 2), ("90000s", 1), ("0s", 0)]
)
def test_eventpurge_deletes_events_when_they_are_older_than_an_age(age: str, kept: int) -> None:
    events = [log_event(timedelta(days=days, minutes=1)) for days in (0, 2, 10, 29)]
    assert cmd("eventpurge", "--older-than", age) == 0
    assert left() == set(events[:kept])


# eventget --json.


@SQLITE
@pytest.mark.usefixtures("database")
def test_eventget_prints_one_json_array(capsys: pytest.CaptureFixture[str]) -> None:
    event = log_event(text='{"eventID": "n\\u00e9", "data": [1]}')
    answers = {"policy_status_code": "200", "target_status_code": "404"}
    match = log_match(event, **answers, target_resp_body="no such\nhook")
    cut = log_event(timedelta(hours=1), text='{"data": [1, 2')
    assert cmd("eventget", "--json") == 0
    first, second = json.loads(capsys.readouterr().out)
    assert first["uuid"] == str(event)
    assert first["event"] == {"eventID": "né", "data": [1]}
    assert (first["dispatched"], first["deferred"]) == (True, [])
    assert datetime.fromisoformat(first["received"]).tzinfo is not None
    (found,) = first["matches"]
    assert (found["uuid"], found["state"], found["user"]) == (str(match), "delivered", "alice")
    assert found["policy"] == {"status": "200", "body": ""}
    assert found["target"] == {"status": "404", "body": "no such\nhook"}
    assert (second["uuid"], second["event"]) == (str(cut), '{"data": [1, 2')

    assert cmd("eventget", "--json", UNKNOWN) == 1
    captured = capsys.readouterr()
    assert json.loads(captured.out) == []
    assert UNKNOWN in captured.err


# A database that is absent, and one that `serve` keeps.


def test_command_creates_no_database_when_there_is_none(
    url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    commands = (["eventget"], ["eventpurge"], ["eventretry", UNKNOWN], ["eventpurge", "--dry-run"])
    for arguments in commands:
        assert cmd(*arguments) == 1
        assert mistake(capsys).endswith("there is no database yet; run dbsync")
    assert cmd("dbchk") == 255
    assert capsys.readouterr() == ("", "")
    assert main("--port", str(free_port())) == 1
    assert mistake(capsys).endswith("there is no database yet; run dbsync")
    assert not Path(url.removeprefix("sqlite:///")).exists()


def test_command_uses_what_serve_keeps_in_a_folder(
    tmp_path: Path, run: Callable[..., Any], migrated: Path
) -> None:
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "db.sqlite3").write_bytes(migrated.read_bytes())
    folder = ["--folder", str(tmp_path / "kept")]
    environment = {"NOTIFICATIONS_CONFIG": str(tmp_path / "absent.ini")}
    assert run(environment, COMMAND, "dbchk", "--equal", *folder).returncode == 0
    done = run(environment, COMMAND, "eventget", "--json", *folder)
    assert (done.returncode, json.loads(done.stdout)) == (0, [])
    done = run(environment, COMMAND, "eventget", "--folder", str(tmp_path / "absent"))
    assert (done.returncode, done.stdout) == (2, "")
    assert "no such folder" in done.stderr
    assert sorted(each.name for each in tmp_path.iterdir()) == ["kept"]


# eventretry.


def test_eventretry_makes_known_events_due_and_exits_1_when_one_is_unknown(
    prepared: dict[str, str], run: Callable[..., Any], tmp_path: Path
) -> None:
    uuid = uuid4()
    databases.execute(
        prepared["PEEWEE_URL"],
        "INSERT INTO eventlog (uuid, jsondata, created) "  # noqa: S608
        f"VALUES ('{uuid.hex}', '{{}}', '2020-01-01 00:00:00')",
    )
    done = run(prepared, COMMAND, "eventretry", str(uuid))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    due = "SELECT count(*) FROM eventlog WHERE due IS NOT NULL"
    assert databases.execute(prepared["PEEWEE_URL"], due) == [(1,)]
    (message,) = (tmp_path / "queue" / "messages").iterdir()
    assert "dispatch_event" in json.loads(message.read_text())["headers"]["task"]

    databases.execute(prepared["PEEWEE_URL"], "UPDATE eventlog SET due = NULL")
    done = run(prepared, COMMAND, "eventretry", UNKNOWN, str(uuid))
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert UNKNOWN in line
    assert databases.execute(prepared["PEEWEE_URL"], due) == [(1,)]


# Mistakes.


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["nonsense"],
        ["dbsync", "more"],
        ["dbchk", "--unknown"],
        ["eventget", "no uuid"],
        ["eventget", f"{UNKNOWN}0"],
        ["eventget", "--limit", "many"],
        ["eventget", "--limit", "0"],
        ["eventget", "--limit", "-1"],
        ["eventget", "--limit", "9" * 30],
        ["eventget", "--start-date", "yesterday"],
        ["eventget", "--end-date", "2020-01-01"],
        ["eventget", "--start-date", "2020-01-02 00:00:00", "--end-date", "2020-01-01 00:00:00"],
        ["eventget", "--start-date", "1", "--date-format", "%"],
        ["eventget", "--start-date", "1", "--date-format", "%Q"],
        ["eventget", "--start-date", "1", "--date-format", "%d%d"],
        ["eventget", "--start-date", "0001-01-01 +1400", "--date-format", "%Y-%m-%d %z"],
        ["eventpurge", "no uuid"],
        ["eventpurge", "--older-than-date", "tomorrow"],
        ["eventpurge", "--older-than", "30"],
        ["eventpurge", "--older-than", "d"],
        ["eventpurge", "--older-than", "-1d"],
        ["eventpurge", "--older-than", f"{'9' * 30}d"],
        ["eventpurge", "--older-than", "1d", "--older-than-date", "2020-01-01 00:00:00"],
        ["eventpurge", "--force"],
        ["eventpurge", "--force", "--dry-run", UNKNOWN],
        ["eventretry"],
        ["eventretry", "no uuid"],
    ],
    ids=" ".join,
)
@pytest.mark.usefixtures("url")
def test_mistake_is_one_line_and_status_2(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    OrmSync.update_tables()
    monkeypatch.setattr("sys.argv", [COMMAND])
    try:
        status = cmd(*arguments)
    except SystemExit as ended:
        status = ended.code  # type: ignore[assignment]
    assert status == 2
    assert mistake(capsys).startswith(COMMAND)


@pytest.mark.parametrize(
    "arguments",
    [["-p", "http"], ["-p", "65536"], ["-p", "-1"], ["-p"], ["--unknown"], ["more"]],
    ids=" ".join,
)
def test_servers_mistake_is_one_line_and_status_2(
    capsys: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(*arguments)
    assert ended.value.code == 2
    assert mistake(capsys).startswith("pacifica-notifications: ")


def test_mistake_is_one_line_and_status_2_when_run_as_installed(
    prepared: dict[str, str], run: Callable[..., Any]
) -> None:
    for command in ([COMMAND, "eventget", "no uuid"], [COMMAND], ["pacifica-notifications", "-x"]):
        done = run(prepared, *command)
        assert (done.returncode, done.stdout) == (2, "")
        assert len(done.stderr.splitlines()) == 1


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cmd("--help")
    assert ended.value.code == 0
    shown = capsys.readouterr().out
    for command in ("dbsync", "dbchk", "eventget", "eventpurge", "eventretry"):
        assert command in shown
        with pytest.raises(SystemExit) as ended:
            cmd(command, "-h")
        assert ended.value.code == 0
        assert command in capsys.readouterr().out
    with pytest.raises(SystemExit) as ended:
        main("-h")
    assert ended.value.code == 0
    shown = capsys.readouterr().out
    assert all(option in shown for option in ("--config", "--cpconfig", "--port", "--address"))
