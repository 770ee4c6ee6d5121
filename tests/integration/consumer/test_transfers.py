"""`download` and `upload` against the services' answers, over real HTTP."""

import json
import os
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from promise import Promise

from pacifica.notifications.consumer.author.pacifica_notifications_consumer import (
    TransferError,
    download,
    upload,
)
from pacifica.notifications.consumer.author.pacifica_notifications_consumer.bundles import (
    MOST_FILES,
)
from pacifica.notifications.consumer.author.pacifica_notifications_consumer.waiting import (
    FAILED_LOOKS,
)
from tests.support.pacifica_stubs import (
    JSON,
    TRANSACTION,
    Cart,
    Ingest,
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

FILES = {"a/b/foo.txt": b"foo\n", "パソ.xls": b"\0\1", "empty": b""}
ATTRIBUTES = {
    "Transactions.submitter": 10,
    "Transactions.project": "1236é",
    "Transactions.instrument": 54,
}
Behaviour = Callable[..., None]


@pytest.fixture
def src(tmp_path: Path) -> Path:
    """Return the folder of a notification of `FILES`."""
    folder = tmp_path / "src"
    folder.mkdir()
    notify(folder, FILES)
    return folder


@pytest.fixture
def dst(tmp_path: Path) -> Path:
    """Return a folder with `FILES` to upload."""
    folder = tmp_path / "dst"
    for path, content in FILES.items():
        file = folder / "uploads" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
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


def use(monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], **changes: str) -> None:
    for name, value in {**environment, **changes}.items():
        monkeypatch.setenv(name, value)


def rejection(promise: "Promise[dict[str, Any]]") -> str:
    """Return the message of a promise that was rejected."""
    with pytest.raises(TransferError) as caught:
        promise.get()
    message = str(caught.value)
    assert message.isprintable()
    return message


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


def test_upload_sends_what_ingest_takes_and_fulfils_with_its_event(
    dst: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ingest = Ingest()
    with pacifica(ingest=ingest) as environment:
        use(monkeypatch, environment)
        promise = upload(dst, ATTRIBUTES, {"made of": 2001})
        assert isinstance(promise, Promise)
        event = promise.get()
    assert ingest.files == FILES
    assert ingest.failure == ""
    assert event["source"] == f"http://metadata.pacifica.org/transactions?_id={TRANSACTION}"
    assert event["eventID"] == f"metadata.ingest.{TRANSACTION}"
    assert event["data"][:5] == [
        {"destinationTable": "Transactions._id", "value": TRANSACTION},
        *({"destinationTable": name, "value": value} for name, value in ATTRIBUTES.items()),
        {"destinationTable": "TransactionKeyValue", "key": "made of", "value": "2001"},
    ]
    assert event["data"][1:] == ingest.metadata
    first = event["data"][5]
    assert (first["subdir"], first["name"], first["size"]) == ("a/b", "foo.txt", 4)
    assert first["hashsum"] == "f1d2d2f924e986ac86fdf7b36c94bcdf32beec15"
    assert [path.name for path in dst.iterdir()] == ["uploads"]


def test_upload_s_event_has_every_field_of_the_one_that_metadata_sends(
    dst: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    captured = json.loads(
        Path(__file__).parents[2].joinpath("captures", "ingest.json").read_text(encoding="utf-8")
    )
    with pacifica() as environment:
        use(monkeypatch, environment)
        event = upload(dst, ATTRIBUTES, [("Tag", "x")]).get()
    same = ("cloudEventsVersion", "eventType", "extensions", "contentType")
    assert {name: event[name] for name in same} == {name: captured[name] for name in same}
    assert event.keys() == captured.keys()

    def fields(data: list[dict[str, Any]], table: str) -> set[str]:
        return {name for each in data if each["destinationTable"] == table for name in each}

    assert fields(event["data"], "Files") == fields(captured["data"], "Files") - {"_id"}
    for table in ("Transactions._id", "Transactions.project", "TransactionKeyValue"):
        assert fields(event["data"], table) == fields(captured["data"], table)


def test_upload_keeps_a_folder_that_is_called_as_ingests_own(
    dst: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (dst / "uploads" / "data" / "data").mkdir(parents=True)
    (dst / "uploads" / "data" / "foo").write_bytes(b"below data")
    (dst / "uploads" / "data" / "data" / "foo").write_bytes(b"below two")
    (dst / "uploads" / "foo").write_bytes(b"above")
    ingest = Ingest()
    with pacifica(ingest=ingest) as environment:
        use(monkeypatch, environment)
        event = upload(dst, ATTRIBUTES).get()
    assert ingest.failure == ""
    assert ingest.files["data/foo"] == b"below data"
    assert ingest.files["data/data/foo"] == b"below two"
    assert ingest.files["foo"] == b"above"
    folders = [each["subdir"] for each in event["data"] if each.get("name") == "foo"]
    assert folders == ["data/data", "data", ""]


def test_upload_names_the_task_and_the_reason_when_ingest_fails(
    dst: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pacifica(ingest=Ingest(failure="Traceback\n  disk\x00 full")) as environment:
        use(monkeypatch, environment)
        message = rejection(upload(dst, ATTRIBUTES))
    problem = f"Ingest failed transaction {TRANSACTION} at 'ingest files': Traceback disk? full"
    assert message == f"a/b/foo.txt and 2 more: {problem}"


def test_upload_ends_in_time_when_ingest_does_not_finish(
    dst: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pacifica(ingest=Ingest(tasks=["Policy Validation"] * 10_000)) as environment:
        use(monkeypatch, environment, PACIFICA_TRANSFER_TIMEOUT="0.2")
        message = rejection(upload(dst, ATTRIBUTES))
    assert f"Ingest took more than 0.2 s to finish transaction {TRANSACTION};" in message
    assert '"task": "Policy Validation"' in message


def test_upload_sends_nothing_to_ingest_when_policy_refuses_the_transaction(
    dst: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refusal = {"message": "Precondition Failed: Invalid values for project", "traceback": "secret"}
    ingest = Ingest()
    with pacifica(ingest=ingest, policy=(412, JSON, json.dumps(refusal).encode())) as environment:
        use(monkeypatch, environment)
        message = rejection(upload(dst, ATTRIBUTES))
    assert message == f"a/b/foo.txt and 2 more: Policy answered 412: {refusal['message']}"
    assert ingest.metadata == []


def test_upload_leaves_the_verdict_to_ingest_when_policy_gives_none(
    dst: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pacifica(policy=(500, {}, b"broken")) as environment:
        use(monkeypatch, environment)
        assert upload(dst, ATTRIBUTES).get()["eventID"] == f"metadata.ingest.{TRANSACTION}"


@pytest.mark.parametrize(
    "answer",
    [b"", b"no json", b"[]", b"{}", b'{"job_id": "1"}', b'{"job_id": true}', b'{"job_id": -1}'],
)
def test_upload_shows_what_ingest_answered_when_it_names_no_job(
    answer: bytes, dst: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with RecordingServer(lambda _: (200, JSON, answer)) as ingests, pacifica() as environment:
        use(monkeypatch, environment, PACIFICA_INGEST_URL=ingests.url)
        message = rejection(upload(dst, ATTRIBUTES))
    said = f": {answer.decode()}" if answer else ""
    assert message == f"a/b/foo.txt and 2 more: Ingest answered 200{said}"


@pytest.mark.parametrize("answer", [b"no json", b"[]", b"{}", b'{"state": "OK"}'])
def test_upload_shows_what_ingest_answered_when_it_tells_no_state(
    answer: bytes, dst: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ingest = Ingest()

    def answered(received: Received) -> AnswerTriple:
        return ingest(received) if received.method == "POST" else (200, JSON, answer)

    with RecordingServer(answered) as ingests, pacifica() as environment:
        use(monkeypatch, environment, PACIFICA_INGEST_URL=ingests.url)
        message = rejection(upload(dst, ATTRIBUTES))
    assert message == f"a/b/foo.txt and 2 more: Ingest answered 200: {answer.decode()}"


def test_upload_is_not_sent_twice_when_it_gets_no_answer(
    dst: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with RawServer(hanging) as ingests, pacifica() as environment:
        use(monkeypatch, environment, PACIFICA_INGEST_URL=ingests.url, PACIFICA_READ_TIMEOUT="0.3")
        message = rejection(upload(dst, ATTRIBUTES))
        assert ingests.connections == 1
    assert message.endswith(f"Ingest at {ingests.url} sent nothing for 0.3 s")


def test_upload_refuses_a_link_when_it_could_lead_outside(dst: Path) -> None:
    (dst.parent / "secret").write_text("secret")
    (dst / "uploads" / "a" / "link").symlink_to(dst.parent / "secret")
    assert rejection(upload(dst, ATTRIBUTES)) == "a/link: is no file and no folder"


def test_upload_refuses_the_folder_itself_when_it_is_a_link(dst: Path) -> None:
    (dst / "uploads").rename(dst / "elsewhere")
    (dst / "uploads").symlink_to(dst / "elsewhere")
    assert rejection(upload(dst, ATTRIBUTES)) == "uploads: is a link"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes among files here")
def test_upload_refuses_a_pipe_and_does_not_wait_for_it(dst: Path) -> None:
    os.mkfifo(dst / "uploads" / "pipe")
    assert rejection(upload(dst, ATTRIBUTES)) == "pipe: is no file and no folder"


@pytest.mark.parametrize(
    ("folders", "problem"),
    [
        ([], "uploads: cannot be read: No such file or directory"),
        (["uploads/nothing/in/it"], "uploads: has no file in it"),
    ],
)
def test_upload_rejects_when_there_is_no_file(
    folders: list[str], problem: str, tmp_path: Path
) -> None:
    for folder in folders:
        (tmp_path / folder).mkdir(parents=True)
    assert rejection(upload(tmp_path, ATTRIBUTES)) == problem


def test_upload_names_what_is_wrong_when_an_attribute_is_missing(dst: Path) -> None:
    message = rejection(upload(dst, {"Transactions.submitter": 10}))
    assert message == "transaction: has no Transactions.project"


def test_upload_has_no_more_files_open_at_once_than_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    resource = pytest.importorskip("resource")
    folder = tmp_path / "uploads"
    folder.mkdir()
    for number in range(300):
        (folder / f"{number}").write_bytes(b"x")
    assert MOST_FILES > 300
    ingest = Ingest()
    with pacifica(ingest=ingest) as environment:
        use(monkeypatch, environment)
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (200, hard))
        try:
            upload(tmp_path, ATTRIBUTES).get()
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert len(ingest.files) == 300
