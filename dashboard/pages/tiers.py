"""Tiers: how full they were, what is read from where, what moves, and which keys there are."""

from __future__ import annotations

import json

import streamlit as st

from ...actors.core.model import TIER_ORDER
from ...actors.status import KeyStatus
from ...errors import MemoriesError
from .. import charts, figures
from ..frame import chart, empty, show_html
from ..markup import TIER_COLOURS, Markup, code, fields, note, table, tier_name
from ..poller import Poller, View

BROWSED_KEYS = 100


def draw(poller: Poller, view: View) -> None:
    snapshot = view.snapshot
    if view.local:
        empty("Tiers are shown of a cluster; memories.connect() starts one.")
        return
    left, right = st.columns(2)
    with left:
        st.subheader("Stored bytes", anchor=False)
        _lines(poller, "bytes/", "bytes in use (B)", percent=False)
    with right:
        st.subheader("Hit rate", anchor=False)
        _lines(poller, "hits/", "reads served (% of all)", percent=True)
    left, right = st.columns(2)
    with left:
        st.subheader("Flows between tiers", anchor=False)
        if snapshot.flows:
            carried = {status.tier for status in snapshot.tiers}
            tiers = [tier for tier in TIER_ORDER if tier in carried]
            dark = st.context.theme.type == "dark"
            st.graphviz_chart(charts.flow_diagram(snapshot.flows, tiers, dark=dark), width="content")
            show_html(note("Since the coordinator started; dashed: copies that were repaired."))
        else:
            empty("Nothing has moved since the coordinator started.")
    with right:
        st.subheader("Members", anchor=False)
        names = {node.node: node.name for node in snapshot.nodes}
        rows = [
            (
                tier_name(status.tier),
                names.get(status.node, status.node[:8]),
                figures.size(status.used_bytes),
                figures.budget(status.capacity_bytes),
                figures.count(status.keys),
                figures.count(status.reads),
                figures.count(status.writes),
            )
            for status in sorted(snapshot.tiers, key=lambda s: (TIER_ORDER.index(s.tier), s.member))
        ]
        columns = ("tier", "node", "used", "budget", "keys", "reads", "writes")
        show_html(table(columns, rows, key="members", right=(2, 3, 4, 5, 6)))
    left, right = st.columns(2)
    with left:
        st.subheader("Largest keys", anchor=False)
        _keys(snapshot.largest, "largest", with_reads=False)
    with right:
        st.subheader("Hottest keys", anchor=False)
        _keys(snapshot.hottest, "hottest", with_reads=True)


def browse(poller: Poller) -> None:
    """The key browser. Not refreshed by itself: it asks the cluster when it is told to."""
    view = poller.look()
    if view is None or view.local:
        return
    st.subheader("Key browser", anchor=False)
    with st.form("browser", border=False):
        prefix_column, query_column, button_column = st.columns([3, 4, 1], vertical_alignment="bottom")
        prefix = prefix_column.text_input("Keys that begin with", placeholder="features/")
        query = query_column.text_input(
            "Metadata query (JSON)",
            placeholder='{"split": "train", "epoch": {"$gte": 3}}',
            help="As in MemoryManager.query: $eq $ne $gt $gte $lt $lte $in $nin $exists $regex $and $or $not",
        )
        asked = button_column.form_submit_button("Look", width="stretch")
    if not asked:
        return
    try:
        metadata_filter = json.loads(query) if query.strip() else {}
        if not isinstance(metadata_filter, dict):
            raise ValueError('a query is an object, such as {"split": "train"}')
        found = poller.keys(prefix, metadata_filter, BROWSED_KEYS)
    except (MemoriesError, ValueError) as error:
        st.warning(f"This could not be looked up: {error}")
        return
    shown = len(found.rows)
    noun = "key matches" if found.total == 1 else "keys match"
    first = "" if shown == found.total else f"; the first {shown} are shown"
    show_html(Markup(f'<div class="found">{figures.count(found.total)} {noun}{first}.</div>'))
    rows = [
        (
            code(figures.key_name(row.key)),
            tier_name(row.tier),
            figures.size(row.nbytes),
            row.copies,
            fields(row.metadata, row.more_fields),
        )
        for row in found.rows
    ]
    if rows:
        show_html(table(("key", "tier", "size", "nodes", "metadata"), rows, key="browsed", right=(2, 3)))


def _lines(poller: Poller, prefix: str, y: str, *, percent: bool) -> None:
    points = poller.series(prefix)
    if points:
        chart(charts.lines(points, y=y, colours=TIER_COLOURS, percent=percent))
    else:
        empty("Nobody has read anything since this page was opened." if percent else "Nothing is known yet.")


def _keys(keys: tuple[KeyStatus, ...], name: str, *, with_reads: bool) -> None:
    if not keys:
        empty("Nobody has read anything lately." if with_reads else "Nothing is stored.")
        return
    rows = [
        (
            code(figures.key_name(key.key)),
            tier_name(key.tier),
            figures.size(key.nbytes),
            figures.count(key.reads) if with_reads else key.copies,
        )
        for key in keys
    ]
    show_html(
        table(
            ("key", "tier", "size", "recent reads" if with_reads else "nodes"), rows, key=name, right=(2, 3)
        )
    )
