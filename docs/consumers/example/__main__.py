"""Turns the text files of a transaction into upper case: `python __main__.py SRC DST`."""

import shutil
import sys
from pathlib import Path
from typing import Any

from jsonpath2.path import Path as JSONPath
from pacifica_notifications_consumer import download, upload
from promise import Promise

TEXT_FILES = '$["data"][*][?(@["destinationTable"] = "Files" and @["mimetype"] = "text/plain")]'
VALUE = '$["data"][*][?(@["destinationTable"] = "{}")]["value"]'
KEY = '$["data"][*][?(@["destinationTable"] = "TransactionKeyValue" and @["key"] = "{}")]'
ATTRIBUTES = ("Transactions.submitter", "Transactions.project", "Transactions.instrument")
ORIGIN = "upper case of transaction"


def main(src: Path, dst: Path) -> None:
    """Download the files, convert them, upload the result and delete both folders."""
    # Without `get`, a promise that is rejected would go unnoticed and the exit status be 0.
    print(download(src).then(lambda event: converted(event, src, dst)).get())  # noqa: T201
    shutil.rmtree(src)
    shutil.rmtree(dst)


def converted(event: dict[str, Any], src: Path, dst: Path) -> "Promise[str]":
    """Upload the upper case of an event's text files; the promise is of what was done."""
    # The transaction that this uploads has text files, too: its notification must be the last.
    if found(KEY.format(ORIGIN), event):
        return Promise.resolve("nothing to do: this is the upper case of another transaction")
    for record in found(TEXT_FILES, event):
        path = Path(record["subdir"], record["name"])
        source, target = src / "downloads" / path, dst / "uploads" / path
        target.parent.mkdir(parents=True, exist_ok=True)
        # What is not UTF-8 stays as it is.
        text = source.read_bytes().decode("utf-8", "surrogateescape")
        target.write_bytes(text.upper().encode("utf-8", "surrogateescape"))
    transaction = {name: value_of(name, event) for name in ATTRIBUTES}
    origin = {ORIGIN: str(value_of("Transactions._id", event))}
    return upload(dst, transaction, origin).then(lambda created: f"created {created['source']}")


def value_of(name: str, event: dict[str, Any]) -> Any:
    """Return an attribute of the event's transaction."""
    return found(VALUE.format(name), event)[0]


def found(expression: str, event: dict[str, Any]) -> list[Any]:
    """Return what a JSONPath finds in an event."""
    return [match.current_value for match in JSONPath.parse_str(expression).match(event)]


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
