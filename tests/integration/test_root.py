"""`rest.Root` as an application mounts it by hand, without the settings of this package."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

MOUNTED = """
import io, json, sys
import cherrypy
from pacifica.notifications.rest import Root

cherrypy.config.update({"log.screen": False})
dispatch = {"/": {"request.dispatch": cherrypy.dispatch.MethodDispatcher()}}
application = cherrypy.tree.mount(Root(), "/", config=dispatch)
for method, path, body in json.loads(sys.argv[1]):
    answer = []
    environ = {
        "REQUEST_METHOD": method, "PATH_INFO": path, "SCRIPT_NAME": "", "QUERY_STRING": "",
        "SERVER_PROTOCOL": "HTTP/1.1", "SERVER_NAME": "x", "SERVER_PORT": "80", "HTTP_HOST": "x",
        "CONTENT_TYPE": "application/json", "CONTENT_LENGTH": str(len(body)),
        "REMOTE_ADDR": "127.0.0.1",
        "wsgi.input": io.BytesIO(body.encode()), "wsgi.errors": sys.stderr,
        "wsgi.url_scheme": "http", "wsgi.version": (1, 0), "wsgi.multithread": False,
        "wsgi.multiprocess": False, "wsgi.run_once": False,
    }
    parts = application(environ, lambda status, headers, *_: answer.extend((status, headers)))
    body = b"".join(parts).decode()
    print(json.dumps([answer[0][:3], dict(answer[1]).get("Content-Type"), body]))
"""


@pytest.fixture(scope="module")
def answers(
    tmp_path_factory: pytest.TempPathFactory, environment_in: Callable[[Path], dict[str, str]]
) -> list[list[str]]:
    """Return status, content type and body of requests to a Root in a process of its own."""
    folder = tmp_path_factory.mktemp("mounted")
    requests = [
        ["POST", "/eventmatch", '{"name": "n", "jsonpath": "$", "target_url": "http://h/"}'],
        ["GET", "/eventmatch", ""],
        ["GET", "/eventmatch/x", ""],
        ["GET", "/nothing", ""],
        ["DELETE", "/receive", ""],
        ["POST", "/receive", "{}"],
    ]
    environment = {**os.environ, **environment_in(folder)}
    program = "from pacifica.notifications.__main__ import cmd; cmd('dbsync')"
    subprocess.run([sys.executable, "-c", program], env=environment, cwd=folder, check=True)
    done = subprocess.run(
        [sys.executable, "-c", MOUNTED, json.dumps(requests)],
        env=environment,
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_mounted_root_serves(answers: list[list[str]]) -> None:
    assert [status for status, _, _ in answers] == ["200", "200", "400", "404", "405", "200"]
    assert json.loads(answers[1][2])[0]["name"] == "n"


def test_mounted_root_answers_json(answers: list[list[str]]) -> None:
    assert [media_type for _, media_type, _ in answers] == ["application/json"] * len(answers)
    for _, _, body in answers[2:5]:
        assert set(json.loads(body)) >= {"status", "message"}
