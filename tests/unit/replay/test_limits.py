"""Rate limiters hold up inserting and sampling, but never both for good."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from memories.errors import InvalidValue, NothingToSample, RateLimited
from memories.replay import ReplayBuffer, SamplesPerInsert, make_buffer

LIMITER = SamplesPerInsert(ratio=1.0, min_size=100, tolerance=20)


@pytest.mark.parametrize("kept", [0, 40, 99])
@pytest.mark.parametrize("batch", [1, 30])
def test_a_buffer_that_lost_rows_fills_again(kept: int, batch: int) -> None:
    buffer = ReplayBuffer(capacity=1_000, rate_limiter=LIMITER, seed=0)
    buffer.add_batch({"x": np.arange(100)})
    buffer.sample(10)
    if kept:
        buffer.remove(buffer.handles()[kept:])
    else:
        buffer.clear()
    with pytest.raises(RateLimited if kept else NothingToSample):
        buffer.sample(1)
    while len(buffer) < 100:
        buffer.add_batch({"x": np.arange(batch)})
    buffer.sample(1)
    if kept < 99:  # so many came back that the balance holds inserts up, as it did before
        with pytest.raises(RateLimited, match="holds back"):
            buffer.add_batch({"x": np.arange(20)})


@pytest.mark.parametrize("kind", ["queue", "stack"])
@pytest.mark.parametrize("timeout_s", [0.0, None])
def test_a_batch_that_never_fits_is_refused_before_waiting(kind: Any, timeout_s: float | None) -> None:
    buffer = make_buffer(kind, capacity=4, timeout_s=timeout_s)
    with pytest.raises(InvalidValue, match="at most 4"):
        buffer.add_batch({"x": np.arange(5)})
    buffer.add_batch({"x": np.arange(4)})
    with pytest.raises(InvalidValue, match="at most 4"):
        buffer.sample(5)
    assert len(buffer.sample(4)) == 4


def test_batches_wider_than_the_tolerance_are_refused_before_waiting() -> None:
    buffer = ReplayBuffer(
        capacity=1_000,
        rate_limiter=SamplesPerInsert(2.0, min_size=10, tolerance=20),
        timeout_s=None,
    )
    buffer.add_batch({"x": np.arange(10)})
    with pytest.raises(InvalidValue, match="at most 20"):
        buffer.add_batch({"x": np.arange(21)})
    with pytest.raises(InvalidValue, match="at most 40"):
        buffer.sample(41)
    assert (len(buffer), buffer.inserted, buffer.sampled) == (10, 10, 0)


def test_a_tolerance_must_be_a_number() -> None:
    with pytest.raises(InvalidValue, match="tolerance"):
        SamplesPerInsert(1.0, tolerance=float("nan"))
