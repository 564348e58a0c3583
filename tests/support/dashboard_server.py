"""`memories dashboard` as a process, and the way to its pages."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from .browser import Browser

ROOT = Path(__file__).parents[2]
CLICK_AGAIN_S = 15.0
PAGES = ("overview", "tiers", "replay", "memoria", "nodes", "events")


class Server:
    """`memories dashboard` as a process."""

    def __init__(
        self, *arguments: str, command: list[str] | None = None, cwd: Path = ROOT, **environment: str
    ) -> None:
        self.port = _free_port()
        program = (
            [*command, str(self.port)]
            if command
            else [sys.executable, "-m", "memories", "dashboard", "--port", str(self.port)]
        )
        self.process = subprocess.Popen(
            [*program, *arguments],
            cwd=cwd,
            env=os.environ | environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            preexec_fn=heed_ctrl_c,
        )
        self.url = f"http://127.0.0.1:{self.port}"
        _wait_until_it_answers(f"{self.url}/_stcore/health", self.process)

    def end(self) -> str:
        """Ctrl-C; what it has printed."""
        self.process.send_signal(signal.SIGINT)
        try:
            return self.process.communicate(timeout=30)[0]
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.communicate()[0]


def heed_ctrl_c() -> None:
    """In a new process: let Ctrl-C end it, also where a shell in the background has us all ignore it."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def _wait_until_it_answers(url: str, process: subprocess.Popen[str], timeout_s: float = 90) -> None:
    ends_s = time.monotonic() + timeout_s
    while time.monotonic() < ends_s:
        assert process.poll() is None, process.communicate()[0]
        try:
            with urllib.request.urlopen(url, timeout=2):
                return
        except OSError:
            time.sleep(0.1)
    pytest.fail(f"{url} did not answer within {timeout_s:g} s")


def look(browser: Browser, server: Server, page: str, says: str = "") -> dict[str, Any]:
    """Go to a page by the navigation, and wait until it is drawn from a whole snapshot."""
    if not browser.driver.current_url.startswith(server.url):
        browser.open(server.url)

    clicked_s = 0.0

    def there(found: dict[str, Any]) -> bool:
        nonlocal clicked_s
        if found["title"].lower() == page:
            return bool(found["state"]) and says in found["text"]
        if found["title"] and time.monotonic() - clicked_s > CLICK_AGAIN_S:
            clicked_s = time.monotonic()  # each click begins the page anew
            browser.click_link(page.capitalize())
        return False

    found = browser.wait(there, f"{page} with {says!r}", 90)
    assert found["exceptions"] == []
    return found
