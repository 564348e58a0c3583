"""Charts: labelled axes with units, the colours of the tiers, and sizes that fit a phone."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

import altair as alt
import pandas as pd

from ..actors.reports import Histogram, SessionReport
from ..actors.status import FlowStatus
from . import figures
from .markup import TIER_COLOURS

HEIGHT = 290
ROOM_ABOVE = 12
"""Pixels between a title and the highest label of its axis."""
COUNT = "datum.value == 0 ? '0' : format(datum.value, '~s')"
"""A label of a count: "0", "500", "1.5k"."""
PALETTE = ("#3b82f6", "#f0883e", "#14b8a6", "#a855f7", "#e5484d", "#84a30f", "#ec4899", "#8b8d98")
ENGRAM_COLOURS = {"working": "#e5484d", "short-term": "#f0883e", "long-term": "#3b82f6"}
ENGRAM_TYPES = {1: "working", 2: "short-term", 3: "long-term"}


def lines(
    points: Sequence[tuple[float, str, float]],
    *,
    y: str,
    colours: dict[str, str] | None = None,
    percent: bool = False,
) -> Any:
    """Series over time. `y` is the label of the axis, with its unit."""
    frame = pd.DataFrame(points, columns=["at_s", "name", "value"])
    frame["time"] = pd.to_datetime(frame["at_s"], unit="s", utc=True)
    names = sorted(frame["name"].unique(), key=_tier_first)
    known = colours or {}
    chosen = [known.get(name, PALETTE[place % len(PALETTE)]) for place, name in enumerate(names)]
    top = float(frame["value"].max())
    domain = [0, 100] if percent else [0, top * 1.08 if top > 0 else 1]
    axis = alt.Axis(labelExpr=COUNT, tickCount=5, titlePadding=8)
    return (
        alt.Chart(frame)
        .mark_line(strokeWidth=2, interpolate="monotone")
        .encode(
            x=alt.X(
                "time:T",
                title="time of day",
                axis=alt.Axis(format="%H:%M:%S", tickCount=5, labelOverlap=True, labelSeparation=12),
            ),
            y=alt.Y("value:Q", title=y, scale=alt.Scale(domain=domain), axis=axis),
            color=alt.Color(
                "name:N",
                title=None,
                sort=names,
                scale=alt.Scale(domain=names, range=chosen),
                legend=alt.Legend(orient="top", columns=3, labelLimit=220, offset=6),
            ),
            tooltip=[
                alt.Tooltip("time:T", title="time", format="%H:%M:%S"),
                alt.Tooltip("name:N", title="series"),
                alt.Tooltip("value:Q", title=y, format=",.4~g"),
            ],
        )
        .properties(height=HEIGHT)
    )


def bars(histogram: Histogram, *, x: str, y: str, colour: str = PALETTE[0], seconds: bool = False) -> Any:
    """A histogram over its edges, from the first bin with something in it to the last."""
    filled = [place for place, number in enumerate(histogram.counts) if number]
    first, last = (filled[0], filled[-1]) if filled else (0, len(histogram.counts) - 1)
    first, last = max(0, first - 1), min(len(histogram.counts) - 1, last + 1)
    write = figures.age if seconds else _number
    rows = [
        (place, f"{write(low)} to {write(high)}", write(low), histogram.counts[place])
        for place, (low, high) in enumerate(zip(histogram.edges, histogram.edges[1:], strict=False))
        if first <= place <= last
    ]
    frame = pd.DataFrame(rows, columns=["place", "range", "from", "count"])
    return (
        alt.Chart(frame)
        .mark_bar(color=colour, cornerRadiusEnd=2)
        .encode(
            x=alt.X(
                "from:N",
                title=x,
                sort=alt.SortField("place"),
                axis=alt.Axis(labelAngle=0, labelOverlap=True, labelFlush=False),
                scale=alt.Scale(paddingInner=0.08),
            ),
            y=alt.Y(
                "count:Q",
                title=y,
                axis=alt.Axis(labelExpr=COUNT, tickCount=5, titlePadding=8),
                scale=alt.Scale(domain=[0, 1.08 * max(1, *histogram.counts)]),
            ),
            tooltip=[alt.Tooltip("range:N", title=x), alt.Tooltip("count:Q", title=y, format=",")],
        )
        .properties(height=HEIGHT, padding={"top": ROOM_ABOVE, "left": 5, "right": 5, "bottom": 5})
    )


def links(session: SessionReport) -> Any:
    """The engrams that fire together most, on a circle in the order of their age; thicker: more often."""
    types = dict(session.types)
    angle = {
        index: 2 * math.pi * place / max(1, len(types)) - math.pi / 2
        for place, index in enumerate(sorted(types))
    }
    nodes = pd.DataFrame(
        [
            (index, math.cos(a), -math.sin(a), ENGRAM_TYPES.get(types[index], "unknown"))
            for index, a in angle.items()
        ],
        columns=["engram", "x", "y", "type"],
    )
    edges = pd.DataFrame(
        [
            (
                f"{link.source} to {link.target}",
                math.cos(angle[link.source]),
                -math.sin(angle[link.source]),
                math.cos(angle[link.target]),
                -math.sin(angle[link.target]),
                link.count,
            )
            for link in session.strongest
        ],
        columns=["engrams", "x", "y", "x2", "y2", "count"],
    )
    scale = alt.Scale(domain=[-1.15, 1.15])
    place: dict[str, Any] = {
        "x": alt.X("x:Q", axis=None, scale=scale),
        "y": alt.Y("y:Q", axis=None, scale=scale),
    }
    rules = (
        alt.Chart(edges)
        .mark_rule(color="#8b8d98", opacity=0.55)
        .encode(
            **place,
            x2="x2:Q",
            y2="y2:Q",
            strokeWidth=alt.StrokeWidth("count:Q", scale=alt.Scale(range=[0.6, 5]), legend=None),
            tooltip=["engrams:N", alt.Tooltip("count:Q", title="fired together")],
        )
    )
    dots = (
        alt.Chart(nodes)
        .mark_circle(size=170, opacity=1)
        .encode(
            **place,
            color=alt.Color(
                "type:N",
                title=None,
                scale=alt.Scale(domain=list(ENGRAM_COLOURS), range=list(ENGRAM_COLOURS.values())),
                legend=alt.Legend(orient="top"),
            ),
            tooltip=[alt.Tooltip("engram:Q", title="engram"), "type:N"],
        )
    )
    return (rules + dots).properties(height=420).configure_view(strokeWidth=0)


def flow_diagram(flows: Sequence[FlowStatus], tiers: Sequence[str], *, dark: bool) -> str:
    """The moves between tiers, in Graphviz' language: an arrow a route, with keys and bytes."""
    ink, paper = ("#fafafa", "#0e1117") if dark else ("#31333f", "#ffffff")
    most = max([1, *(flow.keys for flow in flows)])
    out = [
        "digraph flows {",
        'rankdir=TB; bgcolor="transparent"; nodesep=0.9; ranksep=0.75; pad=0.2;',
        f'node [shape=box, style="rounded,filled", fontname="sans-serif", fontsize=14, fontcolor="{paper}", '
        'penwidth=0, margin="0.25,0.12"];',
        f'edge [fontname="sans-serif", fontsize=11, fontcolor="{ink}", color="{ink}"];',
    ]
    out += [
        f'"{tier}" [fillcolor="{TIER_COLOURS.get(tier, "#8b8d98")}", fontcolor="#ffffff"];' for tier in tiers
    ]
    out += [f'"{a}" -> "{b}" [style=invis];' for a, b in itertools.pairwise(tiers)]
    for flow in flows:
        width = 1 + 3 * flow.keys / most
        noun = "key" if flow.keys == 1 else "keys"
        label = f"{flow.what} {figures.count(flow.keys)} {noun}\\n{figures.size(flow.nbytes)}"
        style = "dashed" if flow.what != "moved" else "solid"
        out.append(
            f'"{flow.source}" -> "{flow.target}" '
            f'[label="{label}", penwidth={width:.1f}, style={style}, constraint=false];'
        )
    return "\n".join([*out, "}"])


def _number(value: float) -> str:
    if value >= 999.5:
        return figures.count(value)
    return f"{value:.2g}" if value < 1 else f"{value:.3g}"


def _tier_first(name: str) -> tuple[int, str]:
    tiers = list(TIER_COLOURS)
    return (tiers.index(name) if name in tiers else len(tiers), name)
