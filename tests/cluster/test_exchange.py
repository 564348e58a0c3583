"""What moves between tier actors holds in the object store only what is counted."""

from __future__ import annotations

import sys

import numpy as np
import ray
from ray._private import state

from memories.actors.calls import Deadline
from memories.actors.cluster import Cluster
from memories.actors.memory_manager import MemoryManager

from .conftest import MB, object_store_bytes, wait_until


def store_used_bytes() -> int:
    """What the object store of this node says itself."""
    node = ray.get_runtime_context().get_node_id()
    total = next(n["Resources"]["object_store_memory"] for n in ray.nodes() if n["NodeID"] == node)
    free = state.available_resources_per_node()[node].get("object_store_memory", 0.0)
    return int(total - free)


def test_one_of_many_values_that_moved_together_does_not_keep_the_others(
    memory: MemoryManager, cluster: Cluster
) -> None:
    before = store_used_bytes()
    values = {f"k{i}": np.full(MB // 2, i, np.float64) for i in range(12)}
    memory.store_many(values, tier="hot")
    for key in values:
        memory.retrieve(key)
    memory._client.move_many(list(values), "warm")
    for key in list(values)[1:]:
        memory.delete(key)
    assert np.array_equal(memory.retrieve("k0"), values["k0"])
    wait_until(lambda: store_used_bytes() - before < 8 * MB, 30)


def test_what_moved_into_warm_is_read_as_shared_memory(memory: MemoryManager) -> None:
    memory.store_many({f"v{i}": np.full(MB, i, np.float64) for i in range(3)}, tier="hot")
    memory._client.move_many(["v0", "v1", "v2"], "warm")
    first, second = memory.retrieve("v1"), memory.retrieve("v1")
    assert first[5] == 1
    assert np.shares_memory(first, second)


def test_a_small_value_in_place_of_a_large_one_gives_its_memory_back(memory: MemoryManager) -> None:
    wait_until(lambda: object_store_bytes() < MB, 30)  # what others have left has gone
    memory.store("shrinks", np.zeros(2 * MB), tier="warm")
    assert object_store_bytes() > 15 * MB
    memory.store("shrinks", "small", tier="warm")
    wait_until(lambda: object_store_bytes() < MB, 30)
    assert memory.retrieve("shrinks") == "small"


def test_small_and_large_values_move_together(memory: MemoryManager) -> None:
    values = {f"m{i}": np.arange(10 + i * 5_000) for i in range(20)}
    memory.store_many(values)
    for tier in ("cold", "hot", "warm"):
        memory._client.move_many(list(values), tier)
        back = memory.retrieve_many(values)
        assert all(np.array_equal(back[key], value) for key, value in values.items())


def test_a_value_can_go_back_at_once_to_where_it_came_from(memory: MemoryManager) -> None:
    """What it left behind there may still be on its way out."""
    memory.store("there", np.arange(100_000), tier="warm")
    for _ in range(5):
        memory.move("there", "cold")
        memory.move("there", "warm")
    assert memory.get_tier("there") == "warm"


def test_a_move_loads_nothing_while_a_writer_may_be_waiting_for_it(
    memory: MemoryManager, cluster: Cluster
) -> None:
    memory.store("first", np.zeros(MB, np.uint8), tier="hot")
    memory.move("first", "warm")
    warm = next(tier for tier in cluster.status().tiers if tier.tier == "warm")
    connection = memory._client._connection
    actor = connection.tier_actor(warm.member, Deadline.after(30, "finding the tier"))
    modules = ray.get(actor.__ray_call__.remote(lambda _: sorted(sys.modules)))
    assert "memories.actors.tier_actor" in modules
    assert "memories.actors.coordinator" not in modules, "a quarter of a second, on the event loop"
