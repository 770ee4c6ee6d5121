"""Feeding targets: how many inputs, for how long, and what each crash was."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from hypothesis import HealthCheck, Phase, Verbosity, given, seed, settings

from tests.fuzz.targets import Target

#: Inputs of one round; Hypothesis begins each anew, and would else repeat itself less and less.
_ROUND = 300
_LONGEST_INPUT = 2000


@dataclass
class Report:
    """What came of feeding one target."""

    target: str
    inputs: int = 0
    taken: int = 0
    seconds: float = 0.0
    crashes: list[str] = field(default_factory=list)

    def line(self) -> str:
        """Return it as a line of a table."""
        counts = f"{self.inputs:9} {self.taken:9} {self.seconds:8.1f} {len(self.crashes):8}"
        return f"{self.target:20} {counts}"


HEAD = f"{'target':20} {'inputs':>9} {'taken':>9} {'seconds':>8} {'crashes':>8}"


def feed(
    target: Target,
    *,
    seconds: float = 0.0,
    rounds: int = 1,
    first_seed: int = 0,
    clock: Callable[[], float] = time.monotonic,
) -> Report:
    """Feed a target for so many rounds, or for longer where they take less than `seconds`.

    The same seed gives the same inputs. A target that crashes is fed no more.
    """
    report = Report(target.name)
    began = clock()
    number = 0
    while (number < rounds or clock() - began < seconds) and not report.crashes:
        _round(target, report, first_seed + number)
        number += 1
    report.seconds = clock() - began
    return report


def _round(target: Target, report: Report, number: int) -> None:
    last: list[Any] = [None]

    @seed(number)
    @settings(
        max_examples=_ROUND,
        database=None,
        deadline=None,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
        verbosity=Verbosity.quiet,
    )
    @given(target.inputs)
    def one_round(given_input: Any) -> None:
        report.inputs += 1
        last[0] = given_input
        report.taken += target.read(given_input)

    try:
        one_round()
    except Exception as error:  # noqa: BLE001 whatever it is, it is a crash
        # The last input is the smallest that Hypothesis found for it.
        shown = repr(last[0])[:_LONGEST_INPUT]
        report.crashes.append(f"seed {number}: {type(error).__name__}: {error}\n    {shown}")
