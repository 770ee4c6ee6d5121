"""The workbench: try an expression on an event, and build one by clicking its values."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib.resources import files
from typing import Any, Final

from pacifica.notifications.errors import InvalidInput
from pacifica.notifications.matching import Trace
from pacifica.notifications.rest import expressions
from pacifica.notifications.rest.errors import ApiError
from pacifica.notifications.ui.calendar import PERIODS, panel_of
from pacifica.notifications.ui.clauses import read, with_value
from pacifica.notifications.ui.event_tree import EventTree, steps_of, tree_of
from pacifica.notifications.ui.recent import event_text, recent_of
from pacifica.notifications.ui.recipes import RECIPES, Recipe
from pacifica.notifications.ui.screens import Page, Route, Visit
from pacifica.notifications.ui.subscription_form import on_one_line
from pacifica.notifications.ui.trace_words import Explanation, explained
from pacifica.notifications.ui.why import subscriptions_of

# What these buttons do leaves the expression as it is.
_OTHER_BUTTONS: Final = frozenset({"try", "count", "recent"})
# Bytes of a form: each byte of an event may take three.
_MAX_FORM: Final = 3 * expressions.MAX_BODY


@dataclass(frozen=True)
class Bench:
    """What lies on the workbench: an expression, an event as text, and what became of them.

    `event` is the parsed one, None while there is none that can be read.
    """

    jsonpath: str
    text: str
    recipe: Recipe | None = None
    event: dict[str, Any] | None = None
    trace: Trace | None = None
    problems: Mapping[str, str] | None = None

    @property
    def explanation(self) -> Explanation | None:
        """The trace in words."""
        return None if self.trace is None else explained(self.trace)

    @property
    def tree(self) -> EventTree | None:
        """The event as it is shown."""
        if self.event is None:
            return None
        found = [each.path for each in self.trace.found] if self.trace else []
        return tree_of(self.event, read(self.jsonpath), found)


def show(visit: Visit) -> Page:
    """Show the workbench with what the address brings along."""
    jsonpath = visit.query.get("jsonpath", "")
    recipe = RECIPES.get(visit.query.get("recipe", ""))
    text = example() if recipe or jsonpath else ""
    problem = ""
    if name := visit.query.get("event", ""):
        text, problem = event_text(visit.user, name)
    bench = _tried(Bench(jsonpath, text, recipe), {"event": problem} if problem else None)
    return _page(visit, bench)


def work(visit: Visit) -> Page:
    """Do what a button of the workbench says, and show the result."""
    return _page(visit, _worked(visit))


def trace(visit: Visit) -> Page:
    """Return what became of the expression, and what it finds, while it is being written."""
    bench = _tried(_bench(visit.form))
    return Page("live.html", {"bench": bench, "root": "./"})  # it is put into the page above


ROUTES: Final = (
    Route("GET", "workbench", show),
    Route("POST", "workbench", work, max_body=_MAX_FORM),
    Route("POST", "workbench/trace", trace, max_body=_MAX_FORM),
)


def example() -> str:
    """Return an event as Pacifica Metadata sends it."""
    return (files(__package__) / "example.json").read_text("utf-8")


def _bench(form: Mapping[str, str]) -> Bench:
    recipe = RECIPES.get(form.get("recipe", ""))
    return Bench(on_one_line(form.get("jsonpath", "")), form.get("event", ""), recipe)


def _worked(visit: Visit) -> Bench:
    form = visit.form
    bench = _bench(form)
    if "use" in form:
        text, problem = event_text(visit.user, form["use"])
        taken = replace(bench, text=text or bench.text)
        return _tried(taken, {"event": problem} if problem else None)
    if "choose" in form:
        recipe = RECIPES.get(form["choose"])
        return _tried(Bench(bench.jsonpath, bench.text or example(), recipe))
    if "example" in form:
        return _tried(Bench(bench.jsonpath, example(), bench.recipe))
    if "pick" in form:
        return _picked(bench, form["pick"])
    if bench.recipe is not None and not _OTHER_BUTTONS & form.keys():
        try:
            jsonpath = bench.recipe.expression(form)
        except InvalidInput as error:
            return _tried(bench, dict(error.problems))
        return _tried(Bench(jsonpath, bench.text or example(), bench.recipe))
    return _tried(bench)


def _picked(bench: Bench, pick: str) -> Bench:
    before = _tried(bench)
    steps = None if before.event is None else steps_of(pick, before.event)
    if steps is None:
        return before
    return _tried(Bench(with_value(bench.jsonpath, before.event, steps), bench.text, bench.recipe))


def _tried(bench: Bench, problems: Mapping[str, str] | None = None) -> Bench:
    """Return a bench with its event read and its expression tried, or with what is wrong."""
    wrong = dict(problems or {})
    event = None
    if bench.text.strip():
        try:
            event = expressions.event_of(bench.text).document()
        except InvalidInput as error:
            wrong["event"] = _sentences(error)
    found = None
    if bench.jsonpath:
        try:
            found = expressions.tried(bench.jsonpath, event if event is not None else {})
        except InvalidInput as error:
            wrong["jsonpath"] = _sentences(error)
        except ApiError as error:  # many others try theirs
            wrong["jsonpath"] = f"{error._message[:1].upper()}{error._message[1:]}."
    return Bench(
        bench.jsonpath, bench.text, bench.recipe, event, found if event is not None else None, wrong
    )


def _sentences(error: InvalidInput) -> str:
    said = [
        reason if field in ("body", "jsonpath") else f"{field}: {reason}"
        for field, reason in error.problems
    ]
    return ". ".join(f"{each[:1].upper()}{each[1:]}" for each in said) + "."


def _page(visit: Visit, bench: Bench) -> Page:
    return Page(
        "workbench.html",
        {
            "here": "workbench",
            "bench": bench,
            "form": visit.form,
            "panel": panel_of(visit.user, visit.form, bench.jsonpath),
            "recent": recent_of(visit.user, visit.form),
            "periods": PERIODS,
            "choices": subscriptions_of(visit.user),
            "recipes": RECIPES.values(),
            "readable": None
            if bench.event is None
            else json.dumps(bench.event, indent=2, ensure_ascii=False),
        },
    )
