"""Builds the wheel of the module that entry points import, for pip to install."""

import base64
import hashlib
import zipfile
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

from pacifica.notifications.errors import ConsumerError

_REQUIREMENTS = Path(__file__).parent / "author" / "requirements.txt"
_MODULE = "pacifica_notifications_consumer"
_NAME = "pacifica-notifications-consumer"
_SERVICE = "pacifica-notifications"
_PYTHON = ">=3.11"
# The earliest time in a zip archive, so that the same module makes the same wheel.
_NO_TIME = (1980, 1, 1, 0, 0, 0)
_MODE = 0o644


def build_wheel(folder: Path) -> Path:
    """Write the wheel of `pacifica-notifications-consumer` into a folder and return its path.

    With the folder in PIP_FIND_LINKS, pip installs the wheel by name. It has the version of this
    service, and the build is reproducible. Raises ConsumerError.
    """
    try:
        number = version(_SERVICE)
    except PackageNotFoundError as error:
        raise ConsumerError(f"{_SERVICE} is not installed: its version is unknown") from error
    wheel = folder / f"{_MODULE}-{number}-py3-none-any.whl"
    try:
        contents = _contents(number)
        folder.mkdir(parents=True, exist_ok=True)
        with zipfile.ZipFile(wheel, "w") as file:
            for name, content in contents.items():
                entry = zipfile.ZipInfo(name, _NO_TIME)
                entry.external_attr = _MODE << 16
                file.writestr(entry, content)
    except OSError as error:
        raise ConsumerError(f"{wheel} cannot be written: {error.strerror}") from error
    return wheel


def _contents(number: str) -> dict[str, bytes]:
    information = f"{_MODULE}-{number}.dist-info"
    files = sorted([*_module().glob("*.py"), _module() / "py.typed"])
    contents = {f"{_MODULE}/{file.name}": file.read_bytes() for file in files}
    contents[f"{information}/METADATA"] = _metadata(number).encode()
    contents[f"{information}/WHEEL"] = _lines(
        "Wheel-Version: 1.0",
        f"Generator: {_SERVICE} ({number})",
        "Root-Is-Purelib: true",
        "Tag: py3-none-any",
    ).encode()
    record = f"{information}/RECORD"
    entries = [f"{name},{_digest(content)},{len(content)}" for name, content in contents.items()]
    contents[record] = _lines(*entries, f"{record},,").encode()
    return contents


def _module() -> Path:
    """Return the folder of the module, without importing it: its own requirements take long."""
    spec = find_spec(_MODULE)
    if spec is None or spec.origin is None:
        raise ConsumerError(f"{_MODULE} is not installed with {_SERVICE}")
    return Path(spec.origin).parent


def _metadata(number: str) -> str:
    required = _REQUIREMENTS.read_text(encoding="utf-8").split()
    return _lines(
        "Metadata-Version: 2.1",
        f"Name: {_NAME}",
        f"Version: {number}",
        "Summary: Download and upload for the entry points of Pacifica's consumers",
        f"Requires-Python: {_PYTHON}",
        *(f"Requires-Dist: {each}" for each in required),
    )


def _digest(content: bytes) -> str:
    digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest())
    return "sha256=" + digest.rstrip(b"=").decode()


def _lines(*lines: str) -> str:
    return "".join(f"{line}\n" for line in lines)
