"""Ports that a server is to listen on."""

import socket


def why_not_free(host: str, port: int) -> str | None:
    """Return why nothing can listen there, in a few words; None where something can."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        socket.create_server((host, port), family=family).close()
    except OSError as error:
        # Python adds the address.
        return str(error.strerror).partition(" (while")[0]
    return None
