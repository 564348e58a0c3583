"""`Cluster.status()` tells what the cluster itself does and holds, and costs it next to nothing."""

from __future__ import annotations

import json
import time

import numpy as np
import pytest
import torch

from memories.actors.cluster import Cluster
from memories.errors import KeyNotFound

from .conftest import MB, wait_until


def test_keys_reads_flows_and_events_are_those_that_happened(cluster: Cluster) -> None:
    with cluster.memory() as memory:
        memory.store("large", np.zeros(3 * MB, np.uint8), tier="warm")
        memory.store("small", 1, tier="warm")
        for _ in range(5):
            memory.retrieve("small")
        memory.retrieve("large")
        memory.move("large", "cold")
        memory.retrieve("large")
        with pytest.raises(KeyNotFound):
            memory.retrieve("absent")
        status = cluster.status()
        assert status.phase == "serving"
        assert status.keys == 2
        assert status.reads.found == {"warm": 6, "cold": 1}
        assert status.reads.missed == 1
        (flow,) = status.flows
        assert (flow.source, flow.target, flow.what, flow.keys) == ("warm", "cold", "moved", 1)
        assert 3 * MB <= flow.nbytes < 3 * MB + 10_000
        assert [(k.key, k.tier) for k in status.largest] == [("large", "cold"), ("small", "warm")]
        assert [k.key for k in status.hottest] == ["small", "large"]
        assert status.hottest[1].reads < status.hottest[0].reads <= 5, "older reads count less"
        moved = next(event for event in status.events if event.what == "moved")
        assert (moved.keys, moved.count) == (("large",), 1)
        json.dumps(status.as_dict(), allow_nan=False)
        memory.clear()


def test_machines_say_what_they_use(cluster: Cluster) -> None:
    with cluster.memory() as memory:
        memory.store("array", np.zeros(100 * MB, np.uint8), tier="warm")
        wait_until(lambda: cluster.status().nodes[0].object_store_used_bytes >= 100 * MB, 30)
        node = cluster.status().nodes[0]  # others may have died before: they are shown too
        assert node.head
        assert node.online
        assert node.heartbeat_age_s < 5
        assert 0 < node.memory_used_bytes < node.memory_total_bytes
        assert 0 < node.disk_free_bytes < node.disk_total_bytes
        assert node.object_store_bytes > 1000 * MB
        wait_until(lambda: sum(t.writes for t in cluster.status().tiers if t.tier == "warm") >= 1, 30)
        memory.clear()


def test_networks_report_themselves(cluster: Cluster) -> None:
    network = cluster.memoria(
        "seen", num_reminded_stm=4, stm_capacity=16, ltm_search_depth=5, initial_lifespan=9, num_final_ltms=4
    )
    wait_until(lambda: len(cluster.status().memoria) == 1, 20)
    assert cluster.status().memoria[0].sessions == (), "nobody has used it yet"
    for _ in range(8):
        network.add_working_memory(torch.rand(1, 8, 16))
        _, indices = network.remind()
        network.adjust_lifespan_and_memories(indices, torch.ones(indices.shape))
    wait_until(lambda: _timestep(cluster) == 8, 20)
    (status,) = cluster.status().memoria
    (session,) = status.sessions
    summary = network.summary()
    assert (status.name, session.session) == ("seen", "default")
    assert session.engrams == summary["engrams"] == session.lifespans.total
    assert (session.working, session.shortterm, session.longterm) == (
        summary["working"], summary["shortterm"], summary["longterm"],
    )  # fmt: skip
    counts = [link.count for link in session.strongest]
    assert counts
    assert counts == sorted(counts, reverse=True)
    shown = {index for index, _ in session.types}
    assert all({link.source, link.target} <= shown for link in session.strongest)


def _timestep(cluster: Cluster) -> int:
    sessions = cluster.status().memoria[0].sessions
    return sessions[0].timestep if sessions else -1


def test_however_many_look_others_are_asked_once_a_second(cluster: Cluster) -> None:
    def rounds() -> int:
        return next(loop.rounds for loop in cluster.status().loops if loop.name == "observer")

    first, started_s = rounds(), time.monotonic()
    looks = 0
    while time.monotonic() - started_s < 3:
        cluster.status()
        looks += 1
    asked = rounds() - first
    assert looks > 12
    assert 1 <= asked <= 5
