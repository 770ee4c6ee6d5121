"""The web server: waitress, hardened so that slow clients occupy no threads."""

from pacifica.notifications.webserver.limits import Limits
from pacifica.notifications.webserver.server import Server

__all__ = ["Limits", "Server"]
