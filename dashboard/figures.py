"""How figures are written: few digits, a unit, and the same everywhere."""

from __future__ import annotations

import time

BYTE_UNITS = (("TB", 10**12), ("GB", 10**9), ("MB", 10**6), ("kB", 10**3))
COUNT_UNITS = (("G", 10**9), ("M", 10**6), ("k", 10**3))
EXACT_BELOW = 9_999.5
UNLIMITED_BYTES = 1 << 60
NOTHING = "-"
INTERNAL = "\x00"


def size(nbytes: float) -> str:
    """Bytes in units of powers of ten: "1.5 GB", "340 kB", "12 B"."""
    for unit, factor in BYTE_UNITS:
        if nbytes >= _least(factor):
            return f"{_digits(nbytes / factor)} {unit}"
    return f"{nbytes:.0f} B"


def budget(nbytes: int) -> str:
    """A capacity in bytes; what is as good as unlimited says so."""
    return "no limit" if nbytes >= UNLIMITED_BYTES else size(nbytes)


def count(number: float) -> str:
    """A whole number, exact below ten thousand: "9,999", "12.3 k", "1.2 M"."""
    if number < EXACT_BELOW:
        return f"{number:,.0f}"
    for unit, factor in COUNT_UNITS:
        if number >= _least(factor):
            return f"{_digits(number / factor)} {unit}"
    raise AssertionError(number)


def rate(number: float) -> str:
    """How much a second."""
    return f"{_digits(number)}/s" if number < EXACT_BELOW else f"{count(number)}/s"


def percent(share: float) -> str:
    """Of a share between 0 and 1; "100%" is all of it, no less."""
    if 0.995 <= share < 1:
        return f"{min(99.9, 100 * share):.1f}%"
    return f"{100 * share:.1f}%" if share < 0.0995 else f"{100 * share:.0f}%"


def age(seconds: float) -> str:
    """A span of time: "0.4 s", "12 s", "3 min", "2.5 h"."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    if seconds < 120:
        return f"{seconds:.0f} s"
    if seconds < 7200:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"


def clock(at_s: float) -> str:
    """The time of day."""
    return time.strftime("%H:%M:%S", time.localtime(at_s))


def key_name(key: str) -> str:
    """A key for the eye: our own, which begin with a zero byte, are marked."""
    return f"(internal) {key[1:]}" if key.startswith(INTERNAL) else key


def member_name(member: str, nodes: dict[str, str]) -> str:
    """A tier on a node, by the node's name: "worker1/warm"; disks by the start of their number."""
    place, _, tier = member.rpartition("/")
    if place in nodes:
        return f"{nodes[place]}/{tier}"
    if place.startswith("disk-"):
        return f"{place[:13]}/{tier}"
    return member


def _least(factor: int) -> float:
    """From here on three digits in this unit: less is not rounded up to "1000" of the unit below."""
    return factor - factor / 2000


def _digits(number: float) -> str:
    """Three that count."""
    if number >= 99.95:
        return f"{number:.0f}"
    if number >= 9.995:
        return f"{number:.1f}"
    return f"{number:.2f}".rstrip("0").rstrip(".") if number else "0"
