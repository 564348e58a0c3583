"""What every blob store promises: one suite over all of them. The cases are in
`tests.support.blob_stores`."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from memories.errors import CorruptData, KeyNotFound
from memories.tiers.blobs import Blob, BlobStore
from memories.tiers.checksum import checksum
from memories.tiers.encoded import Selection
from memories.tiers.record import Record, Version
from tests.support.blob_stores import StoreCase, load_cases

LARGE = 300_000


@pytest.fixture(
    params=[
        pytest.param(case, id=case.name, marks=[pytest.mark.slow] if case.slow else [])
        for case in load_cases()
    ]
)
def case(request: pytest.FixtureRequest) -> StoreCase:
    chosen: StoreCase = request.param
    return chosen


@pytest.fixture
def store(case: StoreCase, tmp_path: Path) -> Iterator[BlobStore]:
    with case.open(tmp_path) as opened:
        yield opened


def blob(key: str, *contents: bytes, sequence: int = 1, **fields: object) -> Blob:
    buffers = tuple(memoryview(content) for content in contents)
    record = Record(
        key=key,
        header=b"header",
        lengths=tuple(map(len, contents)),
        checksums=tuple(map(checksum, buffers)),
        version=Version(1, sequence),
        **fields,  # type: ignore[arg-type]
    )
    return Blob(record, buffers)


def content(nbytes: int, seed: int = 0) -> bytes:
    half = nbytes // 2
    return random.Random(seed).randbytes(half) + bytes(nbytes - half)


def read(store: BlobStore, key: str) -> tuple[bytes, ...]:
    return tuple(map(bytes, store.get(key).buffers))


SHAPES = {
    "no buffers": (),
    "an empty buffer": (b"",),
    "a byte": (b"x",),
    "small": (content(1000),),
    "several": (content(333), b"", content(70_000), content(5)),
    "large": (content(LARGE),),
    "several large": (content(LARGE), content(LARGE + 17, 1)),
    "whole blocks": (content(128 * 1024),),
}


def test_a_blob_comes_back_with_its_record(store: BlobStore) -> None:
    for name, contents in SHAPES.items():
        given = blob(name, *contents, metadata={"a": [1, {"b": None}]}, priority=2.5, clients={"c": 7})
        store.put(given)
        assert read(store, name) == contents
        assert store.get(name).record == store.record(name) == given.record
    assert len(store) == len(SHAPES)
    assert {record.key: record for record in store.records()}.keys() == SHAPES.keys()


def test_replacing_keeps_one_blob(store: BlobStore) -> None:
    for sequence, name in enumerate(["small", "large", "several", "no buffers", "several large", "a byte"]):
        store.put(blob("key", *SHAPES[name], sequence=sequence))
        assert read(store, "key") == SHAPES[name]
        assert len(store) == 1
        assert list(store.keys()) == ["key"]


def test_many_at_once(store: BlobStore) -> None:
    blobs = [blob(f"key {i}", content(100 + i, i)) for i in range(50)]
    store.put_many([*blobs, blob("large", content(LARGE)), blob("key 3", b"again")])
    store.put_many([])
    assert len(store) == 51
    found = store.get_many(["key 7", "large", "key 3"])
    assert [bytes(each.buffers[0]) for each in found] == [content(107, 7), content(LARGE), b"again"]
    with pytest.raises(KeyNotFound):
        store.get_many(["key 7", "absent"])
    assert store.remove_many(["key 1", "absent", "large", "key 1"]) == 2
    assert len(store) == 49


def test_what_is_absent(store: BlobStore) -> None:
    with pytest.raises(KeyNotFound):
        store.get("absent")
    with pytest.raises(KeyNotFound):
        store.get_part("absent", Selection(b"", (), ()))
    with pytest.raises(KeyNotFound):
        store.update(Record(key="absent"))
    assert store.record("absent") is None
    assert store.remove("absent") is False
    assert store.stored_bytes("absent") == 0
    assert list(store.keys()) == list(store.records()) == []


def test_parts(store: BlobStore) -> None:
    for name in ("small", "several", "large", "several large", "whole blocks"):
        contents = SHAPES[name]
        store.put(blob(name, *contents))
        for source, whole in enumerate(contents):
            for ranges in _ranges_of(len(whole)):
                array = np.array(ranges, dtype=np.int64).reshape(-1, 2)
                part = store.get_part(name, Selection(b"part", (source,), (array,)))
                assert bytes(part.buffers[0]) == b"".join(whole[begin:end] for begin, end in ranges)
        sources = tuple(reversed(range(len(contents))))
        every = tuple(np.array([[0, len(contents[source])]]) for source in sources)
        assert (
            tuple(map(bytes, store.get_part(name, Selection(b"", sources, every)).buffers)) == contents[::-1]
        )


def _ranges_of(nbytes: int) -> list[list[tuple[int, int]]]:
    rows = [(at, at + 10) for at in range(0, nbytes - 9, 10)]
    generator = random.Random(nbytes)
    picked = generator.choices(rows, k=40) if rows else []
    return [
        [],
        [(0, nbytes)],
        [(nbytes // 3, nbytes // 2)],
        [(nbytes, nbytes)],
        picked,
        [(begin // 2, end) for begin, end in picked],
        [(max(0, nbytes - 1), nbytes), (0, min(1, nbytes))],
    ]


def test_parts_that_are_not_there(store: BlobStore) -> None:
    if not store.durable:  # its buffers never differ from its header
        return
    for name in ("small", "large"):
        store.put(blob(name, *SHAPES[name]))
        nbytes = len(SHAPES[name][0])
        for begin, end in [(0, nbytes + 1), (-1, 5), (nbytes + 5, nbytes + 9)]:
            with pytest.raises((CorruptData, ValueError, IndexError)):
                store.get_part(name, Selection(b"", (0,), (np.array([[begin, end]]),)))
        with pytest.raises((CorruptData, ValueError, IndexError)):
            store.get_part(name, Selection(b"", (1,), (np.array([[0, 1]]),)))


def test_updating_a_record_keeps_the_buffers(store: BlobStore) -> None:
    for name in ("small", "large", "no buffers"):
        given = blob(name, *SHAPES[name])
        store.put(given)
        for number in range(3):
            store.update(given.record.replace(priority=number, metadata={"n": number}))
        assert store.record(name) == given.record.replace(priority=2.0, metadata={"n": 2})
        assert read(store, name) == SHAPES[name]
        store.put(blob(name, b"new"))
        assert read(store, name) == (b"new",)


def test_tombstones_and_superseded_marks_are_records_like_others(store: BlobStore) -> None:
    store.put(blob("deleted", tombstone=True))
    store.put(blob("old", content(500)))
    store.update(blob("old", content(500), superseded=True).record)
    deleted, old = store.record("deleted"), store.record("old")
    assert deleted is not None
    assert deleted.tombstone
    assert old is not None
    assert old.superseded
    assert {record.key for record in store.records()} == {"deleted", "old"}


def test_any_key(store: BlobStore) -> None:
    keys = ["../../etc/passwd", "a/b", "new\nline", "nul\0", "😀", "é" * 10_000, ".", " ", "\ud800", "A", "a"]
    store.put_many([blob(key, key.encode("utf-8", "surrogatepass")) for key in keys[::2]])
    for key in keys[1::2]:
        store.put(blob(key, key.encode("utf-8", "surrogatepass") + bytes(LARGE)))
    assert set(store.keys()) == set(keys)
    for key in keys:
        assert read(store, key)[0].startswith(key.encode("utf-8", "surrogatepass"))
    assert set(store.keys("a")) == {"a", "a/b"}


def test_used_bytes_follow_what_is_stored(store: BlobStore) -> None:
    assert store.used_bytes == 0
    store.put(blob("a", random.Random(1).randbytes(LARGE)))
    store.put(blob("b", random.Random(2).randbytes(2000)))
    assert LARGE + 2000 <= store.used_bytes < 1.2 * LARGE + 20_000
    assert store.stored_bytes("a") + store.stored_bytes("b") == store.used_bytes
    store.put(blob("a", b"small"))
    assert 2000 <= store.used_bytes < 20_000
    store.remove_many(["a", "b"])
    assert store.used_bytes == 0


def test_clear(store: BlobStore) -> None:
    store.put_many([blob("a", b"1"), blob("b", content(LARGE))])
    store.clear()
    assert len(store) == store.used_bytes == 0
    with pytest.raises(KeyNotFound):
        store.get("a")
    store.put(blob("a", b"2"))
    assert read(store, "a") == (b"2",)


def test_durable_stores_find_everything_again(case: StoreCase, tmp_path: Path) -> None:
    with case.open(tmp_path) as store:
        if not store.durable:
            return
        store.put_many([blob(name, *contents) for name, contents in SHAPES.items()])
        store.put(blob("large", b"now small", sequence=2))
        store.put(blob("small", content(LARGE), sequence=2))
        store.remove_many(["a byte", "several large"])
        record = store.record("several")
        assert record is not None
        store.update(record.replace(priority=9.0))
        before = {record.key: (record, read(store, record.key)) for record in store.records()}
        used = store.used_bytes
    for _ in range(2):
        with case.open(tmp_path) as store:
            assert {record.key: (record, read(store, record.key)) for record in store.records()} == before
            assert store.used_bytes == used


def test_threads(store: BlobStore) -> None:
    errors: list[BaseException] = []

    def work(number: int) -> None:
        generator = random.Random(number)
        try:
            for step in range(12):
                shared, own = f"shared {step % 3}", f"own {number} {step % 4}"
                size = generator.choice([10, 3000, 100_000])
                store.put(blob(shared, bytes([number]) * size))
                store.put(blob(own, bytes([number, step]) * 50))
                assert read(store, own) == (bytes([number, step]) * 50,)
                (found,) = read(store, shared)
                assert len(set(found)) == 1
                assert len(found) in (10, 3000, 100_000)
                if step % 5 == 4:
                    assert store.remove(own)
        except BaseException as error:  # noqa: BLE001 - reported by the test
            errors.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
