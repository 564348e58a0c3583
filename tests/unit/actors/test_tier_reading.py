"""What a tier actor answers to a reader who knows where to look, and to one who only guesses."""

from __future__ import annotations

from pathlib import Path

import pytest

from memories.actors import wire
from memories.actors.core.model import Kind, MemberInfo, Outcome, Version
from memories.actors.core.tier import Slot, TierCore
from memories.actors.readings import ReadMany, ReadState
from memories.actors.tier_reading import TierReading
from memories.tiers.blobs import Blob, BlobStore
from memories.tiers.cold import ColdBlobs, read_value
from memories.tiers.memory_blobs import MemoryBlobs
from memories.tiers.record import Record

LIFE = 7
SMALL, LARGE = b"s" * 1000, b"l" * 200_000


def reading_of(blobs: BlobStore, *, node: str = "n1") -> TierReading:
    """A tier that holds "small" in version 3 and "large" in version 4, and a tombstone of "gone"."""
    slots = {"gone": Slot(Version(1, 5), Kind.TOMBSTONE, 0, ())}
    for key, content, number in (("small", SMALL, 3), ("large", LARGE, 4)):
        version = Version(1, number)
        record = Record(key=key, header=b"h", lengths=(len(content),), version=version)
        blobs.put(Blob(record, (memoryview(content),)))
        slots[key] = Slot(version, Kind.VALUE, record.nbytes, ())
    info = MemberInfo("n1/tier", "n1", "tier", LIFE, blobs.durable, 1 << 30)
    return TierReading(TierCore(info, slots), blobs, node)


def guess(*keys: str, life: int = LIFE, node: str = "n1") -> ReadMany:
    return ReadMany(life, keys, (), node)


def test_a_guess_is_answered_with_the_version_that_is_here() -> None:
    found = reading_of(MemoryBlobs()).read_all(guess("small"))
    assert found.versions == (Version(1, 3),)
    assert bytes(found.slab) == SMALL
    assert wire.load(wire.dump(found)) == found


@pytest.mark.parametrize("key", ["gone", "never"])
def test_a_guess_about_what_is_not_here_is_answered_with_no_version(key: str) -> None:
    assert reading_of(MemoryBlobs()).read_all(guess(key)).versions == (Version(),)


def test_a_guess_about_another_life_is_answered_with_no_version() -> None:
    found = reading_of(MemoryBlobs()).read_all(guess("small", life=LIFE - 1))
    assert found.versions == (Version(),)
    assert bytes(found.slab) == b""


def test_a_guess_costs_no_bytes_of_a_large_value() -> None:
    found = reading_of(MemoryBlobs()).read_all(guess("large"))
    assert found.versions == (Version(),)
    assert found.others[0].state is ReadState.GONE


def test_whoever_was_sent_for_a_version_gets_it_or_nothing() -> None:
    reading = reading_of(MemoryBlobs())
    right = ReadMany(LIFE, ("small",), (Version(1, 3),), "n1")
    stale = ReadMany(LIFE, ("small",), (Version(1, 2),), "n1")
    assert bytes(reading.read_all(right).slab) == SMALL
    assert reading.read_all(stale).others[0].state is ReadState.GONE


def test_an_actor_that_began_anew_does_not_say_that_values_are_missing() -> None:
    """The coordinator takes a value that its only copy is said to lack for lost."""
    reading = reading_of(MemoryBlobs())
    keys, versions = ("small", "large", "gone"), (Version(1, 3), Version(1, 9), Version(1, 5))
    assert reading.hand_over(LIFE - 1, keys, versions) == [Outcome.UNAVAILABLE] * 3
    found, *missing = reading.hand_over(LIFE, keys, versions)
    assert bytes(found[2][0]) == SMALL
    assert missing == [Outcome.MISSING] * 2


def test_a_large_value_on_disk_is_a_path_for_readers_on_its_node_only(tmp_path: Path) -> None:
    blobs = ColdBlobs(tmp_path / "cold")
    reading = reading_of(blobs)
    for request in (guess("large"), ReadMany(LIFE, ("large",), (Version(1, 4),), "n1")):
        found = reading.read_all(request).others[0]
        assert found.arrays is None
        assert bytes(read_value(Path(found.path)).buffers[0]) == LARGE
    elsewhere = ReadMany(LIFE, ("large",), (Version(1, 4),), "n2")
    found = reading.read_all(elsewhere).others[0]
    assert found.path == ""
    assert found.arrays is not None
    assert bytes(found.arrays[0]) == LARGE
    assert reading.read_all(guess("large", node="n2")).versions == (Version(),)
    assert reading.read_all(guess("small")).versions == (Version(),)  # it would have to be read from the disk
    blobs.close()


def test_a_file_that_was_read_stays_as_it_was(tmp_path: Path) -> None:
    blobs = ColdBlobs(tmp_path / "cold")
    path = Path(reading_of(blobs).read_all(guess("large")).others[0].path)
    old = read_value(path)
    newer = Record(key="large", header=b"h", lengths=(len(LARGE),), version=Version(1, 9))
    blobs.put(Blob(newer, (memoryview(b"n" * len(LARGE)),)))
    assert bytes(old.buffers[0]) == LARGE
    with pytest.raises(FileNotFoundError):
        read_value(path)
    blobs.close()
    assert bytes(old.buffers[0]) == LARGE
