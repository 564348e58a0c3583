"""One memory for all drivers of a Ray cluster: what one stores, all read, and no lost driver loses it.

    python examples/tiers_cluster.py            # joins the Ray of this machine, or starts one
    python examples/tiers_cluster.py --quick    # small arrays

On a cluster of several nodes give ``--replicas 2``: then any one node may go.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
import ray

import memories


@ray.remote(num_cpus=0)
def produce(name: str, part: int, rows: int, replicas: int) -> str:
    """A task on any node: it joins the cluster's memory by name, and its values outlive it."""
    key = f"features/{part:02}"
    with memories.connect(name=name) as cluster:
        features = np.random.default_rng(part).random((rows, 128), np.float32)
        cluster.memory().store(key, features, metadata={"part": part, "rows": rows}, replicas=replicas)
    return key


def main(rows: int, parts: int, replicas: int) -> None:
    name = "tiers-example"
    with memories.connect(name=name) as cluster:
        memory = cluster.memory()
        keys = ray.get([produce.remote(name, part, rows, replicas) for part in range(parts)])
        print(f"{len(keys)} tasks stored {', '.join(sorted(keys))}")

        started_s = time.perf_counter()
        features = memory.retrieve(keys[0])  # a view of shared memory where the value is on this node
        print(f"{features.nbytes / 1e6:.0f} MB in {(time.perf_counter() - started_s) * 1e3:.1f} ms")
        print("the last parts:", memory.query({"part": {"$gte": parts - 2}}, sort="part"))

        memory.store("weights", {"layer": np.eye(8), "step": 7}, tier="hot", pin=True)
        memory.move(keys[0], "cold")
        for tier in cluster.status().tiers:
            print(f"{tier.tier:8} {tier.keys:3} keys {tier.used_bytes / 1e6:8.1f} MB on {tier.node[:6]}")
        assert np.array_equal(memory.retrieve(keys[0]), features)
        cluster.shutdown(delete=True)  # for everybody; without it the values stay for the next driver


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--replicas", type=int, default=1)
    parser.add_argument("--quick", action="store_true", help="small arrays")
    chosen = parser.parse_args()
    main(1_000 if chosen.quick else 100_000, 4 if chosen.quick else 8, chosen.replicas)
