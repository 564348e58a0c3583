"""One Ray node with a cluster of ours on it, for tests that look at it from other processes.

Writes one line of JSON when it is there; ends, and removes everything, when standard input does.
Values: `features/0` to `features/3` (arrays, metadata part=0..3), `notes` (text), `table` (Arrow).
Replay buffers: `pong` (prioritized, two shards, 300 rows inserted, 192 drawn) and `empty` (uniform).
"""

from __future__ import annotations

import contextlib
import json
import sys

import numpy as np
import pyarrow as pa
from ray.cluster_utils import Cluster as RayCluster

import memories
from memories.replay import Schema

MB = 1 << 20
BARE = "bare"
"""The name of a second cluster there, with nothing in it."""


def main(name: str) -> None:
    ray_cluster = RayCluster(
        initialize_head=True,
        head_node_args={"num_cpus": 2, "object_store_memory": 300 * MB, "include_dashboard": False},
    )
    config = memories.ClusterConfig(
        hot_bytes=50 * MB, warm_bytes=100 * MB, cold_bytes=500 * MB, temporary=True
    )
    cluster = memories.connect(ray_cluster.address, name=name, config=config)
    with cluster.memory() as memory:
        for i in range(4):
            value = np.arange(i * 1000, i * 1000 + 1000, dtype=np.float32).reshape(100, 10)
            memory.store(f"features/{i}", value, metadata={"part": i, "split": "train" if i < 2 else "test"})
        memory.store("notes", "zur Nacht\n", tier="cold")
        memory.store("table", pa.table({"a": [1, 2, 3], "b": ["x", "y", None]}))
    bare = memories.connect(
        ray_cluster.address,
        name=BARE,
        config=memories.ClusterConfig(tiers=("warm",), warm_bytes=MB, temporary=True),
    )
    schema = Schema.from_example({"obs": np.zeros(4, np.float32), "reward": np.float32(0)})
    cluster.replay("empty", schema=schema, kind="uniform", capacity=100, shards=1, replicas=1)
    replay = cluster.replay("pong", schema=schema, kind="prioritized", capacity=1000, shards=2, replicas=1)
    with replay.writer() as writer:
        for _ in range(3):
            writer.add_batch({"obs": np.ones((100, 4), np.float32), "reward": np.ones(100, np.float32)})
    with replay.sampler(batch_size=64, prefetch=1) as sampler:
        for _ in range(3):
            batch = next(sampler)
            replay.update_priorities(batch.handles, np.full(64, 0.5))
    print(json.dumps({"address": ray_cluster.address, "name": name}), flush=True)
    sys.stdin.read()
    for one in (cluster, bare):
        with contextlib.suppress(memories.MemoriesError):  # a test may have ended it already
            one.shutdown(delete=True)
    ray_cluster.shutdown()


if __name__ == "__main__":
    main(sys.argv[1])
