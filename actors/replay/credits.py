"""`CreditHolder`: the leases of one writer or sampler, where the buffer has a rate limiter."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass
from typing import Any

import ray

from ...errors import InvalidValue
from ..calls import FIRST_BACKOFF_S
from .core.credits import HOLDER_LEASE_S, Action
from .routing import Router, result_of
from .spec import ReplaySpec

ANSWER_TIMEOUT_S = 5.0
POLL_PAUSE_S = 0.001


@dataclass(slots=True)
class Credit:
    """Rows that were asked for: `lease` is their lease once there is one."""

    rows: int
    asked_s: float
    ref: ray.ObjectRef[Any] | None
    lease: int | None = None


class CreditHolder:
    """Leases come and are used in the order of their asking. Nothing runs in the background.

    Not thread-safe. What is done under a lease but must be repeated after its end is repeated all the same:
    the shards count it, so it is made up for.
    """

    def __init__(self, router: Router, action: Action) -> None:
        self._router, self._action = router, action
        self._credits: deque[Credit] = deque()
        self._released: list[int] = []
        self._polled_s = float("-inf")
        self._ask_again_s = 0.0

    def __len__(self) -> int:
        """Asks that were not taken so far."""
        return len(self._credits)

    def ask(self, rows: int) -> None:
        """Ask for a lease for so many rows."""
        credit = Credit(rows, 0.0, None)
        self._credits.append(credit)
        self._send(credit)

    def take(self) -> tuple[int, int] | None:
        """The next lease and its rows, if it is there."""
        if not self._credits or self._credits[0].lease is None:
            return None
        credit = self._credits[0]
        assert credit.lease is not None
        if time.monotonic() >= credit.asked_s + HOLDER_LEASE_S:
            self._released.append(credit.lease)
            credit.lease = None
            self._send(credit)
            return None
        self._credits.popleft()
        return credit.lease, credit.rows

    def poll(self, timeout_s: float) -> None:
        """Take in answers, for which it waits up to `timeout_s`; what was answered with no is asked again."""
        now_s = time.monotonic()
        if timeout_s == 0 and now_s - self._polled_s < POLL_PAUSE_S:
            return
        self._polled_s = now_s
        asked = {credit.ref: credit for credit in self._credits if credit.ref is not None}
        if asked:
            ready, _ = ray.wait(list(asked), num_returns=1, timeout=timeout_s)
            if ready:
                ready, _ = ray.wait(list(asked), num_returns=len(asked), timeout=0)
            for ref in ready:
                credit = asked[ref]
                credit.ref = None
                credit.lease = result_of(ref, ANSWER_TIMEOUT_S)
                if credit.lease is None:  # no credits, or no coordinator
                    self._ask_again_s = time.monotonic() + FIRST_BACKOFF_S
        elif timeout_s:
            time.sleep(min(timeout_s, FIRST_BACKOFF_S))
        if time.monotonic() >= self._ask_again_s:
            for credit in self._credits:
                if credit.ref is None and credit.lease is None:
                    self._send(credit)

    def done(self, lease: int) -> None:
        """What the lease was for is done, and counted by the shards. The next ask says so."""
        self._released.append(lease)
        if not any(credit.ref is not None for credit in self._credits):
            self._router.request("release", self._router.buffer, self._taken_released())

    def _send(self, credit: Credit) -> None:
        credit.asked_s = time.monotonic()
        credit.ref = self._router.request(
            "credits", self._router.buffer, self._action.value, credit.rows, self._taken_released()
        )

    def _taken_released(self) -> tuple[int, ...]:
        released, self._released = tuple(self._released), []
        return released


def holder_of(router: Router, spec: ReplaySpec, action: Action) -> CreditHolder | None:
    """None where the buffer has no rate limiter."""
    return None if spec.rate_limiter is None else CreditHolder(router, action)


def most_rows_a_lease(spec: ReplaySpec, action: Action, batch_size: int = 1) -> int | None:
    """What one lease may be for, so that inserting and sampling never hold each other up; None: anything.

    Raises `InvalidValue` where one batch alone is too much.
    """
    limiter = spec.rate_limiter
    if limiter is None or limiter.tolerance is None:
        return None
    samples = limiter.tolerance / 4
    rows = int(samples if action is Action.SAMPLE else samples / limiter.ratio)
    if action is Action.SAMPLE and batch_size > 2 * rows:
        raise InvalidValue(
            f"batches of {batch_size} rows do not fit a tolerance of {limiter.tolerance:g} samples: "
            f"inserting and sampling would hold each other up. Use a tolerance of at least "
            f"{2 * batch_size}, better some dozen batches"
        )
    return max(rows, batch_size)
