"""The settings of mails, and of the links in what people read."""

import re
from dataclasses import dataclass
from datetime import time
from urllib.parse import unquote, urlsplit
from zoneinfo import ZoneInfo

from pacifica.notifications.settings.keys import (
    CA_DEFAULT,
    CA_VARIABLES,
    CERTIFICATES,
    COUNT,
    HTTP_URL_OR_NOTHING,
    SECONDS,
    Kind,
    setting,
    without_credentials,
)

#: What is before and after the @ of an address that mails may go to; of RFC 5321, what is in use.
ADDRESS = re.compile(
    r"[A-Za-z0-9!#$&'*+/=^_`{|}~-]+(?:\.[A-Za-z0-9!#$&'*+/=^_`{|}~-]+)*"
    r"@((?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)*"
    r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?)"
)
MAX_ADDRESS = 254
_DOMAIN = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.-]{0,251}[A-Za-z0-9])?")
_PORTS = {"smtp": 25, "smtp+starttls": 587, "smtps": 465}


@dataclass(frozen=True)
class MailServer:
    """Where mails are handed over; without a `user`, there is no login."""

    host: str
    port: int
    tls: bool = False
    starttls: bool = False
    user: str = ""
    password: str = ""

    def __repr__(self) -> str:
        """Return it without the login."""
        return f"MailServer({self.host!r}, {self.port})"


def _server(text: str) -> MailServer | None:
    if not text:
        return None
    parts = urlsplit(text)
    if parts.scheme not in _PORTS or not parts.hostname or parts.path.strip("/") or parts.query:
        raise ValueError(text)
    if parts.username and parts.scheme == "smtp":  # the password would be readable on its way
        raise ValueError(text)
    return MailServer(
        parts.hostname,
        parts.port or _PORTS[parts.scheme],
        parts.scheme == "smtps",
        parts.scheme == "smtp+starttls",
        unquote(parts.username or ""),
        unquote(parts.password or ""),
    )


def _address(text: str) -> str:
    if text and (len(text) > MAX_ADDRESS or not ADDRESS.fullmatch(text)):
        raise ValueError(text)
    return text


def _domains(text: str) -> tuple[str, ...]:
    if not all(_DOMAIN.fullmatch(word) for word in text.split()):
        raise ValueError(text)
    return tuple(word.lower() for word in text.split())


def _link(text: str) -> str:
    if not text:
        return ""
    parts = urlsplit(text)
    has_place = "{transaction}" in text
    if parts.scheme not in ("http", "https") or not parts.hostname or not has_place:
        raise ValueError(text)
    if not text.isascii() or not text.isprintable() or re.search(r'[\s<>"]', text):
        raise ValueError(text)
    return text


def _zone(text: str) -> ZoneInfo:
    try:
        return ZoneInfo(text)
    except (OSError, ValueError, LookupError) as error:
        raise ValueError(text) from error


def _time(text: str) -> time:
    if not re.fullmatch("[0-9]{2}:[0-9]{2}", text):
        raise ValueError(text)
    return time.fromisoformat(text)


SERVER = Kind(
    "smtp://host, smtp+starttls://user:password@host:587 or smtps://user:password@host:465, or "
    "nothing; a login needs TLS",
    _server,
    without_credentials,
)
ADDRESS_OR_NOTHING = Kind("an address such as notifications@data.example, or nothing", _address)
DOMAINS = Kind("domains such as facility.example, with blanks between them, or nothing", _domains)
LINK = Kind(
    "an http or https URL with {transaction} in it, or nothing",
    _link,
)
ZONE = Kind("a time zone of the IANA database, such as Europe/Berlin or UTC", _zone)
TIME = Kind("a time of day such as 07:00", _time)


@dataclass(frozen=True)
class MailSettings:
    """`[mail]`: mails to owners, and the links in what people read."""

    smtp_url: MailServer | None = setting(
        SERVER,
        "",
        "The mail server: smtp://host, smtp+starttls:// or smtps:// with user and password. Empty: "
        "no mail is sent, and no subscription may have a mailto: target.",
    )
    sender: str = setting(
        ADDRESS_OR_NOTHING,
        "",
        "The address that mails come from. It is needed where there is an smtp_url.",
        name="from",
    )
    base_url: str = setting(
        HTTP_URL_OR_NOTHING,
        "",
        "The URL under which people reach this service, for links in mails and chats. It is needed "
        "where there is an smtp_url. What is below /mail/ must be reachable without a login.",
    )
    link: str = setting(
        LINK,
        "",
        "The page of a transaction in the facility's portal, such as "
        "https://data.example/transactions/{transaction}. Empty: mails and chats link to the page "
        "of this service.",
    )
    trusted_domains: tuple[str, ...] = setting(
        DOMAINS,
        "",
        "Domains whose addresses need not agree before they get mails. Any user may then have "
        "mails sent to them.",
    )
    time_zone: ZoneInfo = setting(
        ZONE, "UTC", "The time zone of daily mails, and of the times in all mails."
    )
    daily_at: time = setting(TIME, "07:00", "When daily mails are sent, in this time zone.")
    user_rate: int = setting(
        COUNT,
        60,
        "How many mails an hour the subscriptions of one user send. What comes past them waits, "
        "and is sent together in one mail.",
    )
    address_rate: int = setting(COUNT, 60, "How many mails an hour are sent to one address.")
    rate: int = setting(COUNT, 2000, "How many mails an hour are sent in all.")
    connections: int = setting(
        COUNT, 2, "How many connections to the mail server one worker process keeps."
    )
    timeout: float = setting(
        SECONDS, 20, "How long handing over one mail may take in all (seconds)."
    )
    ca_file: str = setting(
        CERTIFICATES,
        "",
        "The authorities whose certificates the mail server may have, in place of the public ones. "
        f"{CA_DEFAULT}",
        other_variables=CA_VARIABLES,
    )
    #: How many deliveries of one subscription one mail may tell of, and how many it lists.
    max_events: int = 1000
    max_listed: int = 100
    #: Of a subscription that wants each event, so many come one by one; more come in one mail.
    max_single: int = 10
    #: Seconds after which a connection that was not used is opened anew.
    max_idle: float = 30.0
    #: Seconds that a confirmation link, and a link to unsubscribe, can be used.
    confirmation_age: float = 3 * 86400.0
    unsubscribe_age: float = 90 * 86400.0
    #: How many first mails a day are sent to one address, and for one user.
    address_confirmations: int = 3
    user_confirmations: int = 20

    @property
    def is_on(self) -> bool:
        """Whether mails are sent at all."""
        return self.smtp_url is not None

    @property
    def lease(self) -> float:
        """How long what is to be mailed belongs to the worker that took it (seconds)."""
        return 2 * self.timeout + 60.0
