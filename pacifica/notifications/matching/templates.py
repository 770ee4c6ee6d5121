"""Telling the constants of a JSONPath from the rest of its text, without parsing it.

JSONPaths that differ only in plain values on the right of a comparison have one template. That
is decided on the text: ANTLR takes a millisecond, and of expressions with one template only the
first needs it.
"""

import re
import sys
from typing import NamedTuple

#: A plain value of a comparison.
Constant = str | int | float | bool | None

# The tokens of jsonpath2's grammar that are plain values. A string elsewhere, such as a key, is
# passed over as a whole: what looks like a comparison inside it is none.
_STRING = r'"(?:[^"\\\x00-\x1f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*"'
_NUMBER = r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?(?:0|[1-9][0-9]*))?"
_WORD = r"(?:true|false|null)(?![_A-Za-z0-9])"
_CONSTANT_OR_STRING = re.compile(
    rf"[=<>][ \t\r\n]*(?P<constant>{_STRING}|{_NUMBER}|{_WORD})|{_STRING}"
)
_WORDS: dict[str, Constant] = {"true": True, "false": False, "null": None}


class Template(NamedTuple):
    """The text of a JSONPath around its constants, of which there is one between two parts.

    Where one JSONPath of a template is in the grammar, all are, and their syntax trees differ in
    nothing but the constants: where a plain value starts and ends depends on no other text, and
    the grammar takes each wherever it takes one.
    """

    parts: tuple[str, ...]

    def with_numbers(self) -> str:
        """Return a JSONPath of this template whose constants are strings: "0", "1" and so on."""
        numbered = [f'"{number}"{part}' for number, part in enumerate(self.parts[1:])]
        return self.parts[0] + "".join(numbered)


def split(text: str) -> tuple[Template, tuple[Constant, ...]]:
    """Return the template of a JSONPath and its constants, in the order of the text.

    Of a text that is not in the grammar it is a template that no valid one has.
    """
    parts: list[str] = []
    constants: list[Constant] = []
    end = 0
    for found in _CONSTANT_OR_STRING.finditer(text):
        token = found["constant"]
        if token is None:
            continue
        try:
            constants.append(_value(token))
        except ValueError:  # more digits than Python takes: the parser says so, too
            return Template((text,)), ()
        parts.append(text[end : found.start("constant")])
        end = found.end()
    return Template((*parts, text[end:])), tuple(constants)


def _value(token: str) -> Constant:
    if token[0] == '"':
        # Escapes stay as they are. Many subscriptions name the same few types and tables.
        return sys.intern(token[1:-1])
    if token in _WORDS:
        return _WORDS[token]
    return float(token) if {".", "e", "E"} & set(token) else int(token)
