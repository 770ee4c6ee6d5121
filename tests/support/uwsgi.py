"""The web server under uWSGI, started as the documentation says for production."""

import shlex
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tests.support.processes import BIN, Program

_PAGE = Path(__file__).parents[2] / "docs" / "starting.rst"
_ADDRESS = "127.0.0.1:8070"


@contextmanager
def uwsgi_server(
    environment: Mapping[str, str], folder: Path, port: int, *more: str
) -> Iterator[Program]:
    """Run uWSGI, with `more` options, for the block, which begins when all its processes serve."""
    command = shlex.split(_documented().replace(_ADDRESS, f"127.0.0.1:{port}"))
    with Program([BIN / command[0], *command[1:], *more], environment, folder) as program:
        program.wait_for_line("spawned uWSGI worker 2")
        yield program


def _documented() -> str:
    lines = _PAGE.read_text(encoding="utf-8").splitlines()
    (line,) = (line for line in lines if f"$ uwsgi --http11-socket {_ADDRESS} " in line)
    return line.partition("$ ")[2]
