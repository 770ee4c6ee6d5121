"""`config`: prints what is in force, and where each value comes from."""

from argparse import Namespace
from itertools import groupby
from pathlib import Path

from pacifica.notifications import globals as locations
from pacifica.notifications.config import Configured, configured, load_settings


def config(_args: Namespace) -> int:
    """Print every key with its value and source; raises ConfigError for a bad value."""
    load_settings()
    print(report(configured()))  # noqa: T201
    return 0


def report(values: list[Configured]) -> str:
    """Return the values as an INI file with comments, without what may be secret."""
    files = (locations.CONFIG_FILE, locations.CHERRYPY_CONFIG)
    lines = [f"; {path}{'' if Path(path).exists() else ' (does not exist)'}" for path in files]
    for section, each in groupby(values, lambda value: value.key.section):
        lines += ["", f"[{section}]"]
        for value in each:
            lines += [f"; {value.source}", f"{value.key.name} = {value.shown}".rstrip()]
    return "\n".join(lines)
