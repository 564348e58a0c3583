"""Queries over columns give what a naive reading of the rules gives, whatever was written before."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from memories.tiers.query import MetadataIndex, matches
from tests.support.query_oracle import passes

NAMES = ["a", "b", "c"]
PATHS = ["a", "b", "c", "a.b", "a.c", "b.a", "a.b.c", "a.0", "b.1.a"]

numbers = st.one_of(
    st.integers(-3, 3),
    st.sampled_from([0.0, -0.0, 0.5, 2.0, -1.5, float("inf"), float("-inf"), float("nan")]),
    st.sampled_from(
        [2**53, 2**53 + 1, -(2**53) - 1, 2**63 - 1, -(2**63), 2**63, 2**70, 2.0**53, 2.0**63, 10**400]
    ),
)
texts = st.sampled_from(["", "x", "xy", "é", "\U0001f600", "3", "a.b", "X"])
times = st.sampled_from(
    [
        date(2025, 1, 1),
        date(1969, 12, 31),
        datetime(2025, 1, 1),
        datetime(2025, 1, 1, 12, 30, 1, 5),
        datetime(2025, 1, 1, tzinfo=UTC),
        datetime(2025, 1, 1, 1, tzinfo=timezone(timedelta(hours=1))),
        datetime(1, 1, 1),
        datetime(9999, 12, 31, 23, 59, 59, 999999),
    ]
)
scalars = st.one_of(st.none(), st.booleans(), numbers, texts, times, st.sampled_from([b"", b"x"]))
values = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.sampled_from(NAMES), inner, max_size=3)
    ),
    max_leaves=5,
)
documents = st.dictionaries(st.sampled_from(NAMES), values, max_size=3)
orderables = st.one_of(st.none(), st.booleans(), numbers, texts, times, st.just(b"x"))
patterns = st.sampled_from(["x", "^x$", "(?i)x", "[0-9]", "", "é|3", "^$"])

operators: st.SearchStrategy[dict[str, Any]] = st.recursive(
    st.one_of(
        st.fixed_dictionaries({}, optional={"$gt": orderables, "$lte": orderables}).filter(bool),
        st.fixed_dictionaries({}, optional={"$gte": orderables, "$lt": orderables}).filter(bool),
        st.fixed_dictionaries({"$eq": values}),
        st.fixed_dictionaries({"$ne": values}),
        st.fixed_dictionaries({"$in": st.lists(values, max_size=4)}),
        st.fixed_dictionaries({"$nin": st.lists(values, max_size=4)}),
        st.fixed_dictionaries({"$exists": st.booleans()}),
        st.fixed_dictionaries({"$regex": patterns}),
    ),
    lambda inner: st.fixed_dictionaries({"$not": inner}),
    max_leaves=3,
)
fields = st.dictionaries(st.sampled_from(PATHS), st.one_of(operators, values), max_size=2)
filters: st.SearchStrategy[dict[str, Any]] = st.recursive(
    fields,
    lambda inner: st.one_of(
        st.fixed_dictionaries({"$and": st.lists(inner, min_size=1, max_size=3)}),
        st.fixed_dictionaries({"$or": st.lists(inner, min_size=1, max_size=3)}),
        st.fixed_dictionaries({"$nor": st.lists(inner, min_size=1, max_size=2)}),
        st.fixed_dictionaries({"$not": inner}),
    ),
    max_leaves=4,
)

quick = settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@quick
@given(st.lists(documents, max_size=6), filters)
def test_an_index_selects_what_the_oracle_selects(
    stored: list[dict[str, Any]], wanted: dict[str, Any]
) -> None:
    index = MetadataIndex()
    index.set_many((f"k{number}", document) for number, document in enumerate(stored))
    expected = {f"k{number}" for number, document in enumerate(stored) if passes(document, wanted)}
    assert set(index.query(wanted)) == expected
    assert index.count(wanted) == len(expected)


@quick
@given(documents, filters)
def test_matches_answers_as_the_oracle_does(document: dict[str, Any], wanted: dict[str, Any]) -> None:
    assert matches(document, wanted) == passes(document, wanted)


@quick
@given(documents)
def test_metadata_comes_back_as_it_was(document: dict[str, Any]) -> None:
    index = MetadataIndex()
    index.set("key", document)
    # repr tells True from 1, -0.0 from 0.0, tuples from lists, and shows the order of fields
    assert repr(index.get("key")) == repr(document)


class IndexMachine(RuleBasedStateMachine):
    """Many rows, so that fields turn dense, ordered indexes are built, and rows go stale under them."""

    @initialize(
        stored=st.lists(documents, min_size=1, max_size=5),
        indexed=st.lists(st.sampled_from(PATHS), unique=True),
    )
    def start(self, stored: list[dict[str, Any]], indexed: list[str]) -> None:
        self.index = MetadataIndex()
        self.index.create_index(*indexed)
        self.model: dict[str, dict[str, Any]] = {}
        for number in range(150):
            self.write(number, stored[number % len(stored)])

    @rule(number=st.integers(0, 170), document=documents)
    def write(self, number: int, document: dict[str, Any]) -> None:
        self.index.set(f"k{number}", document)
        self.model[f"k{number}"] = document

    @rule(first=st.integers(0, 170), count=st.integers(1, 60))
    def remove(self, first: int, count: int) -> None:
        for number in range(first, first + count):
            assert self.index.remove(f"k{number}") == (self.model.pop(f"k{number}", None) is not None)

    @rule(wanted=filters)
    def query(self, wanted: dict[str, Any]) -> None:
        expected = {key for key, document in self.model.items() if passes(document, wanted)}
        assert set(self.index.query(wanted)) == expected

    @rule(wanted=filters, path=st.sampled_from(PATHS), up=st.booleans(), limit=st.integers(0, 10))
    def query_sorted(self, wanted: dict[str, Any], path: str, up: bool, limit: int) -> None:
        whole = self.index.query(wanted, sort=[(path, 1 if up else -1)])
        expected = {key for key, document in self.model.items() if passes(document, wanted)}
        assert len(whole) == len(expected)
        assert set(whole) == expected
        assert (
            self.index.query(wanted, sort=[(path, 1 if up else -1)], limit=limit, skip=2)
            == whole[2 : 2 + limit]
        )

    @invariant()
    def has_the_same_keys(self) -> None:
        if hasattr(self, "index"):
            assert set(self.index) == set(self.model)


IndexMachine.TestCase.settings = settings(
    max_examples=20,
    stateful_step_count=12,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
TestIndexMachine = pytest.mark.filterwarnings("default")(IndexMachine.TestCase)
