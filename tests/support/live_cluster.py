"""One Ray node with a cluster of ours on it, for tests that look at it from other processes.

Writes one line of JSON when it is there; ends, and removes everything, when standard input does.
Values: `features/0` to `features/3` (arrays, metadata part=0..3), `notes` (text), `table` (Arrow).
"""

from __future__ import annotations

import contextlib
import json
import sys

import numpy as np
import pyarrow as pa
from ray.cluster_utils import Cluster as RayCluster

import memories

MB = 1 << 20


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
    print(json.dumps({"address": ray_cluster.address, "name": name}), flush=True)
    sys.stdin.read()
    with contextlib.suppress(memories.MemoriesError):  # a test may have ended it already
        cluster.shutdown(delete=True)
    ray_cluster.shutdown()


if __name__ == "__main__":
    main(sys.argv[1])
