"""Values that change as training goes on: alpha and beta of prioritized replay."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ..errors import InvalidValue

# A schedule takes the number of sample() calls made so far and returns the value to use.
Schedule = Callable[[int], float]


@dataclass(frozen=True)
class LinearSchedule:
    """From ``start`` to ``end`` in ``steps`` calls of `sample`, then ``end`` for good.

    Examples:
        >>> beta = LinearSchedule(0.4, 1.0, steps=100)
        >>> round(beta(0), 3), round(beta(50), 3), round(beta(1_000), 3)
        (0.4, 0.7, 1.0)
    """

    start: float
    end: float
    steps: int

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise InvalidValue(f"steps is {self.steps}, must be at least 1.")

    def __call__(self, step: int) -> float:
        share = min(max(step, 0) / self.steps, 1.0)
        return self.start + share * (self.end - self.start)


def value_at(value: float | Schedule, step: int, name: str) -> float:
    """``value`` at ``step``, whether it is a number or a schedule; checked to be finite and not negative."""
    number = float(value(step)) if callable(value) else float(value)
    if not 0.0 <= number < float("inf"):
        raise InvalidValue(f"{name} is {number} at step {step}, must be finite and at least 0.")
    return number
