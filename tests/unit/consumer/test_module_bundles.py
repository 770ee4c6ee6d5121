import hashlib
import io
import mimetypes
import os
import sys
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest
from pacifica.uploader.metadata import FileObj

from pacifica.notifications.consumer.author.pacifica_notifications_consumer.attributes import (
    key_values_of,
)
from pacifica.notifications.consumer.author.pacifica_notifications_consumer.bundles import (
    uploads_in,
    write_bundle,
)
from pacifica.notifications.consumer.author.pacifica_notifications_consumer.errors import (
    TransferError,
)

DESCRIBED = key_values_of({"Tag": "x"})


def test_uploads_in_returns_the_files_in_the_order_of_their_paths(tmp_path: Path) -> None:
    for path in ("b/2", "b/1/x", "a", "c"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(path)
    os.utime(tmp_path / "a", (1, -5))
    found = uploads_in(tmp_path)
    assert [(each.path, each.size) for each in found] == [
        ("a", 1),
        ("b/1/x", 5),
        ("b/2", 3),
        ("c", 1),
    ]
    assert found[0].mtime == 0


def test_uploads_in_goes_no_way_that_is_a_link(tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "secret").write_text("secret")
    (tmp_path / "uploads").mkdir()
    (tmp_path / "uploads" / "way").symlink_to(tmp_path / "outside")
    with pytest.raises(TransferError, match="way: is no file and no folder"):
        uploads_in(tmp_path / "uploads")


@pytest.mark.skipif(sys.platform != "linux", reason="names are Unicode here")
def test_uploads_in_refuses_a_name_when_it_is_not_unicode(tmp_path: Path) -> None:
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9")).write_text("")
    with pytest.raises(TransferError, match=r"caf\?: has a name that is not Unicode"):
        uploads_in(tmp_path)


@pytest.mark.parametrize(
    ("name", "mimetype"),
    [
        ("foo.txt", "text/plain"),
        ("FOO.TXT", "text/plain"),
        ("foo.png", "image/png"),
        ("foo.txt.gz", "application/octet-stream"),
        ("mail.mhtml", "message/rfc822"),
        ("water.unknown", "application/octet-stream"),
        ("foo", "application/octet-stream"),
        ("water.chemical", "application/octet-stream"),
    ],
)
def test_write_bundle_says_of_a_file_what_metadata_knows(
    name: str, mimetype: str, tmp_path: Path
) -> None:
    mimetypes.add_type("chemical/x-water", ".chemical")
    (tmp_path / name).write_bytes(b"first")
    os.utime(tmp_path / name, (1, 1_700_000_000.9))
    assert list(write_bundle(io.BytesIO(), uploads_in(tmp_path), DESCRIBED)) == [
        *DESCRIBED,
        FileObj(
            destinationTable="Files",
            name=name,
            subdir="",
            size=5,
            hashtype="sha1",
            hashsum=hashlib.sha1(b"first", usedforsecurity=False).hexdigest(),
            mimetype=mimetype,
            ctime="2023-11-14T22:13:20",
            mtime="2023-11-14T22:13:20",
        ),
    ]


def test_write_bundle_has_the_size_that_was_announced_when_a_file_grows(tmp_path: Path) -> None:
    (tmp_path / "log").write_bytes(b"first")
    uploads = uploads_in(tmp_path)
    (tmp_path / "log").write_bytes(b"first and second")
    bundle = io.BytesIO()
    metadata = write_bundle(bundle, uploads, DESCRIBED)
    (described,) = [each for each in metadata if isinstance(each, FileObj)]
    assert (described.size, described.subdir) == (5, "")
    bundle.seek(0)
    with tarfile.open(fileobj=bundle) as tar:
        content = tar.extractfile("data/log")
        assert content is not None
        assert content.read() == b"first"


def test_write_bundle_names_the_file_when_it_became_shorter(tmp_path: Path) -> None:
    (tmp_path / "log").write_bytes(b"first")
    uploads = [replace(each, size=6) for each in uploads_in(tmp_path)]
    with pytest.raises(TransferError, match="log: became shorter while it was read"):
        write_bundle(io.BytesIO(), uploads, DESCRIBED)


def test_write_bundle_names_the_file_when_it_is_gone(tmp_path: Path) -> None:
    (tmp_path / "log").write_bytes(b"first")
    uploads = uploads_in(tmp_path)
    (tmp_path / "log").unlink()
    with pytest.raises(TransferError, match="log: cannot be read: No such file or directory"):
        write_bundle(io.BytesIO(), uploads, DESCRIBED)


def test_write_bundle_follows_no_link_that_took_a_files_place(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"secret")
    (tmp_path / "uploads").mkdir()
    (tmp_path / "uploads" / "log").write_bytes(b"secret")
    uploads = uploads_in(tmp_path / "uploads")
    (tmp_path / "uploads" / "log").unlink()
    (tmp_path / "uploads" / "log").symlink_to(tmp_path / "secret")
    with pytest.raises(TransferError, match="log: cannot be read"):
        write_bundle(io.BytesIO(), uploads, DESCRIBED)
