"""A consumer's subscription: made, taken up again after a kill, watched and ended.

The note in the work folder says what a command has subscribed, so that the next one finds it.
"""

import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

from pacifica.notifications.consumer.producer import Producer, Subscribed
from pacifica.notifications.consumer.workfolder import WorkFolder
from pacifica.notifications.errors import ConsumerError

#: The facts of the note by which the next command finds a subscription.
NOTED = {"subscribed", "producer", "archive", "uuid"}
# Seconds between two looks at a subscription, and at most after looks that failed.
_INTERVAL = 10.0
_MAX_INTERVAL = 300.0
_GIVEN_UP = "what the producer holds for it is given up"


@dataclass(frozen=True)
class Terms:
    """What a subscription is made of; `digest` is the SHA-256 of the archive in `archive`."""

    archive: str
    digest: str
    jsonpath: str
    target_url: str


class Subscription:
    """The subscription of one work folder at its producer.

    `lacks_user` tells whether Policy does not know the user.
    """

    def __init__(
        self,
        work: WorkFolder,
        producer: Producer,
        say: Callable[[str], None],
        lacks_user: Callable[[], bool] = lambda: False,
    ) -> None:
        self._work = work
        self._producer = producer
        self._say = say
        self._lacks_user = lacks_user
        self._left: Subscribed | None = None
        self._watch: SubscriptionWatch | None = None

    def find_left(self) -> None:
        """Look for what an earlier command left with its producer; raise ConsumerError."""
        noted = self._work.noted()
        if "subscribed" not in noted:
            return
        former = self._former(noted["producer"])
        try:
            if "uuid" in noted:
                self._left = former.read(UUID(noted["uuid"]))
            else:  # the command was killed before it noted the producer's response
                self._left = former.named(noted["subscribed"])
        except ConsumerError as error:
            raise ConsumerError(f"the last command's subscription is left: {error}") from error
        if self._left is None:
            self._say("the last command's subscription is gone, and with it what was held for it")

    def begin(self, terms: Terms, token: str | None) -> UUID:
        """Go on with the subscription that was left, or make a new one; return its id.

        Raises ConsumerError.
        """
        if self._left is not None:
            difference = self._difference(self._left, terms)
            if difference is None:
                self._producer.renew(self._left.uuid, terms.target_url, token)
                self._say("the last command's subscription goes on, with what was held for it")
                return self._begin_watch(self._left.uuid)
            self._delete_left()
            self._say(f"the last command's subscription had {difference}: {_GIVEN_UP}")
        return self._begin_watch(self._created(terms, token))

    def leave(self) -> None:
        """Leave the subscription to the next start, which goes on with it."""
        if self._watch is not None:
            self._watch.close()
            self._say("the subscription stays, and keeps what comes meanwhile; --remove deletes it")

    def end(self) -> None:
        """Delete the subscription; raise ConsumerError, then the note still has it."""
        if self._watch is not None:
            self._watch.close()
            self._producer.unsubscribe(self._watch.uuid)
            self._forget()

    def remove(self) -> None:
        """Delete the subscription that was left; raise ConsumerError."""
        if self._left is None:
            self._say("there is no subscription to delete")
        else:
            self._delete_left()
            self._say(f"the subscription is deleted: {_GIVEN_UP}")
        self._forget()

    def shown(self) -> dict[str, Any]:
        """Return the state of the subscription for those who may see the runs."""
        if self._watch is None:
            return {"id": None, "state": "none", "error": None}
        seen = self._watch.seen
        return {"id": str(self._watch.uuid), "state": seen.state, "error": seen.error}

    def _former(self, named: dict[str, str]) -> Producer:
        """Return the producer of the last command, whose authorization is not on disk."""
        current = self._producer
        authorization = current.authorization if named["url"] == current.url else None
        return Producer(**named, authorization=authorization)

    def _difference(self, left: Subscribed, terms: Terms) -> str | None:
        """Return what keeps a command from going on with a subscription that was left."""
        noted = self._work.noted()
        if noted["producer"]["url"] != self._producer.url:
            return "another producer"
        if noted["producer"]["user"] != self._producer.user:
            return "another user"
        if left.jsonpath != terms.jsonpath:
            return "another JSONPath"
        return None if noted.get("archive") == terms.digest else "another archive"

    def _delete_left(self) -> None:
        if self._left is not None:
            self._former(self._work.noted()["producer"]).unsubscribe(self._left.uuid)

    def _created(self, terms: Terms, token: str | None) -> UUID:
        producer = self._producer
        name = f"consumer {terms.archive} on {socket.gethostname()}, {uuid4()}"
        # Before the subscription is made: if this process is killed, the next start finds it.
        named = {"url": producer.url, "user": producer.user, "user_header": producer.user_header}
        self._work.note(subscribed=name, producer=named, archive=terms.digest, uuid=None)
        try:
            uuid = producer.subscribe(name, terms.jsonpath, terms.target_url, token)
        except ConsumerError:
            with suppress(ConsumerError):  # it may exist although the response was lost
                made = producer.named(name)
                if made is not None:
                    producer.unsubscribe(made.uuid)
            self._forget()
            raise
        self._work.note(uuid=str(uuid))
        return uuid

    def _begin_watch(self, uuid: UUID) -> UUID:
        self._watch = SubscriptionWatch(self._producer, uuid, self._say, self._lacks_user)
        self._watch.start()
        return uuid

    def _forget(self) -> None:
        self._work.note(**dict.fromkeys(NOTED))


@dataclass(frozen=True)
class Seen:
    """What was last seen of a subscription.

    It is enabled, disabled, missing, or unknown, or its user is unknown to Policy. `error` says why
    it is disabled, or why the producer could not be asked.
    """

    state: str
    error: str | None = None

    def line(self) -> str:
        """Describe it in one line."""
        match self.state:
            case "disabled" if self.error is None:
                return "the subscription was disabled by its owner: nothing is sent here"
            case "disabled":
                return f"the producer disabled the subscription: {self.error}"
            case "missing":
                return "the producer has no such subscription any more: nothing is sent here"
            case "unknown":
                return f"the state of the subscription is unknown: {self.error}"
            case "unknown user":
                return f"nothing will be sent here: {self.error}"
        return "the subscription is enabled"


class SubscriptionWatch:
    """A thread that looks at a subscription, and says in one line when its state changes.

    While looks fail, or Policy does not know the user, it waits longer each time.
    """

    def __init__(
        self,
        producer: Producer,
        uuid: UUID,
        say: Callable[[str], None],
        lacks_user: Callable[[], bool],
        interval: float = _INTERVAL,
    ) -> None:
        self.uuid = uuid
        self.seen = Seen("enabled")
        self._producer = producer
        self._say = say
        self._lacks_user = lacks_user
        self._is_user_known = False
        self._interval = interval
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def close(self) -> None:
        """Say nothing more; a look that is under way may still end."""
        self._closed.set()

    def _run(self) -> None:
        wait, next_wait = 0.0, self._interval
        while not self._closed.wait(wait):
            seen = self._look()
            if seen != self.seen and not self._closed.is_set():
                self.seen = seen
                self._say(seen.line())
            wait = next_wait
            is_open = seen.state in ("unknown", "unknown user")
            next_wait = min(2 * wait, _MAX_INTERVAL) if is_open else self._interval

    def _look(self) -> Seen:
        try:
            found = self._producer.read(self.uuid)
        except ConsumerError as error:
            return Seen("unknown", str(error))
        if found is None:
            return Seen("missing")
        if found.is_disabled:
            return Seen("disabled", found.error)
        self._is_user_known = self._is_user_known or not self._lacks_user()
        if not self._is_user_known:
            return Seen("unknown user", f"Policy does not know the user {self._producer.user}")
        return Seen("enabled")
