"""Imports point one way, and importing the light packages loads nothing heavy."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("actors", "tiers", "replay", "memoria", "dashboard")
MAY_IMPORT = {
    "tiers": set(),
    "replay": set(),
    "memoria": set(),
    "actors": {"tiers", "replay", "memoria"},
    "dashboard": {"actors", "tiers", "replay"},  # replay: the buffers of its own process
}
HEAVY = ("ray", "torch", "numba", "pandas", "streamlit", "boto3", "pyarrow.parquet")


def loaded_after(statement: str) -> set[str]:
    """The names of all modules that a new interpreter holds after a statement."""
    code = f"import sys\n{statement}\nprint(*sys.modules, sep='\\n')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd="/")
    return set(done.stdout.split())


@pytest.mark.parametrize("module", ["memories", "memories.tiers", "memories.replay", "memories.errors"])
def test_light_imports_load_nothing_heavy(module: str) -> None:
    assert not loaded_after(f"import {module}") & set(HEAVY)


@pytest.mark.parametrize("module", ["memories.tiers", "memories.replay", "memoria"])
def test_the_three_cores_are_strangers_to_each_other_and_to_ray(module: str) -> None:
    names = loaded_after(f"import {module}, pkgutil, importlib\n{IMPORT_ALL.format(module=module)}")
    others = {"memories.tiers", "memories.replay", "memoria"} - {module}
    assert not names & (others | {"ray", "memories.actors", "memories.dashboard"})


IMPORT_ALL = (
    "for m in pkgutil.walk_packages({module}.__path__, '{module}.'):\n"
    "    try: importlib.import_module(m.name)\n"
    "    except ImportError as error:\n"
    "        if not getattr(error, 'name', None) or error.name.startswith('mem'): raise"
)


@pytest.mark.parametrize("package", PACKAGES)
def test_imports_point_one_way(package: str) -> None:
    wrong = []
    for path in sorted((ROOT / package).rglob("*.py")):
        for target in imported_packages(path):
            if target in PACKAGES and target != package and target not in MAY_IMPORT[package]:
                wrong.append(f"{path.relative_to(ROOT)} imports {target}")
    assert not wrong


def imported_packages(path: Path) -> set[str]:
    """The project packages that a file imports, relative imports resolved, those in functions included."""
    inside = ("memories", *path.relative_to(ROOT).with_suffix("").parts)
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            full = [alias.name.split(".") for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level:
            base = [*inside[: -node.level], *(node.module or "").split(".")]
            full = [[*base, alias.name] if not node.module else base for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            full = [(node.module or "").split(".")]
        else:
            continue
        for parts in full:
            parts = [part for part in parts if part]
            names.add(parts[1] if parts[0] == "memories" and len(parts) > 1 else parts[0])
    return names


def test_only_actors_and_what_sits_on_them_knows_ray() -> None:
    allowed = ("actors", "dashboard", "src", "examples", "tests", "benchmarks")
    for package in ("tiers", "replay", "memoria"):
        for path in (ROOT / package).rglob("*.py"):
            assert "ray" not in imported_packages(path), f"{path} imports ray; only {allowed} may"


def test_no_link_is_broken() -> None:
    links = [p for p in (ROOT / "src").rglob("*") if p.is_symlink()]
    assert {link.name for link in links} >= {"actors", "tiers", "replay", "dashboard", "memoria", "memory.py"}
    for link in links:
        assert link.exists(), f"{link} points at nothing"
        assert not link.readlink().is_absolute(), f"{link} must be relative"
