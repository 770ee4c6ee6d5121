"""The metadata of a new transaction: its attributes, and its keys and values."""

from collections.abc import Mapping
from typing import Any

from pacifica.uploader.metadata import MetaObj

from .errors import TransferError, shown

_PREFIX = "Transactions."
_REQUIRED = ("Transactions.submitter", "Transactions.project", "Transactions.instrument")
_ALLOTTED = "Transactions._id"
# The clients and Metadata treat an empty value as one that is still to be chosen.
_EMPTY = "must be a text or a number, and not empty or 0"


def transaction_of(attributes: Any) -> list[MetaObj]:
    """Return the metadata of a transaction's attributes; raise TransferError."""
    if not isinstance(attributes, Mapping):
        raise TransferError("transaction: must be a dictionary")
    for name in _REQUIRED:
        if name not in attributes:
            raise TransferError(f"transaction: has no {name}")
    for name, value in attributes.items():
        if not isinstance(name, str) or not name.startswith(_PREFIX) or name == _ALLOTTED:
            raise TransferError(
                f"transaction: {shown(str(name))!r} is no attribute that can be set"
            )
        if isinstance(value, bool) or not isinstance(value, int | str) or not value:
            raise TransferError(f"transaction: {shown(name)} {_EMPTY}")
    return [MetaObj(destinationTable=name, value=value) for name, value in attributes.items()]


def key_values_of(key_values: Any) -> list[MetaObj]:
    """Return the metadata of a dictionary or of pairs; raise TransferError."""
    pairs = key_values.items() if isinstance(key_values, Mapping) else key_values
    found = []
    try:
        for key, value in pairs:
            found.append((key, value))
    except (TypeError, ValueError) as error:
        raise TransferError("key_values: must be a dictionary, or pairs") from error
    return [_key_value(key, value) for key, value in found]


def _key_value(key: Any, value: Any) -> MetaObj:
    if not isinstance(key, str) or not key:
        raise TransferError("key_values: a key must be a text that is not empty")
    if isinstance(value, bool) or not isinstance(value, int | float | str) or value == "":
        raise TransferError(f"key_values: {shown(key)} must be a text or a number, and not empty")
    return MetaObj(destinationTable="TransactionKeyValue", key=key, value=str(value))
