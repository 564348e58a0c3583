"""`Stage`: a Ray of two nodes on this machine with a cluster of ours, which the demo may take a node from."""

from __future__ import annotations

import io
import logging
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, TextIO

from ..errors import Unavailable

MB = 1_000_000
ARRAY_BYTES = MB
HOT_BYTES, WARM_BYTES, COLD_BYTES = 12 * MB, 20 * MB, 24 * MB
STORE_BYTES = 256 << 20
NAME = "demo"
QUICK_TO_NOTICE = {
    "RAY_health_check_period_ms": "500",
    "RAY_health_check_timeout_ms": "1000",
    "RAY_health_check_failure_threshold": "5",
    "RAY_health_check_initial_delay_ms": "0",
}
"""A killed node is noticed in about three seconds instead of thirteen; a machine that halts for a moment has
not lost its node yet."""


@dataclass(slots=True)
class Stage:
    """What the acts play on. `lose_second_node` is for the middle of the show."""

    cluster: Any
    folder: Path
    _nodes: Any
    _second: Any

    @property
    def address(self) -> str:
        """Where the Ray of the demo listens."""
        return str(self._nodes.address)

    def lose_second_node(self) -> str:
        """SIGKILL the second raylet and all that runs on it; its node id."""
        node_id = str(self._second.node_id)
        self._nodes.remove_node(self._second, allow_graceful=False)
        return node_id

    def add_node(self) -> None:
        """A new second node."""
        self._second = self._nodes.add_node(**_node("second-again"))


@contextmanager
def set_stage(*, keep: bool) -> Iterator[Stage]:
    """Two nodes and a cluster whose budgets are small enough to be outrun. Leaves nothing behind, except
    with `keep`: then Ray, the cluster and the folder stay, if all of it has started."""
    import ray
    from ray.cluster_utils import Cluster as Nodes

    from ..actors.cluster import connect
    from ..actors.config import ClusterConfig
    from ..actors.ray_folder import short_ray_folder
    from ..tiers.policies import MigrationPolicy

    if ray.is_initialized():
        raise Unavailable("this process has joined a Ray already; run the demo in a process of its own")
    os.environ.update({name: value for name, value in QUICK_TO_NOTICE.items() if name not in os.environ})
    short = short_ray_folder()
    if short is not None:
        os.environ["RAY_TMPDIR"] = os.path.dirname(short)  # all of Ray is to agree on it
    with ExitStack() as quiet, ExitStack() as left:
        quiet.enter_context(redirect_stderr(_WithoutRaylets(sys.stderr)))
        quiet.enter_context(redirect_stdout(_WithoutRaylets(sys.stdout)))
        folder = Path(tempfile.mkdtemp(prefix="memories-demo-"))
        left.callback(shutil.rmtree, folder, ignore_errors=True)
        nodes = Nodes(
            initialize_head=True,
            head_node_args=_node("head", include_dashboard=False),
            shutdown_at_exit=not keep,
        )
        left.callback(nodes.shutdown)
        left.callback(ray.shutdown)
        second = nodes.add_node(**_node("second"))
        ray.init(address=nodes.address, log_to_driver=False, logging_level=logging.ERROR)
        config = ClusterConfig(
            hot_bytes=HOT_BYTES,
            warm_bytes=WARM_BYTES,
            cold_bytes=COLD_BYTES,
            storage_path=folder / "cold",
            glacier={"provider": "local", "storage_path": str(folder / "glacier")},
            migration_policy=MigrationPolicy(
                warm_to_cold_threshold=timedelta(seconds=8), cold_to_glacier_threshold=timedelta(seconds=16)
            ),
        )
        cluster = connect(name=NAME, config=config)
        if keep:
            left.pop_all()
            left.callback(ray.shutdown)
        yield Stage(cluster, folder, nodes, second)
        if not keep:
            cluster.shutdown(delete=True)


class _WithoutRaylets(io.TextIOBase):
    """Passes on all but what Ray says about the raylet that was killed on purpose."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._dropped = False

    def write(self, text: str) -> int:
        ends_dropped = self._dropped and text == "\n"
        self._dropped = "(raylet)" in text
        return len(text) if self._dropped or ends_dropped else self._stream.write(text)

    def flush(self) -> None:
        self._stream.flush()

    def isatty(self) -> bool:
        return self._stream.isatty()

    def fileno(self) -> int:
        return self._stream.fileno()


def _node(name: str, **more: Any) -> dict[str, Any]:
    return {"num_cpus": 2, "object_store_memory": STORE_BYTES, "node_name": name, **more}
