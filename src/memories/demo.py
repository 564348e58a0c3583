"""`memories demo`: what is there, at work, in one run."""

from __future__ import annotations

from rich.console import Console


def run(*, seed: int = 0) -> None:
    """Show each kind of memory in turn, with what came out."""
    console = Console()
    console.print(f"seed {seed}")
