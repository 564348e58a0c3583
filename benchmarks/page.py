"""docs/benchmarks.md: every bar as a row, a picture of their distances, then each benchmark by itself."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.bars import Bar, Curve, Report, in_digits, machine

_LIMIT = re.compile(r"(>=|<=) ([-+.\de]+)")


@dataclass(frozen=True)
class Run:
    """One benchmark: what it found, or why it found nothing."""

    name: str
    title: str
    report: Report | None
    took_s: float
    problem: str = ""

    @property
    def passed(self) -> bool:
        """Whether it ran, every answer was right and every bar that was judged is met."""
        if self.report is None or self.problem:
            return False
        return not self.report.failures and all(bar.met is not False for bar in self.report.bars)

    @property
    def summary(self) -> str:
        """In one line."""
        if self.report is None:
            return "NO RESULT: " + self.problem.splitlines()[-1]
        asked = [bar for bar in self.report.bars if bar.met is not None]
        met = sum(bool(bar.met) for bar in asked)
        wrong = f", {len(self.report.failures)} WRONG ANSWERS" if self.report.failures else ""
        return f"{met} of {len(asked)} bars met{wrong}{', ' + self.problem if self.problem else ''}"


def write_page(path: Path, runs: Sequence[Run], *, quick: bool) -> None:
    """Write the page and, beside it in a folder of its name, the pictures."""
    pictures = path.with_suffix("")
    pictures.mkdir(parents=True, exist_ok=True)
    parts = [
        "# Benchmarks\n",
        "Written by `make bench`. Peers run in environments of their own and do the same work; ratios are "
        "medians of paired runs on one machine, with the lowest and the highest single pair beside them. "
        "Only ratios within one run mean anything. A wrong answer from either side fails a benchmark.\n",
        f"Machine: {machine()}. {'**Quick sizes: no proof of anything.**' if quick else 'Full sizes.'} "
        f"All together took {sum(run.took_s for run in runs) / 60:.0f} minutes.\n",
        "## Every bar\n",
        _table(runs),
    ]
    if _draw_overview(runs, pictures / "overview.svg"):
        parts.append(f"![Each bar's distance from its limit]({pictures.name}/overview.svg)\n")
    for run in runs:
        parts += _section(run, pictures)
    path.write_text("\n".join(parts), encoding="utf-8")


def _table(runs: Sequence[Run]) -> str:
    lines = ["| benchmark | bar | asked | measured | lowest to highest | |", "|---|---|---|---:|---|---|"]
    for run in runs:
        if run.report is None:
            lines.append(f"| [{run.name}](#{run.name}) | no result | | | | **not run** |")
            continue
        for bar in run.report.bars:
            if bar.bar:
                verdict = "met" if bar.met else f"**{bar.verdict.lower()}**"
                lines.append(f"| [{run.name}](#{run.name}) | {_cells(bar)} | {verdict} |")
    return "\n".join(lines) + "\n"


def _cells(bar: Bar) -> str:
    spread = "" if bar.spread is None else " to ".join(map(in_digits, bar.spread))
    return f"{_plain(bar.name)} | {_asked(bar)} | {in_digits(bar.measured)} {bar.unit} | {spread}"


def _asked(bar: Bar) -> str:
    """The limit in words, with its unit."""

    def in_words(found: re.Match[str]) -> str:
        word = "at least" if found[1] == ">=" else "at most"
        return f"{word} {in_digits(float(found[2]))} {bar.unit}".rstrip()

    return _LIMIT.sub(in_words, bar.bar)


def _plain(text: str) -> str:
    return text.replace("|", "\\|")


def _section(run: Run, pictures: Path) -> list[str]:
    parts = [
        f'<a id="{run.name}"></a>\n\n## {run.title}\n',
        f"`python -m benchmarks.{run.name}`, {run.took_s:.0f} s\n",
    ]
    if run.report is None:
        parts.append(f"No result:\n\n```text\n{run.problem}\n```\n")
        return parts
    parts += [f"**Wrong answer**: {what}\n" for what in run.report.failures]
    lines = ["| what | asked | measured | lowest to highest | detail |", "|---|---|---:|---|---|"]
    lines += [f"| {_cells(bar)} | {_plain(bar.detail)} |" for bar in run.report.bars]
    parts.append("\n".join(lines) + "\n")
    for number, curve in enumerate(run.report.curves):
        picture = pictures / f"{run.name}-{number}.svg"
        draw_curve(curve, picture)
        parts.append(f"![{curve.title}]({pictures.name}/{picture.name})\n")
    return parts


def _figure(width: float, height: float) -> tuple[Any, Any]:
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "memories"  # equal figures give equal files
    from matplotlib import pyplot

    return pyplot.subplots(figsize=(width, height), layout="constrained")


def _save(figure: Any, path: Path) -> None:
    from matplotlib import pyplot

    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)


def draw_curve(curve: Curve, path: Path) -> None:
    """One plot, a line with points for each of its lines."""
    figure, axes = _figure(7, 4)
    for label, points in curve.lines.items():
        xs, ys = zip(*points, strict=True) if points else ((), ())
        axes.plot(xs, ys, marker="o", markersize=4, label=label)
    axes.set(title=curve.title, xlabel=curve.x_label, ylabel=curve.y_label)
    axes.set_xscale("log" if curve.log_x else "linear")
    axes.set_yscale("log" if curve.log_y else "linear")
    if not curve.log_y:
        axes.set_ylim(bottom=0)
    axes.grid(alpha=0.3)
    axes.legend()
    _save(figure, path)


def distance(bar: Bar) -> float | None:
    """How many times better than its limit; None where that cannot be said."""
    found = _LIMIT.match(bar.bar)
    if found is None or bar.measured <= 0 or float(found[2]) <= 0:
        return None
    limit = float(found[2])
    return bar.measured / limit if found[1] == ">=" else limit / bar.measured


def _draw_overview(runs: Sequence[Run], path: Path) -> bool:
    rows = [
        (f"{run.name}: {bar.name}", far, bar.met)
        for run in runs
        if run.report is not None
        for bar in run.report.bars
        if (far := distance(bar)) is not None
    ]
    if not rows:
        return False
    figure, axes = _figure(11, 1.2 + 0.22 * len(rows))
    colours = {True: "#2a7", False: "#c33", None: "#999"}
    for place, (_, far, met) in enumerate(rows):
        axes.plot([1, far], [place, place], color=colours[met], linewidth=3, solid_capstyle="butt")
        axes.plot([far], [place], marker="o", markersize=5, color=colours[met])
    axes.set_yticks(range(len(rows)), [name if len(name) < 90 else name[:87] + "..." for name, _, _ in rows])
    axes.tick_params(axis="y", labelsize=7)
    axes.invert_yaxis()
    axes.set_xscale("log")
    axes.axvline(1, color="black", linewidth=1)
    axes.set_xlabel("times better than the bar asks (left of the line: not met)")
    axes.grid(axis="x", alpha=0.3)
    _save(figure, path)
    return True
