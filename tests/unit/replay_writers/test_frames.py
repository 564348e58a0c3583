from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.replay_frames import measure_apart
from memories.errors import InvalidValue
from memories.replay import ImageStorage, PrioritizedReplayBuffer, ReplayBuffer, Schema
from memories.replay.frames import FrameColumn, FramePool, StackLayout
from memories.replay.schema import ColumnSpec


def atari_steps(count: int, episode_length: int, seed: int = 0) -> Any:
    """Steps of a noise game: (obs, action, next_obs, terminated) with stacks of shape (4, 84, 84)."""
    rng = np.random.default_rng(seed)
    stack = None
    for t in range(count):
        if stack is None:
            frame = rng.integers(0, 256, (84, 84), np.uint8)
            stack = np.stack([frame] * 4)
        ended = t % episode_length == episode_length - 1
        after = np.concatenate([stack[1:], rng.integers(0, 256, (1, 84, 84), np.uint8)])
        yield stack, t, after, ended
        stack = None if ended else after


def schema(shape: tuple[int, ...] = (4, 84, 84)) -> Schema:
    return Schema(
        {
            "obs": (shape, np.uint8),
            "action": np.int64,
            "next_obs": (shape, np.uint8),
            "terminated": np.bool_,
        }
    )


def frame_bytes(buffer: ReplayBuffer) -> int:
    columns = [column for column in buffer._columns.wide.values() if isinstance(column, FrameColumn)]
    pools = {id(column.pool): column.pool for column in columns}
    return sum(column.nbytes for column in columns) + sum(pool.nbytes for pool in pools.values())


@pytest.mark.parametrize("axis", [0, -1])
@pytest.mark.parametrize("compression", [None, "lz4"])
def test_stacks_come_back_across_episodes_and_after_frames_were_overwritten(
    axis: int, compression: Any
) -> None:
    shape = (4, 84, 84) if axis == 0 else (84, 84, 4)
    buffer = ReplayBuffer(
        schema(shape), 50, images=ImageStorage(stack_axis=axis, compression=compression), seed=0
    )
    kept: dict[int, tuple[Any, Any]] = {}
    for stack, action, after, ended in atari_steps(170, episode_length=7):
        stack, after = (np.moveaxis(x, 0, axis) for x in (stack, after))
        buffer.add(obs=stack, action=action, next_obs=after, terminated=ended)
        kept[action] = stack.copy(), after.copy()
    batch = buffer.sample(200)
    assert batch["obs"].shape == (200, *shape)
    assert batch["obs"].dtype == np.uint8
    assert set(batch["action"].tolist()) <= set(range(120, 170))
    for action, obs, after in zip(batch["action"].tolist(), batch["obs"], batch["next_obs"], strict=True):
        np.testing.assert_array_equal(obs, kept[action][0])
        np.testing.assert_array_equal(after, kept[action][1])


def test_atari_shaped_rows_take_less_than_three_tenths_of_the_bytes() -> None:
    capacity = 400
    buffer = ReplayBuffer(schema(), capacity, images=ImageStorage())
    for stack, action, after, ended in atari_steps(1000, episode_length=40):
        buffer.add(obs=stack, action=action, next_obs=after, terminated=ended)
    stacks_alone = capacity * 4 * 84 * 84  # what obs takes; with next_obs it is twice as much
    assert frame_bytes(buffer) < 0.3 * stacks_alone
    assert frame_bytes(buffer) < 0.15 * 2 * stacks_alone


def test_rows_of_interleaved_environments_share_their_frames() -> None:
    buffer = ReplayBuffer(schema(), 400, images=ImageStorage())
    streams = [atari_steps(100, episode_length=20, seed=seed) for seed in range(4)]
    for rows in zip(*streams, strict=True):
        stacks, actions, afters, ended = map(np.asarray, zip(*rows, strict=True))
        buffer.add_batch({"obs": stacks, "action": actions, "next_obs": afters, "terminated": ended})
    assert frame_bytes(buffer) < 0.3 * 400 * 4 * 84 * 84


def test_lz4_shrinks_frames_that_can_be_shrunk() -> None:
    sizes = {}
    for compression in (None, "lz4"):
        buffer = ReplayBuffer(
            Schema({"obs": ((64, 64, 3), np.uint8), "t": np.int64}),
            100,
            images=ImageStorage("obs", stack_axis=None, compression=compression),
        )
        for t in range(100):
            image = np.zeros((64, 64, 3), np.uint8)
            image[t % 64, : t // 2] = t + 1
            buffer.add(obs=image, t=t)
        for t, image in zip(*(buffer.sample(50)[name] for name in ("t", "obs")), strict=True):
            assert image.shape == (64, 64, 3), t
        sizes[compression] = frame_bytes(buffer)
    assert sizes["lz4"] < 0.1 * sizes[None]


def test_prioritized_sampling_and_removal_work_on_frames() -> None:
    buffer = PrioritizedReplayBuffer(schema((2, 40, 40)), 8, images=ImageStorage(), seed=1)
    images = np.random.default_rng(0).integers(0, 256, (30, 2, 40, 40), np.uint8)
    for i in range(30):
        handle = buffer.add(obs=images[i], action=i, next_obs=images[(i + 1) % 30], terminated=False)
        if i % 3 == 0:
            buffer.remove([handle])
    batch = buffer.sample(100)
    np.testing.assert_array_equal(batch["obs"], images[batch["action"]])
    np.testing.assert_array_equal(batch["next_obs"], images[(batch["action"] + 1) % 30])


@settings(max_examples=80, deadline=None)
@given(
    data=st.data(),
    axis=st.sampled_from([None, 0, 1]),
    compression=st.sampled_from([None, "lz4"]),
    num_columns=st.integers(1, 2),
)
def test_a_frame_column_is_an_array(
    data: st.DataObject, axis: int | None, compression: Any, num_columns: int
) -> None:
    capacity, shape = 12, (3, 2, 2)
    layout = StackLayout.of(ColumnSpec("x", shape, np.dtype(np.uint16)), axis)
    pool = FramePool(layout.frame_nbytes, num_columns * layout.frames_per_item * (capacity + 64), compression)
    columns = [FrameColumn(layout, capacity, pool) for _ in range(num_columns)]
    arrays = [np.zeros((capacity, *shape), np.uint16) for _ in range(num_columns)]
    for _ in range(data.draw(st.integers(0, 12))):
        which = data.draw(st.integers(0, num_columns - 1))
        rows = data.draw(st.lists(st.integers(0, capacity - 1), min_size=1, unique=True))
        seed = data.draw(st.integers(0, 99))
        items = np.random.default_rng(seed).integers(0, 2, (len(rows), *shape)).astype(np.uint16)
        columns[which][np.asarray(rows)] = items
        arrays[which][rows] = items
        for column, array in zip(columns, arrays, strict=True):
            np.testing.assert_array_equal(column[:], array)
    distinct = set()
    for column, array in zip(columns, arrays, strict=True):
        written = np.flatnonzero((column._ids >= 0).all(axis=1))
        np.testing.assert_array_equal(column.take(written), array[written])
        distinct |= {frame.tobytes() for frame in layout.cut(array[written])}
    assert len(pool) == len(distinct)


@pytest.mark.parametrize(
    ("storage", "words"),
    [
        (lambda: ImageStorage("image"), "no column 'image'"),
        (lambda: ImageStorage(stack_axis=3), "axis 3"),
        (lambda: ImageStorage(compression="zip"), "lz4"),  # type: ignore[arg-type]
        (lambda: ImageStorage(()), "at least one"),
    ],
)
def test_bad_settings(storage: Any, words: str) -> None:
    with pytest.raises(InvalidValue, match=words):
        ReplayBuffer(schema(), 10, images=storage())


def test_frames_and_mapped_files_exclude_each_other(tmp_path: Any) -> None:
    with pytest.raises(InvalidValue, match="not both"):
        ReplayBuffer(schema(), 10, images=ImageStorage(), folder=tmp_path)


def test_checkpoints_of_frames(tmp_path: Any) -> None:
    storage = ImageStorage(compression="lz4")
    buffer = ReplayBuffer(schema((2, 40, 40)), 20, images=storage, seed=3)
    images = np.random.default_rng(0).integers(0, 256, (30, 2, 40, 40), np.uint8)
    for i in range(29):
        buffer.add(obs=images[i], action=i, next_obs=images[i + 1], terminated=False)
    buffer.checkpoint(tmp_path / "frames")
    again = ReplayBuffer.load(tmp_path / "frames", images=storage)
    assert len(again) == 20
    one, other = buffer.sample(60), again.sample(60)
    np.testing.assert_array_equal(one["action"], other["action"])
    np.testing.assert_array_equal(other["obs"], images[other["action"]])
    np.testing.assert_array_equal(other["next_obs"], images[other["action"] + 1])
    plain = ReplayBuffer.load(tmp_path / "frames").sample(60)  # how frames are stored is not in the file
    np.testing.assert_array_equal(plain["obs"], images[plain["action"]])


def test_the_process_grows_by_less_than_three_tenths_of_the_naive_bytes() -> None:
    result = measure_apart("frames", 2_000)
    assert 2 * result["share"] < 0.3  # even of obs alone
    assert result["share"] > 0.1  # noise cannot take less: else nothing was measured
