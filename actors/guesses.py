"""`Guesses`: where a value probably is, before the coordinator has said so.

A reader asks the coordinator and the likely member at the same time, and believes the member only if the
coordinator then names exactly what it answered. So a wrong guess costs a call, and never a wrong value.
"""

from __future__ import annotations

import threading
from collections import OrderedDict

from ..tiers.record import Version
from .core.model import MemberId

Place = tuple[MemberId, int]
"""A member, in one life."""

KEYS_KEPT = 8192
LUCK_LOST = 0.1
"""The share by which one guess moves the luck of guesses about keys that were never read."""
LEAST_LUCK = 0.3
TRY_EVERY = 32
"""Out of luck, only one in so many reads of unknown keys guesses, to find out whether that has changed."""


class Guesses:
    """Remembers where keys were, and for others how often the place of the last read was right.
    Thread-safe."""

    def __init__(self) -> None:
        self._places: OrderedDict[str, tuple[Place, bool, Version | None]] = OrderedDict()
        """Where each key was, whether that member answers guesses about it, and the version, where it
        answers only who knows that."""
        self._last: Place | None = None
        self._luck = 1.0
        self._passed = 0
        self._lock = threading.Lock()

    def of(self, key: str) -> tuple[Place, Version | None] | None:
        """Where to look for a key, and for which version (None: for any); None where guessing would not
        pay."""
        with self._lock:
            known = self._places.get(key)
            if known is not None:
                place, answers, version = known
                return (place, version) if answers else None
            last = None if self._last is None else (self._last, None)
            if self._luck >= LEAST_LUCK:
                return last
            self._passed += 1
            return None if self._passed % TRY_EVERY else last

    def found(self, key: str, place: Place) -> None:
        """The coordinator has said where the key is."""
        with self._lock:
            known = self._places.pop(key, None)
            if known is None and self._last is not None:
                self._luck += LUCK_LOST * ((place == self._last) - self._luck)
            if known is None or known[0] != place:
                known = (place, True, None)
            self._places[key] = known
            self._last = place
            if len(self._places) > KEYS_KEPT:
                self._places.popitem(last=False)

    def unanswered(self, key: str) -> None:
        """The member has the key, but answers only who was sent to it: do not ask again while it is there."""
        with self._lock:
            known = self._places.get(key)
            if known is not None:
                self._places[key] = (known[0], False, None)

    def led_to_memory(self, key: str, version: Version) -> None:
        """The member has led to this version in shared memory, as it does for who asks for just that."""
        with self._lock:
            known = self._places.get(key)
            if known is not None:
                self._places[key] = (known[0], True, version)
