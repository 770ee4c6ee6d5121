"""Log lines as JSON."""

import json
import logging
import sys
from datetime import datetime

from pacifica.notifications.jsonlog import JsonFormatter


def formatted(name: str = "a.b", message: str = "it is %s", **more: object) -> dict[str, object]:
    record = logging.LogRecord(name, logging.WARNING, "", 0, message, ("é\n",), None)
    for field, value in more.items():
        setattr(record, field, value)
    line = JsonFormatter().format(record)
    assert "\n" not in line
    return json.loads(line)


def test_line_has_time_level_logger_and_message() -> None:
    line = formatted()
    assert datetime.fromisoformat(str(line["time"])).tzinfo is not None
    assert (line["level"], line["logger"], line["message"]) == ("WARNING", "a.b", "it is é\n")


def test_line_has_further_fields() -> None:
    assert formatted(fields={"status": "200"})["status"] == "200"


def test_line_has_the_exception() -> None:
    try:
        raise ValueError("wrong")
    except ValueError:
        line = formatted(exc_info=sys.exc_info())
    assert "ValueError: wrong" in str(line["exception"])


def test_line_of_cherrypy_is_without_its_own_time() -> None:
    said = "[01/Feb/2026:03:04:05] ENGINE Serving on %s"
    assert formatted("cherrypy.error", said)["message"] == "Serving on é\n"
