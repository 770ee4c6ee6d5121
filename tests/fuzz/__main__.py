"""Feed every target for a while, and say what came of it: `python -m tests.fuzz --seconds 600`.

The last target is the API of an installed web server. The exit status is 1 where any crashed.
"""

import argparse
import random
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.fuzz.api import ENVIRONMENT, Feeding, feed_api
from tests.fuzz.running import HEAD, Report, feed
from tests.fuzz.targets import TARGETS
from tests.integration.webservice import running
from tests.support.processes import BIN, clean_environment

API = "api"
# Of the API: examples of each kind for each second that it is fed, on a machine of two cores.
_EXAMPLES_PER_SECOND = 5
_LEAST_EXAMPLES = 5


def main() -> int:
    """Run; see `--help` for what may be asked for."""
    names = [*(target.name for target in TARGETS), API]
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=main.__doc__)
    parser.add_argument("--seconds", type=float, default=120, help="of all targets together")
    parser.add_argument("--seed", type=int, default=random.randrange(2**32))  # noqa: S311
    parser.add_argument("--target", action="append", choices=names, help="only this one")
    asked = parser.parse_args()
    wanted = asked.target or names
    each = asked.seconds / len(wanted)
    print(f"seed {asked.seed}\n{HEAD}", flush=True)
    reports = []
    for target in TARGETS:
        if target.name in wanted:
            reports.append(feed(target, seconds=each, first_seed=asked.seed))
            print(reports[-1].line(), flush=True)
    if API in wanted:
        reports.append(_fed_api(each, asked.seed))
        print(reports[-1].line(), flush=True)
    for report in reports:
        for crash in report.crashes:
            print(f"\n{report.target}: {crash}")
    return 1 if any(report.crashes for report in reports) else 0


def _fed_api(seconds: float, first_seed: int) -> Report:
    with TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "queue").mkdir()
        environment = {
            "NOTIFICATIONS_CONFIG": str(folder / "config.ini"),
            "NOTIFICATIONS_CPCONFIG": str(folder / "cpconfig.ini"),
            "PEEWEE_URL": f"sqliteext:///{folder / 'db.sqlite3'}",
            "BROKER_URL": f"filesystem://localhost{folder / 'queue'}",
            **ENVIRONMENT,
        }
        subprocess.run(
            [BIN / "pacifica-notifications-cmd", "dbsync"],
            env={**clean_environment(), **environment},
            timeout=60,
            check=True,
        )
        examples = max(_LEAST_EXAMPLES, int(seconds * _EXAMPLES_PER_SECOND))
        began = time.monotonic()
        with running(environment, folder) as service:
            feeding = feed_api(service, examples=examples, seconds=600, first_seed=first_seed)
        print(f"api: answers by status {dict(sorted(feeding.statuses.items()))}")
        return _report(feeding, time.monotonic() - began)


def _report(feeding: Feeding, seconds: float) -> Report:
    crashes = [f"{feeding.server_errors} server errors"] if feeding.server_errors else []
    if not feeding.passed:
        crashes.append(feeding.failures)
    return Report(API, feeding.requests.total(), feeding.statuses[200], seconds, crashes)


if __name__ == "__main__":
    sys.exit(main())
