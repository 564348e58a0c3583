"""The folder is photographed before every system call that changes it: each photograph is what a SIGKILL
at that moment leaves, and opens with every key as it was before the change under way, or after it."""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from memories.tiers.cold import compaction, log
from memories.tiers.cold_memory import ColdMemory

State = dict[str, bytes]

CALLS = ["unlink", "rename", "replace", "pwritev", "pwrite", "write", "ftruncate", "fsync", "fdatasync"]


class Photographer:
    """Copies of a folder, each with the states that it may show."""

    def __init__(self, folder: Path, album: Path) -> None:
        self.folder = folder
        self.album = album
        self.allowed: tuple[State, ...] = ()
        self.photographs: list[tuple[Path, str, tuple[State, ...]]] = []

    def before(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        """The system call, with a photograph before it."""

        def called(*arguments: Any, **named: Any) -> Any:
            if self.allowed:
                copy = self.album / f"{len(self.photographs)}"
                shutil.copytree(self.folder, copy)
                self.photographs.append((copy, f"{name}{arguments!r:.200}", self.allowed))
            return call(*arguments, **named)

        return called


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


def held_by(memory: ColdMemory) -> State:
    keys = memory.keys()
    return {key: bytes(memory.retrieve(key)) for key in keys}


def test_a_kill_before_any_system_call_leaves_each_key_old_or_new(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log, "SEGMENT_BYTES", 12_000)
    monkeypatch.setattr(compaction, "LEAST_DEAD_BYTES", 8_000)
    photographer = Photographer(tmp_path / "cold", tmp_path / "album")
    with ColdMemory(1, tmp_path / "cold") as memory, monkeypatch.context() as patched:
        for name in CALLS:
            patched.setattr(os, name, photographer.before(name, getattr(os, name)))
        changes(memory, photographer, random.Random(3))
    removals = [what for _, what, _ in photographer.photographs if what.startswith("unlink")]
    assert any(".segment" in what for what in removals), "no segment was compacted: nothing was tested"
    for copy, what, allowed in photographer.photographs:
        with ColdMemory(1, copy) as memory:
            assert memory.damage == [], f"killed before {what}"
            found = held_by(memory)
        assert found.keys() >= allowed[0].keys() & allowed[-1].keys(), f"killed before {what}"
        for key in found.keys() | allowed[0].keys():
            assert found.get(key) in [state.get(key) for state in allowed], f"{key}: killed before {what}"
