"""The cluster file is one that `ray up` takes, and opens nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]


@pytest.fixture
def config() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((ROOT / "cluster.yaml").read_text(encoding="utf-8"))
    return loaded


def test_it_is_valid_by_rays_own_schema(config: dict[str, Any]) -> None:
    from ray.autoscaler._private.util import prepare_config, validate_config

    validate_config(prepare_config(config))
    config["head_node_typo"] = "head"
    with pytest.raises(Exception, match="head_node_typo"):
        validate_config(prepare_config(config))


def test_every_node_asks_for_the_token_and_the_dashboard_stays_on_loopback(config: dict[str, Any]) -> None:
    starts = [
        line
        for name in ("head_start_ray_commands", "worker_start_ray_commands")
        for line in config[name]
        if "ray start" in line
    ]
    assert len(starts) == 2
    assert all("RAY_AUTH_MODE=token" in line for line in starts)
    assert "--dashboard-host=127.0.0.1" in starts[0]
    assert "~/.ray/auth_token" in config["file_mounts"]
    assert "SecurityGroupIds" not in str(config)
