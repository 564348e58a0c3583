"""One cluster and one browser for all tests of the dashboard.

They run in the order of the files: the last ones take the cluster apart. Screenshots go to
``$MEMORIES_SCREENSHOTS`` where that is set, else to a folder of pytest's.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.browser import Browser, browser_or_skip
from tests.support.dashboard_server import Server

ROOT = Path(__file__).parents[3]


class Watched:
    """The cluster in its process; see `tests.support.watched_cluster` for what it can be told."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.watched_cluster"],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.address: str = self._answer()

    def __call__(self, what: str, *arguments: Any) -> Any:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps([what, *arguments]) + "\n")
        self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, "the cluster's process has ended"
        return json.loads(line)

    def end(self) -> None:
        try:
            self("end")
            self._process.wait(60)
        finally:
            self._process.kill()
            self._process.communicate()


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    opened = browser_or_skip()
    yield opened
    opened.close()


@pytest.fixture(scope="package")
def watched(browser: Browser) -> Iterator[Watched]:
    cluster = Watched()
    yield cluster
    cluster.end()


@pytest.fixture(scope="package")
def server(watched: Watched) -> Iterator[Server]:
    served = Server("--address", watched.address, "--name", "live")
    yield served
    served.end()


@pytest.fixture(scope="package")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = Path(os.environ.get("MEMORIES_SCREENSHOTS") or tmp_path_factory.mktemp("screenshots"))
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture(autouse=True)
def nothing_goes_wrong(browser: Browser) -> Iterator[None]:
    """After each test: no error in the console, and nobody but the server was called."""
    browser.console.clear()
    browser.hosts.clear()
    yield
    browser.gather()
    assert browser.console == []
    assert {host.partition(":")[0] for host in browser.hosts} <= {"127.0.0.1"}, browser.hosts


@pytest.fixture(scope="package")
def loaded(watched: Watched) -> int:
    keys: int = watched("load")
    return keys


@pytest.fixture
def busy(watched: Watched, loaded: int) -> Iterator[None]:
    """Stores, reads, moves, inserts, draws and steps go on meanwhile."""
    watched("keep_busy", True)
    yield
    watched("keep_busy", False)


def browse(browser: Browser, *, prefix: str, query: str) -> None:
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys

    button = '[data-testid="stFormSubmitButton"] button'
    browser.wait(lambda _: browser.driver.find_elements(By.CSS_SELECTOR, button), "the form is drawn")
    for label, value in (("Keys that begin with", prefix), ("Metadata query (JSON)", query)):
        box = browser.driver.find_element(By.CSS_SELECTOR, f'input[aria-label="{label}"]')
        box.send_keys(Keys.CONTROL, "a")
        box.send_keys(Keys.DELETE)
        box.send_keys(value)
    browser.driver.find_element(By.CSS_SELECTOR, button).click()
