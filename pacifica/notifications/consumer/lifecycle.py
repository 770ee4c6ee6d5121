"""Starts a consumer step by step, and undoes each step at the end.

`started` is a context manager. However and whenever it ends, the steps are undone in reverse order.
If a command was killed, the next start finds its steps in the note and undoes them.
"""

import hashlib
import os
import secrets
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from uuid import UUID, uuid4

from pacifica.notifications import parent_watch
from pacifica.notifications.broker.nudges import Nudger
from pacifica.notifications.children import Child
from pacifica.notifications.consumer import endpoint, queue
from pacifica.notifications.consumer.archive import ArchiveLimits, Extracted
from pacifica.notifications.consumer.environment import Environment, equipped, extracted, step
from pacifica.notifications.consumer.fetching import Fetching
from pacifica.notifications.consumer.intake import Intake
from pacifica.notifications.consumer.jobs import EntryPoint
from pacifica.notifications.consumer.ledger import Mode
from pacifica.notifications.consumer.policy import lacks_user
from pacifica.notifications.consumer.processes import GRACE, MARK, end_marked
from pacifica.notifications.consumer.producer import Producer
from pacifica.notifications.consumer.subscription import NOTED, Subscription, Terms
from pacifica.notifications.consumer.workfolder import WorkFolder, write_durably
from pacifica.notifications.errors import ConsumerError

_TOKEN_BYTES = 32
# The target URL of a subscription from which notifications are fetched.
_PULL_URL = "pull:"
# Seconds between two checks for waiting runs, and for ended runs.
_CHECK_INTERVAL = 2.0
_POLL = 0.2
# Seconds for the worker to start, and for the last messages to be sent.
_WORKER_TIMEOUT = 60.0
_NUDGE_TIMEOUT = 5.0


@dataclass(frozen=True)
class Options:
    """The options of a consumer; times in seconds, sizes in bytes.

    `seconds` is how long one run may take. `grace` is how long runs may continue at the end. With
    `pull`, notifications are fetched, and there is no endpoint.
    """

    archive: Path
    work: Path
    producer: Producer
    pull: bool
    host: str
    port: int
    public_url: str
    broker: str
    concurrency: int
    seconds: float
    grace: float
    start_seconds: float
    log_bytes: int
    max_bytes: int
    max_waiting: int
    attempts: int
    kept: int
    limits: ArchiveLimits
    variables: dict[str, str] = field(repr=False)

    def lacks_user(self) -> bool:
        """Tell whether Policy says that it does not know the user who subscribes."""
        authorization = self.variables.get("PACIFICA_AUTHORIZATION")
        return lacks_user(self.variables["PACIFICA_POLICY_URL"], self.producer.user, authorization)


@contextmanager
def started(options: Options, say: Callable[[str], None]) -> Iterator["Consumer"]:
    """Run a consumer during the block; raise ConsumerError if a step fails."""
    work = WorkFolder(options.work)
    with work.locked(), ExitStack() as undo:
        consumer = Consumer(options, work, say, undo)
        consumer.clean_up()
        consumer.start()
        yield consumer


def remove(options: Options, say: Callable[[str], None]) -> None:
    """Clean up after a killed command and delete its subscription; raise ConsumerError."""
    work = WorkFolder(options.work)
    with work.locked():
        Consumer(options, work, say, ExitStack()).remove()


class Consumer:
    """The steps of a start; each step registers its reversal with `undo`."""

    def __init__(
        self, options: Options, work: WorkFolder, say: Callable[[str], None], undo: ExitStack
    ) -> None:
        self._options = options
        self._work = work
        self._say = say
        self._undo = undo
        self._worker: Child | None = None
        self._subscription = Subscription(work, options.producer, say, options.lacks_user)
        self._nudger = Nudger(
            _nudge,
            batch=options.concurrency,
            gather=0.0,
            max_waiting=options.max_waiting,
        )

    def clean_up(self) -> None:
        """Remove a killed command's processes, archive and environment; find its subscription."""
        self._work.ledger.prepare()
        self._subscription.find_left()
        left = self._work.noted()
        if "queue" not in left:
            return
        self._say("cleaning up after a command that did not end by itself")
        # A worker that still runs must not record the runs that are ended here as failed.
        self._work.ledger.switch(Mode.ENDING)
        end_marked(queue.FOLDER, str(self._work.path))
        for run in self._work.ledger.running():
            self._work.ledger.give_back(run.uuid)
        self._remove_unanswered()
        self._remove_queue(left.get("broker", ""), left.get("queue", ""))
        self._work.remove_program()
        self._work.status_token.unlink(missing_ok=True)
        self._forget()

    def remove(self) -> None:
        """Do as `clean_up`, and delete the subscription that a command left."""
        self.clean_up()
        self._subscription.remove()

    def start(self) -> None:
        """Take the steps in order; raise ConsumerError, which names a failed step."""
        work, options = self._work, self._options
        work.note(queue=f"consumer-{uuid4()}", broker=options.broker)
        self._undo.callback(self._forget)
        program = self._undo.enter_context(
            extracted(options.archive, work.archive, options.limits, self._say)
        )
        digest = _digest(options.archive)
        made = self._undo.enter_context(
            equipped(
                program,
                work.environment,
                work.wheels,
                options.start_seconds,
                work.log,
                self._say,
            )
        )
        entry = self._entry(program, made)
        with step(self._say, "start the job queue"):
            work.note(entry=asdict(entry))
            self._start_queue()
        self._undo.callback(self._nudger.close, _NUDGE_TIMEOUT)
        intake = Intake(work, options.max_waiting, self._nudger.nudge)
        terms = Terms(options.archive.name, digest, program.jsonpath, options.public_url)
        if options.pull:
            self._start_fetching(replace(terms, target_url=_PULL_URL), intake)
        else:
            self._start_endpoint(terms, intake)

    def _start_endpoint(self, terms: Terms, intake: Intake) -> None:
        """Have notifications sent to an endpoint, until the consumer ends."""
        work, options = self._work, self._options
        token = secrets.token_urlsafe(_TOKEN_BYTES)
        with step(self._say, "start the endpoint"):
            tokens = endpoint.Tokens(token, self._status_token())
            self._undo.callback(endpoint.stop)
            served = endpoint.Endpoint(
                work, tokens, options.max_bytes, intake, self._subscription.shown
            )
            endpoint.start(served, options.host, options.port)
        with step(self._say, "subscribe"):
            self._undo.callback(self._unsubscribe)
            self._subscription.begin(terms, token)
        self._say(f"GET / shows the runs to who has the bearer token in {work.status_token}")
        self._say(f"ready: notifications are taken at {options.public_url}")

    def _start_fetching(self, terms: Terms, intake: Intake) -> None:
        """Fetch notifications; the subscription stays when the consumer ends."""
        with step(self._say, "subscribe"):
            uuid = self._subscription.begin(terms, None)
            self._undo.callback(self._subscription.leave)
        fetching = Fetching(self._options.producer, uuid, intake, self._say)
        self._undo.callback(fetching.close)
        fetching.start()
        self._say(f"ready: notifications are fetched from {self._options.producer.shown_url}")

    def watch(self, stopped: Callable[[float], bool]) -> None:
        """Nudge the worker about waiting runs until `stopped` returns True.

        `stopped` waits for a number of seconds. Raises ConsumerError if the job queue ends by
        itself.
        """
        while not stopped(_CHECK_INTERVAL):
            if self._worker is None or self._worker.has_ended():
                raise ConsumerError("the job queue ended unexpectedly")
            counts = self._work.ledger.counts()
            free = self._options.concurrency - counts["running"]
            for _ in range(min(counts["waiting"], free)):
                queue.nudge()

    def _remove_unanswered(self) -> None:
        """Remove notifications that were not acknowledged; keep those that have run."""
        for path in self._work.runs.iterdir():
            with suppress(ValueError):
                uuid = UUID(path.name)
                folder = self._work.run(uuid)
                if not self._work.ledger.is_known(uuid) and not folder.log.exists():
                    folder.remove()

    def _status_token(self) -> str:
        """Return a new token for seeing the runs, and store it in a private file."""
        token = secrets.token_urlsafe(_TOKEN_BYTES)
        self._undo.callback(self._work.status_token.unlink, missing_ok=True)
        write_durably(self._work.status_token, token.encode())
        return token

    def _entry(self, program: Extracted, made: Environment) -> EntryPoint:
        options = self._options
        return EntryPoint(
            python=str(made.python),
            folder=str(program.folder),
            jsonpath=program.jsonpath,
            seconds=options.seconds,
            grace=GRACE,
            log_bytes=options.log_bytes,
            attempts=options.attempts,
            kept=options.kept,
            variables={**made.variables(), **options.variables},
        )

    def _start_queue(self) -> None:
        os.environ[queue.FOLDER] = str(self._work.path)
        quiet = "--without-gossip --without-mingle --without-heartbeat"
        # RabbitMQ lets in one worker of a name, and there may be others on this machine.
        name = f"{self._work.noted()['queue']}@%h"
        app = f"celery -A {queue.__name__} worker --hostname {name} --loglevel INFO"
        pool = f"--pool threads --concurrency {self._options.concurrency}"
        command = [sys.executable, "-m", parent_watch.__name__, *f"{app} {quiet} {pool}".split()]
        self._undo.callback(self._stop_queue)
        self._work.ledger.switch(Mode.OPEN)
        self._worker = worker = Child("worker", command, self._say, ready=" ready.")
        deadline = time.monotonic() + _WORKER_TIMEOUT
        while not worker.ready.wait(_POLL):
            if worker.has_ended() or time.monotonic() > deadline:
                raise ConsumerError("its worker did not start")

    def _stop_queue(self) -> None:
        """Let runs finish for `grace` seconds, end the others, and end the worker.

        Runs that were ended wait for the next start in this work folder.
        """
        ledger = self._work.ledger
        ledger.switch(Mode.CLOSING)
        running = ledger.counts()["running"]
        if running:
            self._say(f"{running} runs have {self._options.grace:g} s to end")
        self._await_no_run(self._options.grace)
        ledger.switch(Mode.ENDING)
        for run in ledger.running():
            if run.mark is not None:
                end_marked(MARK, run.mark)
        self._await_no_run(GRACE)
        if self._worker is not None:
            self._worker.tell_to_end()
            self._worker.end()
        self._remove_queue(self._options.broker, self._work.noted()["queue"])
        for run in ledger.running():
            ledger.give_back(run.uuid)

    def _remove_queue(self, broker: str, name: str) -> None:
        if broker:
            queue.remove(broker, name)
        shutil.rmtree(self._work.queue, ignore_errors=True)

    def _await_no_run(self, timeout: float) -> None:
        deadline = time.monotonic() + timeout
        while self._work.ledger.counts()["running"] and time.monotonic() < deadline:
            time.sleep(_POLL)

    def _unsubscribe(self) -> None:
        try:
            self._subscription.end()
        except ConsumerError as error:
            self._say(f"the subscription is left for the next start: {error}")

    def _forget(self) -> None:
        """Forget all but a subscription that is left for the next start."""
        self._work.forget(keep=NOTED)


def _digest(archive: Path) -> str:
    try:
        with archive.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ConsumerError(f"{archive} cannot be read: {error.strerror}") from error


def _nudge(waiting: Sequence[UUID]) -> None:
    # One message for each: it occupies one of the worker's threads while anything waits.
    for _ in waiting:
        queue.nudge()
