"""What a recorder writes after its writer has refused a step: every transition that happened, once."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from memories.errors import InvalidValue
from memories.replay.adaptors.vector_env import VectorRecorder
from memories.replay.writers import EpisodeWriter, NStepWriter

from .sinks import ListSink
from .test_vector_env import Clock, assert_true_history


def clocks(mode: AutoresetMode, copy: bool = True) -> SyncVectorEnv:
    return SyncVectorEnv([lambda n=n: Clock(n) for n in range(3)], autoreset_mode=mode, copy=copy)


def count_steps(envs: SyncVectorEnv) -> list[int]:
    """The steps that the environments have made; a reset sets it to 0."""
    return [env.unwrapped.time for env in envs.envs]  # type: ignore[attr-defined]


@pytest.mark.parametrize("mode", [AutoresetMode.NEXT_STEP, AutoresetMode.SAME_STEP])
@pytest.mark.parametrize("copy", [True, False])
@pytest.mark.parametrize("writer_class", [NStepWriter, EpisodeWriter])
def test_refused_steps_are_written_later_and_exactly_once(
    mode: AutoresetMode, copy: bool, writer_class: Any
) -> None:
    sink = ListSink()
    options = {"n": 1, "batch_size": 1} if writer_class is NStepWriter else {}
    recorder = VectorRecorder(clocks(mode, copy), writer_class(sink, num_envs=3, **options))
    recorder.reset(seed=0)
    actions, refused = np.zeros(3, np.int64), 0
    for k in range(60):
        sink.refusals = 3 if k % 7 == 3 else sink.refusals
        actions[:] = 0  # the same array each time, as a loop may have it
        try:
            recorder.step(actions)
        except ConnectionError:
            refused += 1
        actions[:] = 99
    sink.refusals = 0
    recorder.step(np.zeros(3, np.int64))
    assert refused > 10
    recorder.writer.flush()  # type: ignore[attr-defined]
    assert_true_history(sink, 3)
    assert sink.columns["action"].tolist() == [0] * len(sink.rows())


def test_a_step_that_is_still_refused_does_not_step_the_environments() -> None:
    sink, envs = ListSink(), clocks(AutoresetMode.NEXT_STEP)
    recorder = VectorRecorder(envs, NStepWriter(sink, n=1, num_envs=3, batch_size=1))
    recorder.reset()
    recorder.step(np.zeros(3, np.int64))
    recorder.writer.flush()  # type: ignore[attr-defined]
    sink.refusals = 100
    for _ in range(4):
        before = count_steps(envs)
        try:
            recorder.step(np.zeros(3, np.int64))
        except ConnectionError:
            continue
    with pytest.raises(ConnectionError):
        recorder.step(np.zeros(3, np.int64))
    assert count_steps(envs) == before
    with pytest.raises(ConnectionError):
        recorder.reset()
    assert count_steps(envs) == before


def test_a_reset_writes_the_refused_step_before_it_cuts() -> None:
    sink = ListSink()
    recorder = VectorRecorder(clocks(AutoresetMode.DISABLED), EpisodeWriter(sink, num_envs=3))
    recorder.reset()
    recorder.step(np.zeros(3, np.int64))
    refuse_once(recorder)
    with pytest.raises(ConnectionError):
        recorder.step(np.zeros(3, np.int64))
    recorder.reset()
    assert sink.columns["next_obs"][:, 2].tolist() == [1, 2, 1, 2, 1, 2]
    assert sink.columns["truncated"][1::2].tolist() == [False, True, True]  # the first one terminated there


def refuse_once(recorder: VectorRecorder) -> None:
    """The writer's next step is refused before the writer looks at it."""
    add_vector = recorder.writer.add_vector

    def refuse(**_: Any) -> None:
        recorder.writer.add_vector = add_vector  # type: ignore[method-assign]
        raise ConnectionError("the shard does not answer")

    recorder.writer.add_vector = refuse  # type: ignore[method-assign]


def test_nothing_reaches_over_a_step_whose_last_observation_is_lost() -> None:
    class Forgets(SyncVectorEnv):
        forgets = True

        def step(self, actions: Any) -> Any:
            *results, info = super().step(actions)
            if self.forgets and "final_obs" in info:
                self.forgets = False
                del info["final_obs"]
            return *results, info

    envs = Forgets([lambda n=n: Clock(n) for n in range(3)], autoreset_mode=AutoresetMode.SAME_STEP)
    sink = ListSink()
    recorder = VectorRecorder(envs, NStepWriter(sink, n=3, gamma=1.0, num_envs=3))
    recorder.reset()
    lost = 0
    for _ in range(20):
        try:
            recorder.step(np.zeros(3, np.int64))
        except InvalidValue:
            lost += 1
    recorder.writer.close()  # type: ignore[attr-defined]
    obs, after, reward = (sink.columns[name] for name in ("obs", "next_obs", "reward"))
    assert lost == 1
    np.testing.assert_array_equal(obs[:, :2], after[:, :2])
    sums = [sum(range(int(a) + 1, int(b) + 1)) for a, b in zip(obs[:, 2], after[:, 2], strict=True)]
    np.testing.assert_array_equal(reward, sums)  # every step between the two is in the sum
