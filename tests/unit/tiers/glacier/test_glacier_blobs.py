"""GlacierBlobs over a real folder: layout, atomicity under faults, conflicts, encryption, partial reads."""

from __future__ import annotations

import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from xxhash import xxh3_64_intdigest

from memories.errors import ConflictingWrite, CorruptData, KeyNotFound, PermissionRefused, Unavailable
from memories.tiers.blobs import Blob
from memories.tiers.encoded import Selection
from memories.tiers.glacier.crypto import KeyRing
from memories.tiers.glacier.glacier_blobs import GlacierBlobs
from memories.tiers.glacier.layout import BLOCK_BYTES, Compressor
from memories.tiers.glacier.local_objects import LocalObjects
from memories.tiers.glacier.names import object_name
from memories.tiers.glacier.options import GlacierOptions
from memories.tiers.glacier.retry import Retry
from memories.tiers.record import Record
from tests.support.faulty_objects import FaultyObjects

Array = npt.NDArray[Any]

# Small limits, so that small values take the ways of large ones: above 1 kB a body, above 600 kB parts.
SMALL = GlacierOptions(
    inline_bytes=1_000, multipart_bytes=600_000, part_bytes=300_000, concurrency=3, upload_window=2
)
QUICK = Retry(max_attempts=3, base_s=0.0)
KEY = KeyRing({"one": b"\1" * 32})
SIZES = (0, 1, 999, 1_001, BLOCK_BYTES, 2 * BLOCK_BYTES + 1, 900_001)


def blob_of(key: str, *arrays: Array, **fields: Any) -> Blob:
    buffers = tuple(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data for array in arrays)
    record = Record(
        key=key,
        header=b"header",
        lengths=tuple(buffer.nbytes for buffer in buffers),
        checksums=tuple(xxh3_64_intdigest(buffer) for buffer in buffers),
        **fields,
    )
    return Blob(record, buffers)


def content(size: int, seed: int = 0) -> Array:
    """Bytes of which some blocks compress and others do not."""
    random = np.random.default_rng(seed).integers(0, 256, size, dtype=np.uint8)
    random[: size // 3] = seed % 251
    return random


def assert_same(found: Blob, expected: Blob) -> None:
    assert found.record == expected.record
    assert [bytes(buffer) for buffer in found.buffers] == [bytes(buffer) for buffer in expected.buffers]


@pytest.fixture
def open_blobs(tmp_path: Path) -> Iterator[Callable[..., GlacierBlobs]]:
    opened: list[GlacierBlobs] = []

    def open_one(store: Any = None, **arguments: Any) -> GlacierBlobs:
        arguments = {"options": SMALL, "retry": QUICK, **arguments}
        opened.append(GlacierBlobs(store or LocalObjects(tmp_path), "some/prefix/", **arguments))
        return opened[-1]

    yield open_one
    for blobs in opened:
        blobs.close()
    assert not [thread.name for thread in threading.enumerate() if thread.name.startswith("glacier-")]


LAYOUTS = {
    "plain": {},
    "zstd": {"compressor": Compressor("zstd", 3)},
    "lz4": {"compressor": Compressor("lz4")},
    "snappy": {"compressor": Compressor("snappy")},
    "encrypted": {"keys": KEY},
    "encrypted zstd": {"keys": KEY, "compressor": Compressor("zstd")},
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_size_comes_back_from_another_process_too(open_blobs: Any, layout: str) -> None:
    writer = open_blobs(**LAYOUTS[layout])
    stored = [blob_of(f"k{size}", content(size, size)) for size in SIZES]
    stored += [blob_of("several", content(7), content(0), content(300_000), content(65)), blob_of("none")]
    writer.put_many(stored)
    reader = open_blobs(**LAYOUTS[layout])
    for blob, found in zip(stored, reader.get_many([blob.record.key for blob in stored]), strict=True):
        assert_same(found, blob)
        assert reader.record(blob.record.key) == blob.record
        filled = [np.frombuffer(buffer, np.uint8) for buffer in found.buffers if buffer.nbytes]
        assert all(array.ctypes.data % 64 == 0 for array in filled)
    assert sorted(record.key for record in reader.records()) == sorted(blob.record.key for blob in stored)
    assert len(reader) == len(stored)


def test_overwriting_and_removing_leave_no_object_behind(open_blobs: Any, tmp_path: Path) -> None:
    blobs = open_blobs()
    for size in (*SIZES, *reversed(SIZES)):
        blobs.put(blob_of("k", content(size, size)))
        used = blobs.used_bytes
        blobs.recount()
        assert blobs.used_bytes == used == blobs.stored_bytes("k")
    assert blobs.remove("k")
    assert not blobs.remove("k")
    assert (len(blobs), blobs.used_bytes) == (0, 0)
    files = [path for path in tmp_path.rglob("*") if path.is_file() and path.name != "lock"]
    assert files == []
    with pytest.raises(KeyNotFound, match="'k' is not stored"):
        blobs.get("k")


@pytest.mark.parametrize("size", [10, 5_000])
@pytest.mark.parametrize("layout", ["plain", "encrypted zstd"])
def test_an_update_keeps_the_bytes(open_blobs: Any, size: int, layout: str) -> None:
    blobs = open_blobs(**LAYOUTS[layout])
    blob = blob_of("k", content(size))
    blobs.put(blob)
    changed = blob.record.replace(priority=7.0, pinned=True, metadata={"a": ["b" * 30_000]})
    blobs.update(changed)
    assert_same(blobs.get("k"), Blob(changed, blob.buffers))
    blobs.update(blob.record)
    assert_same(blobs.get("k"), blob)
    with pytest.raises(KeyNotFound):
        blobs.update(blob.record.replace(key="other"))
    with pytest.raises(ValueError, match="lengths"):
        blobs.update(blob.record.replace(lengths=(1, 2)))


def test_parts_are_what_slicing_gives(open_blobs: Any, tmp_path: Path) -> None:
    blob = blob_of("k", content(3_333), content(7 * BLOCK_BYTES + 77, 5))
    stores = {}
    for layout in ("plain", "encrypted zstd"):
        stores[layout] = open_blobs(LocalObjects(tmp_path / layout), **LAYOUTS[layout])
        stores[layout].put(blob)

    @settings(max_examples=60, deadline=None)
    @given(data=st.data())
    def check(data: st.DataObject) -> None:
        source = data.draw(st.integers(0, 1))
        whole = bytes(blob.buffers[source])
        cut = st.integers(0, len(whole))
        if data.draw(st.booleans()):
            pairs = [sorted(pair) for pair in data.draw(st.lists(st.tuples(cut, cut), max_size=5))]
        else:  # rows of one width, in any order and repeated
            rows = data.draw(st.lists(st.integers(0, len(whole) // 1_000 - 1), max_size=30))
            pairs = [[row * 1_000, row * 1_000 + 1_000] for row in rows]
        ranges = np.array(pairs, np.int64).reshape(-1, 2)
        blobs = stores[data.draw(st.sampled_from(sorted(stores)))]
        part = blobs.get_part("k", Selection(b"", (source,), (ranges,)))
        assert bytes(part.buffers[0]) == b"".join(whole[start:end] for start, end in pairs)

    check()


def test_a_part_reads_little_more_than_it_is(open_blobs: Any, tmp_path: Path) -> None:
    blobs = open_blobs(FaultyObjects(LocalObjects(tmp_path)))
    blobs.put(blob_of("k", content(100 * BLOCK_BYTES)))
    asked: list[int] = []
    inner = blobs._store.inner
    inner_read_into = inner.read_into
    inner.read_into = lambda name, start, into: (
        asked.append(into.nbytes),
        inner_read_into(name, start, into),
    )
    row = 50 * BLOCK_BYTES + 5
    blobs.get_part("k", Selection(b"", (0,), (np.array([[row, row + 1_000]]),)))
    assert asked == [BLOCK_BYTES]


# Faults ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("old_size", [None, 10, 5_000])
@pytest.mark.parametrize("new_size", [20, 6_000, 700_000])
def test_a_write_that_dies_at_any_request_leaves_the_old_or_the_new_value(
    open_blobs: Any, tmp_path: Path, old_size: int | None, new_size: int, when: str
) -> None:
    old = None if old_size is None else blob_of("k", content(old_size, 1))
    new = blob_of("k", content(new_size, 2))
    for fatal in range(1, 10):
        store = FaultyObjects(LocalObjects(tmp_path / str(fatal)))
        blobs = open_blobs(store, retry=Retry(max_attempts=1))
        if old is not None:
            blobs.put(old)
        store.requests.clear()

        def die(operation: str, name: str, store: FaultyObjects = store, fatal: int = fatal) -> None:
            if len(store.requests) >= fatal:
                raise Unavailable("the server died")

        setattr(store, when, die)
        try:
            blobs.put(new)
            acknowledged = True
        except Unavailable:
            acknowledged = False
        died = len(store.requests) >= fatal

        survivor = open_blobs(LocalObjects(tmp_path / str(fatal)))
        stored = survivor.record("k")
        if acknowledged:
            assert stored == new.record
        else:
            assert stored in (new.record, None if old is None else old.record)
        if stored is not None:
            assert_same(survivor.get("k"), new if stored == new.record else old)  # type: ignore[arg-type]
        survivor.sweep(before_s=time.time() + 60)
        survivor.recount()
        assert survivor.used_bytes == survivor.stored_bytes("k"), "the sweep left something behind"
        if not died:
            return
    raise AssertionError("the write took more requests than the test counts on")


def test_a_lost_reply_to_a_conditional_write_is_no_conflict(open_blobs: Any, tmp_path: Path) -> None:
    store = FaultyObjects(LocalObjects(tmp_path))
    blobs = open_blobs(store)
    lost: list[str] = []

    def lose_first_reply(operation: str, name: str) -> None:
        if operation == "put" and "keys/" in name and not lost:
            lost.append(name)
            raise Unavailable("connection reset")

    store.after = lose_first_reply
    blob = blob_of("k", content(10))
    blobs.put(blob)
    assert lost
    assert_same(blobs.get("k"), blob)


@pytest.mark.parametrize("size", [10, 5_000, 700_000])
def test_of_two_writers_one_wins_and_the_other_is_told(open_blobs: Any, tmp_path: Path, size: int) -> None:
    mine, theirs = blob_of("k", content(size, 1)), blob_of("k", content(size, 2))
    other = open_blobs()
    store = FaultyObjects(LocalObjects(tmp_path))
    blobs = open_blobs(store)
    blobs.put(blob_of("k", content(size, 0)))

    def overtake(operation: str, name: str) -> None:
        if operation == "put" and "keys/" in name:
            store.before = lambda operation, name: None
            other.put(theirs)

    store.before = overtake
    with pytest.raises(ConflictingWrite, match="at the same time"):
        blobs.put(mine)
    assert_same(blobs.get("k"), theirs)
    blobs.recount()
    assert blobs.used_bytes == blobs.stored_bytes("k"), "the loser's body is still there"
    blobs.put(mine)
    assert_same(other.get("k"), mine)


@pytest.mark.parametrize("reply_is_lost", [False, True])
def test_an_update_that_loses_leaves_the_bytes_to_the_winner(
    open_blobs: Any, tmp_path: Path, reply_is_lost: bool
) -> None:
    """Both heads refer to one body: the loser must not take it along."""
    other = open_blobs()
    store = FaultyObjects(LocalObjects(tmp_path))
    blobs = open_blobs(store)
    blob = blob_of("k", content(5_000))
    blobs.put(blob)
    theirs = blob.record.replace(priority=1.0)

    def overtake(operation: str, name: str) -> None:
        if operation == "put" and "keys/" in name:
            store.before = store.after = lambda operation, name: None
            other.update(theirs)
            if reply_is_lost:
                raise Unavailable("connection reset")

    setattr(store, "after" if reply_is_lost else "before", overtake)
    with pytest.raises(ConflictingWrite):
        blobs.update(blob.record.replace(priority=2.0))
    assert_same(other.get("k"), Blob(theirs, blob.buffers))


def test_a_write_whose_reply_is_lost_and_that_is_then_updated_keeps_its_bytes(
    open_blobs: Any, tmp_path: Path
) -> None:
    other = open_blobs()
    store = FaultyObjects(LocalObjects(tmp_path))
    blobs = open_blobs(store)
    blob = blob_of("k", content(5_000))
    theirs = blob.record.replace(pinned=True)

    def overtake(operation: str, name: str) -> None:
        if operation == "put" and "keys/" in name:
            store.after = lambda operation, name: None
            other.update(theirs)
            raise Unavailable("connection reset")

    store.after = overtake
    with pytest.raises(ConflictingWrite):
        blobs.put(blob)
    assert_same(other.get("k"), Blob(theirs, blob.buffers))


def test_many_threads_on_one_key_never_read_a_mixture(open_blobs: Any) -> None:
    blobs, other = open_blobs(), open_blobs()
    candidates = [blob_of("k", content(3_000 + n, n), metadata={"n": n}) for n in range(4)]
    blobs.put(candidates[0])
    failures: list[BaseException] = []
    stop = threading.Event()

    def write(mine: GlacierBlobs, first: int) -> None:
        for n in range(12):
            try:
                mine.put(candidates[(first + n) % 4])
            except ConflictingWrite:
                continue

    def read() -> None:
        try:
            while not stop.is_set():
                found = blobs.get("k")
                assert_same(found, candidates[int(found.record.metadata["n"])])
        except (AssertionError, OSError, ValueError, LookupError) as error:
            failures.append(error)

    readers = [threading.Thread(target=read) for _ in range(2)]
    writers = [threading.Thread(target=write, args=pair) for pair in ((blobs, 0), (blobs, 1), (other, 2))]
    for thread in (*readers, *writers):
        thread.start()
    for thread in writers:
        thread.join()
    stop.set()
    for thread in readers:
        thread.join()
    assert failures == []


def test_a_body_that_is_gone_is_corruption_not_absence(open_blobs: Any, tmp_path: Path) -> None:
    blobs = open_blobs()
    blobs.put(blob_of("k", content(5_000)))
    next((tmp_path / "some/prefix/bodies").iterdir()).unlink()
    with pytest.raises(CorruptData, match="does not exist"):
        blobs.get("k")
    blobs.put(blob_of("k", content(10)))
    assert blobs.get("k").record.lengths == (10,)


def test_damage_is_an_error_or_changes_nothing(open_blobs: Any, tmp_path: Path) -> None:
    targets = {}
    for layout in ("plain", "zstd", "encrypted"):
        for size in (500, 5_000):
            folder = tmp_path / f"{layout} {size}"
            blobs = open_blobs(LocalObjects(folder), **LAYOUTS[layout])
            blob = blob_of("k", content(size), metadata={"a": 1})
            blobs.put(blob)
            targets[folder.name] = (blobs, sorted(folder.glob("some/prefix/*/*")), blob)

    @settings(max_examples=100, deadline=None)
    @given(data=st.data())
    def check(data: st.DataObject) -> None:
        blobs, paths, blob = targets[data.draw(st.sampled_from(sorted(targets)))]
        path = data.draw(st.sampled_from(paths))
        good = path.read_bytes()
        path.write_bytes(damaged(good, data))
        try:
            found = blobs.get("k")
        except CorruptData:
            pass
        else:
            assert_same(found, blob)
        finally:
            path.write_bytes(good)

    check()


def damaged(good: bytes, data: st.DataObject) -> bytes:
    """The bytes with a bit flipped, cut off, extended, or with something put in between."""
    at = data.draw(st.integers(0, len(good) - 1))
    kind = data.draw(st.sampled_from(["flip", "truncate", "extend", "splice"]))
    if kind == "flip":
        return good[:at] + bytes([good[at] ^ (1 << data.draw(st.integers(0, 7)))]) + good[at + 1 :]
    if kind == "truncate":
        return good[:at]
    at = len(good) if kind == "extend" else at
    return good[:at] + data.draw(st.binary(min_size=1, max_size=50)) + good[at:]


# Encryption -----------------------------------------------------------------------------------------


def head(folder: Path, key: str) -> Path:
    return folder / "some/prefix/keys" / object_name(key)


@pytest.mark.parametrize("size", [100, 5_000])
def test_encrypted_objects_show_nothing_of_value_and_record(
    open_blobs: Any, tmp_path: Path, size: int
) -> None:
    blobs = open_blobs(keys=KEY)
    blobs.put(blob_of("k", np.frombuffer(b"canary" * size, np.uint8), metadata={"owner": "canary"}))
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert files
    assert not any(b"canary" in path.read_bytes() for path in files)


def test_objects_cannot_be_swapped_between_keys(open_blobs: Any, tmp_path: Path) -> None:
    for arguments in ({}, {"keys": KEY}):
        blobs = open_blobs(**arguments)
        blobs.put(blob_of("alice", content(100, 1)))
        blobs.put(blob_of("bob", content(100, 2)))
        head(tmp_path, "alice").write_bytes(head(tmp_path, "bob").read_bytes())
        with pytest.raises(CorruptData):
            blobs.get("alice")
        assert blobs.get("bob").record.key == "bob"


def test_the_body_of_another_version_does_not_open(open_blobs: Any, tmp_path: Path) -> None:
    blobs = open_blobs(keys=KEY)
    blobs.put(blob_of("k", content(5_000, 1)))
    (body,) = (tmp_path / "some/prefix/bodies").iterdir()
    old = body.read_bytes()
    blobs.put(blob_of("k", content(5_000, 2)))
    (body,) = (tmp_path / "some/prefix/bodies").iterdir()
    body.write_bytes(old)
    with pytest.raises(CorruptData, match="does not authenticate"):
        blobs.get("k")


def test_keys_rotate(open_blobs: Any) -> None:
    old = blob_of("old", content(5_000, 1))
    open_blobs(keys=KEY).put(old)
    both = open_blobs(keys=KeyRing({"one": b"\1" * 32, "two": b"\2" * 32}, "two"))
    assert_same(both.get("old"), old)
    both.update(old.record)
    assert both.rotate() == 1
    assert both.rotate() == 0
    only_new = open_blobs(keys=KeyRing({"two": b"\2" * 32}))
    assert_same(only_new.get("old"), old)
    with pytest.raises(PermissionRefused, match="key id 'two'"):
        open_blobs(keys=KEY).get("old")


def test_a_wrong_key_under_the_same_id_and_no_key_at_all(open_blobs: Any) -> None:
    open_blobs(keys=KEY).put(blob_of("k", content(100)))
    with pytest.raises(CorruptData, match="does not authenticate"):
        open_blobs(keys=KeyRing({"one": b"\7" * 32})).get("k")
    with pytest.raises(PermissionRefused, match="no encryption_key"):
        open_blobs().get("k")


def test_with_a_key_objects_in_the_clear_are_refused_unless_allowed(open_blobs: Any) -> None:
    blob = blob_of("k", content(100))
    open_blobs().put(blob)
    with pytest.raises(PermissionRefused, match="read_unencrypted"):
        open_blobs(keys=KEY).get("k")
    tolerant = GlacierOptions(inline_bytes=1_000, read_unencrypted=True)
    migrating = open_blobs(keys=KEY, options=tolerant)
    assert_same(migrating.get("k"), blob)
    assert migrating.rotate() == 1
    assert_same(open_blobs(keys=KEY).get("k"), blob)


# Listing --------------------------------------------------------------------------------------------


def test_prefixes_are_those_of_the_keys(open_blobs: Any) -> None:
    keys = [
        "a",
        "a/b",
        "a/bc",
        "ab",
        "b",
        ".hidden",
        "a" * 5_000,
        "a" * 5_000 + "b",
        "é/x",
        "é",
        "=2F",
        "🙂" * 99,
    ]
    blobs = open_blobs()
    blobs.put_many([blob_of(key, content(3)) for key in keys])
    for prefix in ("", "a", "a/", "a/b", "é", ".", "=", "a" * 300, "a" * 5_000, "🙂", "🙂" * 70, "z"):
        assert sorted(blobs.keys(prefix)) == sorted(key for key in keys if key.startswith(prefix)), prefix


def test_foreign_objects_are_left_alone(open_blobs: Any, tmp_path: Path) -> None:
    blobs = open_blobs()
    blobs.put(blob_of("k", content(3)))
    foreign = [tmp_path / "some/prefix/notes.txt", tmp_path / "some/other", tmp_path / "some/prefix/keys/a b"]
    for path in foreign:
        path.write_text("mine")
    assert list(blobs.keys()) == ["k"]
    assert [record.key for record in blobs.records()] == ["k"]
    blobs.clear()
    assert foreign[0].exists()
    assert foreign[1].exists()


def test_the_inventory_goes_on_after_a_damaged_object(
    open_blobs: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    blobs = open_blobs()
    blobs.put_many([blob_of(f"k{n}", content(3)) for n in range(20)])
    head(tmp_path, "k7").write_bytes(b"rubbish")
    assert sorted(record.key for record in blobs.records()) == sorted(f"k{n}" for n in range(20) if n != 7)
    assert "k7" in caplog.text
    with pytest.raises(CorruptData):
        blobs.get("k7")
    assert blobs.remove("k7")


def test_listing_holds_a_page_and_not_everything(open_blobs: Any, tmp_path: Path) -> None:
    blobs = open_blobs()
    folder = tmp_path / "some/prefix/keys"
    folder.mkdir(parents=True)
    count = 3_000
    for n in range(count):
        (folder / object_name(f"key/{n:06}")).touch()
    tracemalloc.start()
    found = sum(1 for _ in blobs.keys("key/"))
    peak_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found == count
    assert peak_bytes < 100 * count, f"{peak_bytes / count:.0f} bytes a key"
