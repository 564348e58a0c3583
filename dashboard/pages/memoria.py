"""Memoria: what each network remembers, how long it lives, and what fires together."""

from __future__ import annotations

import streamlit as st

from .. import charts, figures
from ..frame import chart, empty, figure, show_html
from ..markup import note, table
from ..poller import Poller, View

LISTED_LINKS = 10


def draw(poller: Poller, view: View) -> None:
    found = {
        f"{network.name} / {session.session}": (network, session)
        for network in view.snapshot.memoria
        for session in network.sessions
    }
    if not found:
        empty(
            'There is no Memoria network that has been used: cluster.memoria("name", ...) makes one. '
            "Networks in a process of their own are not shown."
        )
        return
    chosen = next(iter(found))
    if len(found) > 1:
        chosen = st.selectbox("Network and session", list(found), key="memoria-session") or chosen
    network, session = found.get(chosen, next(iter(found.values())))
    names = {node.node: node.name for node in view.snapshot.nodes}
    with st.container(horizontal=True, key="figures"):
        figure("Engrams", figures.count(session.engrams), key="engrams")
        figure("Working", figures.count(session.working), key="working")
        figure("Short-term", figures.count(session.shortterm), key="shortterm")
        figure("Long-term", figures.count(session.longterm), key="longterm")
        figure("Steps", figures.count(session.timestep), key="steps")
        figure("Runs on", f"{names.get(network.node, network.node[:8])}", key="node", hint=network.device)
        figure("Answered", f"{figures.age(network.age_s)} ago", key="age")
    left, right = st.columns(2)
    with left:
        st.subheader("Engrams over time", anchor=False)
        found_points = poller.series(f"engrams/{network.name}/{session.session}/")
        # of a session whose name goes on after a slash there is more before the type
        points = [point for point in found_points if point[1] in charts.ENGRAM_COLOURS]
        if points:
            chart(charts.lines(points, y="engrams", colours=charts.ENGRAM_COLOURS))
    with right:
        st.subheader("Lifespans", anchor=False)
        if session.lifespans.total:
            chart(charts.bars(session.lifespans, x="steps left to live, from", y="engrams"))
        else:
            empty("No engram lives.")
    st.subheader("What fires together", anchor=False)
    if session.strongest:
        left, right = st.columns([3, 2])
        with left:
            chart(charts.links(session))
        with right:
            show_html(
                note(
                    "The strongest links between the engrams that were recalled most, in the first row of "
                    "the batch. Engrams lie in the order of their age; thicker lines fired more often."
                )
            )
            kinds = {index: charts.ENGRAM_TYPES.get(kind, "unknown") for index, kind in session.types}
            rows = [
                (
                    f"{link.source} ({kinds[link.source]})",
                    f"{link.target} ({kinds[link.target]})",
                    figures.count(link.count),
                )
                for link in session.strongest[:LISTED_LINKS]
            ]
            show_html(table(("engram", "engram", "fired together"), rows, key="links", right=(2,)))
    else:
        empty("No two engrams have been recalled together yet.")
