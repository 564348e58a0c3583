"""Exactly once, while shards, backups, writers and a raylet are killed, or stopped and continued."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import ray
from ray.cluster_utils import Cluster as RayCluster

from memories.actors.cluster import Cluster

from .conftest import MB, wait_until
from .replay_chaos import NEW_PRIORITY, SCHEMA, Chaos, RowWriter, acknowledged, contents

pytestmark = pytest.mark.usefixtures("nothing_left")

WRITERS = 8
ROWS = 200_000
FAULTS = ("kill primary", "kill backup", "stop primary", "stop backup", "kill writer")


@pytest.fixture
def three_more_nodes(ray_cluster: RayCluster, cluster: Cluster) -> Iterator[list[Any]]:
    before = len(cluster.status().tiers)
    nodes = [
        ray_cluster.add_node(num_cpus=1, object_store_memory=300 * MB, node_name=f"replay{i}")
        for i in range(3)
    ]
    wait_until(lambda: len(cluster.status().tiers) == before + 9, 120)
    yield nodes
    for node in list(ray_cluster.worker_nodes):
        ray_cluster.remove_node(node)
    wait_until(lambda: len(cluster.status().tiers) == before, 60)


def run_chaos(
    cluster: Cluster, ray_cluster: RayCluster, nodes: list[Any], path: Path, seed: int, faults: int
) -> None:
    rng = random.Random(seed)
    kinds = ["raylet", *(rng.choice(FAULTS) for _ in range(faults - 1))]
    if faults == 5:
        kinds = ["raylet", *rng.sample(FAULTS, 4)]
    rng.shuffle(kinds)
    replay = cluster.replay(
        f"chaos{seed}",
        schema=SCHEMA,
        kind="prioritized",
        alpha=1.0,
        capacity=2 * ROWS,
        shards=3,
        replicas=2,
        silent_s=3.0,
        timeout_s=120,
    )
    paths = [path / f"writer{n}" for n in range(WRITERS)]
    for each in paths:
        each.touch()
    actor_class = ray.remote(num_cpus=0, max_restarts=0)(RowWriter)
    # The writers live on the head: their node is not the one that is killed.
    head = {"node:__internal_head__": 0.001}
    writers = {n: actor_class.options(resources=head).remote(replay, str(paths[n])) for n in range(WRITERS)}
    everyone = dict(writers)
    chaos = Chaos(ray_cluster, replay, cluster.namespace, rng, writers, nodes)
    share = ROWS // WRITERS
    bounds = np.linspace(0, share, faults + 2).astype(int)
    learner = replay.sampler(batch_size=64, prefetch=1, batches_a_call=1, seed=seed, timeout_s=120)
    late: list[tuple[np.ndarray, np.ndarray]] = []
    for turn in range(faults + 1):
        calls = [
            writer.push.remote(n * share + int(bounds[turn]), n * share + int(bounds[turn + 1]))
            for n, writer in writers.items()
        ]
        if turn < faults:
            time.sleep(rng.uniform(0.0, 0.3))  # so that the fault falls at another moment of each turn
            wait_until(chaos.in_sync, 120)
            chaos.inject(kinds[turn])
        ends_s = time.monotonic() + 200
        while calls or chaos.stopped:
            assert time.monotonic() < ends_s, f"writers do not come to an end after {chaos.done}"
            chaos.tick()
            done, calls = ray.wait(calls, num_returns=max(1, len(calls)), timeout=0.1) if calls else ([], [])
            for call in done:
                try:
                    ray.get(call)
                except ray.exceptions.RayActorError:
                    assert "kill writer" in chaos.done
            batch = next(learner)
            late.append((batch.handles, 1.0 + batch["row"]))
            if len(late) > 3:
                replay.update_priorities(*late.pop(rng.randrange(len(late))), timeout_s=120)
    wait_until(chaos.in_sync, 120)
    learner.close()
    assert sorted(chaos.done) == sorted(kinds)
    check(replay, cluster.namespace, paths, [paths[n] for n in everyone if n not in writers], share)
    for writer in everyone.values():
        ray.kill(writer)
    replay.delete()


def check(replay: Any, namespace: str, paths: list[Path], killed: list[Path], share: int) -> None:
    """The rows are those that were acknowledged, and no more than a killed writer had in the air."""
    assert replay.stats().layout.lost_shards == 0
    shards = contents(replay, namespace)
    for ours, theirs in zip(shards, contents(replay, namespace, "backup"), strict=True):
        assert np.array_equal(ours[0], theirs[0])
        assert np.array_equal(ours[1], theirs[1])
    rows = np.concatenate([found for found, _ in shards])
    priorities = np.concatenate([found for _, found in shards])
    unique, times = np.unique(rows, return_counts=True)
    assert (times == 1).all(), f"{(times > 1).sum()} rows are there twice"
    promised = acknowledged(paths)
    held = set(unique.tolist())
    assert promised <= held, f"{len(promised - held)} acknowledged rows are gone"
    owners = {paths.index(path) for path in killed}
    extra = held - promised
    assert {row // share for row in extra} <= owners
    assert len(extra) <= 500 * len(killed)  # FLUSH_EVERY batches of BATCH rows
    assert len(promised) >= ROWS - share * len(killed)
    changed = priorities != NEW_PRIORITY
    assert (priorities[changed] == 1.0 + rows[changed]).all(), "a priority went to another row"
    assert changed.any()


@pytest.mark.slow
@pytest.mark.timeout(580)
def test_five_faults(
    cluster: Cluster, ray_cluster: RayCluster, three_more_nodes: list[Any], tmp_path: Path
) -> None:
    run_chaos(cluster, ray_cluster, three_more_nodes, tmp_path, seed=1, faults=5)


@pytest.mark.soak
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("seed", [2, 3])
def test_fifteen_faults(
    cluster: Cluster, ray_cluster: RayCluster, three_more_nodes: list[Any], tmp_path: Path, seed: int
) -> None:
    run_chaos(cluster, ray_cluster, three_more_nodes, tmp_path, seed=seed, faults=15)
