"""A configuration says what cannot be before anything is started with it, and how it differs from another."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest

from memories.actors.config import ClusterConfig
from memories.errors import InvalidType, InvalidValue
from memories.tiers.policies import EvictionPolicy, MigrationPolicy


def _evict(capacity_bytes: int) -> EvictionPolicy:
    raise NotImplementedError


class OwnPolicy(MigrationPolicy):
    """A user's, which may compare as it likes."""

    def __eq__(self, other: object) -> bool:
        return self is other

    def __hash__(self) -> int:
        return 1


def test_the_same_configuration_does_not_differ_from_itself_after_a_journey() -> None:
    config = ClusterConfig(
        storage_path=Path("x"), glacier={"provider": "s3", "bucket": "b"}, migration_policy=OwnPolicy()
    )
    assert config.differences(pickle.loads(pickle.dumps(config))) == ()
    temporary = ClusterConfig(temporary=True)
    assert temporary.starting().differences(temporary) == ()


def test_a_class_that_travels_by_value_is_the_same_where_its_names_and_values_are() -> None:
    """As a driver's own does: every process that takes it in has a class of its own."""
    source = "class Own(MigrationPolicy):\n    __eq__ = object.__eq__\n    __hash__ = object.__hash__"
    here: dict[str, Any] = {"MigrationPolicy": MigrationPolicy, "__name__": "driver"}
    there = dict(here)
    exec(source, here)
    exec(source, there)
    config = ClusterConfig(migration_policy=here["Own"](eviction=_evict))
    assert config.differences(ClusterConfig(migration_policy=there["Own"](eviction=_evict))) == ()
    others = there["Own"](), there["Own"](eviction=_evict, probation_s=9), MigrationPolicy(eviction=_evict)
    for other in others:
        assert config.differences(ClusterConfig(migration_policy=other)) == ("migration_policy",)


def test_what_is_different_is_named() -> None:
    other = ClusterConfig(warm_bytes=5, glacier={"provider": "local", "storage_path": "secret place"})
    assert ClusterConfig().differences(other) == ("warm_bytes", "glacier")


def test_glacier_settings_that_cannot_be_are_refused_without_their_secrets() -> None:
    for settings, says in (
        ({"provider": "local", "path": "x"}, "path, which provider 'local' does not know"),
        ({"provider": "s3", "secret_access_key": "canary"}, r'needs config\["bucket"\]'),
        ({"provider": "tape"}, "provider must be one of"),
    ):
        with pytest.raises(InvalidValue, match=says) as raised:
            ClusterConfig(glacier=settings)
        assert "canary" not in str(raised.value)
    with pytest.raises(InvalidType, match="must be a mapping"):
        ClusterConfig(glacier="s3")  # type: ignore[arg-type]
