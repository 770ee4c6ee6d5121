"""Mails: what is in them, when they are due, and how they are handed over.

`message` composes them. `schedule` tells when the next digest is due. `tokens` makes and checks
what the links in them hold. `smtp` hands them to the mail server over kept connections.
"""

from pacifica.notifications.mail.message import (
    Listed,
    Sender,
    confirmation,
    digest_mail,
    notice_mail,
)
from pacifica.notifications.mail.schedule import next_due
from pacifica.notifications.mail.smtp import MailTransport
from pacifica.notifications.mail.tokens import (
    hashed,
    is_signed,
    named_in,
    new_secret,
    new_token,
    unsubscribe_token,
)

__all__ = [
    "Listed",
    "MailTransport",
    "Sender",
    "confirmation",
    "digest_mail",
    "hashed",
    "is_signed",
    "named_in",
    "new_secret",
    "new_token",
    "next_due",
    "notice_mail",
    "unsubscribe_token",
]
