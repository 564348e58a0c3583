"""A data pipeline whose expensive steps are computed once: in this process, and in the next one.

python examples/memoize_pipeline.py            run it twice: the second run reads the features from disk
python examples/memoize_pipeline.py --quick    small sizes
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from memory import memoize


@memoize(maxsize=8)
def load(rows: int, seed: int) -> np.ndarray[Any, Any]:
    """Stands for reading raw data. The last eight are kept as they are."""
    return np.random.default_rng(seed).normal(size=(rows, 64)).astype(np.float32)


@memoize(tier="cold")
def features(data: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Expensive. An array as argument is compared by its contents, and the results survive the process
    (in your data folder; set MEMORIES_HOME to choose another)."""
    centred = data - data.mean(axis=0)
    _, _, directions = np.linalg.svd(centred, full_matrices=False)
    projected: np.ndarray[Any, Any] = centred @ directions[:8].T
    return projected


@memoize(ttl=60)
def statistics(data: np.ndarray[Any, Any]) -> dict[str, float]:
    """Good for a minute."""
    return {"mean": float(data.mean()), "spread": float(data.std())}


def timed(name: str, step: Callable[[], Any]) -> Any:
    """Run a step and say how long it took."""
    start = time.perf_counter()
    result = step()
    print(f"{name:<34}{1000 * (time.perf_counter() - start):>9.2f} ms")
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small sizes")
    rows = 2_000 if parser.parse_args().quick else 100_000

    data = timed("load", lambda: load(rows, seed=0))
    timed("load again", lambda: load(rows, 0))
    reduced = timed("features", lambda: features(data))
    timed("features again", lambda: features(data.copy()))
    print(timed("statistics", lambda: statistics(reduced)))

    # Eight threads that ask for the same thing wait for one computation.
    with ThreadPoolExecutor(8) as pool:
        timed("eight threads at once", lambda: list(pool.map(lambda _: features(data + 1), range(8))))

    for step in (load, features, statistics):
        print(f"{step.__wrapped__.__name__:<12}{step.cache_info()}")


if __name__ == "__main__":
    main()
