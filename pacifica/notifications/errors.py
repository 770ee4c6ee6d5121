"""The errors of this package: one class for each thing that a caller would do differently."""


class NotificationsError(Exception):
    """The base class of the errors that this package raises."""


class ConfigError(NotificationsError):
    """A configuration file or value cannot be used; the message is one line."""


class InvalidInput(NotificationsError):
    """Input is invalid; `problems` are pairs of a field's name and its problem."""

    def __init__(self, *problems: tuple[str, str]) -> None:
        super().__init__("; ".join(f"{field}: {reason}" for field, reason in problems))
        self.problems = problems


class TooManyValues(InvalidInput):
    """A JSON text has more than `max_values` values."""

    def __init__(self, max_values: int) -> None:
        super().__init__(("body", f"must not have more than {max_values} JSON values"))
        self.max_values = max_values


class EventUnsendable(NotificationsError):
    """An event cannot be converted to the format that a subscription requires."""


class BatchTooLong(NotificationsError):
    """A batch has more than `max_events` events."""

    def __init__(self, max_events: int) -> None:
        super().__init__(f"a batch must not have more than {max_events} events")
        self.max_events = max_events


class ExpressionError(NotificationsError):
    """A JSONPath cannot be parsed, or failed on an event."""


class BudgetExceeded(ExpressionError):
    """A JSONPath needed more steps on one event than its budget allows."""


class PolicyUnavailable(NotificationsError):
    """Policy gave no verdict; a later question may get one."""


class StoreUnavailable(NotificationsError):
    """The database cannot be reached or did not respond; a later attempt may succeed."""


class TooLarge(NotificationsError):
    """The database accepts only statements of less than `max_bytes` bytes."""

    def __init__(self, max_bytes: int) -> None:
        super().__init__(f"the database accepts only statements of less than {max_bytes} bytes")
        self.max_bytes = max_bytes


class TooManySubscriptions(NotificationsError):
    """A user already has `max_subscriptions` subscriptions, which is the limit."""

    def __init__(self, max_subscriptions: int) -> None:
        super().__init__(
            f"you have as many subscriptions as one user may have: {max_subscriptions}"
        )
        self.max_subscriptions = max_subscriptions


class JobConflict(NotificationsError):
    """A job cannot be started now; the message says what it waits for."""


class IdempotencyMismatch(NotificationsError):
    """An Idempotency-Key was used before for another request."""

    def __init__(self) -> None:
        super().__init__("this Idempotency-Key was used for another request")


class SchemaMismatch(NotificationsError):
    """The database has a schema that this code cannot use; the message is one line."""


class ConsumerError(NotificationsError):
    """A consumer cannot be started, or a step of it failed; the message is one line."""
