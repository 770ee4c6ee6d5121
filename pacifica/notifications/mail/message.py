"""Composes mails: text and HTML that say the same, and headers that no name in an event can add."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime
from html import escape
from uuid import UUID
from zoneinfo import ZoneInfo

from pacifica.notifications.delivery import name_of, single_line
from pacifica.notifications.flow import Notice

_MAX_SUBJECT = 150
_MAX_ERROR = 500
_STYLE = (
    "body{margin:0;padding:16px;font:16px/1.5 system-ui,-apple-system,'Segoe UI',sans-serif;"
    "color:#1b1f24;background:#fff}"
    "main{max-width:640px;margin:0 auto}h1{font-size:20px;line-height:1.3;overflow-wrap:anywhere}"
    "ul{padding:0;list-style:none}li{padding:10px 0;border-bottom:1px solid #d0d7de;"
    "overflow-wrap:anywhere}a{color:#0550ae}.small{font-size:14px;color:#57606a}"
    ".button{display:inline-block;padding:10px 18px;border-radius:6px;background:#0550ae;"
    "color:#fff;text-decoration:none}"
)
_SAID = {
    Notice.DISABLED: (
        "Subscription stopped: {name}",
        "An error stopped your subscription. What matches meanwhile is kept for it.",
    ),
    Notice.RECOVERED: (
        "Subscription works again: {name}",
        "Your subscription works again. What was kept for it is being sent.",
    ),
    Notice.EXPIRING: (
        "Events are about to be lost: {name}",
        "Your subscription is stopped, and the first of the events that are kept for it are given "
        "up within two days. Mend what its error says, and resume it.",
    ),
}


@dataclass(frozen=True)
class Sender:
    """Who mails come from, and how they show times."""

    address: str
    base_url: str
    zone: ZoneInfo

    @property
    def domain(self) -> str:
        """The domain of the address."""
        return self.address.rpartition("@")[2]

    def shown(self, moment: datetime) -> str:
        """Return a naive UTC time in the zone."""
        return moment.replace(tzinfo=UTC).astimezone(self.zone).strftime("%Y-%m-%d %H:%M %Z")


@dataclass(frozen=True)
class Listed:
    """An event as a mail lists it; `link` is the facility's page, and `why` that of this service.

    `received` is naive UTC.
    """

    headline: str
    received: datetime
    link: str
    why: str


def digest_mail(
    sender: Sender,
    to: str,
    name: str,
    page: str,
    listed: Sequence[Listed],
    others: int,
    unsubscribe: str,
    delivery: UUID,
    now: datetime,
) -> EmailMessage:
    """Return the mail about events, newest first, and a count of others that it does not list.

    `name` and `page` are the subscription's. `unsubscribe` is the address to do so. `delivery` is
    the first of its deliveries, from which the Message-ID is made: a mail that is handed over twice
    has the same.
    """
    count = len(listed) + others
    shown_name = name_of(name)
    title = listed[0].headline if count == 1 else f"{count} events for {shown_name}"
    heading = f"New for {shown_name}" if count == 1 else title
    lines = [heading, ""]
    items = []
    for each in listed:
        link = each.link or each.why
        lines += [f"- {each.headline}", f"  {sender.shown(each.received)}  {link}".rstrip(), ""]
        items.append(
            f"<li><bdi>{_linked(each.headline, link)}</bdi><br>"
            f'<span class="small">{escape(sender.shown(each.received))}'
            + (f' &middot; <a href="{escape(each.why)}">Why this came</a>' if each.why else "")
            + "</span></li>"
        )
    if others:
        lines += [f"... and {others} more: {page}".rstrip(": "), ""]
        items.append(f"<li>&hellip; and {_linked(f'{others} more', page)}</li>")
    lines += [
        f"Sent by the subscription {shown_name}: {page}".rstrip(": "),
        *([f"Why this came: {listed[0].why}"] if count == 1 and listed[0].why else []),
        f"No more mails of this kind: {unsubscribe}",
    ]
    foot = (
        f"Sent by the subscription <bdi>{_linked(shown_name, page)}</bdi>. "
        f'<a href="{escape(unsubscribe)}">Unsubscribe</a>'
    )
    message = _message(sender, to, title, now, f"{delivery}.{count}")
    message["List-Unsubscribe"] = f"<{unsubscribe}>"
    message["List-Unsubscribe-Post"] = "List-Unsubscribe=One-Click"
    return _with_content(message, lines, heading, f"<ul>{''.join(items)}</ul>", foot)


def confirmation(
    sender: Sender, to: str, user: str, link: str, unique: str, now: datetime
) -> EmailMessage:
    """Return the first mail, which asks an address whether it wants the mails of a user."""
    shown = name_of(user)
    title = "Do you want mails about new data?"
    text = (
        f"The user {shown} of {sender.base_url} wants to have mails about new data sent to this "
        "address."
    )
    ask = "To agree, open this page and press the button on it:"
    else_ = (
        "If you do not know what this is about, do nothing: no other mail comes. The same page has "
        "a button for that nobody asks you again."
    )
    lines = [title, "", text, "", ask, link, "", else_]
    body = (
        f"<p>{escape(text)}</p>"
        f'<p><a class="button" href="{escape(link)}">Look at the request</a></p>'
        f"<p>{escape(else_)}</p>"
    )
    message = _message(sender, to, title, now, unique)
    return _with_content(message, lines, title, body, "")


def notice_mail(
    sender: Sender,
    to: str,
    notice: Notice,
    name: str,
    page: str,
    error: str,
    unique: str,
    now: datetime,
) -> EmailMessage:
    """Return the mail that tells an owner what became of a subscription."""
    subject, text = _SAID[notice]
    title = subject.format(name=name_of(name))
    problem = single_line(error)[:_MAX_ERROR]
    off = "Such mails can be turned off for each subscription: tell_owner, at its delivery format."
    lines = [title, "", text, "", *([f"Error: {problem}", ""] if problem else []), page, "", off]
    body = f"<p>{escape(text)}</p>" + (
        f"<p>Error: <bdi>{escape(problem)}</bdi></p>" if problem else ""
    )
    body += f'<p><a class="button" href="{escape(page)}">Look at it</a></p>' if page else ""
    message = _message(sender, to, title, now, unique)
    return _with_content(message, lines, title, body, escape(off))


def _message(sender: Sender, to: str, subject: str, now: datetime, unique: str) -> EmailMessage:
    message = EmailMessage(policy=SMTP)
    message["From"] = sender.address
    message["To"] = to
    # The email package decodes what looks like an encoded word (RFC 2047), with its line breaks.
    message["Subject"] = single_line(subject).replace("=?", "= ?")[:_MAX_SUBJECT]
    message["Date"] = format_datetime(now.replace(tzinfo=UTC))
    message["Message-ID"] = f"<{unique}@{sender.domain}>"
    # So that no program answers, and answers start no loop (RFC 3834).
    message["Auto-Submitted"] = "auto-generated"
    return message


def _with_content(
    message: EmailMessage, lines: Sequence[str], title: str, body: str, foot: str
) -> EmailMessage:
    message.set_content("\n".join(lines) + "\n")
    message.add_alternative(
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head><body><main>"
        f'<h1><bdi>{escape(title)}</bdi></h1>{body}<p class="small">{foot}</p>'
        "</main></body></html>\n",
        subtype="html",
    )
    return message


def _linked(text: str, link: str) -> str:
    return f'<a href="{escape(link)}">{escape(text)}</a>' if link else escape(text)
