"""Log lines as JSON objects, for programs that collect logs."""

import json
import logging
import re
from datetime import UTC, datetime
from typing import Any

# What CherryPy writes before the message: its own time, and which part of it speaks.
_CHERRYPY = re.compile(r"\[[^\]]*\] (\S*) ?")


class JsonFormatter(logging.Formatter):
    """Formats a record as one JSON object; its attribute `fields`, a dict, adds to it."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, with its time in UTC."""
        message = record.getMessage()
        if record.name.startswith("cherrypy.error"):
            message = _CHERRYPY.sub("", message, count=1)
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": getattr(record, "origin", record.name),
            "process": record.process,
            "message": message,
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line)


def use_json(*loggers: logging.Logger) -> None:
    """Have the present handlers of some loggers write JSON."""
    for logger in loggers:
        for handler in logger.handlers:
            handler.setFormatter(JsonFormatter())
