"""The report of a demo run: one HTML file that needs nothing else, with every figure of the record."""

from __future__ import annotations

import errno
import os
import tempfile
from html import escape
from pathlib import Path

from ..durable import replacing
from ..errors import InvalidValue
from .plot_svg import draw
from .record import Fact, Record, shown

STYLE = """
:root { color-scheme: light dark; --ink: #1b1f27; --paper: #fff; --soft: #667; --line: #dde; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6e8ee; --paper: #14171d; --soft: #9aa3b5; --line: #2c3240; }
}
body { font: 16px/1.5 system-ui, "DejaVu Sans", sans-serif; color: var(--ink); background: var(--paper);
  max-width: 800px; margin: 2rem auto; padding: 0 1rem; }
h1, h2 { line-height: 1.2; } h2 { margin-top: 2.5rem; }
p.soft, figcaption, footer { color: var(--soft); }
table { border-collapse: collapse; width: 100%; }
td { text-align: left; vertical-align: top; padding: .4rem .8rem .4rem 0; }
tr { border-bottom: 1px solid var(--line); }
td:first-child { width: 38%; }
b[data-figure] { font-weight: 600; font-variant-numeric: tabular-nums; }
figure { margin: 1.5rem 0; overflow-x: auto; } figcaption { margin-bottom: .3rem; }
svg { width: 100%; min-width: 520px; height: auto; }
svg text { font: 12px system-ui, "DejaVu Sans", sans-serif; fill: var(--ink); }
svg .grid { stroke: var(--line); } svg .mark { stroke: var(--soft); stroke-dasharray: 4 3; }
svg .note { fill: var(--soft); }
"""


def check_place(path: Path) -> None:
    """Make the folder that a report will be written into. `InvalidValue` where none can be written there."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        if not _is_device(path):
            tempfile.TemporaryFile(dir=path.resolve().parent).close()
    except OSError as error:
        raise InvalidValue(
            f"the report cannot be written to {path}: {error.strerror or error}; name another file"
        ) from error


def write_report(record: Record, path: Path) -> Path:
    """Write the page, whole or not at all; returns its absolute path. The record itself is in it, as JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    page = _page(record).encode()
    if _is_device(path):
        path.write_bytes(page)
    else:
        with replacing(path.resolve()) as file:
            file.write(page)
    return path.resolve()


def _is_device(path: Path) -> bool:
    """Whether it is there, and not to be replaced: a pipe, a terminal, /dev/null."""
    return path.exists() and not path.is_file()


def _page(record: Record) -> str:
    body = [
        "<h1>Memories at work</h1>",
        f'<p class="soft">One run of <code>memories demo --seed {record.seed}</code>, version '
        f'{escape(record.version)}, in <b data-figure="took_s">{shown(record.took_s)}</b> seconds. '
        "Everything below was measured in that run.</p>",
    ]
    for number, section in enumerate(record.sections):
        body.append(f"<h2>{escape(section.title)}</h2><p>{escape(section.text)}</p>")
        body.append(
            "<table><tbody>" + "".join(_row(number, fact) for fact in section.facts) + "</tbody></table>"
        )
        for plot in section.plots:
            body.append(f"<figure><figcaption>{escape(plot.title)}</figcaption>{draw(plot)}</figure>")
    data = record.as_json().replace("<", "\\u003c")
    return (
        "<!doctype html><html lang='en'><head><meta charset='utf-8'>"
        "<meta name='viewport' content='width=device-width, initial-scale=1'>"
        f"<title>Memories at work</title><style>{STYLE}</style></head><body>{''.join(body)}"
        f"<script type='application/json' id='record'>{data}</script></body></html>\n"
    )


def _row(section: int, fact: Fact) -> str:
    figures = {
        name: f'<b data-figure="{section}/{escape(name)}">{escape(shown(value))}</b>'
        for name, value in fact.figures.items()
    }
    pattern = escape(fact.outcome, quote=False)
    return f"<tr><td>{escape(fact.what)}</td><td>{pattern.format_map(figures)}</td></tr>"
