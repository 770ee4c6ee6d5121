"""Divide the text of a JSONPath into its constants and its template, without parsing it.

Constants are plain values on the right of a comparison. JSONPaths that differ only in these have
the same template, and only the first of them has to be parsed, which takes ANTLR a millisecond.
"""

import re
import sys
from typing import NamedTuple

#: A plain value of a comparison.
Constant = str | int | float | bool | None

# The tokens of jsonpath2's grammar that are plain values. A string elsewhere, such as a key, is
# skipped as a whole, because what looks like a comparison inside it is not one.
_STRING = r'"(?:[^"\\\x00-\x1f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*"'
_NUMBER = r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?(?:0|[1-9][0-9]*))?"
_WORD = r"(?:true|false|null)(?![_A-Za-z0-9])"
_CONSTANT_OR_STRING = re.compile(
    rf"[=<>][ \t\r\n]*(?P<constant>{_STRING}|{_NUMBER}|{_WORD})|{_STRING}"
)
_WORDS: dict[str, Constant] = {"true": True, "false": False, "null": None}


class Template(NamedTuple):
    """The parts of a JSONPath's text before, between and after its constants.

    If one JSONPath of a template is in the grammar, all are, and their syntax trees differ only
    in the constants. For the bounds of a plain value do not depend on other text, and the
    grammar accepts any plain value wherever it accepts one.
    """

    parts: tuple[str, ...]

    def numbered_text(self) -> str:
        """Return the JSONPath of this template whose constants are the strings "0", "1", ..."""
        numbered = [f'"{number}"{part}' for number, part in enumerate(self.parts[1:])]
        return self.parts[0] + "".join(numbered)


def split_template(text: str) -> tuple[Template, tuple[Constant, ...]]:
    """Return the template of a JSONPath and its constants, in the order of the text.

    A text that is not in the grammar has a template that no valid JSONPath has.
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
        except ValueError:  # more digits than Python accepts, which the parser refuses too
            return Template((text,)), ()
        parts.append(text[end : found.start("constant")])
        end = found.end()
    return Template((*parts, text[end:])), tuple(constants)


def _value(token: str) -> Constant:
    if token[0] == '"':
        # jsonpath2 keeps escapes as they are written. Many subscriptions name the same few types
        # and tables, so each of these strings is kept once.
        return sys.intern(token[1:-1])
    if token in _WORDS:
        return _WORDS[token]
    return float(token) if {".", "e", "E"} & set(token) else int(token)
