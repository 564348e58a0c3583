"""A SIGKILL before any system call leaves every key of a local glacier old or new, and later writes whole."""

from __future__ import annotations

import random
from pathlib import Path

from memories.tiers.glacier_memory import GlacierMemory
from tests.support.photographs import Photographer, State


def look(folder: Path) -> State:
    with GlacierMemory("local", {"storage_path": folder}) as memory:
        keys = memory.keys()
        found = {key: bytes(memory.retrieve(key)) for key in keys}
        memory.store("large", b"later")  # what the kill has left is in nobody's way
        assert bytes(memory.retrieve("large")) == b"later"
        memory.delete("large")
        assert not memory.exists("large")
        return found


def test_a_kill_before_any_system_call_leaves_each_key_old_or_new(tmp_path: Path) -> None:
    generator = random.Random(5)
    photographer = Photographer(tmp_path / "objects", tmp_path / "album")
    state: State = {}
    with GlacierMemory("local", {"storage_path": tmp_path / "objects"}) as memory, photographer.at_work():
        for size in (900, 300_000, 700_000, 10, None, 400_000):
            after = {**state}
            for key in ("small", "large"):
                if size is None:
                    del after[key]
                else:
                    after[key] = generator.randbytes(size if key == "large" else 100)
            photographer.allowed = (state, after)
            if size is None:
                memory.delete_many(["small", "large"])
            else:
                memory.store_many(after)
            state = after
            if state:
                photographer.allowed = (state,)
                memory.pin("large")
        photographer.allowed = ()
    assert len(photographer.photographs) > 40
    photographer.develop(look)
