"""`Retry`: repeats what may succeed a moment later, with growing, jittered pauses and a deadline."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from ...errors import DeadlineExceeded, InvalidValue, Unavailable

T = TypeVar("T")

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Retry:
    """How often and how long a request is tried.

    A pause is drawn uniformly from zero to `base_s * 2**n`, at most `cap_s` ("full jitter": clients that
    failed together do not come back together). `deadline_s` is for one request with all its repetitions,
    not for a large transfer as a whole, which makes many. Clock, sleep and random are passed in so that
    tests run in no time. Immutable and thread-safe.
    """

    max_attempts: int = 8
    deadline_s: float = 120.0
    base_s: float = 0.1
    cap_s: float = 10.0
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    uniform: Callable[[float, float], float] = random.uniform

    def __post_init__(self) -> None:
        if self.max_attempts < 1 or not self.deadline_s > 0 or self.base_s < 0 or self.cap_s < 0:
            raise InvalidValue(
                f"max_attempts={self.max_attempts}, deadline_s={self.deadline_s}, base_s={self.base_s} and "
                f"cap_s={self.cap_s}: need at least one attempt, a deadline above 0 and no negative pause"
            )

    def call(self, action: Callable[[], T], what: str) -> T:
        """The action's result. `Unavailable` is retried; everything else is raised at once.

        Raises `Unavailable` when the attempts are used up, `DeadlineExceeded` when the time is.
        """
        start_s = self.clock()
        for attempt in range(1, self.max_attempts + 1):
            try:
                return action()
            except Unavailable as error:
                elapsed_s = self.clock() - start_s
                if attempt == self.max_attempts:
                    raise Unavailable(
                        f"{what} failed {attempt} times in {elapsed_s:.1f} s: {error}"
                    ) from error
                pause_s = self.uniform(0.0, min(self.cap_s, self.base_s * 2.0**attempt))
                if elapsed_s + pause_s >= self.deadline_s:
                    raise DeadlineExceeded(
                        f"{what} did not succeed within {self.deadline_s:g} s ({attempt} attempts): {error}"
                    ) from error
                log.debug("%s: attempt %d failed, again in %.2f s: %s", what, attempt, pause_s, error)
                self.sleep(pause_s)
        raise AssertionError("unreachable: the last attempt returns or raises")
