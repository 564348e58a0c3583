"""Glacier memory for the contract suite: a folder, and a real server for each provider."""

from __future__ import annotations

import atexit
import functools
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from memories.tiers.blobs import BlobStore
from memories.tiers.glacier.config import GlacierConfig
from memories.tiers.glacier_memory import GlacierMemory
from memories.tiers.tier import Tier
from tests.support import blob_stores
from tests.support.object_servers import Azurite, FakeGCS, SeaweedFS, ServerProcess, azurite_missing
from tests.support.tiers import TierCase, closing_case, register

KEY = "11" * 32


def _local(folder: Path, *, config: dict[str, Any] | None = None, **arguments: Any) -> Tier:
    # The contract knows pickles; that glacier refuses them unless told otherwise has a test of its own.
    arguments.setdefault("allow_pickle", True)
    return GlacierMemory("local", {"storage_path": folder / "objects", **(config or {})}, **arguments)


@functools.cache
def server(provider: str) -> Any:
    """The server of a provider, started when it is first wanted and kept until the process ends."""
    missing = azurite_missing() if provider == "azure" else None
    if missing is not None:
        pytest.skip(missing)
    kinds: dict[str, type[ServerProcess]] = {"s3": SeaweedFS, "gcs": FakeGCS, "azure": Azurite}
    started = kinds[provider]()
    atexit.register(started.stop)
    started.start()
    return started


def _remote(provider: str, **extra: Any) -> Any:
    @contextmanager
    def opened(folder: Path, **arguments: Any) -> Iterator[Tier]:
        # One bucket for all tests: the folder's name, which pytest makes unique, keeps them apart.
        config = {**server(provider).config, "prefix": f"{folder.parent.name}/{folder.name}", **extra}
        arguments.setdefault("allow_pickle", True)
        arguments.setdefault("read_inventory", True)
        with GlacierMemory(provider, config, **arguments) as tier:
            yield tier

    return opened


def _store(provider: str, **extra: Any) -> Callable[[Path], AbstractContextManager[BlobStore]]:
    def opened(folder: Path) -> AbstractContextManager[BlobStore]:
        place = {"storage_path": folder / "objects"} if provider == "local" else server(provider).config
        config = {**place, "prefix": f"{folder.parent.name}/{folder.name}", **extra}
        return closing(GlacierConfig.from_mapping(config, provider).open_blobs())

    return opened


register(closing_case("glacier-local", _local, durable=True))
register(
    closing_case(
        "glacier-local-encrypted-zstd",
        functools.partial(_local, config={"encryption_key": KEY, "compression": "zstd"}),
        durable=True,
        slow=True,
    )
)
register(TierCase("glacier-s3", _remote("s3"), durable=True, slow=True))
register(
    TierCase(
        "glacier-s3-encrypted",
        _remote("s3", encryption="AES256", encryption_key=KEY, compression="lz4"),
        durable=True,
        slow=True,
    )
)
register(TierCase("glacier-gcs", _remote("gcs"), durable=True, slow=True))
register(TierCase("glacier-azure", _remote("azure"), durable=True, slow=True))

for _provider in ("local", "s3", "gcs", "azure"):
    _name = f"glacier-{_provider}"
    blob_stores.register(blob_stores.StoreCase(_name, _store(_provider), slow=_provider != "local"))
    _sealed = _store(_provider, encryption_key=KEY, compression="zstd")
    blob_stores.register(blob_stores.StoreCase(f"{_name}-encrypted-zstd", _sealed, slow=True))
