"""What each status means, with the headers and the body that come with it."""

from typing import Any

Answer = dict[str, Any]
#: Answers by their status.
Answers = dict[str, Answer]

JSON = "application/json"
_ERROR = {"$ref": "#/components/schemas/Error"}
_RESPONSES = "#/components/responses/"


def header(name: str, meaning: str, kind: str = "string") -> dict[str, Any]:
    """Return a header that an answer always has."""
    return {name: {"description": meaning, "required": True, "schema": {"type": kind}}}


RETRY_AFTER = header("Retry-After", "After how many seconds to try again.", "integer")
ALLOW = header("Allow", "The methods that the path has.")
CHALLENGE = header("WWW-Authenticate", "That a bearer token is asked for.")


def done(meaning: str, content: dict[str, Any] | None = None) -> Answer:
    """Return the answer of what was done; without content, the body is empty."""
    return {"description": meaning, **({"content": {JSON: content}} if content else {})}


def error(
    meaning: str, headers: dict[str, Any] | None = None, example: Any | None = None
) -> Answer:
    """Return the answer of what was not done."""
    content = {"schema": _ERROR, **({"example": example} if example else {})}
    return {
        "description": meaning,
        **({"headers": headers} if headers else {}),
        "content": {JSON: content},
    }


#: What requests of any kind may be answered.
SHARED: Answers = {
    "UnknownPath": error("There is nothing at this path."),
    "UnknownMethod": error("The path does not have this method.", ALLOW),
    "TooSlow": error("The request took too long to arrive."),
    "TooLarge": error("The headers of the request, or its body, are too large."),
    "TargetTooLong": error("The path of the request is too long."),
    "TooOften": error(
        "The caller sent too many requests, or has another target that is just being asked.",
        RETRY_AFTER,
    ),
    "NoChunks": error("The body is chunked, and the web server does not take that (uWSGI)."),
    "UnknownType": error("The content type, the charset or the Content-Encoding is not read."),
    "UnknownEncoding": error("The request has a Transfer-Encoding that is not known."),
    "Unavailable": error(
        "It cannot be done now, most likely because the database is away; try again later.",
        RETRY_AFTER,
    ),
    "UnknownProtocol": error("The request is of a version of HTTP that is not known."),
}


def _shared(**names: str) -> Answers:
    """Return references to shared answers, by `_` and their status."""
    return {
        status.removeprefix("_"): {"$ref": f"{_RESPONSES}{name}"} for status, name in names.items()
    }


#: What the web server itself may answer, whatever the path.
OF_THE_SERVER = _shared(
    _408="TooSlow",
    _413="TooLarge",
    _414="TargetTooLong",
    _501="UnknownEncoding",
    _505="UnknownProtocol",
)
UNAVAILABLE = _shared(_503="Unavailable")
UNKNOWN_PATH = _shared(_404="UnknownPath")
TOO_OFTEN = _shared(_429="TooOften")
OF_A_BODY = _shared(_411="NoChunks", _413="TooLarge", _415="UnknownType")


def in_order(*some: Answers) -> Answers:
    """Return answers together, the lowest status first; of one status, the last."""
    merged: Answers = {}
    for answers in some:
        merged |= answers
    return dict(sorted(merged.items()))


def get_and_head(operation: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return an operation as GET, and as HEAD, which answers the same without a body."""
    head = {
        **operation,
        "operationId": f"{operation['operationId']}Head",
        "summary": f"{operation['summary']} Without the body.",
        "responses": {
            status: _without_body(answer) for status, answer in operation["responses"].items()
        },
    }
    return {"get": operation, "head": head}


def _without_body(answer: Answer) -> Answer:
    if "$ref" in answer:
        answer = SHARED[answer["$ref"].removeprefix(_RESPONSES)]
    return {name: value for name, value in answer.items() if name != "content"}
