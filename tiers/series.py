"""`Series`: numbers over time at a resolution that halves when the room is full."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt


class Series:
    """Points of several means (with their peaks) and several sums, each over an interval of time.

    Samples are gathered into points of `stride` samples each. When `max_points` points are there, each
    is joined with its neighbour and the stride doubles: all of the time stays covered, memory stays the
    same, sums stay exact, and means are those of all samples. Not thread-safe.
    """

    def __init__(self, *, means: Sequence[str], sums: Sequence[str], max_points: int) -> None:
        self._mean_names = tuple(means)
        self._sum_names = tuple(sums)
        self._capacity = max_points - max_points % 2
        self._times = np.zeros(self._capacity)
        self._samples = np.zeros(self._capacity, np.int64)
        self._means = np.zeros((self._capacity, len(means)))
        self._peaks = np.zeros((self._capacity, len(means)))
        self._sums = np.zeros((self._capacity, len(sums)), np.int64)
        self._count = 0
        self._stride = 1

    def __len__(self) -> int:
        return self._count

    def add(self, time_s: float, means: Sequence[float], sums: Sequence[int]) -> None:
        """Take a sample. The time of a point is that of its last sample."""
        if self._count and self._samples[self._count - 1] < self._stride:
            row = self._count - 1
        else:
            if self._count == self._capacity:
                self._halve()
            row = self._count
            self._count += 1
            self._samples[row] = 0
            self._means[row] = 0
            self._peaks[row] = -np.inf
            self._sums[row] = 0
        self._samples[row] += 1
        self._times[row] = time_s
        self._means[row] += (np.asarray(means) - self._means[row]) / self._samples[row]
        self._peaks[row] = np.maximum(self._peaks[row], means)
        self._sums[row] += np.asarray(sums, np.int64)

    def columns(self) -> dict[str, npt.NDArray[Any]]:
        """Copies of the series by name: ``timestamps``, each mean and its ``..._peak``, each sum."""
        count = self._count
        columns: dict[str, npt.NDArray[Any]] = {"timestamps": self._times[:count].copy()}
        for place, name in enumerate(self._mean_names):
            columns[name] = self._means[:count, place].copy()
            columns[f"{name}_peak"] = self._peaks[:count, place].copy()
        for place, name in enumerate(self._sum_names):
            columns[name] = self._sums[:count, place].copy()
        return columns

    def _halve(self) -> None:
        half = self._capacity // 2
        samples = self._samples.reshape(half, 2)
        weights = samples / samples.sum(axis=1, keepdims=True)
        self._means[:half] = (self._means.reshape(half, 2, -1) * weights[:, :, None]).sum(axis=1)
        self._peaks[:half] = self._peaks.reshape(half, 2, -1).max(axis=1)
        self._sums[:half] = self._sums.reshape(half, 2, -1).sum(axis=1)
        self._times[:half] = self._times[1::2]
        self._samples[:half] = samples.sum(axis=1)
        self._count = half
        self._stride *= 2
