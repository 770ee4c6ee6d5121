"""Ready expressions for what is asked for most, with fields to complete."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from pacifica.notifications.errors import InvalidInput
from pacifica.notifications.ui.clauses import Clause, Filter, Scalar, is_writable

_RECORDS: Final = "$.data[*]"
_MAX_FIELD = 200


@dataclass(frozen=True)
class Field:
    """A field of a recipe; `name` is that in the form."""

    name: str
    label: str
    example: str
    is_number: bool = False
    is_required: bool = True


@dataclass(frozen=True)
class Recipe:
    """What a reader may want to be told about, and how an expression says it."""

    key: str
    title: str
    explanation: str
    fields: tuple[Field, ...]
    write: Callable[[Mapping[str, Scalar]], str]

    def expression(self, form: Mapping[str, str]) -> str:
        """Return the expression with the fields of a form; raises InvalidInput with each field."""
        values: dict[str, Scalar] = {}
        problems: list[tuple[str, str]] = []
        for field in self.fields:
            text = form.get(field.name, "").strip()
            problem = _problem(field, text)
            if problem:
                problems.append((field.name, problem))
            elif text:
                values[field.name] = int(text) if field.is_number else text
        if problems:
            raise InvalidInput(*problems)
        return self.write(values)


def _problem(field: Field, text: str) -> str | None:
    if not text:
        return f"Enter a value, such as {field.example}." if field.is_required else None
    if field.is_number and not (text.isascii() and text.isdecimal() and len(text) < 19):
        return f"Enter a whole number, such as {field.example}."
    if len(text) > _MAX_FIELD or not is_writable(text):
        return f"Use up to {_MAX_FIELD} characters, without a double quote and a backslash."
    return None


def _of_kind(kind: str, *others: tuple[str, Scalar]) -> Filter:
    clauses = (Clause(f".{name}", value) for name, value in (("destinationTable", kind), *others))
    return Filter(_RECORDS, tuple(clauses))


def _files(values: Mapping[str, Scalar]) -> str:
    files = str(_of_kind("Files", ("mimetype", values["kind"])))
    if "project" not in values:
        return files
    # The project is in a record of its own: first any record of the event, then those of files.
    project = str(_of_kind("Transactions.project", ("value", values["project"])))
    inside = project.removeprefix("$.data[*]")
    return f"$.data[?(@[*]{inside})]{files.removeprefix('$.data')}"


def _instrument(values: Mapping[str, Scalar]) -> str:
    return str(_of_kind("Transactions.instrument", ("value", values["instrument"])))


def _key_value(values: Mapping[str, Scalar]) -> str:
    pairs = [("key", values["key"]), *(("value", v) for v in (values.get("value"),) if v)]
    return str(_of_kind("TransactionKeyValue", *pairs))


def _doi(_values: Mapping[str, Scalar]) -> str:
    kind = Filter("$", (Clause(".eventType", "org.pacifica.metadata.doientry"),))
    made = Filter(_RECORDS, (Clause(".was_created", True),))
    return f"{kind}{str(made).removeprefix('$')}"


RECIPES: Final = {
    recipe.key: recipe
    for recipe in (
        Recipe(
            "files",
            "Files of a kind",
            "Tell me when files of a certain kind arrive, in any project or in one.",
            (
                Field("kind", "Kind of file (media type)", "text/plain"),
                Field("project", "Project number (leave empty for any)", "1236", is_required=False),
            ),
            _files,
        ),
        Recipe(
            "instrument",
            "My instrument has new data",
            "Tell me when data from one instrument arrive.",
            (Field("instrument", "Instrument number", "54", is_number=True),),
            _instrument,
        ),
        Recipe(
            "key",
            "A key was set",
            "Tell me when data arrive that somebody marked with a key.",
            (
                Field("key", "Key", "Tag"),
                Field("value", "Value (leave empty for any)", "Blah", is_required=False),
            ),
            _key_value,
        ),
        Recipe(
            "doi",
            "A DOI was minted",
            "Tell me when a data set gets a DOI.",
            (),
            _doi,
        ),
    )
}
