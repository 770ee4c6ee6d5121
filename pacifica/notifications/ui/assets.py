"""The static files of the page, which browsers keep for as long as they do not change."""

from dataclasses import dataclass
from hashlib import sha256
from importlib.resources import files
from typing import Final

_FOLDER: Final = "static"
_TYPES: Final = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
}
_DIGITS = 16


@dataclass(frozen=True)
class Asset:
    """A file as it is served; `digest` changes with its content."""

    content: bytes
    type: str
    digest: str


class Assets:
    """All static files, read once."""

    def __init__(self) -> None:
        folder = files(__package__) / _FOLDER
        self._assets = {
            each.name: Asset(content, _TYPES[suffix], sha256(content).hexdigest()[:_DIGITS])
            for each in folder.iterdir()
            if (suffix := f".{each.name.rpartition('.')[2]}") in _TYPES
            for content in (each.read_bytes(),)
        }

    def find(self, name: str) -> Asset | None:
        """Return a file by its name."""
        return self._assets.get(name)

    def path(self, name: str) -> str:
        """Return where a file is, relative to `/ui/`; it changes with the content."""
        return f"{_FOLDER}/{self._assets[name].digest}/{name}"
