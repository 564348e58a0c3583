"""What a Memoria network remembers: primacy, recency, temporal contiguity, and the engram graph.

    python examples/memoria_engrams.py [--quick] [--output FOLDER]

Many independent networks (rows of one batch) each read a list of random vectors, some a step: nothing in
the data says what came early, late or side by side, so every order in what is recalled comes from the
network. A reminded engram gains lifespan by how well it matches what is being read. Two curves, as in
experiments on human recall:

- serial position: of the engrams made at a step, the share brought back over the last steps. Early ones
  (primacy) had little competition when their links were made; late ones (recency) are short-term memory.
- contiguity: of two long-term engrams that come back together, how many steps apart were they made,
  against pairs drawn from all long-term engrams that were there. Above 1: more often than by chance. The
  earliest engrams are left out, since they come back together for being early.

The third picture is the graph of one row: engrams by when they were made, linked where they fired together.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from rich.console import Console
from rich.progress import track
from rich.table import Table

from memoria import EngramType, Memoria


@dataclass(frozen=True)
class Study:
    rows: int = 64
    steps: int = 60
    recall_steps: int = 5
    """Steps at the end over which recall is counted."""
    primacy_steps: int = 5
    """Left out of contiguity: the earliest engrams come back together because they are early."""
    a_step: int = 4
    """Engrams made in one step."""
    hidden: int = 16
    furthest_lag: int = 10


QUICK = Study(rows=8, steps=25, recall_steps=3, furthest_lag=6)


@dataclass(frozen=True)
class Findings:
    recalled: npt.NDArray[np.float64]
    """By the step in which engrams were made: the share of them that was brought back at the end."""
    alive: npt.NDArray[np.float64]
    """The same, for those that were still alive at the end."""
    contiguity: npt.NDArray[np.float64]
    """By lag from 0: how often pairs come back together, relative to chance."""
    network: Memoria


def pairs_by_lag(steps: npt.NDArray[np.int64], furthest: int) -> npt.NDArray[np.float64]:
    """How many pairs of engrams were made 0, 1, ... steps apart, given the step of each."""
    lags = np.abs(steps[:, None] - steps)[np.triu_indices(len(steps), k=1)]
    return np.bincount(lags[lags <= furthest], minlength=furthest + 1).astype(np.float64)


def conduct(study: Study) -> Findings:
    torch.manual_seed(0)
    network = Memoria(
        num_reminded_stm=4,
        stm_capacity=16,
        ltm_search_depth=4,
        initial_lifespan=12,
        num_final_ltms=8,
        track_id=True,
        mode="paper",
        generator=torch.Generator().manual_seed(0),
    )
    recalled = np.zeros((study.rows, study.steps * study.a_step), dtype=np.bool_)
    together, by_chance = np.zeros(study.furthest_lag + 1), np.zeros(study.furthest_lag + 1)
    for step in track(range(study.steps), description="reading"):
        data = torch.randn(study.rows, study.a_step, study.hidden)
        network.add_working_memory(data)
        memories, indices = network.remind()
        ids, types = network.engrams.engram_ids, network.engrams.engrams_types
        assert ids is not None
        real = indices >= 0
        reminded_ids = torch.where(real, ids.gather(1, indices.clamp(min=0)), -1)
        if step >= study.steps - study.recall_steps:
            row, column = np.nonzero(real.numpy())
            recalled[row, reminded_ids[row, column]] = True
        longterm = types == EngramType.LONGTERM.value
        for row in range(study.rows):
            came_back = reminded_ids[row][real[row]]
            were_there = ids[row][longterm[row] & (ids[row] >= study.primacy_steps * study.a_step)]
            came_back = came_back[torch.isin(came_back, were_there)]
            if len(came_back) < 2:
                continue
            mine = pairs_by_lag(came_back.numpy().astype(np.int64) // study.a_step, study.furthest_lag)
            everyone = pairs_by_lag(were_there.numpy().astype(np.int64) // study.a_step, study.furthest_lag)
            drawn = len(came_back) * (len(came_back) - 1) / (len(were_there) * (len(were_there) - 1))
            together += mine
            by_chance += everyone * drawn
        match = torch.softmax((memories @ data.mean(1)[..., None]).squeeze(2).masked_fill(~real, -1e9), dim=1)
        gain = match * real.sum(1, keepdim=True) * 4.0
        network.adjust_lifespan_and_memories(indices, torch.where(real, gain, 0.0))
    alive = np.zeros_like(recalled)
    ids = network.engrams.engram_ids
    assert ids is not None
    row, column = np.nonzero((ids >= 0).numpy())
    alive[row, ids[row, column]] = True

    def by_step(flags: npt.NDArray[np.bool_]) -> npt.NDArray[np.float64]:
        return flags.reshape(study.rows, study.steps, study.a_step).mean(axis=(0, 2))

    return Findings(by_step(recalled), by_step(alive), together / np.maximum(by_chance, 1e-9), network)


def draw_curves(found: Findings, study: Study, path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, (serial, lag) = pyplot.subplots(1, 2, figsize=(10, 3.8), layout="constrained")
    made = np.arange(study.steps - study.recall_steps)
    serial.plot(made, found.recalled[made], marker=".", color="tab:blue", label="brought back")
    serial.plot(made, found.alive[made], color="tab:gray", linestyle="--", label="still alive")
    serial.set_xlabel("step in which the engram was made")
    serial.set_ylabel(f"share, over the last {study.recall_steps} steps")
    serial.set_title("Serial position: primacy and recency")
    serial.legend()
    lag.bar(np.arange(study.furthest_lag + 1), found.contiguity, color="tab:orange")
    lag.axhline(1, color="black", linewidth=1, linestyle=":")
    lag.set_xlabel("steps between the making of two long-term engrams")
    lag.set_ylabel("come back together, relative to chance")
    lag.set_title("Temporal contiguity")
    for axes in (serial, lag):
        axes.grid(alpha=0.3)
    figure.savefig(path, dpi=120)


def draw_graph(network: Memoria, path: Path) -> None:
    """Row 0 on a circle in the order of making, with the strongest links of each engram."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot
    from matplotlib.collections import LineCollection

    row = network.engrams.mask_select(
        (torch.arange(network.engrams.batch_size) == 0)[:, None] & (network.engrams.engrams_types != 0)
    )
    counts = row.induce_counts[0].numpy().astype(np.float64)
    fired = np.diag(counts).copy()
    np.fill_diagonal(counts, 0)
    counts = _strongest_links(counts, each=2)
    number = len(counts)
    angle = np.pi / 2 - 2 * np.pi * np.arange(number) / number
    places = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    source, target = np.nonzero(np.triu(counts))
    strength = counts[source, target] / max(1.0, counts.max())
    colors = np.zeros((len(source), 4))
    colors[:, 3] = 0.1 + 0.9 * strength
    figure, axes = pyplot.subplots(figsize=(6.5, 6.5), layout="constrained")
    lines = np.stack([places[source], places[target]], axis=1)
    axes.add_collection(LineCollection(list(lines), colors=colors, linewidths=0.4 + 1.6 * strength, zorder=1))
    kinds = row.engrams_types[0].numpy()
    for kind, color in ((EngramType.SHORTTERM, "tab:orange"), (EngramType.LONGTERM, "tab:blue")):
        chosen = kinds == kind.value
        axes.scatter(
            *places[chosen].T,
            s=15 + 120 * fired[chosen] / max(1.0, fired.max()),
            color=color,
            label=kind.name.lower(),
            zorder=2,
        )
    axes.set_title("Engrams of one row, oldest on top, clockwise.\nSize: firings; lines: firing together")
    axes.set_aspect("equal")
    axes.axis("off")
    axes.legend(loc="lower right")
    figure.savefig(path, dpi=120)


def _strongest_links(counts: npt.NDArray[np.float64], each: int) -> npt.NDArray[np.float64]:
    """Only those links that are among the strongest of one of their ends; of equal ones the nearest."""
    distance = np.abs(np.arange(len(counts))[:, None] - np.arange(len(counts)))
    best = np.lexsort((distance, -counts), axis=1)[:, :each]
    chosen = np.zeros(counts.shape, dtype=np.bool_)
    np.put_along_axis(chosen, best, True, axis=1)
    return np.where(chosen | chosen.T, counts, 0)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="few rows and steps: shows that it runs")
    parser.add_argument("--output", type=Path, default=Path(), metavar="FOLDER", help="where the plots go")
    arguments = parser.parse_args()
    study = QUICK if arguments.quick else Study()
    begin = time.monotonic()
    found = conduct(study)

    console = Console()
    made = study.steps - study.recall_steps
    fifth = made // 5
    table = Table("engrams of", "brought back at the end", "alive", title="Serial position")
    for name, part in (
        ("the first fifth", slice(0, fifth)),
        ("the middle fifth", slice(2 * fifth, 3 * fifth)),
        ("the last fifth", slice(made - fifth, made)),
    ):
        table.add_row(name, f"{found.recalled[part].mean():.3f}", f"{found.alive[part].mean():.3f}")
    console.print(table)
    lags = Table("steps apart", "relative to chance", title="Long-term engrams that come back together")
    for lag in (0, 1, 2, study.furthest_lag):
        lags.add_row(str(lag), f"{found.contiguity[lag]:.2f}")
    console.print(lags)
    arguments.output.mkdir(parents=True, exist_ok=True)
    curves, graph = arguments.output / "memoria_curves.png", arguments.output / "memoria_graph.png"
    draw_curves(found, study, curves)
    draw_graph(found.network, graph)
    console.print(f"Drawn to {curves} and {graph}. {time.monotonic() - begin:.0f} s.")


if __name__ == "__main__":
    main()
