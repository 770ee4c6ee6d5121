"""`download` against the services' answers, over real HTTP."""

import json
import os
import tarfile
from pathlib import Path
from typing import Any

import pytest
from promise import Promise

from pacifica.notifications.consumer.author.pacifica_notifications_consumer import (
    download,
)
from pacifica.notifications.consumer.author.pacifica_notifications_consumer.waiting import (
    FAILED_LOOKS,
)
from tests.integration.consumer.transfers import (
    FILES,
    Behaviour,
    rejection,
    use,
)
from tests.support.pacifica_stubs import (
    JSON,
    Cart,
    cart_tar,
    event_of,
    file_member,
    files_record,
    link_member,
    pacifica,
    tar_of,
)
from tests.support.servers import (
    AnswerTriple,
    RawServer,
    Received,
    RecordingServer,
    broken_body,
    dribbling_body,
    free_port,
    hanging,
    huge_body,
)


@pytest.fixture
def src(tmp_path: Path) -> Path:
    """Return the folder of a notification of `FILES`."""
    folder = tmp_path / "src"
    folder.mkdir()
    notify(folder, FILES)
    return folder


def notify(src: Path, files: dict[str, bytes]) -> dict[str, Any]:
    records = [files_record(number, *file) for number, file in enumerate(files.items(), 101)]
    event = event_of(*records)
    (src / "notification.json").write_text(json.dumps(event))
    return event


def downloaded(src: Path) -> dict[str, bytes]:
    folder = src / "downloads"
    paths = [path for path in folder.rglob("*") if path.is_file()]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


@pytest.mark.parametrize("is_bundled", [False, True])
def test_download_fetches_every_file_through_cart(
    is_bundled: bool, src: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cart = Cart(looks=3)

    def answer(received: Received) -> AnswerTriple:
        name = received.path.partition("?")[0].removeprefix("/")
        cart.tar = cart_tar(FILES, name if is_bundled else "data")
        assert received.headers["Http-Remote-User"] == "dmlb2001"
        assert received.headers["Authorization"] == "Bearer secret"
        return cart(received)

    with RecordingServer(answer) as carts, pacifica() as environment:
        changed = {"PACIFICA_CART_URL": carts.url, "PACIFICA_AUTHORIZATION": "Bearer secret"}
        use(monkeypatch, environment, **changed)
        promise = download(src)
        assert isinstance(promise, Promise)
        assert promise.get() == json.loads((src / "notification.json").read_text())
        assert [each.method for each in carts.requests] == [
            "POST",
            *["HEAD"] * 4,
            "GET",
            "DELETE",
        ]
        assert len({each.path.partition("?")[0] for each in carts.requests}) == 1
    assert downloaded(src) == FILES
    assert sorted(path.name for path in src.iterdir()) == ["downloads", "notification.json"]
    assert cart.wanted[0] == {
        "id": 101,
        "path": "a/b/foo.txt",
        "hashtype": "sha1",
        "hashsum": "f1d2d2f924e986ac86fdf7b36c94bcdf32beec15",
    }


def test_download_fulfils_without_a_request_when_there_is_nothing_to_fetch(
    src: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    event = notify(src, {})
    monkeypatch.setenv("PACIFICA_CART_URL", f"http://127.0.0.1:{free_port()}")
    assert download(str(src)).get() == event
    assert (src / "downloads").is_dir()
    assert downloaded(src) == {}


def test_download_replaces_what_an_interrupted_run_left(
    src: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for folder in ("downloads", ".downloads.unfinished"):
        (src / folder).mkdir()
        (src / folder / "empty").write_bytes(b"old")
    with pacifica(Cart(cart_tar(FILES))) as environment:
        use(monkeypatch, environment)
        download(src).get()
    assert downloaded(src) == FILES
    assert not (src / ".downloads.unfinished").exists()


def test_download_leaves_nothing_when_one_file_has_another_hash(
    src: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cart = Cart(cart_tar({**FILES, "パソ.xls": b"\0\2"}))
    with pacifica(cart) as environment:
        use(monkeypatch, environment)
        message = rejection(download(src))
    assert message.startswith("パソ.xls: what Cart sent has the sha1 ")
    assert [path.name for path in src.iterdir()] == ["notification.json"]
    assert cart.is_deleted


@pytest.mark.parametrize(
    ("member", "problem"),
    [
        (file_member("data/../../outside", b""), "'data/../../outside', which nobody asked for"),
        (file_member("/tmp/outside", b""), "'/tmp/outside', which nobody asked for"),  # noqa: S108
        (link_member("data/empty", "../.."), "empty: Cart sent something that is no file"),
    ],
)
def test_download_writes_nothing_when_cart_sends_what_was_not_asked_for(
    member: tuple[tarfile.TarInfo, bytes],
    problem: str,
    src: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with pacifica(Cart(tar_of([member]))) as environment:
        use(monkeypatch, environment)
        assert problem in rejection(download(src))
    assert [path.name for path in src.iterdir()] == ["notification.json"]
    assert [path.name for path in src.parent.iterdir()] == ["src"]


@pytest.mark.parametrize(
    ("cart", "problem"),
    [
        (
            Cart(status="error", message="Failed to pull file(Failed to stage)"),
            "Cart answered 500: Failed to pull file(Failed to stage)",
        ),
        (Cart(status="deleted"), "Cart says that the cart is 'deleted'"),
        (Cart(status="staging"), "Cart took more than 0.2 s to get the files ready"),
    ],
)
def test_download_names_file_service_and_answer_when_the_cart_fails(
    cart: Cart, problem: str, src: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pacifica(cart) as environment:
        use(monkeypatch, environment, PACIFICA_TRANSFER_TIMEOUT="0.2")
        assert rejection(download(src)) == f"a/b/foo.txt and 2 more: {problem}"
    assert cart.is_deleted


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        ((200, JSON, b'{"message": "not a cart"}'), 'answered 200: {"message": "not a cart"}'),
        ((302, {"Location": "http://127.0.0.1:1/"}, b""), "answered 302"),
        ((401, {}, b"who\n<b>are</b> you?\0"), "answered 401: who <b>are</b> you??"),
        (
            (500, JSON, json.dumps({"message": "no space", "traceback": "x" * 99}).encode()),
            "answered 500: no space",
        ),
        ((500, {}, b"x" * 10_000), f"answered 500: {'x' * 500}"),
    ],
)
def test_download_shows_what_cart_answered_when_it_takes_no_cart(
    answer: AnswerTriple, problem: str, src: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with RecordingServer(lambda _: answer) as carts, pacifica() as environment:
        use(monkeypatch, environment, PACIFICA_CART_URL=carts.url)
        assert rejection(download(src)) == f"a/b/foo.txt and 2 more: Cart {problem}"


def test_download_shows_what_cart_answered_when_it_has_no_files(
    src: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cart = Cart()

    def answer(received: Received) -> AnswerTriple:
        return (202, {}, b"not ready") if received.method == "GET" else cart(received)

    with RecordingServer(answer) as carts, pacifica() as environment:
        use(monkeypatch, environment, PACIFICA_CART_URL=carts.url)
        message = rejection(download(src))
    assert message == "a/b/foo.txt and 2 more: Cart answered 202 and no files"


def test_download_gives_up_when_the_outage_is_a_long_one(
    src: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cart = Cart()

    def answer(received: Received) -> AnswerTriple:
        return (503, {}, b"") if received.method == "HEAD" else cart(received)

    with RecordingServer(answer) as carts, pacifica() as environment:
        use(monkeypatch, environment, PACIFICA_CART_URL=carts.url, PACIFICA_POLL="0.001")
        message = rejection(download(src))
        looks = [each for each in carts.requests if each.method == "HEAD"]
    assert message == "a/b/foo.txt and 2 more: Cart answered 503"
    assert len(looks) == FAILED_LOOKS


def test_download_waits_out_an_outage_while_the_cart_is_made(
    src: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cart = Cart(cart_tar(FILES))
    outages = [503, 502, 504]

    def answer(received: Received) -> AnswerTriple:
        if received.method == "HEAD" and outages:
            return outages.pop(), {}, b""
        return cart(received)

    with RecordingServer(answer) as carts, pacifica() as environment:
        use(monkeypatch, environment, PACIFICA_CART_URL=carts.url)
        download(src).get()
    assert downloaded(src) == FILES


@pytest.mark.parametrize(
    ("behaviour", "problem"),
    [
        (hanging, "Cart at http://127.0.0.1:{} sent nothing for 0.3 s"),
        (broken_body, "Cart broke the connection amid its answer"),
        (dribbling_body, "Cart took more than 0.3 s to send its answer"),
        (huge_body, "Cart answered more than 1048576 bytes"),
    ],
)
def test_download_ends_in_time_when_cart_misbehaves(
    behaviour: Behaviour, problem: str, src: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with RawServer(behaviour) as carts, pacifica() as environment:
        use(monkeypatch, environment, PACIFICA_CART_URL=carts.url, PACIFICA_READ_TIMEOUT="0.3")
        message = rejection(download(src))
    assert message == f"a/b/foo.txt and 2 more: {problem.format(carts.port)}"


def test_download_says_so_when_nobody_listens_at_carts_port(
    src: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    notify(src, {"one": b""})
    url = f"http://127.0.0.1:{free_port()}"
    monkeypatch.setenv("PACIFICA_CART_URL", f"{url}/carts")
    problem = f"Cart at {url} cannot be reached (Connection refused)"
    assert rejection(download(src)) == f"one: {problem}"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (b"{", "is not JSON"),
        (b"[" * 100_000, "is not JSON"),
        (b"\xff", "is not JSON"),
        (b"[]", "is not an event"),
        (None, "cannot be read: No such file or directory"),
    ],
)
def test_download_names_the_notification_when_it_cannot_be_read(
    text: bytes | None, problem: str, src: Path
) -> None:
    path = src / "notification.json"
    path.unlink() if text is None else path.write_bytes(text)
    assert rejection(download(src)) == f"notification.json: {problem}"


def test_download_reads_no_more_of_a_notification_than_an_event_may_have(src: Path) -> None:
    os.truncate(src / "notification.json", (1 << 26) + 1)
    assert rejection(download(src)) == "notification.json: is larger than 67108864 bytes"
