"""Blocks cannot be altered, moved, or opened with another key; keys do not leak."""

from __future__ import annotations

import base64
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memories.errors import CorruptData, InvalidType, InvalidValue, PermissionRefused
from memories.tiers.glacier.crypto import KeyRing, new_salt

KEY = bytes(range(32))
SALT = bytes(32)


def cipher(key: bytes = KEY, salt: bytes = SALT, context: bytes = b"body\0name"):  # type: ignore[no-untyped-def]
    return KeyRing({"k": key}).cipher("k", salt, context)


@given(st.binary(max_size=300), st.integers(0, 2**63))
def test_what_is_sealed_comes_back(plain: bytes, number: int) -> None:
    sealed = cipher().seal(number, plain)
    assert len(sealed) == len(plain) + 16
    assert cipher().open(number, sealed) == plain


@given(st.binary(min_size=1, max_size=100), st.data())
def test_every_flipped_bit_is_noticed(plain: bytes, data: st.DataObject) -> None:
    sealed = bytearray(cipher().seal(0, plain))
    bit = data.draw(st.integers(0, len(sealed) * 8 - 1))
    sealed[bit // 8] ^= 1 << bit % 8
    with pytest.raises(CorruptData, match="does not authenticate"):
        cipher().open(0, bytes(sealed))


@pytest.mark.parametrize(
    ("number", "changed"),
    [
        (1, {}),
        (0, {"salt": b"\1" * 32}),
        (0, {"context": b"body\0other"}),
        (0, {"key": b"\1" * 32}),
    ],
    ids=["another position", "another object", "another key's name", "another master key"],
)
def test_a_block_opens_only_where_it_was_sealed(number: int, changed: dict[str, bytes]) -> None:
    sealed = cipher().seal(0, b"content")
    with pytest.raises(CorruptData):
        cipher(**changed).open(number, sealed)


@pytest.mark.parametrize("short", [b"", b"short", b"x" * 15])
def test_what_is_too_short_to_be_a_block(short: bytes) -> None:
    with pytest.raises(CorruptData):
        cipher().open(0, short)


def test_keys_as_hexadecimal_and_base64_are_the_same_key() -> None:
    sealed = cipher().seal(0, b"content")
    for form in (KEY.hex(), base64.b64encode(KEY).decode(), f" {KEY.hex()}\n"):
        assert KeyRing({"k": form}).cipher("k", SALT, b"body\0name").open(0, sealed) == b"content"


@pytest.mark.parametrize(
    "bad", ["", "secret-canary-phrase", b"short", "zz" * 32, base64.b64encode(b"x" * 31).decode()]
)
def test_a_bad_key_is_refused_without_being_quoted(bad: bytes | str) -> None:
    with pytest.raises(InvalidValue) as caught:
        KeyRing({"k": bad})
    assert not bad or str(bad) not in str(caught.value)
    assert caught.value.__cause__ is None
    with pytest.raises(InvalidType):
        KeyRing({"k": 7})  # type: ignore[dict-item]


def test_rotation_reads_old_ids_and_writes_the_new_one() -> None:
    ring = KeyRing({"2025": KEY, "2026": b"\2" * 32}, "2026")
    assert ring.write_id == "2026"
    assert ring.cipher("2025", SALT, b"body\0name").open(0, cipher().seal(0, b"old")) == b"old"
    with pytest.raises(PermissionRefused, match=r"'2024'.*2025, 2026"):
        ring.cipher("2024", SALT, b"")
    with pytest.raises(InvalidValue, match="encryption_key_id"):
        KeyRing({"a": KEY, "b": KEY})
    with pytest.raises(InvalidValue, match="none of"):
        KeyRing({"a": KEY}, "b")


def test_a_ring_survives_pickling_and_its_repr_has_no_key() -> None:
    ring = pickle.loads(pickle.dumps(KeyRing({"k": KEY})))
    assert ring.cipher("k", SALT, b"body\0name").open(0, cipher().seal(0, b"x")) == b"x"
    assert KEY.hex() not in repr(ring)
    assert repr(KEY) not in repr(ring)
    assert "'k'" in repr(ring)


def test_salts_do_not_repeat() -> None:
    assert len({new_salt() for _ in range(100)}) == 100
