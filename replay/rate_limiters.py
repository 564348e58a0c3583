"""When rows may be inserted and when they may be sampled.

A limiter sees three counters that the buffer keeps: the rows stored now, the rows ever inserted and the
rows ever sampled. It holds no state of its own, so a checkpoint of the counters is one of the limiter.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Literal, NamedTuple

from ..errors import InvalidValue


class Counters(NamedTuple):
    """``size`` rows are stored now; ``inserted`` and ``sampled`` count rows since the buffer was made.

    Examples:
        >>> MinSize(10).may_sample(Counters(size=5, inserted=5, sampled=0), 1)
        False
    """

    size: int
    inserted: int
    sampled: int


class RateLimiter(ABC):
    """Answers whether the next insert or sample may go ahead. Pure: no clock, no state.

    Examples:
        >>> class EveryRowOnce(RateLimiter):
        ...     def may_insert(self, now, rows):
        ...         return True
        ...     def may_sample(self, now, rows):
        ...         return now.sampled + rows <= now.inserted
        >>> EveryRowOnce().may_sample(Counters(size=4, inserted=4, sampled=3), 2)
        False
    """

    @abstractmethod
    def may_insert(self, now: Counters, rows: int) -> bool:
        """May ``rows`` more be inserted?"""

    @abstractmethod
    def may_sample(self, now: Counters, rows: int) -> bool:
        """May ``rows`` more be sampled?"""

    def may_refill(self, now: Counters, rows: int) -> bool:
        """May ``rows`` be inserted although `may_insert` says no, as samplers wait for stored rows?

        Without it both sides would wait for ever where rows were removed or cleared.
        """
        return False

    def most_at_once(self, what: Literal["insert", "sample"]) -> float:
        """The most rows that one insert or one sample can ever have while rows are not removed."""
        return float("inf")

    def check(self, capacity: int) -> None:  # noqa: B027 - most limiters fit any capacity
        """Raise if a buffer of this capacity could never satisfy the limiter."""


@dataclass(frozen=True)
class MinSize(RateLimiter):
    """Sampling starts once ``rows`` are stored; inserting is never held up.

    Examples:
        >>> from memories.replay import ReplayBuffer
        >>> buffer = ReplayBuffer(capacity=10, rate_limiter=MinSize(2))
        >>> _ = buffer.add(x=1.0)
        >>> buffer.sample(1)
        Traceback (most recent call last):
        memories.errors.RateLimited: ...
    """

    rows: int = 1

    def __post_init__(self) -> None:
        if self.rows < 1:
            raise InvalidValue(f"MinSize is {self.rows} rows, must be at least 1.")

    def may_insert(self, now: Counters, rows: int) -> bool:
        return True

    def may_sample(self, now: Counters, rows: int) -> bool:
        return now.size >= self.rows

    def check(self, capacity: int) -> None:
        if self.rows > capacity:
            raise InvalidValue(
                f"MinSize({self.rows}) can never be reached with a capacity of {capacity} rows: "
                "sampling would wait for ever."
            )


@dataclass(frozen=True)
class SamplesPerInsert(RateLimiter):
    """Keep ``sampled`` near ``ratio * (inserted - min_size)``, at most ``tolerance`` samples away.

    With ``balance = inserted * ratio - sampled`` and ``centre = min_size * ratio``:
    an insert of n rows may go ahead while ``balance + n * ratio <= centre + tolerance``, and a sample
    of n rows once ``min_size`` rows are stored and ``balance - n >= centre - tolerance``. A buffer also
    takes rows while it stores fewer than ``min_size``, whatever the balance: it gives no samples then.

    Examples:
        >>> from memories.replay import ReplayBuffer
        >>> limiter = SamplesPerInsert(ratio=2, min_size=1, tolerance=4)
        >>> buffer = ReplayBuffer(capacity=100, rate_limiter=limiter)
        >>> _ = buffer.add(x=1.0)
        >>> len(buffer.sample(4))
        4
    """

    ratio: float
    min_size: int = 1
    tolerance: float | None = None

    def __post_init__(self) -> None:
        if not 0 < self.ratio < float("inf"):
            raise InvalidValue(f"samples per insert is {self.ratio}, must be positive and finite.")
        if self.min_size < 1:
            raise InvalidValue(f"min_size is {self.min_size}, must be at least 1.")
        if self.tolerance is None:
            object.__setattr__(self, "tolerance", max(1.0, self.ratio) * max(self.min_size, 1))
        if not self._tolerance >= max(1.0, self.ratio):  # this way round it refuses NaN too
            raise InvalidValue(
                f"tolerance is {self.tolerance} samples, but one insert alone moves the balance by "
                f"{self.ratio}: inserting and sampling would block each other. Use at least "
                f"{max(1.0, self.ratio)}, better the batch size times a few."
            )

    @property
    def _tolerance(self) -> float:
        return 0.0 if self.tolerance is None else self.tolerance

    def may_insert(self, now: Counters, rows: int) -> bool:
        if now.inserted + rows <= self.min_size:
            return True
        balance = (now.inserted + rows) * self.ratio - now.sampled
        return balance <= self.min_size * self.ratio + self._tolerance

    def may_sample(self, now: Counters, rows: int) -> bool:
        if now.size < self.min_size:
            return False
        balance = now.inserted * self.ratio - (now.sampled + rows)
        return balance >= self.min_size * self.ratio - self._tolerance

    def may_refill(self, now: Counters, rows: int) -> bool:
        return now.size < self.min_size

    def most_at_once(self, what: Literal["insert", "sample"]) -> float:
        # The balance can go from one end of the tolerance to the other, and no further.
        return 2 * self._tolerance / (self.ratio if what == "insert" else 1.0)

    def check(self, capacity: int) -> None:
        MinSize(self.min_size).check(capacity)


@dataclass(frozen=True)
class Queue(RateLimiter):
    """Nothing is overwritten: inserting stops when ``size`` rows are stored and waits for samplers.

    Use it with ``max_times_sampled=1``: then every row is handed out exactly once. Batches of more than
    ``size`` rows raise `InvalidValue`. An inserted and a sampled batch should fit in together: else the
    one may wait for room and the other for rows.

    Examples:
        >>> from memories.replay import ReplayBuffer
        >>> buffer = ReplayBuffer(capacity=2, rate_limiter=Queue(2), max_times_sampled=1)
        >>> handles = [buffer.add(x=0), buffer.add(x=1)]
        >>> buffer.add(x=2)
        Traceback (most recent call last):
        memories.errors.RateLimited: ...
    """

    size: int

    def __post_init__(self) -> None:
        if self.size < 1:
            raise InvalidValue(f"A queue of {self.size} rows holds nothing; use at least 1.")

    def may_insert(self, now: Counters, rows: int) -> bool:
        return now.size + rows <= self.size

    def may_sample(self, now: Counters, rows: int) -> bool:
        return now.size >= rows

    def most_at_once(self, what: Literal["insert", "sample"]) -> float:
        return self.size

    def check(self, capacity: int) -> None:
        if self.size > capacity:
            raise InvalidValue(
                f"A queue of {self.size} rows does not fit a capacity of {capacity}: rows would be "
                "overwritten before they are read."
            )


class Stack(Queue):
    """As `Queue`; the name says that the sampler takes the newest row first.

    Examples:
        >>> from memories.replay import make_buffer
        >>> stack = make_buffer("stack", capacity=10)
        >>> _ = stack.add_batch({"x": [0, 1, 2]})
        >>> stack.sample(2)["x"].tolist()
        [2, 1]
    """
