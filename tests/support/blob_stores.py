"""The blob stores that the contract suite runs over.

A store takes part by a `StoreCase`: a name and a function that opens it on a folder. Its module registers
it, and is named in `_MODULES`.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from contextlib import AbstractContextManager, closing
from dataclasses import dataclass
from pathlib import Path

from memories.tiers.blobs import BlobStore
from memories.tiers.cold import ColdBlobs
from memories.tiers.memory_blobs import MemoryBlobs
from tests.support.cold_cases import FORMS, QUICK

_MODULES = ("tests.support.glacier_cases",)


@dataclass(frozen=True)
class StoreCase:
    """One blob store in one configuration. `slow`: not in the fast run."""

    name: str
    open: Callable[[Path], AbstractContextManager[BlobStore]]
    slow: bool = False


CASES: dict[str, StoreCase] = {}


def register(case: StoreCase) -> None:
    """Add a case; its name must be new."""
    assert case.name not in CASES, case.name
    CASES[case.name] = case


def load_cases() -> list[StoreCase]:
    """Every registered case."""
    for module in _MODULES:
        importlib.import_module(module)
    return list(CASES.values())


def _cold(file_format: str, compression: str) -> Callable[[Path], AbstractContextManager[BlobStore]]:
    return lambda folder: closing(
        ColdBlobs(folder / "cold", file_format=file_format, compression=compression)
    )


register(StoreCase("memory", lambda folder: closing(MemoryBlobs())))
for _format, _compression in FORMS:
    register(
        StoreCase(
            f"cold-{_format}-{_compression}",
            _cold(_format, _compression),
            slow=(_format, _compression) not in QUICK,
        )
    )
register(
    StoreCase("cold-index-on-disk", lambda folder: closing(ColdBlobs(folder / "cold", index_in_memory=False)))
)
