"""Many clients on the same keys: each key is one register, whoever asks, from wherever."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import time
from collections import defaultdict
from pathlib import Path

import pytest
import ray

from memories.actors.cluster import Cluster
from tests.support.linearizable import UNKNOWN, Operation, is_linearizable

from .historian import TIMEOUT_S, Historian, Task, command

pytestmark = pytest.mark.slow

DRIVERS, DRIVER_THREADS = 4, 9
ACTORS, ACTOR_THREADS = 8, 8
KEYS = 1_000
CONNECT_S = 90.0
ROOT = Path(__file__).parents[2]


def record(cluster: Cluster, folder: Path, seconds: float) -> list[tuple[str, Operation]]:
    """What 4 drivers and 8 actors with 100 threads in all did to the same keys."""
    address = ray.get_runtime_context().gcs_address
    seed = int(os.environ.get("MEMORIES_HISTORY_SEED", time.time_ns() % 10**6))
    print(f"MEMORIES_HISTORY_SEED={seed}")

    def task(name: int, threads: int) -> Task:
        return Task(cluster.name, address, name, threads, KEYS, seed)

    actor_class = ray.remote(num_cpus=0)(Historian)
    files = [folder / f"driver-{number}" for number in range(DRIVERS)]
    drivers = [
        subprocess.Popen(
            command(task(number, DRIVER_THREADS), file),
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for number, file in enumerate(files)
    ]
    actors = [actor_class.remote(task(100 + number, ACTOR_THREADS)) for number in range(ACTORS)]
    ray.get([actor.ready.remote() for actor in actors], timeout=CONNECT_S)
    for driver in drivers:
        assert driver.stdout is not None
        assert driver.stdout.readline() == "ready\n"
    begin_s = time.monotonic() + 0.5
    span = (begin_s, begin_s + seconds)
    for driver in drivers:
        assert driver.stdin is not None
        driver.stdin.write(json.dumps(span) + "\n")
        driver.stdin.flush()
    limit_s = seconds + 3 * TIMEOUT_S
    results = ray.get([actor.run.remote(*span) for actor in actors], timeout=limit_s)
    for driver, file in zip(drivers, files, strict=True):
        driver.communicate(timeout=limit_s)
        assert driver.returncode == 0
        results.append(pickle.loads(file.read_bytes()))
    for actor in actors:
        ray.get(actor.close.remote())
        ray.kill(actor)
    errors = [error for _, of_client in results for error in of_client]
    assert not errors, "\n".join(errors[:20])
    return [entry for done, _ in results for entry in done]


def check(history: list[tuple[str, Operation]]) -> None:
    by_key: dict[str, list[Operation]] = defaultdict(list)
    for key, operation in history:
        by_key[key].append(operation)
    open_ones = sum(operation.returned_s == UNKNOWN for _, operation in history)
    clients = {operation.who for _, operation in history}
    print(
        f"{len(history)} operations on {len(by_key)} keys by {len(clients)} clients, {open_ones} "
        "without an answer"
    )
    assert len(clients) == DRIVERS + ACTORS
    bad = [key for key, operations in by_key.items() if not is_linearizable(operations)]
    for key in bad[:3]:
        print(f"\n{key}:")
        for op in sorted(by_key[key], key=lambda op: op.called_s):
            print(f"  {op.called_s:.4f} to {op.returned_s:.4f} {op.who} {op.kind} {op.value} {op.existed}")
    assert not bad, f"{len(bad)} keys are not linearizable"
    # The checker sees it: the last read of some key, of a value that was overwritten before.
    assert not is_linearizable(_with_a_stale_read(by_key))


def _with_a_stale_read(by_key: dict[str, list[Operation]]) -> list[Operation]:
    operations = max(by_key.values(), key=len)
    written = [op for op in operations if op.kind == "write" and op.returned_s != UNKNOWN]
    assert len(written) > 1
    old = min(written, key=lambda op: op.returned_s)
    now_s = 1.0 + max(op.returned_s for op in operations if op.returned_s != UNKNOWN)
    certain = [op for op in operations if op.returned_s != UNKNOWN]
    return [
        *certain,
        Operation("write", now_s, now_s + 1, -1),
        Operation("read", now_s + 2, now_s + 3, old.value),
    ]


@pytest.mark.timeout(300)
@pytest.mark.usefixtures("memory")  # a history begins without keys
def test_twenty_seconds_of_a_hundred_threads(cluster: Cluster, tmp_path: Path) -> None:
    history = record(cluster, tmp_path, 20.0)
    assert len(history) > 2_000
    check(history)


@pytest.mark.soak
@pytest.mark.timeout(600)
@pytest.mark.usefixtures("memory")
def test_sixty_seconds_of_a_hundred_threads(cluster: Cluster, tmp_path: Path) -> None:
    history = record(cluster, tmp_path, 60.0)
    assert len(history) > 6_000
    check(history)
