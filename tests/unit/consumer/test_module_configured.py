import pytest

from pacifica.notifications.consumer.author.pacifica_notifications_consumer.configured import (
    Configured,
    configured,
)
from pacifica.notifications.consumer.author.pacifica_notifications_consumer.errors import (
    TransferError,
)


def test_configured_has_the_services_own_ports_when_nothing_is_set() -> None:
    assert configured({}) == Configured(
        cart="http://127.0.0.1:8081",
        ingest="http://127.0.0.1:8066",
        policy="http://127.0.0.1:8181",
        user=None,
        authorization=None,
        timeout=3600,
        connect_timeout=10,
        read_timeout=60,
        poll=1,
    )


def test_configured_reads_every_variable_when_it_is_set() -> None:
    environment = {
        "PACIFICA_CART_URL": "https://cart.example.org/cart/",
        "PACIFICA_INGEST_URL": "https://ingest.example.org",
        "PACIFICA_POLICY_URL": "http://[::1]:1",
        "PACIFICA_USER": "dmlb2001",
        "PACIFICA_AUTHORIZATION": "Bearer secret",
        "PACIFICA_TRANSFER_TIMEOUT": "5",
        "PACIFICA_CONNECT_TIMEOUT": "0.5",
        "PACIFICA_READ_TIMEOUT": "1e1",
        "PACIFICA_POLL": ".25",
    }
    assert configured(environment) == Configured(
        cart="https://cart.example.org/cart",
        ingest="https://ingest.example.org",
        policy="http://[::1]:1",
        user="dmlb2001",
        authorization="Bearer secret",
        timeout=5,
        connect_timeout=0.5,
        read_timeout=10,
        poll=0.25,
    )


def test_configured_keeps_the_secret_out_of_its_repr() -> None:
    assert "secret" not in repr(configured({"PACIFICA_AUTHORIZATION": "Bearer secret"}))


@pytest.mark.parametrize(
    ("name", "value", "problem"),
    [
        ("PACIFICA_CART_URL", "secret", "is not an http or https URL"),
        ("PACIFICA_CART_URL", "ftp://secret", "is not an http or https URL"),
        ("PACIFICA_CART_URL", "http://", "is not an http or https URL"),
        ("PACIFICA_INGEST_URL", "http://secret:99999", "is not a URL"),
        ("PACIFICA_INGEST_URL", "http://[secret", "is not a URL"),
        ("PACIFICA_POLICY_URL", "http://me:secret@host", "holds credentials"),
        ("PACIFICA_POLICY_URL", "http://host/?secret", "is not the URL of a service"),
        ("PACIFICA_POLICY_URL", "http://host/sec ret", "is not the URL of a service"),
        ("PACIFICA_USER", "secret\r\nX: y", "has characters that no header can have"),
        ("PACIFICA_AUTHORIZATION", "secrét", "has characters that no header can have"),
        ("PACIFICA_TRANSFER_TIMEOUT", "secret", "is not a number"),
        ("PACIFICA_CONNECT_TIMEOUT", "0", "must be more than 0"),
        ("PACIFICA_READ_TIMEOUT", "-1", "must be more than 0"),
        ("PACIFICA_POLL", "inf", "must be more than 0"),
        ("PACIFICA_POLL", "nan", "must be more than 0"),
    ],
)
def test_configured_names_the_variable_and_not_its_value_when_it_is_wrong(
    name: str, value: str, problem: str
) -> None:
    with pytest.raises(TransferError) as caught:
        configured({name: value})
    assert str(caught.value).startswith(f"{name} {problem}")
    assert "secr" not in str(caught.value)
