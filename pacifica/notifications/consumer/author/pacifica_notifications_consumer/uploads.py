"""`upload`: sends an entry point's results as a new transaction through Ingest."""

import os
import tempfile
from collections.abc import Iterable, Mapping
from datetime import datetime
from pathlib import Path
from typing import IO, Any

from pacifica.uploader import Uploader
from pacifica.uploader.metadata import FileObj, MetaData, MetaObj, metadata_encode
from promise import Promise

from .attributes import key_values_of, transaction_of
from .bundles import ROOT, uploads_in, write_bundle
from .configured import Configured, configured
from .errors import ServiceError, TransferError, concerning, shown
from .failures import shown_in_one_line
from .services import Service
from .waiting import Deadline, wait_for

KeyValues = Mapping[str, str] | Iterable[tuple[str, str]]

_UPLOADS = "uploads"
_INVALID = 412


def upload(
    dst: str | os.PathLike[str], transaction: Mapping[str, int | str], key_values: KeyValues = ()
) -> "Promise[dict[str, Any]]":
    """Send the files below `dst/uploads` as a transaction, and promise its event.

    `transaction` has `Transactions.submitter`, `Transactions.project` and
    `Transactions.instrument`. Each of `key_values` becomes a `TransactionKeyValue`. The event is
    the one that Pacifica Metadata sends, except that its files have no `_id`, because Ingest does
    not return them. The promise is settled when this returns; it is rejected with TransferError.
    """
    return Promise(lambda resolve, _reject: resolve(_uploaded(Path(dst), transaction, key_values)))


def _uploaded(dst: Path, transaction: Any, key_values: Any) -> dict[str, Any]:
    with shown_in_one_line(dst):
        return _event_of_upload(dst, transaction, key_values)


def _event_of_upload(dst: Path, transaction: Any, key_values: Any) -> dict[str, Any]:
    described = [*transaction_of(transaction), *key_values_of(key_values)]
    try:
        uploads = uploads_in(dst / _UPLOADS)
        if not uploads:
            raise TransferError(f"{_UPLOADS}: has no file in it")
        with (
            concerning([each.path for each in uploads]),
            tempfile.TemporaryFile(dir=dst, prefix=".bundle.") as bundle,
        ):
            settings = configured()
            _require_permitted(described, settings)
            metadata = write_bundle(bundle, uploads, described)
            size = bundle.tell()
            bundle.seek(0)
            number = _ingested(bundle, size, settings)
    except OSError as error:
        problem = f"cannot be bundled: {error.strerror or error}"
        raise TransferError(f"{_UPLOADS}: {problem}") from error
    return _event(number, list(metadata))


def _require_permitted(described: list[MetaObj], settings: Configured) -> None:
    """Ask Policy before the upload whether it would refuse the transaction to Ingest.

    If Policy gives no verdict, Ingest asks it later.
    """
    with Service("Policy", settings) as service:
        try:
            service.post(
                f"{settings.policy}/ingest",
                data=metadata_encode(MetaData(described)),
                headers={"Content-Type": "application/json"},
            )
        except ServiceError as error:
            if error.status == _INVALID:
                raise


def _ingested(bundle: IO[bytes], size: int, settings: Configured) -> int:
    """Send a bundle, wait until Ingest has finished, and return the transaction's number."""
    with Service("Ingest", settings) as service:
        client = Uploader(
            upload_url=f"{settings.ingest}/upload", status_url=f"{settings.ingest}/get_state"
        )
        client.session = service
        try:
            number = client.upload(bundle, content_length=size)
        except (ValueError, LookupError, TypeError) as error:
            raise service.misunderstood() from error
        if isinstance(number, bool) or not isinstance(number, int) or number < 0:
            raise service.misunderstood()
        wait_for(
            lambda: _is_finished(client, service, number),
            settings.poll,
            Deadline(settings.timeout),
            lambda: (
                "Ingest",
                f"finish transaction {number}; its last response was {service.answer}",
            ),
        )
    return number


def _is_finished(client: Uploader, service: Service, number: int) -> bool | None:
    try:
        state = client.getstate(number)
        name, is_complete = state["state"], state["complete"]
    except (ValueError, LookupError, TypeError) as error:
        raise service.misunderstood() from error
    if name == "OK":
        return True if is_complete is True else None
    task, reason = shown(str(state.get("task"))), shown(str(state.get("exception")))
    raise ServiceError("Ingest", f"failed transaction {number} at {task!r}: {reason}", 200)


def _event(number: int, metadata: list[Any]) -> dict[str, Any]:
    """Return the event that Pacifica Metadata sends for a transaction."""
    return {
        "cloudEventsVersion": "0.1",
        "eventType": "org.pacifica.metadata.ingest",
        "source": f"http://metadata.pacifica.org/transactions?_id={number}",
        "eventID": f"metadata.ingest.{number}",
        # Local time without an offset, as in Metadata's events.
        "eventTime": datetime.now().replace(microsecond=0).isoformat(),
        "extensions": {},
        "contentType": "application/json",
        "data": [
            {"destinationTable": "Transactions._id", "value": number},
            *(_described(each) for each in metadata),
        ],
    }


def _described(each: Any) -> dict[str, Any]:
    record = {name: value for name, value in each._asdict().items() if value is not None}
    if isinstance(each, FileObj):
        record["subdir"] = record["subdir"].removeprefix(f"{ROOT}/")  # as Ingest does
    return record
