"""Tables, bars and pills as HTML: real text that wraps and scrolls on a phone, in the colours of the theme.

Everything that comes from outside (keys, names, errors) goes through `text`.
"""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence

TIER_COLOURS = {"hot": "#e5484d", "warm": "#f0883e", "cold": "#3b82f6", "glacier": "#14b8a6"}
LEVEL_COLOURS = {"ok": "#2e9e5b", "warning": "#d98a00", "error": "#e5484d", "old": "#8b8d98"}
_LINE = "border-bottom:1px solid rgba(128,128,128,.25);padding:.45rem 1.1rem .45rem 0;"
_TABLE = "width:100%;border-collapse:collapse;font-size:.9rem;border:0"
_LINE_OF_TWO = "display:flex;flex-wrap:wrap;justify-content:space-between;align-items:center;gap:.4rem 1rem"
_TRACK = "flex:1;height:.55rem;border-radius:.3rem;background:rgba(128,128,128,.22);overflow:hidden"
_SMALL = "font-size:.8rem;opacity:.72;"


class Markup(str):
    """HTML that is safe as it is."""

    __slots__ = ()


def text(value: object) -> Markup:
    """Escaped, unless it is markup already."""
    return value if isinstance(value, Markup) else Markup(html.escape(str(value)))


def table(
    columns: Sequence[str], rows: Iterable[Sequence[object]], *, key: str, right: Iterable[int] = ()
) -> Markup:
    """A table with a header; columns in `right` have numbers. Wider ones than the screen scroll sideways."""
    numbers = set(right)

    def align(place: int) -> str:
        return "text-align:right;white-space:nowrap;" if place in numbers else "text-align:left;"

    head = "".join(
        f'<th style="{_LINE}{_SMALL}{align(place)}font-weight:500;white-space:nowrap">{text(name)}</th>'
        for place, name in enumerate(columns)
    )
    body = "".join(
        "<tr>"
        + "".join(
            f'<td style="{_LINE}{align(place)}font-variant-numeric:tabular-nums">{text(cell)}</td>'
            for place, cell in enumerate(row)
        )
        + "</tr>"
        for row in rows
    )
    return Markup(
        f'<div style="overflow-x:auto" class="table-{text(key)}"><table style="{_TABLE}">'
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def bar(share: float, colour: str, label: str = "") -> Markup:
    """How full something is, between 0 and 1, with the figure beside it."""
    width = 100 * min(1.0, max(0.0, share))
    return Markup(
        '<div style="display:flex;align-items:center;gap:.6rem;min-width:9rem">'
        f'<div style="{_TRACK}"><div style="width:{width:.2f}%;height:100%;background:{colour}"></div></div>'
        f'<div style="min-width:3.2rem;text-align:right">{text(label)}</div></div>'
    )


def pill(level: str, words: str) -> Markup:
    """A state in a few words; `level` is ok, warning, error or old."""
    colour = LEVEL_COLOURS[level]
    return Markup(
        f'<span style="display:inline-block;padding:.1rem .6rem;border-radius:1rem;font-size:.82rem;'
        f'white-space:nowrap;color:{colour};border:1px solid {colour}">{text(words)}</span>'
    )


def tier_name(tier: str) -> Markup:
    """A tier with a dot in its colour."""
    colour = TIER_COLOURS.get(tier, LEVEL_COLOURS["old"])
    return Markup(
        f'<span style="white-space:nowrap"><span style="color:{colour}">&#9679;</span> {text(tier)}</span>'
    )


def code(value: str) -> Markup:
    """A key or an identifier: as it is, and breakable."""
    style = "display:inline-block;min-width:9rem;font-family:monospace;font-size:.85rem;word-break:break-all"
    return Markup(f'<span style="{style}">{text(value)}</span>')


def headline(left: Markup, right: Markup) -> Markup:
    """One line with something at both ends; two on a phone."""
    return Markup(f'<div style="{_LINE_OF_TWO}"><div>{left}</div><div>{right}</div></div>')


def note(words: str) -> Markup:
    """A remark in small type."""
    return Markup(f'<div style="{_SMALL}">{text(words)}</div>')
