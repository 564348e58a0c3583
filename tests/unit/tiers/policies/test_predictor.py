"""The predictor: what it gains on patterns, what it must not cost without one, and its limits."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterable
from itertools import islice

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

from benchmarks.policies import read_ahead, read_patterns
from memories.errors import InvalidValue
from memories.tiers.access_patterns import NumberedKeys, Successors
from memories.tiers.predictor import Predictor


@pytest.fixture(scope="module")
def patterns() -> dict[str, list[str]]:
    return read_patterns(12_000)


@pytest.mark.parametrize("name", ["sequential", "periodic"])
def test_patterns_gain_thirty_points(patterns: dict[str, list[str]], name: str) -> None:
    without, moved = read_ahead(patterns[name], None)
    ahead, moved_ahead = read_ahead(patterns[name], Predictor(budget_bytes=20_000))
    assert ahead - without >= 0.30
    assert moved_ahead <= 1.02 * moved


@pytest.mark.parametrize("name", ["random", "zipf", "random walk"])
def test_without_a_pattern_next_to_nothing_is_moved(patterns: dict[str, list[str]], name: str) -> None:
    without, moved = read_ahead(patterns[name], None)
    ahead, moved_ahead = read_ahead(patterns[name], Predictor(budget_bytes=20_000))
    assert moved_ahead < 1.02 * moved
    assert ahead > without - 0.01


def feed(predictor: Predictor, keys: Iterable[str], nbytes: int = 100, reader: str = "") -> list[str]:
    """Read keys of which none is ever in place; everything that was to be fetched."""
    fetched = []
    for key in keys:
        fetched += predictor.on_access(key, lambda _: nbytes, reader)
    return fetched


def test_it_switches_itself_off_and_on_again() -> None:
    predictor = Predictor(budget_bytes=10_000)
    feed(predictor, (f"part-{number}" for number in range(50)))
    assert "numbered" in predictor.stats.is_on
    jumps = np.random.default_rng(0).integers(0, 10**9, 400).tolist()
    steps = [f"part-{start + step}" for start in jumps for step in (0, 1, 2)]  # looks steady, never goes on
    feed(predictor, steps[:-30])
    assert predictor.stats.is_on == ()
    assert feed(predictor, steps[-30:]) == []
    assert feed(predictor, (f"part-{number}" for number in range(1000, 1300)))
    assert "numbered" in predictor.stats.is_on


def test_readers_that_interleave_are_told_apart() -> None:
    predictor = Predictor(budget_bytes=10_000)
    fetched: list[str] = []
    for number in range(100):
        for reader, start in (("a", 0), ("b", 5000), ("c", 90_000)):
            fetched += feed(predictor, [f"part-{start + number}"], reader=reader)
    assert {"part-90", "part-5090", "part-90090"} <= set(fetched)


def test_several_periods_are_learned_from_jumbled_names() -> None:
    rng = np.random.default_rng(3)
    names = [f"{value:x}z" for value in rng.integers(10**12, size=60)]
    predictor = Predictor(budget_bytes=10_000)
    feed(predictor, names * 3)
    assert predictor.on_access(names[0], lambda _: 100)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 12), st.integers(0, 500), st.booleans()), max_size=120),
    st.integers(0, 1500),
)
def test_the_budget_holds_and_bytes_add_up(reads: list[tuple[int, int, bool]], budget_bytes: int) -> None:
    predictor = Predictor(budget_bytes, depth=3, patience=5)
    feed(predictor, (f"part-{number}" for number in range(30)))
    for number, nbytes, fails in reads:
        for key in predictor.on_access(f"part-{number}", lambda _, nbytes=nbytes: nbytes):  # type: ignore[misc]
            if fails:
                predictor.on_failed(key)
                predictor.on_failed(key)
        stats = predictor.stats
        assert 0 <= stats.pending_bytes <= budget_bytes
        assert stats.fetched_bytes == stats.used_bytes + stats.wasted_bytes + stats.pending_bytes


def test_what_is_in_place_or_absent_is_not_fetched() -> None:
    predictor = Predictor(budget_bytes=10_000)
    feed(predictor, (f"part-{number}" for number in range(50)))
    assert predictor.on_access("part-50", lambda key: None) == []
    assert predictor.on_access("part-51", lambda key: 10 if key == "part-60" else None) == []


@pytest.mark.parametrize(
    ("read", "expected"),
    [
        (["a1", "a2", "a3"], ["a4", "a5"]),
        (["f_008.bin", "f_009.bin", "f_010.bin"], ["f_011.bin", "f_012.bin"]),
        (["x-9", "x-10", "x-11"], ["x-12", "x-13"]),
        (["x-11", "x-10", "x-9"], ["x-8", "x-7"]),
        (["x4", "x2", "x0"], []),
        (["s0/10", "s0/30", "s0/50"], ["s0/70", "s0/90"]),
        (["a1", "a2", "a4"], []),
        (["a1", "a1", "a1"], []),
        (["no", "number", "here"], []),
        (["a" + "9" * 40, "b", "c"], []),
    ],
)
def test_numbered_keys(read: list[str], expected: list[str]) -> None:
    numbered = NumberedKeys()
    for key in read:
        numbered.learn("", key)
    assert list(islice(numbered.expect("", read[-1]), 2)) == expected


def test_a_successor_that_was_right_survives_an_exception() -> None:
    successors = Successors()
    for key in "abcabcabcaxcabc":
        successors.learn("", key)
    assert list(successors.expect("", "a")) == ["b", "c"]
    for key in "axcaxcaxcaxc":
        successors.learn("", key)
    assert list(successors.expect("", "a")) == ["x", "c"]


def test_memory_stays_bounded() -> None:
    predictor = Predictor(budget_bytes=10**6)
    predictor._patterns = {"numbered": NumberedKeys(500), "successors": Successors(500, 50)}
    rng = np.random.default_rng(1)
    numbers = rng.integers(0, 10**12, 20_000).tolist()

    def read(chosen: list[int]) -> None:
        for place, number in enumerate(chosen):
            predictor.on_access(f"{number:x}-{place % 7}", lambda _: 10, reader=f"r{number % 300}")

    read(numbers[:5_000])
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    read(numbers[5_000:])
    grown = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert grown < 300_000


@pytest.mark.parametrize(("budget", "depth", "patience"), [(-1, 1, 5), (1, 0, 5), (1, 5, 4)])
def test_limits_that_cannot_be_are_refused(budget: int, depth: int, patience: int) -> None:
    with pytest.raises(InvalidValue):
        Predictor(budget, depth=depth, patience=patience)
