"""`Target`: which cluster a command is for, and the options that say so."""

from __future__ import annotations

import functools
import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from .waiting import waiting

if TYPE_CHECKING:
    from ..actors.cluster import Cluster
    from ..actors.memory_manager import MemoryManager

DEFAULT_NAME = "default"
DEFAULT_TIMEOUT_S = 60.0


@dataclass(frozen=True, slots=True)
class Target:
    """A cluster that runs already, somewhere."""

    address: str | None
    name: str
    namespace: str
    timeout_s: float

    @contextmanager
    def cluster(self) -> Iterator[Cluster]:
        """The cluster, for as long as the block runs. Raises `NotRunning`; never starts anything."""
        # An error that was raised already would be told a second time, with its traceback.
        os.environ.setdefault("RAY_IGNORE_UNHANDLED_ERRORS", "1")
        self._require_answer()
        with waiting(f"joining cluster {self.name!r}"):
            from ..actors.cluster import connect

            joined = connect(
                self.address,
                name=self.name,
                namespace=self.namespace,
                start=False,
                timeout_s=self.timeout_s,
            )
        with joined:
            yield joined

    def _require_answer(self) -> None:
        """Where nobody is at the address that was named, say so before Ray is loaded: that takes a second."""
        from ..actors.addresses import require_answer
        from ..actors.names import check_cluster_name

        check_cluster_name(self.name)
        address = self.address or os.environ.get("RAY_ADDRESS") or ""
        if address.rpartition(":")[2].isdigit():
            require_answer(address)

    @contextmanager
    def memory(self) -> Iterator[MemoryManager]:
        """The memory of the cluster."""
        with self.cluster() as cluster, cluster.memory(timeout_s=self.timeout_s) as memory:
            yield memory


def cluster_options(command: Callable[..., None]) -> Callable[..., None]:
    """Gives a command the options that name a cluster, and hands them on as `target`."""

    @functools.wraps(command)
    def with_target(
        *arguments: Any, address: str | None, name: str, namespace: str, timeout_s: float, **options: Any
    ) -> None:
        command(*arguments, target=Target(address, name, namespace, timeout_s), **options)

    decorated: Callable[..., None] = with_target
    for option in reversed(CLUSTER_OPTIONS):
        decorated = option(decorated)
    return decorated


def _waitable(ctx: click.Context, param: click.Parameter, seconds: float) -> float:
    """Seconds that a lock can wait: not NaN, not infinite, not more than three centuries."""
    if not seconds <= threading.TIMEOUT_MAX:
        raise click.BadParameter(f"{seconds} is not in the range x<={threading.TIMEOUT_MAX:.0f}.", ctx, param)
    return seconds


CLUSTER_OPTIONS: tuple[Callable[[Callable[..., None]], Callable[..., None]], ...] = (
    click.option(
        "--address",
        metavar="ADDRESS",
        help="Ray to look in: host:6379 on one of its nodes, ray://host:10001 from elsewhere. "
        "[default: $RAY_ADDRESS, else the Ray of this machine]",
    ),
    click.option("--name", default=DEFAULT_NAME, show_default=True, help="Name of the cluster in that Ray."),
    click.option("--namespace", default="memories", show_default=True, help="Ray namespace of its actors."),
    click.option(
        "--timeout",
        "timeout_s",
        type=click.FloatRange(min=0, min_open=True),
        callback=_waitable,
        default=DEFAULT_TIMEOUT_S,
        show_default=True,
        metavar="SECONDS",
        help="How long to wait for the cluster.",
    ),
)
json_option = click.option("--json", "as_json", is_flag=True, help="One JSON document, for scripts.")
yes_option = click.option("--yes", "-y", is_flag=True, help="Do not ask.")


def confirm(question: str, yes: bool) -> None:
    """Ask a person; a script has to say --yes. A no is `click.Abort`, Ctrl-C is `KeyboardInterrupt`."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise click.UsageError("nobody can be asked here: add --yes")
    try:
        click.confirm(question, abort=True)
    except click.Abort as abort:
        if isinstance(abort.__context__, KeyboardInterrupt):  # click makes one error of both
            raise KeyboardInterrupt from None
        raise
