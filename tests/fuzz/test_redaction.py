"""What is kept of a response to a request that carried credentials."""

from base64 import b64encode
from typing import Any
from uuid import UUID

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pacifica.notifications.delivery.redaction import MAX_KEPT_LENGTH, may_repeat_credentials
from pacifica.notifications.subscriptions import Subscription
from pacifica.notifications.transport import Response
from tests.support.spellings import SPELLINGS, in_base64, repeats

URL = "http://target.invalid/hook"
ODD = 'Sesame/open=7 "now" & <here> it\'s'
WORDS = "sesame opens the mountain"
FEW_DIGITS_IN_HEX = "mnoklmnok"

secrets = st.one_of(
    st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=5, max_size=60),
    st.text("abcdefgh", min_size=5, max_size=60),
    st.lists(st.text("aeimst", min_size=1, max_size=6), min_size=5).map(" ".join),
)
# For each spelling.
few = settings(max_examples=25)
spellings = pytest.mark.parametrize("spelling", SPELLINGS)


def basic(password: Any, username: Any = "alice") -> dict[str, Any]:
    return {"type": "basic", "basic": {"username": username, "password": password}}


def header(credentials: Any) -> dict[str, Any]:
    return {"type": "header", "header": {"type": "Bearer", "credentials": credentials}}


def signature(*values: Any) -> dict[str, Any]:
    return {"type": "signature", "signature": {"secrets": list(values)}}


def is_kept(
    body: str | bytes, auth: Any = None, *, url: str = URL, truncated: bool = False
) -> bool:
    content = body if isinstance(body, bytes) else body.encode()
    subscription = Subscription(UUID(int=3), "alice", url, {}, auth or {}, 1)
    response = Response(500, content, truncated, retry_after=None, seconds=0.1)
    return not may_repeat_credentials(response, subscription)


# Whole secrets


@spellings
@few
@example(secret=ODD)
@example(secret=WORDS)
@example(secret=FEW_DIGITS_IN_HEX)
@given(secret=secrets)
def test_response_is_not_kept_when_it_repeats_a_secret_in_any_spelling(
    spelling: str, secret: str
) -> None:
    spelled = SPELLINGS[spelling](secret)
    for auth in (basic(secret), header(secret), signature("whsec_other", secret)):
        for body in (spelled, f"you sent {spelled}", f"{spelled}\nis wrong"):
            assert not is_kept(body, auth)


@spellings
@pytest.mark.parametrize("secret", [ODD, WORDS])
def test_oracle_finds_a_secret_in_any_spelling(spelling: str, secret: str) -> None:
    if spelling not in ("JSON members", "decimal codes"):  # these take more than decoding
        assert repeats(f"you sent {SPELLINGS[spelling](secret)}", secret)


@spellings
@few
@given(username=secrets, password=secrets)
def test_response_is_not_kept_when_it_repeats_the_header_of_basic_auth(
    spelling: str, username: str, password: str
) -> None:
    name = username.replace(":", "")
    pair = in_base64(0)(f"{name}:{password}")
    assert not is_kept(SPELLINGS[spelling](pair), basic(password, name))


@spellings
@few
@given(secret=secrets)
def test_response_is_not_kept_when_it_repeats_what_a_token_is_made_of(
    spelling: str, secret: str
) -> None:
    inside = b64encode(secret.encode()).decode()
    for auth in (header(inside), header(f"eyJh.{inside}.sig"), signature(f"whsec_{inside}")):
        assert not is_kept(SPELLINGS[spelling](secret), auth)


@spellings
@pytest.mark.parametrize("user", ["bob", "mountain"])
@few
@given(secret=secrets)
def test_response_is_not_kept_when_it_repeats_a_secret_of_the_url(
    spelling: str, user: str, secret: str
) -> None:
    quoted = SPELLINGS["percent throughout"](secret)
    for url in (
        f"http://{user}:{quoted}@target.invalid/",
        f"{URL}?{quoted}",
        f"{URL}?version=&key={quoted}#top",
    ):
        assert not is_kept(SPELLINGS[spelling](secret), url=url)


# Pieces of secrets


@st.composite
def told(draw: st.DrawFn) -> tuple[str, str]:
    """Give a secret, and a plain text with a piece of it in some spelling, often cut or wrapped."""
    secret = draw(secrets)
    start = draw(st.integers(0, len(secret)))
    end = draw(st.integers(start, len(secret)))
    piece = SPELLINGS[draw(st.sampled_from(sorted(SPELLINGS)))](secret[start:end])
    piece = piece[draw(st.integers(0, 3)) : draw(st.integers(0, 200))]
    before, after = (draw(st.sampled_from(["", "you sent ", "no ", "(", "1. "])) for _ in "12")
    return secret, f"{before}{piece}{after}"


@settings(max_examples=500)
@given(told())
def test_response_that_is_kept_has_no_piece_of_a_secret_that_can_be_decoded(
    case: tuple[str, str],
) -> None:
    secret, body = case
    for auth in (basic(secret), header(secret), signature(secret)):
        assert not (is_kept(body, auth) and repeats(body, secret))


@given(secret=secrets, data=st.data())
def test_response_is_not_kept_when_it_has_five_characters_of_a_secret_in_a_row(
    secret: str, data: st.DataObject
) -> None:
    start = data.draw(st.integers(0, len(secret) - 5))
    piece = secret[start : start + 5]
    for auth in (basic(secret), header(secret), basic("other", secret), signature(secret)):
        assert not is_kept(f"we know {piece}", auth)
        assert not is_kept(f"we know {piece.upper()}", auth)


@spellings
@few
@given(secret=secrets, cut=st.integers(0, 400))
def test_response_is_not_kept_when_it_was_cut_off(spelling: str, secret: str, cut: int) -> None:
    body = f"you sent {SPELLINGS[spelling](secret)}"[:cut]
    assert is_kept(body, header(secret), truncated=True) == (body == "")


@pytest.mark.parametrize(
    ("auth", "body"),
    [
        (basic("a.b.c.d"), "we know a. b. c"),
        (header("se&amp;sa&amp;me"), "we know se, sa, me"),
        (header("%73%65%73%61%6d%65"), "we know sesame"),
        # Few secrets are plain words in Base64 or hex.
        (basic("MEFzIo"), "TUVG eklv"),
        (basic("qEvy3QqG"), "SHFF dnkz UXFH"),
        (basic("XUTCBkr"), "SFBY VVRD Qmty"),
        (signature(f"whsec_{b64encode(bytes([0xAB, 0xCD, 0xEF] * 8)).decode()}"), "abcd efab"),
        (basic("sesame"), "we know ice: se"),
        (basic("PaSs"), "we know pa ss"),
        (basic("PaSs"), "we know pass"),
        (basic("no a"), "we know no a"),
        ({**basic("a"), "header": {"type": "Bearer", "credentials": "sesame"}}, "sesame"),
        ({"signature": "sesame"}, "sesame"),
    ],
    ids=str,
)
def test_response_is_not_kept_when_a_piece_is_in_it_however_it_is_divided_and_stored(
    auth: Any, body: str
) -> None:
    assert not is_kept(body, auth)


@pytest.mark.parametrize("secret", ["a", "bob", "pass", 1234, 0.5])
def test_response_is_not_kept_when_it_has_all_of_a_short_secret(secret: Any) -> None:
    for auth in (basic(secret), header(secret), signature(secret)):
        assert not is_kept(f"we know {secret}", auth)
    assert not is_kept(f"we know {secret}", url=f"{URL}?key={secret}")


def test_response_is_not_kept_when_the_credentials_are_too_long_to_look_for() -> None:
    assert not is_kept("not found", header("x1" * 4000))


# What is kept

AUTHS = (
    basic("sesame"),
    basic("Ym9iOnNlc2FtZQ", "bob"),
    header("3f2504e0-4f89-11d3-9a0c-0305e82c3301"),
    signature(f"whsec_{b64encode(bytes(range(24))).decode()}"),
)
PLAIN = (
    "",
    "\n",
    "ok",
    "no such workflow",
    "Not Found\n",
    "404 page not found\n",
    "Internal Server Error",
    "gone\r\naway",
    "go away",
    "I can't take that: the queue is full (try later)!",
    '"accepted"',
    "It was 12 of 2026, non-existent; why?",
    "UNAUTHORIZED",
    "I'm sorry, we've no such well-known thing",
    "A user's",
)


@pytest.mark.parametrize("body", PLAIN)
@pytest.mark.parametrize("auth", AUTHS, ids=lambda auth: auth["type"])
def test_response_is_kept_when_it_is_a_plain_short_sentence(body: str, auth: Any) -> None:
    assert is_kept(body, auth)
    assert is_kept(body, url=f"{URL}?key=sesame")


NOT_PLAIN = (
    "x" * 21,
    "a" * 4 + " word" * 40,
    "é",
    "a\0b",
    b"\xff",
    "<p>no</p>",
    '{"error": "no"}',
    "a=b",
    "a/b",
    "a_b",
    "50%",
    "a\\b",
    "&amp;",
    "aB",
    "a1",
    "12345",
    "1 12 123 1234",
    "no \x1b[31mred",
    "a\u2028b",
    "....",
    "n o",
    "m-o-n",
    "It's o'k",
    "i",
    "- - -",
)


@pytest.mark.parametrize("body", NOT_PLAIN)
def test_response_is_not_kept_when_it_is_not_plain_or_long(body: str | bytes) -> None:
    assert not is_kept(body, header("sesame"))


def test_response_is_kept_up_to_a_length() -> None:
    words = ("word " * MAX_KEPT_LENGTH)[:MAX_KEPT_LENGTH]
    assert is_kept(words, header("sesame"))
    assert not is_kept(words + " ", header("sesame"))


@given(body=st.binary(max_size=300), truncated=st.booleans())
@pytest.mark.parametrize(
    "auth", [{}, {"type": None}, {"type": "basic"}, {"basic": None}, basic("", ""), header("")]
)
def test_response_is_kept_whatever_it_is_when_there_are_no_credentials(
    auth: Any, body: bytes, truncated: bool
) -> None:
    assert is_kept(body, auth, truncated=truncated)
    assert is_kept(body, auth, url="http://target.invalid:81/a@b?#x", truncated=truncated)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["type", "basic", "password", "secrets"]), inner)
    ),
    max_leaves=10,
)


@given(auth=st.dictionaries(st.sampled_from(["type", "basic", "header"]), json_values))
def test_response_is_judged_without_an_error_whatever_is_stored_as_auth(auth: Any) -> None:
    assert isinstance(is_kept("an answer", auth), bool)
    assert isinstance(is_kept("an answer", url=f"http://[::{auth}?{auth}@"), bool)
