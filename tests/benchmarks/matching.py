"""How long it takes to find whom an event matches, and how that grows with the subscriptions.

`python -m tests.benchmarks.matching` measures the index of subscriptions alone, in this process: no
database and no broker. The event is an ingest as Pacifica Metadata sends it, with its 9 records or
with as many records of files as asked for. `--json FILE` writes the same figures for a plot.

Every time is the processor's. An event is matched again and again, with reading its JSON in turn.
"""

import argparse
import gc
import json
import os
import statistics
import sys
import time
import tracemalloc
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from random import Random
from typing import Any
from uuid import UUID

import jsonpath2

from pacifica.notifications.matching import Entry, SubscriptionIndex

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


@dataclass(frozen=True)
class Row:
    """One figure: milliseconds for an event, `loads` to read its JSON, `ratio` of the two."""

    what: str
    subscriptions: int
    records: int
    matched: int
    median: float
    least: float
    loads: float
    ratio: float


def main() -> int:
    """Measure everything and print one line for each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, metavar="FILE", help="where to write the figures")
    parser.add_argument("--repeat", type=int, default=15, help="times for a median (default: 15)")
    args = parser.parse_args()
    event = EVENT.read_text()
    say(f"Python {sys.version.split()[0]}, {os.cpu_count()} cores; times are the processor's in ms")
    baseline = jsonpath2_alone(json.loads(event))
    say(f"jsonpath2 itself, parsing and evaluating one of these expressions: {baseline:.3f}\n")
    rows = []
    say(
        f"{'':<16}{'subscriptions':>14}{'records':>9}{'matched':>9}{'median':>10}{'least':>10}"
        f"{'json.loads':>12}{'ratio':>8}"
    )
    for count in COUNTS:
        rows.append(measured("20 shapes", shaped(count), event, args.repeat))
    for records in RECORDS:
        large = with_files(event, records)
        rows += [measured("20 shapes", shaped(count), large, args.repeat) for count in COUNTS]
    for count in COUNTS[:2]:
        rows.append(measured("mixed others", others(OTHERS, count), event, args.repeat))
        for name, text in OTHERS.items():
            rows.append(measured(f"  {name}", others({name: text}, count), event, args.repeat))
        rows.append(measured("all different", others(ODD, count), event, args.repeat))
        rows.append(measured("one by one", others(ALONE, count), event, args.repeat))
    say()
    costs = [held("20 shapes", partial(shaped, count)) for count in COUNTS]
    costs.append(held("mixed others", partial(others, OTHERS, 10_000)))
    costs.append(held("all different", partial(others, ODD, 10_000)))
    if args.json:
        figures = {"baseline": baseline, "events": [asdict(row) for row in rows], "index": costs}
        args.json.write_text(json.dumps(figures, indent=1) + "\n")
    return 0


def say(line: str = "") -> None:
    """Print a line at once, also into a pipe."""
    print(line, flush=True)


def measured(what: str, jsonpaths: Iterator[str], text: str, repeat: int) -> Row:
    """Measure one event against an index of its own, and print the figures."""
    index = filled(jsonpaths)
    event = json.loads(text)
    matches = index.match(event)
    if matches.faults:
        raise SystemExit(f"{what}: {matches.faults[0]}")
    # In turn, so that what else the machine does falls on both.
    pairs = [
        (timed(lambda: index.match(event)), timed(lambda: json.loads(text))) for _ in range(repeat)
    ]
    times, loads = zip(*pairs, strict=True)
    row = Row(
        what,
        len(index),
        len(event["data"]),
        len(matches.matched),
        statistics.median(times),
        min(times),
        statistics.median(loads),
        statistics.median(time / load for time, load in pairs),
    )
    say(
        f"{row.what:<16}{row.subscriptions:>14,}{row.records:>9,}{row.matched:>9,}"
        f"{row.median:>10.3f}{row.least:>10.3f}{row.loads:>12.3f}{row.ratio:>8.2f}"
    )
    return row


def held(what: str, jsonpaths: Callable[[], Iterator[str]]) -> dict[str, Any]:
    """Measure what it takes to fill an index and to keep it, and print that."""
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
    entries = [
        Entry(UUID(int=number), text) for number, text in enumerate(islice(jsonpaths(), 500))
    ]
    change = 1000 * timed(lambda: turned_over(index, entries)) / len(entries)
    say(
        f"{what:<16}{len(index):>14,} subscriptions: {size:.0f} bytes each, loaded in"
        f" {seconds:.2f} s, one removed and put again in {change:.0f} µs"
    )
    return {
        "what": what,
        "subscriptions": len(index),
        "bytes": size,
        "seconds": seconds,
        "change": change,
    }


def turned_over(index: SubscriptionIndex, entries: Sequence[Entry]) -> None:
    for entry in entries:
        index.remove(entry.uuid)
        index.put(entry)


def filled(jsonpaths: Iterator[str]) -> SubscriptionIndex:
    index = SubscriptionIndex()
    random = Random(5)  # noqa: S311 - they only have to be as large as UUIDs are
    for number, jsonpath in enumerate(jsonpaths):
        uuid = UUID(int=number) if number < 1_000 else UUID(int=random.getrandbits(128))
        if fault := index.put(Entry(uuid, jsonpath)):
            raise SystemExit(f"{jsonpath}: {fault}")
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
