"""What the coordinator notes of itself and of others, without Ray."""

from __future__ import annotations

import re
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from memories.actors import host
from memories.actors.activity import EVENTS_KEPT, Activity
from memories.actors.advice import advise
from memories.actors.core.catalog import Catalog, Entry
from memories.actors.core.commands import Announce, Located
from memories.actors.core.model import Kind, MemberInfo, Outcome, StoreOptions, Version
from memories.actors.hosts import FORGET_S, Hosts
from memories.actors.hot_keys import HALF_LIFE_S, MOST_KEYS, HotKeys
from memories.actors.large_keys import ENTRIES_A_LOOK, LargeKeys
from memories.actors.reports import HostReport, MemoriaReport, ShardReport
from memories.actors.status import (
    LoopStatus,
    MemoriaStatus,
    NodeStatus,
    ReplayStatus,
    ShardStatus,
    Snapshot,
    TierStatus,
    UnstartedTier,
)
from memories.actors.summaries import Rates, memoria_statuses, replay_statuses
from memories.tiers.machine import ram_bytes, ram_used_bytes


class Clock:
    """Goes only when told."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


def test_reads_are_counted_where_the_nearest_copy_is() -> None:
    activity = Activity()
    hot = Located(Outcome.OK, members=(("n1/hot0", 1), ("n1/cold", 1)))
    activity.located(["a", "b", "c", "d"], [hot, hot, Located(Outcome.MISSING), Located(Outcome.UNAVAILABLE)])
    activity.located(["e"], [Located(Outcome.OK, members=(("disk-7/cold", 1),))])
    assert activity.found_by_tier({"n1/hot0": "hot"}) == {"hot": 2, "cold": 1}
    assert activity.missed == 1


def test_flows_are_counted_by_route_and_events_are_bounded() -> None:
    activity = Activity()
    activity.announce(Announce("moved", "n/warm", ("a", "b"), "n/hot0", 30))
    activity.announce(Announce("moved", "n/warm", ("c",), "n/hot0", 5))
    activity.announce(Announce("joined", "n/warm"))
    assert activity.flows == {("n/hot0", "n/warm", "moved"): (3, 35)}
    assert activity.counts == {"moved": 3, "joined": 1}
    assert [event.what for event in activity.newest()] == ["joined", "moved", "moved"]
    for _ in range(2 * EVENTS_KEPT):
        activity.announce(Announce("lost", "", ("x",)))
    assert len(activity.announcements) == EVENTS_KEPT
    assert activity.newest()[0].number == 3 + 2 * EVENTS_KEPT


def test_the_hottest_keys_are_found_in_bounded_memory_and_fade() -> None:
    clock = Clock()
    hot = HotKeys(clock)
    for number in range(5 * MOST_KEYS):
        hot.read([f"once{number}"])
        if number % 50 == 0:
            hot.read(["often"])
    hot.read([f"batch{i}" for i in range(10_000)])  # one large request does not push others out
    assert len(hot._counts) <= MOST_KEYS
    (first, count), *_ = [item for item in hot.hottest(100) if not item[0].startswith("batch")]
    assert (first, count) == ("often", 5 * MOST_KEYS // 50 + 1)
    clock.now_s += HALF_LIFE_S
    assert dict(hot.hottest(50))["often"] == pytest.approx(count / 2, abs=1)
    clock.now_s += 20 * HALF_LIFE_S
    hot.read(["new"])
    assert hot.hottest(5) == [("new", 1)]


def entry(nbytes: int, kind: Kind = Kind.VALUE) -> Entry:
    return Entry(Version(1, 1), kind, nbytes, (), StoreOptions())


def test_the_largest_keys_are_found_in_rounds_and_exactly_at_once_in_a_small_catalog() -> None:
    catalog = Catalog()
    large = LargeKeys(catalog)
    catalog.put("a", entry(5), (), ())
    catalog.put("b", entry(7), (), ())
    catalog.put("gone", entry(99, Kind.TOMBSTONE), (), ())
    large.look()
    assert large.largest(5) == ["b", "a"]
    catalog.remove("b")
    assert large.largest(5) == ["a"]
    for number in range(3 * ENTRIES_A_LOOK):
        catalog.put(f"k{number}", entry(10 + number), (), ())
    for _ in range(5):
        large.look()
    assert large.largest(3) == [f"k{3 * ENTRIES_A_LOOK - 1 - i}" for i in range(3)]


def shard(number: int, role: str, **more: Any) -> ShardReport:
    return ShardReport(buffer="pong", shard=number, role=role, **{"node": f"n{number}", "view": 1, **more})


def test_a_buffer_is_what_its_primaries_say() -> None:
    rates = Rates()
    first = [
        (shard(0, "primary", rows=10, capacity=20, inserted=100, sampled=400), 0.5),
        (shard(0, "backup", rows=9, node="n9"), 0.1),
        (shard(0, "primary", rows=77, node="old", view=0), 60.0),
        (shard(1, "primary", rows=5, capacity=20, inserted=50, sampled=100, lag_rows=3, in_sync=False), 2.0),
    ]
    (status,) = replay_statuses(first, rates, 100.0)
    assert (status.rows, status.capacity, status.inserted, status.sampled) == (15, 40, 150, 500)
    assert (status.age_s, status.inserts_per_s) == (2.0, 0.0)
    assert [(s.node, s.backup_node, s.in_sync, s.lag_rows) for s in status.shards] == [
        ("n0", "n9", True, 0),
        ("n1", "", False, 3),
    ]
    later = [(replace(r, inserted=r.inserted + 20, sampled=r.sampled + 80), age) for r, age in first]
    (status,) = replay_statuses(later, rates, 104.0)
    assert (status.inserts_per_s, status.samples_per_s) == (10.0, 40.0)
    restarted = [(replace(r, inserted=0, sampled=0), age) for r, age in first]
    (status,) = replay_statuses(restarted, rates, 106.0)
    assert (status.inserts_per_s, status.samples_per_insert) == (0.0, 0.0)


def test_rates_of_buffers_that_are_gone_are_dropped() -> None:
    rates = Rates()
    for number in range(20):
        report = ShardReport(buffer=f"b{number}", shard=0, role="primary", node="n", view=1, inserted=5)
        replay_statuses([(report, 0.0)], rates, 100.0 + number)
    assert set(rates._points) == {"b19"}
    for name in ("b19", "other"):
        rates.note(name, 120.0, 25, 0)
    rates.keep(["b19"])
    assert rates.note("b19", 121.0, 45, 0) == (20.0, 0.0)
    assert rates.note("other", 121.0, 45, 0) == (0.0, 0.0), "it begins anew"


def test_networks_are_sorted_and_aged() -> None:
    found = memoria_statuses(
        [(MemoriaReport(name="b", node="n"), 1.0), (MemoriaReport(name="a", node="n"), 9.0)]
    )
    assert [(status.name, status.age_s) for status in found] == [("a", 9.0), ("b", 1.0)]


def test_a_machine_in_a_container_reports_the_memory_of_that(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "memory.max").write_text("64000000\n")
    (tmp_path / "memory.current").write_text("30000000\n")
    (tmp_path / "memory.stat").write_text("anon 9000000\ninactive_file 20000000\n")
    monkeypatch.setattr(host, "ram_bytes", partial(ram_bytes, tmp_path))
    monkeypatch.setattr(host, "ram_used_bytes", partial(ram_used_bytes, tmp_path))
    report = host.report_host(tmp_path, 1, 2)
    assert (report.memory_used_bytes, report.memory_total_bytes) == (10_000_000, 64_000_000)


def ray_node(node: str, name: str, *, alive: bool = True, reason: int = 0) -> dict[str, Any]:
    resources = {"object_store_memory": 1000.0} | ({"node:__internal_head__": 1.0} if node == "h" else {})
    return {
        "NodeID": node, "NodeName": name, "Alive": alive, "Resources": resources if alive else {},
        "DeathReason": reason, "DeathReasonMessage": "missed heartbeats" if reason else "",
    }  # fmt: skip


def test_a_machine_that_is_down_keeps_its_last_figures_until_it_is_replaced_or_forgotten() -> None:
    clock = Clock()
    hosts = Hosts(clock)
    report = HostReport(
        memory_used_bytes=5,
        memory_total_bytes=9,
        cpu_percent=1.0,
        cpus=2,
        disk_free_bytes=3,
        disk_total_bytes=4,
    )
    info = MemberInfo("x/warm", "x", "warm", 1, False, 50)
    tier = TierStatus("x/warm", "warm", "x", 1, 20, 50, False)
    hosts.seen([ray_node("x", "worker"), ray_node("h", "head")])
    hosts.greeted("x", info, report)
    head, worker = hosts.statuses([tier], {"x": 400})
    assert (head.name, head.head, worker.name, worker.online) == ("head", True, "worker", True)
    assert (worker.object_store_used_bytes, worker.memory_total_bytes, worker.used_bytes) == (600, 9, 20)
    clock.now_s += 7
    hosts.seen([ray_node("x", "worker", alive=False, reason=2), ray_node("h", "head")])
    _, worker = hosts.statuses([], {})
    assert (worker.online, worker.heartbeat_age_s, worker.memory_used_bytes) == (False, 7.0, 5)
    assert worker.reason == "missed heartbeats"
    clock.now_s += 1
    hosts.seen(
        [ray_node("x", "worker", alive=False, reason=2), ray_node("y", "worker"), ray_node("h", "head")]
    )
    assert [(s.node, s.online) for s in hosts.statuses([], {})] == [("h", True), ("y", True)]
    hosts.seen([ray_node("y", "worker", alive=False, reason=1), ray_node("h", "head")])
    assert [s.node for s in hosts.statuses([], {})] == ["h"], "it was stopped on purpose"
    hosts.seen([ray_node("z", "other", alive=False, reason=2), ray_node("h", "head")])
    assert len(hosts.statuses([], {})) == 2, "it was lost before this coordinator started"
    clock.now_s += FORGET_S + 1
    hosts.seen([ray_node("z", "other", alive=False, reason=2), ray_node("h", "head")])
    assert [s.node for s in hosts.statuses([], {})] == ["h"]


NODE = NodeStatus("n", "worker7", True, 1, 2, memory_used_bytes=1, memory_total_bytes=2)
SHARD = ShardStatus(3, "n", "m", 1, True, False, 1, 1, 0, 0.1)
BUFFER = ReplayStatus("pong", "uniform", 1, 2, 3, 4, 5, 6, shards=(SHARD,))
HEALTHY = Snapshot("c", 100.0, nodes=(NODE,), tiers=(TierStatus("n/warm", "warm", "n", 1, 5, 10, False),))


def test_a_healthy_cluster_needs_no_advice() -> None:
    assert advise(HEALTHY) == ()
    assert advise(replace(HEALTHY, replay=(BUFFER,))) == ()


def node(**change: Any) -> dict[str, Any]:
    return {"nodes": (replace(NODE, **change),)}


def shards(**change: Any) -> dict[str, Any]:
    return {"replay": (replace(BUFFER, shards=(replace(SHARD, **change),)),)}


FULL_COLD = TierStatus("n/cold", "cold", "n", 1, 99, 100, True)
UNOPENED = UnstartedTier("n", "glacier", "no such bucket")
LATE = replace(BUFFER, updated=400, stale_updates=1600)


@pytest.mark.parametrize(
    ("change", "level", "says"),
    [
        (node(online=False, reason="no heartbeats"), "error", "worker7 is down: no heartbeats"),
        (node(heartbeat_age_s=8.0), "warning", "not answered for 8 s"),
        (node(memory_used_bytes=19, memory_total_bytes=20), "warning", "95% of its memory"),
        (node(object_store_used_bytes=9, object_store_bytes=10), "warning", "90% full"),
        (node(disk_free_bytes=10**9, disk_total_bytes=10**12), "warning", "1.0 GB left"),
        ({"away": ("disk-1/cold",)}, "error", "disk-1/cold is away"),
        ({"unstarted": (UNOPENED,)}, "error", "glacier tier of node worker7 does not start: no such bucket"),
        ({"tiers": (FULL_COLD,)}, "error", "cold tier is 99% full"),
        ({"starving": 3}, "warning", "another copy of 3 keys"),
        ({"counts": {"lost": 1}}, "error", "every copy of 1 key is gone"),
        ({"phase": "rebuilding"}, "warning", "is rebuilding"),
        ({"loops": (LoopStatus("nodes", 9, 3, 80.0, "no route"),)}, "error", "failed for 20 s: no route"),
        ({"memoria": (MemoriaStatus("story", "n", "cpu", (), 7.0),)}, "warning", "not answered for 7 s"),
        (shards(solo=True, backup_node=""), "warning", "no backup"),
        (shards(in_sync=False, lag_rows=7), "warning", "7 rows behind"),
        (shards(age_s=9.0), "warning", "not answered for 9 s"),
        ({"replay": (LATE,)}, "warning", "80% of the priority updates"),
    ],
)
def test_what_is_wrong_is_said_with_what_to_do(change: dict[str, Any], level: str, says: str) -> None:
    (advice,) = advise(replace(HEALTHY, **change))
    assert advice.level == level
    assert says in advice.what
    assert advice.do
    assert len([row for row in guide_rows() if re.fullmatch(row, advice.what)]) == 1, "not in the guide"


def guide_rows() -> list[str]:
    """What the guide says of each warning, as patterns: "…" stands for anything."""
    guide = Path(__file__).parents[3] / "docs" / "guides" / "dashboard.md"
    _, _, table = guide.read_text(encoding="utf-8").partition("## What to do on each warning")
    rows = re.findall(r"^\| (.+?) \|", table, re.MULTILINE)[1:]
    return [".*".join(re.escape(part) for part in row.split("…")) for row in rows]


def test_the_worst_comes_first() -> None:
    found = advise(replace(HEALTHY, starving=3, counts={"lost": 2}))
    assert [advice.level for advice in found] == ["error", "warning"]
