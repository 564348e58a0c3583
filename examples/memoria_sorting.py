"""The sorting task of the Memoria paper, at a size for two CPU cores.

    python examples/memoria_sorting.py [--quick] [--seeds N] [--output FOLDER]

A sequence of tokens drifts from one distribution to another. After the last one a model has to name all
tokens in the order of how often they came, over the whole sequence. The model is a transformer that sees
one segment at a time; without memory it knows the last segment only. Both models have the same parameters
and are trained on the same data, one with what `MemoriaLayer` brings back, one without. Prints accuracy
(the share of ranks that got the right token) by length over all seeds, and draws it.
"""

from __future__ import annotations

import argparse
import statistics
import time
from dataclasses import dataclass
from pathlib import Path

import torch
from rich.console import Console
from rich.progress import Progress, TaskID
from rich.table import Table
from torch import nn

from memoria import MemoriaLayer


@dataclass(frozen=True)
class Task:
    """Sizes of the task and the training."""

    symbols: int = 8
    segment: int = 32
    lengths: tuple[int, ...] = (2, 4, 8)
    """In segments."""
    batch: int = 32
    steps: int = 600
    test_batches: int = 8
    hidden: int = 64
    seeds: int = 3


QUICK = Task(lengths=(2, 3), steps=12, test_batches=1, batch=8, hidden=32, seeds=1)


def sequences(
    task: Task, length: int, rows: int, generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """Tokens [rows, length, segment], and all symbols by how often they came, most frequent first."""
    logits = torch.randn(2, rows, 1, task.symbols, generator=generator) * 1.2
    begin, end = logits.softmax(-1)
    drift = torch.linspace(0, 1, length * task.segment)[None, :, None]
    mixture = begin * (1 - drift) + end * drift
    tokens = torch.multinomial(mixture.reshape(-1, task.symbols), 1, generator=generator).view(rows, -1)
    counts = nn.functional.one_hot(tokens, task.symbols).sum(1)
    order = torch.sort(counts, dim=1, descending=True, stable=True).indices
    return tokens.view(rows, length, task.segment), order


class Sorter(nn.Module):
    """Two encoder layers with a memory layer between them; the last segment ends in one query a rank."""

    def __init__(self, task: Task, with_memory: bool) -> None:
        super().__init__()
        self.task, self.with_memory = task, with_memory
        self.tokens = nn.Embedding(2 * task.symbols, task.hidden)  # symbols, then queries
        self.positions = nn.Parameter(torch.randn(task.segment + task.symbols, task.hidden) * 0.02)
        self.first, self.second = (
            nn.TransformerEncoderLayer(task.hidden, 4, 2 * task.hidden, dropout=0.0, batch_first=True)
            for _ in range(2)
        )
        longest = max(task.lengths)
        self.memory = MemoriaLayer(
            task.hidden,
            num_heads=4,
            num_memories=4,
            feedforward_dim=2 * task.hidden,
            num_reminded_stm=8,
            stm_capacity=8,
            ltm_search_depth=4,
            initial_lifespan=longest,
            num_final_ltms=4 * longest,
            lifespan_gain=2.0,
        )
        self.ranks = nn.Linear(task.hidden, task.symbols)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """[B, segments, segment length] to the logits of each rank, [B, symbols, symbols]."""
        self.memory.reset_memory()
        rows, number, _ = tokens.shape
        for place in range(number - 1 if self.with_memory else 0):
            with torch.no_grad():  # nothing but the last segment is trained on
                self.memory(self.encoded(tokens[:, place]))
        queries = torch.arange(self.task.symbols, 2 * self.task.symbols).expand(rows, -1)
        hidden = self.encoded(torch.cat([tokens[:, -1], queries], dim=1))
        if self.with_memory:
            hidden = self.memory(hidden)
        return self.ranks(self.second(hidden)[:, self.task.segment :])

    def encoded(self, tokens: torch.Tensor) -> torch.Tensor:
        return self.first(self.tokens(tokens) + self.positions[: tokens.shape[1]])


def trained(task: Task, with_memory: bool, seed: int, progress: Progress, bar: TaskID) -> Sorter:
    torch.manual_seed(seed)
    model = Sorter(task, with_memory)
    generator = torch.Generator().manual_seed(1000 + seed)
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, total_steps=task.steps)
    for _ in range(task.steps):
        length = task.lengths[int(torch.randint(len(task.lengths), (), generator=generator))]
        tokens, order = sequences(task, length, task.batch, generator)
        loss = nn.functional.cross_entropy(model(tokens).flatten(0, 1), order.flatten())
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        progress.update(bar, advance=1, loss=f"{loss.item():.3f}")
    return model


@torch.no_grad()
def accuracy(model: Sorter, task: Task, length: int) -> float:
    """The share of ranks with the right token, on the same test data for every model."""
    model.eval()
    generator = torch.Generator().manual_seed(length)
    right = total = 0
    for _ in range(task.test_batches):
        tokens, order = sequences(task, length, task.batch, generator)
        right += int((model(tokens).argmax(-1) == order).sum())
        total += order.numel()
    return right / total


def run(task: Task) -> dict[bool, dict[int, list[float]]]:
    """Accuracies by model (with memory or not) and length, one a seed."""
    results: dict[bool, dict[int, list[float]]] = {
        with_memory: {length: [] for length in task.lengths} for with_memory in (False, True)
    }
    columns = (*Progress.get_default_columns(), "loss {task.fields[loss]}")
    with Progress(*columns) as progress:
        for seed in range(task.seeds):
            for with_memory in (False, True):
                name = f"seed {seed}, {'with' if with_memory else 'without'} Memoria"
                bar = progress.add_task(name, total=task.steps, loss="-")
                model = trained(task, with_memory, seed, progress, bar)
                for length in task.lengths:
                    results[with_memory][length].append(accuracy(model, task, length))
    return results


def draw(results: dict[bool, dict[int, list[float]]], task: Task, path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(6, 4), layout="constrained")
    for with_memory, label, color in ((True, "with Memoria", "tab:blue"), (False, "without", "tab:gray")):
        lengths = [length * task.segment for length in task.lengths]
        means = [statistics.mean(values) for values in results[with_memory].values()]
        spread = [statistics.pstdev(values) for values in results[with_memory].values()]
        axes.errorbar(lengths, means, yerr=spread, marker="o", capsize=4, label=label, color=color)
    axes.axhline(1 / task.symbols, linestyle=":", color="black", linewidth=1, label="guessing")
    axes.set_xscale("log", base=2)
    axes.set_xticks(lengths, [str(length) for length in lengths])
    axes.set_xlabel(f"tokens in the sequence (segments of {task.segment})")
    axes.set_ylabel("ranks named right")
    axes.set_title(f"Sorting by frequency: mean and spread of {task.seeds} seeds")
    axes.set_ylim(0, 1)
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(path, dpi=120)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="some seconds: shows that it runs")
    parser.add_argument("--seeds", type=int, metavar="N", help="models to train of each kind")
    parser.add_argument("--output", type=Path, default=Path(), metavar="FOLDER", help="where the plot goes")
    arguments = parser.parse_args()
    task = QUICK if arguments.quick else Task()
    if arguments.seeds:
        task = Task(**{**task.__dict__, "seeds": arguments.seeds})

    torch.set_num_threads(1)  # operations this small lose time by being shared out
    begin = time.monotonic()
    results = run(task)
    table = Table("tokens", "without Memoria", "with Memoria", title="Ranks named right, mean ± spread")
    for length in task.lengths:
        cells = [
            f"{statistics.mean(values):.3f} ± {statistics.pstdev(values):.3f}"
            for values in (results[False][length], results[True][length])
        ]
        table.add_row(str(length * task.segment), *cells)
    console = Console()
    console.print(table)
    longest = max(task.lengths)
    gain = statistics.mean(results[True][longest]) - statistics.mean(results[False][longest])
    console.print(f"At the longest length the model with Memoria is {gain:+.3f} ahead.")
    arguments.output.mkdir(parents=True, exist_ok=True)
    path = arguments.output / "memoria_sorting.png"
    draw(results, task, path)
    console.print(f"Drawn to {path}. {time.monotonic() - begin:.0f} s.")


if __name__ == "__main__":
    main()
