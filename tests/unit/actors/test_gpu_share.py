"""One hot actor for each GPU: what it asks for, which device it takes, and what its budget is."""

from __future__ import annotations

import pytest

from memories.actors.config import ClusterConfig
from memories.actors.gpu_share import (
    CUDA_CONTEXT_BYTES,
    SEES_ALL_GPUS,
    actors_for,
    budget_bytes,
    context_bytes,
    device_name,
    options_for,
)
from memories.actors.launch import tiers_of_node

GIB = 1 << 30


def test_a_node_carries_one_hot_actor_for_each_gpu_and_one_of_every_other_tier() -> None:
    node = {"Resources": {"GPU": 4.0, "CPU": 8.0}}
    carried = list(tiers_of_node(node, ClusterConfig()))
    assert carried == [("hot", 0), ("hot", 1), ("hot", 2), ("hot", 3), ("warm", 0), ("cold", 0)]
    assert next(iter(tiers_of_node({"Resources": {"CPU": 8.0}}, ClusterConfig()))) == ("hot", 0)
    assert actors_for(0) == 1
    assert actors_for(0.5) == 1


def test_each_asks_for_a_fraction_and_sees_all_gpus() -> None:
    assert options_for("hot", 4, 0.05) == {"num_gpus": 0.05, "runtime_env": {"env_vars": SEES_ALL_GPUS}}
    assert options_for("warm", 4, 0.05) == {"num_gpus": 0}
    assert options_for("hot", 0, 0.05) == {"num_gpus": 0}


@pytest.mark.parametrize(
    ("wanted", "index", "visible", "device"),
    [
        (None, 0, 4, "cuda:0"),
        (None, 3, 4, "cuda:3"),
        ("cuda", 2, 4, "cuda:2"),
        (None, 0, 0, "cpu"),
        (None, 4, 4, "cpu"),
        ("cpu", 1, 4, "cpu"),
        ("cuda:1", 0, 4, "cuda:1"),
    ],
)
def test_every_actor_takes_the_gpu_of_its_index(
    wanted: str | None, index: int, visible: int, device: str
) -> None:
    assert device_name(wanted, index, visible) == device


def test_the_budget_pays_for_the_context_and_is_what_is_free_at_most() -> None:
    assert context_bytes(20 * GIB, 20 * GIB - 400_000_000) == 400_000_000
    assert context_bytes(None, 20 * GIB) == CUDA_CONTEXT_BYTES
    assert context_bytes(20 * GIB, 21 * GIB) == CUDA_CONTEXT_BYTES  # somebody else left
    assert context_bytes(20 * GIB, 1 * GIB) == CUDA_CONTEXT_BYTES  # somebody else came
    assert budget_bytes(8 * GIB, 70 * GIB, GIB) == 7 * GIB
    assert budget_bytes(8 * GIB, 3 * GIB, GIB) == 3 * GIB
    assert budget_bytes(GIB // 2, 70 * GIB, GIB) == 0
