"""Memoized functions: what is remembered, for how long, for whom, and what is not mixed up."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from memories.errors import InvalidType, InvalidValue, KeyNotFound
from memories.tiers.memo_keys import comparable
from memories.tiers.memoize import memoize
from memories.tiers.memory_blobs import MemoryBlobs
from memories.tiers.tier import Tier
from memories.tiers.warm_memory import WarmMemory
from tests.support.clock import ManualClock


class Counted:
    """A function that counts its calls."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function
        self.calls = 0
        self.__name__ = self.__qualname__ = "counted"
        self.__module__ = __name__

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        self.calls += 1
        return self._function(*args, **kwargs)


def test_the_seed_block() -> None:
    from memory import memoize

    calls = []

    @memoize(ttl=0.2)
    def expensive_computation(x):  # type: ignore[no-untyped-def]
        calls.append(x)
        return x * x

    assert expensive_computation(4) == 16
    assert expensive_computation(4) == 16
    assert calls == [4]
    deadline = time.monotonic() + 10
    while len(calls) == 1 and time.monotonic() < deadline:
        assert expensive_computation(4) == 16
    assert calls == [4, 4]


def test_both_ways_of_writing_it() -> None:
    @memoize
    def plain(x: int) -> int:
        """What it does."""
        return x + 1

    @memoize()
    def called(x: int) -> int:
        return x + 1

    for function in (plain, called):
        assert (function(1), function(1)) == (2, 2)
        assert function.cache_info()[:2] == (1, 1)
    assert plain.__name__ == "plain"  # type: ignore[attr-defined]
    assert plain.__doc__ == "What it does."
    assert plain.__wrapped__(4) == 5


def test_results_end_with_their_time_to_live() -> None:
    clock = ManualClock()
    counted = Counted(lambda x: [x])
    function = memoize(ttl=5, clock=clock)(counted)
    first = function(1)
    clock.advance(4.9)
    assert function(1) is first
    clock.advance(0.1)
    assert function.cache_info().currsize == 0
    assert function(1) == [1]
    assert counted.calls == 2


def test_at_most_so_many_results_are_kept() -> None:
    counted = Counted(lambda x: x)
    function = memoize(maxsize=2)(counted)
    function(1)
    function(2)
    function(1)
    function(3)
    assert function.cache_info() == (1, 3, 2, 2)
    function(1)
    assert counted.calls == 3
    function(2)
    assert counted.calls == 4


def test_clearing() -> None:
    counted = Counted(lambda x: x)
    function = memoize(counted)
    function(1)
    function.cache_clear()
    assert function.cache_info() == (0, 0, None, 0)
    function(1)
    assert counted.calls == 2


@pytest.mark.parametrize(
    "options",
    [
        {"ttl": 0},
        {"ttl": -1},
        {"ttl": "5"},
        {"ttl": float("nan")},
        {"maxsize": 0},
        {"maxsize": -1},
        {"maxsize": 1.5},
        {"maxsize": True},
        {"tier": "lukewarm"},
        {"tier": "glacier"},
        {"tier": 5},
    ],
)
def test_options_that_cannot_be(options: dict[str, Any]) -> None:
    with pytest.raises((InvalidValue, InvalidType)):
        memoize(**options)


def test_what_cannot_be_memoized() -> None:
    with pytest.raises(InvalidType, match="named"):
        memoize(5)  # type: ignore[call-overload]

    def numbers() -> Iterator[int]:
        yield 1

    with pytest.raises(InvalidType, match="generator"):
        memoize(numbers)


# Arguments


def test_however_the_arguments_are_spelled() -> None:
    calls = []

    @memoize
    def function(a: int, b: int = 2, *rest: int, c: int = 3, **others: int) -> int:
        calls.append(a)
        return a + b + c

    for call in (
        lambda: function(1),
        lambda: function(1, 2),
        lambda: function(a=1),
        lambda: function(b=2, a=1),
        lambda: function(1, c=3),
    ):
        assert call() == 6
    assert calls == [1]
    function(1, 2, 9)
    function(1, z=1, y=2)
    function(1, y=2, z=1)
    assert len(calls) == 3
    with pytest.raises(TypeError):
        function()  # type: ignore[call-arg]


def test_however_the_arguments_of_a_plain_function_are_spelled() -> None:
    counted = []

    @memoize
    def function(a: int, b: int = 2) -> int:
        counted.append(a)
        return a + b

    for call in (
        lambda: function(1),
        lambda: function(1, 2),
        lambda: function(1, b=2),
        lambda: function(b=2, a=1),
    ):
        assert call() == 3
    assert counted == [1]


DIFFERENT: list[list[Callable[[], Any]]] = [
    [
        lambda: 1,
        lambda: 1.0,
        lambda: True,
        lambda: "1",
        lambda: b"1",
        lambda: np.int64(1),
        lambda: (1,),
        lambda: [1],
    ],
    [lambda: 0.0, lambda: -0.0, lambda: 0],
    [lambda: np.zeros(4), lambda: np.zeros((2, 2)), lambda: np.zeros(4, np.float32), lambda: np.zeros(5)],
    [
        lambda: torch.zeros(2),
        lambda: torch.zeros(2, dtype=torch.float64),
        lambda: torch.ones(2),
        lambda: np.zeros(2),
    ],
    [
        lambda: [1, 2],
        lambda: (1, 2),
        lambda: {1, 2},
        lambda: frozenset({1, 2}),
        lambda: [2, 1],
        lambda: [1, [2]],
    ],
    [lambda: {"a": 1}, lambda: {"a": 2}, lambda: {"b": 1}, lambda: {"a": 1, "b": 2}, lambda: {"a": True}],
    [lambda: None, lambda: "", lambda: b"", lambda: (), list],
    [lambda: ("ab", "c"), lambda: ("a", "bc"), lambda: ("abc", "")],
]

SAME: list[Callable[[], Any]] = [
    *(make for group in DIFFERENT for make in group),
    lambda: float("nan"),
    lambda: {"a": np.arange(3), "b": [torch.ones(2), {"c": (1, 2)}]},
    lambda: np.arange(10)[::-1],
    lambda: {f"key {i}" for i in range(20)},
]


@pytest.mark.parametrize("make", SAME)
def test_equal_arguments_are_the_same_call(make: Callable[[], Any]) -> None:
    counted = Counted(lambda x: "result")
    function = memoize(counted)
    function(make())
    function(make())
    assert counted.calls == 1


@pytest.mark.parametrize("group", DIFFERENT)
def test_different_arguments_are_different_calls(group: list[Callable[[], Any]]) -> None:
    assert len({comparable(make()) for make in group}) == len(group)


def test_the_order_of_a_mapping_does_not_matter() -> None:
    assert comparable({"a": 1, "b": [2]}) == comparable({"b": [2], "a": 1})


def test_a_changed_array_is_another_argument() -> None:
    counted = Counted(lambda x: float(x.sum()))
    function = memoize(counted)
    for array in (np.ones(3), torch.ones(3)):
        assert function(array) == 3
        array[0] = 5  # type: ignore[index]
        assert function(array) == 7
    assert counted.calls == 4


def test_methods_belong_to_their_objects() -> None:
    class Model:
        def __init__(self, factor: int) -> None:
            self.factor = factor

        @memoize
        def times(self, x: int) -> int:
            return self.factor * x

    assert (Model(2).times(5), Model(3).times(5)) == (10, 15)  # type: ignore[call-arg]


def test_a_key_of_ones_own() -> None:
    counted = Counted(lambda record, verbose: record["id"])
    function = memoize(key=lambda record, verbose: record["id"])(counted)
    assert function({"id": 1, "lambda": lambda: 0}, True) == 1
    assert function({"id": 1, "lambda": lambda: 1}, False) == 1
    assert counted.calls == 1


def test_what_cannot_be_compared_says_what_to_do() -> None:
    function = memoize(Counted(lambda x: 1))
    with pytest.raises(InvalidType, match="key="):
        function([lambda: 0])


# At once


def test_threads_that_ask_at_once_compute_once() -> None:
    inside = threading.Event()
    go_on = threading.Event()
    counted_calls = []

    @memoize
    def slow(x: int) -> object:
        counted_calls.append(x)
        inside.set()
        assert go_on.wait(60)
        return object()

    results: list[object] = []
    threads = [threading.Thread(target=lambda: results.append(slow(1))) for _ in range(8)]
    for thread in threads:
        thread.start()
    assert inside.wait(60)
    # A call with other arguments does not wait for this one.
    go_on.set()
    for thread in threads:
        thread.join()
    assert len(results) == 8
    assert len(set(map(id, results))) == 1
    assert counted_calls == [1]
    assert slow.cache_info()[:2] == (7, 1)


def test_an_exception_is_passed_on_and_not_remembered() -> None:
    outcomes = iter([ValueError("no"), 5])

    @memoize
    def sometimes(x: int) -> int:
        outcome = next(outcomes)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome  # type: ignore[return-value]

    with pytest.raises(ValueError, match="no"):
        sometimes(1)
    assert sometimes(1) == 5


def test_recursion() -> None:
    @memoize
    def fibonacci(n: int) -> int:
        return n if n < 2 else fibonacci(n - 1) + fibonacci(n - 2)

    assert fibonacci(80) == 23416728348467685
    assert fibonacci.cache_info().misses == 81


# Async


def test_async_functions_compute_once_for_all_who_wait() -> None:
    calls = []

    @memoize
    async def slow(x: int) -> int:
        calls.append(x)
        await asyncio.sleep(0)
        return x * 2

    async def main() -> None:
        assert await asyncio.gather(*(slow(3) for _ in range(10))) == [6] * 10
        assert await slow(3) == 6
        assert await slow(4) == 8

    asyncio.run(main())
    assert calls == [3, 4]
    assert slow.cache_info()[:2] == (10, 2)


def test_who_is_cancelled_does_not_take_the_result_away() -> None:
    calls = []

    async def main() -> None:
        go_on = asyncio.Event()

        @memoize
        async def slow(x: int) -> int:
            calls.append(x)
            await go_on.wait()
            return x

        first = asyncio.create_task(slow(1))
        second = asyncio.create_task(slow(1))
        await asyncio.sleep(0)
        first.cancel()
        await asyncio.sleep(0)
        go_on.set()
        assert await second == 1
        with pytest.raises(asyncio.CancelledError):
            await first
        assert await slow(1) == 1

    asyncio.run(main())
    assert calls == [1]


def test_an_async_exception_is_not_remembered() -> None:
    calls = []

    @memoize
    async def fails(x: int) -> int:
        calls.append(x)
        raise ValueError("no")

    async def main() -> None:
        for _ in range(2):
            with pytest.raises(ValueError, match="no"):
                await fails(1)

    asyncio.run(main())
    assert len(calls) == 2


# In tiers


def test_results_in_a_tier_of_ones_own() -> None:
    clock = ManualClock()
    tier = Tier(MemoryBlobs(), clock=clock)
    counted = Counted(lambda x: x * 2)
    function = memoize(tier=tier, ttl=10, maxsize=2)(counted)
    array = np.arange(5)
    first = function(array)
    first[:] = -1
    assert function(array).tolist() == [0, 2, 4, 6, 8]
    assert counted.calls == 1
    clock.advance(10)
    function(array)
    assert counted.calls == 2
    tier.store("mine", 1)
    for number in range(3):
        function(number)
    assert function.cache_info().currsize == 2
    assert len(tier) == 3
    function.cache_clear()
    assert list(tier.keys()) == ["mine"]


@pytest.mark.parametrize("tier", ["warm", "hot"])
def test_results_in_a_tier_of_the_library(tier: str) -> None:
    counted = Counted(lambda x: {"sum": x.sum()})
    function = memoize(tier=tier)(counted)
    assert function(np.ones(3)) == {"sum": 3.0}
    assert function(np.ones(3)) == {"sum": 3.0}
    assert counted.calls == 1


def test_results_that_do_not_fit_are_computed_again() -> None:
    counted = Counted(lambda x: bytes(10_000))
    function = memoize(tier=WarmMemory(1_000 / 10**9))(counted)
    assert len(function(1)) == len(function(1)) == 10_000
    assert counted.calls == 2


SCRIPT = textwrap.dedent("""
    import sys
    import numpy as np
    from memories.tiers.memoize import memoize

    @memoize(tier="cold")
    def double(x, extra=None):
        print("computing", flush=True)
        return x * FACTOR

    result = double(np.arange(4), extra={"a": [1, "b"], "c": "b"})
    print(result.tolist(), double.cache_info().currsize, flush=True)
""")


def _run(script: str, folder: Path) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, "MEMORIES_HOME": str(folder)},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_results_in_cold_survive_the_process(tmp_path: Path) -> None:
    script = SCRIPT.replace("FACTOR", "2")
    assert _run(script, tmp_path) == ["computing", "[0, 2, 4, 6] 1"]
    assert _run(script, tmp_path) == ["[0, 2, 4, 6] 1"]
    # Other code, other results.
    assert _run(script.replace("x * 2", "x * 3"), tmp_path) == ["computing", "[0, 3, 6, 9] 1"]
    folders = [tmp_path / "memoize", *(tmp_path / "memoize").iterdir()]
    assert len(folders) == 3  # one for each code
    assert {oct(folder.stat().st_mode & 0o777) for folder in folders} == {"0o700"}


AGAIN = SCRIPT.replace("FACTOR", "2") + textwrap.dedent("""
    import subprocess, warnings

    def define():
        @memoize(tier="cold")
        def square(x):
            print("computing", flush=True)
            return x * x
        return square

    if len(sys.argv) > 1:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            print(define()(3), len(caught), flush=True)
    else:
        define()(3)
        define()(3)  # as a notebook cell that is run again
        # Another process cannot have the folder now: it computes, and says so.
        subprocess.run([sys.executable, __file__, "other"], check=True)
""")


@pytest.mark.slow
def test_one_folder_is_shared_in_a_process_and_not_between_two(tmp_path: Path) -> None:
    script = tmp_path / "again.py"
    script.write_text(AGAIN.partition("result =")[0] + AGAIN[AGAIN.index("import subprocess") :])
    env = {**os.environ, "MEMORIES_HOME": str(tmp_path / "data")}
    done = subprocess.run(
        [sys.executable, str(script)], capture_output=True, text=True, timeout=60, check=False, env=env
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["computing", "computing", "9 1"]


def test_a_damaged_result_is_computed_again(monkeypatch: pytest.MonkeyPatch) -> None:
    from memories.errors import CorruptData

    tier = Tier(MemoryBlobs())
    counted = Counted(lambda x: x)
    function = memoize(tier=tier)(counted)
    function(1)

    def damaged(*args: Any, **kwargs: Any) -> Any:
        raise CorruptData("bits fell out")

    with monkeypatch.context() as patch:
        patch.setattr(tier, "retrieve", damaged)
        assert function(1) == 1
    assert counted.calls == 2
    with pytest.raises(KeyNotFound):
        tier.retrieve("absent")
