"""A Ray head as `ray start` makes it (token, dashboard, Ray Client), with a cluster of ours full of secrets.

Argument: a folder for the token and the data. Writes one line of JSON; ends when standard input does.
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


def main(folder: Path) -> None:
    (folder / "token").write_text(TOKEN)
    os.environ |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(folder / "token")}
    import numpy as np
    from ray._private import worker
    from ray.cluster_utils import Cluster as RayCluster

    import memories

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
        glacier={"provider": "local", "storage_path": str(folder / "g"), "encryption_key": KEY.encode()},
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
    wrong = memories.ClusterConfig(
        glacier={"provider": "s3", "bucket": 5, "secret_access_key": SECRET_ACCESS_KEY}, temporary=True
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
