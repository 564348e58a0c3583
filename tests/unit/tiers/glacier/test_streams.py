"""Values written and read piece by piece."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from memories.errors import CapacityExceeded, Closed, ConflictingWrite, InvalidType, KeyNotFound, Unavailable
from memories.tiers.glacier.streams import BlobWriter
from memories.tiers.glacier_memory import GlacierMemory
from memories.tiers.memory_blobs import MemoryBlobs
from memories.tiers.tier import Tier
from tests.support.faulty_objects import FaultyObjects

PART = 5 * 2**20
CONTENT = np.random.default_rng(0).integers(0, 256, 3 * PART + 12_345, dtype=np.uint8).tobytes()


@pytest.fixture(params=[{}, {"encryption_key": "3c" * 32, "compression": "lz4"}], ids=["plain", "sealed"])
def memory(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[GlacierMemory]:
    config = {"storage_path": tmp_path / "objects", "part_size_mb": 5, "max_attempts": 2, **request.param}
    with GlacierMemory("local", config) as opened:
        yield opened


def write(memory: GlacierMemory, key: str, content: bytes, step: int = 700_001, **arguments: Any) -> None:
    with memory.open_writer(key, **arguments) as file:
        for start in range(0, len(content), step):
            assert file.write(content[start : start + step]) == len(content[start : start + step])


@pytest.mark.parametrize("size", [0, 1, 300_000, PART - 1, PART, PART + 1, len(CONTENT)])
def test_what_was_written_is_read(memory: GlacierMemory, size: int) -> None:
    write(memory, "k", CONTENT[:size], metadata={"n": size})
    with memory.open_reader("k") as file:
        assert file.read() == CONTENT[:size]
        assert file.read() == b""
    assert memory.retrieve("k").tobytes() == CONTENT[:size]
    assert (
        memory.retrieve("k", start=size // 2, end=size // 2 + 10).tobytes()
        == CONTENT[size // 2 :][:10][:size]
    )
    assert memory.entry("k").metadata == {"n": size}
    assert memory.recount() == memory._glacier.stored_bytes("k")
    write(memory, "k", b"short")
    assert memory.retrieve("k").tobytes() == b"short"
    assert memory.recount() == memory._glacier.stored_bytes("k")


def break_off(file: BlobWriter, content: bytes) -> None:
    with file:
        file.write(content)
        raise RuntimeError("mine")


@pytest.mark.parametrize("size", [100, len(CONTENT)])
def test_an_error_inside_leaves_the_key_as_it_was(memory: GlacierMemory, size: int, tmp_path: Path) -> None:
    memory.store("k", "old")
    file = memory.open_writer("k")
    with pytest.raises(RuntimeError, match="mine"):
        break_off(file, CONTENT[:size])
    assert memory.retrieve("k") == "old"
    assert [path for path in tmp_path.glob("objects/.unfinished/*") if path.name != "lock"] == []
    assert memory.recount() == memory._glacier.stored_bytes("k")
    with pytest.raises(Closed):
        file.write(b"more")


def test_an_upload_that_fails_is_told_to_the_writer(memory: GlacierMemory) -> None:
    memory.store("k", "old")
    store = FaultyObjects(memory._glacier._store)
    memory._glacier._store = store

    def fail(operation: str, name: str) -> None:
        if operation == "upload":
            raise Unavailable("no route to host")

    store.before = fail
    with pytest.raises(Unavailable, match="no route"):
        write(memory, "k", CONTENT)
    assert memory.retrieve("k") == "old"


def test_the_budget_holds_for_streams_too(tmp_path: Path) -> None:
    config = {"storage_path": tmp_path / "objects", "part_size_mb": 5}
    with GlacierMemory("local", config, capacity_bytes=2 * PART) as memory:
        memory.store("k", "old")
        with pytest.raises(CapacityExceeded):
            write(memory, "k", CONTENT)
        assert memory.retrieve("k") == "old"
        assert memory.recount() == memory._glacier.stored_bytes("k")


def test_a_reader_is_told_when_the_value_is_replaced(memory: GlacierMemory) -> None:
    write(memory, "k", CONTENT)
    with memory.open_reader("k") as file:
        file.read(10)
        write(memory, "k", CONTENT[::-1])
        with pytest.raises(ConflictingWrite, match="replaced"):
            file.read()


def test_what_is_no_file(memory: GlacierMemory) -> None:
    memory.store("k", {"a": np.ones(3_000), "b": np.ones(4_000)})
    memory.store("text", "text")
    with pytest.raises(InvalidType, match="2 buffers"):
        memory.open_reader("k")
    with pytest.raises(InvalidType, match="no file"):
        memory.open_reader("text")
    with pytest.raises(KeyNotFound):
        memory.open_reader("absent")
    with pytest.raises(InvalidType):
        memory.open_writer("k", metadata={"x": object()})


def test_a_snapshot_goes_into_object_storage_and_comes_back(memory: GlacierMemory) -> None:
    values = {f"k{n}": np.full(1_000_000, n, np.float32) for n in range(8)}
    with Tier(MemoryBlobs()) as tier, Tier(MemoryBlobs()) as other:
        tier.store_many(values)
        with memory.open_writer("snapshots/monday") as file:
            tier.create_snapshot(file)
        with memory.open_reader("snapshots/monday") as file:
            other.restore_snapshot(file)
        for key, value in values.items():
            assert np.array_equal(other.retrieve(key), value)
