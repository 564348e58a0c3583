"""Writers, frames and adaptors with the real buffer behind them."""

from __future__ import annotations

import threading
from contextlib import suppress
from typing import Any

import numpy as np
import pytest
from gymnasium.vector import SyncVectorEnv
from hypothesis import given, settings
from hypothesis import strategies as st

from memories.errors import RateLimited
from memories.replay import (
    EpisodeWriter,
    Hindsight,
    ImageStorage,
    NStepWriter,
    Queue,
    ReplayBuffer,
    Schema,
)
from memories.replay.adaptors.vector_env import VectorRecorder

from .test_hindsight import Line
from .test_vector_env import Clock


def test_a_vector_environment_with_nested_observations_into_a_buffer() -> None:
    envs = SyncVectorEnv([lambda n=n: Clock(n, nested=True) for n in range(3)])
    schema = Schema.from_env(envs, extra={"discount": np.float32})
    buffer = ReplayBuffer(schema, 1000, seed=0)
    with NStepWriter(buffer, n=2, gamma=0.5, num_envs=3) as writer:
        recorder = VectorRecorder(envs, writer)
        recorder.reset(seed=0)
        for _ in range(60):
            recorder.step(np.ones(3, np.int64))
    batch = buffer.sample(400)
    obs, after = batch["obs"]["place"], batch["next_obs"]["place"]
    np.testing.assert_array_equal(obs[:, :2], after[:, :2])
    steps = after[:, 2] - obs[:, 2]
    assert set(steps.tolist()) == {1.0, 2.0}
    expected = np.where(batch["terminated"], 0.0, 0.5**steps)
    np.testing.assert_allclose(batch["discount"], expected)
    rewards = (obs[:, 2] + 1) + np.where(steps == 2, 0.5 * (obs[:, 2] + 2), 0)
    np.testing.assert_allclose(batch["reward"], rewards)


def test_hindsight_into_a_buffer() -> None:
    env = Line()
    buffer = ReplayBuffer(Schema.from_env(env), 1000, seed=0)
    writer = EpisodeWriter(buffer, relabel=Hindsight.from_env(env, seed=0))
    for _ in range(3):
        obs, _ = env.reset()
        ended = False
        while not ended:
            after, reward, terminated, truncated, _ = env.step(1)
            writer.add(
                obs=obs, action=1, reward=reward, next_obs=after, terminated=terminated, truncated=truncated
            )
            obs, ended = after, terminated or truncated
    assert len(buffer) == 3 * 10 * 5
    batch = buffer.sample(500)
    reached = batch["next_obs"]["achieved_goal"] == batch["obs"]["desired_goal"]
    np.testing.assert_array_equal(batch["reward"] == 0, reached[:, 0])
    assert 0.1 < reached.mean() < 0.9


def test_a_writer_waits_for_a_full_queue_and_loses_nothing() -> None:
    buffer = ReplayBuffer(capacity=8, rate_limiter=Queue(8), max_times_sampled=1)
    writer = NStepWriter(buffer, n=1, batch_size=4)
    seen: list[int] = []
    step = 0
    while step < 40:
        try:
            writer.add(obs=step, reward=0.0, terminated=False, truncated=False)
            step += 1
        except RateLimited:
            seen += buffer.sample(8)["obs"].tolist()
    while len(seen) < 40:
        with suppress(RateLimited):
            writer.close()
        seen += buffer.sample(min(8, len(buffer)))["obs"].tolist()
    assert sorted(seen) == list(range(40))


Operation = tuple[str, int]
OPERATIONS = st.lists(
    st.tuples(
        st.sampled_from(["add", "add", "batch", "batch", "remove", "clear", "sample", "copy"]),
        st.integers(0, 2**16),
    ),
    max_size=40,
)


@settings(max_examples=60, deadline=None)
@given(operations=OPERATIONS, compression=st.sampled_from([None, "lz4"]), axis=st.sampled_from([0, 1, None]))
def test_a_buffer_with_frames_answers_as_one_without(
    operations: list[Operation], compression: Any, axis: int | None
) -> None:
    schema = Schema({"obs": ((2, 3), np.uint8), "next_obs": ((2, 3), np.uint8), "n": np.int64})
    storage = ImageStorage(stack_axis=axis, compression=compression)
    plain = ReplayBuffer(schema, 9, seed=1)
    ours = ReplayBuffer(schema, 9, images=storage, seed=1)
    handles: list[int] = []
    for kind, number in operations:
        rng = np.random.default_rng(number)
        if kind in ("add", "batch"):
            count = 1 if kind == "add" else number % 25
            columns = {
                name: rng.integers(0, 2, (count, 2, 3)).astype(np.uint8) for name in ("obs", "next_obs")
            } | {"n": rng.integers(0, 99, count)}
            if kind == "add":
                row = {name: column[0] for name, column in columns.items()}
                handles.append(plain.add(**row))
                assert ours.add(**row) == handles[-1]
            else:
                given_out = plain.add_batch(columns)
                handles += given_out.tolist()
                np.testing.assert_array_equal(ours.add_batch(columns), given_out)
        elif kind == "remove" and handles:
            chosen = rng.choice(handles, 1 + number % 3)
            assert ours.remove(chosen) == plain.remove(chosen)
        elif kind == "clear":
            plain.clear()
            ours.clear()
        elif kind == "copy":
            state = ours.export_state()
            ours = ReplayBuffer(schema, 9, images=storage)
            ours.import_state(state)
        if len(plain):
            expected, got = plain.sample(11), ours.sample(11)
            for name in schema.names:
                np.testing.assert_array_equal(got[name], expected[name])
            np.testing.assert_array_equal(got.handles, expected.handles)


@pytest.mark.parametrize("compression", [None, "lz4"])
def test_rows_of_frames_are_whole_under_threads(compression: Any) -> None:
    schema = Schema({"obs": ((3, 16, 16), np.uint8), "sum": np.int64})
    buffer = ReplayBuffer(
        schema, 64, images=ImageStorage("obs", stack_axis=0, compression=compression), seed=0
    )
    rng = np.random.default_rng(5)
    frames = rng.integers(0, 256, (20, 16, 16)).astype(np.uint8)
    sums = frames.reshape(20, -1).sum(axis=1, dtype=np.int64)
    problems: list[Exception] = []
    done = threading.Event()

    def write(seed: int) -> None:
        chooser = np.random.default_rng(seed)
        for _ in range(300):
            which = chooser.integers(0, 20, (7, 3))
            buffer.add_batch({"obs": frames[which], "sum": sums[which].sum(axis=1)})

    def read() -> None:
        try:
            while not done.is_set():
                batch = buffer.sample(32)
                np.testing.assert_array_equal(
                    batch["obs"].reshape(32, -1).sum(axis=1, dtype=np.int64), batch["sum"]
                )
        except Exception as error:  # noqa: BLE001 - shown by the main thread
            problems.append(error)

    buffer.add(obs=frames[:3], sum=sums[:3].sum())
    writers = [threading.Thread(target=write, args=(seed,)) for seed in range(2)]
    readers = [threading.Thread(target=read) for _ in range(2)]
    for thread in writers + readers:
        thread.start()
    for thread in writers:
        thread.join()
    done.set()
    for thread in readers:
        thread.join()
    assert not problems, problems[0]
