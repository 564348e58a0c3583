"""Memoria: a memory network for sequence models that keeps, links and forgets as people do (torch; no Ray).

After Park and Bak, "Memoria: Resolving Fateful Forgetting Problem through Human-Inspired Memory
Architecture", ICML 2024.
"""

from __future__ import annotations

from .abstractor import Abstractor
from .engram_type import EngramType
from .engrams import Engrams
from .errors import (
    IndexOutOfRange,
    InvalidArgument,
    InvalidShape,
    InvalidState,
    InvalidType,
    MemoriaError,
    NoWorkingMemory,
    UnknownEngram,
)
from .history import HistoryManager
from .layer import MemoriaLayer
from .network import Memoria

__all__ = [
    "Abstractor",
    "EngramType",
    "Engrams",
    "HistoryManager",
    "IndexOutOfRange",
    "InvalidArgument",
    "InvalidShape",
    "InvalidState",
    "InvalidType",
    "Memoria",
    "MemoriaError",
    "MemoriaLayer",
    "NoWorkingMemory",
    "UnknownEngram",
]
