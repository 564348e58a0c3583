"""Every remover makes room in a full buffer, whatever shape its slots come in."""

from __future__ import annotations

import numpy as np
import pytest

from memories.replay import (
    HighestPriorityRemover,
    LowestPriorityRemover,
    NewestRemover,
    OldestRemover,
    PrioritizedReplayBuffer,
    Selector,
    UniformRemover,
)
from memories.replay.selector import Draw
from memories.replay.sum_tree import SumTree


class EverySecond(Selector):
    """Gives its slots as a view with gaps, of a narrower integer, that cannot be written."""

    def draw(self, count: int, rng: np.random.Generator) -> Draw:
        slots = self.rows.slots.live().astype(np.int32)[::2][:count]
        slots.flags.writeable = False
        return Draw(slots, self.rows.slots.count)


@pytest.mark.parametrize(
    "remover",
    [
        NewestRemover,
        OldestRemover,
        LowestPriorityRemover,
        HighestPriorityRemover,
        UniformRemover,
        EverySecond,
    ],
)
@pytest.mark.parametrize("holes", [False, True])
def test_a_full_prioritized_buffer_takes_batches(remover: type[Selector], holes: bool) -> None:
    buffer = PrioritizedReplayBuffer(capacity=8, remover=remover(), seed=0)
    handles = buffer.add_batch({"x": np.arange(8)}, np.arange(1.0, 9.0))
    buffer.sample(3)
    if holes:
        buffer.remove(handles[[3, 5]])
        buffer.add_batch({"x": np.arange(2)})
    for start in range(100, 400, 100):
        buffer.add_batch({"x": np.arange(start, start + 3)}, np.arange(12.0)[:6:2])
        assert len(buffer) == 8
        weights = buffer.priorities_of(buffer.handles()) ** 0.6
        assert buffer.priority_stats().total == pytest.approx(weights.sum())


def test_a_tree_takes_slots_and_weights_in_any_layout() -> None:
    tree, plain = SumTree(16), SumTree(16)
    slots, weights = np.arange(10)[::-1], np.arange(20.0)[::2]
    weights.flags.writeable = False
    tree.set(slots, weights)
    plain.set(slots.copy(), weights.copy())
    assert tree.leaves().tolist() == plain.leaves().tolist()
    assert tree.total == 90.0
