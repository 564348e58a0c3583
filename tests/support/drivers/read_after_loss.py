"""Waits until the cluster has noticed that a node is gone; then everything must still be there."""

from __future__ import annotations

import json
import time

import memories

STORED = 20


def main() -> None:
    with memories.connect("auto") as cluster:
        ends_s = time.monotonic() + 60
        while all(node.online for node in cluster.status().nodes):
            assert time.monotonic() < ends_s, "nobody has noticed"
            time.sleep(0.2)
        memory = cluster.memory()
        values = memory.retrieve_many([f"k/{i}" for i in range(STORED)])
        report = {
            "right": sum(bool((values[f"k/{i}"] == i).all()) for i in range(STORED)),
            "rows": len(cluster.replay("pong")),
            "offline": [node.name for node in cluster.status().nodes if not node.online],
        }
    print("REPORT " + json.dumps(report), flush=True)


if __name__ == "__main__":
    main()
