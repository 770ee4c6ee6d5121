"""Consumer archives as bytes: a good one, and one for each thing that can be wrong with one."""

import io
import stat
import struct
import warnings
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass

JSONPATH = '$[?(@["eventType"] = "org.pacifica.metadata.ingest")]["data"]'
#: Says what it was given, and where, and writes a file to upload.
ENTRY = """
import json, pathlib, sys
source, destination = map(pathlib.Path, sys.argv[1:])
event = json.loads((source / "notification.json").read_text())
print("event", event["eventID"])
(destination / "uploads" / "result.txt").write_text(sys.prefix)
"""
FAILS = "import sys; print('nothing to work on', file=sys.stderr); sys.exit(3)"
HANGS = "import time; print('waiting', flush=True); time.sleep(600)"
#: Does not end when it is told to.
STUBBORN = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + HANGS
FLOODS = """
import sys
for _ in range(400):
    sys.stdout.write("x" * 9_999 + "\\n")
    sys.stderr.write("y" * 9_999 + "\\n")
"""
#: Ends at once; what it has started says its number, and goes on.
LEAVES_CHILDREN = """
import subprocess, sys
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
print(child.pid, flush=True)
"""
IS_KILLED = "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"
_LINK = (stat.S_IFLNK | 0o777) << 16


@dataclass(frozen=True)
class Entry:
    """A member as it is written, whatever its name; `attributes` are zip's external ones."""

    content: bytes = b""
    attributes: int = 0o644 << 16
    compression: int = zipfile.ZIP_DEFLATED


def zipped(members: Mapping[str, Entry | bytes | str] | list[tuple[str, Entry]]) -> bytes:
    """Return an archive of these members, in this order."""
    pairs = members if isinstance(members, list) else members.items()
    target = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(target, "w") as archive:
        warnings.simplefilter("ignore")  # of names that are there twice
        for name, given in pairs:
            content = given.encode() if isinstance(given, str) else given
            entry = content if isinstance(content, Entry) else Entry(content)
            info = zipfile.ZipInfo("name")
            info.filename = name  # as it is: the constructor would change some
            info.external_attr = entry.attributes
            info.compress_type = entry.compression
            archive.writestr(info, entry.content)
    return target.getvalue()


def consumer(
    entry: str = ENTRY, more: Mapping[str, Entry | bytes | str] | None = None, top: str = ""
) -> bytes:
    """Return an archive with an entry point, a JSONPath and more."""
    members = {"__main__.py": entry, "jsonpath2.txt": JSONPATH, **(more or {})}
    return zipped({f"{top}{name}": content for name, content in members.items()})


def good() -> bytes:
    """Return one that has everything an archive can have, with an empty list of requirements."""
    return consumer(
        more={"requirements.txt": "# none\n", "init.sh": "echo ready\n", "data/table.csv": "1,2\n"}
    )


def without(*names: str) -> bytes:
    """Return an archive that lacks some of its files."""
    members = {"__main__.py": ENTRY, "jsonpath2.txt": JSONPATH, "readme.txt": "-"}
    return zipped({name: text for name, text in members.items() if name not in names})


def with_jsonpath(content: bytes) -> bytes:
    """Return an archive whose JSONPath is something else."""
    return zipped({"__main__.py": ENTRY, "jsonpath2.txt": content})


def with_member(name: str, entry: Entry | None = None) -> bytes:
    """Return an archive with one more member, of whatever name."""
    return consumer(more={name: entry or Entry(b"more")})


def with_link() -> bytes:
    """Return an archive with a symbolic link to a file outside of it."""
    return with_member("link", Entry(b"/etc/passwd", _LINK, zipfile.ZIP_STORED))


def with_device() -> bytes:
    """Return an archive with a character device."""
    return with_member("null", Entry(attributes=(stat.S_IFCHR | 0o666) << 16))


def with_twins(*names: str) -> bytes:
    """Return an archive with some names, which may be equal."""
    base = [("__main__.py", Entry(ENTRY.encode())), ("jsonpath2.txt", Entry(JSONPATH.encode()))]
    return zipped([*base, *((name, Entry(b"twin")) for name in names)])


def encrypted() -> bytes:
    """Return an archive that says it is encrypted."""
    content = bytearray(consumer())
    for signature, place in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        content[content.index(signature) + place] |= 1
    return bytes(content)


def announcing(size: int, content: bytes) -> bytes:
    """Return an archive whose member `lies` announces another size than its content has.

    Its checksum is that of as many bytes as announced, so that it shows in the size alone.
    """
    written = with_member("lies", Entry(content))
    announced = struct.pack("<LL", zlib.crc32(content[:size]), size)
    real = struct.pack("<L", zlib.crc32(content))
    changed = bytearray(written)
    at = -1
    while (at := changed.find(real, at + 1)) >= 0:
        changed[at : at + 4] = announced[:4]
        changed[at + 8 : at + 12] = announced[4:]
    return bytes(changed)


def with_directory_of(size: int) -> bytes:
    """Return an archive that says its directory has so many bytes."""
    content = bytearray(consumer())
    end = content.rindex(b"PK\5\6")
    content[end + 12 : end + 16] = struct.pack("<L", size)
    return bytes(content)
