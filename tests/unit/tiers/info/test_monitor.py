"""Watching the memory: at intervals, stoppable, whatever the callback does."""

from __future__ import annotations

import logging
import subprocess
import sys
import threading
from typing import Any

import psutil
import pytest

from memories.errors import InvalidType, InvalidValue
from memories.tiers.monitor import MemoryMonitor, MemorySample, monitor_memory_usage

SEED = """
from memory import monitor_memory_usage
import threading

monitor_thread = threading.Thread(target=monitor_memory_usage, args=(2,), daemon=True)
monitor_thread.start()
"""


def test_the_seed_block() -> None:
    # In a process of its own, for the thread ends with the process.
    with subprocess.Popen(
        [sys.executable, "-c", SEED + "input()"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("Memory ")
        process.communicate("\n", timeout=60)
    assert process.returncode == 0


def test_samples_go_to_the_callback_until_there_are_enough() -> None:
    samples: list[MemorySample] = []
    assert monitor_memory_usage(0.001, samples.append, samples=3) == 3
    assert len(samples) == 3
    assert [s.time_s for s in samples] == sorted(s.time_s for s in samples)
    assert samples[0].total_bytes == psutil.virtual_memory().total
    assert 0 < samples[0].process_bytes < samples[0].total_bytes


def test_it_ends_when_it_is_told_to_and_not_at_the_end_of_the_interval() -> None:
    stop = threading.Event()
    assert monitor_memory_usage(3_600, lambda sample: stop.set(), stop=stop) == 1


def test_an_error_of_the_callback_is_logged_and_the_watch_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    calls = []

    def callback(sample: MemorySample) -> None:
        calls.append(sample)
        raise ValueError("no")

    with caplog.at_level(logging.ERROR):
        monitor_memory_usage(0.001, callback, samples=2)
    assert len(calls) == 2
    assert "callback of the memory monitor" in caplog.text


@pytest.mark.parametrize("interval", [0, -1, float("nan"), float("inf"), "2", None, True])
def test_intervals_that_cannot_be(interval: Any) -> None:
    with pytest.raises((InvalidType, InvalidValue)):
        monitor_memory_usage(interval, samples=1)
    with pytest.raises((InvalidType, InvalidValue)):
        MemoryMonitor(interval)


@pytest.mark.parametrize("arguments", [{"callback": 5}, {"samples": 0}, {"samples": 1.5}])
def test_arguments_that_cannot_be(arguments: dict[str, Any]) -> None:
    with pytest.raises((InvalidType, InvalidValue)):
        monitor_memory_usage(1, **arguments)


def test_a_monitor_runs_in_a_thread_of_its_own() -> None:
    seen = threading.Semaphore(0)
    monitor = MemoryMonitor(0.001, lambda sample: seen.release())
    with monitor:
        assert monitor.running
        for _ in range(3):
            assert seen.acquire(timeout=60)
        assert monitor.latest is not None
        assert monitor.start() is monitor
    assert not monitor.running
    monitor.stop()
    with monitor:
        assert seen.acquire(timeout=60)
    assert not monitor.running


def test_a_monitor_can_be_stopped_from_its_callback() -> None:
    def callback(sample: MemorySample) -> None:
        monitor.stop()

    monitor = MemoryMonitor(3_600, callback)
    monitor.start()
    thread = monitor._thread
    assert thread is not None
    thread.join(60)
    assert not monitor.running
