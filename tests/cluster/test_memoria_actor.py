"""A Memoria network on the cluster behaves as one in the process, and loses no acknowledged step."""

from __future__ import annotations

import os
import pickle
import signal
from pathlib import Path

import pytest
import ray
import torch

from memoria import InvalidArgument, Memoria
from memories.actors.cluster import Cluster
from memories.actors.memoria_network import MemoriaNetwork
from memories.actors.names import NAMESPACE
from memories.errors import InvalidValue, KeyNotFound, StepInterrupted

ARGUMENTS = {
    "num_reminded_stm": 4,
    "stm_capacity": 16,
    "ltm_search_depth": 5,
    "initial_lifespan": 3,
    "num_final_ltms": 4,
    "tie_break": "first",
    "mode": "paper",
}


def step(network: Memoria | MemoriaNetwork, number: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(number)
    network.add_working_memory(torch.rand(2, 8, 32, generator=generator))
    memories, indices = network.remind()
    delta = torch.randint(0, 6, indices.shape, generator=generator).float()
    network.adjust_lifespan_and_memories(indices, delta)
    return memories, indices


def kill(name: str) -> None:
    actor = ray.get_actor(name, NAMESPACE)
    pid = ray.get(actor.__ray_call__.remote(lambda _self: os.getpid()))
    os.kill(int(pid), signal.SIGKILL)


def test_it_does_what_the_network_does_and_a_kill_loses_no_acknowledged_step(cluster: Cluster) -> None:
    remote, local = cluster.memoria("killed", **ARGUMENTS), Memoria(**ARGUMENTS)
    for number in range(24):
        if number in (7, 15):
            kill(f"{cluster.name}/memoria/killed")
        expected, found = step(local, number), step(remote, number)
        assert torch.equal(expected[0], found[0])
        assert torch.equal(expected[1], found[1])
    assert remote.summary()["timestep"] == 24


def test_a_step_that_the_kill_interrupted_is_named_and_can_be_begun_again(cluster: Cluster) -> None:
    remote, local = cluster.memoria("interrupted", **ARGUMENTS), Memoria(**ARGUMENTS)
    for number in range(5):
        step(local, number)
        step(remote, number)
    remote.add_working_memory(torch.rand(2, 8, 32))
    kill(f"{cluster.name}/memoria/interrupted")
    with pytest.raises(StepInterrupted, match="add_working_memory again"):
        remote.remind()
    for number in range(5, 10):
        assert torch.equal(step(local, number)[1], step(remote, number)[1])


def test_sessions_are_independent_and_handles_travel(cluster: Cluster) -> None:
    first = cluster.memoria("sessions", **ARGUMENTS)
    second = pickle.loads(pickle.dumps(first.session("second")))
    step(first, 0)
    for number in range(3):
        step(second, number)
    assert first.summary()["timestep"] == 1
    assert second.summary()["timestep"] == 3
    assert first.sessions() == ["default", "second"]
    first.reset_memory()
    assert first.summary()["engrams"] == 0
    assert second.summary()["engrams"] > 0


def test_a_saved_state_goes_on_in_the_process_and_back(cluster: Cluster, tmp_path: Path) -> None:
    remote = cluster.memoria("saved", **ARGUMENTS)
    for number in range(6):
        step(remote, number)
    remote.save(tmp_path / "state")
    local = Memoria(**ARGUMENTS)
    local.load(tmp_path / "state")
    other = remote.session("loaded")
    other.load(tmp_path / "state")
    for number in range(6, 12):
        expected = step(local, number)[1]
        assert torch.equal(step(remote, number)[1], expected)
        assert torch.equal(step(other, number)[1], expected)


def test_bad_input_is_named_as_the_network_names_it(cluster: Cluster) -> None:
    network = cluster.memoria("bad", **ARGUMENTS)
    step(network, 0)
    before = network.summary()["engrams"]
    with pytest.raises(ValueError, match="hidden"):
        network.add_working_memory(torch.rand(2, 8, 33))
    assert network.summary()["engrams"] == before
    with pytest.raises(InvalidArgument):
        cluster.memoria("never", **{**ARGUMENTS, "mode": "dream"})
    with pytest.raises(InvalidValue, match="stm_capacity"):
        cluster.memoria("bad", **{**ARGUMENTS, "stm_capacity": 8})


def test_a_network_is_found_by_its_name_or_by_what_its_defaults_are(cluster: Cluster) -> None:
    arguments = {name: value for name, value in ARGUMENTS.items() if name != "mode"}
    with pytest.raises(KeyNotFound, match="arguments of Memoria"):
        cluster.memoria("found")
    made = cluster.memoria("found", **arguments)
    step(made, 0)
    assert cluster.memoria("found").summary()["timestep"] == 1
    again = cluster.memoria("found", **arguments, mode=Memoria(**arguments).mode)
    assert again.summary()["timestep"] == 1
    for wrong in (0, "2", True):
        with pytest.raises(InvalidValue, match="checkpoint_interval"):
            cluster.memoria("never", checkpoint_interval=wrong, **arguments)  # type: ignore[arg-type]
    with pytest.raises(InvalidValue, match="replicas"):
        cluster.memoria("never", replicas=0, **arguments)
    with pytest.raises(InvalidValue, match="nonsense"):
        cluster.memoria("never", device="nonsense", **arguments)
    on_the_cpu = cluster.memoria("placed", device=torch.device("cpu"), **arguments)
    assert cluster.memoria("placed", device="cpu", **arguments).sessions() == on_the_cpu.sessions()
