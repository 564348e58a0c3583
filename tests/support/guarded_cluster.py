"""A Ray head as `ray start` makes it (token, dashboard, Ray Client), with a cluster of ours full of secrets.

Argument: a folder for the token and the data. Reads the configuration of an S3 glacier as one line of JSON
and writes one line of JSON; ends when standard input does.
"""

from __future__ import annotations

import json
import os
import socket
import sys
from pathlib import Path

TOKEN = "canary-token-" + "7" * 51
KEY = "canary-encryption-key-32-bytes!!"
SECRET_ACCESS_KEY = "canary-secret-access-key"
WRONG_ACCESS_KEY = "canary-wrong-access-key"
CANARIES = (TOKEN, KEY, SECRET_ACCESS_KEY, WRONG_ACCESS_KEY)


def main(folder: Path) -> None:
    (folder / "token").write_text(TOKEN)
    os.environ |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(folder / "token")}
    s3 = json.loads(sys.stdin.readline())
    import numpy as np
    import torch
    from ray._private import worker
    from ray.cluster_utils import Cluster as RayCluster

    import memories
    from memories.replay import Schema

    with socket.create_server(("127.0.0.1", 0)) as free:
        client_port = free.getsockname()[1]
    ray_cluster = RayCluster(
        initialize_head=True,
        head_node_args={
            "num_cpus": 2,
            "object_store_memory": 200 << 20,
            "include_dashboard": True,
            "dashboard_host": "127.0.0.1",
            "ray_client_server_port": client_port,
        },
    )
    config = memories.ClusterConfig(
        hot_bytes=10**7,
        warm_bytes=10**8,
        cold_bytes=10**9,
        temporary=True,
        glacier={"provider": "s3", **s3, "encryption_key": KEY.encode()},
        log_format="json",
        log_level="DEBUG",
    )
    shown = [repr(config)]
    cluster = memories.connect(ray_cluster.address, name="guarded", config=config)
    shown += [repr(cluster), json.dumps(cluster.status().as_dict())]
    with cluster.memory() as memory:
        memory.store("a", np.ones(2000), metadata={"m": 1})
        memory.store("deep", np.ones(2000), tier="glacier")
        memory.retrieve("deep")
        memory.create_snapshot(folder / "snapshot")
        try:
            memory.store("big", np.ones(10**7, np.uint8), tier="hot", replicas=2)
        except memories.MemoriesError as error:
            shown.append(repr(error))
    network = cluster.memoria(
        "quiet",
        num_reminded_stm=2,
        stm_capacity=8,
        ltm_search_depth=2,
        initial_lifespan=5,
        num_final_ltms=2,
    )
    network.add_working_memory(torch.rand(1, 2, 4))
    network.remind()
    replay = cluster.replay(
        "pong", schema=Schema.from_example({"x": np.float32(0)}), capacity=100, replicas=1
    )
    with replay.writer() as writer:
        writer.add_batch({"x": np.arange(10, dtype=np.float32)})
    shown.append(json.dumps(cluster.status().as_dict()))
    wrong = memories.ClusterConfig(
        glacier={"provider": "s3", **s3, "secret_access_key": WRONG_ACCESS_KEY}, temporary=True
    )
    try:
        memories.connect(ray_cluster.address, name="wrong", config=wrong, timeout_s=8)
    except memories.MemoriesError as error:
        shown += [repr(error), repr(wrong)]
    node = worker._global_node
    assert node is not None
    started = {
        "address": ray_cluster.address,
        "shown": shown,
        "logs": node.get_logs_dir_path(),
        "snapshot": str(folder / "snapshot"),
    }
    print(json.dumps(started), flush=True)
    sys.stdin.read()
    cluster.shutdown(delete=True)
    ray_cluster.shutdown()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
