"""The four states of an engram."""

from __future__ import annotations

import enum


class EngramType(enum.Enum):
    """What kind of memory a slot holds; the values are what `Engrams.engrams_types` stores.

    Examples:
        >>> EngramType(3)
        <EngramType.LONGTERM: 3>
    """

    NULL = 0
    """No engram: padding of a row that is shorter than the longest one."""
    WORKING = 1
    SHORTTERM = 2
    LONGTERM = 3
