"""The documentation as a site: it builds without a warning, and the API pages show what they name."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_site_builds_without_warnings(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "WARNING -" not in done.stderr
    page = (tmp_path / "api" / "cluster" / "index.html").read_text(encoding="utf-8")
    for name in ("MemoryManager", "connect", "retrieve_many", "update_priorities"):
        assert name in page or name in (tmp_path / "api" / "replay" / "index.html").read_text(
            encoding="utf-8"
        )
