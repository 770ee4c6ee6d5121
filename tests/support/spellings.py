"""How programs write a secret that they repeat, and what a reader could decode of a text."""

import html
import json
import re
from base64 import b64decode, b64encode, urlsafe_b64encode
from collections.abc import Callable, Iterator
from urllib.parse import quote, unquote

#: So many characters of a secret in a row are a piece of it.
PIECE = 5


def every(size: int, separator: str) -> Callable[[str], str]:
    """Return what puts a separator after each `size` characters."""
    return lambda text: separator.join(
        text[at : at + size] for at in range(0, max(len(text), 1), size)
    )


def in_base64(before: int) -> Callable[[str], str]:
    """Return what writes a text in Base64 after so many other bytes."""
    return lambda text: b64encode(b"x" * before + text.encode()).decode()


def in_hex(text: str) -> str:
    return text.encode().hex()


def in_members(text: str) -> str:
    """Write a text in portions, each a member of a JSON object."""
    portions = [text[at : at + 4] for at in range(0, len(text), 4)]
    return json.dumps({f"part {number}": portion for number, portion in enumerate(portions)})


#: Each way to write a secret, by its name.
SPELLINGS: dict[str, Callable[[str], str]] = {
    "literal": str,
    "other case": str.swapcase,
    "JSON": lambda text: json.dumps(text).replace("/", "\\/"),
    "JSON escapes": lambda text: "".join(f"\\u{ord(each):04x}" for each in text),
    "JSON members": in_members,
    "percent": quote,
    "percent throughout": lambda text: "".join(f"%{byte:02X}" for byte in text.encode()),
    "named entities": html.escape,
    "decimal entities": lambda text: "".join(f"&#{ord(each)};" for each in text),
    "hexadecimal entities": lambda text: "".join(f"&#x{ord(each):X};" for each in text),
    "Base64": in_base64(0),
    "Base64 after a byte": in_base64(1),
    "Base64 after two bytes": in_base64(2),
    "Base64 for URLs": lambda text: urlsafe_b64encode(text.encode()).decode().rstrip("="),
    "Base64 twice": lambda text: in_base64(0)(in_base64(0)(text)),
    "wrapped Base64": lambda text: every(4, "\r\n")(in_base64(0)(text)),
    "spaced Base64": lambda text: every(1, " ")(in_base64(0)(text)),
    "spaced Base64 after a byte": lambda text: every(1, " ")(in_base64(1)(text)),
    "spaced Base64 after two bytes": lambda text: every(1, " ")(in_base64(2)(text)),
    "hex": in_hex,
    "upper-case hex": lambda text: in_hex(text).upper(),
    "spaced hex": lambda text: every(2, " ")(in_hex(text)),
    "hex digit by digit": lambda text: every(1, " ")(in_hex(text)),
    "hex of Base64": lambda text: in_hex(in_base64(0)(text)),
    "decimal codes": lambda text: " ".join(str(byte) for byte in text.encode()),
    "one a line": every(1, "\n"),
    "three and a space": every(3, " "),
    "seven a line": every(7, "\r\n"),
    "dashed": every(2, "-"),
    "listed": every(4, ", "),
}


def repeats(text: str, secret: str, length: int = PIECE) -> bool:
    """Tell whether a reader who decodes a text finds so long a piece of a secret in it."""
    forms = [form.lower() for form in (secret, _alphanumeric(secret), _unspaced(secret))]
    sought = {form[at : at + length] for form in forms for at in range(len(form) - length + 1)}
    for reading in _readings(text):
        told = reading.lower()
        if any(piece in told for piece in sought):
            return True
    return False


def _readings(text: str) -> Iterator[str]:
    """Yield a text as it is, and whatever it may be decoded to."""
    readings = {text}
    for _ in range(2):
        decoders = (unquote, html.unescape, _unescaped, _unspaced, _alphanumeric)
        readings |= {decode(each) for each in readings for decode in decoders}
    for _ in range(2):
        readings |= {decoded for each in readings for decoded in _from_codes(each)}
    yield from readings


def _from_codes(text: str) -> Iterator[str]:
    for run in re.findall("[0-9A-Fa-f]{2,}", text):
        for start in (0, 1):
            even = run[start : start + (len(run) - start) // 2 * 2]
            yield bytes.fromhex(even).decode("latin-1")
    for run in re.findall("[0-9A-Za-z+/]{4,}", text.replace("-", "+").replace("_", "/")):
        for start in range(4):
            whole = run[start : start + (len(run) - start) // 4 * 4]
            yield b64decode(whole).decode("latin-1")


def _unescaped(text: str) -> str:
    plain = re.sub(r"\\u([0-9A-Fa-f]{4})", lambda found: chr(int(found[1], 16)), text)
    return re.sub(r"\\(.)", r"\1", plain)


def _unspaced(text: str) -> str:
    return "".join(text.split())


def _alphanumeric(text: str) -> str:
    return re.sub("[^0-9A-Za-z]", "", text)
