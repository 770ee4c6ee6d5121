"""Where the fast path of plain events is, and where CherryPy has all requests."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
#: Prints the names of what a request passes on its way into CherryPy.
PARTS = """
import sys
from pacifica.notifications.app import App
from pacifica.notifications.rest.root import application
print(*[name for name, _ in application(App.configured(), sys.argv[1]).wsgiapp.pipeline])
"""


@pytest.mark.parametrize(
    ("file", "expected"),
    [
        (None, True),
        (ROOT / "server.conf", True),
        ("[global]\nserver.socket_port: 8071\nlog.screen: False\n", True),
        ("[/]\ntools.gzip.on: True\n", False),
        ("[/receive]\nresponse.headers.X-Own: 'yes'\n", False),
        ("[global]\nrequest.throw_errors: False\n", False),
    ],
    ids=["none", "the shipped one", "of the server", "a tool", "a header", "of all requests"],
)
def test_fast_path_is_there_unless_a_cherrypy_file_changes_how_requests_are_answered(
    tmp_path: Path, file: Path | str | None, expected: bool
) -> None:
    path = tmp_path / "cherrypy.conf"
    if file is not None:
        path.write_text(file if isinstance(file, str) else file.read_text())
    # In a process of its own: CherryPy has one configuration for all that runs in one.
    command = [sys.executable, "-c", PARTS, str(path)]
    said = subprocess.run(
        command, cwd=tmp_path, check=True, capture_output=True, text=True, timeout=30
    )
    assert ("receive_fast_path" in said.stdout.split()) == expected
