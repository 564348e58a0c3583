"""Tables, bars and pills as HTML: real text that wraps and scrolls on a phone, in the colours of the theme.

Everything that comes from outside (keys, names, errors) goes through `text`.
"""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence

from .figures import NOTHING

TIER_COLOURS = {"hot": "#e5484d", "warm": "#f0883e", "cold": "#3b82f6", "glacier": "#14b8a6"}
LEVEL_COLOURS = {"ok": "#2e9e5b", "warning": "#d98a00", "error": "#e5484d", "old": "#8b8d98"}
PHONE_COLUMNS = 4
PHONE_STYLE = """
table.fits td, table.fits th {padding-right: .5rem !important}
table.stacks thead {display: none}
table.stacks tr {display: grid; grid-template-columns: repeat(2, minmax(0, 1fr)); gap: .15rem 1rem;
  padding: .5rem 0; border-bottom: 1px solid rgba(128,128,128,.25)}
table.stacks td {border: 0 !important; padding: 0 !important; text-align: left !important;
  white-space: normal !important; overflow-wrap: anywhere; min-width: 0}
table.stacks td.nothing {display: none}
table.stacks td > * {min-width: 0 !important}
table.stacks td:first-child {grid-column: 1 / -1; font-weight: 600}
table.stacks td:not(:first-child)::before {content: attr(data-name); display: block; font-size: .75rem;
  opacity: .72}
"""
"""Rules for narrow screens; see `table`."""
_LINE = "border-bottom:1px solid rgba(128,128,128,.25);padding:.45rem 1.1rem .45rem 0;"
_TABLE = "width:100%;border-collapse:collapse;font-size:.9rem;border:0"
_LINE_OF_TWO = "display:flex;flex-wrap:wrap;justify-content:space-between;align-items:center;gap:.4rem 1rem"
_TRACK = "flex:1;height:.55rem;border-radius:.3rem;background:rgba(128,128,128,.22);overflow:hidden"
_SMALL = "font-size:.8rem;opacity:.72;"


class Markup(str):
    """HTML that is safe as it is."""

    __slots__ = ()


def text(value: object) -> Markup:
    """Escaped, unless it is markup already; what no page can hold (half a surrogate pair) as "\\ud800"."""
    if isinstance(value, Markup):
        return value
    return Markup(html.escape(str(value).encode("utf-8", "backslashreplace").decode()))


def table(
    columns: Sequence[str], rows: Iterable[Sequence[object]], *, key: str, right: Iterable[int] = ()
) -> Markup:
    """A table with a header; columns in `right` have numbers. On a phone, one of more than `PHONE_COLUMNS`
    columns shows each row as a card: its first cell as the title, the others with their names."""
    numbers = set(right)
    shape = "stacks" if len(columns) > PHONE_COLUMNS else "fits"

    def align(place: int) -> str:
        return "text-align:right;white-space:nowrap;" if place in numbers else "text-align:left;"

    head = "".join(
        f'<th style="{_LINE}{_SMALL}{align(place)}font-weight:500;white-space:nowrap">{text(name)}</th>'
        for place, name in enumerate(columns)
    )
    body = "".join(
        "<tr>"
        + "".join(
            f'<td data-name="{text(name)}" class="{"nothing" if cell == NOTHING else "said"}" '
            f'style="{_LINE}{align(place)}font-variant-numeric:tabular-nums">{text(cell)}</td>'
            for place, (name, cell) in enumerate(zip(columns, row, strict=True))
        )
        + "</tr>"
        for row in rows
    )
    return Markup(
        f'<div style="overflow-x:auto" class="table-{text(key)}"><table class="{shape}" style="{_TABLE}">'
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


def fields(pairs: Sequence[tuple[str, str]], more: int = 0) -> Markup:
    """Names with their values, each pair kept together; `more` is how many are not shown."""
    shown = "".join(
        '<span style="display:inline-block;margin-right:.9rem;word-break:break-word">'
        f'<span style="opacity:.72">{text(name)}</span> {text(value)}</span>'
        for name, value in pairs
    )
    rest = f'<span style="{_SMALL}">and {more} more</span>' if more else ""
    return Markup(f'<div style="min-width:11rem">{shown}{rest}</div>' if shown else NOTHING)


def headline(left: Markup, right: Markup) -> Markup:
    """One line with something at both ends; two on a phone."""
    return Markup(f'<div style="{_LINE_OF_TWO}"><div>{left}</div><div>{right}</div></div>')


def note(words: str) -> Markup:
    """A remark in small type."""
    return Markup(f'<div style="{_SMALL}">{text(words)}</div>')
