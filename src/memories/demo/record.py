"""`Record`: what one run of the demo did, as plain data. The table, the report and `--json` all show it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Fact:
    """One line of the table: what was done, and a sentence whose `{names}` are figures of the record."""

    what: str
    outcome: str
    figures: Mapping[str, float | int | str] = field(default_factory=dict)

    def sentence(self) -> str:
        """The outcome with its figures."""
        return self.outcome.format_map({name: shown(value) for name, value in self.figures.items()})


@dataclass(frozen=True, slots=True)
class Series:
    """One line of a plot: `x` and `y` have the same length."""

    name: str
    x: tuple[float, ...]
    y: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Mark:
    """Something that happened at one place of the x axis."""

    x: float
    what: str


@dataclass(frozen=True, slots=True)
class Plot:
    """One plot of the report. With `stacked`, the lines are areas on top of each other."""

    title: str
    x_label: str
    y_label: str
    series: tuple[Series, ...]
    marks: tuple[Mark, ...] = ()
    stacked: bool = False


@dataclass(slots=True)
class Section:
    """One act of the demo: what it shows, in a sentence, its facts and its plots."""

    title: str
    text: str
    facts: list[Fact] = field(default_factory=list)
    plots: list[Plot] = field(default_factory=list)

    def add(self, what: str, outcome: str, **figures: float | int | str) -> None:
        self.facts.append(Fact(what, outcome, figures))


@dataclass(slots=True)
class Record:
    """The whole run."""

    seed: int
    version: str
    sections: list[Section] = field(default_factory=list)
    took_s: float = 0.0

    def section(self, title: str, text: str) -> Section:
        """Begin an act."""
        section = Section(title, text)
        self.sections.append(section)
        return section

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    def as_json(self) -> str:
        return json.dumps(self.as_dict())


def shown(value: float | int | str) -> str:
    """A figure as people read it."""
    if isinstance(value, str):
        return value
    if isinstance(value, int) or float(value).is_integer():
        return f"{int(value):,}"
    return f"{value:,.2f}" if abs(value) < 10 else f"{value:,.1f}"
