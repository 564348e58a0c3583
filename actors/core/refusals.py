"""`Refusals`: background copies that did not succeed wait, ever longer, and then go another way."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from .model import MemberId, Outcome

FIRST_PAUSE_S = 0.25
MAX_PAUSE_S = 8.0


@dataclass(slots=True)
class Refusal:
    """What is remembered of one key, until a copy of it succeeds."""

    times: int = 0
    due_s: float = 0.0
    bad_sources: set[MemberId] = field(default_factory=set)
    bad_targets: set[MemberId] = field(default_factory=set)


class Refusals:
    """Refusals by key. Not thread-safe."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._refusals: dict[str, Refusal] = {}

    def __bool__(self) -> bool:
        return bool(self._refusals)

    def add(self, key: str, source: MemberId, target: MemberId, outcome: Outcome) -> None:
        """A copy failed: by the target where it has no room or its medium fails, else by the source."""
        refusal = self._refusals.setdefault(key, Refusal())
        refusal.due_s = self._clock() + min(FIRST_PAUSE_S * 2.0 ** min(refusal.times, 10), MAX_PAUSE_S)
        refusal.times += 1
        if outcome in (Outcome.FULL, Outcome.ERROR):
            refusal.bad_targets.add(target)
        else:
            refusal.bad_sources.add(source)

    def forget(self, key: str) -> None:
        """A copy succeeded, or none is wanted any more."""
        self._refusals.pop(key, None)

    def is_resting(self, key: str) -> bool:
        """Whether the key is not to be copied yet."""
        refusal = self._refusals.get(key)
        return refusal is not None and self._clock() < refusal.due_s

    def due(self) -> list[str]:
        """Keys that have waited long enough; each is returned until it is refused again or forgotten."""
        now = self._clock()
        return [key for key, refusal in self._refusals.items() if refusal.due_s <= now]

    def source(self, key: str, holders: Sequence[MemberId]) -> MemberId:
        """From where to copy: one that did not fail before, where there is one."""
        return self._fresh(holders, self._refusals[key].bad_sources) if key in self._refusals else holders[0]

    def bad_targets(self, key: str) -> set[MemberId]:
        """Who refused the key before."""
        return self._refusals[key].bad_targets if key in self._refusals else set()

    def _fresh(self, members: Sequence[MemberId], bad: set[MemberId]) -> MemberId:
        for member in members:
            if member not in bad:
                return member
        bad.clear()  # all have failed once: they may have recovered
        return members[0]
