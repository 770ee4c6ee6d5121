"""Runs a Python module as a program that ends when whoever started it does.

The starter holds the other end of its standard input, which is closed whatever ends the starter.
"""

import os
import runpy
import signal
import sys
import threading
import time

# Seconds that the program has to end by itself, from when it is told to.
GRACE = 20.0


def _end_with_starter() -> None:
    # Not by sys.stdin, whose lock a thread that reads would hold when the interpreter ends.
    while os.read(0, 1024):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(GRACE)
    if hasattr(os, "killpg"):  # with what the program started: it has a group of its own
        os.killpg(os.getpgrp(), signal.SIGKILL)
    os._exit(1)


if __name__ == "__main__":
    threading.Thread(target=_end_with_starter, daemon=True).start()
    del sys.argv[0]  # the module's name comes first now, where a program's is
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
