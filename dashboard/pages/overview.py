"""The overview: is it well, how full is it, and what is to be done."""

from __future__ import annotations

import streamlit as st

from ...actors.core.model import TIER_ORDER
from ...actors.status import Snapshot
from .. import charts, figures
from ..frame import chart, empty, figure, show_html
from ..markup import LEVEL_COLOURS, TIER_COLOURS, bar, pill, table, tier_name
from ..poller import Poller, View


def draw(poller: Poller, view: View) -> None:
    snapshot = view.snapshot
    _figures(view)
    for advice in snapshot.advice:
        show = st.error if advice.level == "error" else st.warning
        show(f"**{_plain(_sentence(advice.what))}**  \n{_plain(_sentence(advice.do))}")
    if view.local:
        _process(view)
        return
    st.subheader("Tiers", anchor=False)
    if snapshot.tiers:
        _tiers(snapshot)
    else:
        empty("No tier has reported yet.")
    left, right = st.columns(2)
    with left:
        st.subheader("Usage", anchor=False)
        usage = poller.series("usage/")
        if usage:
            chart(charts.lines(usage, y="used share of budget (%)", colours=TIER_COLOURS, percent=True))
        else:
            empty("The course over time begins with the first snapshot.")
    with right:
        st.subheader("Nodes", anchor=False)
        _nodes(snapshot)


def _figures(view: View) -> None:
    snapshot = view.snapshot
    online = sum(node.online for node in snapshot.nodes)
    used = sum(used for used, _ in snapshot.tier_totals().values())
    engrams = sum(session.engrams for network in snapshot.memoria for session in network.sessions)
    rows = sum(buffer.rows for buffer in snapshot.replay)
    with st.container(horizontal=True, key="figures"):
        figure("Nodes online", f"{online} of {len(snapshot.nodes)}", key="nodes")
        if not view.local:
            figure("Keys", figures.count(snapshot.keys), key="keys")
            figure("Stored", figures.size(used), key="stored", hint="bytes in all tiers, copies included")
            hits = sum(snapshot.reads.found.values())
            share = figures.percent(hits / snapshot.reads.total) if snapshot.reads.total else "no reads"
            figure("Reads found", share, key="found", hint="of all reads since the coordinator started")
        figure("Replay rows", figures.count(rows), key="rows")
        if not view.local:
            figure("Engrams", figures.count(engrams), key="engrams")
        if view.local and snapshot.nodes:
            node = snapshot.nodes[0]
            figure("This process", figures.size(node.used_bytes), key="process", hint="resident memory")
            figure(
                "Machine memory",
                f"{figures.size(node.memory_used_bytes)} of {figures.size(node.memory_total_bytes)}",
                key="machine",
            )


def _tiers(snapshot: Snapshot) -> None:
    totals = snapshot.tier_totals()
    rows = []
    for tier in sorted(totals, key=TIER_ORDER.index):
        used, capacity = totals[tier]
        carried = [status for status in snapshot.tiers if status.tier == tier]
        share = used / capacity if capacity else 0.0
        limited = figures.budget(capacity) != "no limit"
        rows.append(
            (
                tier_name(tier),
                bar(share, TIER_COLOURS[tier], figures.percent(share)) if limited else "no limit",
                figures.size(used),
                figures.budget(capacity),
                figures.count(sum(status.keys for status in carried)),
                len(carried),
                f"{snapshot.reads.hit_rate(tier):.0f}%" if snapshot.reads.total else figures.NOTHING,
            )
        )
    columns = ("tier", "used share", "used", "budget", "keys", "members", "reads served")
    show_html(table(columns, rows, key="tiers", right=(2, 3, 4, 5, 6)))


def _nodes(snapshot: Snapshot) -> None:
    rows = []
    for node in snapshot.nodes:
        share = node.memory_used_bytes / node.memory_total_bytes if node.memory_total_bytes else 0.0
        state = pill("ok", "online") if node.online else pill("error", "down")
        colour = LEVEL_COLOURS["error" if share > 0.9 else "ok"]
        memory = bar(share, colour, figures.percent(share)) if node.memory_total_bytes else figures.NOTHING
        rows.append((node.name + (" (head)" if node.head else ""), state, memory))
    show_html(table(("node", "state", "machine memory"), rows, key="nodes"))


def _process(view: View) -> None:
    st.subheader("Plugins", anchor=False)
    if view.plugins:
        rows = [(plugin.name, figures.count(plugin.failures)) for plugin in view.plugins]
        show_html(table(("plugin", "failures"), rows, key="plugins", right=(1,)))
    else:
        empty("No plugin is registered in this process: PluginManager().register_plugin(...) does that.")


def _sentence(words: str) -> str:
    return words[:1].upper() + words[1:]


def _plain(words: str) -> str:
    """Markdown must not make anything of names and errors."""
    return "".join(f"\\{c}" if c in "\\`*_{}[]()#+-.!|~$<>:" else c for c in words)
