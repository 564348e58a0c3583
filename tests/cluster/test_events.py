"""Subscribers hear what happens, whatever happens to the coordinator and to themselves."""

from __future__ import annotations

import os
import queue
import signal
import threading
from typing import Any

import numpy as np
import pytest
from ray.cluster_utils import Cluster as RayCluster

from memories.actors.cluster import Cluster
from memories.actors.memory_manager import MemoryManager
from memories.actors.subscription import KEPT_EVENTS, Event, Subscription
from memories.errors import Closed, InvalidValue

from .conftest import MB, pid_of, wait_until


def next_of(events: Subscription, what: str, key: str = "") -> Event:
    """The next such event; others are passed over."""
    while True:
        event = events.get(timeout_s=60)
        if event.what == what and (not key or key in event.keys):
            return event


def test_moves_and_evictions_are_told_in_their_order(memory: MemoryManager) -> None:
    with memory.subscribe("moved", "evicted") as events:
        memory.store("mover", np.zeros(1_000), tier="warm")
        memory.move("mover", "cold")
        event = next_of(events, "moved", "mover")
        assert event.member.endswith("/cold")
        assert event.count == 1
        memory.store("unread", 1, tier="hot")
        assert next_of(events, "evicted", "unread").member.endswith("/hot0")


def test_an_iterator_ends_with_its_memory(cluster: Cluster) -> None:
    manager = cluster.memory()
    events = manager.subscribe()
    seen: list[Event] = []
    reader = threading.Thread(target=lambda: seen.extend(events))
    reader.start()
    manager.store("k", 1)
    manager.move("k", "cold")
    wait_until(lambda: any(event.what == "moved" for event in seen), 30)
    manager.delete("k")
    manager.close()
    reader.join(30)
    assert not reader.is_alive()
    with pytest.raises(Closed):
        events.get(timeout_s=1)


def test_a_callback_that_raises_is_called_again(memory: MemoryManager) -> None:
    seen: list[str] = []

    def callback(event: Event) -> None:
        seen.append(event.keys[0])
        raise RuntimeError("of the user")

    with memory.subscribe("moved", callback=callback) as events:
        for i in range(3):
            memory.store(f"c{i}", 1)
            memory.move(f"c{i}", "cold")
        wait_until(lambda: seen == ["c0", "c1", "c2"], 30)
        assert events.heartbeat.failures == 3
        assert "of the user" in events.heartbeat.last_error


def test_a_subscription_survives_the_coordinator(memory: MemoryManager, cluster: Cluster) -> None:
    with cluster.subscribe("serving", "moved") as events:
        os.kill(pid_of(f"{cluster.name}/coordinator"), signal.SIGKILL)
        next_of(events, "serving")
        memory.store("after", 1)
        memory.move("after", "cold")
        next_of(events, "moved", "after")


def test_nodes_that_join_and_are_lost_and_repairs_are_told(
    memory: MemoryManager, cluster: Cluster, ray_cluster: RayCluster
) -> None:
    nodes: list[Any] = []
    try:
        with memory.subscribe("node joined", "node lost", "repaired", "left") as events:
            nodes += [ray_cluster.add_node(num_cpus=1, object_store_memory=200 * MB) for _ in range(2)]
            joined = {next_of(events, "node joined").member for _ in range(2)}
            assert joined == {node.node_id for node in nodes}
            wait_until(lambda: len([t for t in cluster.status().tiers if t.node in joined]) == 6, 60)
            for i in range(12):
                memory.store(f"r{i}", np.full(1_000, i), replicas=2)
            located = memory._client.locate_many([f"r{i}" for i in range(12)], touch=False)
            used = {member.partition("/")[0] for where in located for member, _ in where.members}
            victim = next(node for node in nodes if node.node_id in used)
            ray_cluster.remove_node(victim, allow_graceful=False)
            told: dict[str, Event] = {}
            while not {"node lost", "repaired"} <= told.keys():  # which comes first is not fixed
                event = events.get(timeout_s=60)
                told[event.what] = event
            assert told["node lost"].member == victim.node_id
    finally:
        for node in nodes:
            if node in ray_cluster.worker_nodes:
                ray_cluster.remove_node(node)
    wait_until(lambda: not any(t.node in joined for t in cluster.status().tiers), 60)


def test_a_slow_subscriber_is_told_how_much_it_missed(memory: MemoryManager) -> None:
    with memory.subscribe() as events:
        for number in range(KEPT_EVENTS + 5):
            events._take(Event("moved", 0.0, keys=(str(number),), count=1))
        first, second = events.get(timeout_s=1), events.get(timeout_s=1)
        assert (first.what, first.count) == ("missed", 5)
        assert second.keys == ("5",)


def test_unknown_kinds_are_refused_and_nothing_new_is_empty(memory: MemoryManager) -> None:
    with pytest.raises(InvalidValue, match="no events explosions"):
        memory.subscribe("explosions")
    with memory.subscribe("lost") as events, pytest.raises(queue.Empty):
        events.get(timeout_s=0.01)
