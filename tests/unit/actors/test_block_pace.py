"""Blocks follow the learner's pace."""

from __future__ import annotations

from memories.actors.replay.block_pace import CALM_BLOCKS, BlockPace


class Clock:
    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def learn(pace: BlockPace, clock: Clock, blocks: int, work_s: float, wait_s: float) -> None:
    for _ in range(blocks):
        clock.now_s += work_s
        pace.begin_waiting()
        clock.now_s += wait_s
        pace.end_waiting()


def test_a_learner_that_waits_gets_larger_blocks_at_once() -> None:
    clock = Clock()
    pace = BlockPace(16, 64, True, clock)
    learn(pace, clock, 4, work_s=0.01, wait_s=0.01)
    assert pace.batches == 64


def test_a_learner_that_never_waits_comes_down_to_single_batches() -> None:
    clock = Clock()
    pace = BlockPace(16, 64, True, clock)
    learn(pace, clock, 1 + CALM_BLOCKS, work_s=1.0, wait_s=0.001)
    assert pace.batches == 8
    learn(pace, clock, 10 * CALM_BLOCKS, work_s=1.0, wait_s=0.001)
    assert pace.batches == 1


def test_between_the_two_nothing_changes() -> None:
    clock = Clock()
    pace = BlockPace(16, 64, True, clock)
    learn(pace, clock, 50, work_s=0.95, wait_s=0.05)
    assert pace.batches == 16


def test_a_number_that_was_given_stays() -> None:
    clock = Clock()
    pace = BlockPace(4, 64, False, clock)
    learn(pace, clock, 20, work_s=0.01, wait_s=1.0)
    assert pace.batches == 4
