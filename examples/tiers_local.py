"""The four memories in one process, without a cluster: store, find, move, snapshot, analyse.

python examples/tiers_local.py [--quick]
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
import torch

from memories.tiers import Analytics, ColdMemory, HotMemory, WarmMemory


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small sizes")
    rows = 1_000 if parser.parse_args().quick else 200_000
    folder = Path(tempfile.mkdtemp(prefix="tiers-local-"))

    with (
        HotMemory(size_gb=0.5) as hot,  # on the GPU where there is one
        WarmMemory(size_gb=0.5, on_full="evict") as warm,
        ColdMemory(size_gb=1, storage_path=folder / "cold") as cold,
    ):
        analytics = Analytics()
        tiers = {"hot": hot, "warm": warm, "cold": cold}

        def observe() -> None:
            analytics.observe({name: tier.get_metrics() for name, tier in tiers.items()})

        observe()

        # Any value under any name, with metadata, a priority, a time to live.
        hot.store("weights", {"layer": torch.rand(256, 256), "step": 12}, priority=5)
        warm.store("session", {"user": "ada", "scores": [0.5, 0.75]}, ttl=3_600)
        embeddings = np.random.default_rng(0).normal(size=(rows, 64)).astype(np.float32)
        cold.store("embeddings/2025", embeddings, metadata={"year": 2025, "model": "small"})
        cold.store("embeddings/2024", embeddings[: rows // 2], metadata={"year": 2024, "model": "large"})
        observe()

        # Some rows are read without the others; keys are found by their metadata.
        print("rows 10 to 13:", cold.retrieve("embeddings/2025", start=10, end=13).shape)
        print("since 2025:", cold.query({"year": {"$gte": 2025}}))

        # From tier to tier a value goes as it is, without being decoded.
        warm.put_blob(cold.get_blob("embeddings/2025"))
        analytics.moved("cold", "warm", warm.entry("embeddings/2025").nbytes)
        print("the same bytes:", np.array_equal(warm.retrieve("embeddings/2025"), embeddings))
        observe()

        # One file of one moment, verified whole before anything is restored.
        info = warm.create_snapshot(folder / "warm.snapshot", description="before the experiment")
        warm.clear()
        print(f"restored {warm.restore_snapshot(folder / 'warm.snapshot')} of {info.file_bytes:,} bytes")
        observe()

        for name, tier in tiers.items():
            metrics = tier.get_metrics()
            print(f"{name:<6}{metrics['usage_percent']:>6.2f}%  {metrics['entries']} entries")
        analytics.plot(folder / "memory_analytics.png")
        print("flows:", analytics.report()["flows"])
        print("figure:", folder / "memory_analytics.png")


if __name__ == "__main__":
    main()
