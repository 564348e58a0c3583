"""The replay cluster from many seeds: what is acknowledged stays, enters once, and keeps its priorities."""

from __future__ import annotations

import itertools
from unittest.mock import patch

import numpy as np
import pytest

from memories.actors.replay.core import events as ev
from memories.actors.replay.core.marks import Marks
from memories.actors.replay.core.shard import Role, ShardCore

from .replay_clients import Learner, Writer
from .replay_world import ReplicaProcess, World, check_replica, rows_of

FAULTS = ("crash", "stall", "cut", "node", "directory", "second directory", "writer", "heal")


def inject(world: World, writers: list[Writer], careful: bool) -> str:
    """One fault; a careful one only where every shard has its backup, so that no two copies go at once."""
    rng = world.rng
    if careful and not (world.settled() and not world.cut):
        world.cut.clear()
        return "healed"
    members = [r for r in world.replicas.values() if r.alive and r.core.role is not Role.NONE]
    kind = rng.choice(FAULTS)
    if kind == "crash" and members:
        world.crash(rng.choice(members))
    elif kind == "stall" and members:
        rng.choice(members).stalled_until_s = world.now_s + rng.choice([0.5, 2.0, 5.0, 12.0])
    elif kind == "cut":
        world.cut.add(frozenset(rng.sample([*world.nodes, "head"], 2)))
    elif kind == "node" and len(world.dead_nodes) < len(world.nodes) - 3:
        world.kill_node(rng.choice([n for n in world.nodes if n not in world.dead_nodes]))
    elif kind == "directory":
        world.directory.alive = False
        world.start_directory()
    elif kind == "second directory":
        world.directory.stalled_until_s = world.now_s + rng.uniform(1, 8)
        world.start_directory()
    elif kind == "writer" and sum(w.alive for w in writers) > 2:
        rng.choice(writers).alive = False
    else:
        world.cut.clear()
    return kind


def run(seed: int, *, careful: bool, faults: int = 8, batches: int = 60) -> World:
    """One life of a cluster, checked while it goes on and at its end."""
    world = World(seed)
    world.run_until(world.settled, 60)
    numbers = itertools.count(1)
    writers = [Writer(world, f"w{i}", batches, numbers) for i in range(4)]
    learner = Learner(world)
    left = [faults]

    def next_fault() -> None:
        if left[0]:
            if inject(world, writers, careful) != "healed":
                left[0] -= 1
            for process in world.replicas.values():
                check_replica(process)
            world.after(world.rng.uniform(0.1, 3.0), next_fault)
        else:
            world.cut.clear()
            world.loss = 0.0

    world.after(world.rng.uniform(0.1, 1.0), next_fault)
    world.run_until(lambda: left[0] == 0 and all(w.done for w in writers) and world.settled(), 600)
    learner.alive = False
    quiet_s = world.now_s + 2.0
    world.run_until(lambda: world.now_s > quiet_s and world.settled(), 60)
    check_end(world, writers, careful)
    assert learner.applied > 0
    return world


def check_end(world: World, writers: list[Writer], careful: bool) -> None:
    primaries = world.primaries()
    for process in primaries:
        check_replica(process)
        view = world.layout.view(process.shard)
        assert view is not None
        assert view.backup is not None
        check_equal(process, world.replicas[view.backup.actor])
    held = np.sort(np.concatenate([rows_of(process)[0] for process in primaries]))
    assert np.array_equal(held, np.unique(held)), "a row is in two shards"
    acknowledged = {row for writer in writers for row in writer.acknowledged}
    sent = {row for writer in writers for row in writer.sent}
    lost = acknowledged - set(held.tolist())
    if careful:
        assert world.layout.lost_shards == 0
    if world.layout.lost_shards == 0:
        assert not lost, f"{len(lost)} acknowledged rows are gone, row {min(lost)} first"
    in_flight = {row for w in writers if not w.alive for row in set(w.sent) - set(w.acknowledged)}
    assert set(held.tolist()) <= acknowledged | in_flight
    assert set(held.tolist()) <= sent


def check_equal(primary: ReplicaProcess, backup: ReplicaProcess) -> None:
    """What the primary shows is what the backup has."""
    for ours, theirs in zip(rows_of(primary), rows_of(backup), strict=True):
        assert np.array_equal(ours, theirs)


def test_nothing_acknowledged_is_lost_when_faults_leave_one_copy() -> None:
    for seed in range(25):
        run(seed, careful=True)


def test_nothing_enters_twice_and_no_priority_goes_astray_whatever_happens() -> None:
    for seed in range(1000, 1015):
        run(seed, careful=False)


@pytest.mark.slow
def test_many_seeds() -> None:
    for seed in range(2000, 2150):
        run(seed, careful=seed % 3 != 0, faults=12)


def test_a_seed_that_has_found_something() -> None:
    """A directory that had been replaced recorded a last change, of which its successor never heard."""
    run(11_664, careful=False, faults=15)


@pytest.mark.soak
def test_very_many_seeds() -> None:
    for seed in range(10_000, 12_000):
        run(seed, careful=seed % 3 != 0, faults=15)


# -- bugs that the simulation must find ----------------------------------------------------------------


def finds(seeds: range) -> bool:
    """Whether a run fails."""
    for seed in seeds:
        try:
            run(seed, careful=True)
        except AssertionError:
            return True
    return False


def test_a_primary_that_acknowledges_without_its_backup_is_found() -> None:
    honest = ShardCore._advance

    def alone(core: ShardCore) -> None:
        peer = core._peer
        if peer is not None and peer.acked < core._last:
            acked, peer.acked = peer.acked, core._last
            core._trim, trim = (lambda: None), core._trim  # type: ignore[method-assign]
            honest(core)
            core._trim = trim  # type: ignore[method-assign]
            peer.acked = acked
        else:
            honest(core)

    with patch.object(ShardCore, "_advance", alone):
        assert finds(range(40))


def test_a_backup_that_takes_over_without_the_writers_numbers_is_found() -> None:
    honest = ShardCore._begin_as_primary

    def forgetful(core: ShardCore) -> None:
        honest(core)
        core.rows.marks = Marks()

    with patch.object(ShardCore, "_begin_as_primary", forgetful):
        assert finds(range(40))


def test_a_backup_that_follows_an_old_view_is_found() -> None:
    def gullible(core: ShardCore, call: int, view: object) -> bool:
        return core._applied > 0

    with patch.object(ShardCore, "_may_follow", gullible):
        assert finds(range(40))


def test_an_operation_of_a_primary_is_not_seen_before_its_backup_has_it() -> None:
    """A row that only the primary has could lend its handle to another row after a fail-over."""
    world = World(0)
    world.run_until(world.settled, 60)
    (first, _) = world.primaries()
    operation = ev.InsertRows("w", first.shard, 1, 1, {"row": np.array([7])}, None)
    answers: list[object] = []
    first.waiting[-1] = answers.append
    backup = world.layout.view(first.shard)
    assert backup is not None
    assert backup.backup is not None
    world.replicas[backup.backup.actor].stalled_until_s = world.now_s + 1.0
    world.feed(first, ev.Propose(-1, operation))
    before_s = world.now_s
    world.run_until(lambda: world.now_s > before_s + 0.9, 10)
    assert len(first.core.rows.buffer) == 0
    assert not answers
    world.run_until(lambda: bool(answers), 10)
    assert len(first.core.rows.buffer) == 1
