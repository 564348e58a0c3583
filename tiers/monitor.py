"""Watching the memory of this host."""

from __future__ import annotations

import logging
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import psutil

from ..errors import InvalidType, InvalidValue

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class MemorySample:
    """The memory of the host and of this process at one time (seconds since the Unix epoch).

    Examples:
        >>> seen = []
        >>> monitor_memory_usage(0.01, seen.append, samples=1)
        1
        >>> 0 <= seen[0].percent <= 100
        True
    """

    time_s: float
    total_bytes: int
    available_bytes: int
    used_bytes: int
    percent: float
    swap_percent: float
    process_bytes: int

    @classmethod
    def take(cls) -> MemorySample:
        """As it is now."""
        memory = psutil.virtual_memory()
        return cls(
            time_s=time.time(),
            total_bytes=int(memory.total),
            available_bytes=int(memory.available),
            used_bytes=int(memory.used),
            percent=float(memory.percent),
            swap_percent=float(psutil.swap_memory().percent),
            process_bytes=int(psutil.Process().memory_info().rss),
        )

    def __str__(self) -> str:
        return (
            f"Memory {self.percent:.1f}% used ({self.used_bytes / 2**30:.2f} of "
            f"{self.total_bytes / 2**30:.2f} GB), swap {self.swap_percent:.1f}%, "
            f"this process {self.process_bytes / 2**20:.0f} MB"
        )


def monitor_memory_usage(
    interval: float = 1.0,
    callback: Callable[[MemorySample], object] | None = None,
    *,
    stop: threading.Event | None = None,
    samples: int | None = None,
) -> int:
    """Look at the memory every `interval` seconds, beginning now, until `stop` is set or so many
    `samples` were taken; how many it were. Blocks: run it in a thread, or use `MemoryMonitor`.

    Each sample goes to `callback`, or as a line to standard output. An error of the callback is logged
    and does not end the watch. Raises `InvalidValue`, `InvalidType` for arguments that cannot be.

    Examples:
        >>> seen = []
        >>> monitor_memory_usage(0.01, seen.append, samples=3)
        3
        >>> seen[0].total_bytes > 0
        True
    """
    interval_s = _check_interval(interval)
    if callback is not None and not callable(callback):
        raise InvalidType(f"callback must be callable, not {type(callback).__name__}")
    if samples is not None and (type(samples) is not int or samples < 1):
        raise InvalidValue(f"samples must be a whole number above 0 or None, not {samples!r:.60}")
    hear = _write_line if callback is None else callback
    stopped = threading.Event() if stop is None else stop
    taken = 0
    due_s = time.monotonic()
    while not stopped.is_set():
        try:
            hear(MemorySample.take())
        except Exception:  # noqa: BLE001 - the top of a loop, logged
            _log.exception("the callback of the memory monitor failed; the watch goes on")
        taken += 1
        if taken == samples:
            break
        # From due time to due time, so that a slow callback does not make the watch drift.
        due_s = max(due_s + interval_s, time.monotonic())
        stopped.wait(due_s - time.monotonic())
    return taken


class MemoryMonitor:
    """`monitor_memory_usage` in a thread of its own, which ends with `stop`, with the ``with`` block, or
    with the process.

    Keeps the last sample in `latest`. Thread-safe.

    Examples:
        >>> import threading
        >>> looked = threading.Event()
        >>> with MemoryMonitor(0.01, lambda sample: looked.set()) as monitor:
        ...     _ = looked.wait(10)
        >>> monitor.latest.percent > 0
        True
    """

    def __init__(
        self, interval: float = 1.0, callback: Callable[[MemorySample], object] | None = None
    ) -> None:
        _check_interval(interval)
        self._interval = interval
        self._callback = callback
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self.latest: MemorySample | None = None

    def start(self) -> Self:
        """Begin to watch; nothing where it is watching already."""
        if not self.running:
            self._stop = threading.Event()
            self._thread = threading.Thread(target=self._run, name="memory-monitor", daemon=True)
            self._thread.start()
        return self

    def stop(self) -> None:
        """Cease, and wait until it has (unless called from the callback itself)."""
        self._stop.set()
        thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join()

    @property
    def running(self) -> bool:
        """Whether it is watching."""
        return self._thread is not None and self._thread.is_alive()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _run(self) -> None:
        monitor_memory_usage(self._interval, self._hear, stop=self._stop)

    def _hear(self, sample: MemorySample) -> None:
        self.latest = sample
        if self._callback is not None:
            self._callback(sample)


def _check_interval(interval: object) -> float:
    if isinstance(interval, bool) or not isinstance(interval, int | float):
        raise InvalidType(f"interval must be a number of seconds, not {type(interval).__name__}")
    if not 0 < interval < float("inf"):
        raise InvalidValue(f"interval must be above 0 and finite, not {interval}")
    return float(interval)


def _write_line(sample: MemorySample) -> None:
    sys.stdout.write(f"{sample}\n")
    sys.stdout.flush()
