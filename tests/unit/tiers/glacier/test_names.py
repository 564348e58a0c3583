"""Any key becomes a harmless object name, and comes back."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memories.tiers.glacier.names import LONGEST_NAME, is_cut, key_of, listing_prefix, object_name

KEYS = st.text(st.characters(exclude_categories=()), min_size=1, max_size=400)


@given(KEYS)
def test_a_name_is_harmless_and_gives_its_key_back(key: str) -> None:
    name = object_name(key)
    assert re.fullmatch(r"[A-Za-z0-9_=~.-]+", name)
    assert len(name) <= LONGEST_NAME
    assert not name.startswith(".")
    assert is_cut(name) if key_of(name) is None else key_of(name) == key


@given(KEYS, KEYS)
def test_two_keys_never_share_a_name(one: str, other: str) -> None:
    assert (object_name(one) == object_name(other)) == (one == other)


@given(KEYS, KEYS)
def test_names_of_keys_with_a_prefix_are_found_by_the_listing_prefix(prefix: str, rest: str) -> None:
    assert object_name(prefix + rest).startswith(listing_prefix(prefix))


@given(st.text("=~.AF09a-", min_size=1, max_size=80))
def test_foreign_names_are_not_taken_for_keys(name: str) -> None:
    key = key_of(name)
    assert key is None or object_name(key) == name


@pytest.mark.parametrize(
    "key", ["../../etc/passwd", "a\nb", "\0", ".", "..", "=2F", "é", "👩‍🚀", "\udc80", "x" * 10_000]
)
def test_keys_that_break_paths(key: str) -> None:
    name = object_name(key)
    assert "/" not in name
    assert name not in (".", "..")
    assert key_of(name) == key or is_cut(name)
