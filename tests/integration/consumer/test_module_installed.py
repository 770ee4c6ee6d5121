"""The module of entry points where pip has installed it, used by programs of their own."""

import json
import sys
from pathlib import Path

import pytest

from pacifica.notifications.jsonpath import find, parse
from tests.support.consumers import EXAMPLE, installed
from tests.support.pacifica_stubs import (
    TRANSACTION,
    Cart,
    Ingest,
    cart_tar,
    event_of,
    files_record,
    pacifica,
)
from tests.support.processes import Program

FILES = {"a/b/foo.txt": "Straße é\n".encode(), "latin.txt": b"caf\xe9", "x.bin": b"binary"}


@pytest.fixture(scope="module")
def modules(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return where the module is installed."""
    return installed(tmp_path_factory.mktemp("installed"))


def run(
    command: list[str | Path], modules: Path, folder: Path, environment: dict[str, str]
) -> tuple[int, list[str]]:
    variables = {**environment, "PYTHONPATH": str(modules)}
    with Program([sys.executable, *command], variables, folder) as program:
        return program.wait(), program.lines


def folders(tmp_path: Path, event: object) -> tuple[Path, Path]:
    src, dst = tmp_path / "src", tmp_path / "dst"
    for folder in (src, dst):
        folder.mkdir()
    (src / "notification.json").write_text(json.dumps(event))
    return src, dst


def text_event(*records: dict[str, object]) -> dict[str, object]:
    files = [files_record(number, *file) for number, file in enumerate(FILES.items(), 101)]
    files[2]["mimetype"] = "application/octet-stream"
    return event_of(*files, *records)


def test_the_module_is_imported_beside_the_ecosystems_clients(
    modules: Path, tmp_path: Path
) -> None:
    code = (
        "import pacifica_notifications_consumer as module\n"
        "import pacifica.notifications.errors, pacifica.downloader, pacifica.uploader\n"
        "print(module.__file__)\n"
        "print(*sorted(module.__all__))\n"
    )
    status, lines = run(["-W", "error", "-c", code], modules, tmp_path, {})
    assert status == 0, lines
    assert lines[0] == str(modules / "pacifica_notifications_consumer" / "__init__.py")
    assert lines[1] == "TransferError download upload"


def test_the_module_does_not_import_the_service(modules: Path, tmp_path: Path) -> None:
    code = (
        "import sys, pacifica_notifications_consumer\n"
        "print([name for name in sys.modules if name.startswith('pacifica.notifications')])\n"
    )
    assert run(["-c", code], modules, tmp_path, {}) == (0, ["[]"])


def test_the_example_uploads_the_text_files_in_upper_case(modules: Path, tmp_path: Path) -> None:
    src, dst = folders(tmp_path, text_event())
    ingest = Ingest()
    with pacifica(Cart(cart_tar(FILES)), ingest) as environment:
        command = [EXAMPLE / "__main__.py", src, dst]
        status, lines = run(command, modules, tmp_path, environment)
    assert (status, lines) == (
        0,
        [f"created http://metadata.pacifica.org/transactions?_id={TRANSACTION}"],
    )
    assert ingest.files == {"a/b/foo.txt": "STRASSE É\n".encode(), "latin.txt": b"CAF\xe9"}
    said = {each["destinationTable"]: each["value"] for each in ingest.metadata if "value" in each}
    assert said == {
        "Transactions.submitter": 10,
        "Transactions.project": "1236é",
        "Transactions.instrument": 54,
        "TransactionKeyValue": "2001",
    }
    assert not src.exists()
    assert not dst.exists()


def test_the_example_uploads_nothing_when_it_is_notified_of_its_own_transaction(
    modules: Path, tmp_path: Path
) -> None:
    origin = {
        "destinationTable": "TransactionKeyValue",
        "key": "upper case of transaction",
        "value": "2000",
    }
    src, dst = folders(tmp_path, text_event(origin))
    ingest = Ingest()
    with pacifica(Cart(cart_tar(FILES)), ingest) as environment:
        command = [EXAMPLE / "__main__.py", src, dst]
        status, lines = run(command, modules, tmp_path, environment)
    assert (status, lines) == (0, ["nothing to do: this is the upper case of another transaction"])
    assert ingest.metadata == []


UPLOADS = """
import sys
from pacifica_notifications_consumer import upload
upload(sys.argv[2], {}).get()
"""


def test_a_failed_upload_is_one_line_and_the_rest_is_in_a_file(
    modules: Path, tmp_path: Path
) -> None:
    src, dst = folders(tmp_path, {})
    (tmp_path / "target").write_text("not changed")
    (dst / "failed-transfer.log").symlink_to(tmp_path / "target")
    status, lines = run(["-c", UPLOADS, src, dst], modules, tmp_path, {})
    traceback = dst / "failed-transfer.log"
    problem = "transaction: has no Transactions.submitter"
    assert (status, lines) == (1, [f"transfer failed (traceback: {traceback}): {problem}"])
    assert problem in traceback.read_text()
    assert (tmp_path / "target").read_text() == "not changed"


def test_a_failed_transfer_is_one_line_also_when_the_file_cannot_be_written(
    modules: Path, tmp_path: Path
) -> None:
    src, dst = folders(tmp_path, {})
    (dst / "failed-transfer.log").mkdir()
    status, lines = run(["-c", UPLOADS, src, dst], modules, tmp_path, {})
    assert (status, len(lines)) == (1, 1)
    assert lines[0].startswith(f"transfer failed ({dst / 'failed-transfer.log'} cannot be written")
    assert lines[0].endswith(": transaction: has no Transactions.submitter")


def test_other_errors_are_shown_as_python_does(modules: Path, tmp_path: Path) -> None:
    src, dst = folders(tmp_path, {})
    code = UPLOADS.replace(".get()", "\n1 / 0")
    status, lines = run(["-c", code, src, dst], modules, tmp_path, {})
    assert (status, lines[0]) == (1, "Traceback (most recent call last):")
    assert lines[-1].startswith("ZeroDivisionError")


def test_the_example_fails_and_says_why_when_a_transfer_fails(
    modules: Path, tmp_path: Path
) -> None:
    src, dst = folders(tmp_path, text_event())
    with pacifica(Cart(status="error", message="no tape")) as environment:
        command = [EXAMPLE / "__main__.py", src, dst]
        status, lines = run(command, modules, tmp_path, environment)
    assert status == 1
    assert lines[-1].endswith("a/b/foo.txt and 2 more: Cart answered 500: no tape")
    traceback = src / "failed-transfer.log"
    assert lines == [
        f"transfer failed (traceback: {traceback}): "
        "a/b/foo.txt and 2 more: Cart answered 500: no tape"
    ]
    assert traceback.stat().st_mode & 0o777 == 0o600
    text = traceback.read_text()
    assert text.startswith("Traceback ")
    assert text.rstrip().endswith("Cart answered 500: no tape")
    assert src.exists()


def test_the_examples_jsonpath_matches_exactly_the_events_that_have_text_files() -> None:
    expression = parse((EXAMPLE / "jsonpath2.txt").read_text().strip())
    assert find(expression, text_event())
    assert not find(expression, event_of(files_record(1, "x", b"", mimetype="image/png")))
    assert not find(expression, {**text_event(), "eventType": "org.pacifica.metadata.orm"})
