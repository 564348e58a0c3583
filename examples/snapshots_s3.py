"""Snapshots of a tier in object storage: written while the tier works, restored into another one.

    python examples/snapshots_s3.py --bucket my-bucket [--endpoint http://127.0.0.1:8333] [--region ...]
    python examples/snapshots_s3.py --folder /tmp/objects

Credentials are found where boto3 always looks. With --folder the objects are files, and no account is
needed.
"""

from __future__ import annotations

import argparse
import secrets
from pathlib import Path
from typing import Any

import numpy as np

from memories.core.glacier_memory import GlacierMemory
from memories.core.warm_memory import WarmMemory


def settings(arguments: argparse.Namespace) -> dict[str, Any]:
    """The config of the glacier memory from the command line."""
    if arguments.folder is not None:
        return {"provider": "local", "storage_path": arguments.folder}
    chosen = {"provider": "s3", "bucket": arguments.bucket, "prefix": arguments.prefix}
    optional = {"endpoint": arguments.endpoint, "region": arguments.region}
    return {**chosen, **{name: value for name, value in optional.items() if value is not None}}


def main() -> None:
    """Store, snapshot, change, restore."""
    parser = argparse.ArgumentParser(description="Snapshots of a tier in object storage.")
    place = parser.add_mutually_exclusive_group(required=True)
    place.add_argument("--bucket")
    place.add_argument("--folder", type=Path)
    parser.add_argument("--prefix", default="memories-example")
    parser.add_argument("--endpoint")
    parser.add_argument("--region")
    arguments = parser.parse_args()

    # Encrypted before it leaves this process; keep such a key in a key store, not in the code.
    key = secrets.token_hex(32)
    with (
        WarmMemory(size_gb=1) as warm,
        GlacierMemory(
            config={**settings(arguments), "encryption_key": key, "compression": "zstd"}
        ) as glacier,
    ):
        warm.store("features", np.arange(1_000_000, dtype=np.float32), metadata={"run": 7})
        warm.store("labels", {"classes": ["cat", "dog"]})

        with glacier.open_writer("snapshots/before", metadata={"why": "before the clean-up"}) as file:
            info = warm.create_snapshot(file, description="before the clean-up")
        print(f"wrote {info.entries} values to {glacier!r}")

        warm.delete("features")
        warm.store("labels", "overwritten")

        with glacier.open_reader("snapshots/before") as file:
            restored = warm.restore_snapshot(file)
        print(f"restored {', '.join(sorted(restored))}: {warm.retrieve('labels')}")
        assert float(warm.retrieve("features").sum()) == float(np.arange(1_000_000, dtype=np.float32).sum())
        glacier.delete("snapshots/before")


if __name__ == "__main__":
    main()
