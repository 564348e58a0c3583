"""The sum tree: right, never adrift, and the same with and without a compiler."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memories.replay import compiled
from memories.replay.sum_tree import SumTree


@pytest.fixture(params=["compiled", "numpy"])
def tree_kind(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    assert compiled.load() is not None, "numba is a dependency: the kernels must load here"
    if request.param == "numpy":
        monkeypatch.setattr(compiled, "_loaded", None)
    return str(request.param)


def test_against_a_running_sum(tree_kind: str) -> None:
    rng = np.random.default_rng(0)
    for capacity in (1, 2, 3, 64, 1000):
        tree = SumTree(capacity)
        weights = rng.random(capacity) * (rng.random(capacity) < 0.7)
        weights[rng.integers(capacity)] = 0.5
        tree.set(np.arange(capacity), weights)
        assert tree.total == pytest.approx(weights.sum(), rel=1e-14)
        assert tree.minimum == weights[weights > 0].min()
        targets = rng.random(999) * tree.total
        slots, found = tree.find(targets)
        assert (found == weights[slots]).all()
        edges = np.cumsum(weights)
        expected = np.searchsorted(edges, targets, side="right")
        different = slots != expected  # only where rounding puts a target on the other side of an edge
        assert (np.abs(targets[different] - edges[np.minimum(slots, expected)][different]) < 1e-12).all()


def test_the_last_of_repeated_slots_stands(tree_kind: str) -> None:
    tree = SumTree(8)
    tree.set(np.array([3, 5, 3]), np.array([1.0, 2.0, 4.0]))
    assert tree.get(np.array([3, 5])).tolist() == [4.0, 2.0]
    assert (tree.total, tree.minimum) == (6.0, 2.0)


@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_compiled_and_numpy_agree_bit_for_bit(data: st.DataObject) -> None:
    capacity = data.draw(st.integers(1, 40))
    trees = [SumTree(capacity), SumTree(capacity)]
    weight = st.one_of(st.just(0.0), st.floats(1e-300, 1e290))
    for _ in range(data.draw(st.integers(1, 6))):
        updates = data.draw(
            st.lists(st.tuples(st.integers(0, capacity - 1), weight), min_size=1, max_size=30)
        )
        slots = np.array([slot for slot, _ in updates])
        weights = np.array([w for _, w in updates])
        shares = np.array(data.draw(st.lists(st.floats(0, 1, exclude_max=True), min_size=1, max_size=20)))
        results = []
        for tree, module in zip(trees, (compiled.load(), None), strict=True):
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(compiled, "_loaded", module)
                tree.set(slots, weights)
                found = tree.find(shares * tree.total) if tree.total > 0 else ()
            results.append((tree.total, tree.minimum, *(array.tolist() for array in found)))
        assert results[0] == results[1]
        if results[0][0] > 0:
            assert (np.array(results[0][3]) > 0).all()  # never an empty leaf
        rebuilt = SumTree(capacity)
        rebuilt.rebuild(trees[0].leaves().copy())
        assert (rebuilt.total, rebuilt.minimum) == results[0][:2]


def test_extreme_weights_never_lead_to_an_empty_leaf(tree_kind: str) -> None:
    tree = SumTree(6)
    tree.set(np.array([1, 4]), np.array([1e290, 2.3e-308]))
    targets = np.array([0.0, 5e-324, 1e-300, 1.0, np.nextafter(1e290, 0), 1e290])
    slots, found = tree.find(targets)
    assert (found > 0).all()
    assert set(slots.tolist()) <= {1, 4}


@pytest.mark.parametrize("updates", [400_000, pytest.param(10_000_000, marks=pytest.mark.slow)])
def test_the_total_never_drifts(updates: int) -> None:
    """Over sixteen orders of magnitude, where adding up differences would be far off by now."""
    rng = np.random.default_rng(0)
    capacity, batch = 10_000, 4_000
    tree = SumTree(capacity)
    for _ in range(0, updates, batch):
        tree.set(rng.integers(0, capacity, batch), 10.0 ** rng.uniform(-8, 8, batch))
    exact = math.fsum(tree.leaves())
    assert tree.total == pytest.approx(exact, rel=1e-14)
    tree.set(np.arange(capacity), np.full(capacity, 1e-8))
    assert tree.total == pytest.approx(capacity * 1e-8, rel=1e-14)
