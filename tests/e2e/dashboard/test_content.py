"""The dashboard in a real Chromium, over a live cluster: what it shows is what the cluster says."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from memories.dashboard import figures
from tests.support.browser import Browser
from tests.support.dashboard_server import Server, look

from .conftest import Watched, browse

TRAINING = """
import sys, threading
from memory import MemoryPlugin, PluginManager, PrioritizedExperienceReplay, run_dashboard

class Counter(MemoryPlugin):
    pass

plugins = PluginManager()
plugins.register_plugin(Counter())
replay = PrioritizedExperienceReplay(capacity=1000, plugin_manager=plugins)
for step in range(300):
    replay.store([float(step)], 0, 1.0, [step + 1.0], False)
replay.sample(16)
beside = {"cluster": "of-nobody", "port": int(sys.argv[1])}
threading.Thread(target=run_dashboard, kwargs=beside, daemon=True).start()
sys.stdin.read()
"""


def test_without_a_cluster_it_shows_the_process_that_it_is_in(browser: Browser, tmp_path: Path) -> None:
    script = tmp_path / "train.py"
    script.write_text(TRAINING, encoding="utf-8")
    served = Server(command=[sys.executable, str(script)])
    try:
        look(browser, served, "overview", "Plugins")
        found = browser.wait(lambda p: p["figures"]["rows"] == "300", "the rows of the process")
        assert "this process" in found["state"]
        assert found["tables"]["plugins"] == [["Counter", "0"]]
        assert any("no cluster to look at" in alert for alert in found["alerts"])
        look(browser, served, "replay", "Priorities")
        found = browser.wait(lambda p: p["figures"]["rows"] == "300 of 1,000", "the rows of the buffer")
        assert found["figures"]["inserted"] == "300"
        assert found["figures"]["sampled"] == "16"
        browser.wait(lambda p: p["charts"] == 3, "rates, rows and priorities")
        for page in ("tiers", "memoria", "nodes", "events"):
            look(browser, served, page)
        listening = [c for c in psutil.Process(served.process.pid).net_connections() if c.status == "LISTEN"]
        assert {connection.laddr.ip for connection in listening} == {"127.0.0.1"}
    finally:
        browser.open("about:blank")  # an open page would go on asking
        served.end()


def shown_or_retry(browser: Browser, watched: Watched, same: Any, what: str, timeout_s: float = 30) -> None:
    """The page and the cluster agree, at one time within the deadline: both go on meanwhile."""
    browser.wait(lambda page: same(page, watched("status")), what, timeout_s)


def totals(status: dict[str, Any], tier: str, name: str) -> int:
    return sum(t[name] for t in status["tiers"] if t["tier"] == tier)


# -- with no data ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def bare_server(watched: Watched) -> Iterator[Server]:
    served = Server("--address", watched.address, "--name", "bare")
    yield served
    served.end()


@pytest.mark.parametrize(
    ("page", "says"),
    [
        ("overview", "Nodes online"),
        ("tiers", "Nobody has read anything"),
        ("replay", "There is no replay buffer"),
        ("memoria", "There is no Memoria network"),
        ("nodes", "head (head)"),
        ("events", "serving"),
    ],
)
def test_an_empty_cluster_says_so(browser: Browser, bare_server: Server, page: str, says: str) -> None:
    found = look(browser, bare_server, page, says)
    assert "cluster bare" in found["state"]
    if page == "overview":
        assert found["figures"]["keys"] == "0"
        assert found["figures"]["found"] == "no reads"
        assert [row[0] for row in found["tables"]["tiers"]] == ["● warm"]


# -- with load -----------------------------------------------------------------------------------------------


def test_the_overview_shows_the_clusters_figures(
    browser: Browser, server: Server, watched: Watched, loaded: int
) -> None:
    look(browser, server, "overview")

    def same(page: dict[str, Any], status: dict[str, Any]) -> bool:
        rows = {row[0].removeprefix("● "): row for row in page["tables"]["tiers"]}
        tiers_agree = all(
            rows[tier][2] == figures.size(totals(status, tier, "used_bytes"))
            and rows[tier][3] == figures.size(totals(status, tier, "capacity_bytes"))
            and rows[tier][4] == figures.count(totals(status, tier, "keys"))
            for tier in ("hot", "warm", "cold")
        )
        engrams = sum(
            session["working"] + session["shortterm"] + session["longterm"]
            for network in status["memoria"]
            for session in network["sessions"]
        )
        reads = status["reads"]
        share = sum(reads["found"].values()) / (sum(reads["found"].values()) + reads["missed"])
        return (
            tiers_agree
            and page["figures"]["nodes"] == "2 of 2"
            and page["figures"]["keys"] == figures.count(status["keys"])
            and page["figures"]["stored"] == figures.size(sum(t["used_bytes"] for t in status["tiers"]))
            and page["figures"]["found"] == figures.percent(share)
            and page["figures"]["engrams"] == figures.count(engrams)
            and "healthy" in page["state"]
        )

    assert loaded > 500
    shown_or_retry(browser, watched, same, "the overview agrees with the cluster")
    page = browser.wait(lambda p: p["charts"] == 1, "the chart of usage over time")
    assert [row[1] for row in page["tables"]["nodes"]] == ["online", "online"]


def test_the_tiers_page_shows_flows_keys_and_members(
    browser: Browser, server: Server, watched: Watched, loaded: int
) -> None:
    look(browser, server, "tiers", "Hottest keys")
    watched("read")  # so that there is a hit rate over time

    def same(page: dict[str, Any], status: dict[str, Any]) -> bool:
        largest = [(row[0], row[1].removeprefix("● "), row[2]) for row in page["tables"]["largest"]]
        hottest = [row[0] for row in page["tables"]["hottest"]]
        members = page["tables"]["members"]
        return (
            largest == [(k["key"], k["tier"], figures.size(k["nbytes"])) for k in status["largest"]]
            and set(hottest) == {k["key"] for k in status["hottest"]}
            and hottest[0] == status["hottest"][0]["key"] == "features/batch09"
            and len(members) == len(status["tiers"]) == 6
            and sorted(row[2] for row in members)
            == sorted(figures.size(t["used_bytes"]) for t in status["tiers"])
        )

    shown_or_retry(browser, watched, same, "the tiers page agrees with the cluster")
    page = browser.wait(
        lambda p: p["charts"] == 2 and p["diagrams"] >= 1, "both charts and the diagram of flows"
    )
    flows = {(flow["what"], flow["source"], flow["target"]): flow for flow in watched("status")["flows"]}
    moved = flows["moved", "warm", "cold"]  # what is read much may have risen by itself, the other way
    assert f"moved {figures.count(moved['keys'])} keys" in page["text"]


def test_the_key_browser_finds_by_prefix_and_by_metadata(
    browser: Browser, server: Server, loaded: int
) -> None:
    look(browser, server, "tiers", "Key browser")
    browse(browser, prefix="features/", query='{"split": "test", "epoch": {"$gte": 12}}')
    page = browser.wait(lambda p: "browsed" in p["tables"], "keys are listed")
    assert [row[0] for row in page["tables"]["browsed"]] == [
        f"features/batch{n:02d}" for n in range(12, 30, 3)
    ]
    assert {row[3] for row in page["tables"]["browsed"]} == {"2"}
    for row, number in zip(page["tables"]["browsed"], range(12, 30, 3), strict=True):
        assert "split test" in row[4]
        assert f"epoch {number}" in row[4]
    browse(browser, prefix="", query="")
    page = browser.wait(lambda p: f"{loaded} keys match" in p["text"], "all keys match")
    assert "the first 100 are shown" in page["text"]
    browse(browser, prefix="", query="{not JSON")
    page = browser.wait(lambda p: "could not be looked up" in p["text"], "a bad query is answered")
    assert page["exceptions"] == []


def test_the_memoria_page_shows_the_network(
    browser: Browser, server: Server, watched: Watched, loaded: int
) -> None:
    look(browser, server, "memoria")
    watched("step")

    def same(page: dict[str, Any], status: dict[str, Any]) -> bool:
        (session,) = status["memoria"][0]["sessions"]
        shown = page["figures"]
        return (
            shown["steps"] == str(session["timestep"])
            and shown["working"] == figures.count(session["working"])
            and shown["shortterm"] == figures.count(session["shortterm"])
            and shown["longterm"] == figures.count(session["longterm"])
        )

    shown_or_retry(browser, watched, same, "the memoria page agrees with the cluster")
    browser.wait(lambda p: p["charts"] == 3, "engrams over time, lifespans and links")


def test_the_replay_page_shows_the_buffer(
    browser: Browser, server: Server, watched: Watched, loaded: int
) -> None:
    look(browser, server, "replay")
    watched("play")

    def same(page: dict[str, Any], status: dict[str, Any]) -> bool:
        (buffer,) = status["replay"]
        names = {node["node"]: node["name"] for node in status["nodes"]}
        shards = [
            (row[0], row[1], row[2], row[4], row[6].startswith("in sync")) for row in page["tables"]["shards"]
        ]
        per_insert = buffer["sampled"] / buffer["inserted"]
        return (
            page["figures"]["rows"]
            == f"{figures.count(buffer['rows'])} of {figures.count(buffer['capacity'])}"
            and page["figures"]["inserted"] == figures.count(buffer["inserted"]) == "4,000"
            and page["figures"]["sampled"] == figures.count(buffer["sampled"])
            and page["figures"]["per-insert"] == f"{per_insert:.2f}"
            and shards
            == [
                (str(s["shard"]), names[s["node"]], names[s["backup_node"]], figures.count(s["rows"]), True)
                for s in buffer["shards"]
            ]
        )

    shown_or_retry(browser, watched, same, "the replay page agrees with the cluster")
    browser.wait(lambda p: p["charts"] == 5, "rates, rows, priorities, ages and staleness")
    (buffer,) = watched("status")["replay"]
    for histogram in ("priorities", "row_ages"):
        counted = sum(buffer[histogram]["counts"])
        assert counted == pytest.approx(buffer["rows"], rel=0.01), histogram


def test_the_nodes_page_shows_machines_and_loops(browser: Browser, server: Server, watched: Watched) -> None:
    look(browser, server, "nodes")

    def same(page: dict[str, Any], status: dict[str, Any]) -> bool:
        shown = {row[0].removesuffix(" (head)"): row for row in page["tables"]["machines"]}
        stores_agree = all(
            f"{figures.size(n['object_store_used_bytes'])} of {figures.size(n['object_store_bytes'])}"
            in shown[n["name"]][3]
            and figures.size(n["memory_total_bytes"]) in shown[n["name"]][2]
            and shown[n["name"]][1] == "online"
            for n in status["nodes"]
        )
        loops = {row[0]: row[1] for row in page["tables"]["loops"]}
        return stores_agree and loops == {loop["name"]: "running" for loop in status["loops"]}

    shown_or_retry(browser, watched, same, "the nodes page agrees with the cluster")
    browser.wait(lambda p: p["charts"] == 1, "memory over time")


def test_the_events_page_shows_what_happened(
    browser: Browser, server: Server, watched: Watched, loaded: int
) -> None:
    look(browser, server, "events")

    def same(page: dict[str, Any], status: dict[str, Any]) -> bool:
        shown = [(row[0], row[1]) for row in page["tables"]["events"]]
        return shown == [(figures.clock(e["at_s"]), e["what"]) for e in status["events"]] and page["figures"][
            "moved"
        ] == figures.count(status["counts"]["moved"])

    shown_or_retry(browser, watched, same, "the events page agrees with the cluster")


def test_the_pages_follow_a_cluster_under_load(
    browser: Browser, server: Server, watched: Watched, busy: None
) -> None:
    """What is shown grows with the cluster's own counters, and is between two looks at them."""

    def follows(page: str, name: str, of: Callable[[dict[str, Any]], int]) -> None:
        look(browser, server, page)
        began = of(watched("status"))
        browser.wait(lambda p: number(p["figures"][name]) > began * 1.001 + 1, f"{name} grows")
        shown = number(browser.read()["figures"][name])
        browser.wait(lambda _: of(watched("status")) >= shown * 0.995, f"the cluster has got to {name}")

    follows("replay", "inserted", lambda status: int(status["replay"][0]["inserted"]))
    follows("replay", "sampled", lambda status: int(status["replay"][0]["sampled"]))
    follows("events", "moved", lambda status: int(status["counts"]["moved"]))
    follows("memoria", "steps", lambda status: int(status["memoria"][0]["sessions"][0]["timestep"]))


def number(shown: str) -> float:
    """What a figure says: "1,234" and "12.3 k"."""
    digits, _, unit = shown.replace(",", "").partition(" ")
    return float(digits) * {"": 1, "k": 1e3, "M": 1e6}[unit]
