"""Judges whether a response could repeat the credentials of the request that it answers.

Some targets answer with the request that they got: whole or in part, escaped for JSON, HTML or a
URL, in Base64 or hex, wrapped or cut. Nobody can list all these spellings. So a response to a
request with credentials is kept only if it is too plain to hold any of them.
"""

import re
from base64 import b64encode, urlsafe_b64decode
from collections.abc import Collection, Iterator, Mapping
from html import unescape
from typing import Any, Final
from urllib.parse import parse_qsl, unquote_plus

from pacifica.notifications.subscriptions import Subscription
from pacifica.notifications.transport import Response

#: A longer response is not kept (bytes).
MAX_KEPT_LENGTH: Final = 200
# So many characters of a credential in a row are a piece of it.
_PIECE = 5
# To look for longer credentials would hold up the thread that sends all requests.
_MAX_CREDENTIALS = 2048
# Fewer digits than five characters have as decimal codes.
_MAX_DIGITS = 8
# Tokens, Base64 and hex mix letters with digits, or small ones with capitals. What is written
# letter by letter has words that no sentence has.
_WORD = "(?:[aAI]|[A-Z][a-z]{1,19}|[a-z]{2,20}|[A-Z]{2,12}|[0-9]{1,4})"
# Escapes and documents need other characters than these.
_SENTENCES = re.compile(
    rf"\s*(?:[(\"']?{_WORD}(?:'[a-z]{{1,2}}|-{_WORD})*[.,:;!?)\"']{{0,3}}(?:\s+|$))*", re.ASCII
)
# Five bytes in Base64, or more.
_BASE64_RUN = re.compile("[0-9A-Za-z_-]{7,}")
_FOR_URLS = str.maketrans("+/", "-_")


def may_repeat_credentials(response: Response, subscription: Subscription) -> bool:
    """Tell whether a response could hold a piece of a subscription's credentials.

    Credentials are all of its auth but the types, and the user, the password and the query of its
    target URL. A response cannot hold them if it is complete, short and made of plain words, and
    if none of their pieces is in it, as it is, in hex or in Base64.
    """
    if not response.body:
        return False
    credentials = {text for text in _credentials(subscription) if text}
    if not credentials:
        return False
    text = _plain_text(response)
    if text is None or sum(map(len, credentials)) > _MAX_CREDENTIALS:
        return True
    return _repeats(text, credentials)


def _plain_text(response: Response) -> str | None:
    """Return a response's text, single-spaced and in lower case; None if it is not plain."""
    if response.truncated or len(response.body) > MAX_KEPT_LENGTH:
        return None
    text = response.body.decode("ascii", "replace")
    digits = sum(character.isdigit() for character in text)
    is_plain = _SENTENCES.fullmatch(text) and digits <= _MAX_DIGITS
    return _single_spaced(text.lower()) if is_plain else None


def _credentials(subscription: Subscription) -> Iterator[str]:
    """Yield each text that may be secret, as the subscription has it."""
    yield from _texts(subscription.auth)
    basic = subscription.auth.get("basic")
    if isinstance(basic, Mapping) and (basic.get("username") or basic.get("password")):
        yield f"{basic.get('username')}:{basic.get('password')}"
    rest = subscription.target_url.partition("://")[2].partition("#")[0]
    userinfo = re.split("[/?]", rest, maxsplit=1)[0].rpartition("@")[0]
    query = rest.partition("?")[2]
    yield from (userinfo, *userinfo.split(":", 1), query)
    yield from (value for _name, value in parse_qsl(query))


def _texts(auth: Mapping[str, Any]) -> Iterator[str]:
    """Yield what an auth has but its types; what older versions stored may have any form."""
    values: list[Any] = [auth]
    while values:
        value = values.pop()
        if isinstance(value, Mapping):
            values += [each for name, each in value.items() if name != "type"]
        elif isinstance(value, list):
            values += value
        elif value is not None:
            yield str(value)


def _repeats(text: str, credentials: Collection[str]) -> bool:
    """Tell whether a text has a piece of a credential, or all of one that is shorter.

    It may be wrapped, spaced or listed in portions.
    """
    clear = {form for each in credentials for form in (each, unquote_plus(each), unescape(each))}
    short = {each.lower() for each in clear if len(each) < _PIECE}
    if any(each in text or each in _unspaced(text) for each in short):
        return True
    if len(text) < _PIECE:
        return False
    contents = {each.encode(errors="replace") for each in clear}.union(*map(_decoded, credentials))
    known = "\n".join(_single_spaced(each.decode("latin-1").lower()) for each in contents)
    encoded = "\n".join(form for each in contents for form in _encoded(each))
    return (
        _share_a_piece(text, known)
        or _share_a_piece(_unspaced(text), _unspaced(known))
        or _share_a_piece(_alphanumeric(text), _alphanumeric(f"{known}\n{encoded}"))
    )


def _decoded(credential: str) -> set[bytes]:
    """Return what a credential has in Base64, as that of a Basic header or the parts of a JWT."""
    return {
        urlsafe_b64decode(run[start : len(run) - ((len(run) - start) % 4 == 1)] + "==")
        for run in _BASE64_RUN.findall(credential.translate(_FOR_URLS))
        for start in range(4)  # a prefix such as `whsec_` may stand before it
    }


def _encoded(content: bytes) -> Iterator[str]:
    """Yield a credential in hex, and in Base64 wherever it begins there, in lower case."""
    yield content.hex()
    for before, unstable in ((0, 0), (1, 2), (2, 3)):
        encoded = b64encode(bytes(before) + content).decode()
        # The last character before the padding depends on what follows.
        yield encoded[unstable : -encoded.count("=") - 1 if encoded.endswith("=") else None].lower()


def _share_a_piece(text: str, credentials: str) -> bool:
    pieces = {text[at : at + _PIECE] for at in range(len(text) - _PIECE + 1)}
    return any(piece in credentials for piece in pieces)


# In these, line feeds separate credentials.


def _single_spaced(text: str) -> str:
    return re.sub(r"\s+", " ", text)


def _unspaced(text: str) -> str:
    return text.replace(" ", "")


def _alphanumeric(text: str) -> str:
    return re.sub("[^0-9a-z\n]", "", text)
