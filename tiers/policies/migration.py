"""`MigrationPolicy`: the numbers by which data moves between tiers."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from ...errors import InvalidType, InvalidValue

if TYPE_CHECKING:
    from .base import EvictionPolicy

TIERS: Final = ("hot", "warm", "cold", "glacier")
"""From the fastest to the most patient; data sinks to the right and rises to the left."""

EVICTION_POLICIES: Final = ("s3fifo", "lru", "lfu", "cost")
"""Names of the eviction policies, the default first."""

_HOUR_S: Final = 3600.0
_DAY_S: Final = 24 * _HOUR_S


@dataclass(frozen=True, slots=True)
class MigrationPolicy:
    """When data sinks and rises. The thresholds are ages since the last use; each may be a timedelta.

    ``math.inf`` switches a threshold off. Watermarks are fractions of a tier's budget: above the high one
    data sinks until the low one is reached. A new entry in the hot tier sinks after ``probation_s`` unless
    it was read; an entry below rises when it is read ``reads_to_rise`` times within ``rise_window_s``.
    ``eviction`` is a name, or makes an `EvictionPolicy` of yours from a capacity in bytes.
    Moves in the background take at most ``max_bytes_per_s``; those that a writer waits for are not held up.
    At most ``prefetch_bytes`` are fetched ahead and not read yet; 0 switches that off.
    Raises `InvalidValue` or `InvalidType` for numbers that cannot be.

    Examples:
        >>> policy = MigrationPolicy(hot_to_warm_threshold=24, cold_to_glacier_threshold=30, eviction="lru")
        >>> policy.threshold_s("hot"), policy.threshold_s("cold")
        (86400.0, 2592000.0)
    """

    hot_to_warm_threshold: float | timedelta = 24
    """Hours."""
    warm_to_cold_threshold: float | timedelta = 72
    """Hours."""
    cold_to_glacier_threshold: float | timedelta = 30
    """Days."""
    eviction: str | Callable[[int], EvictionPolicy] = EVICTION_POLICIES[0]
    high_watermark: float = 0.9
    low_watermark: float = 0.8
    probation_s: float = 3.0
    reads_to_rise: int = 2
    rise_window_s: float = 60.0
    max_bytes_per_s: float = 512 * 2**20
    prefetch_bytes: int = 256 * 2**20

    def __post_init__(self) -> None:
        for name in ("hot_to_warm_threshold", "warm_to_cold_threshold", "cold_to_glacier_threshold"):
            _seconds(name, getattr(self, name), _HOUR_S)
        _seconds("probation_s", self.probation_s, 1.0)
        _seconds("rise_window_s", self.rise_window_s, 1.0)
        if not callable(self.eviction) and self.eviction not in EVICTION_POLICIES:
            raise InvalidValue(
                f"there is no eviction policy {self.eviction!r}; choose from {', '.join(EVICTION_POLICIES)}"
            )
        if not 0 < self.low_watermark <= self.high_watermark <= 1:
            raise InvalidValue(
                "watermarks are fractions with 0 < low <= high <= 1, "
                f"not low={self.low_watermark} and high={self.high_watermark}"
            )
        if isinstance(self.reads_to_rise, bool) or not isinstance(self.reads_to_rise, int):
            raise InvalidType(f"reads_to_rise is a whole number, not {self.reads_to_rise!r}")
        if self.reads_to_rise < 1:
            raise InvalidValue(f"reads_to_rise is at least 1, not {self.reads_to_rise}")
        if not self.max_bytes_per_s > 0:
            raise InvalidValue(f"max_bytes_per_s must be positive, not {self.max_bytes_per_s!r}")
        if not self.prefetch_bytes >= 0:
            raise InvalidValue(f"prefetch_bytes is a number of bytes (0: none), not {self.prefetch_bytes!r}")

    @property
    def eviction_name(self) -> str:
        """The name of the eviction policy, for those who read a status."""
        if isinstance(self.eviction, str):
            return self.eviction
        return getattr(self.eviction, "__name__", type(self.eviction).__name__)

    def threshold_s(self, tier: str) -> float:
        """After how many seconds without use data leaves ``tier``; infinity for glacier."""
        match tier:
            case "hot":
                return _seconds("hot_to_warm_threshold", self.hot_to_warm_threshold, _HOUR_S)
            case "warm":
                return _seconds("warm_to_cold_threshold", self.warm_to_cold_threshold, _HOUR_S)
            case "cold":
                return _seconds("cold_to_glacier_threshold", self.cold_to_glacier_threshold, _DAY_S)
            case "glacier":
                return math.inf
        raise InvalidValue(f"there is no tier {tier!r}; the tiers are {', '.join(TIERS)}")

    def bytes_to_free(self, used_bytes: int, capacity_bytes: int, incoming_bytes: int = 0) -> int:
        """How much has to sink, so that the tier with ``incoming_bytes`` more is at its low watermark; 0
        while it stays below the high one. Never more than what is there."""
        wanted = used_bytes + incoming_bytes
        if wanted <= self.high_watermark * capacity_bytes:
            return 0
        return min(used_bytes, math.ceil(wanted - self.low_watermark * capacity_bytes))


def _seconds(name: str, value: object, unit_s: float) -> float:
    if isinstance(value, timedelta):
        seconds = value.total_seconds()
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        seconds = value * unit_s
    else:
        raise InvalidType(f"{name} is a number or a timedelta, not {value!r}")
    if not seconds >= 0:
        raise InvalidValue(f"{name} cannot be {value!r}: it is a duration of 0 or more (math.inf for never)")
    return seconds
