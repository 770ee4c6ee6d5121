"""Configuration keys: their names, defaults, meanings and accepted values."""

import re
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Any, TypeAlias
from urllib.parse import urlsplit

Network: TypeAlias = IPv4Network | IPv6Network
#: The variables by which other programs are told to trust a private authority.
CA_VARIABLES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE")
CA_DEFAULT = f"The default is the first of {', '.join(CA_VARIABLES)} that is set."


_SCHEME = "[A-Za-z][A-Za-z0-9+.-]*://"
# The groups are the scheme, the user, the host with port and path, and the query. The parts that
# are shown cannot hold a credential.
_SHOWN_URL = re.compile(
    rf"({_SCHEME})([^/?#]*@)?"
    r"((?:(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?)?(?:/[^\s?#@:;=&]*)?)"
    r"(\?[^@]*)?"
)


def without_credentials(url: str) -> str:
    """Return a URL, even an invalid one, with asterisks for parts that may be secret.

    These are the user, the password and the query. If the parts of a URL are not certain, only the
    scheme is shown.
    """
    if found := _SHOWN_URL.fullmatch(url):
        scheme, user, place, query = found.groups()
        return f"{scheme}{'***@' if user else ''}{place}{'?***' if query else ''}"
    scheme = re.match(_SCHEME, url)
    return f"{scheme[0] if scheme else ''}***" if url else ""


@dataclass(frozen=True)
class Kind:
    """The rule for a value: a description, and functions that convert and show it.

    `read` converts the text or raises ValueError. `show` returns the text for an error message.
    """

    accepts: str
    read: Callable[[str], Any]
    show: Callable[[str], str] = str


def _hidden(_text: str) -> str:
    return "***"


def _database_url(text: str) -> str:
    parts = urlsplit(text)
    engine = parts.scheme.removesuffix("+pool")
    # With two slashes, a file name would be a host. A path with "@" is part of a password.
    misplaced = parts.netloc if engine in ("sqlite", "sqliteext") else "@" in parts.path
    if engine not in _ENGINES or misplaced or not parts.path.strip("/"):
        raise ValueError(text)
    if not re.match(_SCHEME, text):
        raise ValueError(text)
    _ = parts.port  # raises ValueError if it is invalid
    return text


def _http_url(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(text)
    _ = parts.port  # raises ValueError above 65535
    return text.rstrip("/")


def _at_least(convert: Callable[[str], Any], lowest: float) -> Callable[[str], Any]:
    def read(text: str) -> Any:
        value = convert(text)
        if not lowest <= value < float("inf"):
            raise ValueError(text)
        return value

    return read


def _waits(text: str) -> tuple[float, ...]:
    waits = tuple(_at_least(float, 0)(word) for word in text.split())
    if not waits:
        raise ValueError(text)
    return waits


def _flag(text: str) -> bool:
    value = _FLAGS.get(text.lower())
    if value is None:
        raise ValueError(text)
    return value


def _networks(text: str) -> tuple[Network, ...]:
    return tuple(ip_network(word) for word in text.split())


def _words(text: str) -> tuple[str, ...]:
    if not text.isascii():
        raise ValueError(text)
    return tuple(text.split())


def _names(text: str) -> tuple[str, ...]:
    return tuple(text.split())


def _fernet_keys(text: str) -> tuple[str, ...]:
    if not all(re.fullmatch("[A-Za-z0-9_-]{43}=", word) for word in text.split()):
        raise ValueError(text)
    return tuple(text.split())


def _broker_url(text: str) -> str:
    if not text:
        raise ValueError(text)
    for each in text.split(";"):  # Celery accepts several, and uses one that works
        _ = urlsplit(each).port  # an invalid port may be a password, which kombu would repeat
    return text


def _origin(text: str) -> str:
    if not re.fullmatch("[0-9A-Za-z._-]{0,253}", text):
        raise ValueError(text)
    return text


def _certificates(text: str) -> str:
    is_folder = Path(text).is_dir()
    if text and not (is_folder and any(Path(text).glob("*.0"))):
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cafile=text)
        except OSError as error:  # also for a file without certificates
            raise ValueError(text) from error
    return text


def _header_name(text: str) -> str:
    # WSGI cannot tell an underscore from a hyphen, so the server drops headers with underscores.
    if not re.fullmatch("[0-9A-Za-z-]+", text):
        raise ValueError(text)
    return text


_FLAGS = {"yes": True, "true": True, "on": True, "1": True} | {
    "no": False,
    "false": False,
    "off": False,
    "0": False,
}
_ENGINES = ("sqlite", "sqliteext", "postgres", "postgresql", "mysql")


TEXT = Kind("any text, or nothing", str)
NAME = Kind("a header name of letters, digits and hyphens", _header_name)
ORIGIN = Kind("a DNS name of letters, digits, hyphens and dots, or nothing", _origin)
HTTP_URL_OR_NOTHING = Kind(
    "an http or https URL with a host, or nothing",
    lambda text: _http_url(text) if text else "",
    without_credentials,
)
HTTP_URL = Kind("an http or https URL with a host", _http_url, without_credentials)
BROKER_URL = Kind(
    "a URL that Celery knows, such as amqp://, redis:// or filesystem://",
    _broker_url,
    without_credentials,
)
DATABASE_URL = Kind(
    f"a {', '.join(_ENGINES[:-1])} or {_ENGINES[-1]} URL (also with +pool) with a database's name, "
    "such as sqliteext:///db.sqlite3 or postgresql://user@host/name",
    _database_url,
    without_credentials,
)
SECONDS = Kind("a number of seconds, 0 or more", _at_least(float, 0))
COUNT = Kind("a whole number, 1 or more", _at_least(int, 1))
RATE = Kind("a number, 0 or more", _at_least(float, 0))
FLAG = Kind("yes or no", _flag)
NETWORKS = Kind(
    "addresses and networks such as 192.0.2.10, 10.0.0.0/8 or fe80::/10, with blanks between them, "
    "or nothing",
    _networks,
)
USERS = Kind("names of users with blanks between them, or nothing", _names)
SECRET = Kind("any text, or nothing", str, _hidden)
TOKENS = Kind("ASCII words with blanks between them, or nothing", _words, _hidden)
FERNET_KEYS = Kind(
    "keys of 32 bytes in URL-safe Base64, with blanks between them, or nothing",
    _fernet_keys,
    _hidden,
)
CERTIFICATES = Kind(
    "a file of certificates in PEM, a folder of them after `openssl rehash`, or nothing",
    _certificates,
)
WAITS = Kind("numbers of seconds, each 0 or more, with blanks between them", _waits)


@dataclass(frozen=True)
class Key:
    """One configuration key: its place in the INI file, its environment variable, its default.

    If neither is set, the first of the `other_variables` that is not empty counts.
    """

    section: str
    name: str
    environment: str
    default: str
    kind: Kind
    meaning: str
    other_variables: tuple[str, ...] = ()


@dataclass(frozen=True)
class Form:
    """The key of a field; the field itself determines the section and the name."""

    kind: Kind
    default: str
    meaning: str
    environment: str
    section: str
    other_variables: tuple[str, ...]
    name: str = ""


def setting(
    kind: Kind,
    default: object,
    meaning: str,
    *,
    environment: str = "",
    section: str = "",
    other_variables: tuple[str, ...] = (),
    name: str = "",
) -> Any:
    """Return a dataclass field that is a configuration key.

    `environment`, `section` and `name` are needed only if they differ from those that the field
    implies.
    Values that may be secret are not in the `repr`.
    """
    form = Form(kind, str(default), meaning, environment, section, other_variables, name)
    may_be_secret = kind.show is not str
    return field(default=kind.read(form.default), metadata={"form": form}, repr=not may_be_secret)
