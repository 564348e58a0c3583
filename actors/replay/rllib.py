"""RLlib's episode replay buffer on our shards, for its new API stack (DQN, SAC and what derives from them).

config.training(
    n_step=3,
    replay_buffer_config={
        "type": ClusterEpisodeReplayBuffer, "name": "cartpole", "capacity": 1_000_000, "shards": 4,
        "replicas": 2, "alpha": 0.6, "beta": 0.4, "n_step": 3, "gamma": 0.99,
    },
)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from ray.rllib.core import DEFAULT_AGENT_ID, DEFAULT_MODULE_ID
from ray.rllib.env.single_agent_episode import SingleAgentEpisode
from ray.rllib.utils.replay_buffers.episode_replay_buffer import EpisodeReplayBuffer
from ray.rllib.utils.replay_buffers.prioritized_episode_buffer import PrioritizedEpisodeReplayBuffer
from ray.rllib.utils.spaces.space_utils import batch as stacked

from ...errors import InvalidValue, NothingToSample, Unavailable
from ...replay.batch import Batch
from ...replay.schema import Schema
from .rllib_rows import OpenEpisodes, Piece, columns_named

SMALLEST_PRIORITY = 1e-12
"""RLlib's own: a TD error of exactly 0 leaves the row in the buffer's reach."""


class ClusterEpisodeReplayBuffer(PrioritizedEpisodeReplayBuffer):
    """`PrioritizedEpisodeReplayBuffer` whose rows live in the replay shards of a cluster.

    name: of the buffer, which is made at the first `add` or found, so several algorithms may share one.
    cluster, address: what `memories.connect` takes; the Ray that RLlib runs in is used where there is one.
    n_step, gamma: as in the algorithm's own settings: the transitions are made when episodes are added, so
        one number of steps is stored, and `sample` raises `InvalidValue` where it is asked for another.
        Unlike RLlib's buffer it stores the shorter windows at an episode's end too; every sampled item
        says its number of steps, which RLlib's losses read.
    alpha: 0 makes a uniform buffer.

    Rows that were evicted are evicted one by one, not by episode. Episodes have observations and actions of
    the env runner's spaces; infos and other model outputs are not stored. `get_state` holds no rows: they
    stay on the cluster, and `replay.checkpoint` saves them. Not thread-safe.
    """

    def __init__(
        self,
        capacity: int = 10_000,
        *,
        name: str,
        cluster: str = "default",
        address: str | None = None,
        shards: int = 1,
        replicas: int = 1,
        alpha: float = 0.6,
        beta: float = 0.4,
        n_step: int = 1,
        gamma: float = 0.99,
        seed: int | None = None,
        prefetch: int = 2,
        batch_size_B: int = 16,
        batch_length_T: int = 1,
        metrics_num_episodes_for_smoothing: int = 100,
        **_: Any,
    ) -> None:
        # The trees of the prioritized parent would take memory for every row: its own state is not made.
        EpisodeReplayBuffer.__init__(
            self,
            capacity,
            batch_size_B=batch_size_B,
            batch_length_T=batch_length_T,
            metrics_num_episodes_for_smoothing=metrics_num_episodes_for_smoothing,
        )
        self._name, self._cluster_name, self._address = name, cluster, address
        self._options: dict[str, Any] = {"shards": shards, "replicas": replicas, "capacity": capacity}
        self._options["kind"] = "prioritized" if alpha > 0 else "uniform"
        if alpha > 0:
            self._options["alpha"] = alpha
        self._beta, self._n, self._gamma = beta, n_step, gamma
        self._seed, self._prefetch = seed, prefetch
        self._open = OpenEpisodes(n_step, gamma)
        self._cluster: Any = None
        self._replay: Any = None
        self._writer: Any = None
        self._sampler: Any = None
        self._sampler_key: tuple[int, float] | None = None
        self._last: Batch | None = None
        self._num_episodes = 0

    # -- RLlib's interface ----------------------------------------------------------------------------

    def add(  # type: ignore[override]  # as its parent, against RLlib's own interface
        self, episodes: Any, weight: float | None = None
    ) -> None:
        """Store episodes or pieces of episodes; acknowledged by the cluster when the call returns."""
        added = episodes if isinstance(episodes, Sequence) else [episodes]
        steps = 0
        for episode in added:
            if len(episode) == 0:
                continue
            if self._replay is None:
                self._open_replay(episode.observation_space, episode.action_space)
            steps += len(episode)
            rows = self._open.rows_of(episode.id_, _piece_of(episode))
            if rows is not None:
                given = None if weight is None else np.full(len(rows["reward"]), weight)
                self._writer.add_batch(rows, given)
        if self._writer is not None:
            self._writer.flush()
        self._num_timesteps_added += steps
        finished = sum(1 for episode in added if episode.is_done)
        self._num_episodes += finished
        none: dict[Any, int] = {DEFAULT_AGENT_ID: 0}
        self._update_add_metrics(
            num_episodes_added=finished,
            num_env_steps_added=steps,
            num_episodes_evicted=0,
            num_env_steps_evicted=0,
            agent_to_num_episodes_added={DEFAULT_AGENT_ID: finished},
            agent_to_num_steps_added={DEFAULT_AGENT_ID: steps},
            agent_to_num_episodes_evicted=none,
            agent_to_num_steps_evicted=none,
            module_to_num_episodes_added={DEFAULT_MODULE_ID: finished},
            module_to_num_steps_added={DEFAULT_MODULE_ID: steps},
            module_to_num_episodes_evicted={DEFAULT_MODULE_ID: 0},
            module_to_num_steps_evicted={DEFAULT_MODULE_ID: 0},
        )

    def sample(  # type: ignore[override]  # as its parent does where sample_episodes is set
        self,
        num_items: int | None = None,
        *,
        batch_size_B: int | None = None,
        batch_length_T: int | None = None,
        n_step: int | tuple[int, int] | None = None,
        beta: float | None = None,
        gamma: float | None = None,
        include_infos: bool = False,
        include_extra_model_outputs: bool = False,
        to_numpy: bool = False,
        **_: Any,
    ) -> list[SingleAgentEpisode]:
        """Transitions as episodes of one step, with ``weights`` and ``n_step`` among their model outputs."""
        self._check_request(batch_length_T, n_step, gamma, include_infos, include_extra_model_outputs)
        if self._replay is None:
            raise NothingToSample("the buffer has no rows yet; add episodes first")
        size = num_items or batch_size_B or self.batch_size_B
        batch = self._batch(size, self._beta if beta is None else beta)
        self._last = batch
        episodes = _episodes_of(batch)
        if to_numpy:
            for episode in episodes:
                episode.to_numpy()
        self.sampled_timesteps += size
        distinct = len(np.unique(batch.handles))
        mean_steps = float(np.mean(batch["n_step"]))
        self._update_sample_metrics(
            num_env_steps_sampled=size,
            num_episodes_per_sample=distinct,
            num_env_steps_per_sample=distinct,
            sampled_n_step=mean_steps,
            num_resamples=0,
            agent_to_num_steps_sampled={DEFAULT_AGENT_ID: size},
            agent_to_num_episodes_per_sample={DEFAULT_AGENT_ID: distinct},
            agent_to_num_steps_per_sample={DEFAULT_AGENT_ID: distinct},
            agent_to_sampled_n_step={DEFAULT_AGENT_ID: mean_steps},
            agent_to_num_resamples={DEFAULT_AGENT_ID: 0},
            module_to_num_steps_sampled={DEFAULT_MODULE_ID: size},
            module_to_num_episodes_per_sample={DEFAULT_MODULE_ID: distinct},
            module_to_num_steps_per_sample={DEFAULT_MODULE_ID: distinct},
            module_to_sampled_n_step={DEFAULT_MODULE_ID: mean_steps},
            module_to_num_resamples={DEFAULT_MODULE_ID: 0},
        )
        return episodes

    def update_priorities(self, priorities: NDArray[Any], module_id: Any = None) -> None:
        """New priorities (TD errors) for the rows that were sampled last."""
        if self._last is None:
            raise InvalidValue("update_priorities() belongs to the sample() before it; there was none")
        errors = np.asarray(priorities, np.float64).reshape(-1)
        if len(errors) != len(self._last):
            raise InvalidValue(f"{len(errors)} priorities for the {len(self._last)} rows sampled last")
        if self._options["kind"] == "prioritized":
            self._replay.update_priorities(self._last.handles, np.maximum(errors, SMALLEST_PRIORITY))
        self._last = None

    def get_num_episodes(self, module_id: Any = None) -> int:
        """Episodes that ended and were added here; the cluster keeps rows, not episodes."""
        return self._num_episodes

    def get_num_timesteps(self, module_id: Any = None) -> int:
        """Rows that are stored, whoever added them."""
        return 0 if self._replay is None else len(self._replay)

    def get_state(self) -> dict[str, Any]:
        """The counters and the buffer's name; the rows stay on the cluster."""
        return {
            "name": self._name,
            "cluster": self._cluster_name,
            "num_episodes": self._num_episodes,
            "num_timesteps_added": self._num_timesteps_added,
            "sampled_timesteps": self.sampled_timesteps,
        }

    def set_state(self, state: dict[str, Any]) -> None:
        """Go on with the counters of `get_state`, and with the rows that the cluster has."""
        if state["name"] != self._name:
            raise InvalidValue(f"the state is of buffer {state['name']!r}, this is {self._name!r}")
        self._num_episodes = state["num_episodes"]
        self._num_timesteps_added = state["num_timesteps_added"]
        self.sampled_timesteps = state["sampled_timesteps"]

    def close(self) -> None:
        """Disconnect; the rows stay on the cluster. Twice is fine."""
        if self._sampler is not None:
            self._sampler.close()
        if self._writer is not None:
            self._writer.close()
        if self._cluster is not None:
            self._cluster.close()
        self._sampler = self._writer = self._cluster = self._replay = None

    # -- parts ----------------------------------------------------------------------------------------

    def _open_replay(self, observation_space: Any, action_space: Any) -> None:
        from ..cluster import connect

        if observation_space is None or action_space is None:
            raise InvalidValue("the first episode has no observation_space and action_space to read")
        schema = Schema.from_spaces(
            observation_space, action_space, extra={"n_step": np.int32, "t": np.int32}
        )
        self._cluster = connect(self._address, name=self._cluster_name)
        self._replay = self._cluster.replay(self._name, schema=schema, **self._options)
        self._writer = self._replay.writer()

    def _batch(self, size: int, beta: float) -> Batch:
        if self._sampler_key != (size, beta):
            if self._sampler is not None:
                self._sampler.close()
            self._sampler = self._replay.sampler(
                batch_size=size, beta=beta, prefetch=self._prefetch, seed=self._seed
            )
            self._sampler_key = (size, beta)
        batch: Batch = next(self._sampler)
        return batch

    def _check_request(
        self,
        batch_length: int | None,
        n_step: int | tuple[int, int] | None,
        gamma: float | None,
        include_infos: bool,
        include_extra_model_outputs: bool,
    ) -> None:
        if n_step is not None and n_step != self._n:
            raise InvalidValue(
                f"the algorithm samples with n_step={n_step}, and the rows were stored over {self._n} steps: "
                'set "n_step" of the replay_buffer_config to the same number'
            )
        if self._n > 1 and gamma is not None and gamma != self._gamma:
            raise InvalidValue(
                f"the algorithm discounts by {gamma}, and the rows were stored with {self._gamma}: "
                'set "gamma" of the replay_buffer_config to the same number'
            )
        if batch_length is not None and batch_length > 1:
            raise InvalidValue(f"rows are single transitions: sequences of {batch_length} cannot be sampled")
        if include_infos or include_extra_model_outputs:
            raise Unavailable("infos and model outputs of the env runners are not stored")


class _PutInPlace:
    """A callback that survives pickling, for algorithms that run in an actor of Tune."""

    def __init__(self, options: dict[str, Any]) -> None:
        self._options = options

    def __call__(self, *, algorithm: Any, **_: Any) -> None:
        algorithm.local_replay_buffer = ClusterEpisodeReplayBuffer(**self._options)


def replay_on_cluster(**options: Any) -> Callable[..., None]:
    """For RLlib's ``on_algorithm_init``: the algorithm's buffer is then a `ClusterEpisodeReplayBuffer`."""
    return _PutInPlace(options)


def _piece_of(episode: SingleAgentEpisode) -> Piece:
    """The new steps of an episode; what its lookback repeats was in an earlier piece."""
    obs, actions = episode.get_observations(), episode.get_actions()
    if not episode.is_numpy:
        obs, actions = stacked(obs), stacked(actions)
    ended = "terminated" if episode.is_terminated else "truncated" if episode.is_truncated else ""
    rewards = np.asarray(episode.get_rewards(), np.float64)
    start = int(episode.t_started)
    return Piece(start, columns_named("obs", obs), columns_named("action", actions), rewards, ended)


def _episodes_of(batch: Batch) -> list[SingleAgentEpisode]:
    """RLlib takes a list of episodes, so this is a loop over rows, by its interface."""
    nested = batch.nested()
    obs, after, actions = nested["obs"], nested["next_obs"], nested["action"]
    rewards, steps, times = batch["reward"].tolist(), batch["n_step"].tolist(), batch["t"].tolist()
    weights = np.asarray(batch.weights)
    terminated, truncated = batch["terminated"].tolist(), batch["truncated"].tolist()
    return [
        SingleAgentEpisode(
            observations=[_item(obs, i), _item(after, i)],
            actions=[_item(actions, i)],
            rewards=[rewards[i]],
            terminated=terminated[i],
            truncated=truncated[i],
            extra_model_outputs={"weights": [weights[i]], "n_step": [steps[i]]},
            len_lookback_buffer=0,
            t_started=times[i],
        )
        for i in range(len(batch))
    ]


def _item(struct: Any, i: int) -> Any:
    if isinstance(struct, dict):
        return {name: _item(inner, i) for name, inner in struct.items()}
    if isinstance(struct, tuple):
        return tuple(_item(inner, i) for inner in struct)
    return struct[i]
