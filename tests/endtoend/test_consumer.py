"""The consumer's command: started, notified, stopped and killed, with a producer beside it."""

import json
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pacifica.notifications.consumer.producer import Producer
from pacifica.notifications.consumer.subscription import Subscription, Terms
from pacifica.notifications.consumer.workfolder import WorkFolder
from tests.support import archives, brokers
from tests.support.consuming import COMMAND, ENDS, Site, site
from tests.support.processes import Program, is_alive
from tests.support.servers import eventually

pytestmark = [
    pytest.mark.skipif(sys.platform == "win32", reason="the entry points here are told by signals"),
]

EXTRACT = "could not extract the archive: "
EVENT = {"eventID": "metadata.ingest.1", "eventType": "ingest", "data": [{"size": 3}]}
# Says what it was given, and leaves a file.
WORKS = """
import json, pathlib, sys
src, dst = map(pathlib.Path, sys.argv[1:])
event = json.loads((src / "notification.json").read_text())
print("notified of", event["eventID"], "with", pathlib.Path("carried.txt").read_text())
(dst / "uploads" / "made.txt").write_text(event["eventID"])
"""
# Tells that it runs, then waits until it is told to end well.
WAITS = """
import pathlib, sys, time
dst = pathlib.Path(sys.argv[2])
attempts = len(list(dst.glob("began*")))
(dst / f"began{attempts}").touch()
while not pathlib.Path(sys.argv[2], "go").exists():
    time.sleep(0.02)
"""


@pytest.fixture
def consumer(tmp_path: Path) -> Iterator[Site]:
    with site(tmp_path) as place:
        yield place


def zipped(main: str, jsonpath: str = '$[?(@["eventType"] = "ingest")]', **files: str) -> bytes:
    members = {"__main__.py": main, "jsonpath2.txt": jsonpath + "\n", "carried.txt": "this"}
    return archives.zipped(members | {name.replace("_", "."): files[name] for name in files})


def begun(run: dict[str, Any], attempt: int = 0) -> None:
    eventually(Path(run["dst"], f"began{attempt}").exists, ENDS)


# What a user sees


def test_consumer_runs_its_entry_point_on_what_it_is_notified_of(consumer: Site) -> None:
    with consumer.running(zipped(WORKS), "--public-url", "http://seen/") as program:
        subscription = consumer.subscription()
        assert subscription["jsonpath"] == '$[?(@["eventType"] = "ingest")]'
        assert subscription["target_url"] == "http://seen/"
        assert len(subscription["auth"]["header"]["credentials"]) >= 40
        run = consumer.ended(consumer.notify(EVENT))
        assert (run["state"], run["outcome"]) == ("done", "exit status 0")
        assert Path(run["output"]).read_text() == "notified of metadata.ingest.1 with this\n"
        assert json.loads(Path(run["src"], "notification.json").read_text()) == EVENT
        assert Path(run["dst"], "uploads", "made.txt").read_text() == EVENT["eventID"]
        program.signal(signal.SIGTERM)
        assert program.wait() == 0, program.output
    assert consumer.subscriptions.kept == {}
    assert consumer.left() == set()
    assert Path(run["dst"], "uploads", "made.txt").exists()


def test_steps_are_told_in_their_order(consumer: Site) -> None:
    with consumer.running(zipped(WORKS)) as program:
        steps = [line for line in program.lines if "worker" not in line]
    assert [step.removeprefix("consumer | ").partition(" at ")[0] for step in steps] == [
        "extract the archive",
        "create the environment",
        "start the job queue",
        "start the endpoint",
        "subscribe",
        f"GET / shows the runs to who has the bearer token in {consumer.work / 'status-token'}",
        "ready: notifications are taken",
    ]


def test_notification_that_does_not_match_is_not_run(consumer: Site) -> None:
    with consumer.running(zipped(WORKS)):
        run = consumer.ended(consumer.notify({"eventType": "orm"}))
        assert run["state"] == "unmatched"
        assert not Path(run["src"]).exists()


@pytest.mark.parametrize(
    ("main", "outcome"),
    [
        (archives.FAILS, "exit status 3"),
        ("1 / 0", "exit status 1"),
        (archives.IS_KILLED, "killed by SIGKILL"),
        (archives.HANGS, "took more than 1 s"),
        (archives.STUBBORN, "took more than 1 s"),
    ],
    ids=["fails", "raises", "is killed", "hangs", "hangs and will not end"],
)
def test_run_that_fails_is_shown_with_its_reason_and_the_next_one_runs(
    consumer: Site, main: str, outcome: str
) -> None:
    once = "import pathlib\nif pathlib.Path('ok').exists(): raise SystemExit\n"
    once += "pathlib.Path('ok').touch()\n"
    with consumer.running(zipped(once + main), "--time-limit", "1"):
        run = consumer.ended(consumer.notify(EVENT))
        assert (run["state"], run["outcome"]) == ("failed", outcome)
        assert Path(run["src"]).exists()
        assert consumer.ended(consumer.notify(EVENT))["state"] == "done"


def test_output_past_the_bound_is_dropped_and_the_run_goes_on(consumer: Site) -> None:
    with consumer.running(zipped(archives.FLOODS), "--output", "1"):
        run = consumer.ended(consumer.notify(EVENT))
    assert run["state"] == "done"
    assert 2**20 <= Path(run["output"]).stat().st_size < 2**20 + 1000


def test_what_a_run_leaves_behind_is_ended_with_it(consumer: Site) -> None:
    with consumer.running(zipped(archives.LEAVES_CHILDREN)):
        run = consumer.ended(consumer.notify(EVENT))
        assert run["state"] == "done"
        child = int(Path(run["output"]).read_text())
        eventually(lambda: not is_alive(child))


def test_slow_runs_block_neither_the_endpoint_nor_each_other(consumer: Site) -> None:
    with consumer.running(zipped(WAITS), "--concurrency", "3"):
        uuids = [consumer.notify(EVENT) for _ in range(4)]
        runs = [consumer.wait_until(uuid, "running") for uuid in uuids[:3]]
        for run in runs:
            begun(run)
        assert consumer.run(uuids[3])["state"] == "waiting"
        assert len({run["dst"] for run in runs}) == 3
        Path(runs[1]["dst"], "go").touch()
        begun(consumer.wait_until(uuids[3], "running"))
        for uuid in (uuids[0], uuids[2], uuids[3]):
            Path(consumer.run(uuid)["dst"], "go").touch()
        assert [consumer.ended(uuid)["state"] for uuid in uuids] == ["done"] * 4


@pytest.mark.parametrize("broker", ["redis", "amqp"])
def test_consumer_works_on_a_broker_with_a_server(
    consumer: Site, tmp_path: Path, broker: str
) -> None:
    with (
        brokers.unused(broker, tmp_path) as url,
        consumer.running(zipped(WORKS), "--broker", url) as program,
    ):
        assert consumer.ended(consumer.notify(EVENT))["state"] == "done"
        program.signal(signal.SIGTERM)
        assert program.wait() == 0, program.output


# Starts that fail


@pytest.mark.parametrize(
    ("archive", "options", "line"),
    [
        (b"no zip", (), f"{EXTRACT}{{archive}} is not a zip archive"),
        (archives.without("__main__.py"), (), f"{EXTRACT}it has no __main__.py"),
        (archives.without("jsonpath2.txt"), (), f"{EXTRACT}it has no jsonpath2.txt"),
        (archives.with_jsonpath(b"$["), (), f"{EXTRACT}jsonpath2.txt: "),
        (archives.with_member("../outside"), (), f"{EXTRACT}'../outside' has '..' in its path"),
        (archives.with_link(), (), EXTRACT),
        (zipped("x" * 2_000_000), ("--archive-size", "1"), EXTRACT),
        (archives.good(), ("--archive-members", "1"), EXTRACT),
        (
            zipped(WORKS, init_sh="echo broken; exit 3"),
            (),
            "could not prepare the environment: init.sh: exit status 3: broken",
        ),
        (
            zipped(WORKS, requirements_txt="no-such-distribution-anywhere==1"),
            (),
            "could not install the requirements: ",
        ),
        (zipped(WORKS), ("--address", "192.0.2.1"), "could not start the endpoint: cannot listen"),
        (
            zipped(WORKS),
            ("--producer", "http://127.0.0.1:9"),
            "could not subscribe: no answer from http://127.0.0.1:9 (ConnectionError)",
        ),
    ],
    ids=[
        *("no zip", "no entry point", "no JSONPath", "bad JSONPath", "unsafe name", "link"),
        *("too large", "too many", "init.sh", "requirements", "address", "producer"),
    ],
)
def test_start_that_fails_says_why_in_one_line_and_leaves_nothing(
    consumer: Site, archive: bytes, options: tuple[str, ...], line: str
) -> None:
    said = consumer.failure(archive, *options)
    assert said.startswith(line.format(archive=consumer.folder / "consumer.zip"))
    assert consumer.left() == set()
    assert consumer.subscriptions.kept == {}


def test_start_that_is_stopped_in_its_middle_leaves_nothing(consumer: Site) -> None:
    archive = zipped(WORKS, init_sh="touch begun; sleep 60")
    with Program(consumer.command(archive), {}, consumer.folder) as program:
        eventually((consumer.work / "archive" / "begun").exists, ENDS)
        program.signal(signal.SIGINT)
        assert program.wait() == 0, program.output
    assert consumer.left() == set()


def test_second_command_in_the_same_folder_is_refused(consumer: Site) -> None:
    with consumer.running(zipped(WORKS)):
        for options in ((), ("--remove",)):
            said = consumer.failure(zipped(WORKS), *options)
            assert said.startswith("another consumer is running in ")
        assert consumer.ended(consumer.notify(EVENT))["state"] == "done"


def test_secrets_of_the_environment_reach_the_entry_point_and_no_list_of_processes(
    consumer: Site,
) -> None:
    main = (
        "import contextlib, os, pathlib, sys\n"
        "print(os.environ['PACIFICA_AUTHORIZATION'], os.environ['PACIFICA_USER'])\n"
        "print([name for name in os.environ if name.endswith('_TOKEN')])\n"
        "for each in pathlib.Path('/proc').glob('[0-9]*/environ'):\n"
        "    with contextlib.suppress(OSError):\n"
        "        if b'open-sesame' in each.read_bytes(): sys.exit(str(each))\n"
        "for each in pathlib.Path(sys.argv[1]).parents[2].glob('*'):\n"
        "    if each.is_file() and b'open-sesame' in each.read_bytes(): sys.exit(str(each))\n"
        "print('hidden')\n"
    )
    secrets = {"PRODUCER_TOKEN": "open-sesame", "PACIFICA_TOKEN": "data-sesame"}
    with consumer.running(zipped(main), environment=secrets) as program:
        run = consumer.ended(consumer.notify(EVENT))
        assert Path(run["output"]).read_text() == "Bearer data-sesame alice\n[]\nhidden\n"
        (created, *_) = consumer.producer.requests
        assert created.headers["Authorization"] == "Bearer open-sesame"
        assert "sesame" not in program.output
        for each in Path("/proc").glob("[0-9]*/cmdline"):
            if os.path.exists(each):  # noqa: PTH110 it may end at any moment
                assert b"data-sesame" not in _read(each)


# Ends that are sudden


def test_runs_have_their_grace_at_the_end_and_what_is_left_runs_at_the_next_start(
    consumer: Site,
) -> None:
    with consumer.running(zipped(WAITS), "--concurrency", "2", "--grace", "2") as program:
        ending, hanging, waiting = (consumer.notify(EVENT) for _ in range(3))
        runs = [consumer.wait_until(uuid, "running") for uuid in (ending, hanging)]
        for run in runs:
            begun(run)
        program.signal(signal.SIGTERM)
        program.wait_for_line("2 runs have 2 s to end")
        Path(runs[0]["dst"], "go").touch()
        assert program.wait() == 0, program.output
    assert consumer.left() == set()
    with consumer.running(zipped(WAITS)):
        assert consumer.run(ending)["state"] == "done"
        begun(consumer.wait_until(hanging, "running"), attempt=1)
        for uuid in (hanging, waiting):
            Path(consumer.run(uuid)["dst"], "go").touch()
            assert consumer.ended(uuid)["state"] == "done"


def test_everything_answered_is_run_after_a_kill_and_what_was_left_is_removed(
    consumer: Site,
) -> None:
    with consumer.running(zipped(WAITS)) as program:
        running, waiting = consumer.notify(EVENT), consumer.notify(EVENT)
        begun(consumer.wait_until(running, "running"))
        program.signal(signal.SIGKILL)
        program.wait()
    (kept,) = consumer.subscriptions.kept.items()
    orphan = consumer.work / "runs" / "00000000-0000-0000-0000-000000000001"
    orphan.mkdir()
    with consumer.running(zipped(WAITS)) as program:
        program.wait_for_line("cleaning up after a command that did not end by itself")
        assert list(consumer.subscriptions.kept) == [kept[0]]
        assert not orphan.exists()
        begun(consumer.wait_until(running, "running"), attempt=1)
        for uuid in (running, waiting):
            Path(consumer.run(uuid)["dst"], "go").touch()
            run = consumer.ended(uuid)
            assert run["state"] == "done"
        assert consumer.run(running)["attempts"] == 2
        program.signal(signal.SIGTERM)
        assert program.wait() == 0, program.output
    assert consumer.left() == set()


def test_start_after_a_kill_goes_on_with_the_subscription_and_enables_it(consumer: Site) -> None:
    with consumer.running(zipped(WORKS)) as program:
        program.signal(signal.SIGKILL)
        program.wait()
    left = dict(consumer.subscription())
    consumer.subscription().update(disabled="2026-01-31T12:00:00", error="the target is away")
    consumer.failure(zipped(WORKS, init_sh="exit 3"))
    assert consumer.left() == {"note.json"}
    with consumer.running(zipped(WORKS), "--public-url", "http://new/") as program:
        program.wait_for_line("the last command's subscription goes on, with what was held for it")
        assert "cleaning up" not in program.output
        renewed = consumer.subscription()
        assert (renewed["uuid"], renewed["name"]) == (left["uuid"], left["name"])
        assert (renewed["disabled"], renewed["error"]) == (None, None)
        assert renewed["target_url"] == "http://new/"
        assert renewed["auth"] != left["auth"]
        shown = consumer.shown()["subscription"]
        assert shown == {"id": left["uuid"], "state": "enabled", "error": None}
        run = consumer.ended(consumer.notify(EVENT))
        assert (run["state"], run["event"]["id"]) == ("done", EVENT["eventID"])
        program.signal(signal.SIGTERM)
        assert program.wait() == 0, program.output
    assert consumer.subscriptions.kept == {}
    assert consumer.left() == set()


def test_remove_deletes_the_subscription_of_a_killed_command_and_ends(consumer: Site) -> None:
    work = WorkFolder(consumer.work)
    with work.locked():
        work.note(queue="q", broker="", entry={})
        left = Subscription(work, Producer(consumer.producer.url, "alice"), print)
        left.begin(Terms("consumer.zip", "digest", "$", "http://me/"), "token")
    assert len(consumer.subscriptions.kept) == 1
    for said in (
        "the subscription is deleted: what the producer holds for it is given up",
        "there is no subscription to delete",
    ):
        with Program(consumer.command(b"", "--remove"), {}, consumer.folder) as program:
            assert program.wait() == 0, program.output
            assert program.lines[-1] == f"consumer | {said}"
        assert consumer.subscriptions.kept == {}
        assert consumer.left() == set()


def test_mistake_in_the_options_is_one_line(tmp_path: Path) -> None:
    with Program([COMMAND, "consumer.zip", "--producer", "http://p"], {}, tmp_path) as program:
        assert program.wait() == 2
        assert program.lines == [
            "start-pacifica-notifications-consumer: the following arguments are required: --user"
        ]


def test_run_that_kills_the_command_again_and_again_is_given_up(consumer: Site) -> None:
    uuid = ""
    for attempt in range(2):
        with consumer.running(zipped(WAITS), "--attempts", "2") as program:
            uuid = uuid or consumer.notify(EVENT)
            begun(consumer.wait_until(uuid, "running"), attempt)
            program.signal(signal.SIGKILL)
            program.wait()
    with consumer.running(zipped(WAITS), "--attempts", "2"):
        run = consumer.ended(uuid)
        assert (run["state"], run["outcome"]) == ("failed", "was interrupted 2 times")


def test_start_waits_for_nobody_when_the_old_subscription_cannot_be_ended(consumer: Site) -> None:
    with consumer.running(zipped(WORKS)) as program:
        program.signal(signal.SIGKILL)
        program.wait()
    consumer.producer.answer = lambda _: (503, {}, b"later")
    line = consumer.failure(zipped(WORKS))
    assert line.startswith("the last command's subscription is left: ")
    consumer.producer.answer = consumer.subscriptions.answer
    with consumer.running(zipped(WORKS)):
        assert len(consumer.subscriptions.kept) == 1


def test_worker_that_is_killed_ends_the_command_which_undoes_its_start(consumer: Site) -> None:
    with consumer.running(zipped(WORKS)) as program:
        worker = next(
            int(each.parent.name)
            for each in Path("/proc").glob("[0-9]*/cmdline")
            if b"pacifica.notifications.consumer.queue" in _read(each)
            and f"PACIFICA_CONSUMER_FOLDER={consumer.work}".encode()
            in _read(each.parent / "environ")
        )
        os.kill(worker, signal.SIGKILL)
        assert program.wait() == 1
        assert program.lines[-1] == "the job queue ended unexpectedly"
    assert consumer.left() == set()
    assert consumer.subscriptions.kept == {}


def test_help_names_every_option_with_its_default() -> None:
    with Program([COMMAND, "--help"], {}, Path.cwd()) as program:
        assert program.wait() == 0
    for option in ("--producer", "--public-url", "--time-limit", "--concurrency", "--work"):
        assert option in program.output


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:  # it has ended
        return b""
