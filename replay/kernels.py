"""The compiled inner loops. Importing this module imports numba: only `compiled` does, and late.

Every kernel has one explicit signature, so it is compiled (or read from numba's cache on disk) when
this module is imported and never again. All release the GIL and raise nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numpy as np
from numba import njit

_INTS = "int64[::1]"
_FLOATS = "float64[::1]"
_LANES = 8  # descents that go on side by side: their cache misses overlap


_F = TypeVar("_F", bound=Callable[..., Any])


def _kernel(signature: str | None = None) -> Callable[[_F], _F]:
    def compile_it(function: _F) -> _F:
        options: dict[str, Any] = {"nogil": True, "error_model": "numpy", "boundscheck": False}
        arguments = [signature] if signature else []
        compiler: Any = njit
        try:
            return cast(_F, compiler(*arguments, cache=True, **options)(function))
        except RuntimeError:  # no folder for the cache can be written: compile in every process
            return cast(_F, compiler(*arguments, **options)(function))

    return compile_it


@_kernel(f"void({_FLOATS}, {_FLOATS}, int64, {_INTS}, {_FLOATS})")
def tree_set(sums: Any, minima: Any, size: int, slots: Any, weights: Any) -> None:
    """Set leaves and bring their ancestors up to date, level by level."""
    count = slots.size
    nodes = np.empty(count, dtype=np.int64)
    for i in range(count):
        node = slots[i] + size
        weight = weights[i]
        sums[node] = weight
        minima[node] = weight if weight > 0.0 else np.inf
        nodes[i] = node
    width = size  # of the level that is up to date
    while count > 0 and width > 1:
        width >>= 1
        if width <= count:  # so many random paths meet up here: each node once, instead of once a path
            for node in range(2 * width - 1, 0, -1):
                left = 2 * node
                sums[node] = sums[left] + sums[left + 1]
                low, high = minima[left], minima[left + 1]
                minima[node] = low if low < high else high
            return
        kept = 0
        previous = -1
        for i in range(count):
            node = nodes[i] >> 1
            if node != previous:  # neighbours (a run of new rows) share their ancestors
                left = 2 * node
                sums[node] = sums[left] + sums[left + 1]
                low, high = minima[left], minima[left + 1]
                minima[node] = low if low < high else high
                nodes[kept] = node
                kept += 1
                previous = node
        count = kept


@_kernel(f"int64({_INTS}, {_FLOATS}, {_INTS}, int64, {_FLOATS}, {_INTS}, {_FLOATS}, {_FLOATS})")
def set_priorities(
    named: Any, given: Any, table: Any, slot_mask: int, stored: Any, slots: Any, kept: Any, bounds: Any
) -> int:
    """Store the priorities of the handles that ``table`` still has. Writes their slots, their priorities, and
    the least and the largest of these; returns how many they are, or -1, with nothing done, where a
    priority is not finite and at least 0."""
    for i in range(given.size):
        if not (given[i] >= 0.0 and given[i] < np.inf):  # NaN: every comparison is false
            return -1
    low, high = np.inf, 0.0
    count = 0
    for i in range(named.size):
        handle = named[i]
        slot = handle & slot_mask
        if handle < 0 or slot >= table.size or table[slot] != handle:
            continue
        priority = given[i]
        stored[slot] = priority
        slots[count], kept[count] = slot, priority
        low = min(low, priority)
        high = max(high, priority)
        count += 1
    bounds[0], bounds[1] = low, high
    return count


@_kernel()
def _step(sums: Any, node: Any, target: Any) -> tuple[Any, Any]:
    """One level down: without a branch, since which way it goes cannot be predicted."""
    node = 2 * node
    left = sums[node]
    # A product and not a choice: the compiler makes a branch of that, and it takes twice as long.
    right = np.int64(target >= left) & np.int64(sums[node + 1] > 0.0)
    return node + right, target - left * right


@_kernel(f"void({_FLOATS}, int64, {_FLOATS}, {_INTS}, {_FLOATS})")
def tree_find(sums: Any, size: int, targets: Any, slots: Any, weights: Any) -> None:
    """For each target the leaf whose stretch of the running sum holds it, and its weight."""
    count = targets.size
    whole = count - count % _LANES
    for start in range(0, whole, _LANES):
        n0 = n1 = n2 = n3 = n4 = n5 = n6 = n7 = 1
        t0, t1, t2, t3 = targets[start], targets[start + 1], targets[start + 2], targets[start + 3]
        t4, t5, t6, t7 = targets[start + 4], targets[start + 5], targets[start + 6], targets[start + 7]
        while n0 < size:
            n0, t0 = _step(sums, n0, t0)
            n1, t1 = _step(sums, n1, t1)
            n2, t2 = _step(sums, n2, t2)
            n3, t3 = _step(sums, n3, t3)
            n4, t4 = _step(sums, n4, t4)
            n5, t5 = _step(sums, n5, t5)
            n6, t6 = _step(sums, n6, t6)
            n7, t7 = _step(sums, n7, t7)
        slots[start], slots[start + 1], slots[start + 2], slots[start + 3] = n0, n1, n2, n3
        slots[start + 4], slots[start + 5], slots[start + 6], slots[start + 7] = n4, n5, n6, n7
    for i in range(whole, count):
        node = 1
        target = targets[i]
        while node < size:
            node, target = _step(sums, node, target)
        slots[i] = node
    for i in range(count):
        node = slots[i]
        weights[i] = sums[node]
        slots[i] = node - size
