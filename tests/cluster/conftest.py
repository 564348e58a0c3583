"""One Ray for all cluster tests of a run, and a check that nothing of ours is left in it.

It is a real multi-node Ray on one machine: the head carries the tests' own process and is never killed;
tests that need more nodes add raylets and may kill them.
"""

from __future__ import annotations

import gc
import os
import threading
import time
from collections.abc import Callable, Iterator

# A killed raylet is noticed in about three seconds instead of thirteen, a stopped one in eight. With less
# patience a machine that halts for two seconds loses its head node, and every test after that fails.
os.environ.setdefault("RAY_health_check_period_ms", "500")
os.environ.setdefault("RAY_health_check_timeout_ms", "1000")
os.environ.setdefault("RAY_health_check_failure_threshold", "5")
os.environ.setdefault("RAY_health_check_initial_delay_ms", "0")

import pytest
import ray
from ray._private.internal_api import node_stats
from ray._private.worker import global_worker
from ray.cluster_utils import Cluster as RayCluster
from ray.util import list_named_actors

from memories.actors.cluster import Cluster, connect
from memories.actors.config import ClusterConfig
from memories.actors.memory_manager import MemoryManager
from memories.actors.names import NAMESPACE

MB = 1 << 20


@pytest.fixture(scope="session")
def ray_cluster() -> Iterator[RayCluster]:
    cluster = RayCluster(
        initialize_head=True,
        head_node_args={"num_cpus": 2, "object_store_memory": 1024 * MB, "include_dashboard": False},
    )
    ray.init(address=cluster.address, log_to_driver=False)
    yield cluster
    ray.shutdown()
    cluster.shutdown()


@pytest.fixture(scope="module")
def cluster(ray_cluster: RayCluster, request: pytest.FixtureRequest) -> Iterator[Cluster]:
    """A cluster of ours in the shared Ray, removed with everything that it stored."""
    config = ClusterConfig(hot_bytes=200 * MB, cold_bytes=1024 * MB, temporary=True)
    name = request.module.__name__.rpartition(".")[2]
    opened = connect(name=name, config=config)
    yield opened
    opened.shutdown(delete=True)
    wait_until(lambda: not actors_of(name), 20)


@pytest.fixture
def memory(cluster: Cluster) -> Iterator[MemoryManager]:
    """A connection to the module's cluster, which is empty again afterwards."""
    manager = cluster.memory(timeout_s=60)
    yield manager
    manager.clear()
    manager.close()


@pytest.fixture
def nothing_left(cluster: Cluster) -> Iterator[None]:
    """After the test there is no more actor of replay, object reference or thread than before it."""

    def left() -> tuple[set[str], int, set[str]]:
        replay = {name for name in actors_of(cluster.name) if "/replay/" in name}
        gc.collect()
        references = global_worker.core_worker.get_all_reference_counts()
        objects = sum(1 for counts in references.values() if int(counts["local"]) > 0)
        return replay, objects, {thread.name for thread in threading.enumerate()}

    actors, objects, threads = left()
    yield
    wait_until(lambda: left()[0] <= actors, 30)
    wait_until(lambda: left()[1] <= objects, 10)
    assert left()[2] <= threads


def actors_of(cluster_name: str) -> list[str]:
    """The names of the living actors of one of our clusters."""
    named = list_named_actors(all_namespaces=True)
    ours = (actor["name"] for actor in named if actor["namespace"] == NAMESPACE)
    return [name for name in ours if name.startswith(f"{cluster_name}/")]


def pid_of(actor_name: str) -> int:
    """The process of an actor of ours."""
    actor = ray.get_actor(actor_name, NAMESPACE)
    return int(ray.get(actor.__ray_call__.remote(lambda _self: os.getpid())))


def wait_until(condition: Callable[[], bool], timeout_s: float) -> None:
    """Wait for a condition, with a deadline."""
    ends_s = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < ends_s, f"not so within {timeout_s} s"
        time.sleep(0.05)


def object_store_bytes() -> int:
    """What the object stores of all nodes hold."""
    nodes = [node for node in ray.nodes() if node["Alive"]]
    stats = [node_stats(node["NodeManagerAddress"], node["NodeManagerPort"]) for node in nodes]
    return sum(int(of_node.store_stats.object_store_bytes_used) for of_node in stats)
