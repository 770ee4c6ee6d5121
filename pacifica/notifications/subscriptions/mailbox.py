"""The address of a `mailto:` URL."""

from pacifica.notifications.settings.mail import ADDRESS, MAX_ADDRESS


def mailbox(target_url: str) -> str:
    """Return the one address that a `mailto:` URL names, its domain in lower case.

    Empty for any other URL, also for one with a query, several addresses or escapes (RFC 6068).
    """
    scheme, _, address = target_url.partition(":")
    if scheme != "mailto" or len(address) > MAX_ADDRESS or not ADDRESS.fullmatch(address):
        return ""
    name, _, domain = address.rpartition("@")
    return f"{name}@{domain.lower()}"
