"""Replay: each buffer with its rates, what is in it, and whether its shards are safe."""

from __future__ import annotations

import streamlit as st

from ...actors.status import ReplayStatus
from .. import charts, figures
from ..frame import chart, empty, figure, show_html
from ..markup import pill, table
from ..poller import Poller, View


def draw(poller: Poller, view: View) -> None:
    buffers = view.snapshot.replay
    if not buffers:
        empty(
            "There is no replay buffer in this process."
            if view.local
            else 'There is no replay buffer: cluster.replay("name", schema=...) makes one.'
        )
        return
    names = [buffer.name for buffer in buffers]
    chosen = names[0]
    if len(names) > 1:
        chosen = st.selectbox("Buffer", names, key="replay-buffer")
    buffer = next((b for b in buffers if b.name == chosen), buffers[0])
    _figures(buffer)
    left, right = st.columns(2)
    with left:
        st.subheader("Rates", anchor=False)
        points = [
            *(
                (at_s, "inserted", value)
                for at_s, name, value in poller.series("inserts/")
                if name == buffer.name
            ),
            *(
                (at_s, "sampled", value)
                for at_s, name, value in poller.series("samples/")
                if name == buffer.name
            ),
        ]
        if points:
            chart(charts.lines(points, y="rows a second (1/s)"))
    with right:
        st.subheader("Rows", anchor=False)
        points = [p for p in poller.series("rows/") if p[1] == buffer.name]
        if points:
            chart(charts.lines(points, y="rows held"))
    left, right = st.columns(2)
    with left:
        st.subheader("Priorities", anchor=False)
        if buffer.priorities.total:
            chart(charts.bars(buffer.priorities, x="priority, from", y="rows"))
        else:
            empty("This buffer draws without priorities." if buffer.rows else "No row has been inserted yet.")
    with right:
        st.subheader("Age of rows", anchor=False)
        if buffer.row_ages.total:
            chart(charts.bars(buffer.row_ages, x="age since insertion, from", y="rows", seconds=True))
        else:
            empty(
                "Ages are shown of buffers on a cluster." if view.local else "No row has been inserted yet."
            )
    if not view.local:
        left, right = st.columns(2)
        with left:
            st.subheader("Staleness", anchor=False)
            if buffer.draw_ages.total:
                chart(
                    charts.bars(
                        buffer.draw_ages, x="age when drawn, from", y="rows drawn lately", seconds=True
                    )
                )
            else:
                empty("Nothing has been drawn lately.")
        with right:
            st.subheader("Shards", anchor=False)
            _shards(buffer, {node.node: node.name for node in view.snapshot.nodes})


def _figures(buffer: ReplayStatus) -> None:
    with st.container(horizontal=True, key="figures"):
        capacity = f" of {figures.count(buffer.capacity)}" if buffer.capacity else ""
        figure("Rows", f"{figures.count(buffer.rows)}{capacity}", key="rows")
        figure("Size", figures.size(buffer.nbytes), key="size")
        figure(
            "Inserted", figures.count(buffer.inserted), key="inserted", hint="rows since the buffer was made"
        )
        figure("Sampled", figures.count(buffer.sampled), key="sampled", hint="rows since the buffer was made")
        figure("Samples per insert", f"{buffer.samples_per_insert:.2f}", key="per-insert")
        updates = buffer.updated + buffer.stale_updates
        late = figures.percent(buffer.stale_updates / updates) if updates else "no updates"
        figure("Late priority updates", late, key="late", hint="their row had been overwritten")
        waiting = f"{buffer.waiting_writers} / {buffer.waiting_samplers}"
        limiter = buffer.limiter or "no rate limiter"
        figure("Waiting in / out", waiting, key="waiting", hint=f"writers / samplers that wait; {limiter}")


def _shards(buffer: ReplayStatus, names: dict[str, str]) -> None:
    rows = []
    for shard in buffer.shards:
        if shard.solo:
            state = pill("warning", "no backup")
        elif shard.age_s > 5:
            state = pill("old", f"silent for {figures.age(shard.age_s)}")
        elif not shard.in_sync:
            state = pill("warning", f"{figures.count(shard.lag_rows)} rows behind")
        else:
            state = pill("ok", "in sync" if shard.backup_node else "single")
        rows.append(
            (
                shard.shard,
                names.get(shard.node, shard.node[:8]) or figures.NOTHING,
                names.get(shard.backup_node, shard.backup_node[:8]) or figures.NOTHING,
                shard.view,
                figures.count(shard.rows),
                figures.size(shard.nbytes),
                state,
            )
        )
    columns = ("shard", "primary on", "backup on", "view", "rows", "size", "state")
    show_html(table(columns, rows, key="shards", right=(3, 4, 5)))
