"""`Predictor`: fetches ahead what will be read next, within a budget, and only while that pays."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from typing import Final

from ..errors import InvalidValue
from .access_patterns import AccessPattern, NumberedKeys, Successors

_MEMORY: Final = 1 - 1 / 64  # what an outcome still counts after 64 others: a third
_LEAST_OUTCOMES: Final = 8
_ON_ABOVE: Final = 0.6
_OFF_BELOW: Final = 0.4


@dataclass(frozen=True, slots=True)
class PredictorStats:
    """What fetching ahead has cost and brought. ``is_on`` names the patterns that are trusted now."""

    fetched_bytes: int
    used_bytes: int
    wasted_bytes: int
    pending_bytes: int
    is_on: tuple[str, ...]


class _Trust:
    """How many of the expected bytes were read soon after, judged whether or not they were fetched."""

    def __init__(self) -> None:
        self.is_on = False
        self._right_bytes = 0.0
        self._all_bytes = 0.0
        self._outcomes = 0

    def judge(self, nbytes: int, was_right: bool) -> None:
        weight = max(nbytes, 1)
        self._right_bytes = self._right_bytes * _MEMORY + (weight if was_right else 0)
        self._all_bytes = self._all_bytes * _MEMORY + weight
        self._outcomes += 1
        share = self._right_bytes / self._all_bytes
        if self._outcomes >= _LEAST_OUTCOMES and share > _ON_ABOVE:
            self.is_on = True
        elif share < _OFF_BELOW:
            self.is_on = False


@dataclass(slots=True)
class _Expected:
    nbytes: int
    pattern: str
    deadline: int
    is_fetched: bool


class Predictor:
    """Watches reads and says what to fetch into the faster tier.

    Each pattern (numbered keys, successors) expects keys all the time, and is judged by how many of the
    bytes that it expects are read within the next reads. Only a pattern that is right about most of them
    is believed; so a random trace fetches next to nothing, and a pattern that ends is dropped within some
    tens of reads. Fetched bytes that wait to be read never exceed ``budget_bytes``.

    Pure, O(``depth``) a read, in bounded memory. Not thread-safe.
    """

    def __init__(self, budget_bytes: int, depth: int = 4, patience: int = 32) -> None:
        """``depth``: how many keys ahead; ``patience``: an expected key that is not among the next so many
        reads was expected in vain."""
        if budget_bytes < 0 or depth < 1 or patience < depth:
            raise InvalidValue(
                f"a predictor needs budget_bytes >= 0, depth >= 1 and patience >= depth, "
                f"not {budget_bytes}, {depth} and {patience}"
            )
        self.budget_bytes = budget_bytes
        self._depth = depth
        self._patience = patience
        self._patterns: dict[str, AccessPattern] = {"numbered": NumberedKeys(), "successors": Successors()}
        self._trust = {name: _Trust() for name in self._patterns}
        self._expected: OrderedDict[str, _Expected] = OrderedDict()  # in the order of their deadlines
        self._reads = 0
        self._fetched_bytes = 0
        self._used_bytes = 0
        self._wasted_bytes = 0
        self._pending_bytes = 0

    def on_access(self, key: str, bytes_to_fetch: Callable[[str], int | None], reader: str = "") -> list[str]:
        """A reader has read ``key``; returns the keys to fetch now, the most urgent first.

        ``bytes_to_fetch`` tells the size of a key that is stored in a slower tier, and None for one that
        is in place already or does not exist. Readers are told apart, so that the reads of several do not
        look like one jumble.
        """
        self._reads += 1
        self._arrive(key)
        self._expire()
        wanted: list[str] = []
        for name, pattern in self._patterns.items():
            pattern.learn(reader, key)
            for expected in islice(pattern.expect(reader, key), self._depth):
                known = self._expected.get(expected)
                if known is not None and (known.is_fetched or not self._trust[name].is_on):
                    continue
                nbytes = bytes_to_fetch(expected)
                if nbytes is not None:
                    self._expect(expected, nbytes, name, wanted)
        return wanted

    def on_failed(self, key: str) -> None:
        """A key that should have been fetched was not, or left again unread: its bytes are free again."""
        expected = self._expected.get(key)
        if expected is not None and expected.is_fetched:
            expected.is_fetched = False
            self._pending_bytes -= expected.nbytes
            self._wasted_bytes += expected.nbytes

    @property
    def stats(self) -> PredictorStats:
        return PredictorStats(
            fetched_bytes=self._fetched_bytes,
            used_bytes=self._used_bytes,
            wasted_bytes=self._wasted_bytes,
            pending_bytes=self._pending_bytes,
            is_on=tuple(name for name, trust in self._trust.items() if trust.is_on),
        )

    def _expect(self, key: str, nbytes: int, pattern: str, wanted: list[str]) -> None:
        fits = self._pending_bytes + nbytes <= self.budget_bytes
        fetches = self._trust[pattern].is_on and fits
        known = self._expected.get(key)
        if known is None:
            self._expected[key] = _Expected(nbytes, pattern, self._reads + self._patience, fetches)
        elif fetches:
            # Expected before, when it was not believed: the deadline stays, and the judgement with it.
            known.is_fetched = True
            known.nbytes = nbytes
        if fetches:
            self._pending_bytes += nbytes
            self._fetched_bytes += nbytes
            wanted.append(key)

    def _arrive(self, key: str) -> None:
        expected = self._expected.pop(key, None)
        if expected is not None:
            self._trust[expected.pattern].judge(expected.nbytes, was_right=True)
            if expected.is_fetched:
                self._pending_bytes -= expected.nbytes
                self._used_bytes += expected.nbytes

    def _expire(self) -> None:
        while self._expected:
            key, expected = next(iter(self._expected.items()))
            if expected.deadline > self._reads:
                break
            del self._expected[key]
            self._trust[expected.pattern].judge(expected.nbytes, was_right=False)
            if expected.is_fetched:
                self._pending_bytes -= expected.nbytes
                self._wasted_bytes += expected.nbytes
