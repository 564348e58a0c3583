"""A clock that stands still until a test moves it."""

from __future__ import annotations


class ManualClock:
    """Callable like `time.time`; starts at a plausible date."""

    def __init__(self, now_s: float = 1_700_000_000.0) -> None:
        self.now_s = now_s

    def __call__(self) -> float:
        return self.now_s

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self.now_s += seconds
