"""The transitions of several environments a call, as off-policy code of the SB3 family hands them over."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...errors import InvalidType, InvalidValue
from ..batch import Batch
from ..buffer import PrioritizedReplayBuffer, ReplayBuffer, UpdateResult
from ..frames import ImageStorage
from ..schedules import Schedule
from ..schema import SEPARATOR, Schema
from ..selector import Selector
from ..writers.nstep import NStepWriter

TIMEOUT = "TimeLimit.truncated"
FINALS = ("_final_obs", "_final_observation")  # gymnasium: which environments have ended and were reset
SMALLEST_PRIORITY = 1e-6  # a priority of 0 would never be drawn again
SMALLEST_IMAGE_NBYTES = 1024  # below, an index entry costs more than a repeated observation


class Samples(NamedTuple):
    """Tensors in the names of the SB3 family; actions, rewards and dones have two axes.

    ``discounts`` are those of n-step transitions, ``weights`` and ``handles`` those of prioritized ones.
    """

    observations: Any
    actions: Any
    next_observations: Any
    dones: Any
    rewards: Any
    discounts: Any = None
    weights: Any = None
    handles: Any = None


class Transitions:
    """``num_envs`` rows a call: obs, next_obs, action, reward, done, infos.

    Observations are arrays, or dicts of arrays for a ``Dict`` space; a Discrete observation or action is
    one number in an axis of its own. With ``n_steps`` above 1 the rows are n-step transitions and have a
    ``discount``; a row is then there n - 1 calls later, or at the end of its episode. An episode also ends,
    as truncated, where gymnasium's infos have a last observation, and where an ``obs`` is not the
    ``next_obs`` of the step before. Thread-safe for sampling; one thread adds.

    Pickling (which is how SB3 saves replay buffers) keeps rows, priorities and the generator; the open
    windows of n-step transitions are left out, as their episodes are not continued.
    """

    def __init__(
        self,
        capacity: int,
        observation_space: Any,
        action_space: Any,
        num_envs: int = 1,
        *,
        handle_timeouts: bool = True,
        n_steps: int = 1,
        gamma: float = 0.99,
        prioritized: bool = False,
        alpha: float | Schedule = 0.6,
        beta: float | Schedule = 0.4,
        sampler: Selector | None = None,
        images: ImageStorage | None = None,
        seed: int | None = None,
    ) -> None:
        self.num_envs = num_envs
        self.handle_timeouts = handle_timeouts
        self._has_own_sampler = sampler is not None
        self._arguments: dict[str, Any] = {
            "capacity": capacity,
            "observation_space": observation_space,
            "action_space": action_space,
            "num_envs": num_envs,
            "handle_timeouts": handle_timeouts,
            "n_steps": n_steps,
            "gamma": gamma,
            "prioritized": prioritized,
            "alpha": alpha,
            "beta": beta,
            "images": images,
        }
        observation = observation_columns(observation_space)
        columns: dict[str, Any] = {
            "obs": observation,
            "action": action_column(action_space),
            "reward": np.float32,
            "next_obs": observation,
            "terminated": np.bool_,
        }
        if n_steps > 1:
            columns |= {"truncated": np.bool_, "discount": np.float32}
        schema = Schema(columns)
        self._specs = {
            name: _StepSpec((num_envs, *schema[name].shape), schema[name].dtype) for name in schema.names
        }
        # Actions come flat or in the shape of their space.
        shaped = (num_envs, *_item(action_space)[0])
        self._specs["action"] = replace(self._specs["action"], other_shape=shaped)
        self._keys = tuple(observation) if isinstance(observation, Mapping) else None
        self._observations = (
            ("obs",) if self._keys is None else tuple(f"obs{SEPARATOR}{key}" for key in self._keys)
        )
        if prioritized:
            self.buffer: ReplayBuffer = PrioritizedReplayBuffer(
                schema, capacity, alpha=alpha, beta=beta, seed=seed, images=images
            )
        else:
            self.buffer = ReplayBuffer(schema, capacity, sampler=sampler, seed=seed, images=images)
        self._writer = (
            NStepWriter(self.buffer, n_steps, gamma, num_envs=num_envs, batch_size=num_envs)
            if n_steps > 1
            else None
        )

    def __len__(self) -> int:
        return len(self.buffer)

    def add(self, obs: Any, next_obs: Any, action: Any, reward: Any, done: Any, infos: Any = None) -> None:
        """One step of every environment. ``done`` mixes both ends; ``infos`` tell which were timeouts."""
        columns: dict[str, Any] = {"action": action, "reward": reward}
        if self._keys is None:
            columns["obs"], columns["next_obs"] = obs, next_obs
        else:
            for key in self._keys:
                columns[f"obs{SEPARATOR}{key}"] = obs[key]
                columns[f"next_obs{SEPARATOR}{key}"] = next_obs[key]
        for name, value in columns.items():
            columns[name] = self._specs[name].fit(name, value)
        if self.num_envs == 1 and self._writer is None:
            ended = bool(np.asarray(done).item())
            timeout = ended and self.handle_timeouts and bool(self._timeouts(infos)[0])
            row = {name: column[0] for name, column in columns.items()}
            self.buffer.add(**row, terminated=ended and not timeout)
            return
        ended_each = np.asarray(done).reshape(self.num_envs).astype(np.bool_)
        timeouts = self._timeouts(infos) & ended_each if self.handle_timeouts else np.zeros_like(ended_each)
        columns["terminated"] = ended_each & ~timeouts
        if self._writer is None:
            self.buffer.add_batch(columns)
            return
        truncated = (timeouts | self._finals(infos)) & ~columns["terminated"]
        self._cut_at_jumps(self._writer, columns)
        self._writer.add_vector(truncated=truncated, **columns)

    def cut(self, env_ids: NDArray[np.int64] | None = None) -> None:
        """End the episodes of these environments (default: all) as truncated: they are about to be reset."""
        if self._writer is not None:
            self._writer.cut(env_ids)
            self._writer.flush()

    def sample(self, batch_size: int, beta: float | None = None) -> Batch:
        return self.buffer.sample(batch_size, beta)

    def observations(self, batch: Batch, name: str) -> Any:
        """``obs`` or ``next_obs`` of a batch: an array, or a dict under the keys of the space as they are."""
        if self._keys is None:
            return batch[name]
        return {key: batch[f"{name}{SEPARATOR}{key}"] for key in self._keys}

    def update_priorities(self, handles: Any, td_errors: Any) -> UpdateResult:
        """Set the priorities of sampled rows to ``abs(td_errors) + SMALLEST_PRIORITY``.

        Tensors are taken as well. A NaN raises `InvalidValue`, and no priority changes.
        """
        if hasattr(td_errors, "detach"):
            td_errors = td_errors.detach().cpu().numpy()
        priorities = np.abs(np.asarray(td_errors, np.float64)).reshape(-1) + SMALLEST_PRIORITY
        return self.buffer.update_priorities(handles, priorities)

    def clear(self) -> None:
        """Forget all rows, also those of open n-step windows."""
        if self._writer is not None:
            self._writer.discard()
        self.buffer.clear()

    def __getstate__(self) -> dict[str, Any]:
        if self._has_own_sampler:
            raise InvalidType(
                "A buffer with a sampler= of your own cannot be pickled: write buffer.checkpoint(path)."
            )
        return {"arguments": self._arguments, "state": self.buffer.export_state()}

    def __setstate__(self, pickled: dict[str, Any]) -> None:
        self.__init__(**pickled["arguments"])  # type: ignore[misc]
        self.buffer.import_state(pickled["state"])

    def _timeouts(self, infos: Any) -> NDArray[np.bool_]:
        if infos is None:
            return np.zeros(self.num_envs, np.bool_)
        if isinstance(infos, Mapping):  # a gymnasium vector environment: arrays by name
            flags = infos.get(TIMEOUT)
            return np.zeros(self.num_envs, np.bool_) if flags is None else np.asarray(flags, np.bool_)
        return np.asarray([info.get(TIMEOUT, False) for info in infos], np.bool_)

    def _finals(self, infos: Any) -> NDArray[np.bool_]:
        """Which environments have ended by the infos of a gymnasium vector environment."""
        ended = np.zeros(self.num_envs, np.bool_)
        if isinstance(infos, Mapping):
            for name in FINALS:
                if name in infos:
                    ended |= np.asarray(infos[name], np.bool_)
        return ended

    def _cut_at_jumps(self, writer: NStepWriter, columns: Mapping[str, NDArray[Any]]) -> None:
        """Cut the episodes that do not go on with this step: nobody told of their end."""
        jumped = np.zeros(self.num_envs, np.bool_)
        for name in self._observations:
            streams, expected = writer.last_of(f"next_{name}")
            if len(streams):
                jumped[streams] |= _rows_differ(columns[name][streams], expected)
        if jumped.any():
            self.cut(np.flatnonzero(jumped))


@dataclass(frozen=True)
class _StepSpec:
    """Shape and dtype of one column for one step of all environments."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    other_shape: tuple[int, ...] | None = None  # means the same, with the numbers in the same order

    def fit(self, name: str, value: Any) -> NDArray[Any]:
        """The value in this shape and dtype, as it is where it has them already.

        Axes of length 1 may be missing or too many. Any other shape is refused: its numbers could be
        those of other environments, or lie in another order.
        """
        array = value if isinstance(value, np.ndarray) else np.asarray(value)
        if array.shape != self.shape:
            long_axes = _long_axes(array.shape)
            if long_axes != _long_axes(self.shape) and (
                self.other_shape is None or long_axes != _long_axes(self.other_shape)
            ):
                raise InvalidValue(
                    f"{name!r} has shape {array.shape}; {self.shape[0]} environments with items of shape "
                    f"{self.shape[1:]} are expected, which is {self.shape}."
                )
            array = array.reshape(self.shape)
        return array if array.dtype is self.dtype else array.astype(self.dtype, copy=False)


def _long_axes(shape: tuple[int, ...]) -> list[int]:
    return [length for length in shape if length != 1]


def _rows_differ(one: NDArray[Any], other: NDArray[Any]) -> NDArray[np.bool_]:
    """For each row whether any number differs; NaN counts as equal to NaN."""
    different = one != other
    if one.dtype.kind == "f" and different.any():
        different &= ~(np.isnan(one) & np.isnan(other))
    return np.asarray(different.reshape(len(one), -1).any(axis=1))


def observation_columns(space: Any) -> Any:
    """Shape and dtype of an observation, or a dict of them; a Discrete one has an axis of length 1."""
    from gymnasium import spaces

    if isinstance(space, spaces.Dict):
        return {str(name): _item(inner) for name, inner in space.spaces.items()}
    return _item(space)


def action_column(space: Any) -> tuple[tuple[int, ...], Any]:
    """Actions are flat vectors; float64 is kept as float32, which is what learners take."""
    shape, dtype = _item(space)
    return (int(np.prod(shape, dtype=np.int64)),), np.float32 if dtype == np.float64 else dtype


def _item(space: Any) -> tuple[tuple[int, ...], Any]:
    from gymnasium import spaces

    if isinstance(space, spaces.Discrete):
        return (1,), space.dtype
    if isinstance(space, spaces.Box | spaces.MultiDiscrete | spaces.MultiBinary):
        return tuple(space.shape), space.dtype
    raise InvalidType(
        f"{type(space).__name__} spaces cannot be stored here: use Box, Discrete, MultiDiscrete, "
        "MultiBinary, or a Dict of these."
    )


def learner_rows(
    capacity: int,
    observation_space: Any,
    action_space: Any,
    num_envs: int,
    *,
    share_frames: bool,
    images: ImageStorage | None,
    seed: int | None,
    **options: Any,
) -> Transitions:
    """The rows behind a learner's buffer: ``share_frames`` keeps equal frames of large observations once;
    without a seed they follow NumPy's global generator."""
    if share_frames and images is None:
        images = frame_storage(observation_space)
    seed = global_seed() if seed is None else seed
    return Transitions(
        capacity, observation_space, action_space, num_envs, images=images, seed=seed, **options
    )


def global_seed() -> int:
    """A seed from NumPy's global generator: where a script seeds only that, runs stay repeatable."""
    return int(np.random.randint(2**31))  # noqa: NPY002


def frame_storage(observation_space: Any) -> ImageStorage | None:
    """Storage that keeps equal frames once, where the observation is large enough for that to pay.

    For an image the shorter one of its first and last axis is taken for the stack.
    """
    columns = observation_columns(observation_space)
    if isinstance(columns, Mapping):
        return None
    shape, dtype = columns
    if int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize < SMALLEST_IMAGE_NBYTES:
        return None
    if len(shape) != 3:
        return ImageStorage(stack_axis=None)
    return ImageStorage(stack_axis=0 if shape[0] <= shape[-1] else -1)
