"""`Traffic`: how many copies run from and to each member, and which keys wait until there are fewer.

A member is at work for so many copies at a time, whichever side it is on. A key that finds its source or
every target busy waits here, and is looked at again when a copy ends: not at every event, or a cluster that
has lost a node would spend its time on looking.
"""

from __future__ import annotations

from collections import Counter, deque

from .model import MemberId

_ANY_TARGET = ""


class Traffic:
    """Copies under way. `most` at a time for a member, and `woken` keys looked at again when one ends."""

    def __init__(self, most: int, woken: int) -> None:
        self._most = most
        self._woken = woken
        self._from: Counter[MemberId] = Counter()
        self._to: Counter[MemberId] = Counter()
        self.busy_targets: set[MemberId] = set()
        """Members towards which no further copy may begin now."""
        self._waiting: dict[MemberId, deque[str]] = {}
        """Keys by the source that they wait for."""

    def __bool__(self) -> bool:
        """Whether a key waits."""
        return bool(self._waiting)

    def begin(self, source: MemberId, target: MemberId) -> None:
        """A copy is on its way."""
        self._from[source] += 1
        self._to[target] += 1
        if self._to[target] >= self._most:
            self.busy_targets.add(target)

    def end(self, source: MemberId, target: MemberId) -> list[str]:
        """A copy has ended, somehow. Returns keys that may go on."""
        self._to[target] -= 1
        self._from[source] -= 1
        if self._to[target] < self._most:
            self.busy_targets.discard(target)
        last_of_source, last = not self._from[source], not self._to[target]
        if last_of_source:
            del self._from[source]
        if last:
            del self._to[target]
        woken = self._wake(source, everyone=last_of_source)
        return woken + self._wake(_ANY_TARGET, everyone=not self._to)

    def is_busy_source(self, source: MemberId) -> bool:
        """Whether no further copy may begin from this member now."""
        return self._from[source] >= self._most

    def wait_for_source(self, key: str, source: MemberId) -> None:
        """Look at the key again when a copy from this member has ended."""
        self._waiting.setdefault(source, deque()).append(key)

    def wait_for_target(self, key: str) -> None:
        """Look at the key again when a copy has ended."""
        self.wait_for_source(key, _ANY_TARGET)

    def new_target(self) -> list[str]:
        """There is room now that was not there: keys that waited for a target may go on."""
        return self._wake(_ANY_TARGET, everyone=True)

    def _wake(self, source: MemberId, *, everyone: bool) -> list[str]:
        """`everyone` where no further copy will end here."""
        waiting = self._waiting.get(source)
        if waiting is None:
            return []
        woken = [
            waiting.popleft() for _ in range(len(waiting) if everyone else min(len(waiting), self._woken))
        ]
        if not waiting:
            del self._waiting[source]
        return woken
