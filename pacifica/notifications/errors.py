"""The errors of this package: one class for each thing a caller would do differently."""


class NotificationsError(Exception):
    """Base of every error that this package raises on purpose."""


class ConfigError(NotificationsError):
    """A configuration file or value that cannot be used; the message is one line."""


class InvalidInput(NotificationsError):
    """Input that breaks rules: `problems` are pairs of the field's name and what is wrong there."""

    def __init__(self, *problems: tuple[str, str]) -> None:
        super().__init__("; ".join(f"{field}: {reason}" for field, reason in problems))
        self.problems = problems


class BatchTooLong(NotificationsError):
    """A batch of more than `most` events."""

    def __init__(self, most: int) -> None:
        super().__init__(f"a batch must not have more than {most} events")
        self.most = most


class ExpressionError(NotificationsError):
    """A JSONPath that cannot be parsed, or that raised on an event."""


class BudgetExceeded(ExpressionError):
    """A JSONPath that needed more steps on one event than its work budget allows."""


class StoreUnavailable(NotificationsError):
    """The database could not be reached or did not answer; trying later may work."""


class TooLarge(NotificationsError):
    """What is to be stored is larger than the database takes: `most` bytes in one statement."""

    def __init__(self, most: int) -> None:
        super().__init__(f"the database takes no statement of {most} bytes or more")
        self.most = most


class TooMany(NotificationsError):
    """A user has as many subscriptions as one may have: `most`."""

    def __init__(self, most: int) -> None:
        super().__init__(f"you have as many subscriptions as one user may have: {most}")
        self.most = most


class SchemaMismatch(NotificationsError):
    """The database's schema is not one that this code can work on; the message is one line."""
