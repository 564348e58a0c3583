"""What a caller asks of a store becomes what the core is told, or an error that says what to give."""

from __future__ import annotations

from typing import Any

import pytest

from memories.actors.core.model import StoreOptions
from memories.actors.store_options import StoreDefaults, check_tier
from memories.errors import InvalidType, InvalidValue

DEFAULTS = StoreDefaults("n1", 2, lambda: 1000.0)


def test_defaults_hold_where_nothing_is_said() -> None:
    assert DEFAULTS.options() == StoreOptions(node="n1", replicas=2)


def test_what_is_said_counts_and_time_to_live_becomes_a_time() -> None:
    asked = DEFAULTS.options("cold", 3, 60, True, 1, True, True)
    assert asked == StoreOptions("n1", "cold", 1, True, True, 3.0, 1060.0, True)


@pytest.mark.parametrize(
    ("asked", "error", "says"),
    [
        ({"replicas": 0}, InvalidValue, "from 1 to 1000, not 0"),
        ({"replicas": 1.5}, InvalidValue, "not 1.5"),
        ({"replicas": True}, InvalidValue, "not True"),
        ({"replicas": 10**6}, InvalidValue, "from 1 to 1000, not 1000000"),
        ({"durable": "no"}, InvalidType, "durable must be True or False, not 'no'"),
        ({"pinned": 1}, InvalidType, "pin must be True or False"),
        ({"allow_degraded": None}, InvalidType, "allow_degraded must be"),
        ({"ttl_s": 0}, InvalidValue, "above 0"),
        ({"ttl_s": "soon"}, InvalidType, "seconds"),
        ({"tier": "lukewarm"}, InvalidValue, "'hot', 'warm', 'cold', 'glacier'"),
        ({"priority": float("nan")}, InvalidValue, "finite"),
    ],
)
def test_what_no_store_could_do_is_refused(asked: dict[str, Any], error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        DEFAULTS.options(**asked)


def test_a_tier_is_one_of_four() -> None:
    assert check_tier("hot") == "hot"
