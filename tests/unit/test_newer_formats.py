"""What a newer library has written is refused with an error that says so, and nothing of it is changed.

The newer library is this one with a higher number in the module that writes.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from memoria import HistoryManager, InvalidState, Memoria
from memories.actors import view_log
from memories.actors.core.model import View
from memories.actors.replay import checkpoint as cluster_checkpoint
from memories.actors.replay import log as layout_log
from memories.actors.replay import spec as replay_spec
from memories.actors.replay.core.model import Layout
from memories.errors import NewerFormat
from memories.replay import ReplayBuffer, Schema
from memories.tiers import record
from memories.tiers.codec import decode, encode, header
from memories.tiers.cold import folder as cold_folder
from memories.tiers.cold import value_file
from memories.tiers.cold_memory import ColdMemory
from memories.tiers.glacier import envelope
from memories.tiers.glacier_memory import GlacierMemory
from memories.tiers.snapshots import layout
from memories.tiers.warm_memory import WarmMemory

SCHEMA = Schema.from_example({"obs": np.zeros(3, np.float32)})
NETWORK: dict[str, Any] = {
    "num_reminded_stm": 2,
    "stm_capacity": 8,
    "ltm_search_depth": 2,
    "initial_lifespan": 3,
    "num_final_ltms": 2,
}


@contextmanager
def newer(module: Any, name: str = "FORMAT", value: object = 2) -> Iterator[None]:
    """A library in which this format has gone on by one."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, name, value)
        yield


def content(folder: Path) -> dict[str, str]:
    """Every file below a folder by its bytes; the lock names the process that has it."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file() and path.name != "lock"
    }


@contextmanager
def refused(place: Path, kind: type[Exception] = NewerFormat, says: str = "format 2") -> Iterator[None]:
    """The error that says so, and no byte below `place` is another one."""
    before = content(place)
    assert before, "nothing was written"
    with pytest.raises(kind, match=says):
        yield
    assert content(place) == before


def fill(memory: Any) -> None:
    memory.store("small", [1, 2, 3], metadata={"kind": "list"})
    memory.store("large", np.arange(100_000))


def test_a_cold_folder(tmp_path: Path) -> None:
    with newer(cold_folder), ColdMemory(storage_path=tmp_path) as memory:
        fill(memory)
    for _ in range(2):  # the first try has let go of the lock
        with refused(tmp_path, says=r"the cold store in .* has format 2, .* reads up to 1"):
            ColdMemory(storage_path=tmp_path)
    with newer(cold_folder), ColdMemory(storage_path=tmp_path) as memory:
        assert memory.retrieve("small") == [1, 2, 3]
        assert memory.retrieve("large")[-1] == 99_999


@pytest.mark.parametrize("found", [None, b"", b"?", b"2", b"2 0011223344556677\n"])
def test_a_cold_folder_whose_format_is_missing_or_damaged_is_opened(
    tmp_path: Path, found: bytes | None
) -> None:
    """One turned bit must not cost the whole folder; and folders are older than the file."""
    with ColdMemory(storage_path=tmp_path) as memory:
        fill(memory)
    before = content(tmp_path)
    (tmp_path / "format").unlink()
    if found is not None:
        (tmp_path / "format").write_bytes(found)
    with ColdMemory(storage_path=tmp_path) as memory:
        assert memory.retrieve("small") == [1, 2, 3]
    assert content(tmp_path) == before


def test_the_number_of_the_folder_stands_for_all_that_is_in_it() -> None:
    """Who raises one of the others raises the folder's as well, or an older library takes what it does not
    understand for damage, and cleans it up. Frames have no number of their own."""
    assert {cold_folder.FORMAT: (value_file.FORMAT, record.FORMAT, header.FORMAT)} == {1: (1, 1, 1)}


def test_what_is_said_of_a_value(tmp_path: Path) -> None:
    with newer(record):
        written = record.Record(key="k").pack()
    with pytest.raises(NewerFormat, match="the record of a value has format 2"):
        record.Record.unpack(written)
    with newer(header):
        encoded = encode([1, 2, 3])
    with pytest.raises(NewerFormat, match="the header of a value has format 2"):
        decode(encoded.header, encoded.buffers)


def test_a_snapshot(tmp_path: Path) -> None:
    with WarmMemory(size_gb=0.1) as memory:
        fill(memory)
        with newer(layout):
            memory.create_snapshot(tmp_path / "snapshot")
    with WarmMemory(size_gb=0.1) as memory:
        memory.store("before", 1)
        with refused(tmp_path, says="the snapshot has format 2"):
            memory.restore_snapshot(tmp_path / "snapshot")
        assert list(memory.keys()) == ["before"]


@pytest.mark.parametrize("key", [{}, {"encryption_key": b"k" * 32}], ids=["clear", "encrypted"])
def test_an_object_in_a_bucket(tmp_path: Path, key: dict[str, Any]) -> None:
    with newer(envelope), GlacierMemory("local", storage_path=str(tmp_path), **key) as memory:
        fill(memory)
    with GlacierMemory("local", storage_path=str(tmp_path), **key) as memory:
        with refused(tmp_path, says="keys/small in .*: it has format 2"):
            memory.retrieve("small")
        with refused(tmp_path):
            memory.store("small", 0)


def test_a_replay_checkpoint(tmp_path: Path) -> None:
    from memories.replay import persistence

    buffer = ReplayBuffer(SCHEMA, 10)
    buffer.add_batch({"obs": np.ones((4, 3), np.float32)})
    with newer(persistence):
        buffer.checkpoint(tmp_path / "replay.bin")
    other = ReplayBuffer(SCHEMA, 10)
    other.add_batch({"obs": np.zeros((2, 3), np.float32)})
    with refused(tmp_path, says="format 2, and this version reads 1"):
        other.restore(tmp_path / "replay.bin")
    assert len(other) == 2


def test_a_replay_checkpoint_of_a_cluster(tmp_path: Path) -> None:
    manifest = {
        "format": cluster_checkpoint.FORMAT + 1,
        "spec": json.loads(replay_spec.ReplaySpec(name="pong", schema=SCHEMA, capacity=10).to_json()),
        "shards": [],
    }
    (tmp_path / cluster_checkpoint.MANIFEST).write_text(json.dumps(manifest))
    with refused(tmp_path):
        cluster_checkpoint.read_manifest(tmp_path)


@pytest.mark.parametrize(
    ("module", "write", "read"),
    [
        (view_log, lambda: view_log._pack(View(1, 1, "me")), view_log._unpack),
        (layout_log, lambda: layout_log._pack(Layout(1, ())), layout_log._unpack),
        (
            replay_spec,
            lambda: replay_spec.ReplaySpec(name="pong", schema=SCHEMA, capacity=10).to_json(),
            replay_spec.ReplaySpec.from_json,
        ),
    ],
    ids=["membership", "layout", "replay buffer"],
)
def test_what_a_cluster_keeps_in_rays_key_value_store(
    module: Any, write: Callable[[], bytes], read: Callable[[bytes], object]
) -> None:
    read(write())
    with newer(module):
        written = write()
    with pytest.raises(NewerFormat, match="format 2"):
        read(written)


def test_a_memoria_state(tmp_path: Path) -> None:
    from memoria import state

    network = Memoria(**NETWORK)
    network.add_working_memory(torch.rand(1, 2, 4))
    with newer(state, "_FORMAT", "memoria-2"):
        network.save(tmp_path / "network.safetensors")
    other = Memoria(**NETWORK)
    with refused(tmp_path, InvalidState, "format 'memoria-2'; this version reads 'memoria-1'"):
        other.load(tmp_path / "network.safetensors")
    assert other.timestep == 0


def test_a_memoria_history() -> None:
    from memoria import history

    with newer(history, "_FORMAT", "memoria-history-2"):
        written = HistoryManager().to_json()
    with pytest.raises(InvalidState, match="memoria-history-2"):
        HistoryManager.from_json(written)
