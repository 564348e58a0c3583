"""Sessions of the actor of a network: what is acknowledged is saved, and what is not saved has not happened.

A kill is another actor over the same store.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from memoria import InvalidType, Memoria, NoWorkingMemory
from memories.actors import logs, memoria_actor
from memories.actors.memoria_actor import KEPT_CLIENTS, MemoriaActor
from memories.actors.memoria_network import MemoriaNetwork
from memories.errors import InvalidValue, KeyNotFound, StepInterrupted, Unavailable
from memories.tiers.codec import decode

ARGUMENTS: dict[str, Any] = {
    "num_reminded_stm": 2,
    "stm_capacity": 8,
    "ltm_search_depth": 2,
    "initial_lifespan": 9,
    "num_final_ltms": 2,
    "tie_break": "first",
}


class Store:
    """The tiers, in a dict; `failures` says how many of the next stores fail."""

    node = "n1"

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}
        self.failures = 0

    def retrieve(self, key: str) -> Any:
        if key not in self.values:
            raise KeyNotFound(key)
        found = self.values[key]
        return decode(found.header, found.buffers)

    def store_many(self, keys: list[str], values: list[Any], *_: Any) -> None:
        if self.failures:
            self.failures -= 1
            raise Unavailable("no tier answers")
        self.values.update(zip(keys, values, strict=True))

    def keys(self, prefix: str) -> list[str]:
        return [key for key in self.values if key.startswith(prefix)]


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Store:
    made = Store()
    monkeypatch.setattr(memoria_actor, "MemoryClient", lambda *_: made)
    monkeypatch.setattr(logs, "set_up", lambda *_: None)
    return made


def actor(interval: int = 1, **arguments: Any) -> MemoriaActor:
    settings = logs.LogSettings("text", "ERROR")
    return MemoriaActor("c", "ns", "net", {**ARGUMENTS, **arguments}, interval, 1, settings)


def data(seed: int, number: int = 2) -> Any:
    return np.random.default_rng(seed).random((1, number, 4), dtype=np.float32)


def begin(of: MemoriaActor, first: int, client: str = "c") -> tuple[Any, Any]:
    of.add_working_memory("s", client, first, data(first))
    _, indices = of.remind("s", client, first + 1)
    return indices, np.ones(indices.shape, np.float32)


def step(of: MemoriaActor, first: int, client: str = "c") -> None:
    of.adjust("s", client, first + 2, *begin(of, first, client))


def engrams(of: MemoriaActor) -> int:
    return int(of.summary("s")["engrams"])


@pytest.mark.parametrize("interval", [1, 2])
def test_a_step_that_could_not_be_saved_is_not_acknowledged_when_it_is_repeated(
    store: Store, interval: int
) -> None:
    first = actor(interval)
    for number in range(interval - 1):
        step(first, 1 + 3 * number)
    call = ("s", "c", 3 * interval, *begin(first, 3 * interval - 2))
    store.failures = 2
    for _ in range(2):
        with pytest.raises(Unavailable):
            first.adjust(*call)
    first.adjust(*call)
    assert first.summary("s")["timestep"] == interval
    assert actor(interval).summary("s")["timestep"] == interval


def test_what_resets_or_replaces_a_session_and_cannot_be_saved_changes_nothing(store: Store) -> None:
    first, other = actor(), actor()
    step(first, 1)
    other.add_working_memory("other", "x", 1, data(5, 5))
    state = other.state("other")
    for change in (first.reset_memory, lambda *call: first.load_state(*call, state)):
        store.failures = 1
        with pytest.raises(Unavailable):
            change("s", "c", 4)
        assert engrams(first) == engrams(actor()) == 2
    first.reset_memory("s", "c", 4)
    assert engrams(first) == engrams(actor()) == 0
    first.load_state("s", "c", 5, state)
    assert engrams(first) == engrams(actor()) == 5


def test_a_session_is_not_saved_in_the_middle_of_a_step(store: Store) -> None:
    first = actor(interval=5)
    step(first, 1)
    call = begin(first, 4)
    with pytest.raises(InvalidValue, match="under way"):
        first.checkpoint("s")
    first.adjust("s", "c", 6, *call)
    first.checkpoint("s")
    assert actor(interval=5).summary("s")["timestep"] == 2


def test_a_state_from_the_middle_of_a_step_goes_on_from_there(store: Store) -> None:
    first = actor()
    first.add_working_memory("s", "c", 1, data(1))
    first.load_state("t", "c", 1, first.state("s"))
    memories, indices = first.remind("t", "c", 2)
    assert memories.shape[:2] == indices.shape
    assert first.summary("t")["working"] == 2


@pytest.mark.parametrize("steps", [0, 2])
def test_a_kill_in_the_middle_of_any_step_is_named(store: Store, steps: int) -> None:
    first = actor()
    for number in range(steps):
        step(first, 1 + 3 * number)
    sequence = 3 * steps
    begin(first, sequence + 1)
    with pytest.raises(StepInterrupted, match="add_working_memory again"):
        actor().remind("s", "c", sequence + 2)
    with pytest.raises(StepInterrupted, match="add_working_memory again"):
        actor().adjust("s", "c", sequence + 3, np.zeros((1, 1), np.int64), np.ones((1, 1), np.float32))


def test_who_asks_before_the_first_step_is_told_that_there_is_no_working_memory(store: Store) -> None:
    with pytest.raises(NoWorkingMemory):
        actor().remind("s", "c", 1)
    first = actor()
    first.reset_memory("s", "c", 1)
    with pytest.raises(NoWorkingMemory):
        first.remind("s", "c", 2)


def test_calls_that_come_again_change_nothing(store: Store) -> None:
    first = actor()
    first.add_working_memory("s", "c", 1, data(1))
    first.remind("s", "c", 2)
    for sequence in (1, 2, 1):
        first.add_working_memory("s", "c", sequence, data(1))
    assert first.summary("s")["working"] == 2


def test_only_the_last_clients_are_remembered(store: Store) -> None:
    first = actor()
    for number in range(KEPT_CLIENTS + 5):
        first.reset_memory("s", f"c{number}", 1)
    state = first._session("s")
    assert len(state.answers) == len(state.done) == KEPT_CLIENTS
    assert list(state.done)[-1] == f"c{KEPT_CLIENTS + 4}"


def test_settings_are_those_of_the_network_with_its_defaults(store: Store) -> None:
    expected = {**Memoria(**ARGUMENTS).settings, "device": None, "checkpoint_interval": 3}
    assert actor(3).settings() == expected


class Handle(MemoriaNetwork):
    """A handle whose calls stay here."""

    def __init__(self) -> None:
        super().__init__("c/memoria/net", "ns")
        self.calls: list[tuple[Any, ...]] = []

    def _call(self, method: str, *arguments: Any) -> Any:
        self.calls.append((method, *arguments))
        return np.zeros((1, 1, 4), np.float32), np.zeros((1, 1), np.int64)


def test_a_handle_refuses_what_the_network_refuses() -> None:
    import torch

    handle = Handle()
    for wrong in (np.zeros((1, 2, 4)), torch.zeros(1, 2, 4, dtype=torch.int64), torch.zeros(1, 2, 4) + 1j):
        with pytest.raises(InvalidType):
            handle.add_working_memory(wrong)  # type: ignore[arg-type]
    with pytest.raises(InvalidType, match="indices"):
        handle.adjust_lifespan_and_memories([[0]], torch.ones(1, 1))  # type: ignore[arg-type]
    assert not handle.calls


def test_a_handle_sends_what_it_was_given() -> None:
    import torch

    handle = Handle()
    handle.adjust_lifespan_and_memories(torch.zeros(1, 1, dtype=torch.bfloat16), torch.ones(1, 1) + 5j)
    indices, delta = handle.calls[0][4:]
    assert indices.dtype == np.float32  # the actor refuses it
    assert delta.dtype == np.complex64  # and this


def test_a_handle_answers_in_the_dtype_of_the_data_that_was_taken() -> None:
    import pickle

    import torch

    handle = MemoriaNetwork("c/memoria/net", "ns")
    handle._like = torch.zeros(0, 2, 4, dtype=torch.float16)
    assert pickle.loads(pickle.dumps(handle))._like.dtype == torch.float16  # type: ignore[union-attr]
    failing = Handle()
    failing._like = torch.zeros(0, 2, 4)

    def refuse(*_: Any) -> Any:
        raise Unavailable("gone")

    failing._call = refuse  # type: ignore[method-assign]
    with pytest.raises(Unavailable):
        failing.add_working_memory(torch.zeros(1, 2, 4, dtype=torch.float16))
    assert failing._like.dtype == torch.float32
