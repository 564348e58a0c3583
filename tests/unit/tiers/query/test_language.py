"""What users write: the seed's query, the operators by example, and what each mistake is told."""

from __future__ import annotations

import re
import time
from datetime import date, datetime
from typing import Any

import numpy as np
import pytest

from memories.errors import InvalidType, InvalidValue, KeyNotFound, MemoriesError
from memories.tiers.query import MetadataIndex, matches, parse_filter
from memories.tiers.query.shapes import MAX_FIELDS


@pytest.fixture
def scenes() -> MetadataIndex:
    index = MetadataIndex()
    index.set(
        "sf", {"location": "San Francisco", "date": "2025-02-15", "cloud": 0.2, "tags": ["coast", "city"]}
    )
    index.set(
        "oslo", {"location": "Oslo", "date": "2024-07-01", "cloud": None, "camera": {"lens": 50, "iso": 100}}
    )
    index.set("bergen", {"location": "Bergen", "date": "2025-01-01", "cloud": 1, "camera": {"lens": 35}})
    index.set("bare", {})
    return index


def test_the_query_of_the_seed(scenes: MetadataIndex) -> None:
    assert scenes.query({"location": "San Francisco", "date": {"$gte": "2025-01-01"}}) == ["sf"]


@pytest.mark.parametrize(
    ("wanted", "keys"),
    [
        ({}, "sf oslo bergen bare"),
        (None, "sf oslo bergen bare"),
        ({"tags": "coast"}, "sf"),
        ({"tags": ["coast", "city"]}, "sf"),
        ({"tags.1": "city"}, "sf"),
        ({"camera.lens": {"$lt": 50}}, "bergen"),
        ({"camera": {"iso": 100, "lens": 50.0}}, "oslo"),
        ({"camera": {"$exists": True}}, "oslo bergen"),
        ({"camera.iso": None}, "sf bergen bare"),
        ({"cloud": None}, "oslo bare"),
        ({"cloud": {"$ne": None}}, "sf bergen"),
        ({"cloud": {"$exists": True}}, "sf oslo bergen"),
        ({"cloud": True}, ""),
        ({"cloud": 1.0}, "bergen"),
        ({"date": {"$gt": 2024}}, ""),
        ({"location": {"$in": ["Oslo", "Bergen", 3]}}, "oslo bergen"),
        ({"location": {"$nin": ["Oslo", "Bergen"]}}, "sf bare"),
        ({"location": {"$regex": "^b", "$options": "i"}}, "bergen"),
        ({"location": re.compile("O$|^O", re.IGNORECASE)}, "sf oslo"),
        ({"location": {"$in": [re.compile("^O"), "Bergen"]}}, "oslo bergen"),
        ({"location": {"$not": {"$regex": "o"}}}, "bergen bare"),
        ({"$or": [{"location": "Oslo"}, {"cloud": {"$lt": 0.5}}]}, "sf oslo"),
        ({"$and": [{"cloud": {"$gte": 0}}, {"tags": {"$exists": False}}]}, "bergen"),
        ({"$nor": [{"location": "Oslo"}, {"location": "Bergen"}]}, "sf bare"),
        ({"$not": {"location": {"$exists": True}}}, "bare"),
    ],
)
def test_operators(scenes: MetadataIndex, wanted: dict[str, Any] | None, keys: str) -> None:
    assert set(scenes.query(wanted)) == set(keys.split())
    assert scenes.count(wanted) == len(keys.split())
    assert {key for key in scenes if matches(scenes.get(key), wanted)} == set(keys.split())


@pytest.mark.parametrize(
    ("wanted", "error", "said"),
    [
        (
            {"a": {"$near": 5}},
            InvalidValue,
            r"unknown operator '\$near' for field 'a'; the operators are \$eq",
        ),
        ({"$gt": 5}, InvalidValue, "belongs inside a field"),
        ({"$where": "1"}, InvalidValue, "does not exist"),
        ({"a": {"$gt": 1, "b": 2}}, InvalidValue, "unknown operator 'b'"),
        ({"a": {"b": {"$gt": 1}}}, InvalidValue, "dotted path"),
        ({"$and": []}, InvalidValue, "at least one"),
        ({"$or": {"a": 1}}, InvalidType, "list of filters"),
        ({"$and": [5]}, InvalidType, "a metadata filter is a dictionary"),
        ([("a", 1)], InvalidType, "a metadata filter is a dictionary"),
        ({5: 1}, InvalidType, "field names"),
        ({"": 1}, InvalidValue, "cannot name"),
        ({"a..b": 1}, InvalidValue, "cannot name"),
        ({"a": {"$in": "text"}}, InvalidType, "takes a list"),
        ({"a": {"$in": 5}}, InvalidType, "takes a list"),
        ({"a": {"$gt": [1]}}, InvalidType, "takes a number"),
        ({"a": {"$gt": {}}}, InvalidType, "takes a number"),
        ({"a": {"$exists": "yes"}}, InvalidType, "True or False"),
        ({"a": {"$regex": 5}}, InvalidType, "takes text"),
        ({"a": {"$regex": "("}}, InvalidValue, "not a valid RE2 pattern"),
        ({"a": {"$regex": r"(?=look)"}}, InvalidValue, "not a valid RE2 pattern"),
        ({"a": {"$regex": "x", "$options": "q"}}, InvalidValue, "letters i, m and s"),
        ({"a": {"$options": "i"}}, InvalidValue, "without"),
        ({"a": {"$not": 5}}, InvalidType, "takes operators"),
        ({"a": {"$not": {"b": 5}}}, InvalidValue, "takes operators"),
        ({"a": object()}, InvalidType, "metadata holds"),
        ({"a": "\ud800"}, InvalidValue, "not valid Unicode"),
    ],
)
def test_bad_filters_are_refused(wanted: Any, error: type[MemoriesError], said: str) -> None:
    with pytest.raises(error, match=said):
        MetadataIndex().query(wanted)


def test_a_filter_nested_without_end_is_refused() -> None:
    wanted: dict[str, Any] = {"a": 1}
    for _ in range(100):
        wanted = {"$not": wanted}
    with pytest.raises(InvalidValue, match="deeper than 32"):
        parse_filter(wanted)
    operand: dict[str, Any] = {"$gt": 1}
    for _ in range(100):
        operand = {"$not": operand}
    with pytest.raises(InvalidValue, match="deeper than 32"):
        parse_filter({"a": operand})


def nested_list(depth: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(depth):
        value = [value]
    return value


def nested_dict(depth: int) -> dict[str, Any]:
    value: dict[str, Any] = {"leaf": 1}
    for _ in range(depth):
        value = {"a": value}
    return value


@pytest.mark.parametrize(
    ("metadata", "error"),
    [
        ({"a": object()}, InvalidType),
        ({"a": [{1: 2}]}, InvalidType),
        ({"a": np.zeros(2)}, InvalidType),
        ({1: 2}, InvalidType),
        ({("a", "b"): 2}, InvalidType),
        ({"$a": 2}, InvalidValue),
        ({"a": {"$b": 2}}, InvalidValue),
        ({"a": [{"$b": 2}]}, InvalidValue),
        ({"": 2}, InvalidValue),
        ({"a.": 2}, InvalidValue),
        ({"a": "\udfff"}, InvalidValue),
        ({"\udfff": 1}, InvalidValue),
        ({"a.b": 1, "a": {"b": 2}}, InvalidValue),
        ({"a": 1, "a.b": 2}, InvalidValue),
        ({"a": [{"b.c": 1}]}, InvalidValue),
        ({"a": nested_list(200_000)}, InvalidValue),
        ({"a": nested_dict(200)}, InvalidValue),
        (None, InvalidType),
        ([("a", 1)], InvalidType),
    ],
)
def test_bad_metadata_changes_nothing(metadata: Any, error: type[MemoriesError]) -> None:
    index = MetadataIndex()
    index.set("key", {"a": {"b": 1}, "c": "old"})
    for write in (
        lambda: index.set("key", metadata),
        lambda: index.set("other", metadata),
        lambda: index.set_many([("new", {"a": 5}), ("key", metadata)]),
    ):
        with pytest.raises(error):
            write()
        assert list(index) == ["key"]
        assert index.get("key") == {"a": {"b": 1}, "c": "old"}
        assert index.query({"a.b": 1, "c": "old"}) == ["key"]


def test_keys_are_strings_and_absent_ones_are_named() -> None:
    index = MetadataIndex()
    with pytest.raises(InvalidType, match="keys are strings"):
        index.set(5, {})  # type: ignore[arg-type]
    with pytest.raises(KeyNotFound, match="'nobody'"):
        index.get("nobody")
    assert not index.remove("nobody")
    assert "nobody" not in index


def test_what_the_index_holds_cannot_be_changed_from_outside() -> None:
    tags = ["a"]
    index = MetadataIndex()
    index.set("key", {"tags": tags, "deep": [{"x": [1]}]})
    tags.append("b")
    index.get("key")["deep"][0]["x"].append(2)
    assert index.get("key") == {"tags": ["a"], "deep": [{"x": [1]}]}
    assert index.query({"tags": "b"}) == []


def test_a_dot_in_a_name_means_nesting() -> None:
    index = MetadataIndex()
    index.set("flat", {"model.version": 3})
    index.set("nested", {"model": {"version": 3}})
    assert set(index.query({"model.version": 3})) == {"flat", "nested"}
    assert set(index.query({"model": {"version": 3}})) == {"flat", "nested"}
    assert index.get("flat") == {"model.version": 3}


def test_numpy_scalars_count_as_plain_ones() -> None:
    index = MetadataIndex()
    index.set("key", {"i": np.int64(5), "f": np.float32(0.5), "b": np.bool_(True), "s": np.str_("x")})
    assert index.get("key") == {"i": 5, "f": 0.5, "b": True, "s": "x"}
    assert [type(value) for value in index.get("key").values()] == [int, float, bool, str]
    assert index.query({"i": np.float64(5), "b": np.bool_(True), "f": {"$in": np.array([0.5, 2])}}) == ["key"]


def test_dates_and_datetimes_lie_on_one_line() -> None:
    index = MetadataIndex()
    index.set("day", {"at": date(2025, 1, 1)})
    index.set("noon", {"at": datetime(2025, 1, 1, 12)})
    assert index.query({"at": datetime(2025, 1, 1)}) == ["day"]
    assert index.query({"at": {"$gt": date(2025, 1, 1)}}) == ["noon"]
    assert index.get("day") == {"at": date(2025, 1, 1)}


def test_results_are_sorted_and_cut(scenes: MetadataIndex) -> None:
    assert scenes.query(sort="location") == ["bare", "bergen", "oslo", "sf"]
    assert scenes.query(sort="-location", limit=2) == ["sf", "oslo"]
    assert scenes.query(sort=[("cloud", -1)], skip=1, limit=1) == ["sf"]
    assert scenes.query({"cloud": {"$exists": True}}, sort={"cloud": 1}) == ["oslo", "sf", "bergen"]
    assert scenes.query(sort=[("camera.lens", 1), ("location", -1)]) == ["sf", "bare", "bergen", "oslo"]
    assert scenes.query(limit=0) == []


def test_values_of_all_types_sort_by_brackets() -> None:
    ascending: list[Any] = [
        None, float("nan"), float("-inf"), -(2**70), -1, -0.5, 0, 2**53, 2**53 + 1, 2.0**60, 2**63,
        "", "a", "b", {"x": 1}, b"", b"a", False, True, date(2020, 1, 1), datetime(2020, 1, 1, 1),
    ]  # fmt: skip
    index = MetadataIndex()
    for place in reversed(range(len(ascending))):
        index.set(str(place), {"v": ascending[place]})
    assert index.query(sort="v") == [str(place) for place in range(len(ascending))]
    assert index.query(sort="-v") == [str(place) for place in reversed(range(len(ascending)))]


def test_a_list_sorts_by_its_smallest_going_up_and_its_greatest_going_down() -> None:
    index = MetadataIndex()
    index.set_many({"wide": {"v": [1, 9]}, "middle": {"v": 5}, "empty": {"v": []}, "none": {"v": None}})
    assert index.query(sort="v") == ["empty", "none", "wide", "middle"]
    assert index.query(sort="-v") == ["wide", "middle", "none", "empty"]


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"limit": -1}, InvalidValue),
        ({"limit": 1.5}, InvalidType),
        ({"limit": True}, InvalidType),
        ({"skip": -1}, InvalidValue),
        ({"sort": [("a", 2)]}, InvalidValue),
        ({"sort": ["a"]}, InvalidType),
        ({"sort": [(1, 1)]}, InvalidType),
        ({"sort": ""}, InvalidValue),
    ],
)
def test_bad_arguments_are_refused(arguments: Any, error: type[MemoriesError]) -> None:
    with pytest.raises(error):
        MetadataIndex().query(**arguments)


def test_a_pattern_that_explodes_elsewhere_is_linear_here() -> None:
    index = MetadataIndex()
    index.set("key", {"text": "a" * 50_000 + "b"})
    start = time.perf_counter()
    assert index.query({"text": {"$regex": "(a+)+$"}}) == []
    assert time.perf_counter() - start < 5


def test_text_that_is_overwritten_does_not_pile_up() -> None:
    index = MetadataIndex()
    for number in range(20_000):
        index.set(f"key{number % 7}", {"text": f"value {number}", "list": [number], f"f{number % 4000}": 1})
    column = index._columns["text"]
    assert len(column.texts) < 3_000
    assert len(index._columns["list"].objects) < 3_000
    assert len(index._shapes) < 3_000
    assert index.query({"text": "value 19999"}) == [f"key{19_999 % 7}"]
    assert index.query({"list": 19_998}) == [f"key{19_998 % 7}"]


def test_fields_without_end_are_refused_and_dropped_ones_make_room() -> None:
    index = MetadataIndex()
    for number in range(MAX_FIELDS):
        index.set("only", {f"field{number}": 1})
        index.set(f"key{number % 100}", {f"name{number % 10}": number})
    assert index.get("only") == {f"field{MAX_FIELDS - 1}": 1}
    with pytest.raises(InvalidValue, match="field names"):
        index.set("wide", {f"wide{number}": 1 for number in range(MAX_FIELDS)})
    assert "wide" not in index
    assert index.query({f"field{MAX_FIELDS - 1}": 1}) == ["only"]
