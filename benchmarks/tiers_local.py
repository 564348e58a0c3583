"""Cold memory beside NumPy's own files, and beside one file and one fsync a value.

    python -m benchmarks.tiers_local [--quick] [--json FILE] [--folder FOLDER]

Each row is a bar: what was measured, and whether it is met. Both sides of a comparison take turns within
one run and do equal work: the baseline of a store is fsynced as ours is; every read of ours is verified
by checksums, those of NumPy cannot be. Ratios are medians over the pairs. Dropping the cache means
posix_fadvise(DONTNEED) on the files; bytes read are those that the kernel counted for this process
(/proc/self/io), which includes read-ahead.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from memories.tiers.cold_memory import ColdMemory

MB = 2**20


@dataclass(frozen=True)
class Row:
    """One bar. `measured` and `bar` have the same unit; `detail` says what they are made of."""

    name: str
    measured: float
    bar: float
    at_least: bool
    unit: str
    detail: str

    @property
    def met(self) -> bool:
        return self.measured >= self.bar if self.at_least else self.measured <= self.bar

    def __str__(self) -> str:
        relation = "at least" if self.at_least else "at most"
        verdict = "met" if self.met else "NOT MET"
        return (
            f"{self.name:<66} {self.measured:9.2f} {self.unit:<2} "
            f"({relation} {self.bar:g}: {verdict})  {self.detail}"
        )


def timed(work: Callable[[], Any]) -> float:
    """Seconds that the work took."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def paired(rounds: int, ours: Callable[[], float], theirs: Callable[[], float]) -> tuple[float, float, float]:
    """Medians of ours, of theirs, and of ours/theirs, in alternating order, after one round to warm up."""
    pairs = []
    for number in range(rounds + 1):
        if number % 2:
            mine, other = ours(), theirs()
        else:
            other, mine = theirs(), ours()
        if number:
            pairs.append((mine, other))
    return (
        statistics.median(mine for mine, _ in pairs),
        statistics.median(other for _, other in pairs),
        statistics.median(mine / other for mine, other in pairs),
    )


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


def storing_and_reading(folder: Path, nbytes: int, rounds: int) -> list[Row]:
    """A large array, stored and read as a whole."""
    array = np.random.default_rng(1).random(nbytes // 4, dtype=np.float32)
    plain = folder / "plain.npy"
    with ColdMemory(50, folder / "cold") as memory:

        def ours() -> float:
            memory.delete("array")
            return timed(lambda: memory.store("array", array))

        def theirs() -> float:
            plain.unlink(missing_ok=True)
            return timed(lambda: save_and_sync(plain, array))

        mine, other, ratio = paired(rounds, ours, theirs)
        size = f"{nbytes // MB} MB"
        rows = [
            Row(
                f"store {size} float32: time of np.save and fsync",
                ratio,
                1.15,
                False,
                "x",
                f"{mine * 1e3:.1f} ms, {other * 1e3:.1f} ms",
            )
        ]
        assert np.array_equal(memory.retrieve("array"), array)
        mine, other, ratio = paired(
            2 * rounds + 1,
            lambda: timed(lambda: memory.retrieve("array")),
            lambda: timed(lambda: np.load(plain)),
        )
        rows.append(
            Row(
                f"read {size}, mapped and verified: time of np.load",
                ratio,
                0.5,
                False,
                "x",
                f"{mine * 1e3:.1f} ms, {other * 1e3:.1f} ms",
            )
        )
    return rows


def reading_rows(folder: Path, nbytes: int, rounds: int) -> list[Row]:
    """1,000 rows of 1 kB of a large array."""
    generator = np.random.default_rng(2)
    array = generator.random((nbytes // 1024, 256), dtype=np.float32)
    count = len(array)
    plain = folder / "plain.npy"
    save_and_sync(plain, array)
    rows = []
    with ColdMemory(50, folder / "cold") as memory:
        memory.store("array", array)

        def whole() -> float:
            return timed(lambda: np.load(plain))

        def contiguous() -> float:
            start = int(generator.integers(count - 1000))
            return timed(lambda: memory.retrieve("array", partial=True, start=start, end=start + 1000))

        def scattered() -> float:
            picked = generator.choice(count, 1000, replace=False)
            return timed(lambda: memory.retrieve("array", rows=picked))

        picked = generator.choice(count, 1000, replace=False)
        assert np.array_equal(memory.retrieve("array", rows=picked), array[picked])
        assert np.array_equal(memory.retrieve("array", start=5, end=1005), array[5:1005])
        size = f"{nbytes // MB} MB"
        for name, work, bar in (("contiguous", contiguous, 300), ("random", scattered, 80)):
            mine, other, ratio = paired(rounds, work, whole)
            rows.append(
                Row(
                    f"1,000 {name} rows of {size}, verified: times faster than np.load",
                    1 / ratio,
                    bar * nbytes / 2**30,
                    True,
                    "x",
                    f"{mine * 1e3:.3f} ms, {other * 1e3:.1f} ms",
                )
            )
    with ColdMemory(50, folder / "cold") as memory:
        drop_cache(folder / "cold")
        before = read_bytes()
        elapsed = timed(lambda: memory.retrieve("array", rows=picked))
        rows.append(
            Row(
                f"1,000 random rows of {size}, cache dropped: read from disk",
                (read_bytes() - before) / 1e6,
                16,
                False,
                "MB",
                f"{elapsed * 1e3:.1f} ms",
            )
        )
    return rows


def many_small_values(folder: Path, rounds: int, reopened: int) -> list[Row]:
    """`store_many`, and opening a folder of many values."""
    contents = [np.random.default_rng(number).bytes(1024) for number in range(10_000)]
    values = {f"value {number}": content for number, content in enumerate(contents)}

    def ours() -> float:
        with tempfile.TemporaryDirectory(dir=folder) as place, ColdMemory(50, place) as memory:
            return timed(lambda: memory.store_many(values))

    def theirs() -> float:
        with tempfile.TemporaryDirectory(dir=folder) as place:
            return timed(lambda: one_file_each(Path(place), values))

    mine, other, ratio = paired(rounds, ours, theirs)
    rows = [
        Row(
            "store_many of 10,000 x 1 kB: times faster than a file each",
            1 / ratio,
            15,
            True,
            "x",
            f"{mine * 1e3:.0f} ms, {other * 1e3:.0f} ms",
        )
    ]
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
            assert len(memory) == reopened
            assert memory.retrieve(f"value {reopened - 1}") == contents[-1]
    rows.append(
        Row(
            f"open a folder of {reopened:,} values of 1 kB, cache dropped",
            statistics.median(times),
            2 * reopened / 100_000,
            False,
            "s",
            "",
        )
    )
    return rows


def one_file_each(folder: Path, values: dict[str, bytes]) -> None:
    """The baseline of `store_many`: one file and one fsync a value."""
    for name, content in values.items():
        descriptor = os.open(folder / name, os.O_WRONLY | os.O_CREAT, 0o600)
        os.write(descriptor, content)
        os.fsync(descriptor)
        os.close(descriptor)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a quarter of the sizes, few rounds")
    parser.add_argument("--json", type=Path, help="write the rows to this file")
    parser.add_argument("--folder", type=Path, help="where to measure: the disk that counts")
    options = parser.parse_args()
    rounds = 3 if options.quick else 7
    share = 4 if options.quick else 1
    values = 20_000 if options.quick else 100_000
    rows: list[Row] = []
    for measure in (
        lambda place: storing_and_reading(place, 256 * MB // share, rounds),
        lambda place: reading_rows(place, 1024 * MB // share, rounds),
        lambda place: many_small_values(place, 1 if options.quick else 3, values),
    ):
        with tempfile.TemporaryDirectory(dir=options.folder) as name:
            for row in measure(Path(name)):
                print(row, flush=True)
                rows.append(row)
    if options.json:
        options.json.write_text(json.dumps([{**asdict(row), "met": row.met} for row in rows], indent=1))


if __name__ == "__main__":
    main()
