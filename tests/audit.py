"""Whether a vulnerability is known in what the project needs at run time: `python -m tests.audit`.

Audited are the installed versions of what its requirements name, extras included, and of what these
need; not the tools that it is tested and documented with. Where nothing can be found out, it says
`skipped` and why: a machine without that network is not at fault. What a line of
`.ci/ignored-vulnerabilities.txt` names, an id and the reason, is not counted.
"""

import json
import subprocess
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

PROJECT = "pacifica-notifications"
IGNORED = Path(__file__).parent.parent / ".ci" / "ignored-vulnerabilities.txt"
_OF_TOOLS = frozenset({"docs", "test"})
#: How long the audit may take, and one of its requests (seconds).
_TIMEOUT = 60
_ANSWERS_WITHIN = 10


@dataclass(frozen=True)
class Audit:
    """What was found: whether it passes, and the lines that say so."""

    passed: bool
    lines: tuple[str, ...]


def main() -> int:
    """Audit, say what was found, and return the exit status."""
    found = audit(needed(), ignored(IGNORED.read_text(encoding="utf-8")))
    print("\n".join(found.lines))
    return 0 if found.passed else 1


def needed() -> dict[str, str]:
    """Return the names and versions of what the project needs, directly or not."""
    extras = set(distribution(PROJECT).metadata.get_all("Provides-Extra") or ()) - _OF_TOOLS
    versions: dict[str, str] = {}
    waiting = [(PROJECT, frozenset(extras))]
    seen = set(waiting)
    while waiting:
        name, wanted = waiting.pop()
        try:
            found = distribution(name)
        except PackageNotFoundError:
            continue  # an extra, or another platform's, that is not installed here
        versions[canonicalize_name(name)] = found.version
        for line in found.requires or ():
            requirement = Requirement(line)
            if _counts(requirement, wanted):
                more = (canonicalize_name(requirement.name), frozenset(requirement.extras))
                if more not in seen:
                    seen.add(more)
                    waiting.append(more)
    del versions[PROJECT]
    return versions


def _counts(requirement: Requirement, extras: Iterable[str]) -> bool:
    marker = requirement.marker
    return marker is None or any(marker.evaluate({"extra": extra}) for extra in ("", *extras))


def ignored(text: str) -> dict[str, str]:
    """Return the ids that are not counted, and why; raises ValueError where there is no reason."""
    reasons: dict[str, str] = {}
    for line in text.splitlines():
        if line.strip() and not line.startswith("#"):
            identifier, _, reason = line.strip().partition(" ")
            if not reason.strip():
                raise ValueError(f"{IGNORED.name}: {identifier} has no reason")
            reasons[identifier] = reason.strip()
    return reasons


def audit(versions: Mapping[str, str], reasons: Mapping[str, str]) -> Audit:
    """Ask the vulnerability service that pip-audit is set up for."""
    with TemporaryDirectory() as folder:
        pinned = Path(folder, "requirements.txt")
        pinned.write_text("".join(f"{name}=={versions[name]}\n" for name in sorted(versions)))
        command = [
            *(sys.executable, "-m", "pip_audit", "--requirement", str(pinned)),
            *("--no-deps", "--disable-pip", "--progress-spinner", "off", "--format", "json"),
            *("--timeout", str(_ANSWERS_WITHIN), "--cache-dir", str(Path(folder, "cache"))),
        ]
        try:
            ended = subprocess.run(
                command, capture_output=True, text=True, timeout=_TIMEOUT, check=False
            )
        except subprocess.TimeoutExpired:
            return Audit(True, (f"skipped: no answer within {_TIMEOUT} s",))
    try:
        report = json.loads(ended.stdout)
    except ValueError:
        last = (ended.stderr.strip().splitlines() or ["no answer"])[-1]
        return Audit(True, (f"skipped: {last}",))
    return judged(report, reasons)


def judged(report: Mapping[str, Any], reasons: Mapping[str, str]) -> Audit:
    """Return what a report of pip-audit amounts to."""
    audited = [each for each in report["dependencies"] if "vulns" in each]
    unknown = [each["skip_reason"] for each in report["dependencies"] if "vulns" not in each]
    if not audited:
        return Audit(True, (f"skipped: {(unknown or ['nothing is to audit'])[0]}",))
    lines, passed = [], True
    for each in audited:
        for vulnerability in each["vulns"]:
            names = [vulnerability["id"], *vulnerability["aliases"]]
            reason = next((reasons[name] for name in names if name in reasons), None)
            passed = passed and reason is not None
            fixed = ", ".join(vulnerability["fix_versions"]) or "no version"
            judgement = f"ignored: {reason}" if reason else f"fixed in {fixed}"
            lines.append(f"{each['name']} {each['version']}: {names[0]}: {judgement}")
    counted = f"audited {len(audited)} packages"
    return Audit(passed, (*lines, *unknown, counted))


if __name__ == "__main__":
    sys.exit(main())
