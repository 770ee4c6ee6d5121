"""nginx in front of a web server, with the settings against slow clients that are documented."""

import getpass
import re
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.processes import Program
from tests.support.servers import eventually

_PAGE = Path(__file__).parents[2] / "docs" / "starting.rst"
_FILE = """
daemon off;
user {user};
worker_processes 1;
pid {folder}/nginx.pid;
events {{ worker_connections 4096; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
{documented}
    server {{
        listen 127.0.0.1:{port} backlog=2048;
{locations}
    }}
{servers}
}}
"""
_ANY_PATH = """
        location / {{
            proxy_pass {behind};
            proxy_set_header Http-Remote-User $http_http_remote_user;
        }}
"""
_LOCATION = re.compile(r"^   location /eventmatch \{\n(?:   .*\n)+?   \}$", re.MULTILINE)


@contextmanager
def nginx_in_front(
    behind: str, folder: Path, port: int, locations: str = _ANY_PATH, servers: str = ""
) -> Iterator[Program]:
    """Run nginx for the block, which begins when it listens; by default it passes on all.

    `servers` are further `server` blocks.
    """
    nginx = nginx_path()
    assert nginx is not None
    folder.mkdir()
    file = folder / "nginx.conf"
    file.write_text(
        _FILE.format(
            user=getpass.getuser(),  # root's would be another one, who may not write here
            folder=folder,
            documented=documented(),
            port=port,
            locations=locations.format(behind=behind) if locations is _ANY_PATH else locations,
            servers=servers,
        )
    )
    options = ["-e", "stderr", "-p", str(folder), "-c", str(file)]
    with Program([nginx, *options], {}, folder) as program:
        eventually(lambda: _is_listening(port), timeout=10)
        yield program


def nginx_path() -> str | None:
    """Return where nginx is installed; servers are often not in the PATH of users."""
    return shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")


def documented() -> str:
    """Return the settings that the documentation gives for nginx's `http` block."""
    page = _PAGE.read_text(encoding="utf-8")
    found = re.search(r"^   client_header_timeout .*?;$(?=\n\n)", page, re.MULTILINE | re.DOTALL)
    assert found is not None
    return found[0]


def documented_locations() -> dict[str, str]:
    """Return the blocks that the documentation gives for /eventmatch, by how they pass it on."""
    found = _LOCATION.findall(_PAGE.read_text(encoding="utf-8"))
    return {"uwsgi" if "uwsgi_pass" in block else "proxy": block for block in found}


def _is_listening(port: int) -> bool:
    with socket.socket() as connecting:
        return connecting.connect_ex(("127.0.0.1", port)) == 0
