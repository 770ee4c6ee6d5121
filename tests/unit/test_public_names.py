"""The names that others import: that they are there, with these signatures, and cost nothing."""

import importlib
import importlib.util
import inspect
import json
import os
import pkgutil
import subprocess
import sys
from configparser import ConfigParser
from itertools import pairwise
from pathlib import Path
from types import ModuleType
from typing import Any
from uuid import UUID

import celery
import cherrypy
import peewee
import pytest
from hypothesis import given
from hypothesis import strategies as st

import pacifica
import pacifica.notifications
from pacifica.notifications import __main__, config, jsonpath, orm, rest, tasks
from pacifica.notifications import globals as locations
from pacifica.notifications.settings import KEYS
from tests.support import databases

SIGNATURES = {
    config: {"get_config": []},
    rest: {"encode_text": ["thing_obj"], "error_page_default": ["**kwargs"], "get_remote_user": []},
    jsonpath: {"parse": ["jsonpath_str"], "find": ["expr", "data"]},
    tasks: {
        "disable_eventmatch": ["eventmatch_uuid", "error"],
        "event_auth_to_requests": ["eventmatch", "headers"],
    },
    __main__: {"main": ["*argv"], "cmd": ["*argv"]},
}
COLUMNS = [
    *("uuid", "name", "jsonpath", "user", "disabled", "error", "target_url", "version"),
    *("extensions", "auth", "created", "updated", "deleted"),
]
INHERITED = ("PATH", "PYTHONPATH", "SYSTEMROOT")
SQLITE = pytest.mark.parametrize("engine", ["sqlite"], indirect=True)


def parameters(function: Any) -> list[str]:
    """Return the parameters that a caller must, or may without a default, give."""
    stars = {inspect.Parameter.VAR_POSITIONAL: "*", inspect.Parameter.VAR_KEYWORD: "**"}
    return [
        stars.get(each.kind, "") + name
        for name, each in inspect.signature(function).parameters.items()
        if each.default is inspect.Parameter.empty
    ]


@pytest.mark.parametrize(
    ("module", "name", "expected"),
    [
        (module, name, given)
        for module, names in SIGNATURES.items()
        for name, given in names.items()
    ],
)
def test_function_has_its_signature(module: ModuleType, name: str, expected: list[str]) -> None:
    assert parameters(getattr(module, name)) == expected


def test_get_config_returns_a_parser_with_all_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOTIFICATIONS_CONFIG", "/nonexistent/config.ini")
    parser = config.get_config()
    assert isinstance(parser, ConfigParser)
    assert all(parser.has_option(key.section, key.name) for key in KEYS)


@pytest.mark.parametrize(
    ("name", "variable", "file"),
    [
        ("CONFIG_FILE", "NOTIFICATIONS_CONFIG", "config.ini"),
        ("CHERRYPY_CONFIG", "NOTIFICATIONS_CPCONFIG", "cpconfig.ini"),
    ],
)
def test_location_is_the_environments_or_below_home(
    name: str, variable: str, file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", "/home/somebody")
    monkeypatch.setenv("USERPROFILE", "/home/somebody")
    for unset in ("", None):
        if unset is None:
            monkeypatch.delenv(variable)
        else:
            monkeypatch.setenv(variable, unset)
        expected = Path("/home/somebody", ".pacifica-notifications", file)
        assert getattr(locations, name) == str(expected)
    monkeypatch.setenv(variable, "/etc/own")
    assert getattr(locations, name) == "/etc/own"
    with pytest.raises(AttributeError):
        _ = locations.NOTHING


# pacifica.notifications.orm


@SQLITE
@pytest.mark.usefixtures("database")
def test_base_model_opens_closes_and_runs_transactions() -> None:
    orm.BaseModel.database_close()
    orm.BaseModel.database_close()
    assert orm.DB.is_closed()
    orm.BaseModel.database_connect()
    orm.BaseModel.database_connect()
    assert not orm.DB.is_closed()
    with orm.BaseModel.atomic() as transaction:
        orm.EventLog.create(jsondata="{}")
        transaction.rollback()
    assert orm.EventLog.select().count() == 0
    for model in (orm.EventMatch, orm.EventLog, orm.EventLogMatch, orm.NotificationSystem):
        assert issubclass(model, orm.BaseModel)
        assert issubclass(model, peewee.Model)


@SQLITE
@pytest.mark.usefixtures("database")
def test_event_match_is_told_as_its_owner_reads_it() -> None:
    assert set(COLUMNS) <= set(orm.EventMatch._meta.fields)
    created = orm.EventMatch.create(name="n", jsonpath="$.a", user="u", target_url="http://h")
    told = orm.EventMatch.get_by_id(created.uuid).to_hash()
    assert list(told) == COLUMNS
    assert told["uuid"] == str(created.uuid)
    assert (told["version"], told["extensions"], told["auth"]) == ("v0.1", {}, {})
    assert json.loads(json.dumps(told)) == told


@pytest.mark.parametrize("path", ["$.a", "data"])
def test_validate_jsonpath_is_true_when_it_is_one(path: str) -> None:
    assert orm.EventMatch(jsonpath=path).validate_jsonpath() is True


@pytest.mark.parametrize("path", ["$.", "", None])
def test_validate_jsonpath_raises_value_error_when_it_is_none(path: str | None) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        orm.EventMatch(jsonpath=path).validate_jsonpath()


@SQLITE
@pytest.mark.usefixtures("database")
def test_log_has_events_and_their_matches() -> None:
    match = orm.EventMatch.create(name="n", jsonpath="$", user="u", target_url="http://h")
    event = orm.EventLog.create(jsondata="{}")
    logged = orm.EventLogMatch.create(event_log=event, event_match=match, state="matched")
    assert [each.uuid for each in event.event_matches] == [logged.uuid]
    assert [each.uuid for each in match.event_logs] == [logged.uuid]
    for name in ("policy_status_code", "policy_resp_body", "target_status_code"):
        assert getattr(logged, name) == ""
    assert logged.target_resp_body == ""


@SQLITE
@pytest.mark.usefixtures("database")
def test_match_without_a_state_is_no_work_to_do() -> None:
    match = orm.EventMatch.create(name="n", jsonpath="$", user="u", target_url="http://h")
    event = orm.EventLog.create(jsondata="{}")
    logged = orm.EventLogMatch.create(event_log=event, event_match=match)
    read = orm.EventLogMatch.get_by_id(logged.uuid)
    assert (logged.state, read.state, read.due) == ("failed", "failed", None)


def test_orm_sync_has_a_step_between_each_two_versions() -> None:
    versions = orm.OrmSync.versions
    assert versions[0] == (0, 0)
    assert versions[-1] == (orm.SCHEMA_MAJOR, orm.SCHEMA_MINOR)
    for (a, b), (c, d) in pairwise(versions):
        assert parameters(getattr(orm.OrmSync, f"update_{a}_{b}_to_{c}_{d}")) == []
    assert parameters(orm.OrmSync.dbconn_blocking) == []
    assert parameters(orm.OrmSync.update_tables) == []


@SQLITE
def test_notification_system_tells_version(empty_database: str) -> None:
    system = orm.NotificationSystem
    assert (system.get_version(), system.is_safe(), system.is_equal()) == ((0, 0), False, False)
    assert system.get_or_create_version() == (0, 0)
    orm.OrmSync.update_tables()
    current = (orm.SCHEMA_MAJOR, orm.SCHEMA_MINOR)
    assert (system.get_version(), system.is_safe(), system.is_equal()) == (current, True, True)
    assert {row.part: row.value for row in system.select()} == dict(
        zip(("major", "minor"), current, strict=True)
    )
    databases.execute(empty_database, "DELETE FROM notificationsystem")
    assert system.get_or_create_version() == current
    databases.execute(empty_database, "UPDATE notificationsystem SET value=9 WHERE part='minor'")
    assert (system.is_safe(), system.is_equal()) == (True, False)


# pacifica.notifications.rest


def test_root_has_the_two_resources() -> None:
    root = rest.Root()
    assert isinstance(root.eventmatch, rest.EventMatch)
    assert isinstance(root.receive, rest.ReceiveEvent)
    assert rest.EventMatch.exposed
    assert rest.ReceiveEvent.exposed
    assert rest.EventMatch.json_schema["type"] == "object"
    assert rest.ReceiveEvent.event_json_schema["type"] == "object"


@pytest.mark.parametrize(
    ("resource", "method", "expected"),
    [
        (rest.EventMatch, "GET", "(event_uuid=None)"),
        (rest.EventMatch, "POST", "()"),
        (rest.EventMatch, "PUT", "(event_uuid)"),
        (rest.EventMatch, "DELETE", "(event_uuid)"),
        (rest.ReceiveEvent, "POST", "()"),
    ],
)
def test_resource_has_its_methods(resource: type, method: str, expected: str) -> None:
    signature = inspect.signature(getattr(resource(), method))
    plain = [each.replace(annotation=each.empty) for each in signature.parameters.values()]
    assert str(inspect.Signature(plain)) == expected


@pytest.mark.parametrize("thing", [{"é": [1, None]}, [], 1, None, True], ids=str)
def test_encode_text_is_the_json_of_a_thing(thing: Any) -> None:
    encoded = rest.encode_text(thing)
    assert isinstance(encoded, bytes)
    assert json.loads(encoded) == thing


def test_encode_text_is_the_text_itself() -> None:
    assert rest.encode_text("é") == b"\xc3\xa9"


def test_error_page_is_json_without_anything_from_inside() -> None:
    page = rest.error_page_default(
        status="400 Bad Request", message="<b>", traceback="Traceback ...", version="18"
    )
    assert json.loads(page) == {"status": "400 Bad Request", "message": "<b>"}
    assert cherrypy.response.headers["Content-Type"] == "application/json"
    assert json.loads(rest.error_page_default()) == {"status": "", "message": ""}


# pacifica.notifications.jsonpath

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2), inner),
    max_leaves=8,
)


@given(json_values)
def test_find_is_truthy_exactly_when_there_is_a_match(data: Any) -> None:
    assert bool(jsonpath.find(jsonpath.parse("$.a"), {"a": data})) is True
    assert bool(jsonpath.find(jsonpath.parse("$.b"), {"a": data})) is False
    has_a = isinstance(data, dict) and "a" in data
    assert bool(jsonpath.find(jsonpath.parse("a"), data)) is has_a


# pacifica.notifications.tasks


def test_tasks_are_celery_tasks_of_their_names() -> None:
    assert isinstance(tasks.CELERY_APP, celery.Celery)
    for name in ("dispatch_event", "query_policy", "route_event"):
        task = getattr(tasks, name)
        assert callable(task.delay)
        assert tasks.CELERY_APP.tasks[f"pacifica.notifications.tasks.{name}"].name == task.name


def test_tasks_bind_one_celery_application_only() -> None:
    """`celery -A` would take `app` or `celery` first, and otherwise the one that it finds."""
    assert not hasattr(tasks, "app")
    assert not hasattr(tasks, "celery")
    found = [name for name, value in vars(tasks).items() if isinstance(value, celery.Celery)]
    assert found == ["CELERY_APP"]


@SQLITE
@pytest.mark.usefixtures("database")
@pytest.mark.parametrize("kind", [str, UUID])
def test_disable_eventmatch_disables_with_its_error(kind: type) -> None:
    match = orm.EventMatch.create(name="n", jsonpath="$", user="u", target_url="http://h")
    tasks.disable_eventmatch(kind(str(match.uuid)), "gone")
    row = orm.EventMatch.get_by_id(match.uuid)
    assert row.disabled is not None
    assert row.error == "gone"


@pytest.mark.parametrize(
    ("auth", "keywords", "added"),
    [
        ({}, {}, {}),
        (None, {}, {}),
        (
            {"type": "basic", "basic": {"username": "bob", "password": "pw"}},
            {"auth": ("bob", "pw")},
            {},
        ),
        (
            {"type": "header", "header": {"type": "Bearer", "credentials": "tok"}},
            {},
            {"Authorization": "Bearer tok"},
        ),
        ({"type": "signature", "signature": {"secrets": ["whsec_"]}}, {}, {}),
    ],
    ids=str,
)
def test_event_auth_to_requests_returns_keywords_and_adds_header(
    auth: Any, keywords: dict[str, Any], added: dict[str, str]
) -> None:
    headers = {"Content-Type": "application/json"}
    assert tasks.event_auth_to_requests({"auth": auth}, headers) == keywords
    assert headers == {"Content-Type": "application/json", **added}


# pacifica.notifications.wsgi and .__main__


def test_wsgi_application_answers_without_any_file(tmp_path: Path) -> None:
    program = """
import io
from pacifica.notifications.wsgi import application
environ = {"REQUEST_METHOD": "GET", "PATH_INFO": "/nothing", "SERVER_NAME": "h",
           "SERVER_PORT": "80", "SERVER_PROTOCOL": "HTTP/1.1", "HTTP_HOST": "h",
           "wsgi.url_scheme": "http", "wsgi.input": io.BytesIO(), "wsgi.errors": io.StringIO(),
           "wsgi.version": (1, 0), "wsgi.multithread": True, "wsgi.multiprocess": True,
           "wsgi.run_once": False}
started = []
def start(status, headers, exc_info=None):
    started[:] = [status, dict(headers)["Content-Type"]]
body = b"".join(application(environ, start)).decode()
print(*started, body, sep="\\n")
"""
    ended = child(program, tmp_path, DEFAULT_USER="")  # a default user is warned of
    status, kind, body = ended.stdout.splitlines()[-3:]
    assert (status, kind) == ("404 Not Found", "application/json")
    assert json.loads(body)["status"] == "404 Not Found"


def test_pacifica_is_a_namespace_that_others_share(tmp_path: Path) -> None:
    assert not hasattr(pacifica, "__file__") or pacifica.__file__ is None
    assert not (Path(pacifica.notifications.__path__[0]).parent / "__init__.py").exists()
    other = tmp_path / "pacifica" / "other"
    other.mkdir(parents=True)
    (other / "__init__.py").write_text("FOUND = True\n")
    program = """
import sys
sys.path.append(sys.argv[1])
import pacifica.notifications.globals, pacifica.other
print(pacifica.other.FOUND)
"""
    assert child(program, tmp_path, str(tmp_path)).stdout == "True\n"


# Importing.

WATCHED = """
import importlib, json, os, sys

home = os.environ["HOME"]
met = []

def watch(event, args):
    if event == "open":
        path, mode, flags = (*args, None, None)[:3]
        writes = isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
        place = os.fspath(path) if not isinstance(path, int) else ""
        place = os.fsdecode(place)
        if place.startswith(home) or place.endswith(".ini") or writes and place != os.devnull:
            met.append(f"open {place}")
    elif event in {"socket.connect", "socket.bind", "socket.getaddrinfo", "sqlite3.connect",
                   "subprocess.Popen", "os.mkdir"}:
        met.append(f"{event} {args!r}")

class Watched(type(os.environ)):
    def __getitem__(self, name):
        if name in configuration:
            met.append(f"environment {name}")
        return super().__getitem__(name)

configuration = set(json.loads(sys.argv[1]))
os.environ.__class__ = Watched
sys.addaudithook(watch)
for name in sys.argv[2:]:
    importlib.import_module(name)
print(json.dumps(met))
"""


def modules() -> list[str]:
    """Return every module of the package that may be imported without being run."""
    package = pacifica.notifications
    walked = pkgutil.walk_packages(package.__path__, package.__name__ + ".")
    return [each.name for each in walked if not each.name.endswith(".wsgi")]


def test_importing_reads_no_configuration_and_opens_nothing(tmp_path: Path) -> None:
    broken = tmp_path / "broken.ini"
    broken.write_text("not INI")
    variables = [*(key.environment for key in KEYS), "NOTIFICATIONS_CONFIG"]
    variables.append("NOTIFICATIONS_CPCONFIG")
    environment = dict.fromkeys(variables, str(broken))
    ended = child(WATCHED, tmp_path, json.dumps(variables), *modules(), **environment)
    assert json.loads(ended.stdout) == []


def test_environment_of_tests_lacks_a_library_that_slows_every_start() -> None:
    # jsonschema imports it where it is installed, which takes 0.8 s of a processor.
    assert importlib.util.find_spec("rfc3987_syntax") is None


def test_every_module_is_found() -> None:
    found = modules()
    for name in ("__main__", "tasks", "rest", "orm.models", "commands.admin"):
        assert f"pacifica.notifications.{name}" in found
    assert all(importlib.util.find_spec(name) for name in found)


def child(
    program: str, home: Path, *arguments: str, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run a program in a process of its own, which must succeed in silence."""
    plain = {name: value for name, value in os.environ.items() if name in INHERITED}
    ended = subprocess.run(
        [sys.executable, "-B", "-W", "error", "-c", program, *arguments],
        env={**plain, "HOME": str(home / "home"), **environment},
        cwd=home,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    return ended
