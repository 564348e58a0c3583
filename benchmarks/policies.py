"""Miss ratios of the eviction policies, beside libCacheSim's, and what the predictor gains.

    python -m benchmarks.policies [--quick] [--json FILE]

`lru` has to miss exactly as often as libCacheSim's LRU, `s3fifo` has to be within 1% of its S3-FIFO, and the
default's margin over `lru` is printed. Traces are made here, from fixed seeds; sizes are in bytes.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from benchmarks.bars import Report, options_of
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


def compare_policies(report: Report, length: int) -> None:
    """Print one line a trace and size of the tier, then the bars over all of them."""
    lru_apart, s3fifo_apart = [], []
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
            lru_apart.append(abs(missed["lru"] - lru))
            s3fifo_apart.append(100 * abs(missed["s3fifo"] - s3fifo) / s3fifo)
    print()
    count = f"{len(margins)} traces and sizes"
    report.at_most("lru: misses apart from libCacheSim's LRU, at most", 0, max(lru_apart), "", detail=count)
    report.at_most(
        "s3fifo: misses apart from libCacheSim's S3-FIFO, at most", 1, max(s3fifo_apart), "%", detail=count
    )
    report.at_least(
        f"default ({EVICTION_POLICIES[0]}): of all requests missed less than by lru",
        0,
        100 * float(np.mean(margins)),
        "%",
        (100 * min(margins), 100 * max(margins)),
        "mean over traces and sizes",
    )


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


def compare_predictor(report: Report, length: int) -> None:
    """What fetching ahead gains in hits and costs in bytes."""
    for name, trace in read_patterns(length).items():
        hits, moved = read_ahead(trace, None)
        hits_ahead, moved_ahead = read_ahead(trace, Predictor(budget_bytes=20_000))
        more = 100 * (moved_ahead / moved - 1)
        gained = 100 * (hits_ahead - hits)
        detail = f"hits {hits:.2%} without, {hits_ahead:.2%} with; {more:+.3f}% bytes moved"
        if name in ("sequential", "periodic"):
            report.at_least(f"predictor, {name}: points of hit rate gained", 30, gained, "", detail=detail)
        elif name == "random":
            report.at_most(f"predictor, {name}: more bytes moved", 2, more, "%", detail=detail)
        else:
            report.figure(f"predictor, {name}: points of hit rate gained", gained, "", detail=detail)


def speed(report: Report, length: int) -> None:
    """Time of a request, over a Zipf trace at a tenth of its footprint."""
    trace = traces(length)[0]
    for name in EVICTION_POLICIES:
        policy = eviction_policy(name, trace.footprint_bytes // 10)
        start = time.perf_counter()
        misses(replay(policy, trace))
        report.figure(f"a request to {name}", 1e6 * (time.perf_counter() - start) / length, "us")


def main() -> int:
    options = options_of(__doc__, "traces of 40,000 requests instead of 200,000").parse_args()
    length = 40_000 if options.quick else 200_000
    report = Report("policies")
    compare_policies(report, length)
    compare_predictor(report, length)
    speed(report, length)
    return report.finish(options.json)


if __name__ == "__main__":
    sys.exit(main())
