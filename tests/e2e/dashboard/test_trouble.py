"""What the dashboard shows when the coordinator does not answer, and when a node is lost."""

from __future__ import annotations

import os
import re
import signal

from memories.dashboard import figures
from tests.support.browser import Browser
from tests.support.dashboard_server import PAGES, Server, look

from .conftest import Watched


def test_a_restarting_coordinator_leaves_the_last_known_state(
    browser: Browser, server: Server, watched: Watched, loaded: int
) -> None:
    pages = ("overview", "tiers", "memoria", "nodes", "events")
    keys = figures.count(watched("status")["keys"])
    look(browser, server, "overview")
    browser.wait(lambda p: p["figures"]["keys"] == keys, "the keys are shown")
    pid = watched("pause_coordinator")
    try:
        for page in pages:  # every page shows what was known last, marked as old
            look(browser, server, page)
            found = browser.wait(
                lambda p: (
                    "last known" in p["state"] and any("Last known state" in alert for alert in p["alerts"])
                ),
                f"{page} is marked as old",
            )
            assert found["exceptions"] == []
            if page == "overview":
                assert found["figures"]["keys"] == keys
    finally:
        os.kill(pid, signal.SIGKILL)
    look(browser, server, "overview")
    browser.wait(
        lambda p: "last known" not in p["state"] and p["figures"]["keys"] == keys,
        "the new coordinator is shown, with all keys",
        90,
    )
    assert figures.count(watched("status")["keys"]) == keys


def test_a_killed_node_is_shown_as_down_with_what_to_do(
    browser: Browser, server: Server, watched: Watched, loaded: int
) -> None:
    watched("kill_worker")
    look(browser, server, "overview")
    page = browser.wait(
        lambda p: (
            p["figures"]["nodes"] == "1 of 2"
            and ["worker", "down"] in [row[:2] for row in p["tables"]["nodes"]]
            and any("Node worker is down" in alert and "ray start" in alert for alert in p["alerts"])
        ),
        "one node is down, and what to do is said",
        90,
    )
    assert re.search(r"\d problem", page["state"])
    for name in PAGES:
        found = look(browser, server, name)
        assert "last known" not in found["state"]
    page = look(browser, server, "nodes", "down")
    down = next(row for row in page["tables"]["machines"] if row[0] == "worker")
    assert down[1] == "down"
    events = look(browser, server, "events", "left")
    assert {"left", "repaired"} & {row[1] for row in events["tables"]["events"]}
