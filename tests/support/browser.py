"""Chromium for tests of pages: reads a whole page in one step, at any size, dark or light."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from selenium.common.exceptions import JavascriptException, WebDriverException
from selenium.webdriver import Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service

DESKTOP = (1440, 900)
PHONE = (390, 844)

READ_PAGE = """
const text = node => node ? node.innerText.trim() : "";
const all = (what, from) => Array.from((from || document).querySelectorAll(what));
const figures = {};
for (const box of all('[class*="st-key-figure-"]')) {
  const name = Array.from(box.classList).find(c => c.startsWith("st-key-figure-")).slice(14);
  figures[name] = text(box.querySelector('[data-testid="stMetricValue"]'));
}
const tables = {};
for (const box of all('[class^="table-"]'))
  tables[box.className.slice(6)] = all("tbody tr", box).map(row => all("td", row).map(text));
return {
  title: text(document.querySelector('[data-testid="stMain"] [data-testid="stHtml"] span[style*="1.55rem"]')),
  state: text(document.querySelector(".page-state")),
  figures, tables,
  text: text(document.querySelector('[data-testid="stMain"]')),
  alerts: all('[data-testid="stAlert"]').map(text),
  exceptions: all('[data-testid="stException"]').map(text),
  charts: all('[data-testid="stVegaLiteChart"] canvas, [data-testid="stVegaLiteChart"] svg').length,
  diagrams: all('[data-testid="stGraphVizChart"] svg g.edge').length,
  stale: all('[data-stale="true"]').length,
  width: [document.documentElement.scrollWidth, window.innerWidth],
};
"""

CUT_OFF = """
const out = [];
for (const box of document.querySelectorAll('[class^="table-"]'))
  if (box.scrollWidth > box.clientWidth + 1) out.push(box.className);
const texts = '[data-testid="stMetricLabel"] p, [data-testid="stMetricValue"] > div';
for (const label of document.querySelectorAll(texts))
  if (label.scrollWidth > label.clientWidth + 1) out.push(label.innerText);
return out;
"""

CLICK = """
const words = arguments[0];
const find = () => Array.from(document.querySelectorAll('a')).find(a => a.innerText.trim() === words);
const opener = document.querySelector('[data-testid="stExpandSidebarButton"]');
if (!find() && opener) opener.click();
const link = find();
if (link) link.click();
"""

OVERFLOWING = """
const main = document.querySelector('[data-testid="stMain"]').getBoundingClientRect();
const out = [];
for (const node of document.querySelectorAll('[data-testid="stMain"] *')) {
  const box = node.getBoundingClientRect();
  const scrolls = node.closest('[style*="overflow-x"], [data-testid="stGraphVizChart"]');
  if (!box.width || !node.innerText || scrolls) continue;
  if (box.right > main.right + 2) out.push(node.tagName + " " + node.innerText.slice(0, 40));
}
return out;
"""

HEIGHT = """
const block = document.querySelector('[data-testid="stMainBlockContainer"]');
return block ? Math.ceil(block.getBoundingClientRect().height) + 80 : 900;
"""


class Browser:
    """One tab. `console` and `hosts` gather what the pages say and whom they call."""

    def __init__(self) -> None:
        options = ChromeOptions()
        for flag in (
            "--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu", "--hide-scrollbars",
            "--disable-background-networking", "--disable-component-update", "--no-first-run",
        ):  # fmt: skip
            options.add_argument(flag)
        options.binary_location = str(shutil.which("chromium"))
        options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
        self.driver = Chrome(options=options, service=Service(str(shutil.which("chromedriver"))))
        self.driver.set_page_load_timeout(60)
        self.console: list[str] = []
        self.hosts: set[str] = set()
        self.resize(DESKTOP)

    def resize(self, size: tuple[int, int]) -> None:
        """Let the window be so large; a narrow one is a phone."""
        width, height = size
        self.driver.execute_cdp_cmd(
            "Emulation.setDeviceMetricsOverride",
            {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600},
        )

    def dark(self, on: bool) -> None:
        """What the operating system prefers; pages that are open follow when they are loaded anew."""
        value = "dark" if on else "light"
        self.driver.execute_cdp_cmd(
            "Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": value}]}
        )

    def open(self, url: str) -> None:
        self.driver.get(url)

    def read(self) -> dict[str, Any]:
        """Everything on the page, of one moment."""
        page: dict[str, Any] = self.driver.execute_script(READ_PAGE)
        return page

    def click_link(self, words: str) -> None:
        """Follow a link of the navigation; on a phone it is behind a button."""
        self.driver.execute_script(CLICK, words)

    def wait(
        self, condition: Callable[[dict[str, Any]], object], what: str, timeout_s: float = 60
    ) -> dict[str, Any]:
        """The page as soon as the condition holds."""
        ends_s = time.monotonic() + timeout_s
        page: dict[str, Any] = {}
        while time.monotonic() < ends_s:
            try:
                page = self.read()
                if condition(page):
                    return page
            except (JavascriptException, KeyError, IndexError):
                pass  # it is being drawn
            time.sleep(0.1)
        pytest.fail(f"not so within {timeout_s:g} s: {what}\n{json.dumps(page, indent=1)[:4000]}")

    def overflowing(self) -> list[str]:
        """What sticks out of the page at the right."""
        found: list[str] = self.driver.execute_script(OVERFLOWING)
        return found

    def cut_off(self) -> list[str]:
        """Tables that are wider than the page, and figures whose text does not fit."""
        found: list[str] = self.driver.execute_script(CUT_OFF)
        return found

    def screenshot(self, path: Path, width: int) -> None:
        """The whole page, as long as it is."""
        height = max(900, int(self.driver.execute_script(HEIGHT)))
        self.resize((width, height))
        away = {"type": "mouseMoved", "x": 1, "y": 1}  # what the mouse is over shows more than the others
        self.driver.execute_cdp_cmd("Input.dispatchMouseEvent", away)
        self.wait(lambda page: not page["stale"], "the page has taken the new size")
        self.driver.save_screenshot(str(path))

    def gather(self) -> None:
        """Take what was logged since the last time."""
        for entry in self.driver.get_log("browser"):
            if entry["level"] in ("SEVERE", "ERROR"):
                self.console.append(entry["message"])
        for entry in self.driver.get_log("performance"):
            message = json.loads(entry["message"])["message"]
            if message["method"] == "Network.requestWillBeSent":
                url = message["params"]["request"]["url"]
                if url.startswith(("http", "ws")):
                    self.hosts.add(url.split("/")[2])

    def new_tab(self, url: str) -> str:
        """Another tab with this page; the first stays the current one."""
        first = self.driver.current_window_handle
        self.driver.switch_to.new_window("tab")
        self.driver.get(url)
        other = self.driver.current_window_handle
        self.driver.switch_to.window(first)
        return other

    def close_tab(self, handle: str) -> None:
        first = self.driver.current_window_handle
        self.driver.switch_to.window(handle)
        self.driver.close()
        self.driver.switch_to.window(first)

    def close(self) -> None:
        try:
            self.driver.quit()
        except WebDriverException:
            self.driver.service.stop()


def browser_or_skip() -> Browser:
    """A browser, or the reason why there is none."""
    missing = [name for name in ("chromium", "chromedriver") if shutil.which(name) is None]
    if missing:
        pytest.skip(f"{' and '.join(missing)} not found; `make system` installs them on Debian")
    return Browser()
