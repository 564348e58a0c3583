"""`Course`: figures over the last minutes, one point a snapshot, in bounded memory."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

from ..actors.status import Snapshot

KEPT_POINTS = 900
"""A quarter of an hour at one snapshot a second."""
DRAWN_POINTS = 180


class Course:
    """Series by name, such as ``tier/hot``; not thread-safe."""

    def __init__(self, kept: int = KEPT_POINTS) -> None:
        self._points: deque[tuple[float, dict[str, float]]] = deque(maxlen=kept)
        self._reads: tuple[float, dict[str, int], int] | None = None
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
        """Percent of the reads since the last snapshot that each tier served; as before where nobody read."""
        reads, before = snapshot.reads, self._reads
        self._reads = (snapshot.started_s, dict(reads.found), reads.total)
        if before is not None and before[0] == snapshot.started_s and reads.total > before[2]:
            asked = reads.total - before[2]
            self._hits = {
                tier: 100.0 * (found - before[1].get(tier, 0)) / asked for tier, found in reads.found.items()
            }
        for tier, share in self._hits.items():
            yield f"hits/{tier}", share
