"""The screens of deliveries, explanations, replays, counts and operators, as they are refused."""

import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.webservice import Service, running
from tests.support.pages import parsed, send, visit
from tests.support.subscribed import UNKNOWN

OPERATOR = "otto"
REPLAY = {
    "from": "2026-01-31T10:00",
    "to": "",
    "mode": "failed",
    "match": "then",
    "dry_run": "yes",
    "key": "one",
}


@pytest.fixture
def operated(prepared: dict[str, str], tmp_path: Path) -> Iterator[Service]:
    """Run a web server that has an operator."""
    with running({**prepared, "WEB_OPERATORS": OPERATOR}, tmp_path) as service:
        yield service


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "edit"),
        ("POST", "edit"),
        ("POST", "pause"),
        ("POST", "enable"),
        ("GET", "delete"),
        ("POST", "delete"),
        ("GET", "deliveries"),
        ("GET", f"deliveries/{UNKNOWN}"),
        ("POST", f"deliveries/{UNKNOWN}/resend"),
        ("GET", "replay"),
        ("POST", "replay"),
        ("GET", f"replays/{UNKNOWN}"),
        ("POST", f"replays/{UNKNOWN}/cancel"),
        ("GET", "test"),
        ("POST", "test"),
    ],
)
def test_others_subscription_is_as_one_that_does_not_exist(
    service: Service, user: str, method: str, path: str
) -> None:
    owned = service.create(f"{user}-other")["uuid"]
    answers = []
    for uuid in (owned, UNKNOWN):
        if method == "GET":
            response = service.call("GET", f"/ui/subscriptions/{uuid}/{path}", user)
        else:
            response = send(service, user, f"subscriptions/{uuid}/{path}", REPLAY)
        answers.append((response.status_code, response.text))
    assert answers[0] == answers[1]
    assert answers[0][0] == 403
    assert service.call("GET", f"/eventmatch/{owned}", f"{user}-other").json()["disabled"] is None


@pytest.mark.parametrize(
    "headers", [{"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": None}], ids=str
)
def test_forged_change_is_refused(service: Service, user: str, headers: dict[str, Any]) -> None:
    uuid = service.create(user)["uuid"]
    mine = f"subscriptions/{uuid}"
    for path in (
        f"{mine}/replay",
        f"{mine}/replays/{UNKNOWN}/cancel",
        f"{mine}/test",
        f"{mine}/deliveries/{UNKNOWN}/resend",
        f"operators/subscriptions/{uuid}/pause",
        "operators/policy",
    ):
        response = send(service, user, path, REPLAY, headers)
        assert response.status_code == 403
        assert "from this page itself" in response.text
    assert service.call("GET", f"/eventmatch/{uuid}/replays", user).json()["items"] == []
    assert service.call("GET", f"/eventmatch/{uuid}", user).json()["disabled"] is None


def test_empty_list_of_deliveries_says_what_to_do(service: Service, user: str) -> None:
    uuid = service.create(user)["uuid"]
    page = visit(service, user, f"subscriptions/{uuid}/deliveries")
    links = {each.attributes["href"] for each in page.all("a")}
    assert f"../../why?subscription={uuid}" in links
    assert f"../../subscriptions/{uuid}/test" in links
    page = visit(service, user, f"subscriptions/{uuid}/deliveries?state=failed&type=x")
    assert "Nothing matches these filters" in page.by_id("main").text
    assert "selected" in page.all("option", value="failed")[0].attributes
    assert page.by_id("type").attributes["value"] == "x"


@pytest.mark.parametrize(
    ("query", "field"),
    [("from=soon", "from"), ("state=denied", "state"), ("status=9xx", "status")],
)
def test_wrong_filter_is_shown_at_its_field(
    service: Service, user: str, query: str, field: str
) -> None:
    uuid = service.create(user)["uuid"]
    response = service.call("GET", f"/ui/subscriptions/{uuid}/deliveries?{query}", user)
    assert response.status_code == 400
    page = parsed(response)
    assert page.by_id(field).attributes["aria-invalid"] == "true"
    assert page.by_id(f"{field}-problem").text


def test_replay_is_begun_once_for_one_form(service: Service, user: str) -> None:
    uuid = service.create(user)["uuid"]
    path = f"subscriptions/{uuid}/replay"
    first = send(service, user, path, REPLAY)
    again = send(service, user, path, REPLAY)
    assert first.status_code == 303
    assert first.headers["Location"] == again.headers["Location"]
    assert len(service.call("GET", f"/eventmatch/{uuid}/replays", user).json()["items"]) == 1
    other = send(service, user, path, {**REPLAY, "mode": "all"})
    assert other.status_code == 409
    assert "This form was sent before" in parsed(other).by_id("main").text
    second = send(service, user, path, {**REPLAY, "key": "two"})
    assert second.status_code == 409
    assert "is running: wait for it, or cancel it" in parsed(second).by_id("main").text


def test_replay_is_watched_with_a_tag_and_cancelled(service: Service, user: str) -> None:
    uuid = service.create(user)["uuid"]
    begun = send(service, user, f"subscriptions/{uuid}/replay", REPLAY)
    path = begun.headers["Location"].removeprefix("../../")
    shown = service.call("GET", f"/ui/{path}", user)
    assert parsed(shown).by_id("progress").attributes["data-poll"]
    assert "Look again" in shown.text
    tag = {"If-None-Match": shown.headers["ETag"]}
    unchanged = service.call("GET", f"/ui/{path}", user, headers=tag)
    assert (unchanged.status_code, unchanged.content) == (304, b"")
    assert send(service, user, f"{path}/cancel").status_code == 303
    changed = service.call("GET", f"/ui/{path}", user, headers=tag)
    assert changed.status_code == 200
    progress = parsed(changed).by_id("progress")
    assert "Cancelled" in progress.text
    assert "data-poll" not in progress.attributes


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"from": "soon"}, "from"),
        ({"from": "2999-01-01T00:00"}, "from"),
        ({"mode": "x"}, "mode"),
        ({"delivery_state": "delivered"}, "delivery_state"),  # was not given up
        ({"mode": "missing", "delivery_state": "failed"}, "delivery_state"),
        ({"mode": "missing", "status": "4xx"}, "status"),
        ({"status": "9xx"}, "status"),
        ({"type": "x" * 256}, "type"),
    ],
    ids=str,
)
def test_wrong_replay_is_shown_at_its_field(
    service: Service, user: str, changed: dict[str, str], field: str
) -> None:
    uuid = service.create(user)["uuid"]
    response = send(service, user, f"subscriptions/{uuid}/replay", {**REPLAY, **changed})
    assert response.status_code == 400
    assert parsed(response).by_id(f"{field}-problem").text


def test_replay_of_a_disabled_subscription_says_what_to_do(service: Service, user: str) -> None:
    uuid = service.create(user)["uuid"]
    send(service, user, f"subscriptions/{uuid}/pause")
    response = send(service, user, f"subscriptions/{uuid}/replay", REPLAY)
    assert response.status_code == 409
    assert "enable it" in parsed(response).by_id("main").text


def test_explanation_says_to_come_back_while_policy_is_away(service: Service, user: str) -> None:
    response = service.call("GET", "/ui/why?event=1234", user)
    assert response.status_code == 503
    assert response.headers["Retry-After"]
    page = parsed(
        send(service, user, "workbench", {"recent": "yes", "event": "", "jsonpath": "$.data"})
    )
    assert "Policy cannot say now" in page.by_id("main").text


def test_count_is_begun_shown_and_cancelled_in_the_workbench(service: Service, user: str) -> None:
    uuid = service.create(user)["uuid"]
    form = {"jsonpath": "$.data", "event": "{", "count": "yes", "period": "7", "against": uuid}
    page = parsed(send(service, user, "workbench", form))
    counts = page.by_id("counts").attributes
    assert counts["data-from"].startswith("./workbench/counts/")
    assert page.by_id("event").text == "{"  # what was pasted stays
    again = parsed(send(service, user, "workbench", {**form, "jsonpath": "$.source"}))
    assert "Another count of yours is running" in again.by_id("calendar").text
    counted = page.all("input", name="counted")[0].attributes["value"]
    stopped = parsed(
        send(service, user, "workbench", {**form, "count": "cancel", "counted": counted})
    )
    assert "Cancelled" in stopped.by_id("counts").text
    fragment = service.call("GET", f"/ui/workbench/counts/{counted}", user)
    assert "data-poll" not in parsed(fragment).by_id("counts").attributes
    refused = service.call("GET", f"/ui/workbench/counts/{counted}", f"{user}-other")
    assert refused.status_code == 403


@pytest.mark.parametrize("jsonpath", ["", "$.data["])
def test_count_needs_an_expression_that_can_be_read(
    service: Service, user: str, jsonpath: str
) -> None:
    page = parsed(send(service, user, "workbench", {"jsonpath": jsonpath, "count": "yes"}))
    assert "Write an expression that can be read first" in page.by_id("calendar").text
    assert service.call("GET", "/backtests", user).json()["items"] == []


def test_screens_of_operators_are_refused_to_others(operated: Service) -> None:
    uuid = operated.create("alice")["uuid"]
    for path in ("operators", "operators/subscriptions?user=alice", "operators/audit"):
        response = operated.call("GET", f"/ui/{path}", "mallory")
        assert response.status_code == 403
        assert "not available to you" in response.text
    for action in ("pause", "enable"):
        response = send(operated, "mallory", f"operators/subscriptions/{uuid}/{action}")
        assert response.status_code == 403
    assert send(operated, "mallory", "operators/policy").status_code == 403
    assert operated.call("GET", f"/eventmatch/{uuid}", "alice").json()["disabled"] is None
    assert "Operators" not in visit(operated, "alice").all("nav")[0].text
    assert "Operators" in visit(operated, OPERATOR).all("nav")[0].text


def test_operator_pauses_and_enables_for_others_which_is_in_the_audit_log(
    operated: Service,
) -> None:
    secret = {"type": "basic", "basic": {"username": "bob", "password": "sesame"}}
    uuid = operated.create("alice", auth=secret)["uuid"]
    path = f"operators/subscriptions/{uuid}"
    done = send(operated, OPERATOR, f"{path}/pause", {"user": "alice"})
    assert done.headers["Location"] == "../../../operators/subscriptions?user=alice&done=paused"
    assert (
        "sesame" not in operated.call("GET", f"/ui/{done.headers['Location'][9:]}", OPERATOR).text
    )
    stored = operated.call("GET", f"/eventmatch/{uuid}", "alice").json()
    assert stored["disabled"]
    assert stored["error"] == f"Paused by an operator, {OPERATOR}"
    assert "Paused by an operator" in visit(operated, "alice").all("tr")[1].text
    listed = visit(operated, OPERATOR, "operators").by_id("main").text
    assert "Paused since" in listed
    assert send(operated, OPERATOR, f"{path}/enable").status_code == 303
    stored = operated.call("GET", f"/eventmatch/{uuid}", "alice").json()
    assert (stored["disabled"], stored["error"], stored["auth"]) == (None, None, secret)
    entries = operated.call("GET", "/audit", OPERATOR).json()["items"]
    changes = [each for each in entries if each["subscription"] == uuid]
    assert [(each["actor"], each["action"], each["owner"]) for each in changes] == [
        (OPERATOR, "subscription enabled", "alice"),
        (OPERATOR, "subscription disabled", "alice"),
        ("alice", "subscription created", "alice"),
    ]
    log = visit(operated, OPERATOR, "operators/audit").all("table")[0].text
    assert "subscription disabled" in log
    revisions = operated.call("GET", f"/eventmatch/{uuid}/revisions", "alice").json()["items"]
    assert [each["by"] for each in revisions] == [OPERATOR, OPERATOR, "alice"]
    missing = send(operated, OPERATOR, f"operators/subscriptions/{UNKNOWN}/pause")
    assert missing.status_code == 403


def test_operators_page_tells_of_no_workers_and_of_a_policy_that_is_away(
    operated: Service,
) -> None:
    page = visit(operated, OPERATOR, "operators").by_id("main").text
    assert "No worker lives" in page
    assert "No attempt failed" in page
    asked = parsed(send(operated, OPERATOR, "operators/policy"))
    assert "Policy gave no answer" in asked.by_id("main").text


def test_operator_sees_states_of_others_deliveries_and_no_content(operated: Service) -> None:
    uuid = operated.create("alice", name="of alice")["uuid"]
    event = {"eventID": "a secret id", "data": [{"destinationTable": "secret table"}]}
    database = operated.environment["PEEWEE_URL"].partition(":///")[2]
    delivery = "a" * 32
    with sqlite3.connect(database) as connection:
        connection.execute(
            "INSERT INTO eventlog (uuid, jsondata, created, attempts, hops, specversion, "
            "event_type, event_source, event_id, event_time, settlement) VALUES "
            "(?, ?, '2026-01-31 10:00:00', 0, 0, '0.1', 'a type', 's', 'a secret id', '', '')",
            ("b" * 32, json.dumps(event)),
        )
        connection.execute(
            "INSERT INTO eventlogmatch (uuid, event_log_id, event_match_id, policy_status_code, "
            "policy_resp_body, target_status_code, target_resp_body, created, updated, state, "
            "attempts, tries, cause) VALUES (?, ?, ?, '200', '', '200', '', "
            "'2026-01-31 10:00:00', '2026-01-31 10:00:01', 'delivered', 0, 1, 'automatic')",
            (delivery, "b" * 32, uuid.replace("-", "")),
        )
    connection.close()
    for path in ("deliveries", f"deliveries/{delivery}"):
        page = visit(operated, OPERATOR, f"subscriptions/{uuid}/{path}")
        assert "Delivered" in page.by_id("main").text
        assert "secret" not in page.by_id("main").text
        assert not page.all("form", method="post")
    # To the owner, too, while Policy is away.
    mine = visit(operated, "alice", f"subscriptions/{uuid}/deliveries").by_id("main").text
    assert "Delivered" in mine
    assert "secret" not in mine
