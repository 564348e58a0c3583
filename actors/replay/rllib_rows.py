"""Rows of episodes that come in pieces, as RLlib's env runners send them: transitions over n steps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import InvalidValue
from ...replay.schema import flatten
from ...replay.writers.columns import Columns
from ...replay.writers.nstep import n_step_windows

MAX_OPEN_EPISODES = 4_096
"""Episodes whose runner is gone never end: beyond so many the one that was silent longest is forgotten."""


@dataclass(frozen=True, slots=True)
class Piece:
    """Consecutive steps of one episode: ``t`` steps and ``t + 1`` observations, flat columns each.

    ended: "terminated", "truncated", or "" where the episode goes on.
    """

    start: int
    obs: Columns
    actions: Columns
    rewards: NDArray[np.float64]
    ended: str = ""

    def __len__(self) -> int:
        return len(self.rewards)


class OpenEpisodes:
    """Keeps the last n - 1 steps of every episode that goes on, and makes rows of the rest.

    A row has ``obs``, ``action``, ``reward`` (discounted, over its steps), ``next_obs``, ``terminated``,
    ``truncated``, ``n_step`` (its steps: fewer than n at an episode's end) and ``t`` (its place in the
    episode). Not thread-safe.
    """

    def __init__(self, n_step: int, gamma: float) -> None:
        if n_step < 1:
            raise InvalidValue(f"n_step is {n_step}, must be at least 1.")
        self._n, self._gamma = n_step, gamma
        self._open: dict[str, Piece] = {}

    def __len__(self) -> int:
        """Episodes that have steps waiting."""
        return len(self._open)

    def rows_of(self, episode_id: str, piece: Piece) -> Columns | None:
        """The rows that are complete with this piece; None where there is none."""
        before = self._open.pop(episode_id, None)
        if before is not None and before.start + len(before) == piece.start:
            piece = _joined(before, piece)
        # Otherwise a piece was lost: windows must not reach over the hole.
        steps = len(piece)
        complete = steps if piece.ended else max(0, steps - self._n + 1)
        if complete < steps:
            self._open[episode_id] = _part(piece, complete)
            if len(self._open) > MAX_OPEN_EPISODES:
                del self._open[next(iter(self._open))]
        if complete == 0:
            return None
        ends = np.zeros((1, steps), np.bool_)
        ends[0, -1] = bool(piece.ended)
        totals, lengths, _ = n_step_windows(
            piece.rewards[None], ends, np.array([steps]), self._n, self._gamma
        )
        starts = np.arange(complete)
        lasts = starts + lengths[0, :complete]
        final = lasts == steps
        return {
            **{name: column[:complete] for name, column in piece.obs.items()},
            **{name: column[:complete] for name, column in piece.actions.items()},
            **{f"next_{name}": column[lasts] for name, column in piece.obs.items()},
            "reward": totals[0, :complete],
            "terminated": final & (piece.ended == "terminated"),
            "truncated": final & (piece.ended == "truncated"),
            "n_step": lengths[0, :complete].astype(np.int32),
            "t": (piece.start + starts).astype(np.int32),
        }


def columns_named(name: str, value: Any) -> Columns:
    """A batch of observations or actions, however nested, as flat columns."""
    return {key: np.asarray(leaf) for key, leaf in flatten({name: value}).items()}


def _joined(before: Piece, after: Piece) -> Piece:
    """Two pieces that follow each other; the observation between them is in both."""
    return Piece(
        before.start,
        {name: np.concatenate([column[:-1], after.obs[name]]) for name, column in before.obs.items()},
        {name: np.concatenate([column, after.actions[name]]) for name, column in before.actions.items()},
        np.concatenate([before.rewards, after.rewards]),
        after.ended,
    )


def _part(piece: Piece, first: int) -> Piece:
    """The steps from `first` on, copied: what came before is not kept alive."""
    return Piece(
        piece.start + first,
        {name: column[first:].copy() for name, column in piece.obs.items()},
        {name: column[first:].copy() for name, column in piece.actions.items()},
        piece.rewards[first:].copy(),
        piece.ended,
    )
