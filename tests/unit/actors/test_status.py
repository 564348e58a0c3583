"""A `Snapshot` is plain data: it pickles, it is JSON, and histograms of several shards add up."""

from __future__ import annotations

import dataclasses
import itertools
import json
import math
import pickle

import numpy as np
import pytest

from memories.actors import reports, status
from memories.actors.reports import AGE_EDGES_S, LIFESPAN_EDGES, PRIORITY_EDGES, Histogram


def full_snapshot() -> status.Snapshot:
    """Every field of every part is set."""
    ages = Histogram.of([0.5, 3.0, 1e9], AGE_EDGES_S)
    link = reports.EngramLink(source=1, target=2, count=3)
    session = reports.SessionReport(session="s", lifespans=ages, strongest=(link,), types=((1, 3), (2, 1)))
    return status.Snapshot(
        cluster="c",
        taken_s=1.5,
        nodes=(status.NodeStatus("n", "host", True, 1, 2, gpus=(reports.GpuReport(0, "g", 1, 2),)),),
        tiers=(status.TierStatus("n/hot0", "hot", "n", 1, 2, 3, False),),
        loops=(status.LoopStatus("tick", 1, 0, 2.0, ""),),
        counts={"moved": 1},
        reads=status.ReadStatus({"hot": 3, "cold": 1}, missed=4),
        flows=(status.FlowStatus("hot", "warm", "moved", 1, 2),),
        largest=(status.KeyStatus("k", "hot", 1, 1),),
        hottest=(status.KeyStatus("k", "hot", 1, 1, reads=2),),
        replay=(
            status.ReplayStatus(
                "pong", "prioritized", 1, 2, 3, 4, 10, 40, priorities=ages,
                shards=(status.ShardStatus(0, "n", "m", 1, True, False, 1, 1, 0, 0.1),),
            ),
        ),
        memoria=(status.MemoriaStatus("story", "n", "cpu", (session,)),),
        events=(status.EventStatus(1, 2.0, "moved", "n/hot0", 1, ("k",)),),
        away=("disk-1/cold",),
        unstarted=(status.UnstartedTier("n", "glacier", "no such bucket"),),
        advice=(status.Advice("warning", "node", "is gone", "start it"),),
    )  # fmt: skip


def test_it_is_json_and_pickles() -> None:
    snapshot = full_snapshot()
    assert pickle.loads(pickle.dumps(snapshot)) == snapshot
    read = json.loads(json.dumps(snapshot.as_dict(), allow_nan=False))
    assert read["format"] == status.FORMAT
    assert read["replay"][0]["shards"][0]["backup_node"] == "m"
    assert read["memoria"][0]["sessions"][0]["types"] == [[1, 3], [2, 1]]
    empty_parts = [field.name for field in dataclasses.fields(snapshot) if read[field.name] in ([], {})]
    assert not empty_parts, "the test does not fill these"


def test_rates_are_of_what_was_asked() -> None:
    snapshot = full_snapshot()
    assert snapshot.reads.total == 8
    assert snapshot.reads.hit_rate("hot") == 37.5
    assert status.ReadStatus().hit_rate("hot") == 0.0
    assert snapshot.replay[0].samples_per_insert == 4.0


@pytest.mark.parametrize("edges", [PRIORITY_EDGES, AGE_EDGES_S, LIFESPAN_EDGES])
def test_every_value_is_counted_once_in_the_bin_that_it_belongs_to(edges: tuple[float, ...]) -> None:
    assert list(edges) == sorted(set(edges))
    assert all(math.isfinite(edge) for edge in edges)
    middles = [(low + high) / 2 for low, high in itertools.pairwise(edges)]
    assert Histogram.of(middles, edges).counts == (1,) * (len(edges) - 1)
    outside = Histogram.of([-1.0, 1e300, float("inf"), float("nan")], edges)
    assert (outside.counts[0], outside.counts[-1], outside.total) == (1, 2, 3)


def test_histograms_add_up_and_refuse_others() -> None:
    rng = np.random.default_rng(0)
    values = rng.lognormal(0, 3, 1000)
    parts = [Histogram.of(part, PRIORITY_EDGES) for part in np.array_split(values, 4)]
    assert Histogram.sum([*parts, Histogram()]) == Histogram.of(values, PRIORITY_EDGES)
    assert Histogram.sum([]) == Histogram()
    with pytest.raises(ValueError, match="different edges"):
        Histogram.sum([parts[0], Histogram.of(values, AGE_EDGES_S)])
