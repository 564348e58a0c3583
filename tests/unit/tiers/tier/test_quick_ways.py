"""What is made in a quicker way where thousands are stored equals what the plain way makes."""

from __future__ import annotations

import dataclasses
import pickle

import pytest

from memories.errors import InvalidType, InvalidValue
from memories.tiers.codec import decode, encode
from memories.tiers.codec.header import pack_header
from memories.tiers.codec.writer import Writer
from memories.tiers.items import Item
from memories.tiers.packing import pack
from memories.tiers.record import Record, RecordDraft, Version


def test_a_finished_draft_is_a_record() -> None:
    draft = RecordDraft("k", b"h", (1, 2), (3, 4), False, Version(5, 6), 7.0, {"a": 1}, 8.0, 9.0, True)
    made = draft.finished()
    plain = Record(
        key="k",
        header=b"h",
        lengths=(1, 2),
        checksums=(3, 4),
        version=Version(5, 6),
        created_s=7.0,
        metadata={"a": 1},
        priority=8.0,
        expires_s=9.0,
        pinned=True,
    )
    assert type(made) is Record
    assert made == plain
    assert made.pack() == plain.pack()
    assert pickle.loads(pickle.dumps(made)) == plain
    assert made.replace(durable=True) == plain.replace(durable=True)
    with pytest.raises(dataclasses.FrozenInstanceError):
        made.key = "other"  # type: ignore[misc]


def test_a_draft_sets_every_field_of_a_record() -> None:
    draft = RecordDraft("k", b"", (), (), False, Version(), 0.0, {}, 0.0, None, False).finished()
    assert dataclasses.asdict(draft) == dataclasses.asdict(Record(key="k"))


@pytest.mark.parametrize("nbytes", [1, 2, 255, 1024, 70_000])
def test_bytes_are_encoded_as_any_other_value_is(nbytes: int) -> None:
    value = bytes(range(256)) * (nbytes // 256) + bytes(nbytes % 256)
    writer = Writer(allow_pickle=False)
    tree = writer.node(value)
    for _ in range(2):  # made, then remembered
        found = encode(value, allow_pickle=False)
        assert found.header == pack_header(tree=tree)
        assert found.buffers == tuple(writer.buffers)
        assert decode(found.header, found.buffers) == value


def test_a_failed_packing_leaves_nothing_in_the_next() -> None:
    before = pack(["a", 1])
    with pytest.raises(TypeError):
        pack(["b", object()])
    assert pack(["a", 1]) == before
    assert pack("x" * 1_000_000).endswith(b"xxx")
    assert pack(["a", 1]) == before


def test_plain_items_pass_and_others_are_looked_at() -> None:
    plain = Item("k", 1)
    assert plain.checked() is plain
    assert Item("k", 1, priority=2).checked() == Item("k", 1, {}, 2.0)
    assert type(Item("k", 1, priority=0).checked().priority) is float
    for bad in (Item("k", 1, pin=0), Item("k", 1, priority="x"), Item("k", 1, metadata=[])):  # type: ignore[arg-type]
        with pytest.raises(InvalidType):
            bad.checked()
    with pytest.raises(InvalidValue):
        Item("k", 1, priority=float("nan")).checked()
