"""Episodes that come in pieces: the rows do not depend on where they were cut."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from memories.actors.replay.rllib_rows import OpenEpisodes, Piece
from memories.errors import InvalidValue


def piece(start: int, stop: int, ended: str = "") -> Piece:
    """Steps start..stop of an episode whose observation t is t and whose reward t is t + 1."""
    steps = np.arange(start, stop)
    return Piece(
        start,
        {"obs/a": np.arange(start, stop + 1.0), "obs/b": np.arange(start, stop + 1)[:, None] * 10},
        {"action": steps % 2},
        steps + 1.0,
        ended,
    )


def expected(steps: int, n: int, gamma: float, ended: str) -> list[tuple[object, ...]]:
    """Row by row, as the definition says."""
    rows: list[tuple[object, ...]] = []
    for t in range(steps):
        m = min(n, steps - t)
        if m < n and not ended:
            continue
        reward = sum(gamma**k * (t + k + 1) for k in range(m))
        last = t + m == steps
        rows.append(
            (t, t + m, 10 * (t + m), t % 2, round(reward, 9), m,
             last and ended == "terminated", last and ended == "truncated")
        )  # fmt: skip
    return rows


def collected(open_episodes: OpenEpisodes, pieces: list[Piece]) -> list[tuple[object, ...]]:
    found: list[tuple[object, ...]] = []
    for part in pieces:
        rows = open_episodes.rows_of("one", part)
        if rows is not None:
            assert rows["t"].tolist() == rows["obs/a"].tolist()
            found += zip(
                rows["t"].tolist(), rows["next_obs/a"].tolist(), rows["next_obs/b"][:, 0].tolist(),
                rows["action"].tolist(), rows["reward"].round(9).tolist(), rows["n_step"].tolist(),
                rows["terminated"].tolist(), rows["truncated"].tolist(), strict=True,
            )  # fmt: skip
    return found


@pytest.mark.parametrize("n", [1, 2, 3, 5, 20])
@pytest.mark.parametrize("ended", ["", "terminated", "truncated"])
def test_pieces_give_the_rows_of_the_whole(n: int, ended: str) -> None:
    rng = np.random.default_rng(n)
    for _ in range(30):
        steps = int(rng.integers(1, 15))
        cuts = sorted({0, steps, *rng.integers(1, steps + 1, 3).tolist()})
        pieces = [piece(a, b, ended if b == steps else "") for a, b in itertools.pairwise(cuts)]
        rows = collected(OpenEpisodes(n, 0.9), pieces)
        assert rows == expected(steps, n, 0.9, ended), (cuts, n, ended)


def test_no_window_reaches_over_a_piece_that_was_lost() -> None:
    open_episodes = OpenEpisodes(3, 0.9)
    rows = collected(open_episodes, [piece(0, 4), piece(6, 9)])
    assert [row[:2] for row in rows] == [(0, 3), (1, 4), (6, 9)]


def test_what_waits_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("memories.actors.replay.rllib_rows.MAX_OPEN_EPISODES", 8)
    open_episodes = OpenEpisodes(3, 0.9)
    for number in range(50):
        assert open_episodes.rows_of(f"episode {number}", piece(0, 2)) is None
    assert len(open_episodes) == 8
    kept = open_episodes.rows_of("episode 49", piece(2, 3))
    assert kept is not None
    assert kept["t"].tolist() == [0]


def test_the_pieces_of_episodes_that_ended_are_forgotten() -> None:
    open_episodes = OpenEpisodes(5, 0.9)
    open_episodes.rows_of("one", piece(0, 2))
    open_episodes.rows_of("one", piece(2, 3, "terminated"))
    assert len(open_episodes) == 0


def test_a_step_number_below_one_is_refused() -> None:
    with pytest.raises(InvalidValue, match="n_step is 0"):
        OpenEpisodes(0, 0.9)
