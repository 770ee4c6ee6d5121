"""The web server: waitress, where no client can hold a thread, nor keep others waiting."""

from pacifica.notifications.webserver.limits import Limits
from pacifica.notifications.webserver.server import Server

__all__ = ["Limits", "Server"]
