"""The tiers that the contract suite runs over.

A tier takes part by a `TierCase`: a name and a function that opens it on a folder, with the arguments
that every tier takes (`capacity_bytes`, `on_full`, `allow_pickle`, `clock`). Cold and glacier add theirs
with `register`, from modules that `load_cases` imports.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from memories.tiers.memory_blobs import MemoryBlobs
from memories.tiers.tier import Tier


@dataclass(frozen=True)
class TierCase:
    """One tier in one configuration.

    `open` gives a context manager that yields the tier and closes it. `durable`: opening the same folder
    again finds the values. `exact_bytes`: what is used is what the values are, within a percent.
    `evicts`: it takes ``on_full="evict"``. `slow`: not in the fast run.
    """

    name: str
    open: Callable[..., AbstractContextManager[Tier]]
    durable: bool = False
    exact_bytes: bool = False
    evicts: bool = True
    slow: bool = False


CASES: dict[str, TierCase] = {}

_MODULES = (
    "tests.support.warm_cases",
    "tests.support.hot_cases",
    "tests.support.cold_cases",
    "tests.support.glacier_cases",
)


def register(case: TierCase) -> None:
    """Add a case; its name must be new."""
    assert case.name not in CASES, case.name
    CASES[case.name] = case


def load_cases() -> list[TierCase]:
    """Every registered case, in the order of their modules."""
    for module in _MODULES:
        if importlib.util.find_spec(module) is not None:
            importlib.import_module(module)
    return list(CASES.values())


def closing_case(name: str, factory: Callable[..., Tier], **properties: Any) -> TierCase:
    """A case whose tier is made by ``factory(folder, **arguments)`` and closed at the end."""

    @contextmanager
    def opened(folder: Path, **arguments: Any) -> Iterator[Tier]:
        with factory(folder, **arguments) as tier:
            yield tier

    return TierCase(name, opened, **properties)


register(
    closing_case("memory", lambda folder, **arguments: Tier(MemoryBlobs(), **arguments), exact_bytes=True)
)
