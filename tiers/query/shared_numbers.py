"""One object for each row number and code, shared by all dictionaries that hold them as values.

An int beyond 256 is an object of 32 bytes, and a dictionary keeps its own unless it is given this one. With
a million keys and two fields of distinct text that is 64 megabytes.
"""

from __future__ import annotations

import threading

_numbers: list[int] = list(range(257))
_growing = threading.Lock()


def shared_number(number: int) -> int:
    """``number`` itself, always as the same object; for row numbers and codes, which are not negative.
    Thread-safe."""
    try:
        return _numbers[number]
    except IndexError:
        with _growing:
            known = len(_numbers)
            if number >= known:
                _numbers.extend(range(known, number + 1 + known // 8))
        return _numbers[number]
