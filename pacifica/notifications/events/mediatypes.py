"""What a content type says of data: whether it is JSON or text, and in which character set."""

import codecs
import re

_WORD = "[!#$%&'*+.^_`|~0-9A-Za-z-]+"
# RFC 2045, section 5.1: a type and a subtype; parameters are left to who reads the data.
_MEDIA_TYPE = re.compile(rf"{_WORD}/{_WORD}[ \t]*(;[\t -~]*)?")
_PARAMETER = re.compile(rf';[ \t]*({_WORD})[ \t]*=[ \t]*("(?:[^"\\]|\\.)*"|[^;]*)')
# Of Python's codecs, those that are character sets of texts on the network.
_CODECS = re.compile("utf-8|ascii|iso8859-[0-9]+|cp125[0-8]|koi8-[ru]|shift_jis|euc_(jp|kr)|gb.*")


def is_media_type(text: str) -> bool:
    """Tell whether a text is a media type, with or without parameters (RFC 2046)."""
    return bool(_MEDIA_TYPE.fullmatch(text))


def media_type(content_type: str) -> str:
    """Return a content type without its parameters, in lower case."""
    return content_type.partition(";")[0].strip(" \t").lower()


def charset(content_type: str) -> str:
    """Return the character set that a content type names, in lower case; empty: none."""
    for name, value in _PARAMETER.findall(content_type):
        if name.lower() == "charset":
            return value.strip(' \t"').lower()
    return ""


def is_json_type(content_type: str) -> bool:
    """Tell whether a content type declares JSON: `*/json` or `*/*+json` (JSON format, 3.1.1)."""
    subtype = media_type(content_type).partition("/")[2]
    return subtype == "json" or subtype.endswith("+json")


def text_codec(content_type: str) -> str | None:
    """Return Python's name for the character set of text or XML, UTF-8 where none is named.

    None for what is no text, and for a character set that is not known.
    """
    kind, _, subtype = media_type(content_type).partition("/")
    if kind != "text" and subtype != "xml" and not subtype.endswith("+xml"):
        return None
    return codec_of(content_type)


def codec_of(content_type: str) -> str | None:
    """Return Python's name for the character set of what is text, whatever its type says."""
    try:
        codec = codecs.lookup(charset(content_type) or "utf-8").name
    except (LookupError, ValueError):
        return None
    return codec if _CODECS.fullmatch(codec) else None
