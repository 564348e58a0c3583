"""The example of snapshots in object storage runs, on a folder and on S3."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.glacier_cases import server

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
@pytest.mark.parametrize("place", ["folder", "s3"])
def test_the_example_runs(place: str, tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    if place == "folder":
        arguments = ["--folder", str(tmp_path)]
    else:
        s3 = server("s3")
        arguments = ["--bucket", s3.bucket, "--endpoint", s3.endpoint, "--region", "us-east-1"]
        environment |= {"AWS_ACCESS_KEY_ID": s3.access_key, "AWS_SECRET_ACCESS_KEY": s3.secret_key}
    command = [sys.executable, str(ROOT / "examples" / "snapshots_s3.py"), *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert "restored features, labels: {'classes': ['cat', 'dog']}" in done.stdout
