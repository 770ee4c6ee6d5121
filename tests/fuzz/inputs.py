"""What targets are fed with: texts of JSON, events, headers, subscriptions, and archives."""

import json
import stat
from typing import Any

from hypothesis import strategies as st

from pacifica.notifications.events import EVENT_SCHEMA_0_3, EVENT_SCHEMA_1_0
from pacifica.notifications.events.attributes import OPTIONAL_0_1, REQUIRED, REQUIRED_0_1
from pacifica.notifications.subscriptions import SUBSCRIPTION_SCHEMA
from tests.support import archives
from tests.support.archives import Entry

_ODD = st.sampled_from(
    [
        *(
            "",
            "\0",
            "\ud800",
            "\ufeff",
            "\u2028",
            "a" * 300,
            "é😀",
            "%00",
            '"',
            "\\",
            "\r\n",
            "=?a?b?",
        ),
        *("0.1", "0.3", "1.0", "2.0", "base64", "application/json", "text/plain;charset=utf-7"),
        *("2026-01-31T12:00:00Z", "2026-02-30T12:00:00Z", "9999-12-31T23:59:59-14:00", "aGk=", "a"),
        *(
            "http://[",
            "http://a:99999999/",
            "http://0x7f.1\\@b/",
            "$..*..*",
            "$[?(",
            "whsec_",
            "***",
        ),
    ]
)
TEXTS = _ODD | st.text(max_size=30)
_NUMBERS = (
    st.integers()
    | st.floats()
    | st.sampled_from([2**31, -(2**31) - 1, 2**63, 10**400, 1e308, -0.0, True])
)
SCALARS = st.none() | st.booleans() | _NUMBERS | TEXTS
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=10,
)
_ATTRIBUTES = sorted(
    {*EVENT_SCHEMA_0_3["properties"], *EVENT_SCHEMA_1_0["properties"], *REQUIRED_0_1, *OPTIONAL_0_1}
    | {"cloudEventsVersion", "extensions", "eventtime", "myextension", "Bad-Name"}
)
_SOUND: list[dict[str, Any]] = [
    {**attributes, **data}
    for attributes in (
        {"specversion": "1.0", "id": "1", "source": "/s", "type": "t"},
        {"specversion": "0.3", "id": "1", "source": "/s", "type": "t"},
        {"cloudEventsVersion": "0.1", "eventID": "1", "source": "/s", "eventType": "t"},
    )
    for data in ({}, {"data": {"a": 1}}, {"data": "é"}, {"data_base64": "aGk="})
]
_SELDOM = st.sampled_from([False] * 7 + [True])


@st.composite
def _changed(draw: st.DrawFn, sound: list[dict[str, Any]], names: list[str]) -> dict[str, Any]:
    """Return something sound, of which a few members are others, or more, or gone."""
    whole = dict(draw(st.sampled_from(sound)))
    most = draw(st.sampled_from([1, 1, 3]))
    whole |= draw(st.dictionaries(st.sampled_from(names) | TEXTS, VALUES, max_size=most))
    if draw(_SELDOM):
        whole.pop(draw(st.sampled_from(names)), None)
    return whole


EVENTS = _changed(_SOUND, _ATTRIBUTES)


@st.composite
def _bodies(draw: st.DrawFn, values: st.SearchStrategy[Any]) -> bytes:
    """Return a text of JSON in some encoding, mostly as it should be, and mostly whole."""
    text = json.dumps(draw(values), ensure_ascii=draw(st.booleans()))
    encoding = "utf-8"
    if draw(_SELDOM):
        encoding = draw(st.sampled_from(["utf-16", "utf-8-sig"]))
    body = text.encode(encoding, "surrogatepass")
    if draw(_SELDOM):
        body = body[: draw(st.integers(0, len(body)))]
    if draw(_SELDOM):
        body += draw(st.sampled_from([b"}", b"\0", b"\xff", b" "]))
    return body


_NESTED = st.integers(1, 3000).map(lambda deep: b'{"data":' + b"[" * deep + b"]" * deep + b"}")
_TWICE = st.sampled_from([b'{"id": 1, "id": 2}', b'[{"a": 1, "a": 1}]', b'{"a": NaN}'])
BODIES = st.binary(max_size=60) | _NESTED | _TWICE | _bodies(VALUES)
EVENT_BODIES = _bodies(EVENTS) | _bodies(EVENTS) | BODIES
BATCH_BODIES = (
    _bodies(st.lists(EVENTS, max_size=4)) | _bodies(EVENTS.map(lambda event: [event])) | BODIES
)

# As WSGI hands them over: the bytes of a value as Latin-1.
_HEADER_VALUES = (
    TEXTS.map(lambda text: text.encode("utf-8", "surrogatepass").decode("latin-1"))
    | st.text(st.characters(max_codepoint=255), max_size=20)
    | VALUES.map(json.dumps)
    | st.sampled_from(["%", "%zz", "Euro%20%E2%82%AC%20%F0%9F%98%80", '"quoted \\" one"', "%C3"])
)
_HEADER_NAMES = st.sampled_from(
    sorted({name.lower() for name in _ATTRIBUTES} | {"x-name", "extensions-name", "", "x-"})
) | st.text(st.characters(max_codepoint=127), max_size=8).map(str.lower)


@st.composite
def headers(draw: st.DrawFn) -> dict[str, str]:
    """Return the headers of an event in binary mode, by the rest of their names."""
    sound = draw(st.sampled_from(_SOUND))
    given = {name.lower(): value for name, value in sound.items() if "data" not in name}
    given |= draw(st.dictionaries(_HEADER_NAMES, _HEADER_VALUES, max_size=3))
    if draw(_SELDOM):
        given.pop(draw(st.sampled_from(REQUIRED)), None)
    return given


CONTENT_TYPES = TEXTS | st.sampled_from(
    [
        *("", "application/json", "text/plain", "text/plain; charset=latin-1", "image/png"),
        *("application/x+json; charset=utf-16", "text/xml;charset=nothing", "text/a;charset=hex"),
        *("application/json;;charset=", "text/plain; charset=unicode_escape", "a/b; charset=idna"),
    ]
)

_URLS = TEXTS | st.sampled_from(
    [
        *("http://127.0.0.1:9/", "https://[::1]/a?b#c", "HTTP://h", "http://@/", "http://a@b/"),
        *("http://h:0/", "http://h:-1/", "http://[::1", "http://\u212a/", "http://h/\t", "//h/"),
        *("ftp://h/", "http:///x", "http://h:٣/", "http://[v1.a]/", "http://[fe80::1%25eth0]/"),
    ]
)
_AUTH = st.fixed_dictionaries(
    {},
    optional={
        "type": st.sampled_from(["basic", "header", "signature"]) | VALUES,
        "basic": st.fixed_dictionaries({}, optional={"username": TEXTS, "password": TEXTS})
        | VALUES,
        "header": st.fixed_dictionaries({}, optional={"type": TEXTS, "credentials": TEXTS})
        | VALUES,
        "signature": st.fixed_dictionaries(
            {}, optional={"secrets": st.lists(TEXTS | st.just("whsec_" + "A" * 32), max_size=5)}
        )
        | VALUES,
    },
)
_SUBSCRIPTION = {"name": "n", "jsonpath": "$.a", "target_url": "http://127.0.0.1:9/"}
_READ = ("uuid", "user", "version", "created", "updated", "deleted", "id")


@st.composite
def subscriptions(draw: st.DrawFn) -> Any:
    """Return what somebody may send as a subscription."""
    if draw(_SELDOM):
        return draw(VALUES)
    names = [*SUBSCRIPTION_SCHEMA["properties"], *_READ]
    whole = draw(_changed([_SUBSCRIPTION], names))
    if draw(_SELDOM):
        whole["target_url"] = draw(_URLS)
    if draw(_SELDOM):
        whole["auth"] = draw(_AUTH)
    return whole


FORMATS = VALUES | _changed(
    [{}, {"specversion": None}, {"specversion": "1.0", "mode": "binary"}],
    ["specversion", "mode", "uuid"],
)

# Characters and words that the grammar has, in any order.
_WORDS = [*"$@.[]()*?:,\"'=<>! 019aé\\\0\n", "not", "and", "or", "length()", "null"]
_SALAD = st.lists(st.sampled_from(_WORDS) | st.integers().map(str), max_size=40).map("".join)
_REPEATED = st.builds(
    lambda begin, parts, times: begin + parts * times,
    st.sampled_from(["$", "", "$["]),
    st.sampled_from([".a", "[0]", "[", "(", "[?(@", "..*", "[?(not ", "[:]", "-", '"']),
    st.integers(1, 2100),
)
JSONPATHS = _SALAD | TEXTS | _REPEATED

_PARTS = (
    st.sampled_from(["..", "..", "a", "A", "b", ".", ""])
    | st.text("ab", min_size=1, max_size=3)
    | st.text("é.\\:\0\n", max_size=2)
)
_NAMES = st.lists(_PARTS, min_size=1, max_size=4).map("/".join)
_ODD_MODES = [stat.S_IFDIR, stat.S_IFLNK, stat.S_IFIFO]
_MODES = st.sampled_from([0, stat.S_IFREG] * 4 + _ODD_MODES)
_MEMBERS = st.lists(st.tuples(_NAMES, _MODES, st.binary(max_size=20)), max_size=2).map(
    lambda members: archives.zipped(
        [
            *(("__main__.py", Entry()), ("jsonpath2.txt", Entry(b"$"))),
            *((name, Entry(content, mode << 16)) for name, mode, content in members),
        ]
    )
)


@st.composite
def _struck(draw: st.DrawFn) -> bytes:
    """Return a good archive of which some bytes are others, or the last is gone."""
    content = bytearray(archives.good())
    places = st.integers(0, len(content) - 1)
    for at, byte in draw(st.lists(st.tuples(places, st.integers(0, 255)), max_size=6)):
        content[at] = byte
    return bytes(content[: draw(st.sampled_from([None] * 6 + [-1]))])


ARCHIVES = _MEMBERS | _MEMBERS | _struck() | st.binary(max_size=200)
