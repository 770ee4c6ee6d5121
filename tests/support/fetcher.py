"""A program that fetches from a subscription: `python -m tests.support.fetcher PORT UUID FILE`.

It writes a line of JSON for each event that it was handed, and one for each that it acknowledged,
and may be killed at any time. Times are those of the machine's monotonic clock.
"""

import http.client
import json
import random
import sys
import time
from contextlib import closing
from typing import Any, TextIO

#: The shortest lock there is (seconds).
LOCK = 10
#: Whose subscription it is.
USER = "alice"
_TIMEOUT = 15
_REST = 0.1


def main(port: str, subscription: str, file: str) -> None:
    with open(file, "a", encoding="ascii", buffering=1) as log:  # noqa: PTH123
        while True:
            try:
                fetch(int(port), f"/eventmatch/{subscription}/pull", log)
            except (OSError, http.client.HTTPException, ValueError):  # a server that was killed
                time.sleep(_REST)


def fetch(port: int, path: str, log: TextIO) -> None:
    """Fetch a few events, work on them for a moment, and acknowledge them."""
    asked = time.monotonic()
    body = {"max": random.randint(1, 7), "lock": LOCK, "wait": random.choice([0, 1])}  # noqa: S311
    items = call(port, path, body)["items"]
    handed_out = time.monotonic()
    for each in items:
        number = each["event"]["data"]["number"]
        line = {"delivery": each["delivery"], "number": number, "asked": asked, "at": handed_out}
        log.write(json.dumps(line) + "\n")
    if not items:
        time.sleep(_REST)
        return
    time.sleep(random.uniform(0, 2 * _REST))  # noqa: S311
    results = call(port, f"{path}/acknowledge", {"locks": [each["lock"] for each in items]})
    for each, answer in zip(items, results["items"], strict=True):
        if answer["result"] == "acknowledged":
            log.write(json.dumps({"acknowledged": each["delivery"]}) + "\n")


def call(port: int, path: str, body: Any) -> Any:
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=_TIMEOUT)) as client:
        headers = {"Content-Type": "application/json", "Http-Remote-User": USER}
        client.request("POST", path, json.dumps(body), headers)
        response = client.getresponse()
        answer = json.loads(response.read())
        if response.status != http.client.OK:
            raise ValueError(answer)
        return answer


if __name__ == "__main__":
    main(*sys.argv[1:])
