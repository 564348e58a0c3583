"""Three raylets on this machine that carry the node names of the seed; they end when standard input does."""

from __future__ import annotations

import sys

from ray.cluster_utils import Cluster

NODE_STORE_BYTES = 1_600_000_000
"""Two copies of 800 MB in the warm halves of three object stores."""


def main() -> None:
    cluster = Cluster()
    for number in (1, 2, 3):
        cluster.add_node(num_cpus=1, object_store_memory=NODE_STORE_BYTES, node_name=f"node{number}")
    print(cluster.address, flush=True)
    sys.stdin.read()
    cluster.shutdown()


if __name__ == "__main__":
    main()
