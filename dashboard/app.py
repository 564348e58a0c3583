"""`draw`: the app. Streamlit runs it for each tab; one poller serves them all."""

from __future__ import annotations

import os
from dataclasses import dataclass

import streamlit as st

from ..actors.names import NAMESPACE
from .cluster_source import ClusterSource
from .frame import page
from .markup import PHONE_STYLE
from .pages import events, memoria, nodes, overview, replay, tiers
from .poller import Poller

ICON = """<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32">
<rect x="2" y="3" width="28" height="7" rx="3" fill="#e5484d"/>
<rect x="2" y="12.5" width="28" height="7" rx="3" fill="#f0883e"/>
<rect x="2" y="22" width="28" height="7" rx="3" fill="#3b82f6"/></svg>"""
"""Part of the page: Streamlit would load a named icon from the internet."""

PAGE_STYLE = """
[data-testid="stMetric"] {padding: .15rem 0}
[data-testid="stMetricValue"] {font-size: 1.45rem}
[data-testid="stMetricLabel"] {opacity: .78}
.st-key-figures > div {min-width: 8.2rem}
.block-container, [data-testid="stMainBlockContainer"] {padding-top: 4.2rem; padding-bottom: 2rem}
[data-testid="stHeading"] h3 {font-size: 1.12rem; padding: .4rem 0 .1rem}
[data-stale="true"] {opacity: 1 !important; transition: none !important}
[data-testid="stAppDeployButton"], footer {display: none}
@media (max-width: 640px) {
  [data-testid="stMetricValue"] {font-size: 1.15rem}
  [data-testid="stMainBlockContainer"] {padding-left: 1rem; padding-right: 1rem}
"""
STYLE = f"<style>{PAGE_STYLE}{PHONE_STYLE}}}</style>"


@dataclass(frozen=True, slots=True)
class Looked:
    """What is looked at: a cluster by its address and name, or (None) this process alone."""

    address: str | None = None
    cluster: str = "default"
    namespace: str = NAMESPACE
    local: bool = False


@st.cache_resource(show_spinner=False)
def poller_of(looked: Looked) -> Poller:
    """The one poller of this server."""
    return Poller(None if looked.local else ClusterSource(looked.address, looked.cluster, looked.namespace))


def draw(looked: Looked) -> None:
    """Draw the page that is chosen."""
    st.set_page_config(page_title="Memories", page_icon=ICON, layout="wide")
    st.html(STYLE)
    poller = poller_of(looked)

    def tiers_page() -> None:
        page("Tiers", tiers.draw, poller)()
        tiers.browse(poller)

    pages = [
        st.Page(page("Overview", overview.draw, poller), title="Overview", url_path="overview", default=True),
        st.Page(tiers_page, title="Tiers", url_path="tiers"),
        st.Page(page("Replay", replay.draw, poller), title="Replay", url_path="replay"),
        st.Page(page("Memoria", memoria.draw, poller), title="Memoria", url_path="memoria"),
        st.Page(page("Nodes", nodes.draw, poller), title="Nodes", url_path="nodes"),
        st.Page(page("Events", events.draw, poller), title="Events", url_path="events"),
    ]
    st.navigation(pages, position="top").run()


def looked_at_from_environment() -> Looked:
    """What `launch` has written down for the server's scripts."""
    env = os.environ
    return Looked(
        env.get("MEMORIES_DASHBOARD_ADDRESS") or None,
        env.get("MEMORIES_DASHBOARD_CLUSTER") or "default",
        env.get("MEMORIES_DASHBOARD_NAMESPACE") or NAMESPACE,
    )
