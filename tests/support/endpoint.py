"""A consumer's endpoint as a program of its own: `python -m tests.support.endpoint FOLDER PORT`.

It prints `nudged` for each notification that it has stored, and ends on SIGTERM.
"""

import signal
import sys
import threading
from pathlib import Path

from pacifica.notifications.consumer import endpoint
from pacifica.notifications.consumer.endpoint import Endpoint, Tokens
from pacifica.notifications.consumer.intake import Intake
from pacifica.notifications.consumer.workfolder import WorkFolder

TOKEN, STATUS_TOKEN = "k7Q2", "s9X4"
SUBSCRIPTION = {"id": "1", "state": "disabled", "error": "why"}
MAX_BYTES, MAX_WAITING = 1000, 3


def main(folder: str, port: str) -> None:
    over = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: over.set())
    work = WorkFolder(Path(folder))
    with work.locked():
        work.ledger.prepare()
        tokens = Tokens(TOKEN, STATUS_TOKEN)
        intake = Intake(work, MAX_WAITING, lambda _: print("nudged", flush=True))
        served = Endpoint(work, tokens, MAX_BYTES, intake, lambda: SUBSCRIPTION)
        endpoint.start(served, "127.0.0.1", int(port))
        print("serving", flush=True)
        over.wait()
        endpoint.stop()


if __name__ == "__main__":
    main(*sys.argv[1:])
