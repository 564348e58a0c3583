"""Two processes on one folder: what one has read is changed only while the other has not replaced it."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from memories.errors import ConflictingWrite, KeyNotFound, Unavailable
from memories.tiers.glacier.local_objects import LocalObjects
from memories.tiers.glacier_memory import GlacierMemory
from tests.support.clock import ManualClock
from tests.support.faulty_objects import FaultyObjects

CHANGES: dict[str, Callable[[GlacierMemory], Any]] = {
    "pin": lambda memory: memory.pin("k"),
    "unpin": lambda memory: memory.unpin("k"),
    "set_metadata": lambda memory: memory.set_metadata("k", {"mine": True}),
    "set_priority": lambda memory: memory.set_priority("k", 7),
}
INTEGERS = np.arange(4, dtype=np.int64)
FLOATS = INTEGERS + 0.5
"""As many bytes as the integers: of a mixture nothing else would tell."""


@pytest.fixture
def open_memory(tmp_path: Path) -> Iterator[Callable[..., GlacierMemory]]:
    opened: list[GlacierMemory] = []

    def open_one(**arguments: Any) -> GlacierMemory:
        opened.append(GlacierMemory("local", storage_path=tmp_path, **arguments))
        return opened[-1]

    yield open_one
    for memory in opened:
        memory.close()


def before(owner: Any, name: str, act: Callable[[], object], times: int = 1) -> None:
    """Have something happen just before the next calls of a method."""
    method = getattr(owner, name)
    left = iter(range(times))

    def overtaken(*arguments: Any) -> Any:
        if next(left, None) is not None:
            act()
        return method(*arguments)

    setattr(owner, name, overtaken)


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_is_for_the_value_that_is_there(open_memory: Any, change: str) -> None:
    mine, theirs = open_memory(), open_memory()
    mine.store("k", INTEGERS, metadata={"v": 1})
    before(mine._glacier, "update_found", lambda: theirs.store("k", FLOATS, metadata={"v": 2}))
    record = CHANGES[change](mine)
    found = open_memory()
    assert found.entry("k") == record
    assert np.array_equal(found.retrieve("k"), FLOATS)
    assert found.entry("k").metadata == ({"mine": True} if change == "set_metadata" else {"v": 2})


def test_a_change_that_is_always_overtaken_is_told(open_memory: Any) -> None:
    mine, theirs = open_memory(), open_memory()
    mine.store("k", 0)
    before(mine._glacier, "update_found", lambda: theirs.store("k", FLOATS), times=100)
    with pytest.raises(ConflictingWrite, match="'k' was replaced"):
        mine.pin("k")
    assert np.array_equal(theirs.retrieve("k"), FLOATS)
    assert not theirs.entry("k").pinned


def test_a_change_of_what_was_deleted_meanwhile(open_memory: Any) -> None:
    mine, theirs = open_memory(), open_memory()
    mine.store("k", 0)
    before(mine._glacier, "update_found", lambda: theirs.delete("k"))
    with pytest.raises(KeyNotFound):
        mine.pin("k")
    assert not theirs.exists("k")


@pytest.mark.parametrize("size", [10, 1_000_000])
def test_rotation_never_brings_an_old_value_back(open_memory: Any, size: int) -> None:
    keys = {"a": secrets.token_hex(32), "b": secrets.token_hex(32)}
    open_memory(encryption_keys={"a": keys["a"]}, encryption_key_id="a").store("k", b"1" * size)
    mine = open_memory(encryption_keys=keys, encryption_key_id="b")
    theirs = open_memory(encryption_keys=keys, encryption_key_id="a")
    before(mine._glacier, "_write_body", lambda: theirs.store("k", b"2" * size))
    assert mine.rotate_encryption() == 1
    assert open_memory(encryption_keys={"b": keys["b"]}, encryption_key_id="b").retrieve("k") == b"2" * size
    before(mine._glacier, "_read", lambda: theirs.delete("k"))
    assert mine.rotate_encryption() == 0
    mine.recount()
    assert mine.used_bytes == 0, "a body was left behind"


@pytest.mark.parametrize("where", ["before the look", "before the deletion"])
def test_expiry_leaves_what_another_process_stored(open_memory: Any, tmp_path: Path, where: str) -> None:
    clock = ManualClock()
    mine, theirs = open_memory(clock=clock), open_memory(clock=clock)
    mine.store("k", b"old" * 100_000, ttl=5, metadata={"n": 1})
    mine.store("other", "old", ttl=5)
    mine.query({"n": 1})
    clock.advance(10)
    if where == "before the look":
        before(mine._glacier, "remove_found", lambda: theirs.store("k", "fresh", metadata={"n": 1}))
    else:
        store = FaultyObjects(LocalObjects(tmp_path))
        mine._glacier._heads._store = store

        def overtake(operation: str, name: str) -> None:
            if operation == "delete" and name.endswith("keys/k"):
                store.before = lambda operation, name: None
                theirs.store("k", "fresh", metadata={"n": 1})

        store.before = overtake
    assert mine.expire() == 1
    assert theirs.retrieve("k") == mine.retrieve("k") == "fresh"
    assert list(mine.keys()) == mine.query({"n": 1}) == ["k"]
    mine.recount()
    assert mine.used_bytes == mine._glacier.stored_bytes("k")


def test_expiry_whose_reply_is_lost(open_memory: Any, tmp_path: Path) -> None:
    clock = ManualClock()
    memory = open_memory(clock=clock, max_attempts=3)
    memory.store("k", "old", ttl=5)
    clock.advance(10)
    store = FaultyObjects(LocalObjects(tmp_path))
    memory._glacier._heads._store = store

    def lose_first_reply(operation: str, name: str) -> None:
        if operation == "delete":
            store.after = lambda operation, name: None
            raise Unavailable("connection reset")

    store.after = lose_first_reply
    assert memory.expire() == 1
    assert len(memory) == 0
