"""Says in words what each part of an expression let through on an event."""

import re
from dataclasses import dataclass

from pacifica.notifications.matching import ConditionTrace, StepTrace, Trace, TraceResult
from pacifica.notifications.ui.rendering import counted

_MEMBER = re.compile(r'@?\["([A-Za-z_]\w*)"\]')
_ALONE = re.compile(r'\["([^"\\]*)"\]')


@dataclass(frozen=True)
class Line:
    """One line of an explanation.

    `counts` are words such as `12 records, 3 passed`, `text` the part that they are about, which
    is a part of the expression if `is_code`, and `level` how deep it is inside others. `is_stop`
    marks where nothing came through.
    """

    counts: str
    text: str
    level: int = 0
    is_stop: bool = False
    hint: str = ""
    is_code: bool = True


@dataclass(frozen=True)
class Explanation:
    """What became of an expression on an event: the shape of its icon, a headline, and lines."""

    shape: str
    headline: str
    lines: tuple[Line, ...]
    note: str = ""


def explained(trace: Trace) -> Explanation:
    """Return a trace in words."""
    lines = tuple(line for step in trace.steps for line in _lines(step))
    if trace.result is TraceResult.MATCH:
        places = f"{counted(trace.count, 'place')} in it" if trace.is_complete else "it"
        return Explanation("yes", f"This event matches: the expression finds {places}.", lines)
    if trace.result is TraceResult.NO_MATCH:
        return Explanation("no", "This event does not match.", lines)
    if trace.result is TraceResult.OVER_BUDGET:
        headline = "This expression takes too long on this event."
        note = "Say more exactly where to look, such as $.data[*] in place of .. (anywhere inside)."
        return Explanation("warning", headline, lines, note)
    return Explanation("warning", "This expression fails on this event.", lines, trace.error or "")


def _lines(step: StepTrace) -> list[Line]:
    """Return the lines of a step; one of a filter is told by its conditions."""
    is_stop = step.entered > 0 and step.selected == 0
    if step.conditions:
        lines = [line for each in step.conditions for line in _of_condition(each, 0)]
        if step.hint:
            lines.append(Line("", "", 1, is_stop=True, hint=step.hint))
        return lines
    name = _ALONE.fullmatch(step.text)
    text = name[1] if name else step.text
    if step.text == "$":
        return []
    if step.text == "[*]":
        counts = f"{counted(step.selected, 'record')} in it"
        return [
            Line(counts, "each of them is looked at", 0, is_stop, step.hint or "", is_code=False)
        ]
    if step.entered == 1 and step.selected <= 1:
        counts = "found" if step.selected else "not there"
    else:
        counts = f"in {step.selected:,} of {step.entered:,}"
    return [Line(counts, text, 0, is_stop, step.hint or "")]


def _of_condition(condition: ConditionTrace, level: int) -> list[Line]:
    is_stop = condition.tested > 0 and condition.held == 0
    counts = f"{counted(condition.tested, 'record')}, {condition.held:,} passed"
    if condition.tested == 0:
        counts = "not reached"
    if condition.parts:
        parts = [line for each in condition.parts for line in _of_condition(each, level + 1)]
        together = "all of these" if " and " in condition.text else "this"
        if " or " in condition.text and " and " not in condition.text:
            together = "one of these"
        elif condition.text.startswith("not"):
            together = "not this"
        whole = Line(counts, together, level, is_stop, condition.hint or "", is_code=False)
        return [whole, *parts]
    return [Line(counts, readable(condition.text), level, is_stop, condition.hint or "")]


def readable(text: str) -> str:
    """Return a condition without the brackets around plain names."""
    return _MEMBER.sub(lambda found: found[1] if found[0][0] == "@" else f".{found[1]}", text)
