"""Events: what has happened lately, the newest first."""

from __future__ import annotations

from collections import Counter

import streamlit as st

from .. import figures
from ..frame import empty, figure, show_html
from ..markup import Markup, code, pill, table
from ..poller import Poller, View

LEVELS = {"lost": "error", "left": "warning", "joined": "ok", "serving": "ok"}
MEANINGS = {
    "moved": "copied to another tier, and removed where it was",
    "repaired": "copied again, because a copy was missing",
    "lost": "every copy is gone",
    "joined": "a tier can be used",
    "left": "a tier is gone",
    "serving": "the coordinator knows all tiers and answers",
}


def draw(poller: Poller, view: View) -> None:
    snapshot = view.snapshot
    if view.local:
        empty("Events are those of a cluster; memories.connect() starts one.")
        return
    counts = Counter({what: number for what, number in snapshot.counts.items() if what in MEANINGS})
    if counts:
        with st.container(horizontal=True, key="figures"):
            for what, number in sorted(counts.items()):
                figure(what.capitalize(), figures.count(number), key=what, hint=MEANINGS[what])
    if not snapshot.events:
        empty("Nothing has happened since the coordinator started.")
        return
    names = {node.node: node.name for node in snapshot.nodes}
    homes = {tier.member: f"{names.get(tier.node, tier.node[:8])}/{tier.tier}" for tier in snapshot.tiers}
    rows = []
    for event in snapshot.events:
        shown = ", ".join(figures.key_name(key) for key in event.keys)
        more = (
            f" and {figures.count(event.count - len(event.keys))} more"
            if event.count > len(event.keys)
            else ""
        )
        rows.append(
            (
                figures.clock(event.at_s),
                pill(LEVELS.get(event.what, "old"), event.what),
                homes.get(event.member)
                or names.get(event.member)
                or figures.member_name(event.member, names)
                or figures.NOTHING,
                figures.count(event.count) if event.count else figures.NOTHING,
                Markup(code(shown) + more) if shown else figures.NOTHING,
            )
        )
    show_html(table(("time", "what", "where", "keys", "which"), rows, key="events", right=(3,)))
