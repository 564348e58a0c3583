"""The examples in the docstrings of public names that start or join a Ray."""

from __future__ import annotations

from pathlib import Path

import pytest
from ray.cluster_utils import Cluster as RayCluster

from tests.support.public_names import NEED_RAY, public_names, run_examples

NAMES = [
    pytest.param(name, value, id=name)
    for name, value in public_names()
    if name.rpartition(".")[2] in NEED_RAY
]


@pytest.mark.parametrize(("name", "value"), NAMES)
def test_the_example_is_true(
    name: str, value: object, ray_cluster: RayCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MEMORIES_HOME", str(tmp_path))
    run_examples(name, value)
