"""References to warm values live as long as the version that they lead to."""

from __future__ import annotations

from typing import Any

from memories.actors.shared_blobs import SharedBlobs
from memories.tiers.blobs import Blob
from memories.tiers.record import Record, Version

OLD, NEW = Version(1, 1), Version(1, 2)


def blob(version: Version) -> Blob:
    return Blob(Record(key="a", version=version, lengths=(1,)), (memoryview(b"x"),))


def reference(name: str) -> Any:
    return name


def test_a_reference_leads_to_one_version() -> None:
    blobs = SharedBlobs()
    blobs.note_ref("a", OLD, reference("old"))
    blobs.put(blob(OLD))
    assert blobs.ref("a", OLD) == "old"
    assert blobs.ref("a", NEW) is None


def test_a_value_that_comes_without_reference_lets_go_of_the_one_before() -> None:
    blobs = SharedBlobs()
    blobs.note_ref("a", OLD, reference("old"))
    blobs.put(blob(OLD))
    blobs.put(blob(NEW))
    assert blobs._refs == {}


def test_the_reference_of_a_value_that_comes_stays() -> None:
    blobs = SharedBlobs()
    blobs.note_ref("a", OLD, reference("old"))
    blobs.put(blob(OLD))
    blobs.note_ref("a", NEW, reference("new"))
    blobs.put(blob(NEW))
    assert blobs.ref("a", NEW) == "new"


def test_what_is_removed_lets_go_of_its_reference() -> None:
    blobs = SharedBlobs()
    for forget in (lambda: blobs.remove("a"), blobs.clear):
        blobs.note_ref("a", OLD, reference("old"))
        blobs.put(blob(OLD))
        forget()
        assert blobs._refs == {}
