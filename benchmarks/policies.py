"""Miss ratios of the eviction policies, beside libCacheSim's, and what the predictor gains.

    python -m benchmarks.policies [--quick] [--json FILE]

`lru` has to miss exactly as often as libCacheSim's LRU, `s3fifo` has to be within 1% of its S3-FIFO, and the
default's margin over `lru` is printed. Traces are made here, from fixed seeds; sizes are in bytes.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from memories.tiers.policies import EVICTION_POLICIES, EvictionPolicy, eviction_policy
from memories.tiers.predictor import Predictor

Ids = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Trace:
    """Requests in order: ``ids[i]`` is read, and has ``sizes[i]`` bytes."""

    name: str
    ids: Ids
    sizes: Ids

    @property
    def footprint_bytes(self) -> int:
        """Bytes of all distinct keys."""
        _, first = np.unique(self.ids, return_index=True)
        return int(self.sizes[first].sum())


def _zipf(rng: np.random.Generator, keys: int, length: int, alpha: float) -> Ids:
    weights = 1.0 / np.arange(1, keys + 1) ** alpha
    return rng.permutation(keys)[rng.choice(keys, length, p=weights / weights.sum())]


def traces(length: int) -> list[Trace]:
    """Zipf, scans, loops and mixes of them, with equal and with very unequal sizes."""
    rng = np.random.default_rng(7)
    keys = length // 10
    popular = _zipf(rng, keys, length, 0.9)
    scans = popular.copy()
    scan_length = keys // 2
    for number, start in enumerate(range(length // 10, length - scan_length, length // 10)):
        scans[start : start + scan_length] = keys + number * scan_length + np.arange(scan_length)
    loop = np.arange(length) % (keys // 5)
    loop_among_popular = np.where(rng.random(length) < 0.3, keys + loop, popular)
    shifting = _zipf(rng, keys, length, 0.9) + np.arange(length) // (length // 8) * (keys // 4)
    mix = np.concatenate([scans[: length // 3], loop_among_popular[: length // 3], shifting[: length // 3]])
    sizes_of_keys = np.maximum(1, rng.lognormal(8, 1.5, 100 * keys)).astype(np.int64)
    sizes_of_keys = np.minimum(sizes_of_keys, 40 * 2981)
    made = {
        "zipf": popular,
        "zipf and scans": scans,
        "loop": loop,
        "zipf and loop": loop_among_popular,
        "shifting zipf": shifting,
        "mix": mix,
    }
    equal = [Trace(name, ids, np.full(len(ids), 4096)) for name, ids in made.items()]
    sized = [
        Trace(f"{name}, sized", made[name], sizes_of_keys[made[name]])
        for name in ("zipf", "zipf and scans", "mix")
    ]
    return equal + sized


def replay(policy: EvictionPolicy, trace: Trace) -> Iterator[bool]:
    """Run a trace through a cache that the policy decides; whether each request is a hit."""
    capacity = policy.capacity_bytes
    for key, nbytes in zip(map(str, trace.ids.tolist()), trace.sizes.tolist(), strict=True):
        if key in policy:
            policy.on_access(key)
            yield True
            continue
        yield False
        if not policy.admits(nbytes):
            continue
        while policy.used_bytes + nbytes > capacity:
            for victim in policy.victims(policy.used_bytes + nbytes - capacity):
                policy.on_remove(victim)
        policy.on_store(key, nbytes)


def replay_reference(name: str, capacity_bytes: int, trace: Trace) -> Iterator[bool]:
    """The same trace through libCacheSim's policy of that name."""
    import libcachesim

    cache = getattr(libcachesim, name)(cache_size=capacity_bytes, hashpower=20)
    request = libcachesim.Request()
    for key, nbytes in zip(trace.ids.tolist(), trace.sizes.tolist(), strict=True):
        request.obj_id = key + 1  # 0 is no id there
        request.obj_size = nbytes
        yield cache.get(request)


def misses(hits: Iterable[bool]) -> int:
    return sum(not hit for hit in hits)


def compare_policies(length: int) -> tuple[dict[str, float], int]:
    """Print one line a trace and size of the tier; returns figures, and how many bars were missed."""
    figures: dict[str, float] = {}
    failed = 0
    print(f"{'miss ratio of':24} {'tier':>5} " + " ".join(f"{name:>8}" for name in EVICTION_POLICIES), end="")
    print(f" {'LRU ref':>8} {'S3 ref':>8} {'margin':>8}")
    margins = []
    for trace in traces(length):
        for fraction in (0.02, 0.1, 0.3):
            capacity = int(trace.footprint_bytes * fraction)
            missed = {
                name: misses(replay(eviction_policy(name, capacity), trace)) for name in EVICTION_POLICIES
            }
            lru = misses(replay_reference("LRU", capacity, trace))
            s3fifo = misses(replay_reference("S3FIFO", capacity, trace))
            total = len(trace.ids)
            margin = (missed["lru"] - missed[EVICTION_POLICIES[0]]) / total
            margins.append(margin)
            print(
                f"{trace.name:24} {fraction:5.0%} "
                + " ".join(f"{missed[name] / total:8.4f}" for name in EVICTION_POLICIES)
                + f" {lru / total:8.4f} {s3fifo / total:8.4f} {margin:+8.4f}"
            )
            label = f"{trace.name} at {fraction:.0%}"
            figures[f"misses of lru over reference, {label}"] = missed["lru"] / lru
            figures[f"misses of s3fifo over reference, {label}"] = missed["s3fifo"] / s3fifo
            figures[f"margin of the default over lru, {label}"] = margin
            failed += missed["lru"] != lru
            failed += abs(missed["s3fifo"] - s3fifo) > 0.01 * s3fifo
    figures["mean margin of the default over lru"] = float(np.mean(margins))
    figures["smallest margin of the default over lru"] = float(min(margins))
    print(
        f"\nthe default ({EVICTION_POLICIES[0]}) misses {np.mean(margins):.2%} of all requests less than lru "
        f"on average, {min(margins):+.2%} at its worst"
    )
    failed += float(np.mean(margins)) <= 0
    return figures, failed


def read_patterns(length: int) -> dict[str, list[str]]:
    """Traces of key names for the predictor, each read through a fast tier that holds a tenth of the keys."""
    rng = np.random.default_rng(11)
    period = [f"{letter}{rng.integers(10**9):x}" for letter in "abcdefgh" * (length // 80)]
    random = rng.integers(0, length // 10, length)
    return {
        "sequential": [f"part-{number:06}.bin" for number in range(length)],
        "periodic": [period[number % len(period)] for number in range(length)],
        "random": [f"item-{number}" for number in random.tolist()],
        "zipf": [f"item-{number}" for number in _zipf(rng, length // 10, length, 0.9).tolist()],
        "random walk": [f"item-{number}" for number in np.cumsum(rng.integers(-9, 10, length)).tolist()],
    }


def read_ahead(trace: list[str], predictor: Predictor | None) -> tuple[float, int]:
    """Hit rate and bytes moved of a trace, with the default policy; a key has 1,000 bytes or so."""
    sizes = {key: 500 + len(key) * 31 + sum(key.encode()) % 500 for key in trace}
    policy = eviction_policy(EVICTION_POLICIES[0], sum(sizes.values()) // 10)
    moved = hits = 0

    def bring(key: str) -> int:
        while policy.used_bytes + sizes[key] > policy.capacity_bytes:
            for victim in policy.victims(1):
                policy.on_remove(victim)
        policy.on_store(key, sizes[key])
        return sizes[key]

    for key in trace:
        if key in policy:
            hits += 1
            policy.on_access(key)
        else:
            moved += bring(key)
        if predictor is not None:
            for ahead in predictor.on_access(key, lambda key: None if key in policy else sizes.get(key)):
                moved += bring(ahead)
    return hits / len(trace), moved


def compare_predictor(length: int) -> tuple[dict[str, float], int]:
    """What fetching ahead gains in hits and costs in bytes; figures, and how many bars were missed."""
    figures: dict[str, float] = {}
    failed = 0
    print(f"\n{'fetching ahead on':24} {'hits without':>13} {'with':>8} {'more bytes moved':>17}")
    for name, trace in read_patterns(length).items():
        hits, moved = read_ahead(trace, None)
        hits_ahead, moved_ahead = read_ahead(trace, Predictor(budget_bytes=20_000))
        more = moved_ahead / moved - 1
        print(f"{name:24} {hits:13.2%} {hits_ahead:8.2%} {more:17.3%}")
        figures[f"hit rate gained by the predictor, {name}"] = hits_ahead - hits
        figures[f"additional bytes moved by the predictor, {name}"] = more
        failed += name in ("sequential", "periodic") and hits_ahead - hits < 0.30
        failed += name == "random" and more >= 0.02
    return figures, failed


def speed(length: int) -> dict[str, float]:
    """Microseconds a request, over a Zipf trace at a tenth of its footprint."""
    trace = traces(length)[0]
    figures = {}
    for name in EVICTION_POLICIES:
        policy = eviction_policy(name, trace.footprint_bytes // 10)
        start = time.perf_counter()
        misses(replay(policy, trace))
        figures[f"microseconds a request, {name}"] = 1e6 * (time.perf_counter() - start) / length
    print("\n" + "\n".join(f"{name}: {figure:.2f}" for name, figure in figures.items()))
    return figures


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="traces of 40,000 requests instead of 200,000")
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    options = parser.parse_args()
    length = 40_000 if options.quick else 200_000
    figures, failed = compare_policies(length)
    more_figures, more_failed = compare_predictor(length)
    figures |= more_figures | speed(length)
    failed += more_failed
    if options.json:
        options.json.write_text(json.dumps(figures, indent=2) + "\n")
    print("every bar is met" if not failed else f"{failed} bars are missed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
