"""The simulated cluster that measures the core at scale does what it says."""

from __future__ import annotations

from benchmarks.bars import Report
from benchmarks.scale import Found, curves_of, measure, tell
from benchmarks.scale_cluster import Cluster
from memories.actors.core import events as ev


def test_every_key_is_reported_by_two_nodes() -> None:
    cluster = Cluster(nodes=40, keys=40 * 32)
    holders: dict[str, list[str]] = {}
    for info in cluster.members:
        for key in cluster.inventory_of(info.member).keys:
            holders.setdefault(key, []).append(info.node)
    assert len(holders) == 40 * 32
    assert all(len(set(nodes)) == 2 for nodes in holders.values())


def test_small_sizes_are_measured_and_every_key_has_its_copies_again() -> None:
    found = measure(keys=6_400, nodes=200)
    assert found.keys == 6_400
    # Each of ten lost nodes had 32 keys of its own and second copies of 32; and some that were stored since.
    assert 10 * 64 <= found.copies <= 10 * 64 + 200
    assert found.messages_a_key == 6  # the request, two puts, two answers, the reply
    assert found.messages_a_batched_key < 0.2
    for figure in (found.rebuild_s, found.stores_per_s, found.finds_per_s, found.replan_s):
        assert figure > 0


def test_members_that_are_lost_answer_nothing() -> None:
    cluster = Cluster(nodes=5, keys=160)
    cluster.tell(ev.Start(None, cluster.members))
    cluster.lost = {"n0001/warm", "n0001/cold"}
    for member in cluster.lost:
        cluster.tell(ev.MemberLost(member, 1))
    entries = cluster.core.catalog.entries.values()
    assert all(len(entry.holders) == 2 and "n0001/warm" not in entry.holders for entry in entries)


def test_what_was_found_is_told_and_drawn() -> None:
    one = Found(1000, 10, 500.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 0.1, 0.5, 0.9, 100, 10, 0.2)
    report = Report("scale")
    tell(report, one)
    curves = curves_of([one], [one])
    assert any("memory a key" in bar.name and bar.measured == 500 for bar in report.bars)
    assert any("planned again" in bar.name and bar.measured == 0.9 for bar in report.bars)
    assert all(bar.met is None for bar in report.bars)
    assert curves["memory"].lines == {"resident": [(1000, 0.0005)]}
    assert curves["times-by-nodes"].lines["the slowest single event of that"] == [(10, 0.2)]


def test_what_is_asked_is_asked_of_the_sizes_that_it_is_about() -> None:
    report = Report("scale")
    tell(report, Found(1_000_000, 1000, 500.0, 13.0, 2.0, 3.0, 4.0, 5.0, 6.0, 0.1, 0.5, 0.9, 100, 10, 2.0))
    tell(report, Found(10_000_000, 1000, 500.0, 130.0, 2.0, 3.0, 4.0, 5.0, 6.0, 0.1, 0.5, 0.9, 100, 10, 0.9))
    judged = {bar.name.split(",")[0]: bar.met for bar in report.bars if bar.bar}
    assert judged == {"rebuild from inventories": False, "loss of 10 nodes": True}
