"""The web page at /ui as it is without scripts: its screens, forms, headers and refusals."""

import json
import time
from pathlib import Path
from typing import Any

import pytest

from tests.integration.webservice import (
    Service,
    assert_nothing_from_inside,
    exchange,
    raw_get,
    running,
)
from tests.support.pages import parsed, send, visit
from tests.support.proxies import nginx_in_front, nginx_path
from tests.support.servers import free_port
from tests.support.subscribed import BASIC

EVENT = (Path(__file__).parents[1] / "captures" / "ingest.json").read_text()
FORM = {
    "name": "mine",
    "jsonpath": '$.data[*][?(@.destinationTable = "Files")]',
    "target_url": "http://target.example/hook",
    "auth": "none",
    "extensions": "",
}
ODD = "</bdi><script>alert(1)</script>\u202egnp.exe\u202c & \"quotes\" 'too' " + "W" * 180
#: Bytes of the first page, with 30 subscriptions and all that it loads, as they are sent (gzip):
#: measured 13,000; and once unpacked: measured 70,000.
FIRST_PAGE, UNPACKED = 40_000, 100_000
#: Processor time of the web server for that page (seconds): measured 0.02.
SERVER_TIME = 0.15

#: Has one template fail, as a value that it does not expect would.
BREAKS = """
import jinja2
get = jinja2.PackageLoader.get_source
def broken(self, environment, template):
    text, *others = get(self, environment, template)
    if template == {!r}:
        fault, block = "{{{{ 1 // 0 }}}}", "{{% block content %}}"
        text = text.replace(block, fault + block + fault)
    return text, *others
jinja2.PackageLoader.get_source = broken
"""


def stored(service: Service, user: str) -> list[dict[str, Any]]:
    return service.call("GET", "/eventmatch", user).json()


def test_user_without_subscriptions_is_told_what_to_do(service: Service, user: str) -> None:
    page = visit(service, user)
    links = {each.attributes["href"] for each in page.all("a")}
    assert {"./workbench", "./subscriptions/new"} <= links
    assert not page.all("table")


def test_form_creates_a_subscription_that_the_list_then_shows(service: Service, user: str) -> None:
    response = send(service, user, "subscriptions/new", FORM)
    assert (response.status_code, response.headers["Location"]) == (303, "../?done=created")
    (created,) = stored(service, user)
    assert (created["name"], created["jsonpath"], created["auth"]) == (
        FORM["name"],
        FORM["jsonpath"],
        {},
    )
    page = visit(service, user, "?done=created")
    assert "was created" in page.by_id("notice").text
    row = page.all("tr")[1].text
    assert "mine" in row
    assert "target.example" in row
    assert "Delivering" in row
    assert "nothing yet" in row


@pytest.mark.parametrize(
    ("given", "auth"),
    [
        ({"auth": "basic", "username": "bob", "password": "sesame"}, BASIC),
        (
            {"auth": "header", "scheme": "", "credentials": "tok.en=="},
            {"type": "header", "header": {"type": "Bearer", "credentials": "tok.en=="}},
        ),
        ({"auth": "none", "password": "ignored"}, {}),
    ],
    ids=["basic", "header", "none"],
)
def test_form_stores_the_sign_in(
    service: Service, user: str, given: dict[str, str], auth: dict[str, Any]
) -> None:
    assert send(service, user, "subscriptions/new", {**FORM, **given}).status_code == 303
    assert stored(service, user)[0]["auth"] == auth


@pytest.mark.parametrize(
    ("changed", "field", "part"),
    [
        ({"name": " "}, "name", "empty"),
        ({"jsonpath": "$.data["}, "jsonpath", "still open"),
        ({"target_url": "ftp://x"}, "target_url", "http or https"),
        ({"auth": "basic", "username": "a:b", "password": "x"}, "username", ""),
        ({"auth": "signature", "secret": "short"}, "secret", "whsec_"),
        ({"extensions": "[1]"}, "extensions", "JSON object"),
        ({"extensions": "{"}, "extensions", "JSON"),
    ],
    ids=["name", "jsonpath", "target", "username", "secret", "array", "no JSON"],
)
def test_problem_is_shown_at_its_field_which_keeps_what_was_entered(
    service: Service, user: str, changed: dict[str, str], field: str, part: str
) -> None:
    form = {**FORM, **changed}
    response = send(service, user, "subscriptions/new", form)
    assert response.status_code == 400
    page = parsed(response)
    assert part in page.by_id(f"{field}-problem").text
    element = page.by_id(field)
    assert element.attributes["aria-invalid"] == "true"
    assert f"{field}-problem" in element.attributes["aria-describedby"].split()
    assert page.by_id("target_url").attributes["value"] == form["target_url"]
    assert page.by_id("jsonpath").text == form["jsonpath"]
    assert "value" not in page.by_id("password").attributes
    assert stored(service, user) == []


def test_edit_keeps_the_secret_unless_another_is_given(service: Service, user: str) -> None:
    uuid = service.create(user, auth=BASIC)["uuid"]
    page = visit(service, user, f"subscriptions/{uuid}/edit")
    assert page.by_id("name").attributes["value"] == "mine"
    assert "checked" in page.by_id("auth-keep").attributes
    assert "sesame" not in service.call("GET", f"/ui/subscriptions/{uuid}/edit", user).text
    seen = page.all("input", name="seen")[0].attributes["value"]
    changed = {**FORM, "name": "renamed", "auth": "keep", "seen": seen}
    response = send(service, user, f"subscriptions/{uuid}/edit", changed)
    assert response.headers["Location"] == "../../?done=changed"
    (after,) = stored(service, user)
    assert (after["name"], after["auth"]) == ("renamed", BASIC)
    send(service, user, f"subscriptions/{uuid}/edit", {**changed, "auth": "none"} | _seen(after))
    assert stored(service, user)[0]["auth"] == {}


def _seen(subscription: dict[str, Any]) -> dict[str, str]:
    return {"seen": subscription["updated"]}


def test_edit_does_not_undo_what_another_tab_saved_meanwhile(service: Service, user: str) -> None:
    first = service.create(user)
    path = f"subscriptions/{first['uuid']}/edit"
    assert send(service, user, path, {**FORM, "name": "one", **_seen(first)}).status_code == 303
    refused = send(service, user, path, {**FORM, "name": "two", **_seen(first)})
    assert refused.status_code == 409
    page = parsed(refused)
    assert "changed after you opened this form" in page.by_id("summary").text
    assert page.by_id("name").attributes["value"] == "two"
    (after,) = stored(service, user)
    assert after["name"] == "one"
    again = {"seen": page.all("input", name="seen")[0].attributes["value"]}
    assert send(service, user, path, {**FORM, "name": "two", **again}).status_code == 303


def test_form_made_for_another_user_changes_nothing(service: Service, user: str) -> None:
    uuid = service.create(user)["uuid"]
    mine = {**FORM, "made_for": f"{user}-other"}
    paths = ("subscriptions/new", f"subscriptions/{uuid}/pause", f"subscriptions/{uuid}/delete")
    for path in (*paths, f"subscriptions/{uuid}/replay", "workbench", "workbench/trace"):
        response = send(service, user, path, mine)
        assert response.status_code == 409
        assert "Somebody else is signed in now" in response.text
    assert [each["disabled"] for each in stored(service, user)] == [None]


def test_expression_on_several_lines_is_one(service: Service, user: str) -> None:
    lines = '$.data[*][?(\r\n  @.a = 1\r\n  and @.b = "x"\r\n)]'
    send(service, user, "subscriptions/new", {**FORM, "jsonpath": lines})
    assert stored(service, user)[0]["jsonpath"] == '$.data[*][?( @.a = 1 and @.b = "x" )]'


def test_subscription_is_paused_resumed_and_deleted(service: Service, user: str) -> None:
    uuid = service.create(user)["uuid"]
    assert send(service, user, f"subscriptions/{uuid}/pause").status_code == 303
    assert stored(service, user)[0]["disabled"] is not None
    assert "Paused by you" in visit(service, user).all("tr")[1].text
    assert send(service, user, f"subscriptions/{uuid}/enable").status_code == 303
    assert stored(service, user)[0]["disabled"] is None
    asked = visit(service, user, f"subscriptions/{uuid}/delete")
    assert "cannot be undone" in asked.by_id("main").text
    assert stored(service, user)
    response = send(service, user, f"subscriptions/{uuid}/delete")
    assert response.headers["Location"] == "../../?done=deleted"
    assert stored(service, user) == []


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": None},
        {"Sec-Fetch-Site": None, "Origin": "https://evil.example"},
        {"Sec-Fetch-Site": None, "Origin": "null"},
    ],
    ids=str,
)
def test_forged_change_is_refused(service: Service, user: str, headers: dict[str, Any]) -> None:
    uuid = service.create(user)["uuid"]
    for path in (f"subscriptions/{uuid}/delete", f"subscriptions/{uuid}/pause", "workbench"):
        response = send(service, user, path, FORM, headers)
        assert response.status_code == 403
        assert "from this page itself" in response.text
    assert send(service, user, "subscriptions/new", FORM, headers).status_code == 403
    (untouched,) = stored(service, user)
    assert untouched["disabled"] is None


def test_change_by_a_browser_that_sends_only_its_origin_is_made(
    service: Service, user: str
) -> None:
    headers = {"Sec-Fetch-Site": None, "Origin": service.url}
    assert send(service, user, "subscriptions/new", FORM, headers).status_code == 303


def test_what_users_write_is_text_and_nothing_else(service: Service, user: str) -> None:
    uuid = service.create(user, name=ODD, jsonpath='$["</code><b>"]')["uuid"]
    for path in ("", f"subscriptions/{uuid}/edit", f"subscriptions/{uuid}/delete"):
        response = service.call("GET", f"/ui/{path}", user)
        assert "<script>alert" not in response.text
        assert "</code><b>" not in response.text
        assert ODD in parsed(response).by_id("main").text + str(
            [each.attributes for each in parsed(response).all("input")]
        ).replace("\\u202e", "\u202e").replace("\\u202c", "\u202c").replace("\\'", "'")
    # A text that turns the direction of writing turns only itself.
    assert f"<bdi>{'&lt;/bdi&gt;'}" in service.call("GET", "/ui/", user).text


def test_event_full_of_markup_is_shown_as_text(service: Service, user: str) -> None:
    event = {"data": [{"destinationTable": ODD, ODD: "<img src=x onerror=alert(1)>"}]}
    form = {"jsonpath": '$..["<b>"]', "event": json.dumps(event)}
    response = send(service, user, "workbench", form)
    assert response.status_code == 200
    for part in ("<script>alert", "<img", "<b>"):
        assert part not in response.text
    assert "<img src=x onerror=alert(1)>" in parsed(response).by_id("tree").text


def test_name_of_the_user_is_text(service: Service) -> None:
    response = service.call("GET", "/ui/", "<b>\u202ebob\u00e9<")
    assert "<b>" not in response.text
    assert "<b>\u202ebob\u00e9<" in parsed(response).all("p", **{"class": "user"})[0].text


def test_workbench_explains_an_expression_on_a_pasted_event(service: Service, user: str) -> None:
    text = '$.data[*][?(@.destinationTable = "Files" and @.mimetype = "text/plan")]'
    page = parsed(
        send(service, user, "workbench", {"jsonpath": text, "event": EVENT, "try": "yes"})
    )
    trace = " ".join(page.by_id("trace").text.split())
    assert "does not match" in trace
    assert '9 records, 2 passed destinationTable = "Files"' in trace
    assert 'the nearest value is the text "text/plain"' in trace
    (link,) = (each for each in page.all("a") if "Tell me" in each.text)
    form = visit(service, user, link.attributes["href"].removeprefix("./"))
    assert form.by_id("jsonpath").text == text


def test_click_on_a_value_writes_the_expression(service: Service, user: str) -> None:
    page = parsed(send(service, user, "workbench", {"event": EVENT, "jsonpath": ""}))
    (button,) = (each for each in page.all("button", name="pick") if "text/plain" in each.text)
    form = {"event": EVENT, "jsonpath": "", "pick": button.attributes["value"]}
    picked = parsed(send(service, user, "workbench", form))
    expected = '$.data[*][?(@.destinationTable = "Files" and @.mimetype = "text/plain")]'
    assert picked.by_id("jsonpath").text == expected
    assert "This event matches" in picked.by_id("trace").text
    pressed = [each.text for each in picked.all("button", **{"aria-pressed": "true"})]
    assert "mimetype = text/plain" in pressed


def test_recipe_writes_the_expression_and_names_the_field_that_is_wrong(
    service: Service, user: str
) -> None:
    asked = parsed(send(service, user, "workbench", {"choose": "instrument"}))
    assert asked.by_id("instrument")
    wrong = {"recipe": "instrument", "instrument": "five"}
    page = parsed(send(service, user, "workbench", wrong))
    assert "whole number" in page.by_id("instrument-problem").text
    assert page.by_id("instrument").attributes["value"] == "five"
    filled = parsed(send(service, user, "workbench", {"recipe": "instrument", "instrument": "54"}))
    assert filled.by_id("jsonpath").text == (
        '$.data[*][?(@.destinationTable = "Transactions.instrument" and @.value = 54)]'
    )


@pytest.mark.parametrize(
    ("form", "field"),
    [
        ({"jsonpath": "$[", "event": EVENT}, "jsonpath"),
        ({"jsonpath": "$", "event": "{"}, "event"),
        ({"jsonpath": "$", "event": "[]"}, "event"),
        ({"jsonpath": "$", "event": "[" * 5000}, "event"),
        ({"jsonpath": "$", "event": '{"specversion": "1.0"}'}, "event"),
    ],
    ids=["expression", "no JSON", "array", "deep", "incomplete"],
)
def test_workbench_says_what_cannot_be_read(
    service: Service, user: str, form: dict[str, str], field: str
) -> None:
    page = parsed(send(service, user, "workbench", form))
    assert page.by_id(f"{field}-problem").text.strip()
    assert f"{field}-problem" in page.by_id(field).attributes["aria-describedby"].split()


def test_trace_while_typing_is_a_part_of_the_page_with_its_links(
    service: Service, user: str
) -> None:
    response = send(service, user, "workbench/trace", {"jsonpath": "data", "event": EVENT})
    page = parsed(response)
    assert "This event matches" in page.by_id("trace").text
    assert page.by_id("tree")
    assert not page.all("html")
    # It is put into the page at /ui/workbench, from which its links start.
    assert page.all("a")[0].attributes["href"].startswith("./subscriptions/new?")


def test_every_page_has_a_strict_policy_and_is_not_kept(service: Service, user: str) -> None:
    for path, status in (("", 200), ("workbench", 200), ("nothing/here", 404)):
        response = service.call("GET", f"/ui/{path}", user)
        assert response.status_code == status
        headers = response.headers
        policy = headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert "*" not in policy
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Referrer-Policy"] == "same-origin"
        assert headers["Cache-Control"] == "no-store"
        assert headers["Content-Type"].startswith("text/html")
        document = parsed(response)
        for name in ("script", "link", "img", "form", "a"):
            for each in document.all(name):
                target = each.attributes.get("src") or each.attributes.get("href") or "./"
                assert not target.startswith(("http", "/", "data:")), target


def test_static_files_are_kept_until_they_change(service: Service, user: str) -> None:
    page = visit(service, user, "workbench")
    links = [each.attributes["src"] for each in page.all("script")]
    links += [each.attributes["href"] for each in page.all("link")]
    assert any("htmx" in link for link in links)
    assert any("page.css" in link for link in links)
    for link in links:
        path = f"/ui/{link.removeprefix('./')}"
        response = service.call("GET", path)
        assert response.status_code == 200
        assert "immutable" in response.headers["Cache-Control"]
        again = service.call("GET", path, headers={"If-None-Match": response.headers["ETag"]})
        assert (again.status_code, again.content) == (304, b"")
    old = service.call("GET", "/ui/static/0123456789abcdef/page.css")
    assert (old.status_code, old.headers["Cache-Control"]) == (200, "no-cache")


@pytest.mark.parametrize(
    "name", ["htmx.json", "..%2Fpages.py", "..%2Fexample.json", "base.html", "%00", "x"]
)
def test_nothing_but_static_files_is_served_as_one(service: Service, name: str) -> None:
    response = service.call("GET", f"/ui/static/0123456789abcdef/{name}")
    assert response.status_code == 404
    assert "Traceback" not in response.text


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "nothing", 404),
        ("GET", "subscriptions/new/more", 404),
        ("POST", "", 405),
        ("GET", "workbench/trace", 405),
        ("GET", "subscriptions/not-a-uuid/edit", 400),
        ("GET", "?after=nonsense", 400),
    ],
)
def test_error_is_a_page_with_a_way_out(
    service: Service, user: str, method: str, path: str, status: int
) -> None:
    if method == "GET":
        response = service.call("GET", f"/ui/{path}", user)
    else:
        response = send(service, user, path, FORM)
    assert response.status_code == status
    page = parsed(response)
    assert page.all("h1")[0].text.strip()
    assert [each for each in page.all("a") if "your subscriptions" in each.text]
    assert "Traceback" not in response.text


@pytest.mark.parametrize(
    ("body", "content_type", "status"),
    [
        (b"name=%ff", "application/x-www-form-urlencoded", 400),
        (b"&".join(b"a%d=1" % n for n in range(99)), "application/x-www-form-urlencoded", 400),
        (b"\xff", "application/x-www-form-urlencoded", 400),
        (b"{}", "application/json", 415),
        (b"name=" + b"x" * 2**21, "application/x-www-form-urlencoded", 413),
    ],
    ids=["not UTF-8", "many fields", "not ASCII", "JSON", "large"],
)
def test_form_that_is_wrong_is_refused_with_a_page(
    service: Service, user: str, body: bytes, content_type: str, status: int
) -> None:
    headers = {"Content-Type": content_type, "Sec-Fetch-Site": "same-origin"}
    response = service.call("POST", "/ui/subscriptions/new", user, body, headers=headers)
    assert response.status_code == status
    assert parsed(response).all("h1")


@pytest.mark.parametrize(
    ("template", "title"),
    [("workbench.html", "Something went wrong on our side"), ("base.html", "went wrong")],
    ids=str,
)
def test_fault_in_a_template_is_a_page(
    prepared: dict[str, str], tmp_path: Path, template: str, title: str
) -> None:
    (tmp_path / "sitecustomize.py").write_text(BREAKS.format(template))
    environment = {**prepared, "PYTHONPATH": str(tmp_path)}
    with running(environment, tmp_path) as service:
        response = service.call("GET", "/ui/workbench", "alice")
        assert response.status_code == 500
        assert response.headers["Content-Type"].startswith("text/html")
        assert response.headers["Cache-Control"] == "no-store"
        assert title in parsed(response).all("h1")[0].text
        assert_nothing_from_inside(response.text)
        assert "ZeroDivisionError" in service.program.output


def test_page_has_one_address_and_relative_links(service: Service, user: str) -> None:
    for path, location in (("/ui", "./ui/"), ("/ui/workbench/", "../workbench")):
        headers = [b"Http-Remote-User: " + user.encode()]
        answer = exchange(service.port, raw_get(path, *headers))
        assert (answer.status, answer.headers["location"]) == (303, location)


@pytest.mark.server
def test_page_works_below_a_path_of_a_proxy(service: Service, user: str, tmp_path: Path) -> None:
    if nginx_path() is None:
        pytest.skip("nginx is not installed")
    port = free_port()
    location = f"""
        location /notify/ {{
            proxy_pass {service.url}/;
            proxy_set_header Http-Remote-User {user};
        }}
    """
    front = f"http://127.0.0.1:{port}/notify"
    with nginx_in_front("", tmp_path / "nginx", port, location):
        session = service.session
        page = session.get(f"{front}/ui", timeout=20)
        assert page.url == f"{front}/ui/"
        for link in parsed(page).all("link"):
            found = session.get(f"{page.url}{link.attributes['href']}", timeout=20)
            assert found.status_code == 200
        # A proxy that rewrites Host, as nginx does by itself, and a browser of today.
        headers = {"Sec-Fetch-Site": "same-origin"}
        form = {**FORM, "made_for": user}
        done = session.post(f"{front}/ui/subscriptions/new", data=form, headers=headers, timeout=20)
        assert done.url == f"{front}/ui/?done=created"
        assert "mine" in done.text


def test_first_page_is_small_and_takes_little_time(service: Service, user: str) -> None:
    for number in range(31):
        service.create(user, name=f"subscription {number}", jsonpath=FORM["jsonpath"])
    page = service.call("GET", "/ui/", user)
    document = parsed(page)
    assert len(document.all("tr")) == 31  # with the head
    sent = [page]
    for link in [*document.all("link"), *document.all("script")]:
        path = link.attributes.get("href") or link.attributes["src"]
        sent.append(service.call("GET", f"/ui/{path.removeprefix('./')}"))
    assert all(each.headers["Content-Encoding"] == "gzip" for each in sent)
    assert sum(int(each.headers["Content-Length"]) for each in sent) < FIRST_PAGE
    assert sum(len(each.content) for each in sent) < UNPACKED
    before = _processor_time(service)
    started = time.monotonic()
    for _ in range(5):
        service.call("GET", "/ui/", user)
    assert (_processor_time(service) - before) / 5 < SERVER_TIME
    assert time.monotonic() - started < 20
    (following,) = (each for each in document.all("a") if each.text == "Next page")
    second = visit(service, user, following.attributes["href"].removeprefix("./"))
    assert len(second.all("tr")) == 2
    names = {each.text for each in [*document.all("a"), *second.all("a")]}
    assert {f"subscription {number}" for number in range(31)} <= names


def _processor_time(service: Service) -> float:
    fields = Path(f"/proc/{service.program.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100
