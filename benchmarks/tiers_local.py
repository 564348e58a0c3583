"""Cold memory beside NumPy's own files, and beside one file and one fsync a value.

    python -m benchmarks.tiers_local [--quick] [--json FILE] [--folder FOLDER]

Each row is a bar: what was measured, and whether it is met. Both sides of a comparison take turns within
one run and do equal work: the baseline of a store is fsynced as ours is; every read of ours is verified
by checksums, those of NumPy cannot be. Ratios are medians over the pairs. Dropping the cache means
posix_fadvise(DONTNEED) on the files; bytes read are those that the kernel counted for this process
(/proc/self/io), which includes read-ahead.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.bars import Report, options_of
from benchmarks.pairs import in_words, seconds, take_turns
from memories.tiers.cold_memory import ColdMemory

MB = 2**20


def drop_cache(folder: Path) -> None:
    """Have the kernel forget the pages of all files in the folder."""
    for path in folder.rglob("*"):
        if path.is_file():
            descriptor = os.open(path, os.O_RDONLY)
            os.fsync(descriptor)
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(descriptor)


def read_bytes() -> int:
    """Bytes that this process had fetched from storage so far."""
    for line in Path("/proc/self/io").read_text().splitlines():
        if line.startswith("read_bytes:"):
            return int(line.split()[1])
    raise RuntimeError("the kernel does not count what a process reads")


def save_and_sync(path: Path, array: np.ndarray[Any, Any]) -> None:
    """The baseline of a store: `np.save`, and an fsync."""
    with path.open("wb") as file:
        np.save(file, array)
        file.flush()
        os.fsync(file.fileno())


def storing_and_reading(report: Report, folder: Path, nbytes: int, rounds: int) -> None:
    """A large array, stored and read as a whole."""
    array = np.random.default_rng(1).random(nbytes // 4, dtype=np.float32)
    plain = folder / "plain.npy"
    with ColdMemory(50, folder / "cold") as memory:

        def ours() -> float:
            memory.delete("array")
            return seconds(lambda: memory.store("array", array))

        def theirs() -> float:
            plain.unlink(missing_ok=True)
            return seconds(lambda: save_and_sync(plain, array))

        stores = take_turns(rounds, ours, theirs)
        size = f"{nbytes // MB} MB"
        report.at_most(
            f"store {size} float32: time of np.save and fsync",
            1.15,
            stores.share_of_time,
            "x",
            stores.spread_of_share,
            stores.both,
        )
        if not np.array_equal(memory.retrieve("array"), array):
            report.fail("the large array did not come back as it was")
        reads = take_turns(
            2 * rounds + 1,
            lambda: seconds(lambda: memory.retrieve("array")),
            lambda: seconds(lambda: np.load(plain)),
        )
        report.at_most(
            f"read {size}, mapped and verified: time of np.load",
            0.5,
            reads.share_of_time,
            "x",
            reads.spread_of_share,
            reads.both,
        )
        copies = [seconds(lambda: array.copy()) for _ in range(5)]
        report.figure("floor: one copy of it in memory", statistics.median(copies) * 1e3, "ms")


def reading_rows(report: Report, folder: Path, nbytes: int, rounds: int) -> None:
    """1,000 rows of 1 kB of a large array."""
    generator = np.random.default_rng(2)
    array = generator.random((nbytes // 1024, 256), dtype=np.float32)
    count = len(array)
    plain = folder / "plain.npy"
    save_and_sync(plain, array)
    size = f"{nbytes // MB} MB"
    with ColdMemory(50, folder / "cold") as memory:
        memory.store("array", array)

        def whole() -> float:
            return seconds(lambda: np.load(plain))

        def contiguous() -> float:
            start = int(generator.integers(count - 1000))
            return seconds(lambda: memory.retrieve("array", partial=True, start=start, end=start + 1000))

        def scattered() -> float:
            picked = generator.choice(count, 1000, replace=False)
            return seconds(lambda: memory.retrieve("array", rows=picked))

        picked = generator.choice(count, 1000, replace=False)
        if not np.array_equal(memory.retrieve("array", rows=picked), array[picked]):
            report.fail("random rows are not those of the array")
        if not np.array_equal(memory.retrieve("array", start=5, end=1005), array[5:1005]):
            report.fail("contiguous rows are not those of the array")
        for name, work, bar in (("contiguous", contiguous, 300), ("random", scattered, 80)):
            pairs = take_turns(rounds, work, whole)
            report.at_least(
                f"1,000 {name} rows of {size}, verified: times faster than np.load",
                bar * nbytes / 2**30,
                pairs.times_faster,
                "x",
                pairs.spread,
                pairs.both,
            )
    with ColdMemory(50, folder / "cold") as memory:
        drop_cache(folder / "cold")
        before = read_bytes()
        elapsed_s = seconds(lambda: memory.retrieve("array", rows=picked))
        report.at_most(
            f"1,000 random rows of {size}, cache dropped: read from disk",
            16,
            (read_bytes() - before) / 1e6,
            "MB",
            detail=in_words(elapsed_s),
        )


def many_small_values(report: Report, folder: Path, rounds: int, reopened: int) -> None:
    """`store_many`, and opening a folder of many values."""
    contents = [np.random.default_rng(number).bytes(1024) for number in range(10_000)]
    values = {f"value {number}": content for number, content in enumerate(contents)}

    def ours() -> float:
        with tempfile.TemporaryDirectory(dir=folder) as place, ColdMemory(50, place) as memory:
            return seconds(lambda: memory.store_many(values))

    def theirs() -> float:
        with tempfile.TemporaryDirectory(dir=folder) as place:
            return seconds(lambda: one_file_each(Path(place), values))

    pairs = take_turns(rounds, ours, theirs)
    report.at_least(
        "store_many of 10,000 x 1 kB: times faster than a file and an fsync each",
        15,
        pairs.times_faster,
        "x",
        pairs.spread,
        pairs.both,
    )
    place = folder / "many"
    with ColdMemory(50, place) as memory:
        for first in range(0, reopened, 10_000):
            memory.store_many({f"value {first + number}": content for number, content in enumerate(contents)})
    times = []
    for _ in range(rounds):
        drop_cache(place)
        started = time.perf_counter()
        with ColdMemory(50, place) as memory:
            times.append(time.perf_counter() - started)
            if len(memory) != reopened or memory.retrieve(f"value {reopened - 1}") != contents[-1]:
                report.fail("a value is missing or wrong after opening again")
    report.at_most(
        f"open a folder of {reopened:,} values of 1 kB, cache dropped",
        2 * reopened / 100_000,
        statistics.median(times),
        "s",
        (min(times), max(times)),
    )


def one_file_each(folder: Path, values: dict[str, bytes]) -> None:
    """The baseline of `store_many`: one file and one fsync a value."""
    for name, content in values.items():
        descriptor = os.open(folder / name, os.O_WRONLY | os.O_CREAT, 0o600)
        os.write(descriptor, content)
        os.fsync(descriptor)
        os.close(descriptor)


def main() -> int:
    parser = options_of(__doc__, "a quarter of the sizes, few rounds")
    parser.add_argument("--folder", type=Path, help="where to measure: the disk that counts")
    options = parser.parse_args()
    rounds = 3 if options.quick else 7
    share = 4 if options.quick else 1
    values = 20_000 if options.quick else 100_000
    report = Report("tiers_local")
    for measure in (
        lambda place: storing_and_reading(report, place, 256 * MB // share, rounds),
        lambda place: reading_rows(report, place, 1024 * MB // share, rounds),
        lambda place: many_small_values(report, place, 1 if options.quick else 3, values),
    ):
        with tempfile.TemporaryDirectory(dir=options.folder) as name:
            measure(Path(name))
    return report.finish(options.json)


if __name__ == "__main__":
    sys.exit(main())
