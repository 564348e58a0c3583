"""A driver on the head stores values on two nodes, and a task on a worker pushes experiences."""

from __future__ import annotations

import json
import time
from typing import Any

import numpy as np
import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

import memories
from memories.replay import Schema

STEPS = 200
WORKER_COMES_WITHIN_S = 150.0


def main() -> None:
    config = memories.ClusterConfig(hot_bytes=10**8, warm_bytes=5 * 10**7, cold_bytes=10**9)
    with memories.connect("auto", config=config) as cluster:
        ends_s = time.monotonic() + WORKER_COMES_WITHIN_S
        while len(nodes := [node for node in ray.nodes() if node["Alive"]]) < 2:
            assert time.monotonic() < ends_s, "no worker has come"
            time.sleep(0.5)
        worker = next(node for node in nodes if "node:__internal_head__" not in node["Resources"])
        while len(cluster.status().tiers) < 6:
            assert time.monotonic() < ends_s, "the worker has no tiers"
            time.sleep(0.5)
        memory = cluster.memory()
        values = {f"k/{i}": np.full(1000, i) for i in range(20)}
        receipt = memory.store_many(values, replicas=2)
        schema = Schema.from_example({"obs": np.zeros(4, np.float32), "action": np.int64(0)})
        replay = cluster.replay(
            "pong", schema=schema, kind="prioritized", capacity=1000, shards=1, replicas=2
        )

        @ray.remote(num_cpus=0)
        def push(buffer: Any) -> str:
            writer = buffer.writer()
            for step in range(STEPS):
                writer.add(obs=np.full(4, step, np.float32), action=step)
            writer.flush()
            return str(ray.get_runtime_context().get_node_id())

        pinned = NodeAffinitySchedulingStrategy(worker["NodeID"], soft=False)
        pushed_on = ray.get(push.options(scheduling_strategy=pinned).remote(replay), timeout=60)
        report = {
            "nodes": len(nodes),
            "copies": receipt.copies,
            "rows": len(replay),
            "pushed_on_the_worker": pushed_on == worker["NodeID"],
        }
    print("REPORT " + json.dumps(report), flush=True)


if __name__ == "__main__":
    main()
