"""A certificate for this machine, as servers of tests have it."""

import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from pacifica.notifications.clock import utcnow
from tests.support.servers import RawServer, read_request


def own_certificate(folder: Path) -> Path:
    """Make one for `localhost` and 127.0.0.1; returns a file with it and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    names = [x509.DNSName("localhost"), x509.IPAddress(ip_address("127.0.0.1"))]
    built = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(utcnow().replace(year=2020))
        .not_valid_after(utcnow().replace(year=2100))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .sign(key, hashes.SHA256())
    )
    file = folder / "certificate.pem"
    file.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        + built.public_bytes(serialization.Encoding.PEM)
    )
    return file


@contextmanager
def encrypting_server(certificate: Path) -> Iterator[RawServer]:
    """Run a server that answers every request with 200, in TLS; its URL begins with `http:`."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)

    def encrypted(connection: socket.socket, over: threading.Event) -> None:
        del over
        with context.wrap_socket(connection, server_side=True) as stream:
            while read_request(stream):
                stream.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    with RawServer(encrypted) as server:
        yield server
