"""Damaged files end in a typed error or the right value: never a crash, a wrong value or an unpickling."""

from __future__ import annotations

import random
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from memories.errors import CorruptData, KeyNotFound, PickleRefused
from memories.tiers.cold_memory import ColdMemory
from tests.support.same import same

unpickled: list[str] = []


class Canary:
    """Sings when it is unpickled."""

    def __setstate__(self, state: Any) -> None:
        unpickled.append("a canary")

    def __getstate__(self) -> dict[str, int]:
        return {"some": 1}


def values(generator: np.random.Generator) -> dict[str, Any]:
    return {
        "number": 7,
        "text": "text " * 100,
        "array": generator.standard_normal(100),
        "rows": generator.standard_normal((300, 64)),
        "zeros": np.zeros((200, 128)),
        "nest": {"a": [1, 2, {"b": generator.standard_normal(20)}]},
    }


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """In memory where that can be had: what is tested does not depend on the disk, and 200 copies do."""
    if not Path("/dev/shm").is_dir():
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(dir="/dev/shm") as name:
        yield Path(name)


def build(folder: Path, file_format: str, compression: str) -> dict[str, Any]:
    """A memory with values that were overwritten, updated and deleted, and what it holds."""
    expected = values(np.random.default_rng(1))
    with ColdMemory(1, folder, file_format=file_format, compression=compression) as memory:
        memory.store_many({key: "old " + key for key in expected})
        memory.store("rows", np.ones((300, 64)))
        memory.store("array", np.ones(20_000))
        for key, value in expected.items():
            memory.store(key, value)
        memory.store("gone", np.zeros(20_000))
        memory.delete("gone")
        memory.set_metadata("rows", {"who": "me"})
        memory.set_metadata("text", {"who": "me"})
        memory.store("canary", Canary())
    return expected


def mutate(folder: Path, generator: random.Random) -> str:
    """Damage one file, or swap two; returns what was done."""
    files = sorted(
        p for p in folder.rglob("*") if p.is_file() and p.name not in ("lock", "reserve") and p.stat().st_size
    )
    target = generator.choice(files)
    content = bytearray(target.read_bytes())
    kind = generator.choice(["flip", "flip", "flip", "cut", "zero", "noise", "grow", "swap", "move", "turn"])
    at = generator.randrange(len(content))
    if kind == "flip":
        for _ in range(generator.choice([1, 1, 3, 20])):
            content[generator.randrange(len(content))] ^= 1 << generator.randrange(8)
    elif kind == "cut":
        del content[at:]
    elif kind == "zero":
        length = generator.choice([1, 100, 5000])
        content[at : at + length] = bytes(len(content[at : at + length]))
    elif kind == "noise":
        length = generator.choice([4, 64, 5000])
        content[at : at + length] = generator.randbytes(len(content[at : at + length]))
    elif kind == "grow":
        content[at:at] = generator.randbytes(generator.choice([1, 16, 4096]))
    elif kind == "turn":  # two pieces of one file change places
        half = len(content) // 2
        content[:half], content[half : 2 * half] = content[half : 2 * half], content[:half]
    elif kind == "move":
        target.rename(target.with_name(target.name[:-1] + "_"))
        return f"{target.name} renamed"
    else:
        other = generator.choice(files)
        theirs = other.read_bytes()
        other.write_bytes(content)
        content = bytearray(theirs)
    target.write_bytes(content)
    return f"{kind} in {target.name} at {at}"


def look(folder: Path, expected: dict[str, Any], what: str) -> int:
    """Read everything; returns how many keys were found to be damaged."""
    damaged = 0
    with ColdMemory(1, folder, allow_pickle=False) as memory:
        for key, value in expected.items():
            for rows in (None, [199, 3, 77]) if key in ("rows", "zeros") else (None,):
                try:
                    found = memory.retrieve(key, rows=rows)
                except (CorruptData, KeyNotFound):
                    damaged += 1
                else:
                    assert same(found, value if rows is None else value[rows]), f"{key} after {what}"
        with pytest.raises((PickleRefused, CorruptData, KeyNotFound)):
            memory.retrieve("canary")
        assert not memory.exists("gone") or what.startswith("move"), what
        # The rest goes on.
        memory.store("new", [1, 2, 3])
        memory.store("text", "again")
        assert memory.retrieve("new") == [1, 2, 3]
        assert memory.retrieve("text") == "again"
    with ColdMemory(1, folder, allow_pickle=False) as memory:
        assert memory.retrieve("text") == "again"
    return damaged


def mutations(folder: Path, file_format: str, compression: str, seed: int, rounds: int) -> None:
    expected = build(folder / "sound", file_format, compression)
    assert look(shutil.copytree(folder / "sound", folder / "copy"), expected, "nothing") == 0
    generator = random.Random(seed)
    found = 0
    for _ in range(rounds):
        shutil.rmtree(folder / "copy")
        shutil.copytree(folder / "sound", folder / "copy")
        found += look(folder / "copy", expected, mutate(folder / "copy", generator))
    assert unpickled == []
    assert found > rounds // 10  # the test does reach something


@pytest.mark.parametrize(("compression", "seed"), [("none", 1), ("zstd", 2)])
def test_damage_ends_in_a_typed_error_or_the_right_value(folder: Path, compression: str, seed: int) -> None:
    mutations(folder, "arrow", compression, seed, rounds=100)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("file_format", "compression", "seed"),
    [
        ("arrow", "none", 11),
        ("arrow", "zstd", 12),
        ("arrow", "lz4", 13),
        ("arrow", "snappy", 14),
        ("parquet", "none", 15),
        ("parquet", "zstd", 16),
        ("hdf5", "none", 17),
        ("zarr", "none", 18),
    ],
)
def test_much_damage_ends_in_a_typed_error_or_the_right_value(
    folder: Path, file_format: str, compression: str, seed: int
) -> None:
    mutations(folder, file_format, compression, seed, rounds=300)


def test_a_column_of_an_arrow_file_whose_name_is_no_text(tmp_path: Path) -> None:
    with ColdMemory(storage_path=tmp_path) as memory:
        memory.store("large", np.arange(50_000))
    (file,) = (tmp_path / "values").iterdir()
    content = file.read_bytes()
    assert content.count(b"buffer 0") == 2  # at both ends
    file.write_bytes(content.replace(b"buffer 0", b"bu\xa2fer 0"))
    with ColdMemory(storage_path=tmp_path) as memory, pytest.raises(CorruptData, match="Arrow"):
        memory.retrieve("large")
