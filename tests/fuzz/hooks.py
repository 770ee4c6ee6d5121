"""What Schemathesis must know of this API: texts that its formats mean, and a check of our own.

Schemathesis imports it by the name that `SCHEMATHESIS_HOOKS` has.
"""

import json
from typing import Any

import schemathesis
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

schemathesis.openapi.format(
    "jsonpath2",
    st.sampled_from(["$.data", "data", "$..a[0:2]", '$[?(@.a = "b" or not @.c > 1)]', "$[*].a"]),
)
# No names: looking up one that is not there takes long.
schemathesis.openapi.format(
    "uri",
    st.builds(
        "{}://{}/{}".format,
        st.sampled_from(["http", "https"]),
        st.sampled_from(["127.0.0.1:9", "127.1.2.3", "[::1]:9"]),
        st.text("abc/%20?&=~.", max_size=20),
    ),
)


@schemathesis.hook
def before_call(
    context: schemathesis.HookContext, case: schemathesis.Case, kwargs: dict[str, Any]
) -> None:
    """Remove from most events what validation would refuse, so that some are taken."""
    del context, kwargs
    headers = case.headers
    if case.path == "/receive" and headers:
        left_out = ("content-encoding", "ce-")[: sum(map(len, headers)) % 3]
        for name in [name for name in headers if name.lower().startswith(left_out)]:
            del headers[name]


@schemathesis.check
def what_is_taken_is_what_is_described(
    ctx: schemathesis.CheckContext, response: schemathesis.Response, case: schemathesis.Case
) -> None:
    """Check a body that was taken by its schema.

    Schemathesis' own check goes by what it meant to break, not by what it sent.
    """
    del ctx
    body = case.operation.definition.raw.get("requestBody")
    if body is None or response.status_code != 200:
        return
    if not (response.request.body or body.get("required")):
        return
    headers = response.request.headers
    if "ce-specversion" in headers:
        return
    media_type = headers.get("Content-Type", "").partition(";")[0].strip().lower()
    described: dict[str, Any] = body["content"].get(media_type or "application/json", {})
    document = case.operation.schema.raw_schema
    schema = {**described.get("schema", {}), "components": document["components"]}
    sent = json.loads(response.request.body or b"null")
    problems = [error.message for error in Draft202012Validator(schema).iter_errors(sent)]
    if problems:
        raise AssertionError(f"taken, though {problems[0]}")
