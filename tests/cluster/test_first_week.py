"""What goes wrong in the first week with a Ray cluster, and what the message says about it."""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import os
import signal
import socket
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import ray
from ray.cluster_utils import Cluster as RayCluster

from memories.actors.cluster import Cluster, connect
from memories.actors.config import ClusterConfig
from memories.actors.memory_manager import MemoryManager
from memories.actors.names import NAMESPACE
from memories.actors.session import answers
from memories.errors import Closed, InvalidValue, VersionMismatch

from .conftest import MB, actors_of, wait_until

pytestmark = pytest.mark.slow


def run_script(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a user's script in a process of its own, which knows of no Ray but what the environment says."""
    base = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        env=base | environment,
        capture_output=True,
        text=True,
        timeout=120,
    )


# -- a user's own Ray -------------------------------------------------------------------------------


def test_a_ray_that_the_user_started_is_used_and_never_shut_down(cluster: Cluster) -> None:
    with connect(name=cluster.name) as second:
        second.memory().store("mine", 1)
    assert ray.is_initialized()
    manager = MemoryManager(0.1, 0.1, 0.1)
    manager.store("private", 2)
    manager.cleanup()
    assert ray.is_initialized()


def test_another_address_than_that_of_this_process_is_refused(cluster: Cluster) -> None:
    with pytest.raises(InvalidValue, match=r"connected to Ray at .* already; call ray.shutdown\(\)"):
        connect("10.1.2.3:6379", name=cluster.name)


def test_a_script_that_called_ray_init_first_keeps_its_ray(ray_cluster: RayCluster, cluster: Cluster) -> None:
    """Plain `ray.init()` joins what RAY_ADDRESS names; so does ours after it, and leaves it running."""
    done = run_script(
        f"""
        import ray, memories
        ray.init(log_to_driver=False)
        with memories.connect(name={cluster.name!r}) as cluster:
            cluster.memory().store("from a script", 3)
        assert ray.is_initialized()
        assert ray.get(ray.put(1)) == 1
        """,
        RAY_ADDRESS=ray_cluster.address,
    )
    assert done.returncode == 0, done.stderr
    with cluster.memory() as memory:
        assert memory.retrieve("from a script") == 3
        memory.delete("from a script")


def test_a_policy_that_only_the_driver_can_import_is_known_again(ray_cluster: RayCluster) -> None:
    code = """
        import logging
        from dataclasses import replace
        import memories
        from memories.core.policies import MigrationPolicy

        class OwnPolicy(MigrationPolicy):
            __eq__ = object.__eq__
            __hash__ = object.__hash__

        logging.basicConfig(format="%(message)s")
        config = memories.ClusterConfig(
            hot_bytes=10**7, warm_bytes=10**7, migration_policy=OwnPolicy(eviction="lru"), temporary=True
        )
        with memories.connect(name="own-policy", config=config) as cluster:
            memories.connect(name="own-policy", config=config).close()
            print("the same is known", flush=True)
            other = replace(config, migration_policy=OwnPolicy(eviction="lfu"))
            memories.connect(name="own-policy", config=other).close()
            cluster.shutdown(delete=True)
        """
    done = run_script(code, RAY_ADDRESS=ray_cluster.address)
    assert done.stdout == "the same is known\n", done.stderr
    assert done.stderr.count("keeps its configuration") == 1, done.stderr
    assert "migration_policy of this one is not used" in done.stderr


def test_connecting_that_fails_at_its_end_ends_the_ray_that_it_started() -> None:
    code = """
        import ray, memories
        from memories.actors.cluster import Cluster

        def fail(*_):
            raise OSError("in the middle")

        Cluster._differences = fail
        try:
            memories.connect("local", config=memories.ClusterConfig(hot_bytes=10**7, temporary=True))
        except OSError as error:
            print(error, ray.is_initialized())
        """
    done = run_script(code)
    assert done.stdout == "in the middle False\n", done.stderr


# -- drivers outside --------------------------------------------------------------------------------


def test_an_address_from_outside_is_refused_by_name_instead_of_ending_the_process(
    ray_cluster: RayCluster, tmp_path: Path
) -> None:
    """Ray itself would end this process after ten seconds. From outside means: no raylet of that cluster is
    on this machine; so here something else listens where its GCS would be."""
    done = run_script(
        """
        import socket, memories
        from memories.errors import Unavailable
        listener = socket.create_server(("127.0.0.1", 0))
        port = listener.getsockname()[1]
        try:
            memories.connect(f"127.0.0.1:{port}")
        except Unavailable as error:
            print(error)
        listener.close()
        try:
            memories.connect(f"127.0.0.1:{port}")
        except Unavailable as error:
            print(error)
        """
    )
    assert done.returncode == 0, done.stderr
    outside, silent = done.stdout.splitlines()
    assert "is not a node of the Ray cluster" in outside
    assert "connect('ray://127.0.0.1:10001')" in outside
    assert "ray job submit" in outside
    assert "nothing answers at" in silent


@pytest.fixture
def client_port(ray_cluster: RayCluster) -> Iterator[int]:
    """The port of a Ray Client server, as a head node has it at 10001."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = int(listener.getsockname()[1])
    arguments = ["--address", ray_cluster.address, "--host", "127.0.0.1", "--port", str(port)]
    command = [sys.executable, "-m", "ray.util.client.server", *arguments, "--mode", "specific-server"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        wait_until(lambda: answers(f"127.0.0.1:{port}"), 60)
        yield port
        server.terminate()


def test_a_driver_outside_works_through_the_ray_client(
    cluster: Cluster, memory: MemoryManager, client_port: int
) -> None:
    memory.store("from inside", np.arange(100_000))
    done = run_script(
        f"""
        import numpy as np, memories
        with memories.connect("ray://127.0.0.1:{client_port}", name={cluster.name!r}) as cluster:
            memory = cluster.memory()
            assert memory.retrieve("from inside")[-1] == 99_999
            memory.store("small", [1, "two"])
            memory.store("large", np.arange(200_000), durable=True)
            assert memory.retrieve("large")[-1] == 199_999
            assert memory.retrieve("large", start=5, end=7).tolist() == [5, 6]
            memory.store_many({{f"many/{{i}}": i for i in range(300)}})
            assert memory.retrieve_many(f"many/{{i}}" for i in range(300))["many/299"] == 299
            assert memory.delete("small") and not memory.exists("small")
            assert len(memory.keys("many/")) == 300
            assert cluster.status().tiers
        """
    )
    assert done.returncode == 0, done.stderr
    assert memory.retrieve("large")[-1] == 199_999


# -- other versions ---------------------------------------------------------------------------------


def test_another_version_of_the_package_is_told_at_connect(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    import memories

    monkeypatch.setattr(memories, "__version__", "99.0")
    with pytest.raises(VersionMismatch, match=r"runs Memories .* and this process has 99\.0.*same version"):
        connect(name=cluster.name)


@pytest.fixture
def bare_node(ray_cluster: RayCluster, tmp_path: Path) -> Iterator[Callable[[], object]]:
    """Adds nodes whose Python finds no Memoria and no Memories."""
    for name in ("memories", "memoria"):
        hidden = tmp_path / name
        hidden.mkdir()
        (hidden / "__init__.py").write_text("__path__ = []\n__version__ = '0'\n")
    nodes: list[object] = []

    def add() -> object:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("PYTHONPATH", str(tmp_path))
            nodes.append(
                ray_cluster.add_node(
                    num_cpus=1,
                    object_store_memory=100 * MB,
                    node_name=f"bare{len(nodes)}",
                    resources={"bare": 1},
                )
            )
        return nodes[-1]

    yield add
    for node in nodes:
        ray_cluster.remove_node(node)


def test_workers_that_cannot_import_the_package_are_told_at_connect(
    bare_node: Callable[[], object],
) -> None:
    """The tiers of this cluster go to one node, whose Python finds no Memories."""
    bare_node()
    with pytest.raises(VersionMismatch, match=r"workers of this Ray cluster cannot import Memories: install"):
        connect(name="bare", config=ClusterConfig(node_selector="bare", temporary=True))
    ray.kill(ray.get_actor("bare/coordinator", NAMESPACE))


def test_a_driver_brings_the_package_to_nodes_without_it(
    ray_cluster: RayCluster, bare_node: Callable[[], object]
) -> None:
    """Its actors have it as long as the cluster lives: after the driver has gone, when they are started
    again, and on nodes that join later."""
    bare_node()
    done = run_script(
        """
        import memories, memoria, numpy as np
        config = memories.ClusterConfig(
            node_selector="bare", temporary=True, hot_bytes=10**7, warm_bytes=10**7, cold_bytes=10**8
        )
        modules = {"py_modules": [memories, memoria]}
        with memories.connect(name="brought", config=config, runtime_env=modules) as cluster:
            cluster.memory().store("kept", np.arange(50_000), durable=True)
        try:
            memories.connect(name="brought", runtime_env=modules)
        except memories.MemoriesError as error:
            print(type(error).__name__, error)
        """,
        RAY_ADDRESS=ray_cluster.address,
    )
    assert done.returncode == 0, done.stderr
    assert "InvalidValue this process is connected to Ray already" in done.stdout
    cluster = connect(name="brought")
    memory = cluster.memory()
    assert memory.retrieve("kept")[-1] == 49_999
    first = {tier.member: tier.node for tier in cluster.status().tiers}
    assert len(first) == 3
    for name in [name for name in actors_of("brought") if "/tier/" in name]:
        pid = ray.get(ray.get_actor(name, NAMESPACE).__ray_call__.remote(lambda _self: os.getpid()))
        os.kill(int(pid), signal.SIGKILL)
    assert memory.retrieve("kept")[-1] == 49_999
    bare_node()
    wait_until(lambda: len(cluster.status().tiers) == 6, 90)
    assert memory.store("two", 2, replicas=2).copies == 2
    network = cluster.memoria(
        "brought",
        num_reminded_stm=2,
        stm_capacity=8,
        ltm_search_depth=2,
        initial_lifespan=3,
        num_final_ltms=2,
    )
    assert network.summary()["timestep"] == 0
    cluster.shutdown(delete=True)


# -- fork -------------------------------------------------------------------------------------------


def _use_after_fork(memory: MemoryManager, answers: Connection) -> None:
    found = []
    for call in (lambda: memory.retrieve("k"), lambda: memory.store("k", 2), lambda: memory.exists("k")):
        try:
            call()
        except Closed as error:
            found.append(str(error))
    try:
        connect(name="other")
    except Closed as error:
        found.append(str(error))
    answers.send(found)


def test_a_forked_child_is_told_instead_of_hanging(memory: MemoryManager) -> None:
    memory.store("k", 1)
    ours, theirs = multiprocessing.Pipe()
    child = multiprocessing.get_context("fork").Process(target=_use_after_fork, args=(memory, theirs))
    child.start()
    assert ours.poll(30), "the child hangs"
    messages = ours.recv()
    child.join(30)
    assert len(messages) == 4
    assert all("fork" in message and "spawn" in message for message in messages)
    assert memory.retrieve("k") == 1


# -- asyncio and notebooks --------------------------------------------------------------------------


def test_the_blocking_calls_work_inside_a_running_loop(memory: MemoryManager) -> None:
    """As in a notebook's cell, where a loop always runs."""

    async def cell() -> int:
        memory.store("in a loop", np.arange(50_000))
        return int(memory.retrieve("in a loop")[-1])

    assert asyncio.run(cell()) == 49_999


@pytest.fixture
def kernel() -> Iterator[Any]:
    """The Python of a notebook, as Jupyter starts it."""
    from jupyter_client.manager import start_new_kernel

    manager, client = start_new_kernel(
        kernel_name="python3",
        startup_timeout=120,
        env={k: v for k, v in os.environ.items() if k != "RAY_ADDRESS"},
    )
    yield client
    client.stop_channels()
    manager.shutdown_kernel(now=True)


def test_a_notebook_connects_stores_and_awaits(
    cluster: Cluster, ray_cluster: RayCluster, kernel: Any
) -> None:
    """Cells in a real kernel: blocking calls, `await` at the top of a cell, several at once, and an event."""

    def cell(code: str) -> str:
        shown: list[str] = []

        def note(message: dict[str, Any]) -> None:
            content = message["content"]
            shown.append(content.get("text") or content.get("data", {}).get("text/plain", ""))

        reply = kernel.execute_interactive(textwrap.dedent(code), output_hook=note, timeout=120)
        assert reply["content"]["status"] == "ok", "\n".join(reply["content"].get("traceback", ()))
        return "".join(shown).strip()

    cell(
        f"""
        import asyncio, memories, numpy as np
        cluster = memories.connect({ray_cluster.address!r}, name={cluster.name!r})
        memory = cluster.memory()
        """
    )
    assert cell("memory.store('notebook', np.arange(50_000)).copies") == "1"
    assert cell("int(memory.retrieve('notebook')[-1])") == "49999"
    cell("await memory.aio.store('awaited', {'a': [1, 2]}, durable=True)")
    assert cell("await memory.aio.retrieve('awaited')") == "{'a': [1, 2]}"
    assert (
        cell(
            """
            values = await asyncio.gather(*(memory.aio.retrieve(k) for k in ("notebook", "awaited")))
            len(values[0]), values[1]["a"]
            """
        )
        == "(50000, [1, 2])"
    )
    moved = cell(
        """
        async def move_about():
            for number in range(1000):
                await memory.aio.move("notebook", ("cold", "warm")[number % 2])
                await asyncio.sleep(0.1)

        mover = asyncio.ensure_future(move_about())
        event = await anext(aiter(memory.aio.subscribe("moved")))
        mover.cancel()
        event.keys
        """
    )
    assert moved == "('notebook',)"
    cell("memory.delete_many(['notebook', 'awaited']); cluster.close()")


def test_the_blocking_calls_work_inside_an_async_actor(cluster: Cluster) -> None:
    @ray.remote(num_cpus=0)
    class Asynchronous:
        async def use(self, name: str) -> int:
            import asyncio

            import memories

            memory = memories.connect(name=name).memory()
            await asyncio.to_thread(memory.store, "in an async actor", 5)
            found = await asyncio.to_thread(memory.retrieve, "in an async actor")
            memory.delete("in an async actor")
            return int(found)

    actor = Asynchronous.remote()
    assert ray.get(actor.use.remote(cluster.name), timeout=60) == 5
    ray.kill(actor)


# -- the memory monitor -----------------------------------------------------------------------------


def test_what_the_memory_monitor_kills_is_made_anew_and_told_by_the_doctor(
    ray_cluster: RayCluster, cluster: Cluster, memory: MemoryManager
) -> None:
    """A node that believes to be out of memory kills our actors; nothing that has two copies is lost."""
    for i in range(10):
        memory.store(f"kept/{i}", np.full(1_000, i), durable=True)
    before = len(cluster.status().tiers)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_memory_usage_threshold", "0.01")
        patch.setenv("RAY_memory_monitor_refresh_ms", "500")
        node = ray_cluster.add_node(num_cpus=1, object_store_memory=100 * MB, node_name="tight")

    def told() -> dict[str, str]:
        done = run_script(
            """
            import json
            from memories.doctor import examine
            print(json.dumps([f.as_dict() for f in examine() if f.name == "memory monitor"]))
            """,
            RAY_ADDRESS=ray_cluster.address,
        )
        (finding,) = json.loads(done.stdout)
        return dict(finding)

    wait_until(lambda: f"{cluster.name}/tier/" in told()["fact"], 90)
    finding = told()
    assert finding["state"] == "warning"
    assert "for want of memory" in finding["fact"]
    assert "smaller budgets" in finding["advice"]
    for i in range(10):
        assert memory.retrieve(f"kept/{i}")[0] == i
    ray_cluster.remove_node(node, allow_graceful=False)
    wait_until(lambda: len(cluster.status().tiers) == before, 60)
