"""Nodes: each machine with its memory, object store, disk, GPUs and heartbeat; the coordinator's loops."""

from __future__ import annotations

import streamlit as st

from ...actors.status import NodeStatus
from .. import charts, figures
from ..frame import chart, empty, show_html
from ..markup import LEVEL_COLOURS, Markup, bar, note, pill, table
from ..poller import Poller, View

SILENT_S = 5.0
LOOP_OLD_S = 10.0


def draw(poller: Poller, view: View) -> None:
    snapshot = view.snapshot
    if not snapshot.nodes:
        empty("No node is known yet.")
        return
    rows = [
        (
            node.name + (" (head)" if node.head else ""),
            _state(node, local=view.local),
            _share(node.memory_used_bytes, node.memory_total_bytes, 0.9),
            _share(node.object_store_used_bytes, node.object_store_bytes, 0.8),
            _share(node.disk_total_bytes - node.disk_free_bytes, node.disk_total_bytes, 0.95),
            f"{node.cpu_percent:.0f}% of {node.cpus} cores" if node.cpus else figures.NOTHING,
            _gpus(node),
            figures.NOTHING if view.local else f"{figures.age(node.heartbeat_age_s)} ago",
        )
        for node in snapshot.nodes
    ]
    columns = ("node", "state", "memory", "object store", "disk", "CPU", "GPU memory", "heard")
    show_html(table(columns, rows, key="machines"))
    st.subheader("Memory over time", anchor=False)
    points = poller.series("memory/")
    if points:
        chart(charts.lines(points, y="memory in use (%)", percent=True))
    else:
        empty("Machines have not said yet what they use.")
    if view.local:
        return
    st.subheader("Coordinator", anchor=False)
    rows_of_loops = []
    for loop in snapshot.loops:
        silent_s = max(0.0, snapshot.taken_s - loop.last_good_s)
        late = bool(loop.last_error) and silent_s > LOOP_OLD_S
        rows_of_loops.append(
            (
                loop.name,
                pill("error", "failing") if late else pill("ok", "running"),
                figures.count(loop.rounds),
                figures.count(loop.failures),
                f"{figures.age(silent_s)} ago",
                loop.last_error or figures.NOTHING,
            )
        )
    headings = ("loop", "state", "rounds", "failures", "last good round", "last error")
    show_html(table(headings, rows_of_loops, key="loops", right=(2, 3)))


def _state(node: NodeStatus, *, local: bool) -> Markup:
    if not node.online:
        return pill("error", "down")
    if node.heartbeat_age_s > SILENT_S and not local:
        return pill("warning", "silent")
    return pill("ok", "online")


def _share(used: int, total: int, alarm: float) -> Markup | str:
    if not total:
        return figures.NOTHING
    share = used / total
    colour = LEVEL_COLOURS["error" if share > alarm else "ok"]
    label = figures.percent(share)
    return Markup(bar(share, colour, label) + note(f"{figures.size(used)} of {figures.size(total)}"))


def _gpus(node: NodeStatus) -> Markup | str:
    if not node.gpus:
        return "none"
    parts = [
        f"{gpu.name}: {figures.size(gpu.used_bytes)} of {figures.size(gpu.total_bytes)}" for gpu in node.gpus
    ]
    return "; ".join(parts)
