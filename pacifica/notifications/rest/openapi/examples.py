"""Examples of what is sent and answered."""

from typing import Any

UUID = "466725b0-cbe1-45cd-b034-c3209aa4b6e0"
EVENT_UUID = "518254da-f7cf-450c-8489-03a222e80104"
_MADE = "2026-01-31T13:53:05.838827"
BASIC = {"type": "basic", "basic": {"username": "pacifica", "password": "secret"}}

NEW_SUBSCRIPTION: dict[str, Any] = {
    "name": "text files",
    "jsonpath": '$.data[*][?(@.destinationTable = "Files" and @.mimetype = "text/plain")]',
    "target_url": "https://workflow.example.org/start",
    "extensions": {"workflow": "convert"},
    "auth": BASIC,
}
SUBSCRIPTION_READ: dict[str, Any] = {
    "uuid": UUID,
    "name": NEW_SUBSCRIPTION["name"],
    "jsonpath": NEW_SUBSCRIPTION["jsonpath"],
    "user": "dmlb2001",
    "disabled": None,
    "error": None,
    "target_url": NEW_SUBSCRIPTION["target_url"],
    "version": "v0.1",
    "extensions": NEW_SUBSCRIPTION["extensions"],
    "auth": BASIC,
    "created": _MADE,
    "updated": _MADE,
    "deleted": None,
}
ENABLED: dict[str, Any] = {"disabled": None, "error": None}
DELIVERY: dict[str, Any] = {"specversion": "1.0", "mode": "binary"}

EVENT_0_1: dict[str, Any] = {
    "cloudEventsVersion": "0.1",
    "eventType": "org.pacifica.metadata.ingest",
    "source": "http://metadata.pacifica.org/transactions?_id=1234",
    "eventID": "metadata.ingest.1234",
    "eventTime": "2026-01-31T12:00:00",
    "contentType": "application/json",
    "extensions": {},
    "data": [{"destinationTable": "Transactions._id", "value": 1234}],
}
EVENT_1_0: dict[str, Any] = {
    "specversion": "1.0",
    "type": "org.example.measured",
    "source": "/instruments/54",
    "id": "measured-1",
    "time": "2026-01-31T12:00:00Z",
    "datacontenttype": "application/json",
    "data": {"instrument": 54, "size": 128},
}
NOT_A_PATH: dict[str, Any] = {
    "status": "400 Bad Request",
    "message": "jsonpath: the JSONPath is empty",
    "fields": [{"field": "jsonpath", "reason": "the JSONPath is empty"}],
}
NOT_YOURS: dict[str, Any] = {
    "status": "403 Forbidden",
    "message": "there is no such subscription of yours",
}
