"""Ends of life by key."""

from __future__ import annotations

from memories.tiers.expiry import Expiry


def test_keys_come_due_once_in_the_order_of_their_ends() -> None:
    expiry: Expiry[str] = Expiry()
    for key, end in {"c": 3.0, "a": 1.0, "b": 2.0}.items():
        expiry.set(key, end)
    assert expiry.due(0.5) == []
    assert expiry.expired("a", 1.0)
    assert not expiry.expired("b", 1.0)
    assert expiry.due(2.0) == ["a", "b"]
    assert expiry.due(2.0) == []
    assert not expiry.expired("a", 5.0)


def test_only_the_last_end_of_a_key_counts() -> None:
    expiry: Expiry[str] = Expiry()
    expiry.set("later", 1.0)
    expiry.set("later", 5.0)
    expiry.set("never", 1.0)
    expiry.set("never", None)
    assert expiry.due(4.0) == []
    assert expiry.due(5.0) == ["later"]


def test_changing_an_end_for_ever_does_not_grow_the_heap() -> None:
    expiry: Expiry[str] = Expiry()
    for now in range(10_000):
        expiry.set("key", float(now))
    assert len(expiry._heap) < 100
    assert expiry.due(10_000) == ["key"]


def test_ended_keys_are_known_until_they_are_forgotten() -> None:
    expiry: Expiry[str] = Expiry()
    for key, end in {"c": 3.0, "a": 1.0, "b": 2.0}.items():
        expiry.set(key, end)
    expiry.set("a", 1.0)
    assert expiry.ended(0.5) == []
    assert expiry.ended(2.0) == expiry.ended(2.0) == ["a", "b"]
    assert expiry.expired("a", 2.0)
    expiry.set("a", None)
    expiry.set("b", 9.0)
    assert expiry.ended(3.0) == ["c"]
    assert expiry.due(3.0) == ["c"]
