"""Buffers of (state, action, reward, next_state, done) that take and give Python values.

For batches as arrays or tensors, schemas, schedules or several writers, use `ReplayBuffer` and
`PrioritizedReplayBuffer`, on which these sit.
"""

from __future__ import annotations

import logging
import threading
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..errors import InvalidValue, NothingToSample
from .batch import Batch
from .buffer import PrioritizedReplayBuffer, ReplayBuffer, UpdateResult
from .containers import Container, container_of
from .handles import Handles
from .plugins import PluginManager
from .schedules import Schedule
from .schema import ColumnSpec, Schema, flatten
from .selector import Draw, Selector
from .writers.columns import Columns, as_column

logger = logging.getLogger(__name__)


class Experience(NamedTuple):
    """One step of an agent.

    Examples:
        >>> Experience(state=0, action=1, reward=0.5, next_state=1, done=False).reward
        0.5
    """

    state: Any
    action: Any
    reward: Any
    next_state: Any
    done: Any


class _ExperienceBuffer:
    """What the uniform and the prioritized buffer share. Thread-safe."""

    def __init__(self, buffer: ReplayBuffer, plugin_manager: PluginManager | None) -> None:
        self.plugin_manager = PluginManager() if plugin_manager is None else plugin_manager
        self._buffer = buffer
        self._lock = threading.Lock()
        self._containers: tuple[Container, ...] = ()
        self._said_with_replacement = False

    def __len__(self) -> int:
        return len(self._buffer)

    @property
    def capacity(self) -> int:
        """How many experiences are kept."""
        capacity = self._buffer.capacity
        assert capacity is not None
        return capacity

    def store(self, state: Any, action: Any, reward: Any, next_state: Any, done: Any) -> None:
        """Keep a copy of one experience; the oldest makes room.

        Values are numbers, lists, arrays, tensors, and dicts or tuples of these. They come back in the
        containers that the first experience had (a list as a list, an array as an array), and all have
        its shapes. Where a value needs a wider dtype (0.5 after 1), the buffer widens, which copies it
        once. Raises `InvalidValue` or `InvalidType`, and keeps nothing, if that is not possible.
        """
        experience = Experience(state, action, reward, next_state, done)
        row = {name: as_column(name, value) for name, value in flatten(experience._asdict()).items()}
        with self._lock:
            if not self._containers:
                containers = tuple(container_of(*field) for field in experience._asdict().items())
                self._buffer.add(**row)
                self._containers = containers
            else:
                self._widen_for(row)
                self._buffer.add(**row)
        self.plugin_manager.experience_stored(experience)

    def _widen_for(self, row: Columns) -> None:
        schema = self._buffer.schema
        assert schema is not None
        if all(name in schema and array.dtype == schema[name].dtype for name, array in row.items()):
            return
        wider: dict[str, Any] = {}
        for spec in schema:
            array = row.get(spec.name)
            if array is None or array.shape != spec.shape:
                return  # no dtype helps here: the buffer says what is wrong
            is_flag = spec.dtype == np.bool_ and bool(np.isin(array, (0, 1)).all())
            dtype = spec.dtype if is_flag else np.promote_types(spec.dtype, array.dtype)
            wider[spec.name] = ColumnSpec(spec.name, spec.shape, dtype)
        if Schema(wider) != schema:
            self._buffer.widen(Schema(wider))

    def _draw(self, batch_size: int, beta: float | None = None) -> tuple[Batch, list[Experience]]:
        with self._lock:
            batch = self._buffer.sample(batch_size, beta)
            say = batch_size > batch.population and not self._said_with_replacement
            self._said_with_replacement |= say
        if say:
            logger.warning(
                "A batch of %d was asked for while %d experiences are stored, so some come more than once. "
                "Each buffer says this once.",
                batch_size,
                batch.population,
            )
        columns = [container.rows(batch.columns) for container in self._containers]
        return batch, list(map(Experience._make, zip(*columns, strict=True)))


class ExperienceReplay(_ExperienceBuffer):
    """The last ``capacity`` experiences, sampled uniformly. Thread-safe.

        replay = ExperienceReplay(capacity=1000)
        replay.store(state, action, reward, next_state, done)
        states, actions, rewards, next_states, dones = zip(*replay.sample(32))

    The experiences of a batch are different ones, unless more are asked for than are stored: then all
    are drawn with replacement, and the log says so once.

    Examples:
        >>> replay = ExperienceReplay(capacity=1_000, seed=0)
        >>> for step in range(10):
        ...     replay.store([step], 0, 1.0, [step + 1], False)
        >>> len(replay.sample(4))
        4
    """

    def __init__(
        self, capacity: int, plugin_manager: PluginManager | None = None, *, seed: int | None = None
    ) -> None:
        super().__init__(
            ReplayBuffer(capacity=capacity, sampler=_DistinctSampler(), seed=seed), plugin_manager
        )

    def sample(self, batch_size: int) -> list[Experience]:
        """Draw experiences. Raises `NothingToSample` while nothing is stored."""
        _, experiences = self._draw(batch_size)
        self.plugin_manager.sampled(experiences)
        return experiences


class PrioritizedExperienceReplay(_ExperienceBuffer):
    """The last ``capacity`` experiences, sampled by priority (Schaul et al., 2016). Thread-safe.

        idxs, batch, weights = replay.sample(32)
        replay.update_priorities(idxs, td_errors)

    An experience is drawn with probability ``p**alpha / sum``, with replacement; a new one has the
    largest priority so far. ``weights`` are the importance weights ``(N * P)**-beta``, the largest
    possible being 1. ``epsilon`` is added to every error, so that none becomes 0 (never drawn again).

    Examples:
        >>> replay = PrioritizedExperienceReplay(capacity=1_000, seed=0)
        >>> for step in range(10):
        ...     replay.store([step], 0, 1.0, [step + 1], False)
        >>> idxs, batch, weights = replay.sample(4)
        >>> len(batch), float(weights.max()) <= 1
        (4, True)
    """

    def __init__(
        self,
        capacity: int,
        plugin_manager: PluginManager | None = None,
        *,
        alpha: float | Schedule = 0.6,
        beta: float | Schedule = 0.4,
        epsilon: float = 1e-6,
        seed: int | None = None,
    ) -> None:
        if not epsilon > 0:
            raise InvalidValue(f"epsilon is {epsilon}, must be positive: a priority of 0 is never drawn.")
        self.epsilon = epsilon
        buffer = PrioritizedReplayBuffer(capacity=capacity, alpha=alpha, beta=beta, seed=seed)
        super().__init__(buffer, plugin_manager)

    def sample(
        self, batch_size: int, beta: float | None = None
    ) -> tuple[Handles, list[Experience], NDArray[np.float32]]:
        """Draw ``(idxs, experiences, weights)``. Raises `NothingToSample` while nothing is stored."""
        batch, experiences = self._draw(batch_size, beta)
        self.plugin_manager.sampled(experiences)
        return batch.handles, experiences, batch.weights

    def update_priorities(self, idxs: Any, errors: Any) -> UpdateResult:
        """Set the priorities of sampled experiences to ``abs(error) + epsilon``.

        Experiences that were overwritten meanwhile are left out and counted as stale. An error that is
        NaN or infinite raises `InvalidValue`, and no priority changes.
        """
        priorities = np.abs(as_column("errors", errors)) + self.epsilon
        result = self._buffer.update_priorities(idxs, priorities)
        self.plugin_manager.priorities_updated(idxs, priorities)
        return result


class _DistinctSampler(Selector):
    """Uniform without replacement, or with it where more rows are asked for than there are."""

    def draw(self, count: int, rng: np.random.Generator) -> Draw:
        table = self.rows.slots
        if table.count == 0:
            raise NothingToSample("The buffer is empty. Store experiences before sampling.")
        if count > table.count:
            return Draw(table.draw(count, rng), table.count)
        positions = rng.choice(table.count, count, replace=False)
        if not table.is_ring:
            return Draw(table.live()[positions], table.count)
        return Draw((positions + table.head) % table.capacity, table.count)
