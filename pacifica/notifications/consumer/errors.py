"""What goes wrong with a consumer."""

from pacifica.notifications.errors import NotificationsError


class ConsumerError(NotificationsError):
    """A consumer that cannot be started, or a step of it that failed; the message is one line."""
