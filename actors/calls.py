"""Remote calls with a deadline, and Ray's failures in our words."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import ray
from ray.exceptions import (
    ActorDiedError,
    ActorUnavailableError,
    ActorUnschedulableError,
    GetTimeoutError,
    ObjectLostError,
    OwnerDiedError,
    RayActorError,
    RayTaskError,
)

from ..errors import DeadlineExceeded, MemoriesError

GONE = (
    RayActorError,
    ActorDiedError,
    ActorUnavailableError,
    ActorUnschedulableError,
    ObjectLostError,
    OwnerDiedError,
)
"""The other side, or the node of the bytes, is not there (any more)."""

FIRST_BACKOFF_S = 0.02
MAX_BACKOFF_S = 1.0
ATTEMPT_S = 10.0
"""After so long an unanswered call is made again, with the same request id."""


@dataclass(slots=True)
class Deadline:
    """The end of a call, and what the call is, for the error that names it."""

    what: str
    ends_s: float
    timeout_s: float

    @classmethod
    def after(cls, timeout_s: float, what: str) -> Deadline:
        return cls(what, time.monotonic() + timeout_s, timeout_s)

    def remaining_s(self) -> float:
        """Seconds left; raises `DeadlineExceeded` where none are."""
        left = self.ends_s - time.monotonic()
        if left <= 0:
            raise DeadlineExceeded(
                f"{self.what} was not answered within {self.timeout_s:g} s; whether it took effect is "
                "not known. Cluster.status() shows which nodes and tiers are there"
            )
        return left


def get(ref: ray.ObjectRef[Any], timeout_s: float) -> Any:
    """`ray.get` that raises our errors as they were raised on the other side."""
    try:
        return ray.get(ref, timeout=timeout_s)
    except RayTaskError as error:
        cause = error.cause
        if isinstance(cause, MemoriesError) or _is_from_memoria(cause):
            raise cause from None
        raise


def persist(attempt: Callable[[float], Any], deadline: Deadline, refresh: Callable[[], None]) -> Any:
    """Call `attempt(timeout_s)` until it answers, with growing pauses, or the deadline comes.

    Only for calls that may be repeated. `refresh` is called before a repetition, to look the actor up again.
    """
    backoff_s = FIRST_BACKOFF_S
    while True:
        try:
            return attempt(min(deadline.remaining_s(), ATTEMPT_S))
        except GetTimeoutError:
            deadline.remaining_s()
        except GONE:
            time.sleep(min(backoff_s, deadline.remaining_s()))
            backoff_s = min(2 * backoff_s, MAX_BACKOFF_S)
        refresh()


def _is_from_memoria(cause: Exception) -> bool:
    """The network has errors of its own, which its users know; asking for the class would load torch."""
    return any(base.__name__ == "MemoriaError" for base in type(cause).__mro__)
