"""How long it takes to find whom an event matches, and how that grows with the subscriptions.

`python -m tests.benchmarks.matching` measures the index of subscriptions alone, in this process: no
database and no broker. The event is an ingest as Pacifica Metadata sends it, with its 9 records or
with more, of files. It is matched again and again, with reading its JSON in turn. A change is a
subscription that is removed and put again.
"""

import gc
import json
import sys
import time
import tracemalloc
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from random import Random
from typing import Any
from uuid import UUID

import jsonpath2

from pacifica.notifications.matching import SubscriptionIndex
from tests.benchmarks.report import Report, parser

EVENT = Path(__file__).parents[2] / "tests" / "captures" / "ingest.json"
INGEST = "org.pacifica.metadata.ingest"
MATCHING = 10
COUNTS = (1_000, 10_000, 100_000)
RECORDS = (100, 1_000, 10_000)

# Twenty shapes that people of a facility would use, as texts in which {} stands for a constant.
SHAPES = (
    '$[?(@["eventType"] = {})]',
    '$[?(@["source"] = {})]',
    '$[?(@["eventType"] = "org.pacifica.metadata.ingest" and @["source"] = {})]',
    '$["data"][*][?(@["destinationTable"] = "Transactions.project" and @["value"] = {})]',
    '$["data"][*][?(@["destinationTable"] = "Transactions.submitter" and @["value"] = {})]'
    '["value"]',
    '$[?(@["eventType"] = "org.pacifica.metadata.ingest")]["data"][*]'
    '[?(@["destinationTable"] = "Transactions.instrument" and @["value"] = {})]',
    '$["data"][*][?(@["key"] = {})]',
    '$["data"][*][?(@["key"] = "Tag" and @["value"] = {})]',
    '$["data"][*][?(@["destinationTable"] = "TransactionKeyValue" and @["key"] = {})]["value"]',
    '$["data"][*][?(@["destinationTable"] = "TransactionKeyValue" and @["key"] = "Tag"'
    ' and @["value"] = {})]',
    '$["data"][*][?(@["destinationTable"] = "FileKeyValue" and @["key"] = {})]["file_id"]',
    '$["data"][*][?(@["destinationTable"] = "Files" and @["mimetype"] = {})]',
    '$["data"][*][?(@["destinationTable"] = "Files" and @["mimetype"] = {})]["name"]',
    '$["data"][*][?(@["destinationTable"] = "Files" and @["name"] = {})]',
    '$["data"][*][?(@["destinationTable"] = "Files" and @["subdir"] = {})]',
    '$["data"][*][?(@["destinationTable"] = "Files" and @["subdir"] = {} and'
    ' @["mimetype"] = "text/plain")]',
    '$["data"][*][?(@["hashsum"] = {})]',
    '$["data"][*][?(@["hashtype"] = "sha1" and @["hashsum"] = {})]["_id"]',
    '$[?(@["eventType"] = "org.pacifica.metadata.ingest")]["data"][*][?(@["_id"] = {})]',
    '$[?(@["eventType"] = "org.pacifica.metadata.ingest" and @["data"][0]["value"] = {})]',
)
#: Constants with which the first ten of the shapes below match the ingest.
MATCHES = (
    (0, INGEST),
    (3, "1236é"),
    (4, 10),
    (5, 54),
    (6, "Taggy"),
    (7, "Namé"),
    (11, "text/plain"),
    (13, "foo.txt"),
    (14, "data/"),
    (16, "f1d2d2f924e986ac86fdf7b36c94bcdf32beec15"),
)
# What equality alone does not decide. {0}, {1} are numbers, {2} is one that no other has.
OTHERS = {
    "ranges": '$["data"][*][?(@["destinationTable"] = "Files" and @["size"] > {0}'
    ' and @["size"] < {2})]',
    "or": '$["data"][*][?(@["key"] = "Tag{2}" or @["value"] = {2})]["value"]',
    "..": '$..[?(@["size"] > {2})]["name"]',
    "or of ranges": '$..[?(@["size"] > {2} or @["value"] > {2})]',
    "!=": '$[?(@["eventType"] != "type {2}" and @["eventID"] = "ID {2}")]',
    "contains": '$["data"][*][?(@["name"][substring(-4)] = ".{2}")]',
}
# Compiled one by one and evaluated each time: nothing that an event lacks leaves them out.
ALONE = {
    "two paths": '$["data"][{2}:][?(@["size"] > $["data"][0]["value"])]',
    "two paths in ..": '$["data"][6:{2}]..[?(@["value"] = $["data"][0]["value"])]',
}
# As many expressions, of which no two differ in constants alone.
ODD = {
    "slice": '$["data"][{2}:][?(@["size"] > 100)]',
    "key": '$..["key {2}"]',
    "two paths": '$["data"][*][?(@["value"] = $["value {2}"])]',
    "key in a range": '$["data"][*][?(@["size {2}"] > 100 or @["key {2}"])]',
}


_COLUMNS = {
    "matched": "matched",
    "ms": "ms an event",
    "loads": "json.loads ms",
    "ratio": "of json.loads",
    "bytes": "bytes each",
    "seconds": "s to load",
    "change": "µs a change",
}


def main() -> int:
    """Measure everything and print one line for each."""
    args = parser(__doc__, repeat=15, compares=False).parse_args()
    event = EVENT.read_text()
    what = "An ingest event against so many subscriptions; times are the processor's, of one core"
    report = Report("matching", what, _COLUMNS, peers=False)

    def measured(what: str, jsonpaths: Iterator[str], text: str) -> None:
        report.row(*matching(what, jsonpaths, text, args.repeat))

    for count in COUNTS:
        measured("20 shapes", shaped(count), event)
    for records in RECORDS:
        large = with_files(event, records)
        for count in COUNTS:
            measured("20 shapes", shaped(count), large)
    for count in COUNTS[:2]:
        measured("mixed others", others(OTHERS, count), event)
        for name, text in OTHERS.items():
            measured(f"  {name}", others({name: text}, count), event)
        measured("all different", others(ODD, count), event)
        measured("one by one", others(ALONE, count), event)
    report.say()
    for count in COUNTS:
        report.row(*held("20 shapes", partial(shaped, count)))
    report.row(*held("mixed others", partial(others, OTHERS, 10_000)))
    report.row(*held("all different", partial(others, ODD, 10_000)))
    report.say()
    baseline = jsonpath2_alone(json.loads(event))
    report.note(f"jsonpath2 itself: {baseline:.3f} ms for parsing and evaluating one expression")
    report.finish(args)
    return 0


def matching(
    what: str, jsonpaths: Iterator[str], text: str, repeat: int
) -> tuple[str, list[dict[str, float]]]:
    """Measure one event against an index of its own."""
    index = filled(jsonpaths)
    event = json.loads(text)
    result = index.match(event)
    if result.failures:
        raise SystemExit(f"{what}: {result.failures[0]}")
    runs = []
    for _ in range(repeat):  # in turn, so that what else the machine does falls on both
        took, loads = timed(lambda: index.match(event)), timed(lambda: json.loads(text))
        found = {"matched": float(len(result.matched))}
        runs.append(found | {"ms": took, "loads": loads, "ratio": took / loads})
    return f"{what}: {len(index):,}, {len(event['data']):,} records", runs


def held(what: str, jsonpaths: Callable[[], Iterator[str]]) -> tuple[str, list[dict[str, float]]]:
    """Measure what it takes to fill an index, to keep it, and to change a subscription."""
    # Texts and UUIDs are made in the measured span, for the index to keep or to drop.
    gc.collect()
    tracemalloc.start()
    index = filled(jsonpaths())
    gc.collect()
    size = tracemalloc.get_traced_memory()[0] / len(index)
    tracemalloc.stop()
    began = time.process_time()
    index = filled(jsonpaths())
    seconds = time.process_time() - began
    entries = [(UUID(int=number), text) for number, text in enumerate(islice(jsonpaths(), 500))]
    change = 1000 * timed(lambda: replace_all(index, entries)) / len(entries)
    label = f"index of {what}: {len(index):,}"
    return label, [{"bytes": size, "seconds": seconds, "change": change}]


def replace_all(index: SubscriptionIndex, entries: Sequence[tuple[UUID, str]]) -> None:
    """Remove each of these subscriptions, and add it again."""
    for uuid, jsonpath in entries:
        index.remove(uuid)
        index.upsert(uuid, jsonpath)


def filled(jsonpaths: Iterator[str]) -> SubscriptionIndex:
    index = SubscriptionIndex()
    random = Random(5)  # noqa: S311 - they only have to be as large as UUIDs are
    for number, jsonpath in enumerate(jsonpaths):
        uuid = UUID(int=number) if number < 1_000 else UUID(int=random.getrandbits(128))
        if failure := index.upsert(uuid, jsonpath):
            raise SystemExit(f"{jsonpath}: {failure}")
    return index


def timed(action: Callable[[], Any]) -> float:
    """Return how many milliseconds of the processor an action takes."""
    began = time.process_time()
    action()
    return 1000 * (time.process_time() - began)


def jsonpath2_alone(event: Any) -> float:
    """Return what one subscription cost the service that this one replaces, for each event."""
    texts = list(shaped(200))
    took = timed(lambda: [next(iter(jsonpath2.match(text, event)), None) for text in texts])
    return took / len(texts)


# Subscriptions


def shaped(count: int) -> Iterator[str]:
    """Yield JSONPaths of the twenty shapes, of which ten match the ingest, and no two are equal."""
    for number in range(count - MATCHING):
        constant = f"none {number}" if number % 3 else 1_000_000 + number
        yield SHAPES[number % len(SHAPES)].format(json.dumps(constant))
    for shape, value in MATCHES:
        yield SHAPES[shape].format(json.dumps(value, ensure_ascii=False))


def others(texts: dict[str, str], count: int) -> Iterator[str]:
    """Yield JSONPaths of these texts in turn, no two of them equal; most match nothing."""
    choices = list(texts.values())
    for number in range(count):
        yield choices[number % len(choices)].format(number % 1_000, number, 1_000 + number)


# Events


def with_files(text: str, records: int) -> str:
    """Return the ingest with this many records, all more than it has being files."""
    event = json.loads(text)
    file = next(each for each in event["data"] if each["destinationTable"] == "Files")
    types = ("image/tiff", "application/x-hdf", "text/csv")
    event["data"] += [
        file
        | {
            "_id": 30_000 + number,
            "name": f"run_{number:05}.dat",
            "subdir": f"scan/{number // 100}/",
            "mimetype": types[number % len(types)],
            "hashsum": f"{number:040x}",
            "size": 1_000_000 + number,
        }
        for number in range(records - len(event["data"]))
    ]
    return json.dumps(event)


if __name__ == "__main__":
    sys.exit(main())
