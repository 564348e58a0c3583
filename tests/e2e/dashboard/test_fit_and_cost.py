"""Every page on a large and on a small screen, light and dark; and what looking at it costs."""

from __future__ import annotations

import contextlib
import statistics
import time
from pathlib import Path

import pytest

from tests.support.browser import DESKTOP, PHONE, Browser
from tests.support.dashboard_server import PAGES, Server, look

from .conftest import Watched, browse

CHARTS = {"overview": 1, "tiers": 2, "memoria": 3, "nodes": 1, "replay": 5}
TABLES = {
    "overview": "nodes",
    "tiers": "browsed",
    "replay": "shards",
    "memoria": "links",
    "nodes": "loops",
    "events": "events",
}
"""The table at the end of each page."""


@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_every_page_fits(
    browser: Browser, server: Server, pictures: Path, busy: None, size: tuple[int, int], dark: bool
) -> None:
    browser.dark(dark)
    try:
        for page in PAGES:
            browser.resize(size)
            look(browser, server, page)
            if page == "tiers":
                browse(browser, prefix="features/", query="")
                browser.wait(lambda p: "browsed" in p["tables"], "keys are listed")
            charts, table = CHARTS.get(page, 0), TABLES[page]
            found = browser.wait(
                lambda p, charts=charts, table=table: (
                    p["charts"] >= charts and not p["stale"] and table in p["tables"]
                ),
                f"{page} is drawn",
            )
            assert found["width"][0] <= found["width"][1], f"{page} is wider than the screen"
            assert browser.overflowing() == []
            assert browser.cut_off() == []
            name = f"{page}-{'phone' if size is PHONE else 'desktop'}-{'dark' if dark else 'light'}.png"
            browser.screenshot(pictures / name, size[0])
            assert (pictures / name).stat().st_size > 10_000
    finally:
        browser.dark(False)
        browser.resize(DESKTOP)


def test_three_tabs_cost_one_snapshot_a_second_and_next_to_no_cpu(
    browser: Browser, server: Server, watched: Watched, loaded: int
) -> None:
    """CPU of all our actors in the seconds with three tabs open and in those with none, in turns.

    The middle half of the seconds counts: a look costs something in every second, and what Ray does every ten
    seconds, or the machine whenever it likes, is more than all of that.
    """
    processes = list(watched("pids").values())

    def cpu_s() -> float:
        """By the scheduler's own account: `cpu_times` counts in ticks of 10 ms, which is half of the bar."""
        spent_ns = 0
        for pid in processes:
            for thread in Path(f"/proc/{pid}/task").iterdir():
                with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # it has just ended
                    spent_ns += int((thread / "schedstat").read_text().split()[0])
        return spent_ns / 1e9

    def rounds() -> int:
        return int(next(loop["rounds"] for loop in watched("status")["loops"] if loop["name"] == "observer"))

    def spend() -> list[float]:
        """The CPU seconds of each of ten seconds."""
        spent = []
        before, began_s = cpu_s(), time.monotonic()
        for _ in range(10):
            time.sleep(1.0)
            after, ended_s = cpu_s(), time.monotonic()
            spent.append((after - before) / (ended_s - began_s))
            before, began_s = after, ended_s
        return spent

    watched_s: list[float] = []
    alone_s: list[float] = []
    for _ in range(5):
        tabs = [browser.new_tab(server.url) for _ in range(2)]
        look(browser, server, "memoria")
        before, began_s = rounds(), time.monotonic()
        watched_s += spend()
        asked, seconds = rounds() - before, time.monotonic() - began_s
        for tab in tabs:
            browser.close_tab(tab)
        browser.open("about:blank")
        time.sleep(8)  # the poller rests six seconds after the last look
        alone_s += spend()
        assert 2 <= asked <= seconds + 2  # the second look at the figure is one of them
    alone, watching = middle_half(alone_s), middle_half(watched_s)
    print(
        f"CPU of {len(processes)} actors: {1000 * alone:.1f} ms/s alone, {1000 * watching:.1f} ms/s watched; "
        f"means {1000 * statistics.mean(alone_s):.1f} and {1000 * statistics.mean(watched_s):.1f}"
    )
    assert alone > 0, "the kernel keeps no account"
    assert watching - alone <= 0.020


def middle_half(numbers: list[float]) -> float:
    """The mean of those between the quartiles."""
    quarter = len(numbers) // 4
    return statistics.mean(sorted(numbers)[quarter : len(numbers) - quarter])
