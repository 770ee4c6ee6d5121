"""Says in words what is wrong with a JSONPath, and what to write instead."""

import re
from typing import NamedTuple

#: The functions of jsonpath2.
FUNCTIONS = ("charAt", "entries", "keys", "length", "substring", "values")

_FILTER = "write [?(…)] for a filter, and [*][?(…)] to filter the elements of an array"
_TEXT = 'write double quotes around a text and around a name in brackets, as in ["name"]'
_MEMBER = "write $.name or @.name for a member, and double quotes around a text"
_CALL = 'write a function behind what it is applied to, as in @["name"][length()]'
_LISTED = f"the functions are {', '.join(f'{name}()' for name in FUNCTIONS)}"

_STRING = re.compile(r'"(?:[^"\\]|\\.)*"')
# What no JSONPath has outside of double quotes.
_NOWHERE = (
    (re.compile(r"={2,3}"), "write = for equality"),
    (
        re.compile(r"=?~"),
        "there are no regular expressions; compare a part of a text, as in "
        '@["name"][substring(0, 3)] = "abc"',
    ),
    (re.compile(r"'"), _TEXT),
    (re.compile(r"&&?"), "write: and"),
    (re.compile(r"\|\|?"), "write: or"),
    (re.compile(r"<>"), "write !="),
    (re.compile(r"!(?!=)"), "write: not"),
    (re.compile(r"\[\s*\]"), "write [*] for every element of an array"),
    (re.compile(r"(?<!\.)\.\s*(?=\[)"), "write no dot before a bracket"),
    (re.compile(r"\?(?!\s*\()"), _FILTER),
    (re.compile(r"(?<=[\w\])*])\s*(?=\?)"), _FILTER),
    (re.compile(r"(?<=[\w\]])\*"), "write [*] for every element"),
)
# What is right elsewhere, and wrong where the parser stopped.
_HERE = (
    (re.compile(r"(?:AND|OR|NOT|TRUE|FALSE|NULL|True|False|Null)\b"), "write it in small letters"),
    (re.compile(r"None\b"), "write: null"),
    (re.compile(r"in\b"), "there is no: in; write one comparison for each value, with: or"),
    (re.compile(r"\w+\s*\("), _CALL),
    (re.compile(r"[^\W\d]\w*"), _MEMBER),
    (re.compile(r'"'), "this text has no double quote at its end"),
    (re.compile(r"-"), 'a name that is not all letters and digits is in brackets, as in ["a-b"]'),
    (re.compile(r"$"), "the JSONPath ends too early: a bracket or parenthesis is still open"),
)
_BARE_NAME = re.compile(r"\[\s*([^\W\d]\w*)\s*$")
_CALLED = re.compile(r"\b(\w+)\s*\(")


class Advice(NamedTuple):
    """What to write instead, and the offset of the character that it is about."""

    position: int
    text: str


def advice(text: str, position: int, *, is_complete: bool) -> Advice | None:
    """Return what is wrong with a JSONPath whose parser stopped at an offset, if it is known.

    `is_complete` says that what is before the offset would be a JSONPath.
    """
    # Texts in double quotes may have any character.
    bare = _STRING.sub(lambda found: '"' + "_" * (len(found[0]) - 2) + '"', text)
    found = [
        Advice(position if match.start() < position < match.end() else match.start(), said)
        for pattern, said in _NOWHERE
        if (match := pattern.search(bare)) is not None and match.start() <= position + 1
    ]
    if found:
        return min(found)
    if name := _BARE_NAME.search(bare[:position]):
        return Advice(name.start(1), _TEXT)
    for pattern, said in _HERE:
        if pattern.match(bare, position) and not is_complete:
            return Advice(position, said)
    return Advice(position, "the JSONPath is complete before this") if is_complete else None


def unknown_function(text: str) -> Advice | None:
    """Return what is wrong with a JSONPath that calls a function which does not exist."""
    bare = _STRING.sub(lambda found: '"' * len(found[0]), text)
    for called in _CALLED.finditer(bare):
        if called[1] not in (*FUNCTIONS, "and", "or", "not"):
            return Advice(called.start(), f"there is no function {called[1][:64]}(); {_LISTED}")
    return None
