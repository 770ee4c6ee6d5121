"""`upload` against the services' answers, over real HTTP."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
from promise import Promise

from pacifica.notifications.consumer.author.pacifica_notifications_consumer import (
    upload,
)
from pacifica.notifications.consumer.author.pacifica_notifications_consumer.bundles import (
    MOST_FILES,
)
from tests.integration.consumer.transfers import (
    ATTRIBUTES,
    FILES,
    rejection,
    use,
)
from tests.support.pacifica_stubs import (
    JSON,
    TRANSACTION,
    Ingest,
    pacifica,
)
from tests.support.servers import (
    AnswerTriple,
    RawServer,
    Received,
    RecordingServer,
    hanging,
)


@pytest.fixture
def dst(tmp_path: Path) -> Path:
    """Return a folder with `FILES` to upload."""
    folder = tmp_path / "dst"
    for path, content in FILES.items():
        file = folder / "uploads" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
    return folder


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
