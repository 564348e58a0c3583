"""Outcomes of the core in the words of our exceptions."""

from __future__ import annotations

from collections.abc import Iterable

from ..errors import (
    CapacityExceeded,
    CorruptData,
    DeadlineExceeded,
    KeyNotFound,
    MemoriesError,
    NotEnoughNodes,
    StorageFull,
    Unavailable,
    ValueLost,
)
from .core.commands import Reply
from .core.model import Outcome


def error_of(outcome: Outcome, key: str, message: str) -> MemoriesError:
    """The exception for an outcome that is not OK."""
    detail = f": {message}" if message else ""
    match outcome:
        case Outcome.FULL:
            return CapacityExceeded(
                f"there is no room for {key!r}{detail}; raise the tier's budget or delete something"
            )
        case Outcome.MISSING:
            return KeyNotFound(f"{key!r} is not stored; keys() lists what is")
        case Outcome.CORRUPT:
            return CorruptData(f"every copy of {key!r} that answers is damaged{detail}")
        case Outcome.ERROR:
            return StorageFull(f"the medium failed while {key!r} was written{detail}")
        case Outcome.TOO_FEW_NODES:
            return NotEnoughNodes(f"there are too few nodes for {key!r}{detail}")
        case Outcome.LOST:
            return ValueLost(f"every copy of {key!r} is lost: the nodes that held it are gone")
        case Outcome.UNKNOWN:
            return DeadlineExceeded(f"whether {key!r} was changed is not known{detail}")
        case _:
            return Unavailable(f"{key!r} cannot be reached now ({outcome.name.lower()}){detail}")


def raise_first(reply: Reply, keys: Iterable[str]) -> None:
    """Raise for the first key of a request that did not go well."""
    if reply.outcomes is None:
        return
    for key, outcome in zip(keys, reply.outcomes, strict=True):
        if outcome is not Outcome.OK:
            raise error_of(outcome, key, reply.message)
