"""Series in bounded memory: nothing of the sums is lost, and all of the time stays covered."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from memories.tiers.series import Series


@given(
    st.lists(st.tuples(st.floats(0, 100), st.integers(0, 1_000)), min_size=1, max_size=300),
    st.integers(2, 20),
)
def test_joining_points_keeps_sums_means_and_peaks(samples: list[tuple[float, int]], max_points: int) -> None:
    series = Series(means=["usage"], sums=["bytes"], max_points=max_points)
    for number, (usage, nbytes) in enumerate(samples):
        series.add(float(number), [usage], [nbytes])
    columns = series.columns()
    assert len(series) == len(columns["usage"]) <= max_points
    assert columns["bytes"].sum() == sum(nbytes for _, nbytes in samples)
    assert columns["usage_peak"].max() == max(usage for usage, _ in samples)
    times = columns["timestamps"]
    assert times[-1] == len(samples) - 1
    assert (np.diff(times) > 0).all()
    # Each point is the mean of exactly the samples between the point before and itself.
    start = 0
    for time_s, mean, peak in zip(times, columns["usage"], columns["usage_peak"], strict=True):
        part = [usage for usage, _ in samples[start : int(time_s) + 1]]
        assert mean == pytest.approx(np.mean(part), abs=1e-9)
        assert peak == max(part)
        start = int(time_s) + 1


def test_the_resolution_is_never_less_than_half_of_what_fits() -> None:
    series = Series(means=["x"], sums=[], max_points=100)
    for number in range(10_000):
        series.add(float(number), [0.0], [])
        assert len(series) <= 100
        if number > 100:
            assert len(series) >= 50
