"""What a cluster leaves in a store, tombstones and superseded blobs, is not there for readers."""

from __future__ import annotations

import io

import pytest

from memories.errors import KeyNotFound
from memories.tiers.blobs import Blob
from memories.tiers.memory_blobs import MemoryBlobs
from memories.tiers.record import Record
from memories.tiers.tier import Tier


@pytest.fixture
def blobs() -> MemoryBlobs:
    blobs = MemoryBlobs()
    with Tier(blobs) as tier:
        tier.store_many({"kept": 1, "old": 2})
        records = {record.key: record for record in tier.records()}
        content = {key: blobs.get(key).buffers for key in records}
    # The tier closed and cleared its store: fill it as a cluster would leave it.
    blobs.put(Blob(records["kept"], content["kept"]))
    blobs.put(Blob(records["old"].replace(superseded=True), content["old"]))
    blobs.put(Blob(Record(key="gone", tombstone=True)))
    return blobs


def test_hidden_blobs_are_not_read(blobs: MemoryBlobs) -> None:
    tier = Tier(blobs)
    assert list(tier.keys()) == ["kept"]
    assert len(tier) == 1
    assert [record.key for record in tier.records()] == ["kept"]
    for key in ("old", "gone"):
        assert key not in tier
        for read in (tier.retrieve, tier.entry, tier.get_blob, tier.pin):
            with pytest.raises(KeyNotFound):
                read(key)
    assert tier.query({}) == ["kept"]


def test_a_new_value_takes_the_place_of_a_hidden_blob(blobs: MemoryBlobs) -> None:
    tier = Tier(blobs)
    tier.store("gone", "back")
    assert tier.retrieve("gone") == "back"
    assert sorted(tier.keys()) == ["gone", "kept"]
    assert tier.delete_many(["kept", "old", "gone"]) == 2
    assert len(tier) == 0


def test_hidden_blobs_are_not_in_a_snapshot(blobs: MemoryBlobs) -> None:
    file = io.BytesIO()
    assert Tier(blobs).create_snapshot(file).entries == 1
