"""Metadata that queries cannot hold is refused when it is stored, and never keeps others from being found."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memories.core import GlacierMemory, WarmMemory
from memories.errors import InvalidType, InvalidValue, MemoriesError
from memories.tiers.blobs import Blob
from memories.tiers.memory_blobs import MemoryBlobs
from memories.tiers.query import MetadataIndex
from memories.tiers.query.shapes import MAX_FIELDS
from memories.tiers.tier import Tier
from memories.tiers.validation import check_metadata
from tests.support.clock import ManualClock

REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"": 1}, "''"),
    ({"$x": 1}, "'$x'"),
    ({"a": {"$x": 1}}, "'$x'"),
    ({"a": {"": 1}}, "metadata.a"),
    ({"a.": 1}, "'a.'"),
    ({"a..b": 1}, "'a..b'"),
    ({"a.b": 1, "a": {"b": 2}}, "a.b"),
    ({"a": 1, "a.b": 2}, "'a'"),
    ({"a": {}, "a.b": 2}, "'a'"),
    ({"a": "\udc80"}, "metadata.a"),
    ({"a": ["fine", {"b": "\udc80"}]}, "metadata.a"),
    ({"\udc80": 1}, "udc80"),
    ({"a": [{"b.c": 1}]}, "'b.c'"),
    ({f"field{number}": number for number in range(MAX_FIELDS + 1)}, f"field{MAX_FIELDS}"),
    ({"a": {f"field{number}": number for number in range(MAX_FIELDS + 1)}}, f"a.field{MAX_FIELDS}"),
]


@pytest.mark.parametrize(("metadata", "named"), REFUSED, ids=range(len(REFUSED)))
def test_what_queries_cannot_hold_is_refused_by_name(metadata: dict[str, Any], named: str) -> None:
    with WarmMemory(0.01) as tier:
        tier.store("good", 1, metadata={"day": "monday"})
        for refused in (
            lambda: tier.store("bad", 2, metadata=metadata),
            lambda: tier.store_many([{"key": "bad", "value": 2, "metadata": metadata}]),
            lambda: tier.set_metadata("good", metadata),
        ):
            with pytest.raises((InvalidValue, InvalidType)) as error:
                refused()
            assert named in str(error.value)
        assert tier.query({"day": "monday"}) == ["good"]
        assert "bad" not in tier


names = st.sampled_from(["a", "b", "a.b", "a b", "", "$a", ".", "é", "\udc80"]) | st.text(max_size=2)
texts = st.text(st.characters(), max_size=2)
leaves = st.none() | st.booleans() | st.integers() | st.floats() | texts
trees = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(names, inner, max_size=2),
    max_leaves=5,
)


@given(st.dictionaries(names, trees, max_size=3))
def test_whatever_is_let_in_can_be_queried(metadata: dict[str, Any]) -> None:
    try:
        checked = check_metadata(metadata)
    except MemoriesError:
        return
    index = MetadataIndex()
    index.set("key", checked)
    assert index.get("key") == checked
    assert index.query({}) == ["key"]


@pytest.mark.parametrize("when", ["before the first query", "after it"])
def test_what_came_from_elsewhere_is_left_out_and_named(when: str, caplog: pytest.LogCaptureFixture) -> None:
    tier = Tier(MemoryBlobs())
    tier.store("good", 1, metadata={"day": "monday"})
    tier.store("replaced", 1, metadata={"day": "monday"})
    if when == "after it":
        assert len(tier.query({"day": "monday"})) == 2
    source = Tier(MemoryBlobs())
    source.store("bad", 2)
    for number, (metadata, _) in enumerate(REFUSED):
        blob = source.get_blob("bad")
        key = "replaced" if number == 0 else f"bad {number}"
        tier.put_blob(
            Blob(blob.record.replace(key=key, metadata={"day": "monday", **metadata}), blob.buffers)
        )
    with caplog.at_level(logging.WARNING, "memories.tiers.inventory"):
        assert tier.query({"day": "monday"}) == ["good"]
        assert tier.query({}) == ["good"]
    if when == "before the first query":
        named = [record.getMessage() for record in caplog.records]
        assert len(named) == len(REFUSED)
        assert any("'bad 1'" in message and "'$x'" in message for message in named)
    assert tier.retrieve("bad 1") == 2
    tier.set_metadata("bad 1", {"day": "monday"})
    assert sorted(tier.query({"day": "monday"})) == ["bad 1", "good"]


def test_more_fields_than_an_index_holds_are_named_by_the_query() -> None:
    for early in (True, False):
        tier = Tier(MemoryBlobs())
        if early:
            assert tier.query({}) == []
        tier.store("wide", 1, metadata={f"field{number}": 1 for number in range(MAX_FIELDS)})
        tier.store("other", 1, metadata={"one more": 1})
        with pytest.raises(InvalidValue, match="one more"):
            tier.query({})
        tier.delete("wide")
        assert tier.query({"one more": 1}) == ["other"]


@pytest.mark.parametrize("read_inventory", [True, False])
def test_queries_of_a_bucket_name_nothing_that_has_ended(tmp_path: Path, read_inventory: bool) -> None:
    clock = ManualClock()

    def make() -> GlacierMemory:
        return GlacierMemory("local", storage_path=tmp_path, clock=clock, read_inventory=read_inventory)

    with make() as tier:
        tier.store("ends first", 1, ttl=5, metadata={"n": 1})
        tier.store("ends later", 1, ttl=50, metadata={"n": 1})
        tier.store("stays", 1, metadata={"n": 1})
    clock.advance(10)
    with make() as tier:
        assert sorted(tier.query({"n": 1})) == ["ends later", "stays"]
        clock.advance(50)
        assert tier.query({"n": 1}) == ["stays"]
        assert len(tier) == 1
