"""Memory on a cluster beside plain Ray, Redis on loopback and diskcache, on this machine.

    python -m benchmarks.tiers_cluster [--quick] [--json FILE] [--folder FOLDER] [--only PART ...]

The unit of latency is p: the median of one ping to a plain Ray actor, measured in turns with ours. All sides
move the same array, and every answer is compared with what was stored: a wrong one fails the run. Redis and
diskcache run in a virtual environment of their own, driven through a pipe; the times are theirs, without it.
The client of Redis gets and gives plain bytes, so no time of pickling is counted against it; diskcache is
used as its users do (`cache[key] = array`), and with plain bytes beside it.
"""

from __future__ import annotations

import os
import signal
import statistics
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import ray

from memories.actors.cluster import Cluster, connect
from memories.actors.config import ClusterConfig
from memories.actors.memory_manager import MemoryManager
from memories.actors.names import NAMESPACE, coordinator_name

from .bars import Report, options_of
from .cluster_peers import DISKCACHE, REDIS_CLIENT, Peer, redis_server
from .pairs import in_words, seconds, take_turns

MB = 1 << 20


@ray.remote(num_cpus=0)
class Plain:
    """The actor whose ping is the unit."""

    def ping(self) -> int:
        return 1


class Bench:
    """One cluster of ours, one plain actor, and the report."""

    def __init__(self, report: Report, cluster: Cluster, folder: Path, *, quick: bool) -> None:
        self.report = report
        self.cluster = cluster
        self.memory: MemoryManager = cluster.memory(timeout_s=120)
        self.folder = folder
        self.quick = quick
        self.large_bytes = (16 if quick else 64) * MB
        self.plain = Plain.remote()

    def array(self, nbytes: int, seed: int = 0) -> np.ndarray[Any, Any]:
        """Random bytes as numbers, so that nothing compresses and every wrong bit shows."""
        return np.random.default_rng(seed).integers(0, 2**63, nbytes // 8, dtype=np.int64)

    def right(self, what: str, found: Any, wanted: np.ndarray[Any, Any]) -> None:
        if not np.array_equal(found, wanted):
            self.report.fail(f"{what} came back with other bytes")

    def ping(self) -> float:
        return seconds(lambda: ray.get(self.plain.ping.remote()))

    def in_pings(self, rounds: int, works: dict[str, Callable[[], float]]) -> dict[str, list[float]]:
        """Seconds of each work, in short blocks that take turns with pings; the first block warms up."""
        works = {"ping": self.ping, **works}
        found: dict[str, list[float]] = {name: [] for name in works}
        for block in range(rounds + 1):
            for name, work in works.items():
                measured = [work() for _ in range(20)]
                if block:
                    found[name] += measured
        return found


def one_by_one(bench: Bench) -> None:
    """Small values, one call each; the same ten thousand in one call."""
    memory, report = bench.memory, bench.report
    numbers = iter(range(10**9))
    content = bench.array(1000).tobytes()

    def store() -> float:
        key = f"small/{next(numbers)}"
        return seconds(lambda: memory.store(key, content))

    other = bench.cluster.memory()
    fresh = {f"theirs/{i}": content[:-8] + i.to_bytes(8, "little") for i in range(20 * 200)}
    other.store_many(fresh)
    unread = iter(fresh.items())

    def retrieve() -> float:
        key, value = next(unread)
        started_s = time.perf_counter()
        found = memory.retrieve(key)
        elapsed_s = time.perf_counter() - started_s
        if found != value:
            report.fail(f"{key} came back with other bytes")
        return elapsed_s

    memory.store("again", content)
    again = {"again": lambda: seconds(lambda: memory.retrieve("again"))}
    recent = {"recent": lambda: seconds(lambda: memory.retrieve("again", max_staleness_s=1))}
    rounds = 10 if bench.quick else 40
    works = {"store": store, "retrieve": retrieve, **again, **recent}
    found = bench.in_pings(rounds, works)
    p = statistics.median(found["ping"])
    medians = {name: statistics.median(times) for name, times in found.items()}
    report.figure("p: one ping of a plain Ray actor", p * 1e3, "ms", _spread(found["ping"], 1e-3))
    for name, words, bar in (
        ("store", "store 1 kB, every time another key", 4),
        ("retrieve", "retrieve 1 kB that another process stored, every time another", 3),
    ):
        report.at_most(words, bar, medians[name] / p, "p", _spread(found[name], p), in_words(medians[name]))
    report.figure("retrieve 1 kB, the same again and again", medians["again"] / p, "p")
    report.at_most(
        "retrieve(max_staleness_s=1) of the same 1 kB",
        1 / 20,
        medians["recent"] / p,
        "p",
        _spread(found["recent"], p),
        in_words(medians["recent"]),
    )
    count = 10_000
    many = {f"many/{i}": content[:-8] + i.to_bytes(8, "little") for i in range(count)}
    stored, read = [], []
    for _ in range(3 if bench.quick else 5):
        stored.append(seconds(lambda: memory.store_many(many)))
        started_s = time.perf_counter()
        back = memory.retrieve_many(many)
        read.append(time.perf_counter() - started_s)
        if back != many:
            report.fail("retrieve_many came back with other bytes")
        memory.delete_many(many)
    for name, times, single in (("store_many", stored, "store"), ("retrieve_many", read, "retrieve")):
        together = statistics.median(times)
        report.at_least(
            f"{name} of 10,000 x 1 kB: rate of single calls",
            20,
            medians[single] * count / together,
            "x",
            (medians[single] * count / max(times), medians[single] * count / min(times)),
            f"{in_words(together)} beside {in_words(medians[single] * count)}",
        )
    other.close()
    memory.clear()


def large_arrays(bench: Bench) -> None:
    """Large arrays in warm memory beside `ray.put`."""
    memory, report = bench.memory, bench.report
    array = bench.array(bench.large_bytes, 1)
    size = f"{bench.large_bytes // MB} MB"
    rounds = 9 if bench.quick else 25
    p = statistics.median(bench.ping() for _ in range(200))

    def put() -> float:
        started_s = time.perf_counter()
        ref = ray.put(array)
        elapsed_s = time.perf_counter() - started_s
        del ref
        return elapsed_s

    pairs = take_turns(rounds, lambda: seconds(lambda: memory.store("large", array, tier="warm")), put)
    beyond = [(ours - 1.5 * theirs) / p for ours, theirs in zip(pairs.ours_s, pairs.theirs_s, strict=True)]
    report.at_most(
        f"store {size} into warm, beyond 1.5 ray.put",
        3,
        statistics.median(pairs.ours_s) / p - 1.5 * statistics.median(pairs.theirs_s) / p,
        "p",
        (min(beyond), max(beyond)),
        pairs.both,
    )
    for nbytes in (MB, (64 if bench.quick else 512) * MB):
        array = bench.array(nbytes, 2)
        memory.store("read", array, tier="warm")
        found = bench.in_pings(10, {"read": lambda: seconds(lambda: memory.retrieve("read"))})
        p = statistics.median(found["ping"])
        report.at_most(
            f"read {nbytes // MB} MB from warm on the same node",
            3,
            statistics.median(found["read"]) / p,
            "p",
            _spread(found["read"], p),
            in_words(statistics.median(found["read"])),
        )
        first, second = memory.retrieve("read"), memory.retrieve("read")
        bench.right("a warm array", first, array)
        if first.flags.writeable or not np.shares_memory(first, second):
            report.fail("two reads of a warm array are not views of the same shared memory")
        del first, second
        memory.delete("read")
    memory.clear()


def beside_redis(bench: Bench) -> None:
    """The same array into and out of a Redis on loopback."""
    memory, report = bench.memory, bench.report
    array = bench.array(bench.large_bytes, 3)
    path = bench.folder / "array.npy"
    np.save(path, array)
    size = f"{bench.large_bytes // MB} MB"
    rounds = 5 if bench.quick else 9
    with redis_server(bench.folder) as port:
        peer = Peer("redis", str(port), REDIS_CLIENT, as_array=False)
        peer.take(path)
        storing = take_turns(rounds, lambda: seconds(lambda: memory.store("array", array)), peer.put)
        reading = take_turns(
            rounds, lambda: seconds(lambda: memory.retrieve("array")), lambda: peer.get(report)
        )
        peer.close()
    bench.right("an array beside Redis", memory.retrieve("array"), array)
    report.at_least(
        f"read {size}: times faster than Redis", 50, reading.times_faster, "x", reading.spread, reading.both
    )
    report.at_least(
        f"store {size}: times faster than Redis", 1.5, storing.times_faster, "x", storing.spread, storing.both
    )
    memory.clear()


def cold(bench: Bench) -> None:
    """The same array on disk, through the cluster."""
    memory, report = bench.memory, bench.report
    array = bench.array(bench.large_bytes, 4)
    expected = int(array.view(np.uint64).sum())
    path, plain = bench.folder / "array.npy", bench.folder / "plain.npy"
    np.save(path, array)
    size = f"{bench.large_bytes // MB} MB"
    rounds = 5 if bench.quick else 9

    def save() -> float:
        plain.unlink(missing_ok=True)
        return seconds(lambda: save_and_sync(plain, array))

    def store() -> float:
        memory.delete("cold")
        # Pinned, or what is read often would rise, and warm memory be measured.
        return seconds(lambda: memory.store("cold", array, tier="cold", pin=True))

    pairs = take_turns(rounds, store, save)
    report.at_most(
        f"cold: store {size} with fsync, time of np.save and fsync",
        1.3,
        pairs.share_of_time,
        "x",
        pairs.spread_of_share,
        pairs.both,
    )

    def read() -> float:
        started_s = time.perf_counter()
        found = memory.retrieve("cold")
        total = int(found.view(np.uint64).sum())
        elapsed_s = time.perf_counter() - started_s
        if total != expected:
            report.fail("a cold array has another sum")
        return elapsed_s

    for as_array in (True, False):
        peer = Peer("diskcache", str(bench.folder / f"diskcache-{as_array}"), DISKCACHE, as_array=as_array)
        peer.take(path)
        stored_s = statistics.median(peer.put() for _ in range(rounds))
        words = "diskcache" if as_array else "diskcache with plain bytes"
        report.figure(f"{words}: store {size}, not fsynced", stored_s * 1e3, "ms")
        reading = take_turns(rounds, read, lambda peer=peer: peer.get(report, total=True))
        name = f"cold: read {size} and sum it: times faster than {words}"
        if as_array:
            report.at_least(name, 5, reading.times_faster, "x", reading.spread, reading.both)
        else:
            report.figure(name, reading.times_faster, "x", reading.spread, reading.both)
        peer.close()
    bench.right("a cold array", memory.retrieve("cold"), array)
    memory.clear()


def rebuild(bench: Bench) -> None:
    """A coordinator that is killed has its catalog again, while calls wait for it."""
    memory, report = bench.memory, bench.report
    count = 100_000 if bench.quick else 1_000_000
    for first in range(0, count, 20_000):
        memory.store_many({f"key/{i}": b"%d" % i for i in range(first, first + 20_000)})
    actor = ray.get_actor(coordinator_name(bench.cluster.name), NAMESPACE)
    pid = int(ray.get(actor.__ray_call__.remote(lambda _self: os.getpid())))
    waiting: dict[str, float] = {}
    started_s = time.perf_counter()
    os.kill(pid, signal.SIGKILL)

    def call(name: str, work: Callable[[], bool]) -> None:
        if not work():
            report.fail(f"{name} was wrong after the rebuild")
        waiting[name] = time.perf_counter() - started_s

    works: dict[str, Callable[[], bool]] = {
        "retrieve": lambda: bool(memory.retrieve(f"key/{count // 2}") == b"%d" % (count // 2)),
        "store": lambda: memory.store("key/new", b"new").copies == 1,
        "exists": lambda: not memory.exists("key/none"),
    }
    threads = [threading.Thread(target=call, args=item) for item in works.items()]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if len(waiting) < len(works):
        report.fail("a call failed while the catalog was rebuilt")
    keys = memory.keys("key/")
    if len(keys) != count + 1:
        report.fail(f"{len(keys)} of {count + 1} keys are there after the rebuild")
    report.at_most(
        f"rebuild of {count:,} keys after a SIGKILL, until calls are answered",
        12,
        max(waiting.values(), default=float("inf")),
        "s",
        None,
        ", ".join(f"{name} {in_words(value)}" for name, value in waiting.items()),
    )


PARTS: dict[str, Callable[[Bench], None]] = {
    "calls": one_by_one,
    "large": large_arrays,
    "redis": beside_redis,
    "cold": cold,
    "rebuild": rebuild,
}


def save_and_sync(path: Path, array: np.ndarray[Any, Any]) -> None:
    """The baseline of a store: `np.save`, and an fsync."""
    with path.open("wb") as file:
        np.save(file, array)
        file.flush()
        os.fsync(file.fileno())


def _spread(times_s: list[float], unit_s: float) -> tuple[float, float]:
    """The tenth and the ninetieth percentile."""
    tenths = statistics.quantiles(times_s, n=10)
    return tenths[0] / unit_s, tenths[-1] / unit_s


def main() -> int:
    options_parser = options_of(__doc__)
    options_parser.add_argument("--folder", type=Path, help="where to measure: the disk that counts")
    options_parser.add_argument("--only", nargs="+", choices=list(PARTS), help="some parts")
    options = options_parser.parse_args()
    report = Report("tiers_cluster", judged=not options.quick)
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        ray.init(
            address="local",
            include_dashboard=False,
            log_to_driver=False,
            object_store_memory=4096 * MB,
        )
        try:
            config = ClusterConfig(storage_path=Path(name) / "storage", warm_bytes=4096 * MB)
            with connect(name="benchmark", config=config) as cluster:
                bench = Bench(report, cluster, Path(name), quick=options.quick)
                for part in options.only or PARTS:
                    PARTS[part](bench)
                cluster.shutdown(delete=True)
        finally:
            ray.shutdown()
    return report.finish(options.json)


if __name__ == "__main__":
    raise SystemExit(main())
