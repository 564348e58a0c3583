"""Makes a `Snapshot` of what the coordinator knows, without asking anybody."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import replace

from .. import __version__
from .activity import SHOWN_KEYS, Activity, tier_of_name
from .advice import advise
from .core.coordinator import CoordinatorCore
from .core.model import TIER_ORDER, Kind
from .heartbeat import Heartbeat
from .large_keys import LargeKeys
from .nodes import NodeWatch
from .observer import Observer
from .reports import MemoriaReport, ShardReport
from .status import EventStatus, FlowStatus, KeyStatus, LoopStatus, ReadStatus, Snapshot, TierStatus
from .summaries import Rates, memoria_statuses, replay_statuses

SHOWN = 10
"""Keys in the lists of the largest and the hottest."""


class SnapshotMaker:
    """Puts together what the parts of a coordinator know. Belongs to its event loop; not thread-safe."""

    def __init__(
        self,
        cluster: str,
        core: CoordinatorCore,
        watch: NodeWatch,
        activity: Activity,
        observer: Observer,
        heartbeats: Iterable[Heartbeat],
    ) -> None:
        self._cluster = cluster
        self._core = core
        self._watch = watch
        self._activity = activity
        self._observer = observer
        self._heartbeats = (*heartbeats, observer.heartbeat)
        self._large_keys = LargeKeys(core.catalog)
        self._rates = Rates()

    def take(self) -> Snapshot:
        """One picture. Cost: a few microseconds a member, about a millisecond for the lists of keys."""
        core, activity = self._core, self._activity
        self._large_keys.look()
        tiers = self._tiers()
        tier_of = {tier.member: tier.tier for tier in tiers}
        reports = self._observer.reports()
        shards = [(report, age_s) for report, age_s in reports if isinstance(report, ShardReport)]
        networks = [(report, age_s) for report, age_s in reports if isinstance(report, MemoriaReport)]
        hottest = activity.hot_keys.hottest(2 * SHOWN)
        snapshot = Snapshot(
            cluster=self._cluster,
            taken_s=time.time(),
            nodes=self._watch.hosts.statuses(tiers, self._observer.object_stores),
            tiers=tiers,
            loops=tuple(
                LoopStatus(h.name, h.rounds, h.failures, h.last_good_s, h.last_error)
                for h in self._heartbeats
            ),
            keys=len(core.catalog.entries),
            counts=dict(activity.counts),
            version=__version__,
            phase=core.phase.name.lower(),
            epoch=core.membership.epoch,
            started_s=activity.started_s,
            starving=len(core.transfers.starving),
            copying=len(core.transfers.copying),
            away=tuple(sorted(member for member, held in core.doubts.dark.items() if held is None or held)),
            unstarted=self._watch.unstarted(),
            reads=ReadStatus(activity.found_by_tier(tier_of), activity.missed),
            flows=self._flows(),
            largest=self._keys([(key, 0) for key in self._large_keys.largest(SHOWN)]),
            hottest=self._keys(hottest)[:SHOWN],
            replay=replay_statuses(shards, self._rates, time.monotonic()),
            memoria=memoria_statuses(networks),
            events=tuple(
                EventStatus(a.number, a.at_s, a.what, a.member, len(a.keys), a.keys[:SHOWN_KEYS])
                for a in activity.newest()
            ),
        )
        return replace(snapshot, advice=advise(snapshot))

    def _tiers(self) -> tuple[TierStatus, ...]:
        catalog = self._core.catalog
        found = []
        for info in self._core.placement.ready.values():
            report = self._watch.hosts.member_report(info.node, info.member)
            found.append(
                TierStatus(
                    member=info.member,
                    tier=info.tier,
                    node=info.node,
                    keys=len(catalog.keys_at.get(info.member, ())),
                    used_bytes=catalog.used_bytes.get(info.member, 0),
                    capacity_bytes=info.capacity_bytes,
                    durable=info.durable,
                    reads=report.reads if report else 0,
                    writes=report.writes if report else 0,
                )
            )
        return tuple(found)

    def _flows(self) -> tuple[FlowStatus, ...]:
        totals: dict[tuple[str, str, str], tuple[int, int]] = {}
        for (source, target, what), (keys, nbytes) in self._activity.flows.items():
            route = (tier_of_name(source), tier_of_name(target), what)
            before = totals.get(route, (0, 0))
            totals[route] = (before[0] + keys, before[1] + nbytes)
        return tuple(FlowStatus(*route, *amounts) for route, amounts in sorted(totals.items()))

    def _keys(self, counted: Iterable[tuple[str, int]]) -> tuple[KeyStatus, ...]:
        """Those of the keys that have a value now."""
        found = []
        ready = self._core.placement.ready
        for key, reads in counted:
            entry = self._core.catalog.entries.get(key)
            if entry is None or entry.kind is not Kind.VALUE:
                continue
            holders = [ready[member] for member in entry.holders if member in ready]
            if not holders:
                continue
            tier = min((info.tier for info in holders), key=TIER_ORDER.index)
            copies = len({info.node for info in holders})
            found.append(KeyStatus(key, tier, entry.nbytes, copies, reads, entry.pinned, entry.priority))
        return tuple(found)
