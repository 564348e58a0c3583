"""Snapshot files by themselves: what goes in comes out, and damage never passes for a value."""

from __future__ import annotations

import io
import pickle
import random
import struct
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from xxhash import xxh3_64_intdigest

from memories.errors import CorruptData, InvalidValue, KeyNotFound, MemoriesError, PickleRefused
from memories.tiers.blobs import Blob
from memories.tiers.checksum import checksum
from memories.tiers.codec import decode, encode
from memories.tiers.record import Record
from memories.tiers.snapshots import SnapshotReader, SnapshotWriter, read_snapshot, write_snapshot
from memories.tiers.snapshots.layout import TRAILER_BYTES, Trailer
from tests.support.tier_values import VALUES, assert_same


def blob_of(key: str, value: Any, **fields: Any) -> Blob:
    encoded = encode(value)
    record = Record(
        key=key,
        header=encoded.header,
        lengths=tuple(buffer.nbytes for buffer in encoded.buffers),
        checksums=tuple(checksum(buffer) for buffer in encoded.buffers),
        has_pickle=encoded.has_pickle,
        **fields,
    )
    return Blob(record, encoded.buffers)


def snapshot_of(*blobs: Blob, **arguments: Any) -> bytes:
    sink = io.BytesIO()
    write_snapshot(sink, blobs, **arguments)
    return sink.getvalue()


class Bomb:
    """Says when it was unpickled."""

    exploded = False

    def __reduce__(self) -> Any:
        return (setattr, (Bomb, "exploded", True))


# What goes in comes out


def test_every_kind_of_value_comes_back_with_its_record() -> None:
    blobs = [blob_of(name, make(), metadata={"n": name}, priority=2.0) for name, make in VALUES.items()]
    content = snapshot_of(*blobs, description="all kinds", created_s=12.5)
    with SnapshotReader(io.BytesIO(content)) as snapshot:
        assert snapshot.info.entries == len(blobs)
        assert snapshot.info.value_bytes == sum(blob.record.nbytes for blob in blobs)
        assert snapshot.info.file_bytes == len(content)
        assert (snapshot.info.created_s, snapshot.info.description) == (12.5, "all kinds")
        assert list(snapshot.records()) == [blob.record for blob in blobs]
        for _ in range(2):
            for blob, (name, make) in zip(snapshot.blobs(), VALUES.items(), strict=True):
                assert blob.record.key == name
                assert_same(decode(blob.record.header, blob.buffers), make())


def test_an_empty_snapshot() -> None:
    with SnapshotReader(io.BytesIO(snapshot_of())) as snapshot:
        assert snapshot.info.entries == 0
        assert list(snapshot.blobs()) == []


def test_selected_keys() -> None:
    content = snapshot_of(*(blob_of(f"k{i}", np.full(1_000, i)) for i in range(10)))
    assert [blob.record.key for blob in read_snapshot(io.BytesIO(content), keys=["k7", "k2"])] == ["k2", "k7"]
    with pytest.raises(KeyNotFound, match="absent"):
        read_snapshot(io.BytesIO(content), keys=["k1", "absent"])


def test_any_arrow_library_reads_the_stream() -> None:
    content = snapshot_of(blob_of("a", np.arange(5)), blob_of("b", "text"), description="plain Arrow")
    with pa.ipc.open_stream(io.BytesIO(content)) as stream:
        assert stream.schema.names == ["record", "buffer"]
        assert b"plain Arrow" in stream.schema.metadata[b"memories.snapshot"]
        assert sum(batch.num_rows for batch in stream) >= 2


def test_arrays_read_from_a_snapshot_are_aligned() -> None:
    content = snapshot_of(
        *(blob_of(f"k{i}", np.arange(i + 3, dtype=np.uint8)) for i in range(9)), blob_of("x", np.ones(3))
    )
    for blob in read_snapshot(io.BytesIO(content)):
        assert decode(blob.record.header, blob.buffers).flags.aligned


class Pipe:
    """A file-like object that can only be read once, in order, a little at a time."""

    def __init__(self, content: bytes) -> None:
        self._inner = io.BytesIO(content)

    def seekable(self) -> bool:
        return False

    def read(self, count: int = -1) -> bytes:
        return self._inner.read(min(count, 1_000) if count >= 0 else 1_000)


def test_a_stream_that_cannot_seek() -> None:
    content = snapshot_of(blob_of("a", np.arange(50_000)))
    (blob,) = read_snapshot(Pipe(content))  # type: ignore[arg-type]
    assert_same(decode(blob.record.header, blob.buffers), np.arange(50_000))


class ShortWrites(io.RawIOBase):
    """A raw file, which may take less than it is given."""

    def __init__(self) -> None:
        self.content = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        taken = bytes(data)[:1_000]
        self.content += taken
        return len(taken)


def test_a_sink_that_takes_little_at_a_time() -> None:
    sink = ShortWrites()
    write_snapshot(sink, [blob_of("a", np.arange(5_000))])
    (blob,) = read_snapshot(io.BytesIO(bytes(sink.content)))
    assert_same(decode(blob.record.header, blob.buffers), np.arange(5_000))


def test_memory_is_bounded_by_the_largest_value(tmp_path: Path) -> None:
    size = 2**21
    path = tmp_path / "snapshot"

    def values() -> Iterator[Blob]:
        for number in range(20):
            yield blob_of(f"k{number}", np.full(size, number, np.uint8))

    tracemalloc.start()
    pa_before = pa.total_allocated_bytes()
    pool = pa.default_memory_pool()
    with path.open("wb") as file:
        write_snapshot(file, values())
    assert tracemalloc.get_traced_memory()[1] < 4 * size
    tracemalloc.reset_peak()
    for number, blob in enumerate(read_snapshot(path)):
        assert blob.buffers[0][0] == number
        assert pool.bytes_allocated() - pa_before < 6 * size
    assert tracemalloc.get_traced_memory()[1] < 6 * size
    tracemalloc.stop()
    assert path.stat().st_size > 20 * size


def test_writing_what_cannot_be() -> None:
    writer = SnapshotWriter(io.BytesIO())
    blob = blob_of("a", np.arange(500))
    writer.add(blob)
    with pytest.raises(InvalidValue, match="already"):
        writer.add(blob)
    with pytest.raises(InvalidValue, match="describe"):
        writer.add(Blob(blob.record.replace(key="b"), ()))
    with pytest.raises(InvalidValue):
        SnapshotWriter(io.BytesIO(), description=7)  # type: ignore[arg-type]


# Damage


def test_an_unfinished_snapshot_is_none() -> None:
    sink = io.BytesIO()
    writer = SnapshotWriter(sink)
    writer.add(blob_of("a", np.arange(500_000)))
    with pytest.raises(CorruptData):
        read_snapshot(io.BytesIO(sink.getvalue()))
    for content in (b"", b"x" * 10, b"x" * 1_000):
        with pytest.raises(CorruptData):
            read_snapshot(io.BytesIO(content))


def test_a_snapshot_of_a_later_format_says_so() -> None:
    content = bytearray(snapshot_of(blob_of("a", 1)))
    trailer = bytearray(content[-TRAILER_BYTES:])
    trailer[8:16] = struct.pack("<Q", 2)
    trailer[-8:] = struct.pack("<Q", xxh3_64_intdigest(bytes(trailer[:-8])))
    content[-TRAILER_BYTES:] = trailer
    with pytest.raises(CorruptData, match="format 2"):
        read_snapshot(io.BytesIO(bytes(content)))


def _mutated(content: bytes, source: random.Random) -> bytes:
    mutated = bytearray(content)
    kind = source.randrange(6)
    place = source.randrange(len(mutated))
    if kind == 0:
        mutated[place] ^= 1 << source.randrange(8)
    elif kind == 1:
        del mutated[place:]
    elif kind == 2:
        length = source.randrange(1, 64)
        mutated[place : place + length] = source.randbytes(len(mutated[place : place + length]))
    elif kind == 3:
        del mutated[place : place + source.randrange(1, 64)]
    elif kind == 4:
        other = source.randrange(len(mutated))
        length = min(source.randrange(1, 256), len(mutated) - max(place, other))
        first, second = mutated[place : place + length], mutated[other : other + length]
        mutated[place : place + length], mutated[other : other + length] = second, first
    else:
        mutated[place:place] = source.randbytes(source.randrange(1, 64))
    return bytes(mutated)


def _resealed(content: bytes) -> bytes:
    """The content with checksums that are right, as an adversary would make it."""
    stream = content[:-TRAILER_BYTES]
    try:
        old = Trailer.unpack(content[-TRAILER_BYTES:])
    except CorruptData:
        return content
    return stream + Trailer(old.entries, old.value_bytes, len(stream), xxh3_64_intdigest(stream)).pack()


def _sample() -> tuple[bytes, dict[str, Any]]:
    values = {
        "array": np.arange(300, dtype=np.float32).reshape(30, 10),
        "text": "some text " * 20,
        "nested": {"a": [1, 2, 3], "b": np.arange(200)},
        "small": 7,
        "bomb": Bomb(),
    }
    return snapshot_of(*(blob_of(key, value, metadata={"key": key}) for key, value in values.items())), values


def _check(content: bytes, values: dict[str, Any]) -> str:
    """Read a damaged snapshot; every value that comes out must be one that went in."""
    try:
        with SnapshotReader(io.BytesIO(content)) as snapshot:
            keys = [record.key for record in snapshot.records() if not record.has_pickle]
            for blob in snapshot.blobs(keys):
                value = decode(blob.record.header, blob.buffers)
                assert_same(value, values[blob.record.key])
        return "same"
    except MemoriesError:
        return "error"
    finally:
        assert not Bomb.exploded


def _mutate_often(count: int, seed: int) -> None:
    content, values = _sample()
    source = random.Random(seed)
    assert _check(content, values) == "same"
    outcomes = []
    for _ in range(count):
        mutated = _mutated(content, source)
        outcomes.append("same" if mutated == content else _check(mutated, values))
        if mutated != content:
            assert outcomes[-1] == "error"
    assert outcomes.count("error") > 0.95 * count


def test_no_mutation_passes_for_a_value() -> None:
    _mutate_often(200, seed=1)


@pytest.mark.slow
def test_no_mutation_of_very_many_passes_for_a_value() -> None:
    _mutate_often(5_000, seed=2)


def _mutate_as_an_adversary(count: int, seed: int) -> None:
    """With right checksums over the file, what stands against crashes is the validation of every part."""
    content, _ = _sample()
    source = random.Random(seed)
    stream = content[:-TRAILER_BYTES]
    outcomes = set()
    for _ in range(count):
        mutated = _resealed(_mutated(stream, source) + content[-TRAILER_BYTES:])
        try:
            with SnapshotReader(io.BytesIO(mutated)) as snapshot:
                for blob in snapshot.blobs([r.key for r in snapshot.records() if not r.has_pickle]):
                    decode(blob.record.header, blob.buffers)
            outcomes.add("read")
        except MemoriesError:
            outcomes.add("error")
        assert not Bomb.exploded
    assert "error" in outcomes


def test_an_adversary_gets_errors_at_most() -> None:
    _mutate_as_an_adversary(100, seed=3)


@pytest.mark.slow
def test_a_patient_adversary_gets_errors_at_most() -> None:
    _mutate_as_an_adversary(3_000, seed=4)


# Pickles


def test_pickles_are_not_unpickled_unasked() -> None:
    content = snapshot_of(blob_of("plain", 1), blob_of("bomb", Bomb()))
    with pytest.raises(PickleRefused, match="bomb"):
        read_snapshot(io.BytesIO(content))
    assert [blob.record.key for blob in read_snapshot(io.BytesIO(content), keys=["plain"])] == ["plain"]
    with pytest.raises(PickleRefused):
        read_snapshot(io.BytesIO(content), keys=["bomb"])
    assert len(list(read_snapshot(io.BytesIO(content), allow_pickle=True))) == 2
    assert not Bomb.exploded


def test_a_record_that_hides_its_pickle_is_found_out() -> None:
    honest = blob_of("bomb", {"deep": [Bomb()]})
    lying = Blob(honest.record.replace(has_pickle=False), honest.buffers)
    with pytest.raises(PickleRefused):
        read_snapshot(io.BytesIO(snapshot_of(lying)))
    assert not Bomb.exploded
    pickle.loads(pickle.dumps(Bomb()))
    assert Bomb.exploded  # the bomb works
    Bomb.exploded = False
