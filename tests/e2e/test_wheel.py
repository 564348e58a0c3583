"""The wheel holds the library and nothing else, and works beside files of the same names."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")  # by way of the sdist: no stale build folder gets in
    command = [sys.executable, "-m", "build", "--outdir", str(folder), str(ROOT)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of a new venv that holds the wheel, and sees our dependencies but not our checkout."""
    folder = tmp_path_factory.mktemp("venv")
    venv.create(folder, with_pip=True)
    interpreter = folder / "bin" / "python"
    install = [str(interpreter), "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", str(wheel)]
    subprocess.run(install, check=True, capture_output=True, env=clean_environment())
    # A path that a .pth file adds is not searched for .pth files itself: our editable install stays out.
    (site_packages,) = (folder / "lib").glob("python*/site-packages")
    (site_packages / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return interpreter


def clean_environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}


def run(python: Path, code: str, folder: Path) -> str:
    command = [str(python), "-c", code]
    done = subprocess.run(
        command, capture_output=True, text=True, cwd=folder, env=clean_environment(), timeout=240, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_holds_the_library_and_nothing_else(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0] for name in names if ".dist-info/" not in name} == {
        "memories",
        "memoria",
        "memory.py",
    }
    assert "memories/py.typed" in names
    for part in ("actors", "tiers", "replay", "dashboard", "core"):
        assert f"memories/{part}/__init__.py" in names
    assert not [name for name in names if "test" in name.lower() or "example" in name.lower()]


def test_every_module_imports(python: Path, tmp_path: Path) -> None:
    code = """
import importlib, pkgutil, memories, memoria, memory
assert "site-packages" in memories.__file__, memories.__file__
names = [m.name for p in (memories, memoria) for m in pkgutil.walk_packages(p.__path__, p.__name__ + ".")]
for name in names:
    importlib.import_module(name)
print(len(names))
"""
    assert int(run(python, code, tmp_path)) >= 5


def test_a_users_own_files_of_the_same_names_do_no_harm(python: Path, tmp_path: Path) -> None:
    for name in ("replay.py", "actors.py", "tiers.py", "dashboard.py"):
        (tmp_path / name).write_text("raise RuntimeError('the user own file was imported by the library')\n")
    run(
        python, "import memories, memories.tiers, memories.replay, memories.actors, memoria, memory", tmp_path
    )
