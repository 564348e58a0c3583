"""`memories demo` as a person runs it: the run, what it leaves behind, and the report in a real browser."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from memories.demo.record import shown

MEMORIES = Path(sys.executable).parent / "memories"
LONGEST_S = 180.0
LONG = "a-temporary-folder-whose-name-is-too-long-for-sockets"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("demo")


@pytest.fixture(scope="module")
def record(folder: Path) -> dict[str, Any]:
    """One run, and what it says it did."""
    (folder / LONG).mkdir()
    env = os.environ | {
        "HOME": str(folder / "home"),
        "MEMORIES_HOME": str(folder / "data"),
        "TMPDIR": str(folder / LONG),
    }
    command = [str(MEMORIES), "demo", "--seed", "3", "--report", str(folder / "demo.html"), "--json"]
    before = {process.pid for process in psutil.process_iter()}
    done = subprocess.run(command, capture_output=True, text=True, env=env, timeout=600, cwd=folder)
    assert done.returncode == 0, done.stdout + done.stderr
    left = [p for p in psutil.process_iter(["name", "cmdline"]) if p.pid not in before and _is_ray(p)]
    assert not left, left
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def _is_ray(process: psutil.Process) -> bool:
    line = " ".join(process.info["cmdline"] or ())
    return process.info["name"] in ("raylet", "gcs_server") or line.startswith("ray::")


def figures(record: dict[str, Any]) -> dict[str, Any]:
    """Each figure of a record by its name; names are unique within a section."""
    return {
        f"{number}/{name}": value
        for number, section in enumerate(record["sections"])
        for fact in section["facts"]
        for name, value in fact["figures"].items()
    }


@pytest.mark.slow
@pytest.mark.timeout(700)
def test_everything_happened(record: dict[str, Any]) -> None:
    found = {name.partition("/")[2]: value for name, value in figures(record).items()}
    assert found["inserted"] == found["steps"] == 12_000
    assert found["applied"] > 50_000
    assert found["read_back"] == found["restored"] == found["arrays"] == 40
    assert sum(found[f"in_{tier}"] for tier in ("hot", "warm", "cold", "glacier")) == 40
    assert found["in_glacier"] > 0
    assert found["copied"] == 3
    assert found["timestep"] == 30
    assert found["last"] > found["first"]
    assert record["took_s"] < LONGEST_S


@pytest.mark.slow
def test_nothing_but_the_report_is_left(record: dict[str, Any], folder: Path) -> None:
    left = [path for path in folder.rglob("*") if path.is_file() and ".cache" not in path.parts]
    ours = [path for path in left if not path.is_relative_to(folder / LONG / "ray")]
    assert ours == [folder / "demo.html"], ours


@pytest.fixture
def browser(folder: Path) -> Iterator[Any]:
    from selenium import webdriver

    if shutil.which("chromedriver") is None:
        pytest.skip("chromedriver is not installed")
    options = webdriver.ChromeOptions()
    for argument in ("--headless", "--no-sandbox", "--disable-gpu", "--window-size=1000,1400"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    service = webdriver.ChromeService(shutil.which("chromedriver"))
    driver = webdriver.Chrome(options, service)
    yield driver
    driver.quit()


@pytest.mark.slow
def test_every_figure_of_the_report_is_right(record: dict[str, Any], folder: Path, browser: Any) -> None:
    from selenium.webdriver.common.by import By

    browser.get((folder / "demo.html").as_uri())
    shown_here = {
        element.get_attribute("data-figure"): element.text
        for element in browser.find_elements(By.CSS_SELECTOR, "[data-figure]")
    }
    expected = {name: shown(value) for name, value in figures(record).items()}
    assert shown_here == {**expected, "took_s": shown(record["took_s"])}
    plots = browser.find_elements(By.CSS_SELECTOR, "figure svg")
    assert len(plots) == sum(len(section["plots"]) for section in record["sections"]) >= 3
    for plot in plots:
        assert plot.size["width"] > 400
        assert plot.find_elements(By.CSS_SELECTOR, "polyline, polygon")
    loaded = browser.execute_script("return performance.getEntriesByType('resource').map(e => e.name)")
    assert loaded == []  # the file needs nothing else
    assert browser.get_log("browser") == []
