"""A SIGKILL before any system call leaves every key as it was before the change under way, or after it."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from memories.tiers.cold import compaction, log
from memories.tiers.cold_memory import ColdMemory
from tests.support.photographs import Photographer, State


def changes(memory: ColdMemory, photographer: Photographer, generator: random.Random) -> None:
    """Small values and files are stored, overwritten, updated and deleted; segments fill up."""
    state: State = {}
    for round_number in range(12):
        stored = {f"key {generator.randrange(12)}": generator.randbytes(2000) for _ in range(4)}
        if round_number % 3 == 0:
            stored["a file"] = generator.randbytes(70_000)
        after = {**state, **stored}
        photographer.allowed = (state, after)
        memory.store_many(stored)
        state = after
        photographer.allowed = (state,)
        memory.pin(generator.choice(sorted(state)))
        if round_number % 4 == 1:
            deleted = generator.sample(sorted(state), 2)
            after = {key: value for key, value in state.items() if key not in deleted}
            photographer.allowed = (state, after)
            memory.delete_many(deleted)
            state = after
    photographer.allowed = ()


def look(folder: Path) -> State:
    with ColdMemory(1, folder) as memory:
        assert memory.damage == []
        keys = memory.keys()
        return {key: bytes(memory.retrieve(key)) for key in keys}


@pytest.mark.parametrize("is_full", [False, True], ids=["", "on a full disk"])
def test_a_kill_before_any_system_call_leaves_each_key_old_or_new(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_full: bool
) -> None:
    """On a full disk, deletions take any segment out of use, not the oldest alone."""
    monkeypatch.setattr(log, "SEGMENT_BYTES", 12_000)
    if is_full:
        monkeypatch.setattr(log.SegmentLog, "is_full", True)
        monkeypatch.setattr(log.SegmentLog, "lacks_reserve", True)
        monkeypatch.setattr(compaction, "LEAST_GAIN_BYTES", 1000)
        monkeypatch.setattr(compaction, "worth_compacting", lambda log: False)
    monkeypatch.setattr(compaction, "LEAST_DEAD_BYTES", 8_000)
    photographer = Photographer(tmp_path / "cold", tmp_path / "album")
    with ColdMemory(1, tmp_path / "cold") as memory, photographer.at_work():
        changes(memory, photographer, random.Random(3))
    removals = [what for _, what, _ in photographer.photographs if what.startswith("unlink")]
    assert any(".segment" in what for what in removals), "no segment was compacted: nothing was tested"
    photographer.develop(look)
