"""The cluster files are ones that Ray takes, ask for the token, and open nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]


@pytest.fixture(params=["cluster.yaml", "examples/clusters/local.yaml"])
def config(request: pytest.FixtureRequest) -> dict[str, Any]:
    return load(request.param)


def load(name: str) -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((ROOT / name).read_text(encoding="utf-8"))
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


def test_the_gcs_of_the_aws_cluster_keeps_what_it_knows_in_a_redis_on_loopback() -> None:
    redis, start = load("cluster.yaml")["head_start_ray_commands"][1:]
    assert "--bind 127.0.0.1" in redis
    assert "--appendonly yes" in redis
    assert "requirepass" in redis
    assert "RAY_REDIS_ADDRESS=127.0.0.1:6380" in start
    assert '--redis-password="$(cat ~/.ray/redis_password)"' in start


def test_the_local_cluster_starts_its_workers() -> None:
    config = load("examples/clusters/local.yaml")
    assert "RAY_enable_autoscaler_v2=0" in config["head_start_ray_commands"][1]
    assert config["min_workers"] == config["max_workers"] == len(config["provider"]["worker_ips"])


def test_the_kuberay_cluster_is_one_that_rays_autoscaler_understands() -> None:
    """Ray derives its own cluster configuration from it, and checks that by its schema."""
    from ray.autoscaler._private.kuberay.autoscaling_config import _derive_autoscaling_config_from_ray_cr

    resource = load("examples/clusters/kuberay.yaml")
    config = _derive_autoscaling_config_from_ray_cr(resource)
    workers = config["available_node_types"]["gpu"]
    assert workers["resources"]["GPU"] == 1
    assert (workers["min_workers"], workers["max_workers"]) == (0, 4)
    spec = resource["spec"]
    assert spec["authOptions"]["mode"] == "token"
    assert spec["gcsFaultToleranceOptions"]["redisAddress"]
    assert spec["headGroupSpec"]["rayStartParams"]["dashboard-host"] == "127.0.0.1"
    del resource["spec"]["workerGroupSpecs"][0]["maxReplicas"]
    with pytest.raises(KeyError):
        _derive_autoscaling_config_from_ray_cr(resource)
