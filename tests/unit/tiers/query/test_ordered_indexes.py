"""Indexed answers are the scanned ones: while rows go stale, texts come and go, and types mix."""

from __future__ import annotations

import random
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from memories.tiers.query import MetadataIndex, parse_filter
from tests.support.query_oracle import passes

WORDS = ["", "a", "ab", "abc", "b", "ba", "é", "zz", "\U0001f600", "~"]
DAY = datetime(2025, 1, 1)


def document(chance: random.Random, mixed: bool) -> dict[str, Any]:
    made: dict[str, Any] = {
        "number": chance.randrange(200),
        "share": chance.choice([-0.0, 0.0, 0.5, float("inf"), float("nan"), chance.random()]),
        "text": chance.choice(WORDS) + str(chance.randrange(40)),
        "time": DAY + timedelta(hours=chance.randrange(100)),
        "rare": None,
    }
    if chance.random() < 0.8:
        del made["rare"]
    if mixed:
        name = chance.choice(list(made))
        made[name] = chance.choice(
            [
                None,
                True,
                False,
                7,
                7.5,
                2**53 + 1,
                2**65,
                "ab7",
                [3, "ab7"],
                [],
                (DAY + timedelta(1)).date(),
                b"x",
            ]
        )
        if chance.random() < 0.2:
            del made[chance.choice(list(made))]
    return made


def operand(chance: random.Random, name: str) -> Any:
    match name:
        case "number":
            return chance.choice(
                [chance.randrange(-2, 202), chance.randrange(200) + 0.5, float("inf"), 2**53, 2**70]
            )
        case "share":
            return chance.choice([0, 0.0, 0.5, chance.random(), float("nan"), float("-inf"), 10**400])
        case "text":
            return chance.choice(WORDS) + chance.choice(["", str(chance.randrange(40))])
        case "time":
            return chance.choice([DAY + timedelta(hours=5), date(2025, 1, 3), DAY.replace(tzinfo=UTC)])
    return chance.choice([None, "x", 5])


def one_filter(chance: random.Random) -> dict[str, Any]:
    def test(name: str) -> Any:
        def value() -> Any:
            return operand(chance, name)

        return chance.choice(
            [
                value(),
                {"$gte": value()},
                {"$gt": value(), "$lte": value()},
                {"$gte": value(), "$lt": value()},
                {"$in": [value() for _ in range(chance.randrange(4))]},
                {"$ne": value()},
                {"$in": [value(), value()], "$gte": value()},
                {"$regex": chance.choice(["^ab", "1$", "^zz9$", "é"])},
                {"$regex": "a", "$lt": value()},
            ]
        )

    names = chance.sample(["number", "share", "text", "time", "rare"], 2)
    wanted: dict[str, Any] = {name: test(name) for name in names}
    match chance.randrange(5):
        case 0:
            return {"$or": [wanted, {names[0]: test(names[0])}]}
        case 1:
            return {"$and": [{name: asked} for name, asked in wanted.items()]}
        case 2:
            return {
                names[0]: wanted[names[0]],
                "$or": [{names[1]: test(names[1])}, {names[1]: test(names[1])}],
            }
    return wanted


@pytest.mark.parametrize("mixed", [False, True])
@pytest.mark.parametrize("seed", range(2))
def test_indexes_agree_with_the_oracle_under_writes(seed: int, mixed: bool) -> None:
    chance = random.Random(seed)
    index = MetadataIndex()
    index.create_index("number", "share", "text", "time", "rare")
    model = {f"k{number}": document(chance, mixed and number % 9 == 0) for number in range(500)}
    index.set_many(model)
    narrowed = 0
    for turn in range(130):
        for _ in range(chance.choice([0, 0, 1, 20])):
            key = f"k{chance.randrange(540)}"
            if chance.random() < 0.3:
                assert index.remove(key) == (model.pop(key, None) is not None)
            else:
                model[key] = document(chance, mixed)
                index.set(key, model[key])
        if turn % 15 == 14:  # by itself it would be built anew after some more scans
            index.create_index("number", "text")
        wanted = one_filter(chance)
        found = index.query(wanted)
        assert len(set(found)) == len(found)
        assert set(found) == {key for key, stored in model.items() if passes(stored, wanted)}, wanted
        narrowed += index._table()._candidates(parse_filter(wanted)) is not None
    assert narrowed > 30  # otherwise this test would only have seen scans


def test_a_field_is_indexed_by_itself_once_it_is_scanned_often() -> None:
    index = MetadataIndex()
    for number in range(5000):
        index.set(f"k{number}", {"number": number, "text": f"t{number:05}"})
    for number in range(80):
        assert index.query({"number": number}) == [f"k{number}"]
        assert index.query({"text": {"$gte": "t00007", "$lt": "t00009"}}) == ["k7", "k8"]
    table = index._table()
    assert table._candidates(parse_filter({"number": 5})) is not None
    text_range = parse_filter({"text": {"$gte": "t00007", "$lt": "t00009"}})
    assert table._candidates(text_range) is not None
    index.set("k7", {"number": -7, "text": "t00008x"})
    assert set(index.query({"text": {"$gte": "t00007", "$lt": "t00009"}})) == {"k7", "k8"}
    assert index.query({"number": 7}) == []
    assert index.query({"number": -7}) == ["k7"]


def test_an_index_follows_when_all_rows_are_replaced() -> None:
    index = MetadataIndex()
    index.create_index("text")
    for turn in range(4):
        for number in range(3000):
            index.set(f"k{number}", {"text": f"turn {turn} {number}"})
        assert index.query({"text": f"turn {turn} 77"}) == ["k77"]
        assert index.query({"text": f"turn {turn - 1} 77"}) == []
        assert index.count({"text": {"$gt": f"turn {turn}"}}) == 3000
