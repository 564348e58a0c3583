"""Cold memory as its users see it."""

from __future__ import annotations

import zlib
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from memories.core.cold_memory import ColdMemory
from memories.errors import CapacityExceeded, InvalidType, InvalidValue
from memories.tiers.checksum import BLOCK_BYTES
from memories.tiers.codec.compression import register_compression


def test_compressing_makes_values_smaller_and_keeps_them(tmp_path: Path) -> None:
    zeros, numbers = np.zeros((1000, 100)), list(range(3000))
    with ColdMemory(1, tmp_path) as memory:
        memory.store("zeros", zeros, metadata={"a": 1}, priority=2)
        memory.store("numbers", numbers)
        before = memory.used_bytes
        done = memory.compress("zeros")
        assert done.keys == 1
        assert done.bytes_before > zeros.nbytes > 50 * done.bytes_after
        assert memory.used_bytes == before - done.bytes_before + done.bytes_after
        assert memory.compress().keys == 1  # only what is not compressed yet
        assert memory.compress(level=19, compression="zstd").keys == 2
        assert np.array_equal(memory.retrieve("zeros", start=990), zeros[990:])
        assert memory.entry("zeros").metadata == {"a": 1}
    with ColdMemory(1, tmp_path) as memory:
        assert np.array_equal(memory.retrieve("zeros"), zeros)
        assert memory.retrieve("numbers") == numbers


def test_a_compression_of_ones_own(tmp_path: Path) -> None:
    register_compression("deflate", zlib.compress, zlib.decompress)
    with ColdMemory(1, tmp_path, compression="deflate", level=9) as memory:
        memory.store_many({"small": "text " * 1000, "large": np.zeros(50_000)})
        assert memory.used_bytes < 20_000
        assert memory.retrieve("small") == "text " * 1000
        assert np.array_equal(memory.retrieve("large", rows=[3, 40_000]), [0, 0])


def test_compressions_and_levels_that_do_not_exist(tmp_path: Path) -> None:
    for arguments in ({"compression": "brotli9"}, {"compression": "zstd", "level": 99}, {"level": 3}):
        with pytest.raises(InvalidValue):
            ColdMemory(1, tmp_path, **arguments)  # type: ignore[arg-type]
    with pytest.raises(InvalidType):
        ColdMemory(1, tmp_path, compression="zstd", level="high")  # type: ignore[arg-type]
    with pytest.raises(InvalidValue, match="built in"):
        register_compression("zstd", zlib.compress, zlib.decompress)
    with ColdMemory(1, tmp_path) as memory, pytest.raises(InvalidValue):
        memory.compress(level=1000)


def test_rows_of_what_only_the_value_knows(tmp_path: Path) -> None:
    frame = pd.DataFrame({"text": ["a", "b", "c"] * 1000, "n": range(3000)})
    with ColdMemory(1, tmp_path) as memory:
        memory.store_many({"frame": frame, "text": "äöü" * 100, "list": ["x", None, 2]})
        pd.testing.assert_frame_equal(memory.retrieve("frame", start=10, end=20), frame.iloc[10:20])
        pd.testing.assert_frame_equal(memory.retrieve("frame", rows=[5, 1]), frame.iloc[[5, 1]])
        assert memory.retrieve("text", partial=True, start=1, end=4) == "öüä"
        assert memory.retrieve("list", rows=[-1, 0]) == [2, "x"]


def test_without_a_path_nothing_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    with ColdMemory(1) as memory:
        memory.store("key", np.ones(100_000))
        assert list(tmp_path.iterdir())
        kept = memory.retrieve("key")
    assert not list(tmp_path.iterdir())
    assert kept.sum() == 100_000


def test_the_budget_counts_compressed_bytes(tmp_path: Path) -> None:
    zeros = np.zeros(2**20, np.uint8)
    with ColdMemory(0.002, tmp_path, compression="zstd") as memory:
        for number in range(5):
            memory.store(f"zeros {number}", zeros)
        with pytest.raises(CapacityExceeded):
            memory.store("noise", np.random.default_rng(1).bytes(3 * 2**20))


@pytest.mark.parametrize("columns", [1, 2, 3, 40])
def test_a_large_array_begins_with_a_page_of_its_file(tmp_path: Path, columns: int) -> None:
    """A block of it is then one page, not parts of two; and any Arrow reads the file."""
    value = {f"column {n}": np.full(1 << 20 >> bool(n), n, np.uint8) for n in range(columns)}
    with ColdMemory(1, tmp_path) as memory:
        memory.store("key", value)
        retrieved = memory.retrieve("key")
    assert all(np.array_equal(retrieved[name], value[name]) for name in value)
    (file,) = tmp_path.rglob("*.arrow")
    content = pa.memory_map(str(file)).read_buffer()
    buffers = pa.ipc.open_file(pa.BufferReader(content)).get_batch(0).column(0).buffers()
    assert buffers[2].size == 1 << 20
    assert (buffers[2].address - content.address) % BLOCK_BYTES == 0
