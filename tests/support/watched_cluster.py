"""A cluster to look at, in a process of its own: two raylets, two clusters of ours ("live" with load, "bare"
without), and commands on standard input, each answered by one line of JSON."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

# A lost raylet is noticed in about two seconds instead of thirteen.
os.environ.update(
    {
        "RAY_health_check_period_ms": "500",
        "RAY_health_check_timeout_ms": "500",
        "RAY_health_check_failure_threshold": "3",
        "RAY_health_check_initial_delay_ms": "0",
    }
)

import numpy as np
import ray
import torch
from ray.cluster_utils import Cluster as RayCluster

from memories.actors.cluster import Cluster, connect
from memories.actors.config import ClusterConfig
from memories.actors.names import NAMESPACE
from memories.replay import Schema

MB = 1 << 20
CONFIG = ClusterConfig(hot_bytes=40 * MB, warm_bytes=120 * MB, cold_bytes=1000 * MB, temporary=True)
BARE = ClusterConfig(tiers=("warm",), warm_bytes=10 * MB, temporary=True)


class Watched:
    """The clusters, and what can be done with them from outside."""

    def __init__(self) -> None:
        store = {"object_store_memory": 300 * MB}
        self.ray = RayCluster(
            initialize_head=True,
            head_node_args={"num_cpus": 2, "include_dashboard": False, "node_name": "head", **store},
        )
        ray.init(address=self.ray.address, log_to_driver=False)
        self.worker = self.ray.add_node(num_cpus=1, node_name="worker", **store)
        self.live = connect(name="live", config=CONFIG)
        self.bare = connect(name="bare", config=BARE)
        self.memory = self.live.memory()
        self.steps = 0
        self._busy = threading.Event()
        self._worker: threading.Thread | None = None

    def address(self) -> str:
        return str(self.ray.address)

    def status(self, name: str = "live") -> dict[str, Any]:
        return self._cluster(name).status().as_dict()

    def load(self) -> int:
        """Keys with metadata in three tiers and on both nodes, reads, moves, and a Memoria network."""
        rng = np.random.default_rng(0)
        for number in range(30):
            self.memory.store(
                f"features/batch{number:02d}",
                rng.random(60_000 + 1000 * number),
                tier="warm",
                replicas=2,
                metadata={"split": "train" if number % 3 else "test", "epoch": number},
            )
        self.memory.store_many({f"labels/{number}": number for number in range(500)}, tier="warm")
        for number in range(4):
            self.memory.store(f"weights/layer{number}", torch.rand(500, 500), tier="hot", pin=True)
        for number in range(8):
            self.memory.move(f"features/batch{number:02d}", "cold")
        self.read()
        self.step()
        self.play()
        return len(self.memory.keys())

    def read(self) -> int:
        """Reads from every tier, some of them misses."""
        for number in range(12):
            for _ in range(1 + (number == 9) * 5):
                self.memory.retrieve(f"features/batch{number:02d}")
        for number in range(4):
            self.memory.retrieve(f"weights/layer{number}")
        for number in range(3):
            with contextlib.suppress(KeyError):
                self.memory.retrieve(f"absent/{number}")
        return 1

    def step(self) -> int:
        """Twenty steps of a network; how many it were in all."""
        network = self.live.memoria(
            "story",
            num_reminded_stm=6,
            stm_capacity=32,
            ltm_search_depth=5,
            initial_lifespan=9,
            num_final_ltms=6,
        )
        for _ in range(20):
            network.add_working_memory(torch.rand(1, 8, 16))
            _, indices = network.remind()
            network.adjust_lifespan_and_memories(indices, 4 * torch.rand(indices.shape))
            self.steps += 1
        return self.steps

    def play(self, batches: int = 10) -> int:
        """Insert into a replay buffer of two shards with backups, draw, and set priorities."""
        replay = self.live.replay(
            "pong",
            schema=Schema.from_example({"obs": np.zeros(8, np.float32), "reward": np.float32(0)}),
            kind="prioritized",
            capacity=4000,
            shards=2,
            replicas=2,
        )
        rng = np.random.default_rng(0)
        with replay.writer() as writer:
            for _ in range(batches):
                writer.add_batch(
                    {
                        "obs": rng.random((200, 8), np.float32),
                        "reward": rng.random(200, np.float32),
                    }
                )
        with replay.sampler(batch_size=64) as sampler:
            for _ in range(20):
                batch = next(sampler)
                replay.update_priorities(batch.handles, rng.lognormal(-2, 1, 64))
        return len(replay)

    def keep_busy(self, on: bool) -> bool:
        """Reads, stores, moves, steps and draws about once a second, until it is told to stop."""
        if on and not self._busy.is_set():
            self._busy.set()
            self._worker = threading.Thread(target=self._work, daemon=True)
            self._worker.start()
        elif not on and self._worker is not None:
            self._busy.clear()
            self._worker.join(60)
            self._worker = None
        return on

    def _work(self) -> None:
        rounds = 0
        while self._busy.is_set():
            rounds += 1
            self.read()
            self.memory.store("busy/last", np.zeros(20_000 * (1 + rounds % 7)), tier="warm")
            if rounds <= 8:
                self.memory.store(f"moving/{rounds}", np.zeros(10_000 * rounds), tier="warm")
            else:
                self.memory.move(f"moving/{1 + rounds % 8}", "cold" if rounds // 8 % 2 else "warm")
            self.play(rounds % 5 + 1)
            if rounds % 4 == 0:
                self.step()
            time.sleep(0.3)

    def pids(self) -> dict[str, int]:
        """The processes of the actors of the live cluster, by name."""
        from ray.util import list_named_actors

        found = {}
        for actor in list_named_actors(all_namespaces=True):
            if actor["namespace"] == NAMESPACE and actor["name"].startswith("live/"):
                handle = ray.get_actor(actor["name"], NAMESPACE)
                found[actor["name"]] = int(ray.get(handle.__ray_call__.remote(lambda _self: os.getpid())))
        return found

    def kill_coordinator(self) -> int:
        pid = self.pids()["live/coordinator"]
        os.kill(pid, signal.SIGKILL)
        return pid

    def pause_coordinator(self) -> int:
        """Nothing is answered until the process is told to go on."""
        pid = self.pids()["live/coordinator"]
        os.kill(pid, signal.SIGSTOP)
        return pid

    def kill_worker(self) -> int:
        """SIGKILL to the raylet of the second node."""
        self.ray.remove_node(self.worker, allow_graceful=False)
        return 1

    def end(self) -> int:
        for cluster in (self.live, self.bare):
            cluster.shutdown(delete=True)
        ray.shutdown()
        self.ray.shutdown()
        return 1

    def _cluster(self, name: str) -> Cluster:
        return {"live": self.live, "bare": self.bare}[name]


def main() -> None:
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what Ray prints is no answer
    watched = Watched()
    print(json.dumps(watched.address()), file=answers, flush=True)
    for line in sys.stdin:
        what, *arguments = json.loads(line)
        command: Callable[..., Any] = getattr(watched, what)
        print(json.dumps(command(*arguments)), file=answers, flush=True)
        if what == "end":
            return
    watched.end()


if __name__ == "__main__":
    main()
