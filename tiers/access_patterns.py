"""Two patterns that reads follow: numbered keys in steps, and one key after another as before.

A pattern learns from each read and names what it expects next. Whether that is worth anything is not its
business (see `predictor`).
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Iterator
from typing import Final, Protocol

_LAST_NUMBER: Final = re.compile(r"(\d{1,18})(\D*)\Z", re.ASCII)
_MOST_CONFIDENCE: Final = 3


class AccessPattern(Protocol):
    """Learns the order of reads of each reader."""

    def learn(self, reader: str, key: str) -> None:
        """The reader has read the key."""

    def expect(self, reader: str, key: str) -> Iterator[str]:
        """What the reader, who has just read ``key``, will read next, the nearest first; perhaps endless."""


class NumberedKeys:
    """``part-0007`` after ``part-0006`` after ``part-0005``: the last number in a key moves by equal steps.

    Works on the first pass already. Remembers the ``most_series`` last series of readers and names.
    """

    def __init__(self, most_series: int = 4096) -> None:
        self._most_series = most_series
        self._series: OrderedDict[tuple[str, str, str], tuple[int, int, bool]] = OrderedDict()

    def learn(self, reader: str, key: str) -> None:
        found = _LAST_NUMBER.search(key)
        if found is None:
            return
        name = (reader, key[: found.start()], found[2])
        number = int(found[1])
        last, step, _ = self._series.pop(name, (number, 0, False))
        moved = number - last
        self._series[name] = (number, moved, moved == step != 0)
        if len(self._series) > self._most_series:
            self._series.popitem(last=False)

    def expect(self, reader: str, key: str) -> Iterator[str]:
        found = _LAST_NUMBER.search(key)
        if found is None:
            return
        prefix, digits, suffix = key[: found.start()], found[1], found[2]
        number, step, is_steady = self._series.get((reader, prefix, suffix), (0, 0, False))
        width = len(digits) if digits[0] == "0" else 0  # 007 is padded; of 10 nobody can know
        while is_steady and (number := number + step) >= 0:
            yield f"{prefix}{number:0{width}}{suffix}"


class Successors:
    """What followed a key the last time follows it again. Remembers ``most_keys`` keys, the last read ones.

    A successor that was right several times survives as many exceptions.
    """

    def __init__(self, most_keys: int = 65_536, most_readers: int = 1024) -> None:
        self._most_keys = most_keys
        self._most_readers = most_readers
        self._next: OrderedDict[str, tuple[str, int]] = OrderedDict()  # key -> successor, confidence
        self._last_of: OrderedDict[str, str] = OrderedDict()

    def learn(self, reader: str, key: str) -> None:
        before = self._last_of.pop(reader, None)
        self._last_of[reader] = key
        if len(self._last_of) > self._most_readers:
            self._last_of.popitem(last=False)
        if before is None or before == key:
            return
        successor, confidence = self._next.pop(before, (key, -1))
        if successor == key:
            confidence = min(confidence + 1, _MOST_CONFIDENCE)
        elif confidence > 0:
            confidence -= 1
        else:
            successor, confidence = key, 0
        self._next[before] = (successor, confidence)
        if len(self._next) > self._most_keys:
            self._next.popitem(last=False)

    def expect(self, reader: str, key: str) -> Iterator[str]:
        seen = {key}
        while (known := self._next.get(key)) is not None and known[0] not in seen:
            key = known[0]
            seen.add(key)
            yield key
