"""The process that looks at the cluster is ours, wherever the dashboard was started."""

from __future__ import annotations

from pathlib import Path

import pytest

import memories
from memories.dashboard.cluster_source import ClusterSource
from memories.errors import Unavailable


def test_a_file_of_our_name_in_the_current_folder_is_not_run(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "memories.py").write_text("open('was_run', 'w').close()\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(Path(memories.__file__).parents[1]))  # as in a checkout
    source = ClusterSource(name="no/name")
    try:
        with pytest.raises(Unavailable, match="cluster name 'no/name' must be"):  # so it has answered
            source.snapshot()
    finally:
        source.close()
    assert not (tmp_path / "was_run").exists()
