"""Tells of the broker's outages in place of Celery's worker, which writes a line for each retry."""

import logging

from pacifica.notifications.outages import Outage, cause_of

_FAILED = ("consumer: Cannot connect to ", "consumer: Connection to broker lost.")
_WORKED = "Connected to "


class BrokerOutageFilter(logging.Filter):
    """Drops the lines about a lost connection, and reports them to an outage."""

    def __init__(self, outage: Outage) -> None:
        super().__init__()
        self._outage = outage

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether a record is written."""
        line = record.getMessage()
        if line.startswith(_FAILED):
            arguments = record.args if isinstance(record.args, tuple) else ()
            errors = [each for each in arguments if isinstance(each, BaseException)]
            self._outage.failed(cause_of(errors[0]) if errors else "connection lost")
            return False
        if line.startswith(_WORKED):
            self._outage.worked()
        return True
