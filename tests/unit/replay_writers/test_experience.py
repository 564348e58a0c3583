from __future__ import annotations

import logging
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats

from memories.errors import InvalidType, InvalidValue, NothingToSample
from memories.replay import (
    ExperienceReplay,
    MemoryPlugin,
    PluginManager,
    PrioritizedExperienceReplay,
)

STATE, NEXT = [0.1, 0.2, 0.3, 0.4], [0.2, 0.3, 0.4, 0.5]


@pytest.fixture(params=[ExperienceReplay, PrioritizedExperienceReplay])
def kind(request: pytest.FixtureRequest) -> Any:
    return request.param


def batch_of(buffer: Any, size: int) -> Any:
    sampled = buffer.sample(size)
    return sampled if isinstance(buffer, ExperienceReplay) else sampled[1]


def test_what_was_stored_comes_back_as_it_was(kind: Any) -> None:
    buffer = kind(capacity=10)
    buffer.store(STATE, 1, 0.5, NEXT, False)
    assert batch_of(buffer, 1) == [(STATE, 1, 0.5, NEXT, False)]
    first = batch_of(buffer, 1)[0]
    assert (type(first.state), type(first.action), type(first.reward), type(first.done)) == (
        list,
        int,
        float,
        bool,
    )


def test_sampling_more_than_is_stored_repeats_and_says_so_once(
    kind: Any, caplog: pytest.LogCaptureFixture
) -> None:
    buffer = kind(capacity=10)
    buffer.store(STATE, 1, 0.5, NEXT, False)
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            assert len(batch_of(buffer, 5)) == 5
    assert len(caplog.records) == 1
    assert "5" in caplog.text


def test_arrays_come_back_as_arrays_and_are_copies(kind: Any) -> None:
    buffer = kind(capacity=10)
    state = np.arange(3, dtype=np.float32)
    buffer.store(state, np.int64(2), np.float32(1), state, np.bool_(True))
    state[:] = 9
    got = batch_of(buffer, 1)[0]
    assert got.state.dtype == np.float32
    assert got.state.tolist() == [0, 1, 2]
    assert got.action.dtype == np.int64
    got.state[:] = 7
    assert batch_of(buffer, 1)[0].state.tolist() == [0, 1, 2]


def test_tensors_dicts_and_tuples_come_back_in_their_containers(kind: Any) -> None:
    buffer = kind(capacity=10)
    state = {"image": np.zeros((2, 2), np.uint8), "pose": (np.ones(2), {"x": 3})}
    buffer.store(state, torch.tensor([1.0, 2.0]), 0.0, state, False)
    got = batch_of(buffer, 2)[1]
    assert isinstance(got.action, torch.Tensor)
    assert got.action.tolist() == [1.0, 2.0]
    assert got.state["image"].dtype == np.uint8
    pose = got.state["pose"]
    assert isinstance(pose, tuple)
    assert pose[1] == {"x": 3}
    assert pose[0].tolist() == [1.0, 1.0]


def test_later_values_of_a_wider_dtype_widen_the_buffer(kind: Any) -> None:
    buffer = kind(capacity=10)
    buffer.store([0, 0], 1, 1, [0, 1], False)
    buffer.store([0.5, 0.25], 1, 0.5, [2**40, 0.125], 1.0)
    got = sorted(batch_of(buffer, 50), key=lambda row: row.reward)
    assert got[0] == ([0.5, 0.25], 1, 0.5, [2.0**40, 0.125], True)
    assert got[-1] == ([0, 0], 1, 1, [0, 1], False)


def test_widening_keeps_priorities_and_indices() -> None:
    buffer = PrioritizedExperienceReplay(10, alpha=1.0, seed=0)
    buffer.store([0], 0, 0, [0], False)
    buffer.store([1], 0, 0, [0], False)
    idxs, batch, _ = buffer.sample(100)
    zero = idxs[[row.state == [0] for row in batch]][:1]
    one = idxs[[row.state == [1] for row in batch]][:1]
    buffer.store([2.5], 0, 0, [0], False)
    assert buffer.update_priorities(np.concatenate([zero, one]), [0.0, 1e9]) == (2, 0)
    assert {row.state[0] for row in buffer.sample(200)[1]} == {1.0}


def test_the_oldest_makes_room(kind: Any) -> None:
    buffer = kind(capacity=3)
    for i in range(5):
        buffer.store([i], i, float(i), [i + 1], False)
    assert len(buffer) == 3
    assert buffer.capacity == 3
    assert {row.action for row in batch_of(buffer, 200)} == {2, 3, 4}


def test_a_uniform_batch_repeats_nothing_and_every_experience_is_as_likely() -> None:
    buffer = ExperienceReplay(capacity=20, seed=3)
    for i in range(33):  # so that the ring has wrapped
        buffer.store([i], i, 0.0, [i], False)
    counts = np.zeros(33, int)
    for _ in range(2000):
        actions = [row.action for row in buffer.sample(5)]
        assert len(set(actions)) == 5
        counts[actions] += 1
    assert counts[:13].sum() == 0
    # Draws without replacement vary less than chi-square allows for, never more.
    assert stats.chisquare(counts[13:]).pvalue > 0.001
    assert len({row.action for row in buffer.sample(20)}) == 20


def test_equal_seeds_give_equal_batches(kind: Any) -> None:
    def run() -> Any:
        buffer = kind(capacity=50, seed=11)
        for i in range(60):
            buffer.store([i], i, 0.0, [i], False)
        return [batch_of(buffer, 7) for _ in range(5)]

    assert run() == run()


def test_prioritized_weights_and_updates() -> None:
    buffer = PrioritizedExperienceReplay(100, alpha=1.0, beta=1.0, seed=0)
    for i in range(4):
        buffer.store([i], i, 0.0, [i], False)
    idxs, batch, weights = buffer.sample(64)
    assert (weights == 1).all()
    errors = np.asarray([-(row.action + 1.0) for row in batch])
    assert buffer.update_priorities(idxs, errors).applied == 64
    idxs, batch, weights = buffer.sample(4000)
    actions = np.asarray([row.action for row in batch])
    np.testing.assert_allclose(weights, 1 / (actions + 1), rtol=1e-4)
    expected = 4000 * np.asarray([0.1, 0.2, 0.3, 0.4])
    assert stats.chisquare(np.bincount(actions, minlength=4), expected).pvalue > 0.001


def test_indices_of_overwritten_experiences_are_stale() -> None:
    buffer = PrioritizedExperienceReplay(2)
    buffer.store([0], 0, 0.0, [0], False)
    idxs, _, _ = buffer.sample(1)
    for i in (1, 2):
        buffer.store([i], i, 0.0, [i], False)
    assert buffer.update_priorities(idxs, [5.0]) == (0, 1)


def test_an_error_that_is_no_number_changes_no_priority() -> None:
    buffer = PrioritizedExperienceReplay(4)
    buffer.store([0], 0, 0.0, [0], False)
    idxs, _, _ = buffer.sample(2)
    with pytest.raises(InvalidValue):
        buffer.update_priorities(idxs, [1.0, float("nan")])


@pytest.mark.parametrize(
    ("bad", "error", "words"),
    [
        ({"state": [1.0]}, InvalidValue, "state"),
        ({"next_state": None}, InvalidType, "next_state"),
        ({"action": "left"}, InvalidType, "action"),
        ({"state": [[1.0], [1.0, 2.0]]}, InvalidValue, "ragged"),
        ({"state": {"x": 1.0}}, InvalidValue, "state"),
    ],
)
@pytest.mark.parametrize("first", [True, False])
def test_bad_experiences_are_refused_and_change_nothing(
    kind: Any, bad: dict[str, Any], error: type[Exception], words: str, first: bool
) -> None:
    good = {"state": STATE, "action": 1, "reward": 0.5, "next_state": NEXT, "done": False}
    heard = []

    class Listener(MemoryPlugin):
        def on_experience_stored(self, experience: Any) -> None:
            heard.append(experience)

    manager = PluginManager()
    manager.register_plugin(Listener())
    buffer = kind(10, manager)
    if first and set(bad) != {"state"}:
        with pytest.raises(error, match=words):
            buffer.store(**{**good, **bad})
    else:
        buffer.store(**good)
        with pytest.raises(error, match=words):
            buffer.store(**{**good, **bad})
    count = len(buffer)
    buffer.store(**good)
    assert len(buffer) == count + 1
    assert len(heard) == count + 1
    assert all(row == tuple(good.values()) for row in batch_of(buffer, 5))


def test_an_empty_buffer_has_nothing_to_sample(kind: Any) -> None:
    with pytest.raises(NothingToSample):
        kind(10).sample(1)


@pytest.mark.parametrize("capacity", [0, -1, 2.5, "many"])
def test_bad_capacities(kind: Any, capacity: Any) -> None:
    with pytest.raises(InvalidValue):
        kind(capacity)


def test_plugins_hear_of_both_buffers_and_may_fail(kind: Any, caplog: pytest.LogCaptureFixture) -> None:
    events: list[Any] = []

    class Broken(MemoryPlugin):
        def on_experience_stored(self, experience: Any) -> None:
            raise ValueError("no")

        def on_sample(self, batch: Any) -> None:
            events.append(len(batch))
            raise ValueError("no")

    manager = PluginManager()
    manager.register_plugin(Broken())
    buffer = kind(10, plugin_manager=manager)
    with caplog.at_level(logging.ERROR):
        buffer.store(STATE, 1, 0.5, NEXT, False)
        assert len(batch_of(buffer, 1)) == 1
    assert events == [1]
    assert "ValueError" in caplog.text


@pytest.mark.parametrize(
    "state",
    [
        {"0": 1.0, "1": [2.0, 3.0]},
        {0: 1.0, 7: [2.0]},
        {"camera/left": 1.0, "camera": {"right": 2.0}},
        {"0": {"0": 1}},
        ({"0": 1.0}, (2, 3)),
    ],
    ids=str,
)
def test_dicts_come_back_with_the_keys_they_came_with(kind: Any, state: Any) -> None:
    buffer = kind(capacity=10)
    buffer.store(state, 1, 0.5, state, False)
    first = batch_of(buffer, 1)[0]
    assert first.state == first.next_state == state


@pytest.mark.parametrize(
    ("state", "words"),
    [
        ({}, "empty dict"),
        ({"position": 1.0, "camera": {}}, "state/camera"),
        ({"camera/left": 1.0, "camera": {"left": 2.0}}, "state/camera/left"),
        ({"camera/": 1.0}, "state/camera/"),
    ],
    ids=str,
)
def test_dicts_that_cannot_come_back_are_refused_and_change_nothing(
    kind: Any, state: Any, words: str
) -> None:
    buffer = kind(capacity=10)
    with pytest.raises(InvalidValue, match=words):
        buffer.store(state, 1, 0.5, STATE, False)
    with pytest.raises(InvalidType, match="None"):
        buffer.store({None: 1.0}, 1, 0.5, STATE, False)
    assert len(buffer) == 0
    buffer.store(STATE, 1, 0.5, NEXT, False)
    assert batch_of(buffer, 1) == [(STATE, 1, 0.5, NEXT, False)]
