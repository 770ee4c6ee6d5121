"""Parse the text of a JSONPath to jsonpath2's syntax tree."""

import re
import threading
from typing import Any

from jsonpath2 import parser as jsonpath2_parser
from jsonpath2.nodes.root import RootNode

from pacifica.notifications.errors import ExpressionError
from pacifica.notifications.matching.advice import Advice, advice, unknown_function

#: The default limit on the characters of a JSONPath. Parsing that many takes up to a quarter of a
#: second.
MAX_LENGTH = 4096

_WHITE_SPACE = " \t\r\n"  # what the grammar skips
_MAX_REASON = 200

# ANTLR's parsers share prediction caches, which its Python runtime does not lock.
_PARSER_LOCK = threading.Lock()


def syntax_tree(text: str, max_length: int = MAX_LENGTH) -> RootNode:
    """Parse a JSONPath with jsonpath2's own grammar.

    A text that does not start with `$` is relative to the root: `data[0]` is `$.data[0]`,
    `[0]` is `$[0]`, `..name` is `$..name`. Raises `ExpressionError`, with a message of one line,
    if the text is not a string, is empty, is longer than `max_length` characters, is nested too
    deep, starts with `@`, or is not in the grammar.
    """
    check_length(text, max_length)
    prefix = _prefix(text.lstrip(_WHITE_SPACE))
    try:
        with _PARSER_LOCK:
            return _parse(prefix + text)
    except _GrammarError as error:
        position = max(error.position - len(prefix), 0)
        is_complete = error.reason.endswith("expecting <EOF>")
        found = advice(text, position, is_complete=is_complete) or Advice(position, error.reason)
        raise ExpressionError(_said(found)) from error
    except ValueError as error:
        unknown = unknown_function(text)
        raise ExpressionError(_said(unknown) if unknown else _one_line(str(error))) from error
    except RecursionError as error:
        raise ExpressionError("the JSONPath is nested too deep") from error


def check_length(text: str, max_length: int) -> None:
    """Raise `ExpressionError` if a text is not a string or is longer than `max_length`."""
    if not isinstance(text, str):
        raise ExpressionError(f"a JSONPath is a string, not {type(text).__name__}")
    if len(text) > max_length:
        raise ExpressionError(f"a JSONPath has at most {max_length} characters, not {len(text)}")


def _prefix(text: str) -> str:
    """Return what to put before an expression so that it starts at the root."""
    if not text:
        raise ExpressionError("the JSONPath is empty")
    if text[0] == "@":
        raise ExpressionError(
            "a JSONPath starts at the root, `$`: outside a filter there is no `@`"
        )
    if text[0] == "$":
        return ""
    return "$" if text[0] in ".[" else "$."


class _GrammarError(ValueError):
    """A syntax error: the offset of its character, and ANTLR's message."""

    def __init__(self, position: int, reason: str) -> None:
        super().__init__(reason)
        self.position = position
        self.reason = reason


class _ErrorListener:
    """Raises the first error that ANTLR reports, and ignores its other reports."""

    def __init__(self, text: str) -> None:
        self._line_starts = [0, *(match.end() for match in re.finditer("\n", text))]

    def syntaxError(  # noqa: N802 - the name is ANTLR's
        self, recognizer: Any, symbol: Any, line: int, column: int, reason: str, error: Any
    ) -> None:
        """Raise the reported error."""
        del recognizer, symbol
        if "tryCast(int)" in reason:
            reason = "an index and the parts of a slice are whole numbers"
        elif reason.startswith("token recognition error"):
            reason = "this character has no meaning here"
        raise _GrammarError(self._line_starts[line - 1] + column, reason) from error

    def __getattr__(self, name: str) -> Any:
        """Ignore ANTLR's other reports, which are about ambiguity and context."""
        if not name.startswith("report"):
            raise AttributeError(name)
        return lambda *_: None


def _parse(text: str) -> RootNode:
    # This is what jsonpath2.Path.parse_str does, except that ANTLR's own listener, which prints
    # each error to stderr, is removed. That is possible only between creating the recognizers
    # and running them, and jsonpath2 does both in one private function.
    listener = _ErrorListener(text)
    lexer = jsonpath2_parser.JSONPathLexer(jsonpath2_parser.antlr4.InputStream(text))
    parser = jsonpath2_parser._JSONPathParser(jsonpath2_parser.antlr4.CommonTokenStream(lexer))
    for recognizer in (lexer, parser):
        recognizer.removeErrorListeners()
        recognizer.addErrorListener(listener)
    builder = jsonpath2_parser._JSONPathListener(_stack=[])
    jsonpath2_parser.antlr4.ParseTreeWalker().walk(builder, parser.jsonpath())
    return builder._stack.pop()


def _said(advice: Advice) -> str:
    return f"at character {advice.position + 1}: {_one_line(advice.text)}"


def _one_line(reason: str) -> str:
    line = " ".join(reason.split())
    return line if len(line) <= _MAX_REASON else line[: _MAX_REASON - 1] + "…"
