"""What shards and networks report, put together to what the `Snapshot` says of buffers and networks."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from .reports import Histogram, MemoriaReport, ShardReport
from .status import MemoriaStatus, ReplayStatus, ShardStatus

RATE_WINDOW_S = 10.0


class Rates:
    """How fast the counts of each buffer have grown in the last seconds. Not thread-safe."""

    def __init__(self) -> None:
        self._points: dict[str, deque[tuple[float, int, int]]] = {}

    def note(self, name: str, now_s: float, inserted: int, sampled: int) -> tuple[float, float]:
        """Take the counts of a buffer; rows inserted and sampled a second. 0.0 where a count fell: a shard
        has started anew, and a rate would mean nothing."""
        points = self._points.setdefault(name, deque())
        if points and (inserted < points[-1][1] or sampled < points[-1][2]):
            points.clear()
        if not points or now_s > points[-1][0]:
            points.append((now_s, inserted, sampled))
        while len(points) > 2 and points[1][0] <= now_s - RATE_WINDOW_S:
            points.popleft()
        seconds = points[-1][0] - points[0][0]
        if seconds <= 0:
            return 0.0, 0.0
        return (inserted - points[0][1]) / seconds, (sampled - points[0][2]) / seconds

    def keep(self, names: Iterable[str]) -> None:
        """Forget all buffers but these: the others are gone."""
        kept = set(names)
        self._points = {name: points for name, points in self._points.items() if name in kept}


def replay_statuses(
    reports: Iterable[tuple[ShardReport, float]], rates: Rates, now_s: float
) -> tuple[ReplayStatus, ...]:
    """One status a buffer, from the reports of its primaries and backups with their ages."""
    buffers: dict[str, dict[int, list[tuple[ShardReport, float]]]] = {}
    for report, age_s in reports:
        if report.role == "none":
            continue  # it belongs to no view (any more)
        buffers.setdefault(report.buffer, {}).setdefault(report.shard, []).append((report, age_s))
    rates.keep(buffers)
    return tuple(_buffer(name, shards, rates, now_s) for name, shards in sorted(buffers.items()))


def memoria_statuses(reports: Iterable[tuple[MemoriaReport, float]]) -> tuple[MemoriaStatus, ...]:
    """One status a network."""
    found = [MemoriaStatus(r.name, r.node, r.device, r.sessions, age_s) for r, age_s in reports]
    return tuple(sorted(found, key=lambda status: status.name))


def _buffer(
    name: str, shards: dict[int, list[tuple[ShardReport, float]]], rates: Rates, now_s: float
) -> ReplayStatus:
    found = [(number, *_copies(copies)) for number, copies in sorted(shards.items())]
    reports = [primary for _, (primary, _), _ in found]
    ages = [age_s for _, (_, age_s), _ in found]
    inserted, sampled = sum(r.inserted for r in reports), sum(r.sampled for r in reports)
    heard_s = now_s - min(ages)
    inserts_per_s, samples_per_s = rates.note(name, heard_s, inserted, sampled)
    return ReplayStatus(
        name=name,
        kind=reports[0].kind,
        rows=sum(r.rows for r in reports),
        capacity=sum(r.capacity for r in reports),
        nbytes=sum(r.nbytes for r in reports),
        capacity_bytes=sum(r.capacity_bytes for r in reports),
        inserted=inserted,
        sampled=sampled,
        inserts_per_s=inserts_per_s,
        samples_per_s=samples_per_s,
        updated=sum(r.updated for r in reports),
        stale_updates=sum(r.stale_updates for r in reports),
        repeated=sum(r.repeated for r in reports),
        waiting_writers=sum(r.waiting_writers for r in reports),
        waiting_samplers=sum(r.waiting_samplers for r in reports),
        limiter=reports[0].limiter,
        priorities=Histogram.sum(r.priorities for r in reports),
        row_ages=Histogram.sum(r.row_ages for r in reports),
        draw_ages=Histogram.sum(r.draw_ages for r in reports),
        shards=tuple(_shard(number, *primary, backup) for number, primary, backup in found),
        age_s=max(ages),
    )


def _copies(
    copies: list[tuple[ShardReport, float]],
) -> tuple[tuple[ShardReport, float], ShardReport | None]:
    """The primary of the newest view, and the backup of the newest view. While a shard changes hands there
    may be none: then the copy with the newest view stands for it."""
    newest = sorted(copies, key=lambda copy: (copy[0].view, -copy[1]), reverse=True)
    primary = next((copy for copy in newest if copy[0].role == "primary"), newest[0])
    backup = next((r for r, _ in newest if r.role == "backup" and r is not primary[0]), None)
    return primary, backup


def _shard(number: int, primary: ShardReport, age_s: float, backup: ShardReport | None) -> ShardStatus:
    return ShardStatus(
        shard=number,
        node=primary.node if primary.role == "primary" else "",
        backup_node="" if backup is None else backup.node,
        view=primary.view,
        in_sync=primary.in_sync and (backup is None or backup.in_sync),
        solo=primary.solo,
        rows=primary.rows,
        nbytes=primary.nbytes,
        lag_rows=primary.lag_rows,
        age_s=age_s,
    )
