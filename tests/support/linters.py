"""The linters of OpenAPI descriptions, Spectral and Redocly, with the rules that each recommends.

They are programs for Node.js, and installed by npm into a folder that is kept for the next time.
"""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

from tests.support.npm import installed

PACKAGES = ("@stoplight/spectral-cli@6.16.3", "@redocly/cli@2.77.0")
#: Seconds.
LINTING = 60
#: Neither is to ask the network for anything.
QUIET = {"REDOCLY_TELEMETRY": "off", "REDOCLY_SUPPRESS_UPDATE_NOTICE": "true"}


def spectral(document: dict[str, Any], folder: Path) -> list[str]:
    """Return what breaks a rule of `spectral:oas`."""
    (folder / "rules.json").write_text(json.dumps({"extends": ["spectral:oas"]}))
    options = ("--ruleset", "rules.json", "--fail-severity", "hint", "--quiet", "--format", "json")
    found = _lint("spectral", document, folder, *options)
    return [f"{each['code']} {'.'.join(each['path'])}: {each['message']}" for each in found]


def redocly(document: dict[str, Any], folder: Path) -> list[str]:
    """Return what breaks a recommended rule of Redocly's, errors and warnings."""
    options = ("--extends", "recommended", "--format", "json")
    # The licence is for the owner of the project to choose, who has not chosen one.
    options += ("--skip-rule", "info-license")
    found = _lint("redocly", document, folder, *options)
    return [
        f"{each['ruleId']} {each['location'][0]['pointer']}: {each['message']}"
        for each in found["problems"]
    ]


def _lint(program: str, document: dict[str, Any], folder: Path, *options: str) -> Any:
    (folder / "openapi.json").write_text(json.dumps(document))
    command = [installed("linters", PACKAGES) / ".bin" / program, "lint", "openapi.json", *options]
    environment = {**os.environ, **QUIET}
    ended = subprocess.run(
        command,
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=LINTING,
        check=False,
    )
    assert ended.stdout, ended.stderr
    return json.loads(ended.stdout)
