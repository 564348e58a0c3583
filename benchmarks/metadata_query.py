"""Metadata queries over a million keys with five fields.

    python -m benchmarks.metadata_query [--quick] [--json FILE]

Prints one line a figure: what was measured, the bar, and whether it is met. ``--quick`` uses 100,000 keys
and judges only whether the answers are right.
"""

from __future__ import annotations

import gc
import random
import sys
import time
import tracemalloc
from collections.abc import Callable
from typing import Any

import pyarrow as pa

from benchmarks.bars import Report, options_of
from memories.tiers.query import MetadataIndex

LOCATIONS = [f"city-{number:03}" for number in range(200)]
SOURCES = ["sentinel-1", "sentinel-2", "landsat-8", "modis", "drone"]


def metadata_of(number: int) -> dict[str, Any]:
    """Five fields: two of few texts, one of distinct texts, an int and a float."""
    mixed = number * 2_654_435_761 % 2**32
    return {
        "location": LOCATIONS[mixed % 200],
        "date": f"{2000 + mixed // 200 % 25}-{1 + mixed // 5000 % 12:02}-{1 + mixed // 60000 % 28:02}",
        "file": f"scene_{mixed:010}.tif",
        "size": mixed % 1_000_003,
        "cloud": mixed / 2**32,
    }


def milliseconds(call: Callable[[], Any], repeats: int = 9) -> float:
    """The median of several calls."""
    taken = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        taken.append(time.perf_counter() - start)
    return 1e3 * sorted(taken)[repeats // 2]


def run(key_count: int) -> dict[str, float]:
    """All figures, by name; times in milliseconds."""
    figures: dict[str, float] = {}
    tracemalloc.start()
    arrow_before = pa.total_allocated_bytes()
    index = MetadataIndex()
    for number in range(key_count):
        index.set(f"scene/{number:08}", metadata_of(number))
    two_fields = {"location": "city-042", "size": {"$lt": 500_000}}
    first = milliseconds(lambda: index.query(two_fields), 1)
    index.query({"file": {"$regex": "99.*7"}})
    gc.collect()
    taken = tracemalloc.get_traced_memory()[0] + pa.total_allocated_bytes() - arrow_before
    figures["bytes_per_key"] = taken / key_count
    tracemalloc.stop()

    figures["first_query_ms"] = first
    figures["keys_of_the_two_field_query"] = len(index.query(two_fields))
    figures["two_fields_unindexed_ms"] = milliseconds(lambda: index.query(two_fields))
    ranges = {"date": {"$gte": "2010-01-01", "$lt": "2010-03-01"}, "cloud": {"$lt": 0.5}}
    figures["keys_of_the_range_query"] = len(index.query(ranges))
    figures["ranges_unindexed_ms"] = milliseconds(lambda: index.query(ranges))
    patterns = [f"_{number}.*{number}7" for number in range(30, 39)] + [r"(\d)+9{4}\.tif$", "(a+)+$"]
    figures["slowest_regex_over_distinct_texts_ms"] = max(
        milliseconds(lambda p=pattern: index.query({"file": {"$regex": p}}, limit=10), 1)
        for pattern in patterns
    )

    index.create_index("location", "date", "file", "size", "cloud")
    figures["building_five_indexes_ms"] = milliseconds(
        lambda: [index.count({f: "x"}) for f in metadata_of(0)], 1
    )
    figures["two_fields_indexed_ms"] = milliseconds(lambda: index.query(two_fields))
    figures["ranges_indexed_ms"] = milliseconds(lambda: index.query(ranges))

    chosen = random.Random(0).choices(range(key_count), k=max(20_000, key_count // 10))
    changes = [(f"scene/{number:08}", metadata_of(number + key_count)) for number in chosen]
    start = time.perf_counter()
    for key, metadata in changes:
        index.set(key, metadata)
    figures["updates_per_s"] = len(changes) / (time.perf_counter() - start)
    figures["first_query_after_updates_ms"] = milliseconds(lambda: index.query(two_fields), 1)

    wrong = 0
    started = time.perf_counter()
    taken_by_updates = 0.0
    for number in range(2_000):
        key, value = f"scene/{number * 7 % key_count:08}", -1 - number
        start = time.perf_counter()
        index.set(key, metadata_of(number) | {"size": value})
        taken_by_updates += time.perf_counter() - start
        wrong += index.query({"size": value, "location": {"$exists": True}}) != [key]
    figures["wrong_answers_right_after_an_update"] = wrong
    figures["updates_per_s_between_queries"] = 2_000 / taken_by_updates
    figures["update_and_query_ms"] = 1e3 * (time.perf_counter() - started) / 2_000
    return figures


UNITS = {"_ms": "ms", "_per_s": "/s", "bytes_per_key": "B", "updates_per_s_between_queries": "/s"}
AT_MOST = {
    "bytes_per_key": 500,
    "two_fields_indexed_ms": 5,
    "two_fields_unindexed_ms": 25,
    "ranges_indexed_ms": 5,
    "ranges_unindexed_ms": 25,
    "slowest_regex_over_distinct_texts_ms": 250,
}
AT_LEAST = {"updates_per_s": 50_000}


def main() -> int:
    options = options_of(__doc__, "100,000 keys; only wrong answers are judged").parse_args()
    report = Report("metadata_query", judged=not options.quick)
    for name, figure in run(100_000 if options.quick else 1_000_000).items():
        unit = next((unit for ending, unit in UNITS.items() if name.endswith(ending)), "")
        words = name.removesuffix("_ms").replace("_", " ")
        if name == "wrong_answers_right_after_an_update" and figure:
            report.fail(f"{figure:.0f} wrong answers right after an update")
        if name in AT_MOST:
            report.at_most(words, AT_MOST[name], figure, unit)
        elif name in AT_LEAST:
            report.at_least(words, AT_LEAST[name], figure, unit)
        else:
            report.figure(words, figure, unit)
    return report.finish(options.json)


if __name__ == "__main__":
    sys.exit(main())
