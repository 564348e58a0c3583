"""The Python blocks of the README and of docs/ run, those of one guide in order in one process."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def blocks() -> list[object]:
    """Each block of the README by itself; those of another page together, as a reader would type them."""
    found = []
    for path in [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]:
        text = path.read_text(encoding="utf-8")
        codes = re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
        if path.name != "README.md":
            codes = ["\n".join(codes)] if codes else []
        name = path.relative_to(ROOT)
        found += [pytest.param(code, id=f"{name}-{number}") for number, code in enumerate(codes)]
    return found


@pytest.mark.parametrize("code", blocks())
def test_block_runs(code: str, tmp_path: Path) -> None:
    (tmp_path / "block.py").write_text(code, encoding="utf-8")
    # A Ray of its own: that of other tests may run on this machine.
    env = os.environ | {"HOME": str(tmp_path), "MPLBACKEND": "Agg", "RAY_ADDRESS": "local"}
    command = [sys.executable, "block.py"]
    done = subprocess.run(
        command, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=240, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_relative_link_leads_somewhere() -> None:
    broken = []
    for path in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")]:
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", path.read_text(encoding="utf-8")):
            if not (path.parent / target).exists():
                broken.append(f"{path.relative_to(ROOT)}: {target}")
    assert not broken


def test_every_source_path_in_the_documents_exists() -> None:
    missing = []
    for path in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")]:
        for name in re.findall(
            r"`([a-z_]+(?:/[a-z_.]+)*/(?:[a-z_]+\.py)?)`", path.read_text(encoding="utf-8")
        ):
            if not any((base / name).exists() for base in (ROOT, ROOT / "src" / "memories", path.parent)):
                missing.append(f"{path.relative_to(ROOT)}: {name}")
    assert not missing
