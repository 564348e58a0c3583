"""Hindsight relabelling: what would this episode have been worth had its outcome been the goal?"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal, Self, get_args

import numpy as np
from numpy.typing import NDArray

from ...errors import InvalidType, InvalidValue
from .columns import Columns

Strategy = Literal["future", "final", "episode"]
GoalFunction = Callable[[NDArray[Any], NDArray[Any], Mapping[str, Any]], Any]


class Hindsight:
    """Relabels the steps of an episode with goals that the episode did reach (Andrychowicz et al., 2017).

    Observations are those of a gymnasium ``GoalEnv``: dicts with ``achieved_goal`` and ``desired_goal``.
    For every step ``copies`` further rows are made whose desired goal, in ``obs`` and ``next_obs``, is
    the goal that was achieved

    - ``"future"``: after this step or after a later one of the episode, drawn uniformly;
    - ``"final"``: at the end of the episode (one copy says all there is to say);
    - ``"episode"``: after any step of the episode, drawn uniformly.

    The reward comes from ``compute_reward(achieved_goal, desired_goal, info)``, called once with a batch
    of goals (first axis: rows) and an empty ``info``; for a function of single goals pass
    ``batched=False``. ``terminated`` is computed the same way if ``compute_terminated`` is given, and
    else stays what the environment said for the original goal. A row that ended the episode and does not
    terminate for its new goal is truncated. Equal seed and episodes give equal rows.

    Examples:
        >>> from memories.replay import EpisodeWriter, Hindsight, ReplayBuffer
        >>> def reached(achieved, desired, info):
        ...     return (achieved == desired).all(-1).astype(np.float32)
        >>> buffer = ReplayBuffer(capacity=100)
        >>> with EpisodeWriter(buffer, relabel=Hindsight(reached, "final", copies=1)) as writer:
        ...     for t in range(3):
        ...         here = {"achieved_goal": np.array([t]), "desired_goal": np.array([9])}
        ...         there = {"achieved_goal": np.array([t + 1]), "desired_goal": np.array([9])}
        ...         step = {"reward": np.float32(0), "terminated": False, "truncated": t == 2}
        ...         writer.add(obs=here, next_obs=there, **step)
        >>> len(buffer)  # three steps, and the same three with the goal that was reached
        6
    """

    def __init__(
        self,
        compute_reward: GoalFunction,
        strategy: Strategy = "future",
        copies: int = 4,
        *,
        compute_terminated: GoalFunction | None = None,
        batched: bool = True,
        seed: int | np.random.Generator | None = None,
    ) -> None:
        if strategy not in get_args(Strategy):
            raise InvalidValue(f"strategy is one of {', '.join(get_args(Strategy))}; got {strategy!r}.")
        if copies < 1:
            raise InvalidValue(f"copies begins at 1; got {copies}.")
        self.strategy = strategy
        self.copies = copies
        self._compute_reward = compute_reward
        self._compute_terminated = compute_terminated
        self._batched = batched
        self._rng = np.random.default_rng(seed)

    @classmethod
    def from_env(cls, env: Any, strategy: Strategy = "future", copies: int = 4, **options: Any) -> Self:
        """Take ``compute_reward``, and ``compute_terminated`` where there is one, from an environment."""
        goal_env = getattr(env, "unwrapped", env)
        if not callable(getattr(goal_env, "compute_reward", None)):
            raise InvalidType(f"{type(goal_env).__name__} has no compute_reward: it is no GoalEnv.")
        options.setdefault("compute_terminated", getattr(goal_env, "compute_terminated", None))
        return cls(goal_env.compute_reward, strategy, copies, **options)

    def __call__(self, episode: Columns) -> Columns:
        """The relabelled rows of one finished episode, ``copies`` for each of its steps."""
        needed = ["obs/desired_goal", "next_obs/desired_goal", "next_obs/achieved_goal", "reward"]
        if self._compute_terminated is not None:
            needed += ["terminated", "truncated"]
        for name in needed:
            if name not in episode:
                raise InvalidValue(
                    f"Hindsight needs the column {name!r}: observations are dicts with achieved_goal and "
                    f"desired_goal. This episode has {', '.join(sorted(episode))}."
                )
        num_steps = len(episode["reward"])
        steps = np.tile(np.arange(num_steps), self.copies)
        rows = {name: column[steps] for name, column in episode.items()}
        goals = episode["next_obs/achieved_goal"][self._reached_at(steps, num_steps)]
        rows["obs/desired_goal"] = goals.astype(episode["obs/desired_goal"].dtype, copy=False)
        rows["next_obs/desired_goal"] = goals.astype(episode["next_obs/desired_goal"].dtype, copy=False)
        achieved = rows["next_obs/achieved_goal"]
        rows["reward"] = self._ask(self._compute_reward, achieved, goals, rows["reward"].dtype)
        if self._compute_terminated is not None:
            ended = rows["terminated"] | rows["truncated"]
            rows["terminated"] = self._ask(self._compute_terminated, achieved, goals, np.dtype(np.bool_))
            # The next row is of another copy or episode, also where the new goal was not reached.
            rows["truncated"] |= ended & ~rows["terminated"]
        return rows

    def _reached_at(self, steps: NDArray[np.int64], num_steps: int) -> NDArray[np.int64]:
        """The step after which the new goal of each row was achieved."""
        if self.strategy == "final":
            return np.full(len(steps), num_steps - 1)
        first = steps if self.strategy == "future" else 0
        return self._rng.integers(first, num_steps, size=len(steps))

    def _ask(
        self, function: GoalFunction, achieved: NDArray[Any], desired: NDArray[Any], dtype: np.dtype[Any]
    ) -> NDArray[Any]:
        if self._batched:
            answer = np.asarray(function(achieved, desired, {}))
        else:
            answer = np.asarray([function(*goals, {}) for goals in zip(achieved, desired, strict=True)])
        if answer.shape != (len(achieved),):
            name = getattr(function, "__name__", repr(function))
            raise InvalidValue(
                f"{name} returned shape {answer.shape} for {len(achieved)} goals. It is called with batches "
                "of goals; if it takes single goals, pass batched=False."
            )
        return answer.astype(dtype, copy=False)
