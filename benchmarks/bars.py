"""What a benchmark found, in the one shape that all of them print and write.

A benchmark makes one `Report`, tells it each figure as it is measured, and returns `report.finish(...)`:

    report = Report("tiers_cluster", judged=not options.quick)
    report.at_least("read of 64 MB beside Redis", 1.5, pairs.times_faster, "x", pairs.spread, "3 ms, 5 ms")
    report.figure("one raw Ray ping", 0.66, "ms")                      # a floor, a peer: nothing is asked
    report.draw(Curve("Memory", "keys", "GB", {"ours": [(1e5, 0.1), (1e6, 1.0)]}))
    return report.finish(options.json)                                 # 0, or 1 where a bar is not met

`python -m benchmarks` runs them all and makes docs/benchmarks.md of what they wrote.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import textwrap
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import psutil

Spread = tuple[float, float]


@dataclass(frozen=True)
class Bar:
    """One row: what was asked, what was measured.

    `bar` is the demand in words (">= 15", "<= 1.15 (goal 1)"), empty where nothing is asked. `met` is None
    where nothing is asked, or where the sizes are not those that the bar is about. `spread` is the lowest
    and the highest single measurement behind `measured`, in the same unit.
    """

    name: str
    bar: str
    measured: float
    unit: str
    met: bool | None
    spread: Spread | None = None
    detail: str = ""

    @property
    def verdict(self) -> str:
        """The last word of the row."""
        return {True: "met", False: "NOT MET", None: "not judged" if self.bar else ""}[self.met]

    def __str__(self) -> str:
        spread = "" if self.spread is None else " to ".join(map(in_digits, self.spread))
        return (
            f"{self.name:<70} {in_digits(self.measured):>10} {self.unit:<4} {self.bar:<16} "
            f"{self.verdict:<10} {spread:<17} {self.detail}"
        ).rstrip()


def in_digits(measured: float) -> str:
    """Four digits, and all of them before the point."""
    return f"{measured:,.0f}" if abs(measured) >= 1000 else f"{measured:.4g}"


@dataclass(frozen=True)
class Curve:
    """A plot: for each line its points (x, y)."""

    title: str
    x_label: str
    y_label: str
    lines: dict[str, list[tuple[float, float]]]
    log_x: bool = False
    log_y: bool = False


@dataclass
class Report:
    """Collects the rows of one benchmark, prints each as it comes, writes them all at the end.

    With `judged=False` (small sizes, say) bars are shown and none is called met or not met. `failures` are
    wrong answers of either side: one is enough for the exit code.
    """

    benchmark: str
    judged: bool = True
    bars: list[Bar] = field(default_factory=list)
    curves: list[Curve] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    def at_least(
        self,
        name: str,
        least: float,
        measured: float,
        unit: str = "x",
        spread: Spread | None = None,
        detail: str = "",
        *,
        goal: float | None = None,
    ) -> Bar:
        """A row that is met where `measured` reaches `least`."""
        return self._judge(name, ">=", least, goal, measured >= least, measured, unit, spread, detail)

    def at_most(
        self,
        name: str,
        most: float,
        measured: float,
        unit: str = "x",
        spread: Spread | None = None,
        detail: str = "",
        *,
        goal: float | None = None,
    ) -> Bar:
        """A row that is met where `measured` does not exceed `most`."""
        return self._judge(name, "<=", most, goal, measured <= most, measured, unit, spread, detail)

    def figure(
        self, name: str, measured: float, unit: str = "x", spread: Spread | None = None, detail: str = ""
    ) -> Bar:
        """A row of which nothing is asked: a floor, a peer, a size."""
        return self._append(Bar(name, "", measured, unit, None, spread, detail))

    def draw(self, curve: Curve) -> None:
        """A plot for the page."""
        self.curves.append(curve)

    def fail(self, what: str) -> None:
        """A wrong answer, of ours or of a peer."""
        self.failures.append(what)
        print(f"WRONG: {what}", flush=True)

    def finish(self, json_path: Path | None) -> int:
        """Write everything where a path was given; the exit code: 1 where a bar or an answer is missed."""
        if json_path is not None:
            json_path.write_text(json.dumps({**asdict(self), "machine": machine()}, indent=1) + "\n")
        missed = sum(bar.met is False for bar in self.bars)
        asked = sum(bar.met is not None for bar in self.bars)
        print(f"{asked - missed} of {asked} bars met" if asked else "no bar judged", flush=True)
        return 1 if missed or self.failures else 0

    def _judge(
        self,
        name: str,
        relation: str,
        limit: float,
        goal: float | None,
        holds: bool,
        measured: float,
        unit: str,
        spread: Spread | None,
        detail: str,
    ) -> Bar:
        asked = f"{relation} {limit:g}" + ("" if goal is None else f" (goal {goal:g})")
        return self._append(Bar(name, asked, measured, unit, holds if self.judged else None, spread, detail))

    def _append(self, bar: Bar) -> Bar:
        self.bars.append(bar)
        print(bar, flush=True)
        return bar


def read_report(path: Path) -> Report:
    """What `Report.finish` wrote."""
    found: dict[str, Any] = json.loads(path.read_text())
    return Report(
        found["benchmark"],
        found["judged"],
        [Bar(**{**row, "spread": row["spread"] and tuple(row["spread"])}) for row in found["bars"]],
        [
            Curve(
                **{**row, "lines": {name: [(x, y) for x, y in line] for name, line in row["lines"].items()}}
            )
            for row in found["curves"]
        ],
        found["failures"],
    )


def options_of(doc: str | None, quick: str = "smaller sizes, for a first look") -> argparse.ArgumentParser:
    """The arguments that every benchmark takes: --quick and --json; add your own to it."""
    parser = argparse.ArgumentParser(
        description=textwrap.dedent(doc or ""), formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help=quick)
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write what was found to this file")
    return parser


def machine() -> str:
    """What the figures were measured on."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    model = next((line.split(":")[1].strip() for line in lines if "model name" in line), platform.processor())
    memory = psutil.virtual_memory().total / 2**30
    kernel = ".".join(platform.release().split(".")[:2])
    return (
        f"{os.cpu_count()} cores ({model}), {memory:.0f} GiB, Linux {kernel}, "
        f"Python {platform.python_version()}"
    )
