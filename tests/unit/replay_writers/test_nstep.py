from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memories.errors import InvalidType, InvalidValue
from memories.replay.writers import NStepWriter

from .sinks import ListSink

Step = dict[str, Any]


def episode(length: int, how: str, start: int = 0) -> list[Step]:
    """Steps whose observation is a running number and whose reward is a power of ten."""
    return [
        {
            "obs": start + t,
            "action": 100 + t,
            "reward": 10.0**t,
            "next_obs": start + t + 1,
            "terminated": how == "terminated" and t == length - 1,
            "truncated": how == "truncated" and t == length - 1,
        }
        for t in range(length)
    ]


def oracle(steps: list[Step], n: int, gamma: float) -> list[Step]:
    """The transitions of one environment, one by one, as a textbook defines them."""
    found = []
    for start, first in enumerate(steps):
        total, last, used = 0.0, first, 0
        for step in steps[start : start + n]:
            total += gamma**used * step["reward"]
            last, used = step, used + 1
            if step["terminated"] or step["truncated"]:
                break
        ended = last["terminated"] or last["truncated"]
        if used < n and not ended:
            break  # the data ends before the window does
        found.append(
            {
                **first,
                "reward": total,
                "next_obs": last["next_obs"],
                "terminated": last["terminated"],
                "truncated": last["truncated"],
                "discount": 0.0 if last["terminated"] else gamma**used,
            }
        )
    return found


def assert_same_rows(got: list[Step], expected: list[Step]) -> None:
    assert len(got) == len(expected)
    for one, other in zip(got, expected, strict=True):
        assert one.keys() == other.keys()
        for name in one:
            assert one[name] == pytest.approx(other[name], rel=1e-6), name


def test_three_steps_of_a_terminated_episode() -> None:
    sink = ListSink()
    with NStepWriter(sink, n=3, gamma=0.5) as writer:
        for step in episode(4, "terminated"):
            writer.add(**step)
    rows = sink.rows()
    assert [row["reward"] for row in rows] == [1 + 5 + 25, 10 + 50 + 250, 100 + 500, 1000]
    assert [row["next_obs"] for row in rows] == [3, 4, 4, 4]
    assert [row["terminated"] for row in rows] == [False, True, True, True]
    assert [row["discount"] for row in rows] == [0.125, 0.0, 0.0, 0.0]


def test_a_truncated_episode_still_bootstraps_from_its_last_observation() -> None:
    sink = ListSink()
    with NStepWriter(sink, n=3, gamma=0.5) as writer:
        for step in episode(4, "truncated"):
            writer.add(**step)
    rows = sink.rows()
    assert [row["discount"] for row in rows] == [0.125, 0.125, 0.25, 0.5]
    assert [row["next_obs"] for row in rows] == [3, 4, 4, 4]
    assert not any(row["terminated"] for row in rows)


def test_rows_of_an_ended_episode_arrive_without_a_flush() -> None:
    sink = ListSink()
    writer = NStepWriter(sink, n=5, batch_size=1000)
    for step in episode(3, "terminated"):
        writer.add(**step)
    assert len(sink.rows()) == 3


def test_open_windows_wait_and_close_cuts_them() -> None:
    sink = ListSink()
    writer = NStepWriter(sink, n=3, gamma=0.5, batch_size=1000)
    for step in episode(4, "running"):
        writer.add(**step)
    writer.flush()
    assert [row["obs"] for row in sink.rows()] == [0, 1]
    writer.close()
    assert [row["obs"] for row in sink.rows()] == [0, 1, 2, 3]
    # The window of step 1 was complete, and sent, before anybody knew of the cut.
    assert [row["truncated"] for row in sink.rows()] == [False, False, True, True]
    assert [row["discount"] for row in sink.rows()] == [0.125, 0.125, 0.25, 0.5]
    writer.close()
    assert len(sink.rows()) == 4


@settings(max_examples=60, deadline=None)
@given(
    data=st.data(),
    n=st.integers(1, 6),
    num_envs=st.integers(1, 3),
    batch_size=st.integers(1, 9),
    gamma=st.sampled_from([0.0, 0.5, 0.99, 1.0]),
    send_at_episode_end=st.booleans(),
)
def test_agrees_with_the_textbook_for_any_interleaving(
    data: st.DataObject, n: int, num_envs: int, batch_size: int, gamma: float, send_at_episode_end: bool
) -> None:
    sink = ListSink()
    writer = NStepWriter(
        sink, n, gamma, num_envs=num_envs, batch_size=batch_size, send_at_episode_end=send_at_episode_end
    )
    history: list[list[Step]] = [[] for _ in range(num_envs)]
    for now in range(data.draw(st.integers(0, 40), label="steps")):
        env_ids = data.draw(st.lists(st.integers(0, num_envs - 1), unique=True), label="env_ids")
        steps = []
        for env_id in env_ids:
            how = data.draw(st.sampled_from(["", "", "", "terminated", "truncated"]), label="end")
            step = {
                "obs": 1000 * env_id + now,
                "reward": float(now),
                "next_obs": 1000 * env_id + now + 1,
                "terminated": how == "terminated",
                "truncated": how == "truncated",
            }
            history[env_id].append(step)
            steps.append(step)
        if len(env_ids) == 1 and data.draw(st.booleans(), label="single"):
            writer.add(env_id=env_ids[0], **steps[0])
        elif env_ids:
            columns = {name: np.asarray([step[name] for step in steps]) for name in steps[0]}
            writer.add_vector(env_ids=env_ids, **columns)
    writer.flush()
    rows, expected = sink.rows(), [oracle(steps, n, gamma) for steps in history]
    if n == 1:  # a running episode keeps its newest step, which a cut may still end
        expected = [
            steps if not steps or steps[-1]["terminated"] or steps[-1]["truncated"] else steps[:-1]
            for steps in expected
        ]
    for env_id in range(num_envs):
        assert_same_rows([row for row in rows if row["obs"] // 1000 == env_id], expected[env_id])
    assert len(rows) == sum(map(len, expected))
    writer.close()
    assert len(sink.rows()) == sum(map(len, history))


def test_dict_observations_become_flat_columns() -> None:
    sink = ListSink()
    with NStepWriter(sink, n=2) as writer:
        for t in range(3):
            obs = {"image": np.full((2, 2), t, np.uint8), "pos": {"x": float(t)}}
            after = {"image": np.full((2, 2), t + 1, np.uint8), "pos": {"x": t + 1.0}}
            writer.add(obs=obs, next_obs=after, reward=0.0, terminated=t == 2, truncated=False)
    columns = sink.columns
    assert columns["obs/image"].shape == (3, 2, 2)
    assert columns["obs/image"].dtype == np.uint8
    assert columns["next_obs/pos/x"].tolist() == [2.0, 3.0, 3.0]


def test_batches_have_the_asked_size() -> None:
    sink = ListSink()
    writer = NStepWriter(sink, n=3, num_envs=4, batch_size=32)
    for t in range(100):
        writer.add_vector(
            obs=np.full((4, 2), t),
            reward=np.ones(4),
            terminated=np.zeros(4, bool),
            truncated=np.zeros(4, bool),
        )
    assert {len(batch["obs"]) for batch in sink.batches} == {32}


def test_the_dtype_of_the_reward_is_kept_and_integers_become_floats() -> None:
    ends = {"terminated": True, "truncated": False}
    for reward, dtype in ((np.float32(1), np.float32), (1, np.float64), (1.0, np.float64)):
        sink = ListSink()
        with NStepWriter(sink) as writer:
            writer.add(obs=0, reward=reward, **ends)
        assert sink.columns["reward"].dtype == dtype
        assert sink.columns["discount"].dtype == np.float32


def test_a_refused_batch_is_kept_and_the_next_call_reports_it_before_its_own_step() -> None:
    sink = ListSink()
    writer = NStepWriter(sink, n=1)
    steps = episode(1, "terminated"), episode(1, "terminated", start=10)
    sink.refusals = 2
    writer.add(**steps[0][0])  # the step was taken, so this call must not raise
    with pytest.raises(ConnectionError):
        writer.add(**steps[1][0])
    writer.add(**steps[1][0])
    assert [row["obs"] for row in sink.rows()] == [0, 10]


def test_flush_reports_a_refusal_and_can_be_repeated() -> None:
    sink = ListSink()
    writer = NStepWriter(sink, n=1, send_at_episode_end=False)
    writer.add(**episode(1, "terminated")[0])
    sink.refusals = 1
    with pytest.raises(ConnectionError):
        writer.flush()
    writer.flush()
    assert [row["obs"] for row in sink.rows()] == [0]


def good_step() -> Step:
    return {
        "obs": np.zeros(3, np.float32),
        "reward": 1.0,
        "next_obs": np.zeros(3, np.float32),
        "terminated": False,
        "truncated": False,
    }


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"obs": np.zeros(4, np.float32)}, InvalidValue, "obs.*shape"),
        ({"obs": np.zeros(3, np.complex64)}, InvalidValue, "obs.*complex64"),
        ({"obs": [[1.0], [1.0, 2.0]]}, InvalidValue, "ragged"),
        ({"next_obs": None}, InvalidType, "next_obs"),
        ({"reward": [1.0, 2.0]}, InvalidValue, "add_vector"),
        ({"terminated": 2}, InvalidValue, "terminated.*flags"),
        ({"extra": 1}, InvalidValue, "columns changed"),
        ({"env_id": 1}, InvalidValue, "env_id"),
        ({"env_id": 0.5}, InvalidType, "env_id"),
    ],
)
def test_bad_steps_are_refused_and_change_nothing(change: Step, error: type[Exception], words: str) -> None:
    sink = ListSink()
    writer = NStepWriter(sink, n=2)
    writer.add(**good_step())
    with pytest.raises(error, match=words):
        writer.add(**{**good_step(), **change})
    writer.add(**{**good_step(), "terminated": True})
    assert len(sink.rows()) == 2


def test_done_alone_is_explained() -> None:
    with pytest.raises(InvalidValue, match="terminated and truncated"):
        NStepWriter(ListSink()).add(obs=0, reward=0.0, done=True)


@pytest.mark.parametrize("arguments", [{"n": 0}, {"gamma": 1.5}, {"num_envs": 0}, {"batch_size": 0}])
def test_bad_arguments(arguments: dict[str, Any]) -> None:
    with pytest.raises(InvalidValue):
        NStepWriter(ListSink(), **arguments)


def test_vector_steps_need_one_row_each() -> None:
    writer = NStepWriter(ListSink(), num_envs=2)
    flags = np.zeros(2, bool)
    with pytest.raises(InvalidValue, match="one row"):
        writer.add_vector(obs=np.zeros(3), reward=np.zeros(2), terminated=flags, truncated=flags)
    with pytest.raises(InvalidValue, match="one step a call"):
        writer.add_vector(env_ids=[1, 1], obs=flags, reward=flags, terminated=flags, truncated=flags)
