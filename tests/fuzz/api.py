"""Feeding the API: Schemathesis against an installed web server, by the API's own description."""

import os
import re
import subprocess
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from tests.integration.webservice import Service
from tests.support.processes import BIN

ROOT = Path(__file__).parents[2]
TOKEN = "a-token-for-tests"  # noqa: S105 it opens nothing
#: How a web server that is fed is set up: with everything that can be asked of who calls.
ENVIRONMENT = {"DEFAULT_USER": "", "RECEIVE_TOKEN": TOKEN}
#: The statuses of errors in the server that are right: an event that goes round in a loop.
DESCRIBED = frozenset({508})
_ANSWERED = re.compile(r'"([A-Z]+) (\S+) HTTP/1\.[01]" (\d{3}) .*"schemathesis/')
_GENERATED = re.compile(r"^ +(\d+) generated", re.MULTILINE)

# Each exception stands below its reason.
_CONFIGURATION = """
[checks]
# 508 is what an event is answered that goes round in a loop.
not_a_server_error.expected-statuses = ["2xx", "3xx", "4xx", "508"]

# At the bounds of its length a JSONPath is made of characters alone, and is none.
[phases.coverage]
checks.positive_data_acceptance.enabled = false

# Any name is a user's: the proxy in front is what knows them.
[[operations]]
include-path-regex = "^/eventmatch"
checks.ignored_auth.enabled = false

# Schemathesis takes what it broke in `auth` for broken, also where another rule lets it pass. What
# was taken is held against the schema by a check of our own, in tests/fuzz/hooks.py.
[[operations]]
include-path = ["/eventmatch", "/eventmatch/{uuid}"]
include-method = ["POST", "PUT"]
checks.negative_data_rejection.enabled = false
checks.ignored_auth.enabled = false

# The extensions that a subscription has may be none that the version of CloudEvents allows.
[[operations]]
include-path = ["/eventmatch/{uuid}", "/eventmatch/{uuid}/delivery"]
include-method = "PUT"
checks.positive_data_acceptance.enabled = false
checks.ignored_auth.enabled = false

# A period must have begun, and end later than it begins.
[[operations]]
include-path-regex = "^(/backtests|/events|/eventmatch/.+/(deliveries|replays))"
checks.positive_data_acceptance.enabled = false
checks.ignored_auth.enabled = false

# Which texts are the attributes of an event is more than a schema can say.
[[operations]]
include-path = ["/expressions/test", "/eventmatch/{uuid}/test"]
checks.positive_data_acceptance.enabled = false
checks.ignored_auth.enabled = false

# Which headers and bodies make an event together is more than a schema can say. The token that all
# requests have is also sent where the check of missing headers left it out; ignored_auth checks it.
[[operations]]
include-path = "/receive"
checks.missing_required_header.enabled = false
checks.positive_data_acceptance.enabled = false
checks.negative_data_rejection.enabled = false
"""


@dataclass(frozen=True)
class Feeding:
    """What came of it: requests by method and path, answers by status, and what was wrong.

    A path's UUID reads `{uuid}` in it.
    """

    passed: bool
    generated: int
    requests: Counter[tuple[str, str]]
    statuses: Counter[int]
    failures: str

    @property
    def server_errors(self) -> int:
        """How many answers told of an error in the server."""
        return sum(
            count
            for status, count in self.statuses.items()
            if status >= 500 and status not in DESCRIBED
        )


def feed_api(service: Service, *, examples: int, seconds: int, first_seed: int = 0) -> Feeding:
    """Feed a web server that runs, with so many examples of each kind and at most for `seconds`."""
    configuration = service.folder / "schemathesis.toml"
    configuration.write_text(_CONFIGURATION)
    command = [
        *(BIN / "schemathesis", "--config-file", configuration, "run"),
        f"{service.url}/openapi.json",
        *("--header", "Http-Remote-User: fuzzing", "--header", f"Authorization: Bearer {TOKEN}"),
        *("--max-examples", str(examples), "--seed", str(first_seed)),
        *("--generation-database", "none", "--request-timeout", "20", "--no-color"),
        "--continue-on-failure",
    ]
    ended = subprocess.run(
        [str(part) for part in command],
        cwd=service.folder,
        env={**os.environ, "SCHEMATHESIS_HOOKS": "tests.fuzz.hooks", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )
    found = _GENERATED.search(ended.stdout)
    answered = [_ANSWERED.search(line) for line in service.program.output.splitlines()]
    return Feeding(
        passed=ended.returncode == 0,
        generated=int(found[1]) if found else 0,
        requests=Counter((each[1], _template(each[2])) for each in answered if each),
        statuses=Counter(int(each[3]) for each in answered if each),
        failures=ended.stdout.partition("= FAILURES =")[2] + ended.stderr,
    )


def _template(path: str) -> str:
    path = path.partition("?")[0]
    path = re.sub(r"^/(eventmatch|backtests)/[^/]+", r"/\1/{uuid}", path)
    return re.sub(r"/replays/[^/]+", "/replays/{uuid}", path)
