"""How `sample` chooses rows."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import NothingToSample
from .handles import Slots
from .schedules import Schedule, value_at
from .selector import Draw, Rows, Selector
from .sum_tree import SumTree

# A weight p**alpha is kept inside these bounds, so that no positive priority vanishes and no sum of
# 2**40 weights overflows.
SMALLEST_WEIGHT = 2.3e-308
LARGEST_WEIGHT = 1e290
# Priorities whose weight is inside the bounds without a look: 1e-70**4 is 1e-280.
_SAFE_LOW, _SAFE_HIGH, _SAFE_ALPHA = 1e-70, 1e70, 4.0


class UniformSampler(Selector):
    """Every stored row with equal probability, with replacement.

    Examples:
        >>> from memories.replay import ReplayBuffer
        >>> buffer = ReplayBuffer(capacity=10, sampler=UniformSampler(), seed=0)
        >>> _ = buffer.add_batch({"x": np.arange(3)})
        >>> len(buffer.sample(8))
        8
    """

    def draw(self, count: int, rng: np.random.Generator) -> Draw:
        table = self.rows.slots
        if table.count == 0:
            raise NothingToSample("The buffer is empty. Add rows before sampling.")
        return Draw(table.draw(count, rng), table.count)


class PrioritizedSampler(Selector):
    """Row i with probability ``p_i**alpha / sum``, independently and with replacement.

    A priority of 0 means "never draw this row" (for every alpha), until it is set to something else.
    Huge and tiny priorities are taken as they are, with ``p**alpha`` kept between 2.3e-308 and 1e290; a row
    whose share of the sum is below about 1e-16 is in effect not drawn, as its probability says.
    ``alpha`` may be a schedule of the number of draws; the tree is rebuilt when it moved by 0.01.

    Examples:
        >>> from memories.replay import ReplayBuffer
        >>> buffer = ReplayBuffer(capacity=10, sampler=PrioritizedSampler(alpha=0.6), seed=0)
        >>> _ = buffer.add_batch({"x": np.arange(3)}, priorities=np.array([0.0, 1.0, 0.0]))
        >>> set(buffer.sample(8)["x"].tolist())
        {1}
    """

    uses_priorities = True
    _pending_limit = 8192
    _alpha_step = 0.01

    def __init__(self, alpha: float | Schedule = 0.6) -> None:
        super().__init__()
        self._schedule = alpha
        self.alpha = value_at(alpha, 0, "alpha")
        self._draws = 0

    def bind(self, rows: Rows) -> None:
        super().bind(rows)
        self.tree = SumTree(rows.slots.capacity)
        # New rows enter the tree together, at the next draw: one pass up the tree instead of many.
        # Their order does not matter, because weights are read from the priorities then.
        self._pending_blocks: list[Slots] = []
        self._pending_slots: list[int] = []
        self._pending_count = 0

    def insert(self, slots: Slots) -> None:
        self._pending_blocks.append(slots)
        self._pending_count += len(slots)
        if self._pending_count > self._pending_limit:
            self.flush()

    def insert_one(self, slot: int) -> None:
        self._pending_slots.append(slot)
        self._pending_count += 1
        if self._pending_count > self._pending_limit:
            self.flush()

    def flush(self) -> None:
        """Bring the rows that were inserted since the last draw into the tree."""
        if self._pending_count:
            slots = np.concatenate([*self._pending_blocks, np.array(self._pending_slots, dtype=np.int64)])
            self._forget_pending()
            self.update(slots)

    def _forget_pending(self) -> None:
        self._pending_blocks.clear()
        self._pending_slots.clear()
        self._pending_count = 0

    def remove(self, slots: Slots) -> None:
        self.flush()
        self.tree.set(slots, np.zeros(slots.size))

    def update(self, slots: Slots) -> None:
        self.flush()
        priorities = self.rows.priorities
        assert priorities is not None
        self.tree.set(slots, self.scale(priorities.take(slots)))

    def update_to(self, slots: Slots, priorities: NDArray[np.float64], low: float, high: float) -> None:
        if type(self).update is not PrioritizedSampler.update:  # a subclass has more to do
            self.update(slots)
            return
        self.flush()
        self.tree.set(slots, self._scale_between(priorities, low, high))

    def scale(self, priorities: NDArray[np.float64]) -> NDArray[np.float64]:
        """``p**alpha`` within its bounds; 0 stays 0."""
        return self._scale_between(priorities, priorities.min(initial=np.inf), priorities.max(initial=0.0))

    def _scale_between(self, priorities: NDArray[np.float64], low: float, high: float) -> NDArray[np.float64]:
        if low == high:  # new rows: one power for all
            return np.full(priorities.size, self._scale_within_bounds(priorities[:1])[0])
        if low >= _SAFE_LOW and high <= _SAFE_HIGH and self.alpha <= _SAFE_ALPHA:
            weights: NDArray[np.float64] = priorities**self.alpha
            return weights
        return self._scale_within_bounds(priorities)

    def _scale_within_bounds(self, priorities: NDArray[np.float64]) -> NDArray[np.float64]:
        with np.errstate(over="ignore", under="ignore"):
            weights: NDArray[np.float64] = priorities**self.alpha
        np.clip(weights, SMALLEST_WEIGHT, LARGEST_WEIGHT, out=weights)
        weights[priorities == 0] = 0.0
        return weights

    def draw(self, count: int, rng: np.random.Generator) -> Draw:
        self.flush()
        self._follow_schedule()
        total = self.tree.total
        if total <= 0.0:
            if self.rows.slots.count == 0:
                raise NothingToSample("The buffer is empty. Add rows before sampling.")
            raise NothingToSample(
                f"All {self.rows.slots.count} rows have priority 0, which means never drawn. "
                "Add a small constant to the priorities that you set."
            )
        self._draws += 1
        slots, weights = self.tree.find(rng.random(count) * total)
        weights /= total
        return Draw(slots, self.rows.slots.count, weights, self.tree.minimum / total)

    def _follow_schedule(self) -> None:
        if callable(self._schedule):
            alpha = value_at(self._schedule, self._draws, "alpha")
            if abs(alpha - self.alpha) >= self._alpha_step:
                self.alpha = alpha
                self.rebuild()

    def rebuild(self) -> None:
        priorities = self.rows.priorities
        assert priorities is not None
        self._forget_pending()
        weights = np.zeros(self.tree.capacity)
        live = self.rows.slots.live()
        weights[live] = self.scale(priorities[live])
        self.tree.rebuild(weights)

    def bytes_per_row(self) -> int:
        return 64  # at most four tree nodes of two float64 each

    def export_state(self) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        return {"alpha": self.alpha, "draws": self._draws}, {}

    def import_state(self, values: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> None:
        self._draws = int(values["draws"])
        if float(values["alpha"]) != self.alpha:
            self.alpha = float(values["alpha"])
            self.rebuild()
