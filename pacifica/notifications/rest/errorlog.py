"""The error log: what this package logs goes where CherryPy logs."""

import logging

import cherrypy

from pacifica.notifications.settings import NotificationsSettings

_PACKAGE = logging.getLogger("pacifica.notifications")


class _ToErrorLog(logging.Handler):
    """Writes records to CherryPy's error log, with its time."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record."""
        cherrypy.log.error_log.log(
            record.levelno,
            f"{cherrypy.log.time()} NOTIFICATIONS {record.getMessage()}",
            exc_info=record.exc_info,
            extra={"origin": record.name},
        )


def write_to_error_log() -> None:
    """Have the package's records of level INFO and above written to CherryPy's error log."""
    if not any(isinstance(handler, _ToErrorLog) for handler in _PACKAGE.handlers):
        _PACKAGE.addHandler(_ToErrorLog())
    _PACKAGE.setLevel(logging.INFO)


def warn_of_default_user(settings: NotificationsSettings) -> None:
    """Warn that a request without the user header acts as the default user."""
    if settings.default_user:
        _PACKAGE.warning(
            "a request without the header %s acts as the user %s: set [DEFAULT] default_user to "
            "nothing unless this is for trying out",
            settings.user_header,
            settings.default_user,
        )


def leave_access_to_uwsgi() -> None:
    """Write no access lines to the screen if uWSGI writes its own there.

    It does unless it was started with `--disable-logging`.
    """
    try:
        import uwsgi
    except ImportError:  # it exists in uWSGI's processes only
        return
    log = cherrypy.log.access_log
    for handler in list(log.handlers):
        if "disable-logging" not in str(uwsgi.opt) and type(handler) is logging.StreamHandler:
            log.removeHandler(handler)
