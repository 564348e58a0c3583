"""`Course`: figures over the last minutes, one point a snapshot, in bounded memory."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from ..actors.status import Snapshot

KEPT_POINTS = 900
"""A quarter of an hour at one snapshot a second."""
DRAWN_POINTS = 180
HIT_RATE_SPAN_S = 10.0
"""Shares of the few reads of one second say little."""


@dataclass(frozen=True, slots=True)
class _Reads:
    """How many keys had been found, and where, at a time; counted since the coordinator started."""

    taken_s: float
    started_s: float
    found: Mapping[str, int]
    total: int


class Course:
    """Series by name, such as ``tier/hot``; not thread-safe."""

    def __init__(self, kept: int = KEPT_POINTS) -> None:
        self._points: deque[tuple[float, dict[str, float]]] = deque(maxlen=kept)
        self._reads: deque[_Reads] = deque(maxlen=KEPT_POINTS)  # however clocks go
        self._hits: dict[str, float] = {}

    def add(self, snapshot: Snapshot) -> None:
        """Take the figures of a snapshot."""
        self._points.append((snapshot.taken_s, dict(self._figures(snapshot))))

    def series(self, prefix: str) -> list[tuple[float, str, float]]:
        """Points (time, name without the prefix, value) of all series that begin so; where there are too
        many to draw, evenly chosen ones, the last among them."""
        stride = -(-len(self._points) // DRAWN_POINTS) or 1
        chosen = list(self._points)[::-stride][::-1]
        return [
            (at_s, name[len(prefix) :], value)
            for at_s, figures in chosen
            for name, value in figures.items()
            if name.startswith(prefix)
        ]

    def __len__(self) -> int:
        return len(self._points)

    def _figures(self, snapshot: Snapshot) -> Iterator[tuple[str, float]]:
        for tier, (used, capacity) in snapshot.tier_totals().items():
            yield f"bytes/{tier}", used
            if capacity:
                yield f"usage/{tier}", 100.0 * used / capacity
        yield from self._hit_rates(snapshot)
        for node in snapshot.nodes:
            if node.memory_total_bytes and node.online:
                yield f"memory/{node.name}", 100.0 * node.memory_used_bytes / node.memory_total_bytes
        for buffer in snapshot.replay:
            yield f"rows/{buffer.name}", buffer.rows
            yield f"inserts/{buffer.name}", buffer.inserts_per_s
            yield f"samples/{buffer.name}", buffer.samples_per_s
        for network in snapshot.memoria:
            for session in network.sessions:
                name = f"{network.name}/{session.session}"
                yield f"engrams/{name}/working", session.working
                yield f"engrams/{name}/short-term", session.shortterm
                yield f"engrams/{name}/long-term", session.longterm

    def _hit_rates(self, snapshot: Snapshot) -> Iterator[tuple[str, float]]:
        """Percent of the reads of the last seconds that each tier served; as before where nobody read."""
        reads = snapshot.reads
        if self._reads and self._reads[0].started_s != snapshot.started_s:
            self._reads.clear()  # another coordinator counts from 0
        self._reads.append(_Reads(snapshot.taken_s, snapshot.started_s, dict(reads.found), reads.total))
        while len(self._reads) > 2 and self._reads[1].taken_s <= snapshot.taken_s - HIT_RATE_SPAN_S:
            self._reads.popleft()
        before = self._reads[0]
        asked = reads.total - before.total
        if asked > 0:
            self._hits = {
                tier: 100.0 * (found - before.found.get(tier, 0)) / asked
                for tier, found in reads.found.items()
            }
        for tier, share in self._hits.items():
            yield f"hits/{tier}", share
