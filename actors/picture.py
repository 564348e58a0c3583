"""Draws a cluster: how full each tier of each node is, and what has gone from where to where."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..errors import Unavailable
from .core.model import TIER_ORDER
from .status import FlowStatus, Snapshot

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = {"hot": "#d1495b", "warm": "#edae49", "cold": "#00798c", "glacier": "#30638e"}
KINDS = {"moved": "-", "repaired": ":"}
UNITS = ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB"))


def draw(snapshot: Snapshot) -> Figure:
    """A figure of usage (left) and data flow (right). It is not registered with pyplot: save it, or show it
    in a notebook. Raises `Unavailable` where matplotlib is not installed."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise Unavailable("visualize() needs matplotlib: pip install 'memories[plot]'") from error
    tiers = sorted(snapshot.tiers, key=lambda t: (t.node, TIER_ORDER.index(t.tier), t.member), reverse=True)
    figure = Figure(figsize=(13, max(4.0, 1.8 + 0.42 * len(tiers))), layout="constrained")
    usage, flow = figure.subplots(1, 2, width_ratios=(1.15, 1))
    _draw_usage(usage, snapshot, tiers)
    _draw_flow(flow, snapshot)
    figure.suptitle(f"Memories cluster {snapshot.cluster!r}: {snapshot.keys:,} keys")
    return figure


def _draw_usage(axes: Axes, snapshot: Snapshot, tiers: list[Any]) -> None:
    names = {node.node: node.name or node.node[:8] for node in snapshot.nodes}
    labels = []
    for row, tier in enumerate(tiers):
        percent = min(100.0, tier.usage_percent)
        axes.barh(row, 100, color="#eeeeee", height=0.72)
        axes.barh(row, percent, color=COLOURS[tier.tier], height=0.72)
        unlimited = tier.capacity_bytes > 1 << 60
        size = in_words(tier.used_bytes) + ("" if unlimited else f" of {in_words(tier.capacity_bytes)}")
        axes.text(99, row, f"{size}, {tier.keys:,} keys", va="center", ha="right", fontsize=9)
        labels.append(f"{names.get(tier.node, tier.node[:8])}  {tier.member.rpartition('/')[2]}")
    axes.set_yticks(range(len(tiers)), labels)
    axes.set_xlim(0, 100)
    axes.set_xlabel("percent of the budget in use")
    axes.set_title("Usage")
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.tick_params(axis="y", length=0)


def _draw_flow(axes: Axes, snapshot: Snapshot) -> None:
    carried = [tier for tier in TIER_ORDER if tier in {status.tier for status in snapshot.tiers}]
    height = {tier: float(len(carried) - row) for row, tier in enumerate(carried)}
    totals = snapshot.tier_totals()
    for tier, y in height.items():
        axes.text(
            0,
            y,
            f"{tier}\n{in_words(totals[tier][0])}",
            ha="center",
            va="center",
            fontsize=11,
            color="white",
            bbox={"boxstyle": "round,pad=0.6", "facecolor": COLOURS[tier], "edgecolor": "none"},
        )
    flows = [f for f in snapshot.flows if f.source in height and f.target in height and f.nbytes]
    most = max((flow.nbytes for flow in flows), default=1)
    sides: dict[int, int] = {}
    for flow in sorted(flows, key=lambda f: (abs(height[f.source] - height[f.target]), f.source)):
        _draw_arrow(axes, flow, height, most, sides)
    if not flows:
        axes.text(0, 0.35, "nothing has moved yet", ha="center", color="#777777")
    reads = ", ".join(f"{tier} {n:,}" for tier, n in sorted(snapshot.reads.found.items()))
    axes.set_title("Data flow since the coordinator started" + (f"\nreads: {reads}" if reads else ""))
    axes.set_xlim(-2.4, 2.4)
    axes.set_ylim(0.2, len(carried) + 0.7)
    axes.axis("off")


def _draw_arrow(
    axes: Axes, flow: FlowStatus, height: dict[str, float], most: int, sides: dict[int, int]
) -> None:
    """What sinks on the right, what rises on the left; thicker the more bytes; each with its label."""
    start, end = height[flow.source], height[flow.target]
    side = 1 if end <= start else -1
    lane = sides[side] = sides.get(side, 0) + 1
    x = side * (0.55 + 0.02 * lane)
    bend = side * (-0.25 - 0.18 * lane) * (1 if end <= start else -1)
    width = 1.0 + 5.0 * flow.nbytes / most
    if start == end:
        end = start - 0.25
        start += 0.25
    axes.annotate(
        "",
        xy=(x, end),
        xytext=(x, start),
        arrowprops={
            "arrowstyle": "-|>",
            "color": COLOURS[flow.source],
            "linewidth": width,
            "linestyle": KINDS.get(flow.what, "-"),
            "connectionstyle": f"arc3,rad={bend:.2f}",
        },
    )
    axes.text(
        x + side * (0.35 + 0.22 * lane),
        (start + end) / 2,
        f"{flow.what} {in_words(flow.nbytes)}\n{flow.source} → {flow.target}",
        ha="left" if side > 0 else "right",
        va="center",
        fontsize=8,
    )


def in_words(nbytes: int) -> str:
    """A number of bytes with a unit, in powers of ten."""
    for scale, unit in UNITS:
        if nbytes >= scale:
            return f"{nbytes / scale:.3g} {unit}"
    return f"{nbytes} B"
