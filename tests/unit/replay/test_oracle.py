"""A Hypothesis state machine: the buffer beside a slow oracle of dicts and lists."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from memories.errors import InvalidValue, NothingToSample
from memories.replay import PrioritizedReplayBuffer, compiled

ALPHA = 0.6
priority = st.one_of(st.just(0.0), st.floats(1e-12, 1e12))


class PrioritizedMachine(RuleBasedStateMachine):
    """Rows carry their number, so a priority that lands on another row is seen at once."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.count = 0
        self.rows: dict[int, int] = {}  # handle -> row number, in insertion order
        self.priorities: dict[int, float] = {}
        self.ever: list[int] = []
        self.largest = 1.0

    @initialize(capacity=st.integers(1, 9), seed=st.integers(0, 5), shard=st.sampled_from([0, 4095]))
    def make(self, capacity: int, seed: int, shard: int) -> None:
        self.capacity = capacity
        self.options: dict[str, Any] = {"alpha": ALPHA, "seed": seed, "shard": shard}
        self.buffer = PrioritizedReplayBuffer(capacity=capacity, **self.options)

    def teardown(self) -> None:
        self.folder.cleanup()

    def _inserted(self, handles: list[int], numbers: list[int], given: list[float] | None) -> None:
        assert not set(handles) & set(self.ever), "a handle was given out twice"
        self.ever += handles
        for i, (handle, number) in enumerate(zip(handles, numbers, strict=True)):
            if len(self.rows) == self.capacity:
                oldest = next(iter(self.rows))
                del self.rows[oldest], self.priorities[oldest]
            self.rows[handle] = number
            self.priorities[handle] = self.largest if given is None else given[i]
        if given is not None:
            self.largest = max(self.largest, *given)

    @rule(given=st.one_of(st.none(), priority))
    def add(self, given: float | None) -> None:
        number, self.count = self.count, self.count + 1
        handle = self.buffer.add(given, n=number, obs=np.full(3, number, np.float32))
        self._inserted([handle], [number], None if given is None else [given])

    @rule(data=st.data(), size=st.integers(0, 14), explicit=st.booleans())
    def add_batch(self, data: st.DataObject, size: int, explicit: bool) -> None:
        numbers = list(range(self.count, self.count + size))
        self.count += size
        given = data.draw(st.lists(priority, min_size=size, max_size=size)) if explicit else None
        columns = {
            "n": np.array(numbers, np.int64),
            "obs": np.repeat(np.float32(numbers)[:, None], 3, axis=1),
        }
        handles = self.buffer.add_batch(columns, given)
        if size:
            self._inserted(handles.tolist(), numbers, given)

    @precondition(lambda self: self.ever)
    @rule(data=st.data())
    def update(self, data: st.DataObject) -> None:
        handles = data.draw(st.lists(st.sampled_from(self.ever), min_size=1, max_size=8))
        values = data.draw(st.lists(priority, min_size=len(handles), max_size=len(handles)))
        applied = 0
        for handle, value in zip(handles, values, strict=True):
            if handle in self.rows:
                applied += 1
                self.priorities[handle] = value
                self.largest = max(self.largest, value)
        assert self.buffer.update_priorities(handles, values) == (applied, len(handles) - applied)

    @precondition(lambda self: self.ever)
    @rule(data=st.data(), bad=st.sampled_from([np.nan, -1e-9, np.inf, -np.inf]))
    def refuse_bad_priorities(self, data: st.DataObject, bad: float) -> None:
        handles = data.draw(st.lists(st.sampled_from(self.ever), min_size=2, max_size=4))
        with pytest.raises(InvalidValue):
            self.buffer.update_priorities(handles, [3.0] * (len(handles) - 1) + [bad])

    @precondition(lambda self: self.ever)
    @rule(data=st.data())
    def remove(self, data: st.DataObject) -> None:
        handles = data.draw(st.lists(st.sampled_from(self.ever), min_size=1, max_size=5))
        gone = {handle for handle in handles if handle in self.rows}
        for handle in gone:
            del self.rows[handle], self.priorities[handle]
        assert self.buffer.remove(handles) == len(gone)

    @rule(how=st.sampled_from(["checkpoint", "state"]))
    def save_and_load(self, how: str) -> None:
        if self.buffer.schema is None:
            return
        other = PrioritizedReplayBuffer(capacity=self.capacity, **self.options)
        if how == "checkpoint":
            path = Path(self.folder.name) / "file"
            self.buffer.checkpoint(path)
            other.restore(path)
        else:
            other.import_state(self.buffer.export_state())
        self.buffer = other

    @rule(size=st.integers(1, 20))
    def sample(self, size: int) -> None:
        if not any(self.priorities.values()):
            with pytest.raises(NothingToSample):
                self.buffer.sample(size)
            return
        batch = self.buffer.sample(size, beta=0.5)
        weights = {h: p**ALPHA for h, p in self.priorities.items() if p > 0}
        total = sum(weights.values())
        for i, handle in enumerate(batch.handles.tolist()):
            assert batch["n"][i] == self.rows[handle]
            assert (batch["obs"][i] == batch["n"][i]).all()
            assert batch.probabilities[i] == pytest.approx(weights[handle] / total, rel=1e-9)
            expected = (min(weights.values()) / weights[handle]) ** 0.5
            assert batch.weights[i] == pytest.approx(expected, rel=1e-6)

    @invariant()
    def same_as_the_oracle(self) -> None:
        if not hasattr(self, "buffer"):
            return
        assert len(self.buffer) == len(self.rows)
        assert self.buffer.handles().tolist() == list(self.rows)
        if self.rows:
            batch, found = self.buffer.read(list(self.rows))
            assert found.all()
            assert batch["n"].tolist() == list(self.rows.values())
            assert self.buffer.priorities_of(list(self.rows)).tolist() == list(self.priorities.values())
            weights = [p**ALPHA for p in self.priorities.values() if p > 0]
            stats = self.buffer.priority_stats()
            assert stats.total == pytest.approx(sum(weights), rel=1e-12)
            assert stats.rows == len(self.rows)
            assert stats.smallest == pytest.approx(min(weights, default=np.inf), rel=1e-12)


class NumpyMachine(PrioritizedMachine):
    """The same without the compiled kernels."""

    def __init__(self) -> None:
        super().__init__()
        self.kernels = compiled.load()
        compiled._loaded = None

    def teardown(self) -> None:
        compiled._loaded = self.kernels
        super().teardown()


QUICK = settings(max_examples=15, stateful_step_count=25, deadline=None)
LONG = settings(max_examples=600, stateful_step_count=60, deadline=None)


class TestCompiled(PrioritizedMachine.TestCase):
    settings = QUICK


class TestNumpy(NumpyMachine.TestCase):
    settings = QUICK


@pytest.mark.slow
class TestCompiledLong(PrioritizedMachine.TestCase):
    settings = LONG


@pytest.mark.slow
class TestNumpyLong(NumpyMachine.TestCase):
    settings = LONG
