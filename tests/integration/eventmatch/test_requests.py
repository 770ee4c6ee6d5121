"""Paths, methods, queries and headers: which requests are refused, and how."""

import json

import pytest

from tests.integration.webservice import Service, assert_error, exchange, raw_get
from tests.support.subscribed import UNKNOWN, shown


@pytest.mark.parametrize(
    "text",
    [
        *("x", "None", "0", "-", "%20", "%00", "%ff", "%2e%2e", "%zz", "%E2%82%AC"),
        *(f"{UNKNOWN}0", UNKNOWN[:-1], "{" + UNKNOWN + "}", f"urn:uuid:{UNKNOWN}"),
        *("0_0" * 10 + "00", "%20" + "0" * 31, "%D9%A3" * 32, "a" * 5000, "' OR 1=1 --"),
    ],
    ids=shown,
)
@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
def test_uuid_is_400_when_it_is_malformed(
    service: Service, user: str, method: str, text: str
) -> None:
    body = {} if method == "PUT" else None
    assert_error(service.call(method, f"/eventmatch/{text}", user, body), 400, "UUID")


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "BREW"])
@pytest.mark.parametrize("path", ["/eventmatch", "/eventmatch/"])
def test_collection_answers_405_and_what_it_allows_to_wrong_method(
    service: Service, user: str, method: str, path: str
) -> None:
    answer = service.call(method, path, user, {})
    assert_error(answer, 405, method)
    assert set(answer.headers["Allow"].split(", ")) == {"GET", "HEAD", "POST"}


@pytest.mark.parametrize("method", ["POST", "PATCH", "OPTIONS", "TRACE", "BREW"])
def test_object_answers_405_and_what_it_allows_to_wrong_method(
    service: Service, user: str, method: str
) -> None:
    answer = service.call(method, f"/eventmatch/{service.create(user)['uuid']}", user, {})
    assert_error(answer, 405, method)
    assert set(answer.headers["Allow"].split(", ")) == {"DELETE", "GET", "HEAD", "PUT"}


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE", "PATCH"])
@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/nothing",
        "/EventMatch",
        "/eventmatchx",
        f"/eventmatch/{UNKNOWN}/x",
        "/eventmatch/a/b/c",
    ],
)
def test_path_is_404_when_nothing_is_there(
    service: Service, user: str, method: str, path: str
) -> None:
    assert_error(service.call(method, path, user, {} if method != "GET" else None), 404)


@pytest.mark.parametrize("query", ["?x=1", "?event_uuid=1", "?%ff=%ff", "?=&=", "?a&a"])
def test_query_is_refused_when_nobody_knows_it(service: Service, user: str, query: str) -> None:
    created = service.create(user)
    path = f"/eventmatch/{created['uuid']}"
    for answer in (
        service.call("GET", f"/eventmatch{query}", user),
        service.call("PUT", path + query, user, {"name": "changed"}),
        service.call("DELETE", path + query, user),
    ):
        assert answer.status_code in (400, 404)
        assert_error(answer, answer.status_code)
    assert service.call("GET", "/eventmatch", user).json() == [created]


def test_query_is_ignored_when_it_is_empty(service: Service, user: str) -> None:
    assert service.call("GET", "/eventmatch?", user).json() == []


def test_answers_are_json_when_request_is_not_even_http(service: Service) -> None:
    for request in (
        b"GARBAGE\r\n\r\n",
        b"GET /eventmatch\r\n\r\n",
        b"get /eventmatch HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /eventmatch#x HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET /é HTTP/1.1\r\nHost: x\r\n\r\n".encode(),
        b"GET /eventmatch HTTP/1.1\r\nConnection: close\r\n\r\n",
        b"GET /eventmatch HTTP/1.1\r\nHost: x\r\nnocolon\r\n\r\n",
        b"GET /eventmatch HTTP/1.1\r\nHost: x\r\nContent-Length: x\r\n\r\n",
        b"GET /eventmatch HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n",
        b"GET /eventmatch HTTP/1.1\r\nHost: x\r\n: x\r\n\r\n",
    ):
        assert_error(exchange(service.port, request), 400)
    assert_error(exchange(service.port, b"GET / HTTP/9.9\r\nHost: x\r\n\r\n"), 505)
    assert_error(exchange(service.port, raw_get("/eventmatch", b"X: " + b"a" * 70_000)), 431)
    chunked = raw_get("/eventmatch", b"Transfer-Encoding: gzip")
    assert_error(exchange(service.port, chunked), 501)


@pytest.mark.parametrize(
    "header",
    [
        *(b"X-Other: =?nonsense?q?alice?=", b"X-Other: =?utf-8?q?=ff?=", b"Cookie: \xff=\xff; a"),
        *(b"Cookie: [x]=1; $Path=1", b"Accept: x;q=zz", b"Range: bytes=-1", b"Expect: nothing"),
        *(b"If-Match: x", b"Authorization: Digest x"),
    ],
    ids=shown,
)
def test_request_is_answered_when_header_makes_no_sense(
    service: Service, user: str, header: bytes
) -> None:
    created = service.create(user)
    answer = exchange(
        service.port, raw_get("/eventmatch", b"Http-Remote-User: " + user.encode(), header)
    )
    assert (answer.status, json.loads(answer.body)) == (200, [created])
