"""Runs a Python module as a program that ends when its parent process ends.

The parent holds the other end of its standard input, which closes however the parent ends.
"""

import os
import runpy
import signal
import sys
import threading
import time

# Seconds that the program has to end by itself after it is told to.
GRACE = 20.0


def _end_with_starter() -> None:
    # Not by sys.stdin: the reading thread would hold its lock when the interpreter ends.
    while os.read(0, 1024):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(GRACE)
    if hasattr(os, "killpg"):  # also kills the program's children, which are in its group
        os.killpg(os.getpgrp(), signal.SIGKILL)
    os._exit(1)


if __name__ == "__main__":
    threading.Thread(target=_end_with_starter, daemon=True).start()
    del sys.argv[0]  # the first argument is now the module, as the program's name
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
