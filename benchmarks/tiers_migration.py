"""Hot memory filled with three times its size, while a hot set is read: nothing fails, the hot set stays,
memory stays within the budgets, and the foreground hardly notices.

    python -m benchmarks.tiers_migration [--quick] [--json FILE]

One reader reads a hot set, one writer stores new values into hot, as fast as it can. First without migration:
the writer writes the same few keys again and again; then with it: new keys, three times what hot can hold.
Meanwhile a third thread asks every tier actor for the bytes that its medium holds, and Ray for what its
object store holds.
"""

from __future__ import annotations

import contextlib
import itertools
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
import ray
from ray._private import state

from benchmarks.bars import Curve, Report, options_of
from memories.actors.calls import Deadline
from memories.actors.cluster import Cluster, connect
from memories.actors.config import ClusterConfig
from memories.actors.memory_manager import MemoryManager

MB = 1 << 20
MOST_TIMES_SLOWER = 5.0
MOST_P99_S = 0.05
LEAST_READS = 200


@dataclass(frozen=True)
class Sizes:
    """Hot holds `hot_bytes`; a quarter of it is the hot set."""

    hot_bytes: int = 512 * MB
    value_bytes: int = 4 * MB
    read_bytes: int = 256 << 10
    pause_s: float = 0.004
    """Of the reader, between two reads."""

    @property
    def hot_set(self) -> int:
        return self.hot_bytes // 4 // self.read_bytes

    @property
    def filled(self) -> int:
        return 3 * self.hot_bytes // self.value_bytes


QUICK = Sizes(hot_bytes=96 * MB, value_bytes=2 * MB, read_bytes=256 << 10)


@dataclass
class Found:
    """What one phase has shown."""

    reads_s: list[float] = field(default_factory=list)
    stores_s: list[float] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    hit_rate: float = 0.0
    """Percent of the reads that hot has served, by the coordinator's own count."""
    over_bytes: dict[str, int] = field(default_factory=dict)
    """By tier: the most that a medium held beyond its budget; negative where it always stayed below."""
    store_over_bytes: int = 0
    """The most that the object store held beyond the budget of warm."""
    moved_bytes: int = 0

    def p99_s(self, what: str) -> float:
        return float(np.percentile(getattr(self, f"{what}_s"), 99))


def run(cluster: Cluster, memory: MemoryManager, sizes: Sizes) -> tuple[Found, Found]:
    """Without and with migration."""
    rng = np.random.default_rng(0)
    hot_set = {f"set/{i:04}": rng.integers(0, 255, sizes.read_bytes, np.uint8) for i in range(sizes.hot_set)}
    memory.store_many(hot_set, tier="hot")
    for _ in range(3):
        for key in hot_set:
            memory.retrieve(key)
    free = sizes.hot_bytes // 4 // sizes.value_bytes
    quiet = _phase(cluster, memory, sizes, hot_set, (f"same/{i % free}" for i in range(sizes.filled)))
    memory.delete_many([f"same/{i}" for i in range(free)])
    busy = _phase(cluster, memory, sizes, hot_set, (f"new/{i:05}" for i in range(sizes.filled)))
    for i in range(len(busy.stores_s)):
        value = memory.retrieve(f"new/{i:05}")
        if value[0] != i % 251 or value[-1] != i % 251 or value.nbytes != sizes.value_bytes:
            busy.failures.append(f"new/{i:05} came back as something else")
    return quiet, busy


def _phase(
    cluster: Cluster,
    memory: MemoryManager,
    sizes: Sizes,
    hot_set: dict[str, np.ndarray],
    keys: Iterator[str],
) -> Found:
    found = Found()
    written = threading.Event()
    before = cluster.status()
    with _in_threads(
        found,
        written,
        lambda: _read(memory, sizes, hot_set, found, written),
        lambda: _watch(cluster, memory, sizes, found, written),
    ):
        for i, key in enumerate(keys):
            value = np.full(sizes.value_bytes, i % 251, np.uint8)
            started_s = time.perf_counter()
            memory.store(key, value, tier="hot")
            found.stores_s.append(time.perf_counter() - started_s)
    after = cluster.status()
    in_hot = after.reads.found.get("hot", 0) - before.reads.found.get("hot", 0)
    found.hit_rate = 100.0 * in_hot / max(1, after.reads.total - before.reads.total)
    found.moved_bytes = sum(after.migration.moved_bytes.values()) - sum(before.migration.moved_bytes.values())
    return found


@contextlib.contextmanager
def _in_threads(found: Found, written: threading.Event, *works: Callable[[], None]) -> Iterator[None]:
    def guarded(work: Callable[[], None]) -> None:
        try:
            work()
        except Exception as error:  # noqa: BLE001 - whatever it is, it is a row of the report
            found.failures.append(f"{type(error).__name__}: {error}")

    threads = [threading.Thread(target=guarded, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    try:
        yield
    except Exception as error:  # noqa: BLE001 - as above
        found.failures.append(f"{type(error).__name__}: {error}")
    finally:
        written.set()
        for thread in threads:
            thread.join()


def _read(
    memory: MemoryManager,
    sizes: Sizes,
    hot_set: dict[str, np.ndarray],
    found: Found,
    written: threading.Event,
) -> None:
    keys = np.random.default_rng(1).permutation(list(hot_set)).tolist()
    for key in itertools.cycle(keys):
        started_s = time.perf_counter()
        value = memory.retrieve(key)
        found.reads_s.append(time.perf_counter() - started_s)
        if not np.array_equal(value, hot_set[key]):
            found.failures.append(f"{key} came back as something else")
        if len(found.reads_s) >= LEAST_READS and written.is_set():
            return
        time.sleep(sizes.pause_s)


def _watch(
    cluster: Cluster, memory: MemoryManager, sizes: Sizes, found: Found, written: threading.Event
) -> None:
    connection = memory._client._connection
    deadline = Deadline.after(600, "watching the tiers")
    members = connection.members(deadline)
    actors = {info: connection.tier_actor(info.member, deadline) for info in members}
    warm_bytes = sum(info.capacity_bytes for info in members if info.tier == "warm")
    others = object_store_bytes() - sum(t.used_bytes for t in cluster.status().tiers if t.tier == "warm")
    while not written.wait(0.05):
        for info, actor in actors.items():
            held = ray.get(actor.held_bytes.remote(), timeout=30)
            over = held - info.capacity_bytes
            found.over_bytes[info.tier] = max(over, found.over_bytes.get(info.tier, over))
        found.store_over_bytes = max(found.store_over_bytes, object_store_bytes() - others - warm_bytes)


def object_store_bytes() -> int:
    """What the object stores of all nodes hold, by their own figures."""
    total = sum(n["Resources"].get("object_store_memory", 0) for n in ray.nodes() if n["Alive"])
    free = sum(n.get("object_store_memory", 0) for n in state.available_resources_per_node().values())
    return int(total - free)


def measure(sizes: Sizes, name: str = "migration-benchmark") -> tuple[Found, Found]:
    """Both phases, on a cluster of its own in the Ray of this process."""
    config = ClusterConfig(hot_bytes=sizes.hot_bytes, warm_bytes=sizes.hot_bytes, temporary=True)
    cluster = connect(name=name, config=config)
    try:
        memory = cluster.memory(timeout_s=60)
        return run(cluster, memory, sizes)
    finally:
        cluster.shutdown(delete=True)


def main() -> int:
    options = options_of(__doc__).parse_args()
    sizes = QUICK if options.quick else Sizes()
    ray.init(
        address="local",
        include_dashboard=False,
        log_to_driver=False,
        object_store_memory=max(4 * sizes.hot_bytes, 400 * MB),
    )
    report = Report("tiers_migration", judged=not options.quick)
    quiet, busy = measure(sizes)
    for failure in (*quiet.failures, *busy.failures):
        report.fail(failure)
    report.at_least("reads of the hot set that hot has served", 95.0, busy.hit_rate, "%")
    for what in ("reads", "stores"):
        before, after = quiet.p99_s(what), busy.p99_s(what)
        limit = max(MOST_TIMES_SLOWER * before, MOST_P99_S)
        detail = f"without migration {1e3 * before:.2f} ms; {len(getattr(busy, f'{what}_s'))} {what}"
        report.at_most(
            f"p99 of {what} while hot is filled three times", 1e3 * limit, 1e3 * after, "ms", None, detail
        )
    for tier, over in sorted(busy.over_bytes.items()):
        if tier in ("hot", "warm"):
            report.at_most(f"bytes in {tier} beyond its budget", 0, over / MB, "MB")
    # Beside warm's own: the value that a writer sends, the one that a reader gets, and those of one move.
    report.at_most(
        "bytes in the object store beyond warm's budget",
        allowed_over_bytes(sizes) / MB,
        busy.store_over_bytes / MB,
        "MB",
    )
    report.figure("moved by migration", busy.moved_bytes / MB, "MB")
    report.draw(
        Curve(
            "Latency of reads of the hot set",
            "percentile",
            "ms",
            {
                name: [(p, 1e3 * float(np.percentile(found.reads_s, p))) for p in range(1, 100)]
                for name, found in (("without migration", quiet), ("with migration", busy))
            },
            log_y=True,
        )
    )
    return report.finish(options.json)


def allowed_over_bytes(sizes: Sizes) -> int:
    """What may lie in the object store beside the warm tier: a value on its way from the writer, one that
    a reader holds, and one for each move that is under way."""
    from memories.actors.migration import MOVES_FOR_ROOM
    from memories.actors.migrator import BATCH_BYTES

    return (2 + MOVES_FOR_ROOM) * max(sizes.value_bytes, sizes.read_bytes) + BATCH_BYTES


if __name__ == "__main__":
    sys.exit(main())
