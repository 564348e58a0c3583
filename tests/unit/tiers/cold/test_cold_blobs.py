"""What is particular to the store on disk: lock, folder, full disk, torn ends, compaction, damage."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from memories.errors import (
    Closed,
    CorruptData,
    InvalidValue,
    KeyNotFound,
    LockHeld,
    MissingDependency,
    StorageFull,
)
from memories.tiers.cold import ColdBlobs, compaction, log
from memories.tiers.cold.containers import container
from memories.tiers.encoded import Selection
from tests.unit.tiers.cold.plain_blobs import LARGE, blob, content_of, largest_file, noise


def files(folder: Path, pattern: str) -> list[Path]:
    return sorted(folder.rglob(pattern))


@pytest.fixture
def store(tmp_path: Path) -> Iterator[ColdBlobs]:
    with closing(ColdBlobs(tmp_path)) as opened:
        yield opened


# The folder


def test_one_process_uses_a_folder_at_a_time(tmp_path: Path) -> None:
    with closing(ColdBlobs(tmp_path)), pytest.raises(LockHeld, match=f"process {os.getpid()}"):
        ColdBlobs(tmp_path)
    program = (
        "import sys; from memories.tiers.cold import ColdBlobs\n"
        "ColdBlobs(sys.argv[1]); print('open', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as other:
        assert other.stdout
        assert other.stdout.readline() == "open\n"
        with pytest.raises(LockHeld, match=f"process {other.pid}"):
            ColdBlobs(tmp_path)
        other.kill()
        other.wait()
    ColdBlobs(tmp_path).close()


def test_others_cannot_read_the_folder(tmp_path: Path) -> None:
    with closing(ColdBlobs(tmp_path / "cold")) as store:
        store.put_many([blob("small", b"x"), blob("large", noise(LARGE))])
    assert stat.S_IMODE((tmp_path / "cold").stat().st_mode) == 0o700
    for path in (tmp_path / "cold").rglob("*"):
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600)


def test_keys_are_not_in_paths(tmp_path: Path, store: ColdBlobs) -> None:
    for key in ("../../escape", "secret name"):
        store.put(blob(key, noise(LARGE)))
    assert not [p for p in tmp_path.parent.rglob("*") if "escape" in p.name or "secret" in p.name]


def test_a_file_in_place_of_the_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InvalidValue, match="needs a folder"):
        ColdBlobs(tmp_path / "file")


def test_a_closed_store_says_so(tmp_path: Path) -> None:
    store = ColdBlobs(tmp_path)
    store.put(blob("key", noise(LARGE)))
    (view,) = store.get("key").buffers
    store.remove("key")
    store.close()
    store.close()
    with pytest.raises(Closed):
        store.get("key")
    with pytest.raises(Closed):
        store.put(blob("key", b""))
    assert bytes(view) == noise(LARGE)  # what was handed out stays


@pytest.mark.parametrize(("file_format", "package"), [("hdf5", "h5py"), ("zarr", "zarr")])
def test_a_missing_package_is_named(file_format: str, package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.delitem(sys.modules, f"memories.tiers.cold.containers.{file_format}", raising=False)
    with pytest.raises(MissingDependency, match=rf"memories\[{file_format}\]"):
        container(file_format)


# A full disk


def test_a_full_disk_changes_nothing(tmp_path: Path) -> None:
    with closing(ColdBlobs(tmp_path)) as store:
        store.put_many([blob("small", noise(3000)), blob("large", noise(LARGE))])
        used = store.used_bytes
        with largest_file(10_000):
            with pytest.raises(StorageFull, match="Nothing was changed"):
                store.put(blob("large", noise(LARGE, 1)))
            with pytest.raises(StorageFull, match="Nothing was changed"):
                store.put_many([blob("small", noise(1000, 1)), blob("other", noise(50_000))])
        for _ in range(2):
            assert content_of(store, "small") == noise(3000)
            assert content_of(store, "large") == noise(LARGE)
            assert set(store.keys()) == {"small", "large"}
            assert store.used_bytes == used
            assert not files(tmp_path, "*.temporary")
            store.close()
            store = ColdBlobs(tmp_path)
        store.put(blob("other", noise(50_000)))
        assert content_of(store, "other") == noise(50_000)
        store.close()


def test_a_file_whose_frame_does_not_fit_is_taken_back(tmp_path: Path) -> None:
    with closing(ColdBlobs(tmp_path)) as store:
        store.put_many([blob("large", b"old"), *(blob(f"key {n}", noise(60_000, n)) for n in range(6))])
        with largest_file(store.used_bytes + 10), pytest.raises(StorageFull):
            store.put(blob("large", noise(LARGE)))
        assert content_of(store, "large") == b"old"
    with closing(ColdBlobs(tmp_path)) as store:
        assert content_of(store, "large") == b"old"
        assert not files(tmp_path / "values", "*")


# Crashes


def test_the_end_of_a_segment_may_be_torn_anywhere(tmp_path: Path) -> None:
    """As a power failure may leave it: the index is older than the segment, whose end is cut or lost."""
    with closing(ColdBlobs(tmp_path)) as store:
        store.put_many([blob("a", noise(300)), blob("b", noise(40, 1))])
    (segment,), (index,) = files(tmp_path, "*.segment"), files(tmp_path, "*.index")
    start, known = segment.stat().st_size, index.read_bytes()
    with closing(ColdBlobs(tmp_path)) as store:
        store.put(blob("a", noise(200, 2)))
    whole = segment.read_bytes()
    for cut in [*range(start, len(whole), 23), len(whole)]:
        for torn in (whole[:cut], whole[:cut] + bytes(len(whole) - cut)):
            segment.write_bytes(torn)
            index.write_bytes(known)
            with closing(ColdBlobs(tmp_path)) as store:
                assert store.damage == []
                assert content_of(store, "a") == noise(200, 2) if torn == whole else noise(300)
                assert content_of(store, "b") == noise(40, 1)
                store.put(blob("c", b"goes on"))
            with closing(ColdBlobs(tmp_path)) as store:
                assert content_of(store, "c") == b"goes on"


def test_the_index_can_be_lost(tmp_path: Path) -> None:
    with closing(ColdBlobs(tmp_path)) as store:
        store.put_many([blob(f"key {number}", noise(100, number)) for number in range(50)])
        store.remove("key 7")
        store.put(blob("key 9", noise(LARGE)))
    for path in files(tmp_path, "*.index"):
        path.unlink()
    for _ in range(2):
        with closing(ColdBlobs(tmp_path)) as store:
            assert len(store) == 49
            assert content_of(store, "key 3") == noise(100, 3)
            assert content_of(store, "key 9") == noise(LARGE)


def test_a_file_that_no_frame_tells_of_is_taken_in(tmp_path: Path) -> None:
    """The crash came after the file got its name."""
    with closing(ColdBlobs(tmp_path)) as store:
        store.put(blob("key", b"old"))
    (segment,), (index,) = files(tmp_path, "*.segment"), files(tmp_path, "*.index")
    before = segment.read_bytes(), index.read_bytes()
    with closing(ColdBlobs(tmp_path)) as store:
        store.put(blob("key", noise(LARGE)))
        store.put(blob("key", noise(LARGE, 1)))
    segment.write_bytes(before[0])
    index.write_bytes(before[1])
    with closing(ColdBlobs(tmp_path)) as store:
        assert content_of(store, "key") == noise(LARGE, 1)
        store.put(blob("key", b"new"))
    with closing(ColdBlobs(tmp_path)) as store:
        assert content_of(store, "key") == b"new"
    assert not files(tmp_path / "values", "*")


# Compaction


def test_overwritten_values_do_not_pile_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log, "SEGMENT_BYTES", 100_000)
    monkeypatch.setattr(compaction, "LEAST_DEAD_BYTES", 100_000)
    with closing(ColdBlobs(tmp_path)) as store:
        store.put(blob("early", noise(500)))
        store.put(blob("updated", noise(500, 1)))
        store.put(blob("in a file", noise(LARGE)))
        for key in ("updated", "in a file"):
            record = store.record(key)
            assert record is not None
            store.update(record.replace(priority=3.0))
        for number in range(160):
            store.put(blob(f"key {number % 7}", noise(2000, number)))
            store.remove(f"key {(number + 3) % 7}")
        on_disk = sum(path.stat().st_size for path in files(tmp_path, "*.segment"))
        assert on_disk < 300_000
        expected = {key: content_of(store, key) for key in set(store.keys())}
        used = store.used_bytes
    assert expected["early"] == noise(500)
    with closing(ColdBlobs(tmp_path)) as store:
        assert {key: content_of(store, key) for key in set(store.keys())} == expected
        assert store.used_bytes == used
        assert store.damage == []
        for key in ("updated", "in a file"):
            record = store.record(key)
            assert record is not None
            assert record.priority == 3.0
        store.compact()
        assert {key: content_of(store, key) for key in set(store.keys())} == expected


def test_the_index_of_a_compacted_segment_hides_no_copy(tmp_path: Path) -> None:
    with closing(ColdBlobs(tmp_path)) as store:
        store.put(blob("moved", noise(500)))
        store.put(blob("overwritten", noise(500)))
        index = next(iter(files(tmp_path, "*.index")))
        left_behind = index.read_bytes()
        store.put(blob("overwritten", noise(500, 1)))
        store.compact()
        assert not index.exists()
    index.write_bytes(left_behind)
    with closing(ColdBlobs(tmp_path)) as store:
        assert content_of(store, "moved") == noise(500)
        assert content_of(store, "overwritten") == noise(500, 1)


# Damage


def test_a_damaged_file_is_set_aside_and_the_rest_goes_on(tmp_path: Path) -> None:
    with closing(ColdBlobs(tmp_path)) as store:
        store.put(blob("bad", b"an older value"))
        store.put_many([blob("bad", noise(LARGE)), blob("good", noise(LARGE, 1))])
        bad = next(p for p in files(tmp_path, "*.arrow") if noise(LARGE) in p.read_bytes())
        content = bytearray(bad.read_bytes())
        content[LARGE // 2] ^= 1
        bad.write_bytes(content)
        for _ in range(2):
            with pytest.raises(CorruptData, match=bad.name):
                store.get("bad")
        assert content_of(store, "good") == noise(LARGE, 1)
        assert files(tmp_path, "quarantine/*") == [tmp_path / "quarantine" / bad.name]
        assert len(store.damage) == 1
    with closing(ColdBlobs(tmp_path)) as store:
        with pytest.raises(CorruptData, match=r"'bad'.*Store it again or delete it"):
            store.get("bad")
        store.put(blob("bad", b"new"))
        assert content_of(store, "bad") == b"new"
    with closing(ColdBlobs(tmp_path)) as store:
        assert content_of(store, "bad") == b"new"


def test_parts_are_verified_block_by_block(tmp_path: Path, store: ColdBlobs) -> None:
    store.put(blob("key", noise(LARGE)))
    (path,) = files(tmp_path, "*.arrow")
    content = bytearray(path.read_bytes())
    at = content.index(noise(LARGE))
    content[at + 40_960] ^= 1
    path.write_bytes(content)

    def part(begin: int, end: int) -> bytes:
        return bytes(store.get_part("key", Selection(b"", (0,), (np.array([[begin, end]]),))).buffers[0])

    assert part(0, 40_960) == noise(LARGE)[:40_960]
    assert part(45_056, LARGE) == noise(LARGE)[45_056:]
    with pytest.raises(CorruptData, match="byte 40960"):
        part(41_000, 41_001)


def test_a_file_cut_off_while_it_is_mapped_is_an_error(tmp_path: Path, store: ColdBlobs) -> None:
    store.put(blob("key", noise(LARGE)))
    whole = Selection(b"", (0,), (np.array([[0, LARGE]]),))
    assert bytes(store.get_part("key", whole).buffers[0]) == noise(LARGE)
    (path,) = files(tmp_path, "*.arrow")
    os.truncate(path, 5000)
    with pytest.raises(CorruptData, match="cut off"):
        store.get_part("key", whole)
    with pytest.raises(CorruptData):
        store.get("key")
    with pytest.raises(KeyNotFound):
        store.get("other")
