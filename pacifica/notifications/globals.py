"""The paths of the two configuration files, evaluated at each access.

`CONFIG_FILE` is the service's INI file (`$NOTIFICATIONS_CONFIG`). `CHERRYPY_CONFIG` is CherryPy's
(`$NOTIFICATIONS_CPCONFIG`). Both default to a file in `~/.pacifica-notifications`. Neither needs to
exist.
"""

import os
from pathlib import Path

_HOME = Path("~", ".pacifica-notifications")
_FILES = {
    "CONFIG_FILE": ("NOTIFICATIONS_CONFIG", "config.ini"),
    "CHERRYPY_CONFIG": ("NOTIFICATIONS_CPCONFIG", "cpconfig.ini"),
}

CONFIG_FILE: str
CHERRYPY_CONFIG: str


def __getattr__(name: str) -> str:
    """Return the path from the current environment; importing reads nothing."""
    if name not in _FILES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    variable, default = _FILES[name]
    return os.environ.get(variable) or str((_HOME / default).expanduser())
