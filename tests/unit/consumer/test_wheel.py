import base64
import csv
import hashlib
import io
import zipfile
from email.parser import BytesParser
from importlib.metadata import version
from pathlib import Path

import pytest

from pacifica.notifications.consumer import wheel
from pacifica.notifications.consumer.wheel import build_wheel
from pacifica.notifications.errors import ConsumerError

VERSION = version("pacifica-notifications")
INFORMATION = f"pacifica_notifications_consumer-{VERSION}.dist-info"
AUTHOR = Path(wheel.__file__).parent / "author"


def contents(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as file:
        assert file.testzip() is None
        return {name: file.read(name) for name in file.namelist()}


def test_build_wheel_packs_the_module_and_nothing_else(tmp_path: Path) -> None:
    path = build_wheel(tmp_path / "new")
    assert path == tmp_path / "new" / f"pacifica_notifications_consumer-{VERSION}-py3-none-any.whl"
    packed = contents(path)
    module = AUTHOR / "pacifica_notifications_consumer"
    sources = {f"{module.name}/{file.name}": file.read_bytes() for file in module.glob("*.py")}
    assert "pacifica_notifications_consumer/__init__.py" in sources
    assert {name: content for name, content in packed.items() if name.endswith(".py")} == sources
    others = set(packed) - set(sources)
    assert others == {
        "pacifica_notifications_consumer/py.typed",
        f"{INFORMATION}/METADATA",
        f"{INFORMATION}/WHEEL",
        f"{INFORMATION}/RECORD",
    }


def test_build_wheel_records_every_file_with_its_hash(tmp_path: Path) -> None:
    packed = contents(build_wheel(tmp_path))
    record = packed.pop(f"{INFORMATION}/RECORD").decode()
    rows = {name: (digest, size) for name, digest, size in csv.reader(io.StringIO(record))}
    assert rows.pop(f"{INFORMATION}/RECORD") == ("", "")
    assert rows == {
        name: (
            "sha256="
            + base64.urlsafe_b64encode(hashlib.sha256(content).digest()).decode().rstrip("="),
            str(len(content)),
        )
        for name, content in packed.items()
    }


def test_build_wheel_describes_itself_as_pip_reads_it(tmp_path: Path) -> None:
    packed = contents(build_wheel(tmp_path))
    metadata = BytesParser().parsebytes(packed[f"{INFORMATION}/METADATA"])
    assert metadata["Name"] == "pacifica-notifications-consumer"
    assert metadata["Version"] == VERSION
    required = (AUTHOR / "requirements.txt").read_text().split()
    assert metadata.get_all("Requires-Dist") == required
    described = BytesParser().parsebytes(packed[f"{INFORMATION}/WHEEL"])
    assert described["Wheel-Version"] == "1.0"
    assert described["Root-Is-Purelib"] == "true"
    assert described["Tag"] == "py3-none-any"


def test_build_wheel_writes_the_same_bytes_when_it_is_done_again(tmp_path: Path) -> None:
    first, second = build_wheel(tmp_path / "1"), build_wheel(tmp_path / "2")
    assert first.read_bytes() == second.read_bytes()
    assert build_wheel(tmp_path / "1").read_bytes() == second.read_bytes()


def test_build_wheel_says_why_in_one_line_when_it_cannot_write(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConsumerError, match=r"cannot be written: "):
        build_wheel(tmp_path / "file" / "folder")
