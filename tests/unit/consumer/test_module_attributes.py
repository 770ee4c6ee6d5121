from typing import Any

import pytest

from pacifica.notifications.consumer.author.pacifica_notifications_consumer.attributes import (
    key_values_of,
    transaction_of,
)
from pacifica.notifications.consumer.author.pacifica_notifications_consumer.errors import (
    TransferError,
)

TRANSACTION: dict[str, Any] = {
    "Transactions.submitter": 10,
    "Transactions.project": "1236",
    "Transactions.instrument": 54,
}


def test_transaction_of_returns_an_object_for_each_attribute() -> None:
    found = transaction_of(TRANSACTION)
    assert {each.destinationTable: each.value for each in found} == TRANSACTION


@pytest.mark.parametrize("name", TRANSACTION)
def test_transaction_of_names_an_attribute_when_it_is_missing(name: str) -> None:
    with pytest.raises(TransferError, match=f"transaction: has no {name}"):
        transaction_of({other: 1 for other in TRANSACTION if other != name})


@pytest.mark.parametrize("name", ["Transactions._id", "Files", "submitter", "", 1])
def test_transaction_of_refuses_a_name_when_it_is_no_attribute(name: Any) -> None:
    with pytest.raises(TransferError, match="is no attribute that can be set"):
        transaction_of({**TRANSACTION, name: 1})


@pytest.mark.parametrize("value", [None, True, "", 0, 1.5, [], {}])
def test_transaction_of_names_the_attribute_when_its_value_is_none(value: Any) -> None:
    with pytest.raises(TransferError, match=r"transaction: Transactions\.project must be a text"):
        transaction_of({**TRANSACTION, "Transactions.project": value})


@pytest.mark.parametrize("transaction", [None, [], "text", 1])
def test_transaction_of_raises_when_it_is_no_dictionary(transaction: Any) -> None:
    with pytest.raises(TransferError, match="transaction: must be a dictionary"):
        transaction_of(transaction)


@pytest.mark.parametrize(
    "key_values",
    [
        {"Tag": "Namé", "count": 5},
        [("Tag", "Namé"), ("count", 5)],
        iter([("Tag", "Namé"), ["count", 5]]),
    ],
)
def test_key_values_of_returns_texts_when_given_a_dictionary_or_pairs(key_values: Any) -> None:
    found = [(each.destinationTable, each.key, each.value) for each in key_values_of(key_values)]
    assert found == [
        ("TransactionKeyValue", "Tag", "Namé"),
        ("TransactionKeyValue", "count", "5"),
    ]


@pytest.mark.parametrize("key_values", [None, 1, "text", ["text"], [("one",)], [1]])
def test_key_values_of_raises_when_they_are_no_pairs(key_values: Any) -> None:
    with pytest.raises(TransferError, match="key_values: must be a dictionary, or pairs"):
        key_values_of(key_values)


@pytest.mark.parametrize("key", ["", 1, None])
def test_key_values_of_raises_when_a_key_is_none(key: Any) -> None:
    with pytest.raises(TransferError, match="key_values: a key must be a text"):
        key_values_of({key: "value"})


@pytest.mark.parametrize("value", [None, True, "", []])
def test_key_values_of_names_the_key_when_its_value_is_none(value: Any) -> None:
    with pytest.raises(TransferError, match="key_values: Tag must be a text or a number"):
        key_values_of({"Tag": value})
