"""A tier against a dict: any sequence of operations, with time passing and eviction by the book."""

from __future__ import annotations

from typing import Any

import hypothesis.strategies as st
from hypothesis import settings
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, rule

from memories.errors import CapacityExceeded, KeyNotFound
from memories.tiers.memory_blobs import MemoryBlobs
from memories.tiers.tier import Tier
from tests.support.clock import ManualClock

CAPACITY_BYTES = 1_000
KEYS = st.sampled_from([f"k{i}" for i in range(6)])
SIZES = st.integers(0, 600)
PRIORITIES = st.sampled_from([-1.0, 0.0, 2.0])


class TierAgainstDict(RuleBasedStateMachine):
    """The model holds (value, priority, pinned, end, last use); its eviction is a plain sort."""

    keys = Bundle("keys")

    @initialize(evict=st.booleans())
    def open(self, evict: bool) -> None:
        self.clock = ManualClock()
        self.evict = evict
        self.tier = Tier(
            MemoryBlobs(),
            capacity_bytes=CAPACITY_BYTES,
            on_full="evict" if evict else "raise",
            clock=self.clock,
        )
        self.model: dict[str, dict[str, Any]] = {}
        self.uses = 0

    def _use(self) -> int:
        self.uses += 1
        return self.uses

    def _live(self) -> dict[str, dict[str, Any]]:
        self.model = {
            key: e for key, e in self.model.items() if e["end"] is None or self.clock.now_s < e["end"]
        }
        return self.model

    @rule(key=KEYS, size=SIZES, priority=PRIORITIES, pin=st.booleans(), ttl=st.none() | st.integers(1, 20))
    def store(self, key: str, size: int, priority: float, pin: bool, ttl: int | None) -> None:
        value = bytes([self.uses % 256]) * size
        model = self._live()
        nbytes = _size(value)
        used = sum(e["nbytes"] for name, e in model.items() if name != key)
        over = used + nbytes - CAPACITY_BYTES
        victims: list[str] = []
        if over > 0 and nbytes <= CAPACITY_BYTES and self.evict:
            for name in sorted(model, key=lambda name: (model[name]["priority"], model[name]["use"])):
                entry = model[name]
                if over > 0 and name != key and not entry["pinned"] and entry["priority"] <= priority:
                    victims.append(name)
                    over -= entry["nbytes"]
        try:
            self.tier.store(key, value, priority=priority, pin=pin, ttl=ttl)
        except CapacityExceeded:
            assert over > 0
            return
        assert over <= 0
        for name in victims:
            del model[name]
        model[key] = {
            "value": value,
            "nbytes": nbytes,
            "priority": priority,
            "pinned": pin,
            "end": None if ttl is None else self.clock.now_s + ttl,
            "use": self._use(),
        }

    @rule(key=KEYS)
    def retrieve(self, key: str) -> None:
        entry = self._live().get(key)
        try:
            value = self.tier.retrieve(key)
        except KeyNotFound:
            assert entry is None
        else:
            assert entry is not None
            assert value == entry["value"]
            entry["use"] = self._use()

    @rule(key=KEYS)
    def delete(self, key: str) -> None:
        assert self.tier.delete(key) == (self._live().pop(key, None) is not None)

    @rule(key=KEYS, pin=st.booleans())
    def pin(self, key: str, pin: bool) -> None:
        if key in self._live():
            (self.tier.pin if pin else self.tier.unpin)(key)
            self.model[key]["pinned"] = pin
            # A record that changes is entered into the order again, as used now.
            self.model[key]["use"] = self._use()

    @rule(seconds=st.integers(1, 15))
    def wait(self, seconds: int) -> None:
        self.clock.advance(seconds)

    @rule()
    def clear(self) -> None:
        self.tier.clear()
        self.model.clear()

    @invariant()
    def same_keys_and_bytes(self) -> None:
        model = self._live()
        assert sorted(self.tier.keys()) == sorted(model)
        assert len(self.tier) == len(model)
        assert self.tier.used_bytes == sum(e["nbytes"] for e in model.values()) <= CAPACITY_BYTES


def _size(value: bytes) -> int:
    scratch = Tier(MemoryBlobs())
    scratch.store("key", value)
    return scratch.used_bytes


TierAgainstDict.TestCase.settings = settings(max_examples=30, stateful_step_count=40, deadline=None)
TestTierAgainstDict = TierAgainstDict.TestCase
