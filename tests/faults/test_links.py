"""The links that the fault tests break: what each of their states does to a real connection."""

import http.client
import socket
import threading
from collections.abc import Iterator
from contextlib import closing

import pytest

from tests.support.links import Link
from tests.support.servers import RawServer, RecordingServer

#: Seconds in which a loopback connection that passes bytes has passed them.
SOON = 5
#: Seconds for which a frozen one is watched.
A_WHILE = 0.3


def echoing(connection: socket.socket, over: threading.Event) -> None:
    """Send back what comes, until the other side says no more."""
    del over
    while said := connection.recv(65536):
        connection.sendall(said)


@pytest.fixture
def link() -> Iterator[Link]:
    with RawServer(echoing) as server, Link("127.0.0.1", server.port) as link:
        yield link


def connection(link: Link) -> socket.socket:
    return socket.create_connection(("127.0.0.1", link.port), SOON)


def answer(client: socket.socket, said: bytes) -> bytes:
    client.sendall(said)
    return heard(client, len(said))


def heard(client: socket.socket, size: int) -> bytes:
    client.settimeout(SOON)
    answered = b""
    while len(answered) < size and (more := client.recv(65536)):
        answered += more
    return answered


def is_silent(client: socket.socket) -> bool:
    client.settimeout(A_WHILE)
    try:
        client.recv(1)
    except TimeoutError:
        return True
    return False


def test_link_passes_megabytes_in_both_directions(link: Link) -> None:
    said = b"0123456789abcdef" * 2**18
    with closing(connection(link)) as client:
        speaker = threading.Thread(target=client.sendall, args=(said,))
        speaker.start()
        assert heard(client, len(said)) == said
        speaker.join(SOON)


def test_link_passes_the_end_of_what_one_side_says_and_the_answer_to_it(link: Link) -> None:
    with closing(connection(link)) as client:
        client.sendall(b"last words")
        client.shutdown(socket.SHUT_WR)
        assert heard(client, 100) == b"last words"


def test_cut_link_resets_open_connections_and_refuses_new_ones(link: Link) -> None:
    with closing(connection(link)) as client:
        assert answer(client, b"hello") == b"hello"
        link.cut()
        with pytest.raises(ConnectionResetError):
            client.recv(1)
    with pytest.raises(ConnectionRefusedError):
        connection(link)


def test_restored_link_passes_again_at_the_same_port_when_it_was_cut(link: Link) -> None:
    port = link.port
    link.cut()
    link.restore()
    with closing(connection(link)) as client:
        assert link.port == port
        assert answer(client, b"hello") == b"hello"


def test_frozen_link_takes_connections_and_passes_nothing_until_it_is_restored(link: Link) -> None:
    with closing(connection(link)) as old:
        assert answer(old, b"hello") == b"hello"
        link.freeze()
        with closing(connection(link)) as new:
            old.sendall(b"old")
            new.sendall(b"new")
            assert is_silent(old)
            assert is_silent(new)
            link.restore()
            assert heard(old, 3) == b"old"
            assert heard(new, 3) == b"new"


def test_link_ends_conversations_when_it_ends() -> None:
    with RawServer(echoing) as server, Link("127.0.0.1", server.port) as link:
        client = connection(link)
        assert answer(client, b"hello") == b"hello"
    with closing(client), pytest.raises(ConnectionResetError):
        client.recv(1)


def test_url_of_names_the_link_and_keeps_the_rest() -> None:
    with RecordingServer() as server, Link("127.0.0.1", server.port) as link:
        here = f"127.0.0.1:{link.port}"
        assert link.url_of("http://me:secret@server.example/a?b") == f"http://me:secret@{here}/a?b"
        assert link.url_of("pyamqp://server.example//") == f"pyamqp://{here}//"
        with closing(http.client.HTTPConnection(here, timeout=SOON)) as client:
            client.request("GET", "/")
            assert client.getresponse().status == 200
